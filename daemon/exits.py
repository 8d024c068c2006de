"""Exits: selling everything under the gate's exit rules, when a liquidation is latched or a person says flatten.

An exit is a plan like any other: frozen, sealed by the gate, journaled, each order sent once. It sells what can be sold
and buys nothing; a latched breaker does not hold it back, any halt does but the stops that a flatten overrules
(`daemon.stops`). What it could not sell is tried again, a minute after a plan that sold something and later each time
after one that did not, and in the next session, until nothing is left, the latch is released, or a person resumes or
stops the flatten. An approval alone does not end a liquidation: it says that trading may go on after the pause, not that
the rest may be kept. While data cannot be relied on (`data_health` latched) nothing is sold by it: a price that three bars
in a row were refused for is no reason to sell all there is.
"""

from __future__ import annotations

from typing import Final

from daemon.agenda import decision_id
from daemon.bus import Bus, Envelope, Output
from daemon.decision import Decider
from daemon.effects import Alert, ReadAccount, SetTimer
from daemon.executor import Executor
from daemon.messages import (
    BreakerReleased,
    ConditionChanged,
    Decided,
    ExitDue,
    Halted,
    Move,
    OrderReports,
    Outcome,
    PlanClosed,
    Reconciled,
    Resumed,
    SessionOpened,
)
from daemon.settings import DaemonSettings
from daemon.state import State
from daemon.stops import STOP_FLATTEN, flattening, hold_exits
from risk.approval import ApprovedPlan, Side
from risk.breakers import liquidation
from risk.breakers.health import DATA_HEALTH
from risk.gate import Book, Gate

# The opening minutes have the widest spreads; a plan that could not sell is tried again after this long.
AFTER_OPEN_NS: Final = 5 * 60 * 10**9
AGAIN_NS: Final = 60 * 10**9
LONGEST_WAIT_NS: Final = 16 * AGAIN_NS
# A flatten cancels first. Cancels are confirmed well within this; after it, what is free is sold without waiting further.
CANCELS_NS: Final = 5 * 10**9
_TIMER: Final = "exit"
_UNRECONCILED: Final = "the broker's books and the ledger are not reconciled"


