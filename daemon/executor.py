"""The executor: carries a frozen plan out, each order sent at most once, sells before buys, to its deadline.

Buys are scaled to *confirmed* cash when the sells are done. What is open at the deadline is cancelled; what could not be
done is carried as a residual, and the next decision starts from holdings, so it makes good what was missed. After a
restart the plan goes on from the phase in which it was: orders on record are looked up, never sent again.
"""

from __future__ import annotations

from typing import Final

from brokers.orders import TERMINAL, OrderState
from brokers.port import ReportKind
from daemon.bus import Bus, Envelope, Output
from daemon.clock import session_day
from daemon.conditions import RULES
from daemon.decision import Decider
from daemon.effects import Alert, CancelOrders, DropTimer, ReadAccount, SendOrders, SetTimer
from daemon.messages import (
    BreakerTripped,
    CancelRequested,
    ConditionChanged,
    DeadlineDue,
    Decided,
    Halted,
    OrderReports,
    OrdersIntended,
    OrdersRefused,
    Outcome,
    Phase,
    PlanApproved,
    PlanClosed,
    Reconciled,
    SessionClosed,
    SessionOpened,
)
from daemon.order_making import OrderMaker
from daemon.settings import DaemonSettings
from daemon.state import CONTRADICTION, PlanRun, State
from daemon.stops import STOP_CANCEL, STOP_FLATTEN, hold_exits
from market.bar import BarBatch
from market.calendar import Calendar
from risk.alerts import slippage
from risk.approval import Side
from risk.gate import Gate, Refusal

_GRACE: Final = "grace"
# What sells for safety is priced anew after this long, instead of resting above a market that falls.
EXIT_MINUTES: Final = 5.0
_APPROVAL: Final = "approval"
_CANCELLABLE: Final = frozenset(
    {OrderState.SENT, OrderState.ACKNOWLEDGED, OrderState.PARTIALLY_FILLED, OrderState.INTENDED}
)


