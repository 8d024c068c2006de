"""Weekly loss breaker: trading pauses when a calendar week costs too much.

Baseline: account equity at the close of the last session before this ISO week (Monday to Sunday, by the sessions' own
dates); in the very first week, the first known equity. After an approved resume: the equity at the resume. Deposits and
withdrawals leave the part that is lost as it is. Scope: the whole account. Unit of `limit`: fraction of the baseline; a limit
in rupees is turned into one, the one that is used up further counts.
"""

from __future__ import annotations

from datetime import date
from typing import Final, Self

from market.money import Paise
from risk.breakers.base import PeriodLoss
from risk.schema import RiskLimits

NAME: Final = "weekly_loss"
ENFORCES: Final = ("circuit_breakers.max_weekly_loss_percent", "circuit_breakers.max_weekly_loss_absolute")


class WeeklyLoss(PeriodLoss, frozen=True, gc=False, tag=NAME):
    """State of the breaker; `percent` and `absolute` (rupees) as in the limits file."""

    @classmethod
    def of(cls, limits: RiskLimits, initial: Paise) -> Self | None:
        """Return the breaker; the first reading sets the baseline."""
        breakers = limits.circuit_breakers
        return cls(breakers.max_weekly_loss_percent, breakers.max_weekly_loss_absolute, None, initial, initial)

    def begins(self, session: date) -> bool:
        """A period is a week, by year and number."""
        return self.session is None or session.isocalendar()[:2] != self.session.isocalendar()[:2]
