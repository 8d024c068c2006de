"""Portfolio value breaker: trading pauses when the account is worth too little against what was put into it.

Baseline: the initial equity, adjusted for all deposits and withdrawals; after an approved resume, the equity at the
resume. Scope: the whole account. Unit of `limit`: the loss allowed, as a fraction of the baseline (a floor of 80 % is
0.20).
"""

from __future__ import annotations

from typing import Final, Self

import msgspec

from market.money import Paise
from risk.breakers.base import KnownReading, Verdict, before_deposit, fraction_lost
from risk.schema import RiskLimits

NAME: Final = "portfolio_value"
ENFORCES: Final = ("circuit_breakers.min_portfolio_value_percent",)


class PortfolioValue(msgspec.Struct, frozen=True, gc=False, tag=NAME):
    """State of the breaker."""

    limit: float
    baseline: Paise

    @classmethod
    def of(cls, limits: RiskLimits, initial: Paise) -> Self:
        """Return the breaker for an account that started with `initial`."""
        return cls(1.0 - limits.circuit_breakers.min_portfolio_value_percent / 100.0, initial)

    def observe(self, reading: KnownReading) -> tuple[Self, Verdict]:
        """Return the next state and the verdict for one reading."""
        state = self
        if reading.net_deposit:
            state = type(self)(self.limit, Paise(self.baseline + reading.net_deposit))
        return state, Verdict(NAME, fraction_lost(now=reading.equity, baseline=state.baseline), self.limit)

    def restart(self, reading: KnownReading) -> Self:
        """Measure from this reading on."""
        return type(self)(self.limit, before_deposit(reading))

    def recall(self, saved: PortfolioValue) -> Self:
        """Take over the baseline."""
        return type(self)(self.limit, saved.baseline)
