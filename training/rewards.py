"""Rewards, by name; the name and its numbers go into a model's metadata, because models are only comparable with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from strategies.observation import CLIP
from strategies.production_config import Reward

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moment:
    """What a step brought, each [N], of the step itself: no reward depends on the past alone.

    `returns` from close t to close t + 1 after charges; `sharpe` the rolling ratio with that return in it; `turnover` half
    of the change of weights that the policy asked for, before the gate cut it; `drawdown` how far equity is below its peak
    since the episode began, as a fraction of the peak.
    """

    returns: FloatArray
    sharpe: FloatArray
    turnover: FloatArray
    drawdown: FloatArray


def momentum(moment: Moment, config: Reward) -> FloatArray:
    """Return rewards [N]: scale x return + sharpe_weight x Sharpe (bounded as in the observation) - turnover_penalty x
    excess turnover, clipped."""
    reward = config.scale * moment.returns + config.sharpe_weight * np.clip(moment.sharpe, -CLIP, CLIP)
    reward -= config.turnover_penalty * np.maximum(moment.turnover - config.turnover_free, 0.0)
    return np.clip(reward, -config.clip, config.clip)


REWARDS: Final[dict[str, Callable[[Moment, Reward], FloatArray]]] = {"momentum": momentum}
