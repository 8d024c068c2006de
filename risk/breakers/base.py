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
    None when there was none. Cash that was moved since that close, in earlier readings, is in it in proportion, so that a
    part that was lost stays the same part; `previous_close_rupees` has it rupee by rupee (None: nothing was moved).
    """

    at_ns: int
    session: date
    equity: Paise | None
    net_deposit: Paise = Paise(0)
    previous_close_equity: Paise | None = None
    previous_close_rupees: Paise | None = None
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
        """Equity at the previous session's close, with cash that was moved since in proportion."""
        ...

    @property
    def previous_close_rupees(self) -> Paise | None:
        """Equity at the previous session's close, with cash that was moved since rupee by rupee."""
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


class BaselineLoss(msgspec.Struct, frozen=True, gc=False):
    """A breaker on the part of one baseline that is gone; a subclass says which limit. Its tag is its name."""

    limit: float
    baseline: Paise

    def observe(self, reading: KnownReading) -> tuple[Self, Verdict]:
        """Return the next state and the verdict for one reading; cash that is moved is neither gain nor loss."""
        state = self
        if reading.net_deposit:
            state = type(self)(self.limit, after_cash(self.baseline, reading))
        name = str(self.__struct_config__.tag)
        return state, Verdict(name, fraction_lost(now=reading.equity, baseline=state.baseline), self.limit)

    def restart(self, reading: KnownReading) -> Self:
        """Measure from this reading on."""
        return type(self)(self.limit, before_deposit(reading))


class PeriodLoss(msgspec.Struct, frozen=True, gc=False):
    """A breaker on the loss since a period began; a subclass says when one begins. Its tag is its name.

    Two limits, the tighter counts: a percentage of `baseline`, which follows cash that is moved in proportion, and an
    amount in rupees, measured from `rupees`, which follows it rupee by rupee.
    """

    percent: float
    absolute: float | None
    session: date | None
    baseline: Paise
    rupees: Paise

    def begins(self, session: date) -> bool:
        """Return whether this session is the first of a new period."""
        raise NotImplementedError

    def observe(self, reading: KnownReading) -> tuple[Self, Verdict]:
        """Return the next state and the verdict for one reading."""
        state, session = self, reading.session
        if session != self.session and self.begins(session):
            before, rupees = reading.previous_close_equity, reading.previous_close_rupees
            # With no close before it, the period starts from what was there with this reading's deposit.
            if before is None:
                state = self._from(session, reading.equity, reading.equity)
            else:
                rupees = before if rupees is None else rupees
                state = self._from(session, after_cash(before, reading), rupees + reading.net_deposit)
        elif reading.net_deposit or session != self.session:
            state = self._from(session, after_cash(self.baseline, reading), self.rupees + reading.net_deposit)
        return state, state.verdict(reading.equity)

    def verdict(self, equity: Paise) -> Verdict:
        """Return the verdict of the limit that is used up further; without a loss, of the smaller one."""
        name = str(self.__struct_config__.tag)
        used, limit = fraction_lost(now=equity, baseline=self.baseline), self.percent / 100.0
        if self.absolute is not None and self.rupees > 0:
            lost, most = self.rupees - equity, self.absolute * 100.0
            losing = lost > 0 or used > 0.0
            if lost / most > used / limit if losing else most / self.rupees < limit:
                return Verdict(name, lost / self.rupees, most / self.rupees)
        return Verdict(name, used, limit)

    def restart(self, reading: KnownReading) -> Self:
        """Measure from this reading on."""
        before = before_deposit(reading)
        return self._from(reading.session, before, before)

    def _from(self, session: date | None, baseline: int, rupees: int) -> Self:
        return type(self)(self.percent, self.absolute, session, Paise(baseline), Paise(rupees))


def after_cash(baseline: int, reading: KnownReading) -> Paise:
    """Return a baseline after this reading's deposit or withdrawal: the part of it that is gone stays the same.

    So taking out what is left makes no loss larger, and paying in hides none. An account that had nothing before the
    deposit has no part to keep: its baseline grows by the deposit.
    """
    before = reading.equity - reading.net_deposit
    if not reading.net_deposit or before <= 0:
        return Paise(baseline + reading.net_deposit)
    return Paise((2 * baseline * reading.equity + before) // (2 * before))


def before_deposit(reading: KnownReading) -> Paise:
    """Return the equity less what this reading has just paid in: a restarted breaker then judges the same reading."""
    return Paise(reading.equity - reading.net_deposit)


def fraction_lost(*, now: int, baseline: int) -> float:
    """Return the part of `baseline` that is gone; with no baseline above zero, nothing left counts as all of it."""
    if baseline > 0:
        return (baseline - now) / baseline
    return 0.0 if now > 0 else 1.0