class Exits:
    """Handles a latched liquidation and a person's flatten."""

    def __init__(
        self, state: State, gate: Gate, settings: DaemonSettings, decider: Decider, executor: Executor
    ) -> None:
        self.state = state
        self.gate = gate
        self.settings = settings
        self.decider = decider
        self.executor = executor
        self._in_vain = 0  # plans in a row that sold nothing
        self._put_off = False  # an attempt found a halt, a condition, or books that were not compared
        self._told: frozenset[str] = frozenset()  # what puts the exit off, and people have been told of
        self._due_ns = 0  # when the timer is set for; 0: it is not
        self._cancelling = False  # a flatten waits for its cancels

    def wire(self, bus: Bus) -> None:
        """Register the handlers."""
        bus.handle(ExitDue, self.on_due)
        bus.handle(SessionOpened, self.on_session_opened)
        bus.handle(PlanClosed, self.on_plan_closed)
        bus.handle(Halted, self.on_halted)
        bus.handle(OrderReports, self.on_reports)
        bus.handle(Resumed, self.on_resumed)
        bus.handle(Reconciled, self.on_going_on)
        bus.handle(BreakerReleased, self.on_going_on)
        bus.handle(ConditionChanged, self.on_going_on)

    def latched(self) -> bool:
        """Return whether everything is to be sold."""
        board = self.state.guard.board
        return flattening(self.state.halts) or (board is not None and liquidation.NAME in board.latched)

    @property
    def _name(self) -> str:
        return "flatten" if flattening(self.state.halts) else "liquidation"

    def _running(self) -> bool:
        return any(run.plan.exit and not run.closed for run in self.state.runs.values())

    def _blind(self) -> bool:
        board = self.state.guard.board
        return board is not None and DATA_HEALTH in board.latched

    def _again(self, at_ns: int) -> list[Output]:
        session = self.state.session
        assert session is not None
        self._due_ns = at_ns
        return [SetTimer(_TIMER, at_ns, ExitDue(session=session, why=f"what is left of the {self._name}"))]

    def on_halted(self, message: Halted, envelope: Envelope) -> list[Output] | None:
        """Begin a flatten: at once when nothing is open, else when the cancels that it asked for are answered."""
        state = self.state
        if message.cause != STOP_FLATTEN or not state.session_open or state.session is None:
            return None
        self._in_vain = 0
        self._cancelling = bool(state.live)
        if self._cancelling:
            return self._again(envelope.at_ns + CANCELS_NS)
        return [ExitDue(session=state.session, why=f"flatten by uid {message.uid}: {message.detail}")]

    def on_reports(self, _: OrderReports, envelope: Envelope) -> list[Output] | None:
        """Sell once the cancels of a flatten are answered; and look again when a late fill brought shares."""
        state = self.state
        if not self.latched() or not state.session_open or state.session is None:
            return None
        if self._cancelling and not state.live:
            self._cancelling = False
            return [ExitDue(session=state.session, why="flatten: no other order is open any more")]
        held = any(state.account.quantities.values())
        return None if self._due_ns or not held or self._running() else self._again(envelope.at_ns + AGAIN_NS)

    def on_resumed(self, message: Resumed, envelope: Envelope) -> list[Output] | None:
        """A resume ends a flatten, also what it has open; a liquidation that a stop held back goes on."""
        if self.latched():
            return self.on_going_on(message, envelope)
        return self.executor.cancel_exits("resumed", envelope) or None

    def on_session_opened(self, message: SessionOpened, envelope: Envelope) -> list[Output] | None:
        """Go on in a new session, once the opening minutes are over."""
        if not self.latched():
            return None
        return self._again(max(message.open_ns + AFTER_OPEN_NS, envelope.at_ns))

    def on_going_on(
        self, message: Resumed | Reconciled | BreakerReleased | ConditionChanged, envelope: Envelope
    ) -> list[Output] | None:
        """Go on after a halt or a condition was lifted, after a restart, or when data can be relied on again.

        An attempt that is due already stays as it is: who reconciles each half minute must not put it off for ever.
        """
        if not self.latched() or not self.state.session_open or self._due_ns > envelope.at_ns:
            return None
        if isinstance(message, Reconciled) and not self._put_off and message.purpose != "start":
            return None  # books that are compared every few minutes are no reason to try again
        if isinstance(message, ConditionChanged) and (message.holds or not self._put_off):
            return None  # nor is a condition that held nothing back
        return self._again(envelope.at_ns + AGAIN_NS)

    def on_plan_closed(self, message: PlanClosed, envelope: Envelope) -> list[Output] | None:
        """Look again after each plan: what it left, and what could not be sold before."""
        if not self.latched() or not self.state.session_open:
            return None
        self._in_vain = 0 if message.traded else self._in_vain + 1
        outputs = self._later(envelope)
        if message.residuals:
            left = ", ".join(f"{symbol} {-shares}" for symbol, shares in message.residuals.items())
            outputs.append(Alert("error", "exit.unsold", f"{message.plan_id} left {left}; {message.why}".rstrip("; ")))
        return outputs

    def _later(self, envelope: Envelope) -> list[Output]:
        return self._again(envelope.at_ns + min(AGAIN_NS << min(self._in_vain, 8), LONGEST_WAIT_NS))

    def on_due(self, message: ExitDue, envelope: Envelope) -> list[Output] | None:
        """Make the plan that sells what can be sold now."""
        state = self.state
        self._due_ns = 0
        if not self.latched() or message.session != state.session or not state.session_open:
            return None
        no_sales = [*hold_exits(state.halts), *state.conditions.against(Side.SELL)]
        self._put_off = bool(no_sales) or not state.reconciled_clean
        if self._put_off:
            return self._puts_off(no_sales) or None
        self._told = frozenset()
        if self._running():
            return None
        book = self.decider.book(envelope)
        if book is None or self._blind():
            self._in_vain += 1
            return [
                Alert("error", "exit.unsold", "no price can be relied on; it is tried again"),
                *self._later(envelope),
            ]
        held = self._held(book, envelope)
        if not held:
            return self._waits_for_answers(book, envelope)
        free = dict(zip(book.symbols, book.tradable, strict=True))
        moves = [move for move in held if free[move.symbol]]
        if not moves:
            self._in_vain += 1
            names = ", ".join(move.symbol for move in held)
            return [Alert("error", "exit.unsold", f"cannot be traded now: {names}"), *self._later(envelope)]
        sold = {move.symbol for move in moves}
        after = tuple(
            [0 if symbol in sold else shares for symbol, shares in zip(book.symbols, book.quantities, strict=True)]
        )
        count = sum(1 for run in state.runs.values() if run.plan.exit)
        identity = decision_id(self.settings.portfolio, message.session, f"exit{count + 1}")
        plan = self.gate.approve_plan(identity, book, after, leaves=True)
        if not isinstance(plan, ApprovedPlan):
            detail = "; ".join(reason.text for reason in plan.reasons)
            self._in_vain += 1
            return [Alert("error", "exit.refused", detail), *self._later(envelope)]
        self.decider.keep(plan)
        return [
            Decided(
                decision_id=identity,
                session=message.session,
                slot=f"exit{count + 1}",
                outcome=Outcome.APPROVED,
                strategy=self._name,
                model=state.guard.model,
                equity=book.equity,
                cash=book.cash,
                approved=tuple([left * price / book.equity for left, price in zip(after, book.prices, strict=True)]),
                moves=tuple(moves),
                reasons=(message.why,),
                limits_version=plan.limits_version,
                priced_at_ns=book.priced_at_ns,
                exit=True,
            )
        ]

    def _puts_off(self, no_sales: list[str]) -> list[Output]:
        """Tell once of each cause that nothing is sold for; when only a comparison is missing, ask for it."""
        state = self.state
        causes = [*no_sales] if state.reconciled_clean else [*no_sales, _UNRECONCILED]
        new = [cause for cause in causes if cause not in self._told]
        outputs: list[Output] = []
        if any(state.account.quantities.values()):
            self._told = frozenset(causes)  # one that ended and comes again is told again
            if new:
                outputs.append(Alert("error", "exit.unsold", f"the {self._name} sells nothing now: {'; '.join(new)}"))
        # Books that cannot be read are asked again by whoever noticed it; a condition or a halt waits for its own end.
        return outputs if no_sales else [*outputs, ReadAccount("exit")]

    def _waits_for_answers(self, book: Book, envelope: Envelope) -> list[Output] | None:
        """Look again when only orders without an answer stand in the way; nothing left or a closed market needs no timer."""
        closed = self.executor.maker.closed(envelope.at_ns)
        names = [symbol for symbol, held in zip(book.symbols, book.quantities, strict=True) if held]
        names = [symbol for symbol in names if symbol not in closed]
        if not names:
            return None
        self._in_vain += 1
        detail = f"an order without an answer, or one that is not ours, stands in the way: {', '.join(names)}"
        return [Alert("error", "exit.unsold", detail), *self._later(envelope)]

    def _held(self, book: Book, envelope: Envelope) -> list[Move]:
        """Return the sale of everything that is held and whose market is open now."""
        moves = [
            Move(symbol=symbol, before=held, after=0, reference=price)
            for symbol, held, price in zip(book.symbols, book.quantities, book.prices, strict=True)
            if held
        ]
        return self.executor.maker.tradable(moves, envelope.at_ns) if moves else moves
