"""Liquidation breaker: everything is sold, and trading pauses, when the account has lost more than its owner can bear.

Off unless two keys are turned: it sells without asking. Baseline: the initial equity; after an approved resume, the equity
at the resume. Deposits and withdrawals leave the part that is lost as it is. Scope: the whole account. Unit of `limit`: the
loss allowed, as a fraction of the baseline.
"""

from __future__ import annotations

from typing import Final, Self

from market.money import Paise
from risk.breakers.base import BaselineLoss
from risk.schema import RiskLimits

NAME: Final = "liquidation"
ENFORCES: Final = (
    "emergency.enable_auto_liquidate",
    "emergency.confirm_auto_liquidate",
    "emergency.liquidate_if_loss_exceeds",
)


class Liquidation(BaselineLoss, frozen=True, gc=False, tag=NAME):
    """State of the breaker."""

    @classmethod
    def of(cls, limits: RiskLimits, initial: Paise) -> Self | None:
        """Return the breaker, or None while it is off."""
        emergency = limits.emergency
        return cls(emergency.liquidate_if_loss_exceeds, initial) if emergency.liquidates else None
