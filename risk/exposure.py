"""Exposure while the truth is not known: an interval, judged at its worse end.

An order that was sent and has not ended may have traded all of what it asked for, or nothing. The position is between
the two; what a limit says must hold at both ends, and equity is what it would be if the worse of them were true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from market.money import Paise
from risk.approval import Side


class Pending(msgspec.Struct, frozen=True, gc=False):
    """What is left of an order that may still trade, or may have traded without our knowing."""

    symbol: str
    side: Side
    remaining: int
    limit: Paise


class Interval(msgspec.Struct, frozen=True, gc=False):
    """The fewest and the most shares that may be held; never below zero, since nothing is sold short."""

    low: int
    high: int


def intervals(quantities: Mapping[str, int], pending: Iterable[Pending]) -> dict[str, Interval]:
    """Return the interval of every symbol with a pending order: all its sales done and no purchase, and the reverse."""
    found: dict[str, Interval] = {}
    for order in pending:
        held = quantities.get(order.symbol, 0)
        before = found.get(order.symbol, Interval(held, held))
        if order.side is Side.BUY:
            found[order.symbol] = Interval(before.low, before.high + order.remaining)
        else:
            found[order.symbol] = Interval(max(0, before.low - order.remaining), before.high)
    return found


def worst_equity(equity: Paise, prices: Mapping[str, Paise], pending: Iterable[Pending]) -> Paise | None:
    """Return equity if every pending order whose trade would cost something had traded at its limit.

    A purchase at a limit above the price, or a sale below it, loses the difference; the others are taken as not done.
    None when the price of a pending order's symbol is not known: unknown is not zero.
    """
    total: int = equity
    for order in pending:
        price = prices.get(order.symbol, 0)
        if price <= 0:
            return None
        gain = price - order.limit if order.side is Side.BUY else order.limit - price
        total += min(0, gain) * order.remaining
    return Paise(total)
