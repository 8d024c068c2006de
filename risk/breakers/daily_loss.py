"""Daily loss breaker: trading pauses when a session costs too much.

Baseline: account equity at the previous session's close; on the very first session, the first known equity. After an
approved resume within the same session: the equity at the resume. Deposits and withdrawals leave the part that is lost as
it is. Scope: the whole account. Unit of `limit`: fraction of the baseline; a limit in rupees is turned into one, the one that
is used up further counts.
"""

from __future__ import annotations

from datetime import date
from typing import Final, Self

from market.money import Paise
from risk.breakers.base import PeriodLoss
from risk.schema import RiskLimits

NAME: Final = "daily_loss"
ENFORCES: Final = ("circuit_breakers.max_daily_loss_percent", "circuit_breakers.max_daily_loss_absolute")


class DailyLoss(PeriodLoss, frozen=True, gc=False, tag=NAME):
    """State of the breaker; `percent` and `absolute` (rupees) as in the limits file."""

    @classmethod
    def of(cls, limits: RiskLimits, initial: Paise) -> Self | None:
        """Return the breaker; the first reading sets the baseline."""
        breakers = limits.circuit_breakers
        return cls(breakers.max_daily_loss_percent, breakers.max_daily_loss_absolute, None, initial, initial)

    def begins(self, session: date) -> bool:
        """Every session is a period of its own."""
        return True
