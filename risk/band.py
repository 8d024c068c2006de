"""The no-trade band: small changes are not worth their charges, and limits outrank thrift.

A change of a holding that is smaller than the band stays undone, unless a limit asks for it (the holding is above its
maximum or below its minimum) or the holding leaves altogether. What is left undone may be the sale that pays for a
purchase; then the purchases shrink to the room there is, and away where that is less than the band. Only where this would
leave a holding below its minimum is everything done as it was rounded. The daemon's planner and training's market ask the
same function.
"""

from __future__ import annotations

from collections.abc import Sequence

from risk.bounds import Bounds


def outside_band(
    held: Sequence[int],
    rounded: Sequence[int],
    prices: Sequence[int],
    weights: Sequence[float],
    *,
    equity: int,
    band: float,
    bounds: Bounds,
    traded: int = 0,
    worst: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """Return the whole shares [n] to hold: `rounded` without what is not worth its charges. Prices and equity in paise.

    `weights` are the approved ones, `band` is a fraction of equity, `traded` what was traded in this session already;
    `worst` the most shares that may be held while orders are on their way.
    """
    least, lowest, highest = band * equity, bounds.min_weight * equity, bounds.max_weight * equity
    after: list[int] = []
    gross, bought, lifts = 0, 0, False
    for i, (have, wanted, price, weight) in enumerate(zip(held, rounded, prices, weights, strict=True)):
        change = wanted - have
        worth = have * price
        must = worth > highest or (weight == 0.0 and have > 0) or (change > 0 and worth < lowest)
        quantity = wanted if must or abs(change) * price >= least else have
        after.append(quantity)
        if quantity > have:
            bought += (quantity - have) * price
            gross += worth
            lifts = lifts or worth < lowest
        else:
            traded += (have - quantity) * price
            gross += (quantity if quantity < have or worst is None else worst[i]) * price
    room = max(0, min(int(2.0 * bounds.turnover * equity) - traded, int(bounds.budget * equity) - gross))
    if bought <= room:
        return tuple(after)
    if lifts:
        return tuple(rounded)
    shrunk: list[int] = []
    for have, quantity, price in zip(held, after, prices, strict=True):
        if quantity > have:
            more = (quantity - have) * room // bought
            quantity = have + more if more * price >= least else have
        shrunk.append(quantity)
    return tuple(shrunk)
