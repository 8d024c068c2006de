"""Margins: how much of each limit is used, in the unit of the limit. For the journal, for `status`, for people.

What is said here decides nothing; the projection and the checks decide. Both are computed from the same limits.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from market.money import Paise
from risk.schema import RiskLimits


class Margin(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One limit: what is used of it, and how far the limit is (`left`; below zero: beyond it)."""

    name: str
    used: float
    limit: float
    left: float
    detail: str = ""


def at_most(name: str, used: float, limit: float, detail: str = "") -> Margin:
    """Return the margin of a limit that must not be exceeded."""
    return Margin(name, round(used, 9), limit, round(limit - used, 9), detail)


def at_least(name: str, used: float, limit: float, detail: str = "") -> Margin:
    """Return the margin of a limit that must be reached."""
    return Margin(name, round(used, 9), limit, round(used - limit, 9), detail)


def position_margins(
    symbols: Sequence[str],
    quantities: Sequence[int],
    prices: Sequence[Paise],
    *,
    equity: int,
    traded: int,
    limits: RiskLimits,
) -> tuple[Margin, ...]:
    """Return the margins of the position limits for a book; `equity` and `traded` (bought plus sold) in paise."""
    worths = [quantity * price for quantity, price in zip(quantities, prices, strict=True)]
    gross = sum(worths)
    positions = limits.position_limits
    largest = max(range(len(worths)), key=worths.__getitem__)
    smallest = min(range(len(worths)), key=worths.__getitem__)
    return (
        at_most("max_weight_per_stock", worths[largest] / equity, positions.max_weight_per_stock, symbols[largest]),
        at_least("min_weight_per_stock", worths[smallest] / equity, positions.min_weight_per_stock, symbols[smallest]),
        at_most("max_daily_turnover", 0.5 * traded / equity, positions.max_daily_turnover),
        at_least("min_cash_reserve", 1.0 - gross / equity, positions.min_cash_reserve),
        at_most("max_leverage", gross / equity, positions.max_leverage),
    )
