"""The projection: the closest feasible weights to a target.

Closest in the Euclidean sense under: min_weight <= w <= max_weight for each instrument, sum(w) <= budget, half-turnover
0.5 * sum|w - previous| <= turnover, untradable instruments pinned to what is held, no selling short. What gives way
when not all of that can hold is in `risk.bounds`. The function never raises for numbers that are finite.

**Method.** The problem separates by instrument for two multipliers, a (budget) and m (turnover). With x = t - previous,
the bought part of an instrument depends on c = a + m alone and the sold part on b = a - m alone:

    w - previous = clip(x - c, least bought, most bought) - clip(-x - b, least sold, most sold)

so each of the possible cases (no multiplier, one of them, both) is one or two equations `sum(clip(x - c, low, high))
= total`, monotone and piecewise linear. Newton steps solve such an equation exactly as soon as they land on the piece
that holds the answer, after two or three as a rule; where they leave the bracket or meet a flat piece, a walk over the
sorted breakpoints does, which cannot fail. There is no tolerance in either.

Plain Python here, for few instruments; `risk.projection_arrays` says the same with numpy, for many, or for many
portfolios at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from risk.bounds import (
    CASH_RESERVE,
    LEVERAGE,
    MAX_WEIGHT,
    MIN_WEIGHT,
    TOLERANCE,
    TURNOVER,
    UNTRADABLE,
    Bounds,
    Projection,
    layers,
)
from risk.projection_arrays import project_arrays, project_batch

__all__ = [
    "CASH_RESERVE", "LEVERAGE", "MAX_WEIGHT", "MIN_WEIGHT", "TOLERANCE", "TURNOVER", "UNTRADABLE",
    "Bounds", "Projection", "project", "project_batch",
]  # fmt: skip

ENFORCES: Final = (
    "position_limits.max_weight_per_stock",
    "position_limits.min_weight_per_stock",
    "position_limits.max_daily_turnover",
    "position_limits.min_cash_reserve",
    "position_limits.max_leverage",
)

# Above this many instruments numpy is faster than plain Python.
_SMALL: Final = 40
# An equation is solved when its sides differ by no more than the rounding of a sum of weights.
_EXACT: Final = 2e-15
_STEPS: Final = 12

Piece = tuple[float, float, float]


def project(target: Sequence[float], previous: Sequence[float], bounds: Bounds) -> Projection:
    """Return the closest feasible weights to `target` [n], starting from the held weights `previous` [n].

    Both are fractions of equity, finite, `previous` >= 0. A feasible target comes back unchanged, bit for bit.
    """
    if len(target) > _SMALL:
        return project_arrays(target, previous, bounds)
    if not target:
        return Projection(())
    held = list(previous)
    lower, upper, budget, limit, relaxed, pinned = layers(held, bounds)

    # No multiplier: each instrument on its own.
    first: list[float] = []
    cut = lifted = gross = traded = 0.0
    for t, p, low, high in zip(target, held, lower, upper, strict=True):
        if t > high:
            cut += t - high
            t = high
        elif t < low:
            lifted += low - t
            t = low
        first.append(t)
        gross += t
        traded += t - p if t > p else p - t
    heavy, busy = gross > budget + TOLERANCE, traded > limit + TOLERANCE
    if not (heavy or busy or pinned or relaxed) and cut <= TOLERANCE and lifted <= TOLERANCE:
        return Projection(tuple(target))
    moved: dict[str, float] = {}
    if pinned:
        stuck = 0.0
        for i in pinned:
            t, w = target[i], first[i]
            if t > w:
                stuck += t - w
                cut -= t - w
            else:
                stuck += w - t
                lifted -= w - t
        if stuck > TOLERANCE:
            moved[UNTRADABLE] = stuck
    if cut > TOLERANCE:
        moved[MAX_WEIGHT] = cut
    if lifted > TOLERANCE:
        moved[MIN_WEIGHT] = lifted
    if not (heavy or busy):
        return Projection(tuple(first), tuple(moved), moved, relaxed)

    within = first
    if heavy:
        within = _within_budget(target, lower, upper, budget, gross)
        moved[bounds.budget_name] = _distance(within, first)
        if _distance(within, held) <= limit + TOLERANCE:
            return Projection(tuple(within), tuple(moved), moved, relaxed)
    if busy:
        # Turnover alone may be enough; then the budget does not bind, whatever the first step said.
        weights = _within_turnover(target, held, lower, upper, limit, traded)
        if sum(weights) <= budget + TOLERANCE:
            moved.pop(bounds.budget_name, None)
            moved[TURNOVER] = _distance(weights, first)
            return Projection(tuple(weights), tuple(moved), moved, relaxed)
    final = _within_both(target, held, lower, upper, budget, limit)
    if heavy:
        moved[TURNOVER] = _distance(final, within)
    else:
        moved[TURNOVER] = _distance(weights, first)
        moved[bounds.budget_name] = _distance(final, weights)
    return Projection(tuple(final), tuple(moved), moved, relaxed)


def _distance(left: Sequence[float], right: Sequence[float]) -> float:
    total = 0.0
    for a, b in zip(left, right, strict=True):
        total += a - b if a > b else b - a
    return total


def _within_budget(
    target: Sequence[float], lower: list[float], upper: list[float], budget: float, gross: float
) -> list[float]:
    """Only the budget binds: the same amount is taken off each weight, between its bounds."""
    pieces = list(zip(target, lower, upper, strict=True))
    between = 0
    for t, low, high in pieces:
        if low < t < high:
            between += 1
    return _level(pieces, budget, (gross - budget) / between if between else 0.0)


def _within_turnover(
    target: Sequence[float],
    held: list[float],
    lower: list[float],
    upper: list[float],
    limit: float,
    traded: float,
) -> list[float]:
    """Only turnover binds: the same amount is taken off each trade. An instrument is bought or sold, never both."""
    pieces: list[Piece] = []
    signs: list[float] = []
    between = 0
    for t, p, low, high in zip(target, held, lower, upper, strict=True):
        if p > high or (t < p and p >= low):
            x, least, most = p - t, p - high if p > high else 0.0, p - low if p > low else 0.0
            signs.append(-1.0)
        else:
            x, least, most = t - p, low - p if low > p else 0.0, high - p
            signs.append(1.0)
        if least < x < most:
            between += 1
        pieces.append((x, least, most))
    amounts = _level(pieces, limit, (traded - limit) / between if between else 0.0)
    return [p + sign * amount for p, sign, amount in zip(held, signs, amounts, strict=True)]


def _within_both(
    target: Sequence[float],
    held: list[float],
    lower: list[float],
    upper: list[float],
    budget: float,
    limit: float,
) -> list[float]:
    """Both bind: bought and sold amounts are known, and each side is an equation of its own."""
    buys: list[Piece] = []
    sells: list[Piece] = []
    for t, p, low, high in zip(target, held, lower, upper, strict=True):
        x = t - p
        buys.append((x, low - p if low > p else 0.0, high - p if high > p else 0.0))
        sells.append((-x, p - high if p > high else 0.0, p - low if p > low else 0.0))
    change = budget - sum(held)
    bought = _level(buys, 0.5 * (limit + change), 0.0)
    sold = _level(sells, 0.5 * (limit - change), 0.0)
    return [max(0.0, p + more - less) for p, more, less in zip(held, bought, sold, strict=True)]


def _level(pieces: list[Piece], total: float, c: float) -> list[float]:
    """Return clip(x - c, low, high) of the pieces (x, low, high), for the c with which they add up to `total`.

    Where none does, those that come nearest. The argument `c` is a first guess.
    """
    below, above = -1e300, 1e300
    for _ in range(_STEPS):
        amounts: list[float] = []
        value = 0.0
        slope = 0
        for x, low, high in pieces:
            amount = x - c
            if amount <= low:
                amount = low
            elif amount >= high:
                amount = high
            else:
                slope += 1
            amounts.append(amount)
            value += amount
        gap = value - total
        if -_EXACT <= gap <= _EXACT:
            return amounts
        if gap > 0.0:
            below = c
            if not slope:
                # A flat piece: on to its end, where at least one instrument begins to move.
                c = min([x - high for x, low, high in pieces if low < high < x - c], default=above)
                slope = 1
        else:
            above = c
            if not slope:
                c = max([x - low for x, low, high in pieces if x - c < low < high], default=below)
                slope = 1
        c += gap / slope
        if not below < c < above:
            break
    c = _walk(pieces, total)
    return [low if x - c < low else high if x - c > high else x - c for x, low, high in pieces]


_FIRST: Final = itemgetter(0)


def _walk(pieces: list[Piece], total: float) -> float:
    """The c of `_level`, by a walk over the sorted breakpoints."""
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
