"""What a strategy is: a function of the market's recent past and the portfolio to target weights.

A strategy is pure: same context, same answer. It never sees the clock, the broker or a bar of the session it trades in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class StrategyContext:
    """What a decision may look at. n instruments in the universe's order, L = look-back in sessions.

    `closes` has shape [T, n], T >= L + 1 once history suffices: daily closes up to and including the last complete
    session, oldest first. `weights` [n] are the current weights (position value / equity), `value_ratio` is equity /
    starting equity, `cash_weight` is cash / equity, `recent_returns` [<= 30] are the portfolio's last daily returns.
    """

    session: date
    closes: NDArray[np.float64]
    weights: NDArray[np.float64]
    value_ratio: float
    cash_weight: float
    recent_returns: NDArray[np.float64]


class Strategy(Protocol):
    """Target weights for the universe; None means "hold" (for instance: not enough history yet)."""

    @property
    def name(self) -> str:
        """Short name, as the command line and the journal show it."""
        ...

    @property
    def symbols(self) -> tuple[str, ...]:
        """The ordered universe."""
        ...

    @property
    def look_back(self) -> int:
        """Sessions of history beyond the last close that `target` needs."""
        ...

    def target(self, context: StrategyContext) -> NDArray[np.float64] | None:
        """Return target weights of shape [n], each >= 0 and summing to at most 1, or None to hold."""
        ...
