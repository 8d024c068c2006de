"""From approved weights to whole shares, without crossing a limit that the weights kept.

Rounding goes towards what is held, so that it trades less and not more: purchases are rounded down, sales are rounded
to fewer shares sold. Where a sale rounded that way would leave a position above the maximum, or all positions above
the budget, it is rounded to one share more; if that costs turnover, purchases give it back. A position that rounding
left below the minimum weight gets one share more where cash, maximum and turnover allow. So, judged at the book's
prices:

* max weight and budget hold exactly, for everything that can be traded;
* turnover holds, except by less than one share of each sale that max weight or budget forces;
* min weight holds up to less than one share of that instrument (a share may cost more than the cash that is left), and
  less what its purchase gave back for such a forced sale.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import Final

from risk.projection import Bounds

# A weight times equity over price that is an integer up to this many shares is that integer.
_WHOLE: Final = 1e-7
# Limits are compared with this slack, as a fraction of equity, for the rounding of floats only (as order checks do).
_ROUNDING: Final = 1e-9


def whole_shares(
    weights: Sequence[float], held: Sequence[int], prices: Sequence[int], equity: float, bounds: Bounds
) -> tuple[int, ...]:
    """Return whole-share quantities [n] for projected `weights` [n]; prices and equity in paise.

    `bounds` are those of the projection. What a weight already breaks (a relaxed limit) is kept as it is, not made
    worse.
    """
    tradable = bounds.tradable
    slack = _ROUNDING * equity
    cap = bounds.max_weight * equity + slack
    shares: list[int] = []
    over: list[int] = []
    gross = traded = 0
    wanted_gross = wanted_traded = 0.0
    for i, (weight, have, price) in enumerate(zip(weights, held, prices, strict=True)):
        if price <= 0 or (tradable is not None and not tradable[i]):
            shares.append(have)
            gross += have * price
            wanted_gross += have * price
            continue
        value = weight * equity
        exact = value / price
        wanted_gross += value
        wanted_traded += abs(value - have * price)
        if exact >= have:
            count = max(have, floor(exact + _WHOLE))
        else:
            count = min(have, ceil(exact - _WHOLE))
        # Rounding slack must not lift a position over its maximum.
        while count > 0 and count * price > cap:
            count -= 1
        shares.append(count)
        gross += count * price
        traded += abs(count - have) * price
        if count > exact + _WHOLE:
            over.append(i)

    most_gross = max(bounds.budget * equity, wanted_gross if tradable is not None else 0.0) + slack
    while gross > most_gross and over:
        # The cheapest single share that is enough, or else the dearest; all of them together always are.
        enough = [i for i in over if prices[i] >= gross - most_gross]
        i = min(enough, key=prices.__getitem__) if enough else max(over, key=prices.__getitem__)
        over.remove(i)
        shares[i] -= 1
        gross -= prices[i]
        traded += prices[i]
    most_traded = max(2.0 * bounds.turnover * equity, wanted_traded) + slack
    if traded > most_traded:
        traded, gross = _buy_less(shares, held, prices, traded=traded, gross=gross, most=most_traded)

    least = bounds.min_weight * equity
    for i, price in enumerate(prices):
        count = shares[i]
        if count * price >= least or price <= 0 or (tradable is not None and not tradable[i]):
            continue
        # Only what the weights had at the minimum is lifted back to it: a relaxed minimum stays relaxed.
        if weights[i] * equity < least * (1.0 - 1e-9):
            continue
        more = (count + 1) * price
        change = price if count >= held[i] else -price
        if more <= cap and gross + price <= most_gross and traded + change <= most_traded:
            shares[i] = count + 1
            gross += price
            traded += change
    return tuple(shares)


def _buy_less(
    shares: list[int], held: Sequence[int], prices: Sequence[int], *, traded: int, gross: int, most: float
) -> tuple[int, int]:
    """Take shares off the largest purchases until the turnover fits or nothing is bought; return traded, gross."""
    while traded > most:
        bought = [(shares[i] - held[i]) * prices[i] if shares[i] > held[i] else 0 for i in range(len(shares))]
        i = max(range(len(shares)), key=bought.__getitem__, default=0)
        if not bought or bought[i] <= 0:
            break
        excess = traded - most
        count = min(shares[i] - held[i], max(1, floor(excess / prices[i])))
        shares[i] -= count
        traded -= count * prices[i]
        gross -= count * prices[i]
    return traded, gross
