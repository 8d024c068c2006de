"""The projection with numpy: one portfolio of many instruments, or many portfolios at once.

The method is that of `risk.projection`, whose names are used here. One portfolio takes Newton steps on whole arrays;
many portfolios walk their sorted breakpoints side by side, since each needs another number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from risk.bounds import (
    MAX_WEIGHT,
    MIN_WEIGHT,
    TOLERANCE,
    TURNOVER,
    UNTRADABLE,
    Bounds,
    Projection,
    fill,
    fit_minimum,
    fit_turnover,
    keeps_all,
    pin,
)

FloatArray = NDArray[np.float64]

_EXACT: Final = 1e-14
_STEPS: Final = 16


# ---- one portfolio ---------------------------------------------------------------------------------------------------


def project_arrays(target: Sequence[float], previous: Sequence[float], bounds: Bounds) -> Projection:
    """`risk.projection.project` for many instruments."""
    n = len(target)
    t, p = np.fromiter(target, np.float64, n), np.fromiter(previous, np.float64, n)
    # A product with ones is the cheapest sum of a short array.
    add = np.ones(n).dot
    relaxed: dict[str, float] = {}
    moved: dict[str, float] = {}
    low, high, budget, limit, pinned, inside = _layers(p, bounds, add, relaxed)
    first = np.minimum(t, high)
    np.maximum(first, low, out=first)
    _clipped(t - first, pinned, add, moved)
    gross, traded = float(add(first)), float(add(np.abs(first - p)))
    heavy, busy = gross > budget + TOLERANCE, traded > limit + TOLERANCE
    if not (heavy or busy):
        unchanged = not (moved or relaxed or pinned is not None)
        return Projection(tuple(target if unchanged else first.tolist()), tuple(moved), moved, relaxed)

    within = first
    if heavy:
        within = _level(t, low, high, budget, add)
        moved[bounds.budget_name] = float(add(np.abs(within - first)))
        if float(add(np.abs(within - p))) <= limit + TOLERANCE:
            return Projection(tuple(within.tolist()), tuple(moved), moved, relaxed)
    x = t - p
    least: Any = 0.0
    least_sold: Any = 0.0
    most, most_sold = high - p, p - low
    if not inside:
        least, least_sold = np.maximum(-most_sold, 0.0), np.maximum(-most, 0.0)
        most, most_sold = np.maximum(most, 0.0), np.maximum(most_sold, 0.0)
    if busy:
        # Turnover alone may be enough; then the budget does not bind, whatever the first step said.
        sells = x < 0.0 if inside else (p > high) | ((x < 0.0) & (p >= low))
        sign = np.where(sells, -1.0, 1.0)
        amounts = _level(sign * x, np.where(sells, least_sold, least), np.where(sells, most_sold, most), limit, add)
        amounts *= sign
        weights = amounts + p
        distance = float(add(np.abs(weights - first)))
        if float(add(weights)) <= budget + TOLERANCE:
            moved.pop(bounds.budget_name, None)
            moved[TURNOVER] = distance
            return Projection(tuple(weights.tolist()), tuple(moved), moved, relaxed)
    change = budget - float(add(p))
    final = p + _level(x, least, most, 0.5 * (limit + change), add)
    final -= _level(-x, least_sold, most_sold, 0.5 * (limit - change), add)
    np.maximum(final, 0.0, out=final)
    if heavy:
        moved[TURNOVER] = float(add(np.abs(final - within)))
    else:
        moved[TURNOVER] = distance
        moved[bounds.budget_name] = float(add(np.abs(final - weights)))
    return Projection(tuple(final.tolist()), tuple(moved), moved, relaxed)


def _layers(
    p: FloatArray, bounds: Bounds, add: Any, relaxed: dict[str, float]
) -> tuple[Any, Any, float, float, NDArray[np.intp] | None, bool]:
    """`risk.bounds.layers`: lower, upper (one number, or one each), budget, traded, pinned, and whether p is inside."""
    n = len(p)
    smallest, largest = float(p.min()), float(p.max())
    low: Any = bounds.min_weight
    high: Any = bounds.max_weight
    pinned: NDArray[np.intp] | None = None
    fixed, free = 0.0, n
    if bounds.tradable is None:
        if keeps_all(bounds, n, smallest, largest, float(add(p))):
            return low, high, bounds.budget, 2.0 * bounds.turnover, None, True
    else:
        pinned = np.flatnonzero(~np.fromiter(bounds.tradable, np.bool_, n))
        free -= len(pinned)
        fixed = pin(p[pinned].tolist(), bounds, relaxed)
    budget, least = fit_minimum(fixed, free, bounds, relaxed)
    low = least
    if pinned is not None:
        low, high = np.full(n, least), np.full(n, high)
        low[pinned] = high[pinned] = p[pinned]
    kept = np.minimum(p, high)
    short = np.maximum(low - p, 0.0)
    gross, missing = float(add(kept)), float(add(short))
    forced = float(add(p - kept)) if largest > bounds.max_weight else 0.0
    limit, paid = fit_turnover(forced, gross, missing, budget, bounds, relaxed)
    if paid < missing:
        level = fill(p[short > 0.0].tolist(), paid, least, bounds, relaxed)
        low = np.minimum(low, np.maximum(p, level))
    return low, high, budget, limit, pinned, False


def _clipped(cut: FloatArray, pinned: NDArray[np.intp] | None, add: Any, moved: dict[str, float]) -> None:
    """Say what pins and bounds took off (`cut` > 0) or put on."""
    if pinned is not None:
        amount = float(np.abs(cut[pinned]).sum())
        cut[pinned] = 0.0
        if amount > TOLERANCE:
            moved[UNTRADABLE] = amount
    net, both = float(add(cut)), float(add(np.abs(cut)))
    if both + net > 2.0 * TOLERANCE:
        moved[MAX_WEIGHT] = 0.5 * (both + net)
    if both - net > 2.0 * TOLERANCE:
        moved[MIN_WEIGHT] = 0.5 * (both - net)


def _level(x: FloatArray, low: Any, high: Any, total: float, add: Any) -> FloatArray:
    """Return clip(x - c, low, high) [n] for the c with which it adds up to `total`, or to the nearest possible."""
    c = 0.0
    below, above = -1e300, 1e300
    for _ in range(_STEPS):
        d = x - c
        amounts: FloatArray = np.minimum(d, high)
        np.maximum(amounts, low, out=amounts)
        gap = float(add(amounts)) - total
        if -_EXACT <= gap <= _EXACT:
            return amounts
        # One that sits on its bound counts as free here: the step is then too short, never wrong.
        slope = int(np.count_nonzero(amounts == d))
        if not slope:
            break
        if gap > 0.0:
            below = c
        else:
            above = c
        c += gap / slope
        if not below < c < above:
            break
    n = len(x)
    wide = np.broadcast_to(low, (1, n)), np.broadcast_to(high, (1, n))
    found = level_batch(x[None], wide[0], wide[1], np.array([total]))
    return np.asarray(np.maximum(np.minimum(x - found[0], high), low))


# ---- many portfolios -------------------------------------------------------------------------------------------------


def project_batch(
    targets: FloatArray, previous: FloatArray, bounds: Bounds, *, tradable: NDArray[np.bool_] | None = None
) -> FloatArray:
    """Return the projections [B, n] of `targets` [B, n] from `previous` [B, n]: `project`, row by row.

    `tradable` [B, n] (or [n]) replaces the flags in `bounds`. Layered feasibility included; only weights come back.
    """
    if tradable is None and bounds.tradable is not None:
        tradable = np.array(bounds.tradable, dtype=np.bool_)
    lower, upper, budget, limit = _layers_batch(previous, bounds, tradable)
    first = np.clip(targets, lower, upper)
    weights = first
    over = first.sum(axis=1) > budget + TOLERANCE
    if over.any():
        c = level_batch(targets[over], lower[over], upper[over], budget[over])
        weights = first.copy()
        weights[over] = np.clip(targets[over] - c[:, None], lower[over], upper[over])
    busy = np.abs(weights - previous).sum(axis=1) > limit + TOLERANCE
    if not busy.any():
        return np.asarray(weights)
    t, p, low, high = targets[busy], previous[busy], lower[busy], upper[busy]
    total, cap = limit[busy], budget[busy]
    x = t - p
    least, most = np.maximum(low - p, 0.0), np.maximum(high - p, 0.0)
    least_sold, most_sold = np.maximum(p - high, 0.0), np.maximum(p - low, 0.0)
    sells = (p > high) | ((x < 0.0) & (p >= low))
    sign = np.where(sells, -1.0, 1.0)
    y, some, all_of_it = sign * x, np.where(sells, least_sold, least), np.where(sells, most_sold, most)
    found = p + sign * np.clip(y - level_batch(y, some, all_of_it, total)[:, None], some, all_of_it)
    # Turnover alone is the answer only where it binds without the budget, and where it then keeps the budget.
    both = np.abs(first[busy] - p).sum(axis=1) <= total + TOLERANCE
    both |= found.sum(axis=1) > cap + TOLERANCE
    if both.any():
        change, half = cap[both] - p[both].sum(axis=1), total[both]
        x, least, most, least_sold, most_sold = x[both], least[both], most[both], least_sold[both], most_sold[both]
        c = level_batch(x, least, most, 0.5 * (half + change))
        b = level_batch(-x, least_sold, most_sold, 0.5 * (half - change))
        bought, sold = np.clip(x - c[:, None], least, most), np.clip(-x - b[:, None], least_sold, most_sold)
        found[both] = np.maximum(p[both] + bought - sold, 0.0)
    out = weights.copy()
    out[busy] = found
    return np.asarray(out)


def level_batch(x: FloatArray, low: FloatArray, high: FloatArray, total: FloatArray) -> FloatArray:
    """Return c [B] with sum(clip(x - c, low, high), axis=1) = total [B], by a walk over the sorted breakpoints."""
    n = x.shape[1]
    corners = np.concatenate([x - high, x - low], axis=1)
    order = np.argsort(corners, axis=1, kind="stable")
    corners = np.take_along_axis(corners, order, axis=1)
    slope = np.cumsum(np.where(order < n, 1.0, -1.0), axis=1)[:, :-1]
    drop = slope * np.diff(corners, axis=1)
    value = np.empty_like(corners)
    value[:, 0] = high.sum(axis=1)
    value[:, 1:] = value[:, :1] - np.cumsum(drop, axis=1)
    reached = (value[:, 1:] <= total[:, None]) & (slope > 0.0)
    any_reached = reached.any(axis=1)
    k = np.where(any_reached, reached.argmax(axis=1), 2 * n - 2)
    rows = np.arange(len(x))
    at, v, s = corners[rows, k], value[rows, k], slope[rows, k]
    gap = np.maximum(v - total, 0.0)
    step = np.divide(gap, s, out=np.zeros_like(gap), where=s > 0.0)
    return np.asarray(np.where(any_reached, at + step, corners[:, -1]))


def _layers_batch(
    previous: FloatArray, bounds: Bounds, tradable: NDArray[np.bool_] | None
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """`risk.bounds.layers` for each row: lower, upper [B, n], budget and traded [B]."""
    rows, n = previous.shape
    lower = np.full((rows, n), bounds.min_weight)
    upper = np.full((rows, n), bounds.max_weight)
    budget = np.full(rows, bounds.budget)
    limit = np.full(rows, 2.0 * bounds.turnover)
    free = np.ones((rows, n), dtype=np.bool_)
    if tradable is not None:
        free &= tradable
        lower = np.where(free, lower, previous)
        upper = np.where(free, upper, previous)
    fixed = np.where(free, 0.0, previous).sum(axis=1)
    count = free.sum(axis=1)
    budget = np.maximum(budget, fixed)
    tight = fixed + bounds.min_weight * count > budget
    if tight.any():
        reduced = np.maximum(budget - fixed, 0.0) / np.maximum(count, 1)
        lower = np.where(tight[:, None] & free, reduced[:, None], lower)
    forced = np.maximum(previous - upper, 0.0).sum(axis=1)
    kept = np.minimum(previous, upper).sum(axis=1)
    short = np.maximum(lower - previous, 0.0)
    missing = short.sum(axis=1)
    needed = forced + np.maximum(kept - budget, 0.0)
    limit = np.maximum(limit, needed)
    if missing.any():
        room, spare = np.maximum(budget - kept, 0.0), limit - needed
        paid = np.minimum(missing, np.where(spare <= room, spare, room + 0.5 * (spare - room)))
        few = paid < missing
        if few.any():
            held = previous[few]
            level = -level_batch(-held, np.zeros_like(held), short[few], paid[few])
            lower[few] = np.minimum(lower[few], np.maximum(held, level[:, None]))
    return lower, upper, budget, limit
