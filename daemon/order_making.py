"""Making orders of a plan: the book it is judged on, whole-share proposals with tick-rounded limits, and their context.

Nothing here decides or sends; the executor asks, and the gate judges what is proposed.
"""

from __future__ import annotations

from datetime import date

import msgspec

from brokers.orders import order_tag
from brokers.sizing import affordable, limit_price, scaled_to, slice_order, spendable
from daemon.decision import Decider
from daemon.messages import Move
from daemon.settings import DaemonSettings
from daemon.state import PlanRun, State
from market.calendar import Calendar
from market.calendar import Phase as MarketPhase
from market.instrument import tick_size
from market.money import Paise
from risk.approval import ApprovedPlan, ProposedOrder, Side
from risk.gate import Book, Gate, OrderContext, Refusal


class OrderMaker:
    """Turns the moves of a plan into proposals."""

    def __init__(
        self, state: State, gate: Gate, settings: DaemonSettings, calendar: Calendar, decider: Decider
    ) -> None:
        self.state = state
        self.gate = gate
        self.settings = settings
        self.calendar = calendar
        self._decider = decider
        self._fresh: tuple[date, int] = (date.min, 0)
        self._derivatives = {instrument.symbol: instrument.derivatives for instrument in settings.instruments}
        self._kinds = frozenset(self._derivatives.values())

    def approval(self, run: PlanRun, book: Book) -> ApprovedPlan | Refusal:
        """Return the plan's approval; after a restart, the gate's judgement of the recorded plan by the limits of today."""
        plan = self._decider.plans.get(run.plan.decision_id)
        if plan is not None:
            return plan
        moved = {move.symbol for move in run.plan.moves}
        held = dict(zip(book.symbols, book.quantities, strict=True))
        # Judged as it was decided: from what was held then, at the prices of then.
        before = tuple((held | {move.symbol: move.before for move in run.plan.moves}).values())
        after = tuple((held | {move.symbol: move.after for move in run.plan.moves}).values())
        tradable = tuple([symbol in moved for symbol in book.symbols])
        then = msgspec.structs.replace(
            book,
            quantities=before,
            high=(),
            tradable=tradable,
            traded=Paise(0),
            priced_at_ns=run.plan.priced_at_ns,
        )
        made = self.gate.approve_plan(run.plan.decision_id, then, after, leaves=run.plan.exit)
        if isinstance(made, ApprovedPlan):
            self._decider.keep(made)
        return made

    def frozen(self, run: PlanRun, book: Book) -> Book:
        """Return the book at the plan's own prices: a plan that fits its limits does not stop fitting half way through.

        Its equity follows cash that was moved since: what was taken out cannot be held in shares.
        """
        prices, index = list(book.prices), self.state.view.index
        for move in run.plan.moves:
            prices[index[move.symbol]] = move.reference
        moved = self.state.history.net_deposits - run.net_deposits
        return msgspec.structs.replace(book, prices=tuple(prices), equity=Paise(run.plan.equity + moved))

    def proposals(self, run: PlanRun, moves: list[Move], side: Side, book: Book) -> list[ProposedOrder]:
        """Return the orders of these moves: purchases scaled to the room and the cash there is, large ones sliced."""
        execution = self.settings.execution
        session = run.plan.session
        # What sells for safety is priced to trade, as far from the reference as an order may be.
        collar = self.gate.limits.execution.cancel_if_slippage_exceeds
        offset = collar if run.plan.exit else execution.limit_offset
        limits = [
            limit_price(side, move.reference, offset=offset, tick=tick_size(move.reference, session)) for move in moves
        ]
        quantities = [abs(move.after - move.before) for move in moves]
        if side is Side.BUY:
            references = [move.reference for move in moves]
            quantities = scaled_to(quantities, references, self.gate.room_for_purchases(book))
            cash = spendable(self.available_cash())
            quantities = affordable(quantities, limits, available=cash, rates=self.state.charges.on(session))
        fraction = min(execution.max_order_fraction, self.gate.limits.execution.max_order_size_percent)
        biggest = Paise(int(book.equity * fraction))
        plan_id = run.plan.decision_id
        proposals = []
        for move, quantity, limit in zip(moves, quantities, limits, strict=True):
            for attempt, part in enumerate(slice_order(quantity, limit, biggest)):
                tag = order_tag(plan_id, move.symbol, side, attempt)
                proposals.append(ProposedOrder(tag, plan_id, move.symbol, side, part, limit))
        return proposals

    def available_cash(self) -> Paise:
        """Return settled cash, less what open and unknown buys may still take at their limits, charges included."""
        state = self.state
        taken = 0
        for order in state.live.values():
            if order.side is Side.BUY and state.session is not None:
                value = Paise(order.remaining * order.limit)
                taken += value + state.charges.on(state.session).total(Side.BUY, value, False)
        return Paise(max(0, state.account.available - taken))

    def tradable(self, moves: list[Move], at_ns: int) -> list[Move]:
        """Return the moves whose symbol trades continuously now and has no order of unknown outcome, nor one of others."""
        barred = self.closed(at_ns) | self._barred()
        return [move for move in moves if move.symbol not in barred]

    def _barred(self) -> frozenset[str]:
        """Return the symbols that an order with an unknown outcome, or an open one that is not ours, keeps us out of."""
        state = self.state
        return state.evidence.blocked.union([order.symbol for order in state.unknown_orders()])

    def closed(self, at_ns: int) -> frozenset[str]:
        """Return the symbols whose market is not in continuous trading."""
        shut = [
            kind for kind in self._kinds if self.calendar.phase(at_ns, derivatives=kind) is not MarketPhase.CONTINUOUS
        ]
        if not shut:
            return frozenset()
        return frozenset([symbol for symbol, kind in self._derivatives.items() if kind in shut])

    def context(self, book: Book) -> OrderContext:
        """Return what the account looks like to orders that are about to be sent."""
        state = self.state
        open_orders = state.open_orders()
        open_buys: dict[str, int] = {}
        open_sells: dict[str, int] = {}
        sellable = state.account.quantities
        for order in open_orders:
            if order.side is Side.BUY:
                open_buys[order.symbol] = open_buys.get(order.symbol, 0) + order.remaining
            else:
                open_sells[order.symbol] = open_sells.get(order.symbol, 0) + order.remaining
                sellable = {**sellable, order.symbol: sellable.get(order.symbol, 0) - order.remaining}
        return OrderContext(
            book=book,
            available=self.available_cash(),
            sellable=sellable,
            priced_not_before_ns=self.priced_not_before(book.session),
            halted=bool(state.halts) or bool(state.guard.board is not None and state.guard.board.latched),
            open_buys=open_buys,
            open_sells=open_sells,
            blocked=self._barred(),
            closed=self.closed(book.at_ns),
            tags_used=state.orders.keys(),
            orders_today=state.orders_today,
        )

    def priced_not_before(self, session: date) -> int:
        """Return the open of the session before: prices older than that are stale for an order."""
        if self._fresh[0] != session:
            previous = self.calendar.previous_session(session)
            self._fresh = (session, previous.open_ns if previous is not None else 0)
        return self._fresh[1]
