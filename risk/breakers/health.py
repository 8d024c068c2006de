"""Health: what is not a loss and pauses trading all the same: data or a model that cannot be relied on.

Baseline: none; failures in a row are counted, one good answer starts the count again, and so does an approved resume.
Scope: the whole account. Unit of `limit`: 1, at three failures in a row. Counted in the fold, latched like any breaker.
"""

from __future__ import annotations

from typing import Final, Self

import msgspec

from risk.breakers.base import Verdict
from risk.schema import RiskLimits

DATA_HEALTH: Final = "data_health"
MODEL_HEALTH: Final = "model_health"
ENFORCES: Final = ("monitoring.check_data_quality", "monitoring.check_model_health")
# One bad answer is an accident and is held or refused; three in a row are a state.
FAILURES_IN_A_ROW: Final = 3


class Health(msgspec.Struct, frozen=True, gc=False):
    """A count of failures in a row; nobody counts what is not `watched`."""

    name: str
    watched: bool
    count: int = 0
    detail: str = ""

    @classmethod
    def of(cls, limits: RiskLimits) -> tuple[Self, Self]:
        """Return the health of data and of the model, as the limits have them watched."""
        monitoring = limits.monitoring
        return cls(DATA_HEALTH, monitoring.check_data_quality), cls(MODEL_HEALTH, monitoring.check_model_health)

    def bad(self, detail: str, *, count: int | None = None) -> Self:
        """Count a failure; `count` says how many there are in a row by now, when somebody else has counted."""
        if not self.watched:
            return self
        return type(self)(self.name, True, self.count + 1 if count is None else count, detail)

    def good(self) -> Self:
        """Start again."""
        return type(self)(self.name, self.watched) if self.count else self

    @property
    def verdict(self) -> Verdict:
        """How much of the patience is used up."""
        return Verdict(self.name, self.count / FAILURES_IN_A_ROW, 1.0, self.detail)
