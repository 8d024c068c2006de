"""Rewards, by name; the name and its numbers go into a model's metadata, because models are only comparable with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from strategies.observation import CLIP
from strategies.production_config import Reward

FloatArray = NDArray[np.float64]


def momentum(returns: FloatArray, sharpe: FloatArray, requested_turnover: FloatArray, config: Reward) -> FloatArray:
    """Return rewards [N]: scale x return + sharpe_weight x Sharpe - turnover_penalty x excess turnover, clipped.

    All [N] and of the step itself: `returns` from close t to close t + 1 after charges, `sharpe` the rolling ratio with
    that return in it (bounded as in the observation), `requested_turnover` half of the change of weights that the policy
    asked for, before the gate cut it.
    """
    reward = config.scale * returns + config.sharpe_weight * np.clip(sharpe, -CLIP, CLIP)
    reward -= config.turnover_penalty * np.maximum(requested_turnover - config.turnover_free, 0.0)
    return np.clip(reward, -config.clip, config.clip)


REWARDS: Final[dict[str, Callable[[FloatArray, FloatArray, FloatArray, Reward], FloatArray]]] = {"momentum": momentum}
