"""The invariants' own books: a second fold of the journal, written for checking and not for trading.

It folds with each process, in recovery and live alike, after the daemon's own fold of the same record. It believes nothing
that the daemon's state says: trades count by the exchange's tape, latches and halts by their records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from brokers.account import Account
from brokers.charges import DeliveryCharges
from brokers.orders import TERMINAL, OrderState
from brokers.port import ReportKind, Trade
from daemon.bus import Bus, Envelope
from daemon.messages import (
    BreakerApproved,
    BreakerReleased,
    BreakerTripped,
    CashMoved,
    CorporateActionApplied,
    DaemonStarted,
    Decided,
    Halted,
    LedgerCorrected,
    ManualTrades,
    OperatorCommand,
    OrderReports,
    OrdersIntended,
    Outcome,
    PlanClosed,
    Reconciled,
    Resumed,
    ResumePrepared,
    SessionClosed,
    SessionOpened,
)
from daemon.state import State
from market.money import Paise
from risk.approval import ProposedOrder, Side
from risk.schema import RiskLimits

_SLACK: Final = 1e-6
# Paise by which the charges of a few trades by hand may differ from the table, without a person's word.
_SMALL: Final = 1_000
Complain = Callable[[str, str], None]


@dataclass(slots=True)
class Latched:
    """A breaker that has tripped, by its records."""

    until_ns: int
    approved: bool = False


@dataclass(slots=True)
class Books:
    """What must be true by the records alone. `complain(invariant, detail)` takes what is not."""

    limits: RiskLimits
    charges: DeliveryCharges
    tape: dict[str, Trade]  # every trade of the exchange, by id
    complain: Complain
    ended_wrongly: Callable[[str], str]  # why a tag that ended here has not ended there, or ""
    account: Account = field(init=False)
    counted: set[str] = field(default_factory=set)
    intended: dict[str, ProposedOrder] = field(default_factory=dict)
    recorded: dict[str, int] = field(default_factory=dict)  # tag -> its intent's record
    reconciled: bool = False  # since this process began
    disturbed: bool = False  # cash was moved, or a breaker tripped or was released, since the last close
    asked: dict[tuple[str, str, Side], int] = field(default_factory=dict)
    plans: dict[str, Decided] = field(default_factory=dict)
    decided: dict[tuple[date, str], str] = field(default_factory=dict)
    latched: dict[str, Latched] = field(default_factory=dict)
    halts: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    actions: set[tuple[date, str]] = field(default_factory=set)
    opened: bool = False
    said: OperatorCommand | None = None
    prepared: ResumePrepared | None = None

    def __post_init__(self) -> None:
        self.account = Account(Paise(0), self.charges)

    def wire(self, bus: Bus, state: State) -> None:
        """Fold after `state`, which was wired before."""
        bus.reduce(DaemonStarted, self.on_started)
        bus.reduce(SessionOpened, lambda message, _: self.on_session(message))
        bus.reduce(SessionClosed, lambda message, _: self.on_closed())
        bus.reduce(CorporateActionApplied, lambda message, _: self.on_action(message))
        bus.reduce(CashMoved, lambda message, _: self.on_cash(message, state))
        bus.reduce(OrderReports, lambda message, _: self.on_reports(message, state))
        bus.reduce(ManualTrades, lambda message, _: self.on_manual(message))
        bus.reduce(LedgerCorrected, lambda message, _: self.on_corrected(message, state))
        bus.reduce(Decided, lambda message, _: self.on_decided(message, state))
        bus.reduce(OrdersIntended, self.on_intended)
        bus.reduce(Reconciled, lambda message, _: self.on_reconciled(message))
        bus.reduce(PlanClosed, lambda message, _: self.closed.add(message.plan_id))
        bus.reduce(BreakerTripped, lambda message, _: self.on_tripped(message))
        bus.reduce(BreakerApproved, lambda message, _: self.on_approved())
        bus.reduce(BreakerReleased, self.on_released)
        bus.reduce(Halted, lambda message, _: self.halts.add(message.cause))
        bus.reduce(OperatorCommand, lambda message, _: self.on_command(message))
        bus.reduce(ResumePrepared, lambda message, _: self.on_prepared(message))
        bus.reduce(Resumed, self.on_resumed)

    # ---- money (3) ---------------------------------------------------------------------------------------------------

    def on_started(self, message: DaemonStarted, _: Envelope) -> None:
        """The first start sets the opening cash."""
        self.reconciled = False
        if not self.opened:
            self.opened = True
            self.account = Account(message.opening_cash, self.charges)

    def on_session(self, message: SessionOpened) -> None:
        """Purchases of the session before are delivered."""
        if self.account.session is None or message.session > self.account.session:
            self.account.start_session(message.session)

    def on_closed(self) -> None:
        """What disturbed the comparison with the last close is over: there is another close."""
        self.disturbed = False

    def on_action(self, message: CorporateActionApplied) -> None:
        """Once each."""
        if (message.ex_date, message.symbol) not in self.actions:
            self.actions.add((message.ex_date, message.symbol))
            self.account.apply_action(message.symbol, message.numerator, message.denominator, cause="action")

    def on_cash(self, message: CashMoved, state: State) -> None:
        """Moved cash is a correction with a cause."""
        self.account.correct(delta=message.amount, cause=message.reason)
        self.disturbed = True
        self.compare(state)

    def on_reports(self, message: OrderReports, state: State) -> None:
        """Count each trade of the tape once, whatever was told of it; then the ledger must say the same."""
        told = False
        for report in message.reports:
            if report.kind is not ReportKind.FILL:
                continue
            told = True
            trade = self.tape.get(report.trade_id)
            if trade is None or (trade.tag, trade.quantity, trade.price) != (report.tag, report.quantity, report.price):
                self.complain("ledger", f"a fill that the exchange has not: {report}")
            elif report.trade_id not in self.counted:
                self.counted.add(report.trade_id)
                session = self.account.session
                assert session is not None
                self.account.apply_fill(
                    symbol=trade.symbol, side=trade.side, quantity=trade.quantity, price=trade.price, session=session,
                    trade_id=report.trade_id,
                )  # fmt: skip
        if told:
            self.compare(state)
        for report in message.reports:
            order = state.orders.get(report.tag)
            if order is None or order.state not in TERMINAL:
                continue
            if order.filled > order.quantity:
                self.complain("ledger", f"more was filled than asked for: {order!r}")
            why = self.ended_wrongly(report.tag) if order.state is not OrderState.FILLED else ""
            if why:
                self.complain("unknown is not an end", f"{order!r}: {why}")

    def on_manual(self, message: ManualTrades) -> None:
        """Trades by hand are on the tape, are not ours, and count once. Cash is compared with the correction that follows."""
        for given in message.trades:
            trade = self.tape.get(given.trade_id)
            if trade is None or trade.tag or (trade.quantity, trade.price) != (given.quantity, given.price):
                self.complain("ledger", f"a trade by hand that nobody made: {given}")
            elif given.trade_id in self.counted:
                self.complain("ledger", f"a trade by hand that counts twice: {given}")
            else:
                self.counted.add(given.trade_id)
                self.account.apply_fill(
                    symbol=trade.symbol, side=trade.side, quantity=trade.quantity, price=trade.price,
                    session=message.session, trade_id=trade.trade_id,
                )  # fmt: skip
        self.disturbed = True

    def on_corrected(self, message: LedgerCorrected, state: State) -> None:
        """A correction starts from what the ledger says, has a cause, and large ones a person's word."""
        before = self.account.quantity(message.symbol) if message.symbol else self.account.cash
        if before != message.old or not message.cause:
            self.complain("corrections are explicit", f"{message}: by the tape {before}")
        if abs(message.new - message.old) > _SMALL and "accepted by uid" not in message.cause:
            self.complain("corrections are explicit", f"{message}: nobody accepted it")
        self.account.correct(delta=message.new - message.old, cause="corrected", symbol=message.symbol)
        self.disturbed = True
        self.compare(state)

    def compare(self, state: State) -> None:
        """Ledger positions and cash are those of the tape and the corrections, to the paisa; none is below zero."""
        ours, theirs = self.account, state.account
        if ours.cash != theirs.cash:
            self.complain("ledger", f"cash {theirs.cash} paise, by the tape {ours.cash}")
        for symbol, quantity in theirs.quantities.items():
            if quantity != ours.quantity(symbol):
                self.complain("ledger", f"{symbol} {quantity}, by the tape {ours.quantity(symbol)}")
            if quantity < 0:
                self.complain("long only", f"{symbol} {quantity}")
        if theirs.cash < 0:
            self.complain("no leverage", f"cash {theirs.cash} paise")

    # ---- decisions (1, 6, 7) -----------------------------------------------------------------------------------------

    def on_decided(self, message: Decided, state: State) -> None:
        """One a slot and session, and an approved one inside the limits by plain arithmetic."""
        if message.exit:
            self.plans[message.decision_id] = message
            return
        key = (message.session, message.slot)
        if key in self.decided:
            self.complain("one rebalance a slot", f"{key} was decided before")
        self.decided[key] = message.decision_id
        if message.outcome is Outcome.APPROVED:
            self.plans[message.decision_id] = message
            self._inside_limits(message, state)

    def _inside_limits(self, plan: Decided, state: State) -> None:
        limits, equity = self.limits.position_limits, plan.equity
        after = dict(state.account.quantities)
        price = dict(zip(state.symbols, state.view.prices(), strict=True))
        traded = 0
        for move in plan.moves:
            after[move.symbol] = move.after
            traded += abs(move.after - move.before) * move.reference
            weight = move.after * move.reference / equity
            if move.after > move.before and weight > limits.max_weight_per_stock + _SLACK:
                self.complain(
                    "approved inside limits", f"{move.symbol} {weight:.4f} of the account in {plan.decision_id}"
                )
        gross = sum(quantity * price.get(symbol, 0) for symbol, quantity in after.items())
        bought = any(move.after > move.before for move in plan.moves)
        if bought and gross > (1.0 - limits.min_cash_reserve) * equity * (1.0 + _SLACK):
            self.complain("approved inside limits", f"{gross / equity:.4f} invested by {plan.decision_id}")
        if not plan.relaxed and traded > 2.0 * limits.max_daily_turnover * equity * (1.0 + _SLACK):
            self.complain("approved inside limits", f"{traded / equity:.4f} traded by {plan.decision_id}")

    def on_reconciled(self, message: Reconciled) -> None:
        """The books were compared; once is enough for this process to begin."""
        self.reconciled = self.reconciled or message.clean

    def on_intended(self, message: OrdersIntended, envelope: Envelope) -> None:
        """Every intent has a plan, a tag of its own, and no more shares than the plan's move."""
        plan = self.plans.get(message.plan_id)
        if plan is None:
            self.complain("approved first", f"{message.plan_id} has intents and no approved plan")
            return
        moves = {move.symbol: move.after - move.before for move in plan.moves}
        for order in message.orders:
            if order.tag in self.intended:
                self.complain("one intent a tag", order.tag)
            self.intended[order.tag] = order
            self.recorded[order.tag] = envelope.seq
            key = (order.plan_id, order.symbol, order.side)
            asked = self.asked[key] = self.asked.get(key, 0) + order.quantity
            wanted = moves.get(order.symbol, 0)
            if asked > (wanted if order.side is Side.BUY else -wanted):
                self.complain("approved first", f"{asked} {order.side} {order.symbol} for a move of {wanted}")

    # ---- latches (4, 5) ----------------------------------------------------------------------------------------------

    def on_command(self, message: OperatorCommand) -> None:
        """Remember what a person said last."""
        self.said = message

    def on_prepared(self, message: ResumePrepared) -> None:
        """A summary was shown under this nonce."""
        self.prepared = message

    def on_resumed(self, message: Resumed, envelope: Envelope) -> None:
        """Only the one who was shown the summary, with its nonce and a reason, while it is fresh."""
        prepared, said = self.prepared, self.said
        shown = prepared is not None and said is not None and said.nonce == prepared.nonce
        if not shown or not message.reason or prepared is None or envelope.at_ns > prepared.expires_ns:
            self.complain("going on takes two steps", f"{message}: said {said}, prepared {prepared}")
        self.halts.clear()

    def on_tripped(self, message: BreakerTripped) -> None:
        """Latched from here."""
        self.disturbed = True
        self.latched.setdefault(message.name, Latched(message.until_ns))

    def on_approved(self) -> None:
        """A person has approved whatever is latched."""
        for latch in self.latched.values():
            latch.approved = True

    def on_released(self, message: BreakerReleased, envelope: Envelope) -> None:
        """Only what was approved, and only after its pause."""
        self.disturbed = True
        for name in message.names:
            latch = self.latched.pop(name, None)
            if latch is None or not latch.approved or envelope.at_ns < latch.until_ns:
                self.complain("a latch stays", f"{name} was released: {latch}")
