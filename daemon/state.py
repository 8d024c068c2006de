"""What the daemon knows: a fold of the journal and nothing else.

Every method named `on_...` is a fold step: it runs for each record of its kind, live and in recovery, and decides
nothing. Handlers (executor, reconciler, operator, ...) read this state and answer with messages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Final, Protocol, cast

import msgspec

from brokers.account import Account
from brokers.charges import DeliveryCharges
from brokers.orders import TERMINAL, IllegalReport, Order, OrderState
from brokers.port import OrderReport, ReportKind
from daemon.agenda import Agenda
from daemon.bus import Envelope, Reducer
from daemon.evidence import Evidence
from daemon.guard import Guard
from daemon.messages import (
    BarsRejected,
    BreakerApproved,
    BreakerReleased,
    BreakerTripped,
    BrokerConnection,
    CancelRequested,
    CashMoved,
    CorporateActionApplied,
    DaemonStarted,
    Decided,
    Halted,
    HistoryLoaded,
    LedgerCorrected,
    ManualTrades,
    ModelLoaded,
    Move,
    OrderReports,
    OrdersIntended,
    Outcome,
    Phase,
    PlanApproved,
    PlanClosed,
    ReadingDue,
    Reconciled,
    Resumed,
    ResumePrepared,
    RollbackDecided,
    SessionClosed,
    SessionOpened,
)
from daemon.unit_history import UnitHistory
from daemon.view import MarketView, VolumeCount
from market.bar import BarBatch
from market.corporate_actions import CorporateAction, on_new_basis
from market.errors import BadInput
from market.money import Paise
from risk.alerts import concerns, slippage
from risk.approval import Side
from risk.breakers.base import KnownReading, PositionReading, Reading
from risk.exposure import Pending, worst_equity
from risk.reasons import Reason
from risk.schema import RiskLimits

CONTRADICTION: Final = "BROKER_CONTRADICTION"


class Folding(Protocol):
    """Where fold steps are registered: the bus, or a reader of old journals."""

    def reduce(self, kind: type, reducer: Reducer) -> None:
        """Register a fold step."""
        ...


@dataclass(slots=True)
class PlanRun:
    """A plan on its way: which phase it is in and which orders belong to it."""

    plan: Decided
    net_deposits: Paise  # of the account when the plan was made
    phase: Phase = Phase.SELLS
    tags: dict[Phase, list[str]] = field(default_factory=dict)
    deadline_ns: int = 0
    closed: bool = False
    charges: Paise = Paise(0)
    traded: Paise = Paise(0)
    slippage: Paise = Paise(0)


class State:
    """Ledger, orders, plans, breakers, halts, view and agenda of one portfolio."""

    def __init__(
        self,
        *,
        symbols: tuple[str, ...],
        charges: DeliveryCharges,
        agenda: Agenda,
        limits: RiskLimits,
    ) -> None:
        self.symbols = symbols
        self.charges = charges
        self.view = MarketView(symbols)
        self.agenda = agenda
        self.account = Account(Paise(0), charges)
        self.guard = Guard(limits, self.view)
        self.history = UnitHistory()
        self.evidence = Evidence()
        # What is to be said of the book at the last close, and what was at the one before.
        self.concerns: tuple[Reason, ...] = ()
        self.told: tuple[Reason, ...] = ()
        self._limits = limits
        self.orders: dict[str, Order] = {}
        # Those of them that may still fill: what every question about exposure is asked of.
        self.live: dict[str, Order] = {}
        self.carried: frozenset[str] = frozenset()  # tags of earlier sessions whose outcome is still unknown
        self.runs: dict[str, PlanRun] = {}
        self.plan_approvals: set[str] = set()
        self.orders_today = 0
        self.volume = VolumeCount()
        self.opening_cash: Paise | None = None
        self.session: date | None = None
        self.session_open = False
        self.previous_session: date = date.min
        self.actions: list[CorporateAction] = []
        self.halts: dict[str, str] = {}
        self.contradictions: list[str] = []
        self.reconciled_ns = 0
        self.reconciled_clean = False
        self.resume: ResumePrepared | None = None
        self.last_decision: Decided | None = None
        self.traded_today: Paise = Paise(0)
        self._reference: dict[tuple[str, str], Paise] = {}
        self._valued: tuple[list[Paise], Account, int] | None = None
        self._equity: Paise | None = None
        self._held_by: Account | None = None
        self._held_at = 0
        self._held: list[tuple[str, int, Paise, int]] = []

    def wire(self, bus: Folding) -> None:
        """Register every fold step."""
        bus.reduce(DaemonStarted, self.on_started)
        bus.reduce(DaemonStarted, self.evidence.on_started)
        bus.reduce(HistoryLoaded, lambda message, _: self.view.load(message))
        bus.reduce(CorporateActionApplied, self.on_action)
        bus.reduce(CashMoved, self.on_cash)
        bus.reduce(SessionOpened, self.on_session_opened)
        bus.reduce(BarBatch, self.on_bars)
        bus.reduce(BarsRejected, self.on_bars_rejected)
        bus.reduce(ReadingDue, lambda _, envelope: self._observe(envelope))
        bus.reduce(ModelLoaded, self.guard.on_model)
        bus.reduce(SessionClosed, self.on_session_closed)
        bus.reduce(Decided, self.on_decided)
        bus.reduce(OrdersIntended, self.on_intended)
        bus.reduce(OrdersIntended, self.evidence.on_intended)
        bus.reduce(CancelRequested, self.on_cancel_requested)
        bus.reduce(OrderReports, self.on_reports)
        bus.reduce(OrderReports, self.evidence.on_reports)
        bus.reduce(PlanClosed, self.on_plan_closed)
        bus.reduce(BreakerTripped, self.guard.on_tripped)
        bus.reduce(BreakerApproved, self.guard.on_approved)
        bus.reduce(BreakerReleased, self.guard.on_released)
        bus.reduce(RollbackDecided, self.guard.on_rollback)
        bus.reduce(PlanApproved, lambda message, _: self.plan_approvals.add(message.plan_id))
        bus.reduce(Reconciled, self.on_reconciled)
        bus.reduce(Reconciled, self.evidence.on_reconciled)
        bus.reduce(ManualTrades, self.on_manual)
        bus.reduce(ManualTrades, self.evidence.on_manual)
        bus.reduce(LedgerCorrected, self.on_corrected)
        bus.reduce(LedgerCorrected, self.evidence.on_corrected)
        bus.reduce(BrokerConnection, self.on_connection)
        bus.reduce(BrokerConnection, self.evidence.on_connection)
        bus.reduce(Halted, self.on_halted)
        bus.reduce(ResumePrepared, self.on_resume_prepared)
        bus.reduce(Resumed, self.on_resumed)

    # ---- money -------------------------------------------------------------------------------------------------------

    def equity(self) -> Paise | None:
        """Return cash plus holdings at last prices; None while a held share has no price (unknown is not zero)."""
        account, prices = self.account, self.view.prices()
        # Asked for several times between two changes: by the breakers, the strategy's context, the gate's books.
        valued = self._valued
        if valued is None or valued[0] is not prices or valued[1] is not account or valued[2] != account.changes:
            self._valued = (prices, account, account.changes)
            self._equity = self._value(prices)
        return self._equity

    def _value(self, prices: list[Paise]) -> Paise | None:
        account, view = self.account, self.view
        total: int = account.cash
        for symbol, quantity in account.quantities.items():
            if quantity:
                i = view.index.get(symbol)
                if i is None or prices[i] <= 0 or symbol in view.suspect:
                    return None
                total += quantity * prices[i]
        return Paise(total)

    def open_orders(self) -> list[Order]:
        """Return orders that may still fill, unknown ones among them."""
        return list(self.live.values())

    def unknown_orders(self) -> list[Order]:
        """Return orders whose outcome the broker has not told."""
        return [order for order in self.live.values() if order.state is OrderState.UNKNOWN]

    def worst_equity(self) -> Paise | None:
        """Return equity at the worse end of what is not known: orders on their way may have traded at their limits."""
        equity = self.equity()
        if equity is None or not self.live:
            return equity
        prices = dict(zip(self.symbols, self.view.prices(), strict=True))
        return worst_equity(equity, prices, self.pending())

    def pending(self) -> list[Pending]:
        """Return what is left of every order that may still trade, or may have traded without our knowing."""
        return [Pending(order.symbol, order.side, order.remaining, order.limit) for order in self.live.values()]

    def reference(self, order: Order) -> Paise:
        """Return the price that the order's plan was made on."""
        return self._reference.get((order.plan_id, order.symbol), order.limit)

    def slippage(self, order: Order) -> float:
        """Return how much worse than its reference an order was filled on average, as a fraction; 0 before a fill."""
        price = order.average_price
        return 0.0 if price is None else slippage(order.side, price=price, reference=self.reference(order))

    # ---- fold steps --------------------------------------------------------------------------------------------------

    def on_started(self, message: DaemonStarted, envelope: Envelope) -> None:
        if message.symbols != self.symbols:
            # Rows of closes and weights are by position: folded into another order they would be other shares' numbers.
            raise BadInput(
                f"journal: it is of the universe {', '.join(message.symbols)}, and the configuration has "
                f"{', '.join(self.symbols)}; restore portfolio.assets, or start in a new directory"
            )
        if self.opening_cash is None:
            self.opening_cash = message.opening_cash
            self.history.start(message.opening_cash)
            self.account = Account(message.opening_cash, self.charges)
            self.guard.start(message.opening_cash)
        self.guard.start_again(message.model, at_ns=envelope.at_ns)
        # Whatever was true of the broker before is no longer known to be.
        self.reconciled_clean = False

    def on_session_opened(self, message: SessionOpened, envelope: Envelope) -> None:
        if self.session is not None and message.session <= self.session:
            self.session_open = True
            return
        self.previous_session = self.session or self.view_session()
        self.session = message.session
        self.session_open = True
        self.account.start_session(message.session)
        # Orders live one day: what was open yesterday cannot fill today, and what is done needs no more memory.
        self.orders = {tag: order for tag, order in self.orders.items() if order.state is OrderState.UNKNOWN}
        self.live = dict(self.orders)
        self.carried = frozenset(self.orders)
        self.evidence.keep(self.carried)
        self.runs = {key: run for key, run in self.runs.items() if not run.closed}
        self.plan_approvals &= self.runs.keys()
        self._reference = {}
        self.traded_today = Paise(0)
        self.orders_today = 0
        self.volume = VolumeCount()
        self._observe(envelope)

    def view_session(self) -> date:
        """Return the newest session that the view has a bar of."""
        return max(self.view.last_session, default=date.min)

    def on_action(self, message: CorporateActionApplied, _: Envelope) -> None:
        action = CorporateAction(message.ex_date, message.symbol, message.kind, message.numerator, message.denominator)
        if any(known.key == action.key for known in self.actions):
            return  # on record twice: a kill came between the record and the session's start
        self.actions = sorted([*self.actions, action], key=lambda known: known.key)
        symbol, factor = action.symbol, float(action.factor)
        before = self._entry(symbol)
        self.account.apply_action(symbol, action.numerator, action.denominator, cause=action.cause)
        self.view.apply_action(symbol, factor)
        self.guard.apply_action(action, before=before, after=self._entry(symbol))
        for key, reference in self._reference.items():
            if key[1] == symbol:
                self._reference[key] = Paise(round(reference / action.factor))
        for run in self.runs.values():
            # What a plan of an earlier session still says of this share is read once more, when it is closed.
            moves = tuple(_on_new_basis(move, action) if move.symbol == symbol else move for move in run.plan.moves)
            run.plan = msgspec.structs.replace(run.plan, moves=moves)

    def _entry(self, symbol: str) -> Paise:
        return Paise(round(self.account.average_cost(symbol) or 0))

    def on_cash(self, message: CashMoved, envelope: Envelope) -> None:
        self.history.move(message, self.equity())
        self.account.correct(delta=message.amount, cause=f"by uid {message.uid}: {message.reason}")
        # At once: by the next bar another session may have begun, with the deposit in its baseline and in its reading.
        self._observe(envelope)

    def on_bars(self, batch: BarBatch, envelope: Envelope) -> None:
        if self.actions and batch.session < self.actions[-1].ex_date:
            batch = on_new_basis(batch, self.actions)  # late bars of a session before an ex date
        if self.view.observe(batch):
            self.volume.count(batch)
            if self.view.refused or self.view.suspect:
                self.view.believe(batch.symbols)
                self.guard.count_refused("")
        self._observe(envelope)

    def on_bars_rejected(self, message: BarsRejected, envelope: Envelope) -> None:
        self.view.refuse(message.symbols, message.prices, message.end_ns)
        self.guard.count_refused(message.detail)
        self._observe(envelope)

    def on_session_closed(self, message: SessionClosed, envelope: Envelope) -> None:
        self.session_open = False
        self.view.end_session(message.session)
        equity = self.equity()
        if equity is None:
            return
        if self.history.unread:
            self._observe(envelope)
        self.history.close(message.session, equity)
        self.told = self.concerns
        self.concerns = concerns(self.symbols, self.weights(), self._limits)

    def _observe(self, envelope: Envelope) -> None:
        if self.guard.board is None or self.session is None:
            return
        history, equity = self.history, self.worst_equity()
        reading = Reading(
            envelope.at_ns,
            self.session,
            equity,
            Paise(0) if equity is None else history.unread,
            history.close_before,
            history.close_before_rupees,
            self._position_readings(),
        )
        self.guard.measure(reading)
        if reading.net_deposit:
            history.read(cast(KnownReading, reading))

    def _position_readings(self) -> tuple[PositionReading, ...]:
        prices, index, account = self.view.prices(), self.view.index, self.account
        if self._held_by is not account or self._held_at != account.changes:
            # What is held, and what it cost, changes with fills; its price with every bar.
            self._held_by, self._held_at = account, account.changes
            self._held = [
                (symbol, quantity, Paise(round(account.average_cost(symbol) or 0)), index[symbol])
                for symbol, quantity in account.quantities.items()
                if quantity
            ]
        return tuple([PositionReading(symbol, quantity, cost, prices[i]) for symbol, quantity, cost, i in self._held])

    def weights(self) -> list[float]:
        """Return current weights in the universe's order; zeros while equity is unknown or nothing."""
        equity = self.equity()
        if not equity:
            return [0.0] * len(self.symbols)
        held = self.account.quantities
        return [
            held.get(symbol, 0) * price / equity for symbol, price in zip(self.symbols, self.view.prices(), strict=True)
        ]

    def on_decided(self, message: Decided, _: Envelope) -> None:
        self.agenda.decided(message)
        self.last_decision = message
        if not message.exit:
            self.guard.judge_model(message)
        if message.outcome is Outcome.APPROVED and message.moves:
            self.runs[message.decision_id] = PlanRun(message, self.history.net_deposits)
            for move in message.moves:
                self._reference[message.decision_id, move.symbol] = move.reference

    def on_intended(self, message: OrdersIntended, _: Envelope) -> None:
        run = self.runs[message.plan_id]
        run.phase = message.phase
        run.deadline_ns = message.deadline_ns
        tags = run.tags.setdefault(message.phase, [])
        for proposal in message.orders:
            order = Order(
                proposal.tag, proposal.plan_id, proposal.symbol, proposal.side, proposal.quantity, proposal.limit
            )
            self.orders[proposal.tag] = self.live[proposal.tag] = order
            tags.append(proposal.tag)
        self.orders_today += len(message.orders)

    def on_cancel_requested(self, message: CancelRequested, _: Envelope) -> None:
        for tag in message.tags:
            order = self.orders.get(tag)
            if order is not None:
                order.request_cancel()

    def on_reports(self, message: OrderReports, _: Envelope) -> None:
        for report in message.reports:
            order = self.orders.get(report.tag)
            if order is None:
                continue
            try:
                change = order.apply(report)
                if change.after in TERMINAL:
                    self.live.pop(order.tag, None)
                if change.filled:
                    self._book_fill(order, report)
            except (IllegalReport, BadInput) as error:
                # The record is in the journal for good: a fold that raised on it would raise at every start. What cannot
                # be true is kept beside the state, and the executor halts on it.
                self.contradictions.append(f"{report.kind} {report.tag}: {error}")

    def _book_fill(self, order: Order, report: OrderReport) -> None:
        assert self.session is not None and report.kind is ReportKind.FILL
        charges = self.account.apply_fill(
            symbol=order.symbol,
            side=order.side,
            quantity=report.quantity,
            price=report.price,
            session=self.session,
            trade_id=report.trade_id,
        )
        value = report.quantity * report.price
        self.traded_today = Paise(self.traded_today + value)
        run = self.runs.get(order.plan_id)
        if run is not None:
            run.charges = Paise(run.charges + charges)
            run.traded = Paise(run.traded + value)
            reference = self.reference(order)
            worse = report.price - reference if order.side is Side.BUY else reference - report.price
            run.slippage = Paise(run.slippage + worse * report.quantity)

    def on_plan_closed(self, message: PlanClosed, _: Envelope) -> None:
        run = self.runs.get(message.plan_id)
        if run is not None:
            run.closed = True
            run.phase = Phase.CLOSED

    def on_reconciled(self, message: Reconciled, envelope: Envelope) -> None:
        self.reconciled_clean = message.clean
        if message.clean:
            self.reconciled_ns = envelope.at_ns

    def on_connection(self, message: BrokerConnection, _: Envelope) -> None:
        if not message.connected:
            self.reconciled_clean = False  # what happens at the broker from here on is not heard

    def on_manual(self, message: ManualTrades, envelope: Envelope) -> None:
        for trade in message.trades:
            try:
                self.account.apply_fill(
                    symbol=trade.symbol,
                    side=trade.side,
                    quantity=trade.quantity,
                    price=trade.price,
                    session=message.session,
                    trade_id=trade.trade_id,
                )
            except BadInput as error:
                self.contradictions.append(f"manual trade {trade.trade_id}: {error}")
        self._observe(envelope)

    def on_corrected(self, message: LedgerCorrected, envelope: Envelope) -> None:
        account, symbol = self.account, message.symbol
        if (account.quantity(symbol) if symbol else account.cash) != message.old:
            self.contradictions.append(
                f"correction of {symbol or 'cash'} from {message.old}: the ledger says otherwise"
            )
            return
        account.correct(delta=message.new - message.old, cause=message.cause, symbol=symbol, price=message.price)
        self._observe(envelope)

    def on_halted(self, message: Halted, _: Envelope) -> None:
        self.halts[message.cause] = message.detail
        if message.cause == CONTRADICTION:
            self.contradictions.clear()
        self.resume = None  # a summary that was shown before this halt does not speak of it

    def on_resume_prepared(self, message: ResumePrepared, _: Envelope) -> None:
        self.resume = message

    def on_resumed(self, message: Resumed, _: Envelope) -> None:
        self.halts.clear()
        self.resume = None


def _on_new_basis(move: Move, action: CorporateAction) -> Move:
    """Return a planned move in shares and at a price as they read after a split or a bonus issue."""
    numerator, denominator = action.numerator, action.denominator
    return Move(
        symbol=move.symbol,
        before=move.before * numerator // denominator,
        after=move.after * numerator // denominator,
        reference=Paise(round(move.reference / action.factor)),
    )
