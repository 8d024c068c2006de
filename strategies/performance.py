"""How good it was: measures of a line of equity, shared by training's reports and the daemon's.

Pure numpy. Daily values, 252 sessions a year. Ratios are fractions (0.05 is 5 %). No risk-free rate is taken off.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from market.errors import BadInput

SESSIONS_PER_YEAR: Final = 252
# A standard deviation below this is the rounding of a line that does not move.
_NO_VARIATION: Final = 1e-12

_MOST_LOG: Final = 700.0

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measures:
    """What a line of equity came to. `volatility`, `sharpe` and `annual_return` are per year."""

    total_return: float
    annual_return: float
    volatility: float
    sharpe: float
    max_drawdown: float
    sessions: int

    def to_json(self) -> dict[str, float | int]:
        """Return the measures by name."""
        return asdict(self)


def measure(equity: FloatArray) -> Measures:
    """Return the measures of equity [T + 1], the opening value first. Raises BadInput for a value that is not positive."""
    line = np.asarray(equity, dtype=np.float64)
    if line.ndim != 1 or len(line) == 0 or not (np.isfinite(line).all() and (line > 0.0).all()):
        raise BadInput("performance: equity must be a line of positive numbers")
    returns = daily_returns(line)
    total = float(line[-1] / line[0] - 1.0)
    sessions = len(returns)
    return Measures(
        total_return=total,
        annual_return=_annualised(total, sessions),
        volatility=annual_volatility(returns),
        sharpe=sharpe_ratio(returns),
        max_drawdown=max_drawdown(line),
        sessions=sessions,
    )


def _annualised(total: float, sessions: int) -> float:
    if not sessions:
        return 0.0
    # A few sessions may annualise to more than a float holds: the exponent stops where it would overflow.
    return float(np.expm1(min(np.log1p(total) * SESSIONS_PER_YEAR / sessions, _MOST_LOG)))


def daily_returns(equity: FloatArray) -> FloatArray:
    """Return returns [T] of equity [T + 1]."""
    returns: FloatArray = equity[1:] / equity[:-1] - 1.0
    return returns


def annual_volatility(returns: FloatArray) -> float:
    """Return the sample standard deviation of daily returns, per year; 0 with fewer than two."""
    return float(np.std(returns, ddof=1) * SESSIONS_PER_YEAR**0.5) if len(returns) > 1 else 0.0


def sharpe_ratio(returns: FloatArray) -> float:
    """Return mean over standard deviation of daily returns, per year; 0 where there is no variation."""
    if len(returns) < 2:
        return 0.0
    deviation = float(np.std(returns, ddof=1))
    return float(np.mean(returns)) / deviation * SESSIONS_PER_YEAR**0.5 if deviation > _NO_VARIATION else 0.0


def max_drawdown(equity: FloatArray) -> float:
    """Return the largest fall from a peak, as a fraction of the peak (0.15 = 15 %)."""
    peaks = np.maximum.accumulate(equity)
    return float(np.max(1.0 - equity / peaks))


def annual_turnover(*, traded: float, mean_equity: float, sessions: int) -> float:
    """Return one-way turnover per year: half of what was bought and sold, over mean equity, over years."""
    return traded / 2.0 / mean_equity / (max(sessions, 1) / SESSIONS_PER_YEAR)
