"""From a raw action to target weights: one function, the same in training and in the daemon.

An action has one entry in [-1, 1] per instrument. With v = (action + 1) / 2 the weights are v / max(1, sum v): all -1 is
all cash, a sum below 1 leaves the rest in cash, a larger one is scaled down to fully invested. So the scale of an action
matters, and a defensive policy can leave the market.

Weights are multiples of 0.000001. A decision must not hang on the last bit of another CPU's arithmetic: what differs
there differs by about 1e-7 and mostly rounds to the same weight. Should rounding lift the sum above 1, the largest weight
gives the excess back.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_PARTS: Final = 1e6


def weights_from_actions(actions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return target weights [B, n] for actions [B, n]; each >= 0, each row's sum <= 1. A NaN stays a NaN."""
    share = (np.clip(actions.astype(np.float64), -1.0, 1.0) + 1.0) * 0.5
    share /= np.maximum(np.add.reduce(share, axis=1, keepdims=True), 1.0)
    return rounded(share)


def weights_from_action(action: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return target weights [n] for one action [n]."""
    return weights_from_actions(action[None]).reshape(-1)


def rounded(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights [B, n], rows adding up to at most 1, as multiples of 0.000001 whose rows do so exactly."""
    parts = np.rint(weights * _PARTS)
    excess = np.add.reduce(parts, axis=1) - _PARTS
    if (excess > 0.0).any():
        rows = np.flatnonzero(excess > 0.0)
        parts[rows, parts[rows].argmax(axis=1)] -= excess[rows]
    result: NDArray[np.float64] = parts / _PARTS
    return result
