"""Portfolio value breaker: trading pauses when the account is worth too little against what was put into it.

Baseline: the initial equity; after an approved resume, the equity at the resume. Deposits and withdrawals leave the part
that is lost as it is. Scope: the whole account. Unit of `limit`: the loss allowed, as a fraction of the baseline (a floor
of 80 % is 0.20).
"""

from __future__ import annotations

from typing import Final, Self

from market.money import Paise
from risk.breakers.base import BaselineLoss
from risk.schema import RiskLimits

NAME: Final = "portfolio_value"
ENFORCES: Final = ("circuit_breakers.min_portfolio_value_percent",)


class PortfolioValue(BaselineLoss, frozen=True, gc=False, tag=NAME):
    """State of the breaker."""

    @classmethod
    def of(cls, limits: RiskLimits, initial: Paise) -> Self | None:
        """Return the breaker for an account that started with `initial`."""
        return cls(1.0 - limits.circuit_breakers.min_portfolio_value_percent / 100.0, initial)
