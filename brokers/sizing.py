"""From weights to orders: whole shares, tick-rounded limits, slices, and what the cash affords.

Pure functions, shared by the daemon's planner and by training, so that both trade by one rule. Prices are paise.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import Final

from brokers.charges import ChargeRates
from market.errors import BadInput
from market.money import Paise
from risk.approval import Side

# What a trade is expected to cost, as a fraction of its value: charges of about 0.12 % and some slippage. Taken off the
# equity before shares are counted, so that the limits hold for what is left after paying.
EXPECTED_COSTS: Final = 0.0025
# The gate reserves a little more for charges than they will be; purchases stay inside its reckoning by this margin.
_FUNDS_USED: Final = 0.9995
_FUNDS_KEPT: Final = 100

_PARTS: Final = 1_000_000_000
# A quotient this close below a whole number is that number: 0.57 * 10,000 / 5,700 must give one share, not none.
_WHOLE: Final = 1e-9


def limit_price(side: Side, reference: Paise, *, offset: float, tick: Paise) -> Paise:
    """Return the limit `offset` (fraction) worse than the reference, rounded to the tick towards the reference.

    A buy's limit is floored and a sell's is ceiled: rounding never pays more than the offset allows.
    """
    parts = round(offset * _PARTS)
    step = _PARTS * tick
    if side is Side.BUY:
        steps = reference * (_PARTS + parts) // step
    else:
        steps = -(reference * (parts - _PARTS) // step)
    return Paise(max(steps, 1) * tick)


def spendable(available: float) -> Paise:
    """Return how much of the confirmed cash (paise) purchases may be sized to."""
    return Paise(max(0, int(available * _FUNDS_USED) - _FUNDS_KEPT))


def slipped_price(side: Side, price: Paise, *, slippage_bps: float) -> Paise:
    """Return `price` worsened by the slippage, rounded to the paisa against us."""
    if not slippage_bps:
        return price
    worse = ceil(price * slippage_bps / 10_000 - _WHOLE)
    return Paise(price + worse if side is Side.BUY else max(price - worse, 1))


def target_quantities(weights: Sequence[float], equity: Paise, prices: Sequence[Paise]) -> list[int]:
    """Return the whole shares, rounded down, that hold each weight of the equity. Raises BadInput for a bad price."""
    quantities = []
    for weight, price in zip(weights, prices, strict=True):
        if price <= 0 or not weight >= 0.0:
            raise BadInput(f"sizing: weight {weight} at a price of {price} paise, allowed: weight >= 0, price > 0")
        quantities.append(floor(weight * equity / price + _WHOLE))
    return quantities


def slice_order(quantity: int, price: Paise, max_value: Paise) -> list[int]:
    """Return the sizes of the fewest, most even orders of at most `max_value` that together are `quantity`.

    Nothing is dropped: a share dearer than `max_value` still makes orders of one share.
    """
    if quantity <= 0:
        return []
    most = max(1, max_value // price)
    count = -(-quantity // most)
    size, extra = divmod(quantity, count)
    return [size + 1] * extra + [size] * (count - extra)


def scaled_to(quantities: Sequence[int], prices: Sequence[Paise], most: int) -> list[int]:
    """Return the quantities, scaled down together, so that at `prices` they are worth at most `most` paise.

    What sales brought more than planned is turnover that purchases no longer have, and a sale that was not filled keeps its
    place in the budget: purchases shrink rather than fall away.
    """
    worth = sum(quantity * price for quantity, price in zip(quantities, prices, strict=True))
    if worth <= most:
        return list(quantities)
    return [quantity * most // worth for quantity in quantities]


def affordable(
    quantities: Sequence[int], prices: Sequence[Paise], *, available: Paise, rates: ChargeRates
) -> list[int]:
    """Return the purchases, scaled down together until they and their charges fit into `available`.

    Proportional first; what rounding down left is spent share by share, always on the order that is then furthest below
    its proportional share (ties: the earlier one). Deterministic; never more than asked; all zero without cash.
    """
    asked = [max(0, quantity) for quantity in quantities]
    cost = sum(_cost(quantity, price, rates) for quantity, price in zip(asked, prices, strict=True))
    if cost <= available:
        return asked
    if available <= 0:
        return [0] * len(asked)
    kept = [quantity * available // cost for quantity in asked]
    # Rounding charges up order by order can cost a few paise more than the proportion; take shares back until it fits.
    spent = sum(_cost(quantity, price, rates) for quantity, price in zip(kept, prices, strict=True))
    while spent > available:
        i = max((i for i in range(len(kept)) if kept[i]), key=lambda i: (kept[i] * cost - asked[i] * available, -i))
        spent -= _cost(kept[i], prices[i], rates) - _cost(kept[i] - 1, prices[i], rates)
        kept[i] -= 1
    open_ = [i for i in range(len(asked)) if kept[i] < asked[i]]
    while open_:
        i = max(open_, key=lambda i: ((asked[i] * available - kept[i] * cost) * prices[i], -i))
        more = _cost(kept[i] + 1, prices[i], rates) - _cost(kept[i], prices[i], rates)
        if spent + more > available:
            open_.remove(i)
            continue
        kept[i] += 1
        spent += more
        if kept[i] == asked[i]:
            open_.remove(i)
    return kept


def _cost(quantity: int, price: Paise, rates: ChargeRates) -> int:
    value = Paise(quantity * price)
    return value + rates.total(Side.BUY, value, False)


def fills_at(side: Side, limit: Paise, market: Paise) -> bool:
    """Return whether an order with this limit trades at the market price."""
    return market <= limit if side is Side.BUY else market >= limit
