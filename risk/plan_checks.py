"""Plan checks: what is asked of whole-share quantities as a whole, before any order is made of them.

Purchases are judged by what they lead to, at the worse end of what is not known; a sale always reduces risk and is judged
by its own shares alone. Plain numbers in, reasons out: the daemon's gate and training's market ask the same function.
"""

from __future__ import annotations

from collections.abc import Sequence

from risk.projection import Bounds
from risk.reasons import Reason, ReasonCode

# Limits are compared with this slack, as a fraction of equity, for the rounding of floats only (as order checks do).
ROUNDING = 1e-9


def against_plan(
    symbols: Sequence[str],
    before: Sequence[int],
    after: Sequence[int],
    prices: Sequence[int],
    *,
    equity: int,
    bounds: Bounds,
    traded: int = 0,
    worst: Sequence[int] | None = None,
    tradable: Sequence[bool] | None = None,
) -> list[Reason]:
    """Return every reason against going from `before` to `after` [n] whole shares; prices and equity in paise, above 0.

    `traded` was already bought and sold in this session, or may have been. `worst`: the most shares that may be held
    while orders are on their way.
    """
    code = ReasonCode
    reasons: list[Reason] = []
    slack = ROUNDING * equity
    most = bounds.max_weight * equity + slack
    gross = bought = 0
    for i, (held, quantity, price) in enumerate(zip(before, after, prices, strict=True)):
        change = quantity - held
        worth = quantity * price
        if worst is not None and not change:
            worth = worst[i] * price
        gross += worth
        if not change:
            continue
        traded += abs(change) * price
        if quantity < 0:
            reasons.append(Reason(code.BOOK_NEGATIVE_QUANTITY, symbols[i], quantity, 0.0))
        if price <= 0 or (tradable is not None and not tradable[i]):
            reasons.append(Reason(code.PLAN_UNTRADABLE, symbols[i]))
        if change > 0:
            bought += change
            if worth > most:
                reasons.append(Reason(code.PLAN_MAX_WEIGHT, symbols[i], worth / equity, bounds.max_weight))
    if not bought:
        return reasons
    if gross > bounds.budget * equity + slack:
        reasons.append(Reason(code.PLAN_CASH_RESERVE, value=gross / equity, limit=bounds.budget))
    if traded > 2.0 * bounds.turnover * equity + slack:
        reasons.append(Reason(code.PLAN_TURNOVER, value=0.5 * traded / equity, limit=bounds.turnover))
    return reasons
