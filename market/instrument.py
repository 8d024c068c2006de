"""What can be traded: an equity share on NSE, and the price steps it is quoted in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final

from market.errors import BadInput
from market.money import Paise

_SYMBOL: Final = re.compile(r"^[A-Z0-9][A-Z0-9&-]{0,19}$")

# Tick size by price band, each table valid from its date (NSE; market rules 4.3). Upper bound in paise, tick in paise.
_TICKS: Final[tuple[tuple[date, tuple[tuple[float, int], ...]], ...]] = (
    (date(1994, 11, 3), ((float("inf"), 5),)),
    (date(2024, 6, 10), ((25_000, 1), (float("inf"), 5))),
    (
        date(2025, 4, 15),
        ((25_000, 1), (100_000, 5), (500_000, 10), (1_000_000, 50), (2_000_000, 100), (float("inf"), 500)),
    ),
)


@dataclass(frozen=True, slots=True)
class Instrument:
    """One tradable security. `derivatives` says whether it closes by the closing auction (sessions, phases)."""

    symbol: str
    exchange: str = "NSE"
    isin: str | None = None
    derivatives: bool = True
    lot: int = 1

    def __post_init__(self) -> None:
        if not _SYMBOL.match(self.symbol):
            raise BadInput(f"instrument: symbol {self.symbol!r} is not an NSE symbol (capitals, digits, & and -)")


def tick_size(price: Paise | int, on: date) -> Paise:
    """Return the price step for `price` on a date.

    The exchange reviews a share's class monthly on its last close, so a live broker's instrument list decides there;
    this table serves the paper broker and replay.
    """
    for upper, tick in _bands(on):
        if price <= upper:
            return Paise(tick)
    raise AssertionError("the last band is open-ended")


@lru_cache(maxsize=16)
def _bands(on: date) -> tuple[tuple[float, int], ...]:
    bands = _TICKS[0][1]
    for valid_from, candidate in _TICKS:
        if on >= valid_from:
            bands = candidate
    return bands
