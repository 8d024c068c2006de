"""Model loss breaker: the model before is taken back, and trading pauses, when a model has lost too much.

Baseline: the equity at the first reading after the model was activated; after an approved resume, the equity at the
resume. Deposits and withdrawals leave the part that is lost as it is. While no model is active (a classical strategy trades)
there is none, and nothing trips. Scope: the whole account. Unit of `limit`: fraction of the baseline.
"""

from __future__ import annotations

from typing import Final, Self

import msgspec

from market.money import Paise
from risk.breakers.base import KnownReading, Verdict, after_cash, before_deposit, fraction_lost
from risk.schema import RiskLimits

NAME: Final = "model_loss"
ENFORCES: Final = ("recovery.enable_auto_rollback", "recovery.rollback_if_loss_exceeds")


class ModelLoss(msgspec.Struct, frozen=True, gc=False, tag=NAME):
    """State of the breaker. `model` is the active version; `baseline` None: the next reading sets it."""

    limit: float
    model: str = ""
    baseline: Paise | None = None

    @classmethod
    def of(cls, limits: RiskLimits, initial: Paise) -> Self | None:
        """Return the breaker, or None when no model is ever taken back."""
        recovery = limits.recovery
        return cls(recovery.rollback_if_loss_exceeds) if recovery.enable_auto_rollback else None

    def activate(self, model: str) -> Self:
        """Return the breaker of a model that has just been activated; the same model again changes nothing."""
        return self if model == self.model else type(self)(self.limit, model)

    def observe(self, reading: KnownReading) -> tuple[Self, Verdict]:
        """Return the next state and the verdict for one reading."""
        if not self.model:
            return self, Verdict(NAME, 0.0, self.limit)
        state = self
        if self.baseline is None:
            state = type(self)(self.limit, self.model, reading.equity)
        elif reading.net_deposit:
            state = type(self)(self.limit, self.model, after_cash(self.baseline, reading))
        assert state.baseline is not None
        return state, Verdict(NAME, fraction_lost(now=reading.equity, baseline=state.baseline), self.limit, self.model)

    def restart(self, reading: KnownReading) -> Self:
        """Measure from this reading on."""
        return type(self)(self.limit, self.model, before_deposit(reading))
