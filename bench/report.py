"""What a benchmark returns and how it is printed."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from daemon.clock import cpu_seconds


@dataclass(frozen=True, slots=True)
class Ratio:
    """One comparison: `ratio` is ours / baseline, in the unit that `what` names."""

    what: str
    ours: float
    baseline: float
    note: str = ""

    @property
    def ratio(self) -> float:
        """Return ours / baseline."""
        return self.ours / self.baseline if self.baseline else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Return the documented object."""
        return {
            "what": self.what,
            "ours": self.ours,
            "baseline": self.baseline,
            "ratio": self.ratio,
            "note": self.note,
        }


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
    }


def cpu_of(work: Callable[[], Any], *, repeat: int) -> float:
    """Return the least CPU seconds of one call over `repeat` calls: the run that neighbours disturbed least."""
    best = float("inf")
    for _ in range(repeat):
        began = cpu_seconds()
        work()
        best = min(best, cpu_seconds() - began)
    return best


def per_call(work: Callable[[], Any], *, calls: int, rounds: int = 7) -> float:
    """Return CPU seconds per call: the best of `rounds` batches of `calls`."""

    def batch() -> None:
        for _ in range(calls):
            work()

    return cpu_of(batch, repeat=rounds) / calls
