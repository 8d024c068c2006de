"""The observation: what a policy sees, as one function over arrays that training (batched) and the daemon (single) share.

Layout for n instruments and look-back L (n = 5, L = 30 gives 173 entries), all from complete sessions up to t:

    n              prices: close(t) / mean of the last L closes - 1
    n              current weights: position value / equity
    1              equity / starting equity
    1              cash / equity
    1              rolling Sharpe ratio: mean / standard deviation (n - 1) of the portfolio's last <= 30 daily
                   returns, times sqrt(252); 0 with fewer than two returns or no variation
    n (n - 1) / 2  correlations of the last L daily returns, pairs (0,1), (0,2) ... (n-2,n-1); 0 without variation
    n L            the last L daily returns, instrument by instrument, oldest first

Everything is a ratio: neither the account's size nor a split shows. Values are clipped to [-10, 10] and are float32.
The market's part depends on dates alone and is computed once for all of history; the account's part is filled in per step.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from market.errors import BadInput

VERSION: Final = "tarazu-observation-1"
CLIP: Final = 10.0
SHARPE_SESSIONS: Final = 30
SESSIONS_PER_YEAR: Final = 252
# Daily variation below this (a standard deviation of 1e-9) is the rounding of a price that does not move.
_NO_VARIATION: Final = 1e-18
_CHUNK: Final = 256

FloatArray = NDArray[np.float64]
Observation = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ObservationSchema:
    """The meaning of each entry. Two schemas with the same `hash` describe the same numbers."""

    n: int
    look_back: int
    names: tuple[str, ...]
    hash: str

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self.names)


@lru_cache(maxsize=32)
def schema(n: int, look_back: int) -> ObservationSchema:
    """Return the schema for n instruments and look-back L; the hash covers names, formulas' version and constants."""
    _check_shape(n, look_back)
    left, right = _pairs(n)
    names = (
        *(f"price.{i}" for i in range(n)),
        *(f"weight.{i}" for i in range(n)),
        "value_ratio",
        "cash_weight",
        "rolling_sharpe",
        *(f"correlation.{i}.{j}" for i, j in zip(left.tolist(), right.tolist(), strict=True)),
        *(f"return.{i}.{look_back - 1 - k}" for i in range(n) for k in range(look_back)),
    )
    description = {
        "version": VERSION,
        "n": n,
        "look_back": look_back,
        "clip": CLIP,
        "sharpe_sessions": SHARPE_SESSIONS,
        "sessions_per_year": SESSIONS_PER_YEAR,
        "names": names,
    }
    canonical = json.dumps(description, sort_keys=True, separators=(",", ":"))
    return ObservationSchema(n, look_back, names, hashlib.sha256(canonical.encode()).hexdigest())


def observation_size(n: int, look_back: int) -> int:
    """Return the number of entries: n + n + 3 + n(n-1)/2 + nL."""
    return 2 * n + 3 + n * (n - 1) // 2 + n * look_back


