"""Money is integer paise; floats are for weights, returns and features (design, section 8)."""

from __future__ import annotations

import re
from typing import Final, NewType

from market.errors import BadInput

Paise = NewType("Paise", int)

ZERO: Final = Paise(0)
# The most that an amount may be, in rupees: far above any account, far below where sums could overflow.
MOST_RUPEES: Final = 10**12
_RUPEES: Final = re.compile(r"(\d{1,13})(?:\.(\d{1,2}))?", re.ASCII)


def rupees(amount: float) -> Paise:
    """Return `amount` rupees in paise, rounded half away from zero to the nearest paisa."""
    scaled = amount * 100.0
    return Paise(int(scaled + 0.5) if scaled >= 0 else -int(-scaled + 0.5))


def parse_rupees(text: str) -> Paise:
    """Return an amount as a person writes it ("5000", "5000.50") in paise, exactly. Raises BadInput."""
    match = _RUPEES.fullmatch(text)
    amount = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0")) if match else 0
    if not 0 < amount <= MOST_RUPEES * 100:
        raise BadInput(
            f"amount {text[:40]!r}: allowed: rupees above 0, at most {MOST_RUPEES}, with up to two decimals, like 5000.50"
        )
    return Paise(amount)


def to_rupees(amount: Paise | int) -> float:
    """Return paise as rupees, for printing and for ratios; never for arithmetic on money."""
    return amount / 100.0


def format_rupees(amount: Paise | int, *, paise: bool = True) -> str:
    """Return an amount as a person in India writes it: `Rs 12,34,567.89`."""
    sign = "-" if amount < 0 else ""
    whole, part = divmod(abs(int(amount)), 100)
    digits = str(whole)
    head, tail = digits[:-3], digits[-3:]
    groups: list[str] = []
    while len(head) > 2:
        groups.insert(0, head[-2:])
        head = head[:-2]
    if head:
        groups.insert(0, head)
    text = ",".join([*groups, tail])
    return f"{sign}Rs {text}.{part:02d}" if paise else f"{sign}Rs {text}"
