"""The gate: the only way from a wish to an order.

First pass: `review_targets` turns target weights into the closest weights that the limits allow, or a refusal with
reasons; `round_to_shares` makes whole shares of them; `approve_plan` judges the whole shares and, alone by this module,
seals the plan. Second pass: `review_orders` checks each order under its plan and, alone by this module, seals it. Last
look: `last_look` says, just before an order leaves, whether its approval still holds. The gate holds no state: what
counts is in the limits, the book and the context that it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Final

import msgspec

from market.money import ZERO, Paise
from risk.approval import ApprovedOrder, ApprovedPlan, ProposedOrder, _seal, _seal_plan, is_approved, is_approved_plan
from risk.order_checks import Batch, Book, OrderContext, OrderRules
from risk.plan_checks import against_plan
from risk.projection import (
    CASH_RESERVE,
    LEVERAGE,
    MAX_WEIGHT,
    MIN_WEIGHT,
    TURNOVER,
    UNTRADABLE,
    Bounds,
    Projection,
    project,
)
from risk.reasons import Reason, ReasonCode
from risk.schema import RiskLimits
from risk.shares import WholeShares, whole_shares

__all__ = ["Book", "Gate", "OrderContext", "Refusal", "RefusedOrder", "TargetApproval"]

ENFORCES: Final = (
    "alerts.large_trade_threshold",
    "alerts.large_weight_change",
)

# A float32 policy's weights may add up to a little more than 1.
_SUM_SLACK: Final = 1e-6
_ROUNDING: Final = 1e-9

_MOVED: Final = {
    MAX_WEIGHT: ReasonCode.LIMIT_MAX_WEIGHT,
    MIN_WEIGHT: ReasonCode.LIMIT_MIN_WEIGHT,
    CASH_RESERVE: ReasonCode.LIMIT_CASH_RESERVE,
    LEVERAGE: ReasonCode.LIMIT_LEVERAGE,
    TURNOVER: ReasonCode.LIMIT_TURNOVER,
    UNTRADABLE: ReasonCode.LIMIT_UNTRADABLE,
}
_RELAXED: Final = {
    MAX_WEIGHT: ReasonCode.RELAXED_MAX_WEIGHT,
    MIN_WEIGHT: ReasonCode.RELAXED_MIN_WEIGHT,
    CASH_RESERVE: ReasonCode.RELAXED_CASH_RESERVE,
    LEVERAGE: ReasonCode.RELAXED_LEVERAGE,
    TURNOVER: ReasonCode.RELAXED_TURNOVER,
}


class TargetApproval(msgspec.Struct, frozen=True):
    """Weights that may be traded towards. All tuples of weights are fractions of equity in the book's order.

    `moved` and `relaxed` as in `Projection`; `reasons` says the same in codes, and what a person should hear about.
    `current` are the weights held; `bounds` those that were used, for the rounding to shares.
    """

    weights: tuple[float, ...]
    requested: tuple[float, ...]
    current: tuple[float, ...]
    active: tuple[str, ...]
    moved: dict[str, float]
    relaxed: dict[str, float]
    reasons: tuple[Reason, ...]
    bounds: Bounds


class Refusal(msgspec.Struct, frozen=True):
    """Nothing may be traded on this target."""

    reasons: tuple[Reason, ...]


class RefusedOrder(msgspec.Struct, frozen=True):
    """An order that must not leave, with every reason against it."""

    order: ProposedOrder
    reasons: tuple[Reason, ...]


class Gate:
    """The limits, ready for use. Cheap to make; make a new one when the limits change."""

    __slots__ = ("_alerts", "_bounds", "_limits", "_rules", "_version")

    def __init__(self, limits: RiskLimits) -> None:
        self._limits = limits
        self._version = limits.version
        self._bounds = Bounds.of(limits.position_limits)
        self._rules = OrderRules(limits)
        self._alerts = (
            limits.alerts.large_weight_change + _ROUNDING,
            limits.alerts.large_trade_threshold + _ROUNDING,
        )

    @property
    def limits(self) -> RiskLimits:
        """The limits that are in force."""
        return self._limits

    @property
    def bounds(self) -> Bounds:
        """The position limits as bounds, with nothing traded yet and everything tradable."""
        return self._bounds

    def review_targets(
        self, target: Sequence[float], book: Book, *, latched: Sequence[str]
    ) -> TargetApproval | Refusal:
        """Return the approved weights for `target` [n], or why there are none. Never raises, whatever the floats are.

        `latched` are the names of breakers that hold trading back (`BreakerBoard.latched`).
        """
        refused = self._refusals(target, book, latched)
        if refused:
            return Refusal(tuple(refused))
        equity = book.equity
        requested = tuple([float(weight) for weight in target])
        # A position that may be larger than the ledger knows is judged at its larger end.
        current = tuple([q * price / equity for q, price in zip(book.worst, book.prices, strict=True)])
        bounds = self._bounds
        if book.traded or not all(book.tradable):
            bounds = Bounds.of(
                self._limits.position_limits,
                tradable=None if all(book.tradable) else book.tradable,
                turnover_used=0.5 * book.traded / equity,
            )
        result = project(requested, current, bounds)
        return TargetApproval(
            result.weights,
            requested,
            current,
            result.active,
            result.moved,
            result.relaxed,
            self._notices(requested, current, result, book.symbols),
            bounds,
        )

    def round_to_shares(self, approval: TargetApproval, book: Book, *, expected_costs: Paise = ZERO) -> WholeShares:
        """Return whole-share quantities [n] for approved weights; `risk.shares` says what is kept, and what cannot be.

        `expected_costs` (charges and slippage of the plan, paise) is taken off the equity first, so that the limits
        hold for what is left after paying them. An instrument that cannot be traded keeps its quantity.
        """
        equity = float(book.equity - expected_costs)
        rounded = whole_shares(approval.weights, book.worst, book.prices, equity, approval.bounds)
        if not book.high:
            return rounded
        quantities = [
            quantity if free else held
            for quantity, held, free in zip(rounded.quantities, book.quantities, book.tradable, strict=True)
        ]
        return WholeShares(tuple(quantities), rounded.relaxed)

    def relaxed_by_rounding(self, rounded: WholeShares) -> tuple[Reason, ...]:
        """Return, as reasons, which limits whole shares could not keep, with the bound that was reached."""
        return tuple(
            [Reason(_RELAXED[name], value=bound, detail="whole shares") for name, bound in rounded.relaxed.items()]
        )

    def approve_plan(
        self, plan_id: str, book: Book, after: Sequence[int], *, leaves: bool = False
    ) -> ApprovedPlan | Refusal:
        """Seal the plan that takes the book to `after` [n] whole shares, or say why it may not be carried out.

        Purchases are judged by what they lead to, at the worse end of what is not known; a sale always reduces risk and
        is judged by its shares alone. `leaves`: an exit, which buys nothing and may leave despite a latched breaker.
        """
        reasons = self._against_plan(book, after, leaves)
        if reasons:
            return Refusal(tuple(reasons))
        return _seal_plan(
            ApprovedPlan(
                plan_id,
                book.session,
                book.symbols,
                book.quantities,
                tuple(after),
                book.prices,
                book.equity,
                leaves,
                self._version,
                book.priced_at_ns,
                0,
            )
        )

    def review_orders(
        self, orders: Sequence[ProposedOrder], context: OrderContext, plan: ApprovedPlan
    ) -> tuple[list[ApprovedOrder], list[RefusedOrder]]:
        """Check orders in sequence and seal those that pass; each approved order counts for the ones after it."""
        approved: list[ApprovedOrder] = []
        refused: list[RefusedOrder] = []
        if not orders:
            return approved, refused
        book = context.book
        against = self._against_approval(plan, context)
        if book.equity <= 0:
            against = (*against, Reason(ReasonCode.BOOK_NO_EQUITY, value=book.equity / 100.0, limit=0.0))
        if against:
            return approved, [RefusedOrder(order, against) for order in orders]
        batch = Batch(self._rules, context, plan)
        version, priced_at_ns, leaves = self._version, book.priced_at_ns, plan.exit
        for order in orders:
            reasons = batch.check(order)
            if reasons:
                refused.append(RefusedOrder(order, tuple(reasons)))
                continue
            batch.take(order)
            approved.append(_seal(order, limits_version=version, priced_at_ns=priced_at_ns, leaves=leaves))
        return approved, refused

    def last_look(self, order: ApprovedOrder, *, priced_not_before_ns: int) -> Reason | None:
        """Return why an approved order must not leave after all, or None: its seal, its limits, the age of its prices."""
        if not is_approved(order):
            return Reason(ReasonCode.PLAN_NOT_APPROVED, order.symbol, detail="the order's seal does not verify")
        return self._stale(order, priced_not_before_ns, order.symbol)

    def _stale(self, approved: ApprovedOrder | ApprovedPlan, priced_not_before_ns: int, symbol: str) -> Reason | None:
        if approved.limits_version != self._version:
            detail = f"approved under {approved.limits_version}, in force {self._version}"
            return Reason(ReasonCode.PLAN_LIMITS_CHANGED, symbol, detail=detail)
        if approved.priced_at_ns < priced_not_before_ns:
            late = (priced_not_before_ns - approved.priced_at_ns) / 1e9
            return Reason(ReasonCode.PLAN_PRICE_STALE, symbol, late, 0.0, "seconds too old")
        return None

    def _against_approval(self, plan: object, context: OrderContext) -> tuple[Reason, ...]:
        if not isinstance(plan, ApprovedPlan) or not is_approved_plan(plan):
            return (Reason(ReasonCode.PLAN_NOT_APPROVED),)
        if plan.session != context.book.session:
            detail = f"of {plan.session}, this is {context.book.session}"
            return (Reason(ReasonCode.PLAN_SESSION_OVER, detail=detail),)
        stale = self._stale(plan, context.priced_not_before_ns, "")
        return () if stale is None else (stale,)

    def _against_plan(self, book: Book, after: Sequence[int], leaves: bool) -> list[Reason]:
        if len(after) != len(book.symbols):
            return [Reason(ReasonCode.TARGET_WRONG_LENGTH, value=len(after), limit=len(book.symbols))]
        if book.equity <= 0:
            return [Reason(ReasonCode.BOOK_NO_EQUITY, value=book.equity / 100.0, limit=0.0)]
        reasons = against_plan(
            book.symbols,
            book.quantities,
            after,
            book.prices,
            equity=book.equity,
            bounds=self._bounds,
            traded=book.traded,
            worst=book.high or None,
            tradable=book.tradable,
        )
        if leaves:
            for symbol, quantity, held in zip(book.symbols, after, book.quantities, strict=True):
                if quantity > held:
                    reasons.append(Reason(ReasonCode.PLAN_EXIT_BUYS, symbol, quantity - held, 0.0))
        return reasons

    def room_for_purchases(self, book: Book) -> int:
        """Return what may still be bought in this session, in paise: as turnover, cash reserve and leverage allow it."""
        gross = sum([quantity * price for quantity, price in zip(book.worst, book.prices, strict=True)])
        turnover = int(2.0 * self._rules.turnover * book.equity) - book.traded
        return max(0, min(turnover, int(self._rules.budget * book.equity) - gross))

    def _refusals(self, target: Sequence[float], book: Book, latched: Sequence[str]) -> list[Reason]:
        reasons = [Reason(ReasonCode.BREAKER_LATCHED, detail=name) for name in latched]
        if len(target) != len(book.symbols):
            reasons.append(Reason(ReasonCode.TARGET_WRONG_LENGTH, value=len(target), limit=len(book.symbols)))
        total = 0.0
        for i, weight in enumerate(target):
            symbol = book.symbols[i] if i < len(book.symbols) else ""
            if not isfinite(weight):
                reasons.append(Reason(ReasonCode.TARGET_NOT_FINITE, symbol))
            elif weight < 0.0:
                reasons.append(Reason(ReasonCode.TARGET_NEGATIVE, symbol, float(weight), 0.0))
            else:
                total += weight
        if total > 1.0 + _SUM_SLACK:
            reasons.append(Reason(ReasonCode.TARGET_ABOVE_ONE, value=float(total), limit=1.0))
        if book.equity <= 0:
            reasons.append(Reason(ReasonCode.BOOK_NO_EQUITY, value=book.equity / 100.0, limit=0.0))
        for symbol, quantity, price, tradable in zip(
            book.symbols, book.quantities, book.prices, book.tradable, strict=True
        ):
            if price <= 0 and (tradable or quantity):
                reasons.append(Reason(ReasonCode.BOOK_NO_PRICE, symbol))
            if quantity < 0:
                reasons.append(Reason(ReasonCode.BOOK_NEGATIVE_QUANTITY, symbol, quantity, 0.0))
        return reasons

    def _notices(
        self, requested: Sequence[float], current: Sequence[float], result: Projection, symbols: Sequence[str]
    ) -> tuple[Reason, ...]:
        change, trade = self._alerts
        reasons = [Reason(_MOVED[name], value=amount) for name, amount in result.moved.items()]
        for name, bound in result.relaxed.items():
            reasons.append(Reason(_RELAXED[name], value=bound))
        for symbol, asked, held, weight in zip(symbols, requested, current, result.weights, strict=True):
            if abs(asked - held) > change:
                reasons.append(Reason(ReasonCode.ALERT_LARGE_WEIGHT_CHANGE, symbol, asked - held, change - _ROUNDING))
            if abs(weight - held) > trade:
                reasons.append(Reason(ReasonCode.ALERT_LARGE_TRADE, symbol, weight - held, trade - _ROUNDING))
        return tuple(reasons)
