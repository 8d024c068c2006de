"""Money is integer paise; floats are for weights, returns and features (design, section 8)."""

from __future__ import annotations

from typing import Final, NewType

Paise = NewType("Paise", int)

ZERO: Final = Paise(0)


def rupees(amount: float) -> Paise:
    """Return `amount` rupees in paise, rounded half away from zero to the nearest paisa."""
    scaled = amount * 100.0
    return Paise(int(scaled + 0.5) if scaled >= 0 else -int(-scaled + 0.5))


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
