"""Weekly loss breaker: trading pauses when a calendar week costs too much.

Baseline: account equity at the close of the last session before this ISO week (Monday to Sunday), adjusted for
deposits and withdrawals since; in the very first week, the first known equity. After an approved resume: the equity
at the resume. Scope: the whole account. Unit of `limit`: fraction of the baseline; a limit in rupees is turned into
one, the tighter counts.
"""

from __future__ import annotations

from datetime import date
from typing import Final, Self

import msgspec

from market.money import Paise
from risk.breakers.base import KnownReading, Verdict, before_deposit, fraction_lost, tighter
from risk.schema import RiskLimits

NAME: Final = "weekly_loss"
ENFORCES: Final = ("circuit_breakers.max_weekly_loss_percent", "circuit_breakers.max_weekly_loss_absolute")


class WeeklyLoss(msgspec.Struct, frozen=True, gc=False, tag=NAME):
    """State of the breaker; `session` is the last one seen, so that the week is looked up once a session."""

    percent: float
    absolute: float | None
    session: date | None
    baseline: Paise
    limit: float

    @classmethod
    def of(cls, limits: RiskLimits, initial: Paise) -> Self:
        """Return the breaker; the first reading sets the baseline."""
        breakers = limits.circuit_breakers
        percent, absolute = breakers.max_weekly_loss_percent, breakers.max_weekly_loss_absolute
        return cls(percent, absolute, None, initial, tighter(percent, absolute, initial))

    def observe(self, reading: KnownReading) -> tuple[Self, Verdict]:
        """Return the next state and the verdict for one reading."""
        state = self
        session = reading.session
        if session != self.session:
            if self.session is None or session.isocalendar()[:2] != self.session.isocalendar()[:2]:
                before = reading.previous_close_equity
                baseline = before + reading.net_deposit if before is not None else reading.equity
            else:
                baseline = self.baseline + reading.net_deposit
            state = self._from(session, baseline)
        elif reading.net_deposit:
            state = self._from(session, self.baseline + reading.net_deposit)
        return state, Verdict(NAME, fraction_lost(now=reading.equity, baseline=state.baseline), state.limit)

    def restart(self, reading: KnownReading) -> Self:
        """Measure from this reading on."""
        return self._from(reading.session, before_deposit(reading))

    def recall(self, saved: WeeklyLoss) -> Self:
        """Take over session and baseline."""
        return self._from(saved.session, saved.baseline)

    def _from(self, session: date | None, baseline: int) -> Self:
        limit = tighter(self.percent, self.absolute, baseline)
        return type(self)(self.percent, self.absolute, session, Paise(baseline), limit)
