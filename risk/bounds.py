"""What the projection must keep, what it answers, and which limit gives way when not all can hold.

When the limits cannot all hold at once, they give way in a fixed order that depends on the held weights and the limits
alone, never on the target (docs/decisions/0002): pinned, then budget, then max weight, then turnover, then min weight.
`layers` finds the bounds that can hold; each relaxation is the smallest that leaves a feasible point. Every bound it
returns is a continuous function of the held weights and the limits, so the feasible set moves continuously with them;
only an instrument that stops being tradable makes a step.
"""

from __future__ import annotations

from typing import Final

import msgspec

from risk.schema import PositionLimits

MAX_WEIGHT: Final = "max_weight"
MIN_WEIGHT: Final = "min_weight"
CASH_RESERVE: Final = "cash_reserve"
LEVERAGE: Final = "leverage"
TURNOVER: Final = "turnover"
UNTRADABLE: Final = "untradable"

# Weights closer than this count as equal: a hundredth of a paisa on an account of ten crore rupees.
TOLERANCE: Final = 1e-12


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


# Each weight lies within `lower` and `upper`, their sum within the budget, sum|w - held| within the fourth; `relaxed` as
# in `Projection`; last the indices that cannot be traded. A plain tuple: one is made per decision and taken apart.
Layers = tuple[list[float], list[float], float, float, dict[str, float], list[int]]


def layers(previous: list[float], bounds: Bounds) -> Layers:
    """Return the bounds that can all hold from the held weights `previous` [n], n >= 1, each >= 0."""
    n = len(previous)
    minimum, maximum = bounds.min_weight, bounds.max_weight
    relaxed: dict[str, float] = {}
    lower, upper = [minimum] * n, [maximum] * n
    pinned: list[int] = []
    fixed = 0.0
    if bounds.tradable is None:
        # The ordinary day, by `keeps_all` written out: a call would be a fifth of this function.
        fits = n * minimum <= bounds.budget and minimum <= min(previous) and max(previous) <= maximum
        if fits and sum(previous) <= bounds.budget:
            return lower, upper, bounds.budget, 2.0 * bounds.turnover, relaxed, pinned
    else:
        pinned = [i for i, tradable in enumerate(bounds.tradable) if not tradable]
        for i in pinned:
            lower[i] = upper[i] = previous[i]
        fixed = pin([previous[i] for i in pinned], bounds, relaxed)
    budget, least = fit_minimum(fixed, n - len(pinned), bounds, relaxed)
    if least < minimum:
        lower = [least] * n
        for i in pinned:
            lower[i] = previous[i]
    forced = kept = missing = 0.0
    for p, low, high in zip(previous, lower, upper, strict=True):
        if p > high:
            forced += p - high
            kept += high
        else:
            kept += p
            if p < low:
                missing += low - p
    limit, paid = fit_turnover(forced, kept, missing, budget, bounds, relaxed)
    if paid < missing:
        below = [p for p, low in zip(previous, lower, strict=True) if p < low]
        level = fill(below, paid, least, bounds, relaxed)
        lower = [low if p >= low else level if p < level else p for p, low in zip(previous, lower, strict=True)]
    return lower, upper, budget, limit, relaxed, pinned


def keeps_all(bounds: Bounds, n: int, smallest: float, largest: float, gross: float) -> bool:
    """Whether a book keeps every limit already, all of it tradable: staying is feasible and nothing gives way."""
    return (
        bounds.min_weight <= smallest
        and largest <= bounds.max_weight
        and gross <= bounds.budget
        and n * bounds.min_weight <= bounds.budget
    )


def pin(weights: list[float], bounds: Bounds, relaxed: dict[str, float]) -> float:
    """Pinned weights break what they break; say so, and return their sum."""
    if not weights:
        return 0.0
    most, least, fixed = max(weights), min(weights), sum(weights)
    if most > bounds.max_weight + TOLERANCE:
        relaxed[MAX_WEIGHT] = most
    if fixed > bounds.budget + TOLERANCE:
        relaxed[bounds.budget_name] = fixed
    if least < bounds.min_weight - TOLERANCE:
        relaxed[MIN_WEIGHT] = least
    return fixed


def fit_minimum(fixed: float, free: int, bounds: Bounds, relaxed: dict[str, float]) -> tuple[float, float]:
    """Return the budget, and the minimum that `free` instruments can have beside pinned ones that weigh `fixed`.

    Cash outranks the minimum: everybody's minimum shrinks alike.
    """
    budget = max(bounds.budget, fixed)
    least = bounds.min_weight
    if free and fixed + least * free > budget:
        least = max(0.0, (budget - fixed) / free)
        if least < bounds.min_weight - TOLERANCE:
            relaxed[MIN_WEIGHT] = min(least, relaxed.get(MIN_WEIGHT, 1.0))
    return budget, least


def fit_turnover(
    forced: float, kept: float, missing: float, budget: float, bounds: Bounds, relaxed: dict[str, float]
) -> tuple[float, float]:
    """Return the L1 turnover to use, and how much of the purchases `missing` to the minimum it pays for.

    `forced` are sales down to the maximum, `kept` is what is held after them. Sales that bring the book under max
    weight and budget outrank turnover: it gives way by just that much, and nothing is then bought. A purchase that
    fits into the unused budget costs its own value; beyond that it needs a sale, so it costs twice.
    """
    limit = 2.0 * bounds.turnover
    needed = forced + (kept - budget if kept > budget else 0.0)
    if needed > limit:
        if needed > limit + TOLERANCE:
            relaxed[TURNOVER] = 0.5 * needed
        limit = needed
    spare, room = limit - needed, max(budget - kept, 0.0)
    return limit, min(missing, spare if spare <= room else room + 0.5 * (spare - room))


def fill(below: list[float], amount: float, least: float, bounds: Bounds, relaxed: dict[str, float]) -> float:
    """Return the level to which `amount` lifts the smallest of the weights `below` the minimum `least`.

    Turnover ends the purchases there. What lies between that level and the minimum need not be bought, but is not
    sold either.
    """
    below.sort()
    level = least
    for count, following in enumerate([*below[1:], least], start=1):
        step = count * (following - below[count - 1])
        if step >= amount:
            level = below[count - 1] + amount / count
            break
        amount -= step
    if level < bounds.min_weight - TOLERANCE:
        relaxed[MIN_WEIGHT] = min(level, relaxed.get(MIN_WEIGHT, 1.0))
    return level
