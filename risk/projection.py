"""The projection: the closest feasible weights to a target.

Closest in the Euclidean sense under: min_weight <= w <= max_weight for each instrument, sum(w) <= budget, half-turnover
0.5 * sum|w - previous| <= turnover, untradable instruments pinned to what is held, no selling short.

**Method.** The problem separates by instrument for two multipliers, a (budget) and m (turnover). With x = t - previous,
the bought part of an instrument depends on c = a + m alone and the sold part on b = a - m alone:

    w - previous = clip(x - c, least bought, most bought) - clip(b - x, least sold, most sold)

so each of the possible cases (no multiplier, one of them, both) is one or two equations `sum(clip(x - c, low, high))
= total`, monotone and piecewise linear, solved exactly by walking the sorted breakpoints: O(n log n), no iteration,
no tolerance.

**Layers.** When the limits cannot all hold at once, they give way in a fixed order that depends on the previous weights
alone, never on the target (docs/decisions/0002): pinned, then budget, then max weight, then turnover, then min
weight. The result names what was relaxed and which bound was used instead. The function never raises for numbers that
are finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from risk.schema import PositionLimits

ENFORCES: Final = (
    "position_limits.max_weight_per_stock",
    "position_limits.min_weight_per_stock",
    "position_limits.max_daily_turnover",
    "position_limits.min_cash_reserve",
    "position_limits.max_leverage",
)

MAX_WEIGHT: Final = "max_weight"
MIN_WEIGHT: Final = "min_weight"
CASH_RESERVE: Final = "cash_reserve"
LEVERAGE: Final = "leverage"
TURNOVER: Final = "turnover"
UNTRADABLE: Final = "untradable"

# Weights closer than this count as equal: a hundredth of a paisa on an account of ten crore rupees.
TOLERANCE: Final = 1e-12
# Above this many instruments numpy is faster than plain Python.
_SMALL: Final = 24

FloatArray = NDArray[np.float64]


class Bounds(msgspec.Struct, frozen=True, gc=False):
    """What must hold, as fractions of equity. `tradable` runs parallel to the weights; None means all are tradable."""

    max_weight: float
    min_weight: float
    budget: float
    turnover: float
    budget_name: str = CASH_RESERVE
    tradable: tuple[bool, ...] | None = None

    @classmethod
    def of(
        cls, limits: PositionLimits, *, tradable: tuple[bool, ...] | None = None, turnover_used: float = 0.0
    ) -> Bounds:
        """Return the bounds of the position limits; `turnover_used` is half-turnover already traded in this session."""
        return cls(
            limits.max_weight_per_stock,
            limits.min_weight_per_stock,
            limits.budget,
            max(0.0, limits.max_daily_turnover - turnover_used),
            LEVERAGE if limits.max_leverage < 1.0 - limits.min_cash_reserve else CASH_RESERVE,
            tradable,
        )


class Projection(msgspec.Struct, frozen=True, gc=False):
    """The result. `moved`: limit -> how far it moved the target (L1, limits applied one after the other).

    `relaxed`: limit -> the bound that was used instead, for limits that could not hold. `active` are the limits in
    `moved`.
    """

    weights: tuple[float, ...]
    active: tuple[str, ...] = ()
    moved: dict[str, float] = {}
    relaxed: dict[str, float] = {}


def project(target: Sequence[float], previous: Sequence[float], bounds: Bounds) -> Projection:
    """Return the closest feasible weights to `target` [n], starting from the held weights `previous` [n].

    Both are fractions of equity, finite, `previous` >= 0. A feasible target comes back unchanged, bit for bit.
    """
    if _feasible(target, previous, bounds):
        return Projection(tuple(target))
    if len(target) > _SMALL:
        return _project_large(target, previous, bounds)
    return _project_small(target, previous, bounds)


def _feasible(target: Sequence[float], previous: Sequence[float], bounds: Bounds) -> bool:
    if not target or bounds.tradable is not None:
        return not target
    if min(target) < bounds.min_weight - TOLERANCE or max(target) > bounds.max_weight + TOLERANCE:
        return False
    if sum(target) > bounds.budget + TOLERANCE:
        return False
    traded = 0.0
    for wanted, held in zip(target, previous, strict=True):
        traded += abs(wanted - held)
    return traded <= 2.0 * bounds.turnover + TOLERANCE


# ---- plain Python, small n -------------------------------------------------------------------------------------------


def _level(pieces: list[tuple[float, float, float]], total: float) -> float:
    """Return c with sum(clip(x - c, low, high)) = total over pieces (x, low, high), or the nearest end of its range."""
    corners: list[tuple[float, int]] = []
    value = 0.0
    for x, low, high in pieces:
        value += high
        corners.append((x - high, 1))
        corners.append((x - low, -1))
    corners.sort(key=_FIRST)
    at = corners[0][0]
    slope = 0
    for corner, change in corners:
        if slope:
            after = value - slope * (corner - at)
            if after <= total:
                return at + (value - total) / slope if value > total else at
            value = after
        at = corner
        slope += change
    return at


_FIRST: Final = itemgetter(0)


def _project_small(target: Sequence[float], previous: Sequence[float], bounds: Bounds) -> Projection:
    lower, upper, budget, traded_limit, relaxed, pinned = _layers(previous, bounds)
    moved: dict[str, float] = {}

    # No multiplier: each instrument on its own.
    first: list[float] = []
    cut = lifted = 0.0
    gross = traded = 0.0
    for t, p, low, high in zip(target, previous, lower, upper, strict=True):
        if t > high:
            cut += t - high
            t = high
        elif t < low:
            lifted += low - t
            t = low
        first.append(t)
        gross += t
        traded += abs(t - p)
    if pinned:
        stuck = 0.0
        for i in pinned:
            t, w = target[i], first[i]
            stuck += abs(t - w)
            if t > w:
                cut -= t - w
            else:
                lifted -= w - t
        if stuck > TOLERANCE:
            moved[UNTRADABLE] = stuck
    if cut > TOLERANCE:
        moved[MAX_WEIGHT] = cut
    if lifted > TOLERANCE:
        moved[MIN_WEIGHT] = lifted

    weights = first
    if gross > budget + TOLERANCE:
        c = _level(list(zip(target, lower, upper, strict=True)), budget)
        weights = [
            low if t - c < low else high if t - c > high else t - c
            for t, low, high in zip(target, lower, upper, strict=True)
        ]
        moved[bounds.budget_name] = _distance(weights, first)
    if weights is first and traded <= traded_limit + TOLERANCE:
        return Projection(tuple(weights), tuple(moved), moved, relaxed)
    if weights is not first and _distance(weights, previous) <= traded_limit + TOLERANCE:
        return Projection(tuple(weights), tuple(moved), moved, relaxed)

    buys, sells = _sides(target, previous, lower, upper)
    if traded > traded_limit + TOLERANCE:
        # Turnover alone may be enough; then the budget does not bind, whatever the first step said.
        c = _level(buys + sells, traded_limit)
        candidate = _compose(previous, buys, sells, c, c)
        moved[TURNOVER] = _distance(candidate, first)
        if sum(candidate) <= budget + TOLERANCE:
            moved.pop(bounds.budget_name, None)
            return Projection(tuple(candidate), tuple(moved), moved, relaxed)
    # Both bind: bought and sold amounts are known, and each side is an equation of its own.
    change = budget - sum(previous)
    b = _level(sells, 0.5 * (traded_limit - change))
    c = _level(buys, 0.5 * (traded_limit + change))
    final = _compose(previous, buys, sells, c, b)
    if bounds.budget_name in moved:
        moved[TURNOVER] = _distance(final, weights)
    else:
        moved[bounds.budget_name] = _distance(final, candidate)
    return Projection(tuple(final), tuple(moved), moved, relaxed)


def _distance(left: Sequence[float], right: Sequence[float]) -> float:
    total = 0.0
    for a, b in zip(left, right, strict=True):
        total += abs(a - b)
    return total


def _sides(
    target: Sequence[float], previous: Sequence[float], lower: Sequence[float], upper: Sequence[float]
) -> tuple[list[tuple[float, float, float]], list[tuple[float, float, float]]]:
    """Return what may be bought and sold of each instrument as pieces (x, least, most) of `_level`."""
    buys: list[tuple[float, float, float]] = []
    sells: list[tuple[float, float, float]] = []
    for t, p, low, high in zip(target, previous, lower, upper, strict=True):
        x = t - p
        buys.append((x, low - p if low > p else 0.0, high - p if high > p else 0.0))
        sells.append((-x, p - high if p > high else 0.0, p - low if p > low else 0.0))
    return buys, sells


def _compose(
    previous: Sequence[float],
    buys: list[tuple[float, float, float]],
    sells: list[tuple[float, float, float]],
    c: float,
    b: float,
) -> list[float]:
    weights: list[float] = []
    for p, (x, least, most), (y, least_sold, most_sold) in zip(previous, buys, sells, strict=True):
        d = x - c
        e = y - b
        bought = least if d < least else most if d > most else d
        sold = least_sold if e < least_sold else most_sold if e > most_sold else e
        w = p + bought - sold
        weights.append(w if w > 0.0 else 0.0)
    return weights


def _layers(
    previous: Sequence[float], bounds: Bounds
) -> tuple[list[float], list[float], float, float, dict[str, float], list[int]]:
    """Return lower, upper, budget and L1 turnover that can all hold, what was relaxed, and the pinned indices.

    The order is in the module's first paragraphs; each relaxation is the smallest that leaves a feasible point.
    """
    n = len(previous)
    tradable = bounds.tradable
    minimum, maximum, budget = bounds.min_weight, bounds.max_weight, bounds.budget
    limit = 2.0 * bounds.turnover
    relaxed: dict[str, float] = {}
    lower = [minimum] * n
    upper = [maximum] * n
    pinned: list[int] = []
    fixed = 0.0
    if tradable is not None:
        for i in range(n):
            if not tradable[i]:
                p = previous[i]
                pinned.append(i)
                lower[i] = upper[i] = p
                fixed += p
                if p > maximum + TOLERANCE:
                    relaxed[MAX_WEIGHT] = max(p, relaxed.get(MAX_WEIGHT, 0.0))
                if p < minimum - TOLERANCE:
                    relaxed[MIN_WEIGHT] = min(p, relaxed.get(MIN_WEIGHT, 1.0))
        if fixed > budget + TOLERANCE:
            relaxed[bounds.budget_name] = fixed
        if fixed > budget:
            budget = fixed
    free = n - len(pinned)
    if fixed + minimum * free > budget:
        # Cash outranks the minimum: everybody's minimum shrinks alike.
        reduced = max(0.0, (budget - fixed) / free) if free else 0.0
        if reduced < minimum - TOLERANCE and free:
            relaxed[MIN_WEIGHT] = min(reduced, relaxed.get(MIN_WEIGHT, 1.0))
        skip = set(pinned)
        lower = [lower[i] if i in skip else reduced for i in range(n)]

    forced = kept = missing = 0.0
    for p, low, high in zip(previous, lower, upper, strict=True):
        if p > high:
            forced += p - high
            kept += high
        else:
            kept += p
            if p < low:
                missing += low - p
    needed = forced + (kept - budget if kept > budget else 0.0)
    if needed > limit:
        # Sales that bring the book under max weight and budget outrank turnover: it gives way by just that much.
        if needed > limit + TOLERANCE:
            relaxed[TURNOVER] = 0.5 * needed
        limit = needed
    if missing > 0.0:
        room = budget - kept
        share = _affordable(missing=missing, spare=limit - needed, room=room)
        if share < 1.0:
            # Purchases towards the minimum go as far as turnover allows.
            worst = minimum
            for i in range(n):
                p = previous[i]
                if p < lower[i]:
                    lower[i] = p + share * (lower[i] - p)
                    if lower[i] < worst:
                        worst = lower[i]
            if worst < minimum - TOLERANCE:
                relaxed[MIN_WEIGHT] = min(worst, relaxed.get(MIN_WEIGHT, 1.0))
    return lower, upper, budget, limit, relaxed, pinned


def _affordable(*, missing: float, spare: float, room: float) -> float:
    """Return the share of `missing` purchases that `spare` turnover pays for.

    What fits into `room` (budget not used) costs its own value; beyond that each purchase needs a sale, so it costs
    twice.
    """
    room = max(room, 0.0)
    if missing <= room:
        cost = missing
        return 1.0 if cost <= spare else spare / missing
    cost = missing + (missing - room)
    if cost <= spare:
        return 1.0
    if spare <= room:
        return spare / missing
    return (room + 0.5 * (spare - room)) / missing


# ---- numpy: many portfolios at once, or many instruments -------------------------------------------------------------


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
        c = _level_batch(targets[over], lower[over], upper[over], budget[over])
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
    m = _level_batch(
        np.concatenate([x, -x], axis=1),
        np.concatenate([least, least_sold], axis=1),
        np.concatenate([most, most_sold], axis=1),
        total,
    )
    c, b = m.copy(), m.copy()
    alone = p + np.clip(x - c[:, None], least, most) - np.clip(-x - b[:, None], least_sold, most_sold)
    # Turnover alone is the answer only where it binds without the budget, and where it then keeps the budget.
    both = np.abs(first[busy] - p).sum(axis=1) <= total + TOLERANCE
    both |= alone.sum(axis=1) > cap + TOLERANCE
    if both.any():
        change = cap[both] - p[both].sum(axis=1)
        c[both] = _level_batch(x[both], least[both], most[both], 0.5 * (total[both] + change))
        b[both] = _level_batch(-x[both], least_sold[both], most_sold[both], 0.5 * (total[both] - change))
    out = weights.copy()
    out[busy] = np.maximum(
        p + np.clip(x - c[:, None], least, most) - np.clip(-x - b[:, None], least_sold, most_sold), 0.0
    )
    return np.asarray(out)


def _level_batch(x: FloatArray, low: FloatArray, high: FloatArray, total: FloatArray) -> FloatArray:
    """`_level` for each row: c [B] with sum(clip(x - c, low, high), axis=1) = total [B]."""
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
    k = np.where(reached.any(axis=1), reached.argmax(axis=1), 2 * n - 2)
    rows = np.arange(len(x))
    at, v, s = corners[rows, k], value[rows, k], slope[rows, k]
    gap = np.maximum(v - total, 0.0)
    step = np.divide(gap, s, out=np.zeros_like(gap), where=s > 0.0)
    return np.asarray(np.where(reached.any(axis=1), at + step, corners[:, -1]))


def _layers_batch(
    previous: FloatArray, bounds: Bounds, tradable: NDArray[np.bool_] | None
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
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
    missing = np.where(previous <= upper, np.maximum(lower - previous, 0.0), 0.0).sum(axis=1)
    needed = forced + np.maximum(kept - budget, 0.0)
    limit = np.maximum(limit, needed)
    if missing.any():
        room, spare = np.maximum(budget - kept, 0.0), limit - needed
        cost = missing + np.maximum(missing - room, 0.0)
        paid = np.where((missing <= room) | (spare <= room), spare, room + 0.5 * (spare - room))
        share = np.divide(paid, missing, out=np.ones(rows), where=(missing > 0.0) & (cost > spare))
        lower = np.where(previous < lower, previous + share[:, None] * (lower - previous), lower)
    return lower, upper, budget, limit


def _project_large(target: Sequence[float], previous: Sequence[float], bounds: Bounds) -> Projection:
    """`project` for many instruments: numpy finds the weights, the report compares them with the steps on the way."""
    lower, upper, budget, limit, relaxed, pinned = _layers(previous, bounds)
    t, p = np.array([target], dtype=np.float64), np.array([previous], dtype=np.float64)
    low, high = np.array([lower]), np.array([upper])
    weights = project_batch(t, p, bounds)[0]
    first = np.clip(t, low, high)
    stuck = np.zeros(len(target), dtype=np.bool_)
    stuck[pinned] = True
    moved: dict[str, float] = {}
    amounts = [
        (UNTRADABLE, float(np.abs(t - first)[0][stuck].sum())),
        (MAX_WEIGHT, float(np.maximum(t - first, 0.0)[0][~stuck].sum())),
        (MIN_WEIGHT, float(np.maximum(first - t, 0.0)[0][~stuck].sum())),
    ]
    step = first[0]
    budget_binds = abs(float(weights.sum()) - budget) <= 1e-9
    if budget_binds and step.sum() > budget + TOLERANCE:
        c = _level_batch(t, low, high, np.array([budget]))
        within = np.clip(t - c[:, None], low, high)[0]
        amounts.append((bounds.budget_name, float(np.abs(within - step).sum())))
        step = within
    name = TURNOVER if np.abs(step - p[0]).sum() > limit + TOLERANCE else bounds.budget_name
    amounts.append((name, float(np.abs(weights - step).sum())))
    for name, amount in amounts:
        if amount > TOLERANCE:
            moved[name] = amount
    return Projection(tuple(weights.tolist()), tuple(moved), moved, relaxed)
