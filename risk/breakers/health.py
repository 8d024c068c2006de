"""Health: what is not a loss and pauses trading all the same: data or a model that cannot be relied on.

Baseline: none; failures in a row are counted, one good answer starts the count again, and so does an approved resume.
Scope: the whole account. Unit of `limit`: failures in a row. Counted in the fold, latched like any breaker.
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
    """A count of failures in a row; `limit` 0 means that nobody counts."""

    name: str
    limit: int
    count: int = 0
    detail: str = ""

    @classmethod
    def of(cls, limits: RiskLimits) -> tuple[Self, Self]:
        """Return the health of data and of the model, as the limits have them watched."""
        monitoring = limits.monitoring
        return (
            cls(DATA_HEALTH, FAILURES_IN_A_ROW if monitoring.check_data_quality else 0),
            cls(MODEL_HEALTH, FAILURES_IN_A_ROW if monitoring.check_model_health else 0),
        )

    def bad(self, detail: str) -> Self:
        """Count a failure."""
        return type(self)(self.name, self.limit, self.count + 1, detail)

    def good(self) -> Self:
        """Start again."""
        return type(self)(self.name, self.limit) if self.count else self

    @property
    def verdict(self) -> Verdict:
        """What the count means; without a limit nothing is used."""
        if not self.limit:
            return Verdict(self.name, 0.0, float(FAILURES_IN_A_ROW))
        return Verdict(self.name, float(self.count), float(self.limit), self.detail)
