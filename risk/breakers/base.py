"""What every circuit breaker sees and says: a reading of the account, a verdict, and the shape of a breaker.

A breaker is a small frozen value: its limit, and what it must remember (a peak, a baseline). It never decides what
happens after a trip; the board latches. It never sees an unknown equity; the board counts how long it has been
unknown.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Final, Protocol, Self

import msgspec

from market.money import Paise
from risk.schema import RiskLimits

_ROUNDING: Final = 1e-12


class PositionReading(msgspec.Struct, frozen=True, gc=False):
    """One holding: `entry` is the average price paid, `last` the last price; paise per share, adjusted alike.

    Corporate actions are applied before: a 1:1 bonus doubles `quantity` and halves `entry`.
    """

    symbol: str
    quantity: int
    entry: Paise
    last: Paise


class Reading(msgspec.Struct, frozen=True, gc=False):
    """The account at one moment.

    `equity` is None when it is not known. `net_deposit` is what was paid in less what was taken out since the
    previous reading, already part of `equity`. `previous_close_equity` is the equity at the previous session's close,
    None when there was none.
    """

    at_ns: int
    session: date
    equity: Paise | None
    net_deposit: Paise = Paise(0)
    previous_close_equity: Paise | None = None
    positions: tuple[PositionReading, ...] = ()


class KnownReading(Protocol):
    """A reading whose equity is known; what breakers take."""

    @property
    def at_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        ...

    @property
    def session(self) -> date:
        """The session that the reading belongs to."""
        ...

    @property
    def equity(self) -> Paise:
        """Account equity."""
        ...

    @property
    def net_deposit(self) -> Paise:
        """Deposits less withdrawals since the previous reading."""
        ...

    @property
    def previous_close_equity(self) -> Paise | None:
        """Equity at the previous session's close."""
        ...

    @property
    def positions(self) -> tuple[PositionReading, ...]:
        """Holdings."""
        ...


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What a breaker says about one reading; `used` and `limit` are fractions, `detail` names what was worst."""

    name: str
    used: float
    limit: float
    detail: str = ""

    @property
    def tripped(self) -> bool:
        """Whether the limit is reached. Reaching it is a trip: 5.00 % of 5 % is not below it."""
        return self.used >= self.limit - _ROUNDING

    @property
    def headroom(self) -> float:
        """What is left before the trip; negative beyond it."""
        return self.limit - self.used


class Breaker(Protocol):
    """A circuit breaker. Implementations are frozen msgspec structs, so that the board's state is JSON."""

    @classmethod
    def of(cls, limits: RiskLimits, initial: Paise) -> Self | None:
        """Return the breaker for an account that started with `initial`, or None when it is switched off."""
        ...

    def observe(self, reading: Any) -> tuple[Self, Verdict]:
        """Return the next state and the verdict for one reading whose equity is known."""
        ...

    def restart(self, reading: Any) -> Self:
        """Return the breaker as after an approved resume: it measures from this reading on."""
        ...

    def recall(self, saved: Any) -> Self:
        """Return the breaker with its own limits and the memory of `saved`."""
        ...


class BaselineLoss(msgspec.Struct, frozen=True, gc=False):
    """A breaker on the part of one baseline that is gone; a subclass says which limit. Its tag is its name."""

    limit: float
    baseline: Paise

    def observe(self, reading: KnownReading) -> tuple[Self, Verdict]:
        """Return the next state and the verdict for one reading; a deposit moves the baseline and is no gain."""
        state = self
        if reading.net_deposit:
            state = type(self)(self.limit, Paise(self.baseline + reading.net_deposit))
        name = str(self.__struct_config__.tag)
        return state, Verdict(name, fraction_lost(now=reading.equity, baseline=state.baseline), self.limit)

    def restart(self, reading: KnownReading) -> Self:
        """Measure from this reading on."""
        return type(self)(self.limit, before_deposit(reading))

    def recall(self, saved: Self) -> Self:
        """Take over the baseline."""
        return type(self)(self.limit, saved.baseline)


def before_deposit(reading: KnownReading) -> Paise:
    """Return the equity less what this reading has just paid in: a restarted breaker then judges the same reading."""
    return Paise(reading.equity - reading.net_deposit)


def fraction_lost(*, now: int, baseline: int) -> float:
    """Return the part of `baseline` that is gone; with no baseline above zero, nothing left counts as all of it."""
    if baseline > 0:
        return (baseline - now) / baseline
    return 0.0 if now > 0 else 1.0


def tighter(percent: float, absolute: float | None, baseline: int) -> float:
    """Return the smaller of a limit in percent and one in rupees, as a fraction of `baseline` (paise)."""
    limit = percent / 100.0
    if absolute is not None and baseline > 0:
        return min(limit, absolute * 100.0 / baseline)
    return limit