class Executor:
    """Handles approved decisions, broker reports and deadlines."""

    def __init__(
        self,
        state: State,
        gate: Gate,
        settings: DaemonSettings,
        calendar: Calendar,
        decider: Decider,
    ) -> None:
        self.state = state
        self.gate = gate
        self.settings = settings
        self._decider = decider
        self.maker = OrderMaker(state, gate, settings, calendar, decider)
        self.held_back = False  # a phase waits for the books to be compared, or for the end of a condition

    def wire(self, bus: Bus) -> None:
        """Register the handlers."""
        bus.handle(Decided, self.on_decided)
        bus.handle(PlanApproved, self.on_plan_approved)
        bus.handle(OrderReports, self.on_reports)
        bus.handle(BarBatch, self.on_bars)
        bus.handle(DeadlineDue, self.on_deadline)
        bus.handle(Halted, self.on_halted)
        bus.handle(BreakerTripped, self.on_tripped)
        bus.handle(ConditionChanged, self.on_condition)
        bus.handle(Reconciled, self.on_reconciled)
        bus.handle(SessionOpened, self.on_session_opened)
        bus.handle(SessionClosed, self.on_session_closed)

    # ---- phases ------------------------------------------------------------------------------------------------------

    def on_decided(self, message: Decided, envelope: Envelope) -> list[Output] | None:
        """Start the plan; one without moves has nothing to do."""
        run = self.state.runs.get(message.decision_id)
        if message.outcome is not Outcome.APPROVED or run is None:
            return None
        if self._must_ask(run):
            return self._wait_for_approval(run, envelope)
        return self._start(run, Phase.SELLS, envelope)

    def _must_ask(self, run: PlanRun) -> bool:
        """Return whether the plan waits for a person: live trading with daily approval; an exit never waits."""
        asks = self.settings.mode == "live" and self.gate.limits.live.daily_approval_required
        return asks and not run.plan.exit and run.plan.decision_id not in self.state.plan_approvals

    def awaiting_approval(self) -> tuple[str, ...]:
        """Return the plans that wait for a person."""
        return tuple(
            [
                plan_id
                for plan_id, run in self.state.runs.items()
                if not run.closed and run.phase not in run.tags and self._must_ask(run)
            ]
        )

    def _wait_for_approval(self, run: PlanRun, envelope: Envelope) -> list[Output]:
        plan_id = run.plan.decision_id
        closes = self.state.agenda.slot(run.plan.slot).closes_ns(run.plan.session)
        detail = f"plan {plan_id} waits for: tarazu approve --reason TEXT"
        return [
            Alert("warning", "plan.waits", detail),
            SetTimer(plan_id, max(closes, envelope.at_ns), DeadlineDue(plan_id=plan_id, phase=_APPROVAL)),
        ]

    def on_plan_approved(self, message: PlanApproved, envelope: Envelope) -> list[Output] | None:
        """Start a plan that a person has let go ahead; one whose window is over was closed by its deadline."""
        run = self.state.runs.get(message.plan_id)
        if run is None or run.closed or run.phase in run.tags:
            return None
        return [DropTimer(message.plan_id), *self._start(run, Phase.SELLS, envelope)]

    def _must_wait(self) -> bool:
        """Return whether nothing may be sent before something has ended by itself; what waits for a person is refused."""
        state = self.state
        if not state.reconciled_clean:
            # Fills that a reconciliation has just found do not show yet that nothing else is different.
            return True
        return bool(state.conditions.against(Side.SELL)) and not state.conditions.lasting

    def _start(self, run: PlanRun, phase: Phase, envelope: Envelope) -> list[Output]:
        if self._must_wait():
            self.held_back = True
            return []
        if phase is Phase.BUYS and not run.plan.exit and envelope.at_ns > self._buys_until(run):
            return self._close(run, "its purchases were held back until their time was over")
        side = Side.SELL if phase is Phase.SELLS else Side.BUY
        moves = [move for move in run.plan.moves if (move.after < move.before) == (side is Side.SELL)]
        if moves:
            moves = self.maker.tradable(moves, envelope.at_ns)
        if not moves:
            return self._after(run, phase, envelope)
        held_by = hold_exits(self.state.halts) if run.plan.exit else ()
        if held_by:
            return self._close(run, f"halted: {', '.join(held_by)}")
        now = self._decider.book(envelope)
        if now is None:
            return self._close(run, "the account's value is not known")
        book = self.maker.frozen(run, now)
        plan = self.maker.approval(run, book)
        if isinstance(plan, Refusal):
            return self._close(run, "; ".join([reason.text for reason in plan.reasons]))
        proposals = self.maker.proposals(run, moves, side, book)
        approved, refused = self.gate.review_orders(proposals, self.maker.context(book), plan)
        outputs: list[Output] = []
        if refused:
            why = tuple((order.order.symbol, "; ".join(map(str, order.reasons))) for order in refused)
            outputs.append(OrdersRefused(plan_id=run.plan.decision_id, phase=phase, refusals=why))
        if not approved:
            return outputs + self._after(run, phase, envelope)
        if refused:
            kept = {order.tag for order in approved}
            proposals = [proposal for proposal in proposals if proposal.tag in kept]
        plan_id = run.plan.decision_id
        minutes = min(self.settings.execution.timeout_minutes, self.gate.limits.execution.order_timeout_minutes)
        if run.plan.exit:
            minutes = min(minutes, EXIT_MINUTES)
        deadline = envelope.at_ns + int(minutes * 60 * 10**9)
        outputs += [
            OrdersIntended(
                plan_id=plan_id,
                phase=phase,
                limits_version=self.gate.limits.version,
                orders=tuple(proposals),
                deadline_ns=deadline,
            ),
            SendOrders(tuple(approved)),
            SetTimer(plan_id, deadline, DeadlineDue(plan_id=plan_id, phase=phase)),
        ]
        return outputs

    def _buys_until(self, run: PlanRun) -> int:
        """Return when purchases are too late: sales that began in the slot's window have had their time by then."""
        execution = self.settings.execution
        sales_ns = int(execution.timeout_minutes * 60 * 10**9) + 2 * execution.cancel_grace_seconds * 10**9
        return self.state.agenda.slot(run.plan.slot).closes_ns(run.plan.session) + sales_ns

    def _after(self, run: PlanRun, phase: Phase, envelope: Envelope) -> list[Output]:
        if phase is Phase.SELLS:
            return self._start(run, Phase.BUYS, envelope)
        return self._close(run)

    # ---- what comes back ---------------------------------------------------------------------------------------------

    def on_reports(self, message: OrderReports, envelope: Envelope) -> list[Output] | None:
        """Go on when the phase's orders are all settled; tell of one that is unknown (`daemon.moments` looks for evidence)."""
        outputs: list[Output] = []
        if self.state.contradictions:
            detail = "; ".join(self.state.contradictions)
            outputs += [Halted(cause=CONTRADICTION, detail=detail), Alert("error", "order.contradiction", detail)]
        plans: dict[str, None] = {}
        for report in message.reports:
            order = self.state.orders.get(report.tag)
            if order is None:
                outputs.append(Alert("error", "order.foreign", f"report for an order that is not ours: {report.tag}"))
                continue
            plans[order.plan_id] = None
            if report.kind is ReportKind.UNKNOWN:
                outputs.append(Alert("error", "order.unknown", f"{order.symbol} {order.tag}: {report.detail}"))
        for plan_id in plans:
            run = self.state.runs.get(plan_id)
            if run is not None and not run.closed and self._settled(run):
                outputs.append(DropTimer(plan_id))
                outputs += self._after(run, run.phase, envelope)
        return outputs

    def _settled(self, run: PlanRun) -> bool:
        orders = self.state.orders
        return all(orders[tag].state in TERMINAL for tag in run.tags.get(run.phase, ()))

    def on_deadline(self, message: DeadlineDue, envelope: Envelope) -> list[Output] | None:
        """Cancel what is open; when cancels stay unanswered past a grace, go on without those symbols."""
        run = self.state.runs.get(message.plan_id)
        if run is None or run.closed:
            return None
        if message.phase == _APPROVAL:
            return self._close(run, "nobody approved it in time") if run.phase not in run.tags else None
        if message.phase == f"{_GRACE}:{run.phase}":
            return [
                Alert("error", "order.cancel_unanswered", f"plan {message.plan_id}: cancels were not confirmed"),
                ReadAccount("unknown"),
                *self._after(run, run.phase, envelope),
            ]
        if message.phase != run.phase:
            return None
        tags = self._open_tags(run)
        if not tags:
            return self._after(run, run.phase, envelope)
        return self._cancel(tags, f"deadline of {run.phase}", run, envelope)

    def _open_tags(self, run: PlanRun) -> tuple[str, ...]:
        orders = self.state.orders
        return tuple(tag for tag in run.tags.get(run.phase, ()) if orders[tag].state not in TERMINAL)

    def _cancel(self, tags: tuple[str, ...], why: str, run: PlanRun | None, envelope: Envelope) -> list[Output]:
        outputs: list[Output] = [CancelRequested(tags=tags, why=why), CancelOrders(tags)]
        if run is not None:
            plan_id = run.plan.decision_id
            until = envelope.at_ns + self.settings.execution.cancel_grace_seconds * 10**9
            outputs.append(SetTimer(plan_id, until, DeadlineDue(plan_id=plan_id, phase=f"{_GRACE}:{run.phase}")))
        return outputs

    def cancel_open(
        self, why: str, envelope: Envelope, *, buys_only: bool = False, but_exits: bool = False
    ) -> list[Output]:
        """Cancel every open order of the day (a stop, a trip)."""
        exits = self._exits() if but_exits else set()
        tags = tuple(
            order.tag
            for order in self.state.live.values()
            if not (buys_only and order.side is Side.SELL) and order.plan_id not in exits
        )
        return self._cancel(tags, why, None, envelope) if tags else []

    def cancel_exits(self, why: str, envelope: Envelope) -> list[Output]:
        """Cancel what exits have open, also once more what an earlier cancel did not reach: nobody wants it any more."""
        exits = self._exits()
        tags = tuple(order.tag for order in self.state.live.values() if order.plan_id in exits)
        return self._cancel(tags, why, None, envelope) if tags else []

    def _exits(self) -> set[str]:
        return {plan_id for plan_id, run in self.state.runs.items() if run.plan.exit}

    def on_bars(self, batch: BarBatch, envelope: Envelope) -> list[Output] | None:
        """Cancel open orders that the market has left behind: filled now, they would slip too far."""
        state = self.state
        if not state.live:
            return None
        prices, index = state.view.prices(), state.view.index
        most = self.gate.limits.execution.cancel_if_slippage_exceeds
        tags = tuple(
            [
                order.tag
                for order in state.live.values()
                if order.state in _CANCELLABLE
                and (price := prices[index[order.symbol]]) > 0
                and slippage(order.side, price=price, reference=state.reference(order)) > most
            ]
        )
        return self._cancel(tags, f"slippage above {most:.2%}", None, envelope) if tags else None

    def on_reconciled(self, message: Reconciled, envelope: Envelope) -> list[Output] | None:
        """Ask once more for what the books still show open: the first cancel did not reach the broker."""
        if not message.clean or not self.state.live:
            return None
        tags = tuple([tag for tag, order in self.state.live.items() if order.state is OrderState.CANCEL_REQUESTED])
        return self._cancel(tags, "an earlier cancel did not arrive", None, envelope) if tags else None

    def on_halted(self, message: Halted, envelope: Envelope) -> list[Output] | None:
        """A halt forbids new orders; orders at the broker are cancelled only when it says so."""
        if message.cause not in (STOP_CANCEL, STOP_FLATTEN):
            return None
        # What an exit has open is on its way to where a flatten wants to be.
        cancels = self.cancel_open(message.cause, envelope, but_exits=message.cause == STOP_FLATTEN)
        return [*cancels, *self._end_waiting(message.cause)]

    def _end_waiting(self, cause: str) -> list[Output]:
        """Close plans that only wait (for books, for a condition to end): a resume does not bring back what was withdrawn."""
        outputs: list[Output] = []
        for run in self.state.runs.values():
            waits = run.phase not in run.tags or self._settled(run)
            if not run.closed and not run.plan.exit and waits:
                outputs += [DropTimer(run.plan.decision_id), *self._close(run, f"stopped: {cause}")]
        return outputs

    def on_tripped(self, message: BreakerTripped, envelope: Envelope) -> list[Output] | None:
        """A trip cancels open buys; sells reduce risk and may finish."""
        return self.cancel_open(f"breaker {message.name}", envelope, buys_only=True)

    def on_condition(self, message: ConditionChanged, envelope: Envelope) -> list[Output] | None:
        """Go on with what waited for its end; withdraw open purchases when it blinds us to prices.

        Nobody would notice that the market has left them behind (`on_bars`).
        """
        if not message.holds:
            return self.resume(envelope) if self.held_back and not self._must_wait() else None
        if not RULES[message.name].withdraws:
            return None
        return self.cancel_open(f"condition {message.name}", envelope, buys_only=True)

    # ---- the end of a plan -------------------------------------------------------------------------------------------

    def _close(self, run: PlanRun, why: str = "") -> list[Output]:
        state = self.state
        quantities = state.account.quantities
        residuals = {
            move.symbol: move.after - quantities.get(move.symbol, 0)
            for move in run.plan.moves
            if move.after != quantities.get(move.symbol, 0)
        }
        return [
            PlanClosed(
                plan_id=run.plan.decision_id,
                session=run.plan.session,
                residuals=residuals,
                charges=run.charges,
                slippage=run.slippage,
                traded=run.traded,
                tracking_error=self._tracking_error(run),
                why=why,
            )
        ]

    def _tracking_error(self, run: PlanRun) -> float:
        """Return half the sum of |approved - held| weights: 0 when the plan was done to the share."""
        state = self.state
        equity = run.plan.equity
        held = state.account.quantities
        prices = {move.symbol: move.reference for move in run.plan.moves}
        gap = 0.0
        for symbol, weight in zip(state.symbols, run.plan.approved, strict=True):
            if symbol in prices:
                gap += abs(weight - held.get(symbol, 0) * prices[symbol] / equity)
        return round(gap / 2.0, 9)

    def on_session_opened(self, message: SessionOpened, _: Envelope) -> list[Output] | None:
        """Ask what became of orders that an earlier session left unknown: they block their symbols until then."""
        return [ReadAccount("unknown")] if self.state.unknown_orders() else None

    def on_session_closed(self, message: SessionClosed, envelope: Envelope) -> list[Output] | None:
        """Close what is left of the day's plans, and ask the broker what became of unknown orders."""
        outputs: list[Output] = []
        for run in self.state.runs.values():
            if not run.closed:
                outputs.append(DropTimer(run.plan.decision_id))
                outputs += self._close(run, "the session ended")
        if self.state.open_orders() or self.settings.reconciling.after_execution:
            # The last look at today's trades: tomorrow no book shows them.
            outputs.append(ReadAccount("close"))
        return outputs or None

    def resume(self, envelope: Envelope) -> list[Output]:
        """Go on with plans that a restart interrupted, once the books are reconciled."""
        outputs: list[Output] = []
        state = self.state
        self.held_back = False
        for run in list(state.runs.values()):
            if run.closed:
                continue
            today = run.plan.session == state.session == session_day(envelope.at_ns)
            if not today or not state.session_open:
                outputs += self._close(run, "interrupted, and its session is over")
            elif run.phase not in run.tags:
                exits = run.plan.exit  # what sells for safety has no window
                if not exits and envelope.at_ns > state.agenda.slot(run.plan.slot).closes_ns(run.plan.session):
                    outputs += self._close(run, "interrupted, and its window is over")
                elif self._must_ask(run):
                    outputs += self._wait_for_approval(run, envelope)
                else:
                    outputs += self._start(run, run.phase, envelope)
            elif self._settled(run):
                outputs += self._after(run, run.phase, envelope)
            else:
                plan_id = run.plan.decision_id
                deadline = DeadlineDue(plan_id=plan_id, phase=run.phase)
                outputs.append(SetTimer(plan_id, max(run.deadline_ns, envelope.at_ns), deadline))
        return outputs
