"""Daily loss breaker: trading pauses when a session costs too much.

Baseline: account equity at the previous session's close, adjusted for deposits and withdrawals since; on the very
first session, the first known equity. After an approved resume within the same session: the equity at the resume.
Scope: the whole account. Unit of `limit`: fraction of the baseline; a limit in rupees is turned into one, the tighter
counts.
"""

from __future__ import annotations

from datetime import date
from typing import Final, Self

import msgspec

from market.money import Paise
from risk.breakers.base import KnownReading, Verdict, before_deposit, fraction_lost, tighter
from risk.schema import RiskLimits

NAME: Final = "daily_loss"
ENFORCES: Final = ("circuit_breakers.max_daily_loss_percent", "circuit_breakers.max_daily_loss_absolute")


class DailyLoss(msgspec.Struct, frozen=True, gc=False, tag=NAME):
    """State of the breaker; `percent` and `absolute` (rupees) as in the limits file."""

    percent: float
    absolute: float | None
    session: date | None
    baseline: Paise
    limit: float

    @classmethod
    def of(cls, limits: RiskLimits, initial: Paise) -> Self:
        """Return the breaker; the first reading sets the baseline."""
        percent, absolute = (
            limits.circuit_breakers.max_daily_loss_percent,
            limits.circuit_breakers.max_daily_loss_absolute,
        )
        return cls(percent, absolute, None, initial, tighter(percent, absolute, initial))

    def observe(self, reading: KnownReading) -> tuple[Self, Verdict]:
        """Return the next state and the verdict for one reading."""
        state = self
        if reading.session != self.session:
            before = reading.previous_close_equity
            # With no close before it, the session starts from what was there before this reading's deposit.
            baseline = before + reading.net_deposit if before is not None else reading.equity
            state = self._from(reading.session, baseline)
        elif reading.net_deposit:
            state = self._from(self.session, self.baseline + reading.net_deposit)
        return state, Verdict(NAME, fraction_lost(now=reading.equity, baseline=state.baseline), state.limit)

    def restart(self, reading: KnownReading) -> Self:
        """Measure from this reading on."""
        return self._from(reading.session, before_deposit(reading))

    def recall(self, saved: DailyLoss) -> Self:
        """Take over session and baseline."""
        return self._from(saved.session, saved.baseline)

    def _from(self, session: date | None, baseline: int) -> Self:
        limit = tighter(self.percent, self.absolute, baseline)
        return type(self)(self.percent, self.absolute, session, Paise(baseline), limit)
