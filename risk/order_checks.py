"""Order checks: what is asked of each single order, after the plan as a whole was approved.

Every check runs and every reason is reported. Within a batch the orders add up: cash spent, shares sold, positions
and turnover of the orders before count for the ones after; a refused order counts for nothing. Limits are judged at
the worst case: each open buy order and each order of the batch fills completely, and no open sell order does.

Positions and turnover are valued at the book's reference prices, cash at the order's own limit price plus charges.
Limits on exposure hold for purchases only: a sale always reduces it. Safety exits (see `_is_exit`) are exempt from
the minimum value.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from typing import Final

import msgspec

from market.instrument import tick_size
from market.money import ZERO, Paise
from risk.approval import ApprovedPlan, ProposedOrder, Side
from risk.reasons import Reason, ReasonCode
from risk.schema import RiskLimits

ENFORCES: Final = (
    "execution.max_order_size_percent",
    "execution.min_order_size_rupees",
    "execution.cancel_if_slippage_exceeds",
    "execution.max_orders_per_day",
    "emergency.emergency_stop_enabled",
)

# Upper bound of what a delivery purchase costs on top (tax, exchange, stamp duty, GST: about 0.12 % without brokerage).
CHARGES_MARGIN: Final = 0.0015
TAG_LENGTH: Final = 20
# Limits are compared with this slack, as a fraction of equity, for the rounding of floats only.
_ROUNDING: Final = 1e-9


class Book(msgspec.Struct, frozen=True, gc=False):
    """The account as one decision sees it; tuples run parallel to `symbols`.

    `prices` are reference prices in paise per share, of the bar that ended at `priced_at_ns`. `equity` is cash plus
    positions at these prices. `traded` is the value, in paise, of what was already bought and sold in this session, or
    may have been. `high`: the most shares that may be held while orders are on their way (empty: what `quantities`
    says); such instruments must not be `tradable`.
    """

    symbols: tuple[str, ...]
    quantities: tuple[int, ...]
    prices: tuple[Paise, ...]
    cash: Paise
    equity: Paise
    tradable: tuple[bool, ...]
    priced_at_ns: int
    at_ns: int
    session: date
    traded: Paise = ZERO
    high: tuple[int, ...] = ()

    @property
    def worst(self) -> tuple[int, ...]:
        """The quantities at which limits on exposure are judged."""
        return self.high or self.quantities


class OrderContext(msgspec.Struct, frozen=True):
    """What the account looks like when orders are about to be sent.

    `available`: cash that may be spent now, net of open buy orders. `sellable`: symbol -> shares that may be sold
    now, net of open sell orders; a symbol that is absent has none. `open_buys`, `open_sells`: symbol -> shares in open or
    unknown orders. `blocked`: symbols with an order whose outcome is unknown. `closed`: symbols whose market is not in
    continuous trading. `ticks`, `lots`, `bands`: symbol -> price step, lot, (lowest, highest) price from the broker's
    list of the day (absent: the exchange's table, 1, and none). `priced_not_before_ns`: reference prices from before
    are stale; the daemon takes it from the calendar. `halted`: the stop latch, a latched breaker, or anything else
    that stops trading; only the sales of an exit are approved despite it. `reducing`: purchases may not leave, any
    sale may. `orders_today`: how many orders of this session there are already.
    """

    book: Book
    available: Paise
    sellable: Mapping[str, int]
    priced_not_before_ns: int
    halted: bool
    open_buys: Mapping[str, int] = {}
    open_sells: Mapping[str, int] = {}
    blocked: Collection[str] = frozenset()
    closed: Collection[str] = frozenset()
    tags_used: Collection[str] = frozenset()
    ticks: Mapping[str, int] = {}
    lots: Mapping[str, int] = {}
    bands: Mapping[str, tuple[int, int]] = {}
    orders_today: int = 0
    reducing: bool = False


class OrderRules:
    """The limits that order checks need, as plain numbers."""

    __slots__ = ("budget", "collar", "max_order", "max_orders", "max_weight", "min_value", "turnover")

    def __init__(self, limits: RiskLimits) -> None:
        self.max_order = limits.execution.max_order_size_percent
        self.max_orders = limits.execution.max_orders_per_day
        self.min_value = limits.execution.min_order_size_rupees * 100.0
        self.collar = limits.execution.cancel_if_slippage_exceeds
        self.max_weight = limits.position_limits.max_weight_per_stock
        self.budget = limits.position_limits.budget
        self.turnover = limits.position_limits.max_daily_turnover


class Batch:
    """The orders of one review: what the earlier ones have used up. `check` each order, `take` the approved ones."""

    __slots__ = (
        "_available",
        "_context",
        "_exit",
        "_gross",
        "_index",
        "_max_gross",
        "_max_order",
        "_max_position",
        "_max_traded",
        "_orders",
        "_plan_id",
        "_positions",
        "_remaining",
        "_rules",
        "_sellable",
        "_sides",
        "_stale",
        "_tags",
        "_traded",
    )  # fmt: skip

    def __init__(self, rules: OrderRules, context: OrderContext, plan: ApprovedPlan | None = None) -> None:
        """Begin a review under a plan; without one the orders are judged by themselves (the gate always has one)."""
        book = context.book
        equity = book.equity
        slack = _ROUNDING * equity
        self._rules = rules
        self._context = context
        self._index = {symbol: i for i, symbol in enumerate(book.symbols)}
        opened = context.open_buys
        if opened:
            self._positions = [q + opened.get(s, 0) for q, s in zip(book.quantities, book.symbols, strict=True)]
            if book.high:
                self._positions = [max(pair) for pair in zip(self._positions, book.high, strict=True)]
        else:
            self._positions = list(book.worst)
        gross = 0
        for position, price in zip(self._positions, book.prices, strict=True):
            gross += position * price
        self._gross = gross
        self._traded = int(book.traded)
        self._available = int(context.available)
        self._sellable = dict(context.sellable)
        self._plan_id = None if plan is None else plan.plan_id
        self._exit = plan is not None and plan.exit
        self._remaining = None if plan is None else self._left(plan)
        self._orders = context.orders_today
        self._tags: set[str] = set()
        self._sides: dict[str, Side] = {}
        self._max_order = rules.max_order * equity + slack
        self._max_position = rules.max_weight * equity + slack
        self._max_gross = rules.budget * equity + slack
        self._max_traded = 2.0 * rules.turnover * equity + slack
        self._stale = not context.priced_not_before_ns <= book.priced_at_ns <= book.at_ns

    def _left(self, plan: ApprovedPlan) -> dict[str, int]:
        """Return the signed shares that the plan has left to trade: what is held and what is on its way is done."""
        context = self._context
        book, bought, sold = context.book, context.open_buys, context.open_sells
        held = dict(zip(book.symbols, book.quantities, strict=True))
        return {
            symbol: after - held.get(symbol, 0) - bought.get(symbol, 0) + sold.get(symbol, 0)
            for symbol, before, after in zip(plan.symbols, plan.before, plan.after, strict=True)
            if after != before
        }

    def check(self, order: ProposedOrder) -> list[Reason]:
        """Return every reason against the order; an empty list means that it may be approved."""
        context, book, rules = self._context, self._context.book, self._rules
        reasons: list[Reason] = []
        symbol, quantity, limit = order.symbol, order.quantity, order.limit
        buying = order.side == Side.BUY
        code = ReasonCode

        if context.halted and (buying or not self._exit):
            reasons.append(Reason(code.ORDER_HALTED, symbol))
        elif context.reducing and buying:
            reasons.append(Reason(code.ORDER_REDUCING, symbol))
        if self._plan_id is not None and order.plan_id != self._plan_id:
            reasons.append(Reason(code.PLAN_OTHER, symbol, detail=order.plan_id[:60]))
        # A count must not keep what sells for safety.
        if self._orders >= rules.max_orders and not self._exit:
            reasons.append(Reason(code.ORDER_DAILY_COUNT, symbol, self._orders + 1, rules.max_orders))
        tag = order.tag
        if not (len(tag) <= TAG_LENGTH and tag.isalnum() and tag.isascii()):
            reasons.append(Reason(code.ORDER_TAG_INVALID, symbol, detail=tag[:40]))
        if tag in self._tags or tag in context.tags_used:
            reasons.append(Reason(code.ORDER_TAG_USED, symbol, detail=tag[:40]))
        if self._sides.get(symbol, order.side) != order.side:
            reasons.append(Reason(code.ORDER_BOTH_SIDES, symbol))
        if symbol in context.blocked:
            reasons.append(Reason(code.ORDER_SYMBOL_BLOCKED, symbol))
        if symbol in context.closed:
            reasons.append(Reason(code.ORDER_SESSION_CLOSED, symbol))
        if self._stale:
            reasons.append(Reason(code.ORDER_PRICE_STALE, symbol))
        lot = context.lots.get(symbol, 1) if context.lots else 1
        if quantity <= 0 or (lot != 1 and quantity % lot):
            reasons.append(Reason(code.ORDER_LOT, symbol, quantity, lot))
        i = self._index.get(symbol)
        if i is None:
            reasons.append(Reason(code.ORDER_UNKNOWN_SYMBOL, symbol))
            return reasons

        reference = book.prices[i]
        if not book.tradable[i] or reference <= 0:
            reasons.append(Reason(code.ORDER_UNTRADABLE, symbol))
        elif abs(limit - reference) > rules.collar * reference:
            reasons.append(Reason(code.ORDER_PRICE_COLLAR, symbol, abs(limit / reference - 1.0), rules.collar))
        band = context.bands.get(symbol) if context.bands else None
        if band is not None and not band[0] <= limit <= band[1]:
            nearest = band[0] if limit < band[0] else band[1]
            reasons.append(Reason(code.ORDER_PRICE_BAND, symbol, limit / 100.0, nearest / 100.0))
        tick = (context.ticks.get(symbol) if context.ticks else None) or tick_size(limit, book.session)
        if limit <= 0 or limit % tick:
            reasons.append(Reason(code.ORDER_TICK, symbol, limit / 100.0, tick / 100.0))

        value = quantity * limit
        # A single lot cannot be sliced, and large trades are sliced, not dropped; the largest weight still bounds it.
        if value > self._max_order and quantity > lot:
            reasons.append(Reason(code.ORDER_TOO_LARGE, symbol, value / book.equity, rules.max_order))
        if value < rules.min_value and (buying or not self._is_exit(i, quantity)):
            reasons.append(Reason(code.ORDER_TOO_SMALL, symbol, value / 100.0, rules.min_value / 100.0))
        if self._remaining is not None:
            left = self._remaining.get(symbol, 0)
            if quantity > (left if buying else -left):
                reasons.append(Reason(code.ORDER_BEYOND_PLAN, symbol, quantity if buying else -quantity, left))

        if buying:
            worth = quantity * reference
            cost = value * (1.0 + CHARGES_MARGIN)
            if cost > self._available:
                reasons.append(Reason(code.ORDER_FUNDS, symbol, cost / 100.0, self._available / 100.0))
            position = (self._positions[i] + quantity) * reference
            if position > self._max_position:
                reasons.append(Reason(code.ORDER_MAX_WEIGHT, symbol, position / book.equity, rules.max_weight))
            if self._gross + worth > self._max_gross:
                gross = (self._gross + worth) / book.equity
                reasons.append(Reason(code.ORDER_CASH_RESERVE, symbol, gross, rules.budget))
            if self._traded + worth > self._max_traded:
                turnover = 0.5 * (self._traded + worth) / book.equity
                reasons.append(Reason(code.ORDER_TURNOVER, symbol, turnover, rules.turnover))
        elif quantity > self._sellable.get(symbol, 0):
            reasons.append(Reason(code.ORDER_HOLDINGS, symbol, quantity, self._sellable.get(symbol, 0)))
        return reasons

    def take(self, order: ProposedOrder) -> None:
        """Count an approved order: the worst case of it is what the next order meets."""
        symbol, quantity = order.symbol, order.quantity
        worth = quantity * self._context.book.prices[self._index[symbol]]
        self._tags.add(order.tag)
        self._sides[symbol] = order.side
        self._traded += worth
        self._orders += 1
        if order.side == Side.BUY:
            self._available -= int(quantity * order.limit * (1.0 + CHARGES_MARGIN)) + 1
            self._positions[self._index[symbol]] += quantity
            self._gross += worth
            if self._remaining is not None:
                self._remaining[symbol] -= quantity
        else:
            self._sellable[symbol] -= quantity
            if self._remaining is not None:
                self._remaining[symbol] += quantity

    def _is_exit(self, i: int, quantity: int) -> bool:
        """Whether a sale is for safety: all that is held, an excess of it or of everything, or a flatten."""
        book = self._context.book
        held = book.quantities[i]
        return (
            self._exit
            or quantity >= held
            or quantity >= self._sellable.get(book.symbols[i], 0)
            or held * book.prices[i] > self._max_position
            or self._gross > self._max_gross
        )
