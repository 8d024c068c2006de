"""Bars: what traded in an interval, one object per instrument or one batch per moment.

A `BarBatch` holds every instrument's bar of the same interval in columns: it is the message that a feed posts, so that
a day of five instruments is one event and not five, and the arrays that features need are one conversion away.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum

import msgspec


class Interval(StrEnum):
    """Length of a bar."""

    MINUTE = "1minute"
    FIVE_MINUTES = "5minute"
    DAY = "day"


class Bar(msgspec.Struct, frozen=True, gc=False):
    """One instrument's bar. Prices in rupees (floats: adjusted prices have four decimals), volume in shares."""

    symbol: str
    session: date
    start_ns: int
    end_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: int


class BarBatch(msgspec.Struct, frozen=True, gc=False):
    """The bars of one interval that ended at the same moment; the columns run parallel to `symbols`.

    `start_ns` and `end_ns` are nanoseconds since 1970-01-01 UTC. A bar exists only once it is complete: a batch is
    posted at or after `end_ns`, never before.
    """

    session: date
    interval: Interval
    start_ns: int
    end_ns: int
    symbols: tuple[str, ...]
    open: tuple[float, ...]
    high: tuple[float, ...]
    low: tuple[float, ...]
    close: tuple[float, ...]
    volume: tuple[float, ...]
