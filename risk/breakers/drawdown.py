"""Drawdown breaker: trading pauses when equity falls too far below its peak.

Baseline: the highest account equity since the start or the last approved resume. Deposits and withdrawals leave the part that
is lost as it is. Scope: the whole account. Unit of `limit`: fraction of the peak (0.15 = 15 %).
"""

from __future__ import annotations

from typing import Final, Self

import msgspec

from market.money import Paise
from risk.breakers.base import KnownReading, Verdict, after_cash, before_deposit, fraction_lost
from risk.schema import RiskLimits

NAME: Final = "drawdown"
ENFORCES: Final = ("circuit_breakers.max_drawdown_percent",)


class Drawdown(msgspec.Struct, frozen=True, gc=False, tag=NAME):
    """State of the breaker."""

    limit: float
    peak: Paise

    @classmethod
    def of(cls, limits: RiskLimits, initial: Paise) -> Self:
        """Return the breaker; the first peak is the initial equity."""
        return cls(limits.circuit_breakers.max_drawdown_percent / 100.0, initial)

    def observe(self, reading: KnownReading) -> tuple[Self, Verdict]:
        """Return the next state and the verdict for one reading."""
        equity = reading.equity
        peak = after_cash(self.peak, reading)
        if equity > peak:
            peak = equity
        state = self if peak == self.peak else type(self)(self.limit, Paise(peak))
        return state, Verdict(NAME, fraction_lost(now=equity, baseline=peak), self.limit)

    def restart(self, reading: KnownReading) -> Self:
        """Measure from this reading on: the peak is what there is now."""
        return type(self)(self.limit, before_deposit(reading))