def market_features(closes: FloatArray, look_back: int) -> FloatArray:
    """Return the market's part of the observation, [T - L, n + n(n-1)/2 + nL], for closes [T, n], oldest first.

    Row k belongs to the session of closes[k + L]. Raises BadInput when T <= L, or a close is missing or not positive.
    """
    count, n = closes.shape
    _check_shape(n, look_back)
    if count <= look_back:
        raise BadInput(f"observation: {count} sessions of closes, allowed: at least {look_back + 1}")
    if not (closes.min() > 0.0 and np.isfinite(closes.max())):
        raise BadInput("observation: a close is missing or not positive")
    rows = count - look_back
    if rows == 1:
        return _features(np.ascontiguousarray(closes.T)[None])
    windows = sliding_window_view(closes, look_back + 1, axis=0)
    out = np.empty((rows, n + n * (n - 1) // 2 + n * look_back))
    # In parts: the correlations of a wide universe over all of history would not fit into memory at once.
    for start in range(0, rows, _CHUNK):
        out[start : start + _CHUNK] = _features(np.ascontiguousarray(windows[start : start + _CHUNK]))
    return out


def _features(windows: FloatArray) -> FloatArray:
    """Return [B, n + n(n-1)/2 + nL] for windows [B, n, L + 1] of closes."""
    batch, n, length = windows.shape
    look_back = length - 1
    recent = windows[:, :, 1:]
    returns = recent / windows[:, :, :-1]
    returns -= 1.0
    left, right = _pairs(n)
    pairs = len(left)
    out = np.empty((batch, n + pairs + n * look_back))
    np.divide(recent[:, :, -1] * look_back, np.add.reduce(recent, axis=-1), out=out[:, :n])
    out[:, :n] -= 1.0
    out[:, n + pairs :] = returns.reshape(batch, n * look_back)
    if pairs:
        centred = returns - np.add.reduce(returns, axis=-1, keepdims=True) / look_back
        products = centred @ centred.transpose(0, 2, 1)
        variation = np.diagonal(products, axis1=1, axis2=2)
        # What does not vary correlates with nothing: an infinite scale makes its correlations 0.
        scale = np.sqrt(np.where(variation > _NO_VARIATION * look_back, variation, np.inf))
        out[:, n : n + pairs] = products[:, left, right] / (scale[:, left] * scale[:, right])
    return out


def rolling_sharpe(window: FloatArray, counts: NDArray[np.int64]) -> FloatArray:
    """Return annualised Sharpe ratios [B] of daily returns `window` [B, W], newest last, of which `counts` [B] are valid.

    Entries before the valid ones must be 0. Fewer than two returns, or returns that do not vary, give 0.
    """
    width = window.shape[1]
    number = np.maximum(counts, 2)
    mean = np.add.reduce(window, axis=1) / number
    gap = window - mean[:, None]
    gap *= np.arange(width) >= (width - counts)[:, None]
    variance = np.add.reduce(gap * gap, axis=1) / (number - 1)
    defined = (counts >= 2) & (variance > _NO_VARIATION)
    deviation = np.sqrt(np.where(defined, variance, 1.0))
    sharpe: FloatArray = np.where(defined, mean / deviation * SESSIONS_PER_YEAR**0.5, 0.0)
    return sharpe


def compose(
    market: FloatArray,
    *,
    weights: FloatArray,
    value_ratio: FloatArray,
    cash_weight: FloatArray,
    sharpe: FloatArray,
    out: Observation | None = None,
) -> Observation:
    """Return observations [B, size] from market rows [B, M], weights [B, n] and three account columns [B]."""
    batch, n = weights.shape
    result = np.empty((batch, market.shape[1] + n + 3), dtype=np.float32) if out is None else out
    result[:, :n] = market[:, :n]
    result[:, n : 2 * n] = weights
    result[:, 2 * n] = value_ratio
    result[:, 2 * n + 1] = cash_weight
    result[:, 2 * n + 2] = sharpe
    result[:, 2 * n + 3 :] = market[:, n:]
    np.clip(result, -CLIP, CLIP, out=result)
    return result


def observe(
    closes: FloatArray,
    look_back: int,
    *,
    weights: FloatArray,
    value_ratio: float,
    cash_weight: float,
    recent_returns: FloatArray | Sequence[float],
) -> Observation:
    """Return one observation [size]: the batched functions on one window. `closes` [T, n] with T >= L + 1.

    Of `recent_returns` the last 30 count. Raises BadInput for too little history or a close that is missing.
    """
    market = market_features(closes[-(look_back + 1) :], look_back)
    window = np.zeros((1, SHARPE_SESSIONS))
    count = min(len(recent_returns), SHARPE_SESSIONS)
    if count:
        window[0, -count:] = recent_returns[-count:]
    sharpe = rolling_sharpe(window, np.array([count]))
    one = np.array([[value_ratio], [cash_weight]])
    return compose(market, weights=weights[None], value_ratio=one[0], cash_weight=one[1], sharpe=sharpe).reshape(-1)


@lru_cache(maxsize=32)
def _pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    left, right = np.triu_indices(n, k=1)
    return left, right


def _check_shape(n: int, look_back: int) -> None:
    if n < 1 or look_back < 2:
        raise BadInput(f"observation: {n} instruments, look-back {look_back}; allowed: at least 1 and 2")
