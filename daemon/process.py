"""One daemon process between its edges: what it does at its start, when a stop is heard, when it breaks, and at its end.

The service gives it real edges (sockets, a disk, a feed), the simulation gives it simulated ones; the steps are these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import date
from typing import Any, Final, Protocol

from brokers.charges import DeliveryCharges
from brokers.paper_side import PaperSide
from brokers.port import Broker
from daemon.book_changes import NO_ACTIONS, BookChanges
from daemon.bus import Envelope
from daemon.clock import Clock, ist, session_day
from daemon.core import announce, build_core, close_book, take_bars
from daemon.edges import Answer, Outside
from daemon.effects import Alert, MoveCash
from daemon.inference import StrategyHost
from daemon.journal import Chain
from daemon.latch import FLATTEN, MODES
from daemon.messages import (
    BarsRejected,
    ClockMoved,
    HistoryLoaded,
    Lane,
    ModelLoaded,
    OperatorCommand,
    StopDrillBegan,
)
from daemon.sessions import SessionDriver
from daemon.settings import DaemonSettings
from daemon.watch import Senses, Watch
from market.bar import BarBatch
from market.calendar import Calendar, Session
from market.corporate_actions import ActionTable
from market.errors import BadInput, OperatorError
from risk.limits import RiskLimits

# How far a feed's clock may be ahead of ours before its bars are refused.
FUTURE_NS: Final = 60 * 10**9


class StopLatch(Protocol):
    """The durable "no new orders", as `daemon.latch.Latch` keeps it in a file."""

    def engaged(self) -> bool:
        """Return whether new orders are forbidden."""
        ...

    def read(self) -> dict[str, Any]:
        """Return mode, reason, uid and time."""
        ...

    def engage(self, *, mode: str, reason: str, uid: int, at: str) -> None:
        """Write it, durably."""
        ...

    def release(self) -> None:
        """Remove it."""
        ...


class Process:
    """The life of one process. `release_latch(heard)` removes the latch unless a stop came after the `heard`-th."""

    def __init__(
        self,
        *,
        settings: DaemonSettings,
        clock: Clock,
        calendar: Calendar,
        journal: Chain,
        limits: RiskLimits,
        charges: DeliveryCharges,
        broker: Broker,
        side: PaperSide,
        host: StrategyHost,
        latch: StopLatch,
        history: Callable[[date], HistoryLoaded | None] = lambda before: None,
        actions: ActionTable = NO_ACTIONS,
        alert: Callable[[Alert], None] = lambda alert: None,
        engaged: Callable[[], bool] | None = None,
        lets_exits: Callable[[], bool] | None = None,
        release_latch: Callable[[int], None] | None = None,
        stopwatch: Callable[[], float] | None = None,
        roll_back: Callable[[str], ModelLoaded] | None = None,
        senses: Senses | None = None,
    ) -> None:
        self.clock = clock
        self.broker = broker
        self.side = side
        self.host = host
        self.latch = latch
        self.history = history
        self.alert = alert
        self.stopping = False
        self._stops_heard = 0
        self._release_latch = release_latch or (lambda heard: latch.release())
        self.core = build_core(
            settings=settings,
            clock=clock,
            calendar=calendar,
            journal=journal,
            limits=limits,
            charges=charges,
            outside=Outside(
                broker=broker,
                move_cash=self._move_cash,
                strategy=host,
                engaged=engaged or latch.engaged,
                lets_exits=lets_exits or (lambda: latch.read().get("mode") == FLATTEN),
                stopwatch=stopwatch,
                release_stop=self._release_stop,
                roll_back=roll_back,
                alert=alert,
            ),
        )
        self.books = BookChanges(self.core, side, actions)
        self.driver: SessionDriver | None = None
        self.watch: Watch | None = None
        if senses is not None:
            self.watch = Watch(
                settings=settings,
                clock=clock,
                calendar=calendar,
                state=self.core.state,
                senses=senses,
                move_clock=self.move_clock,
            )
            self.watch.wire(self.core.bus)

    # ---- start -------------------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Fold the journal. Raises BadInput for one that does not begin with an opening."""
        recovered, state = self.core.bus.recover(), self.core.state
        if recovered and state.opening_cash is not None and state.guard.board is None:
            raise BadInput(f"{self.core.journal.path}: the journal has no opening record")
        self.core.bus.on_failure = self.fail

    def begin(self, wake: Callable[[], None]) -> None:
        """Start the journal's writer (`wake` is called when it has moved on), say what is true now, and go."""
        core = self.core
        core.journal.start(wake)
        self.books.heal()
        history = self._missing_history(session_day(self.clock.now_ns()))
        announce(core, strategy=self.host.strategy.name, history=history, actions=self.books.at_start(history))
        for action in self.books.late():
            detail = f"{action.symbol}: {action.cause}, came into the table after that session; correct the books"
            self.alert(Alert("error", "corporate_action.late", detail))
        self._obey_latch()
        if self.watch is not None:
            self.watch.start()
        core.bus.start()
        self._drive()

    def _drive(self) -> None:
        """Say what is true now of sessions and slots, and arm what comes next."""
        core, state = self.core, self.core.state
        self.driver = SessionDriver(
            clock=self.clock,
            calendar=core.calendar,
            agenda=state.agenda,
            bus=core.bus,
            on_open=self._open_session,
            on_close=lambda session: self.side.end_session(),
            opened=state.session if state.session_open else None,
        )
        self.driver.start()

    def _open_session(self, session: Session) -> None:
        """Before a session begins, learn the closes of those that passed while nobody was here, and what is due overnight."""
        history = self._missing_history(session.day)
        if history is None:
            self.books.open_session(session)
            return
        before, after = self.books.at_start(history)
        for message in (*before, history, *after):
            self.core.bus.post(Lane.TIMER, message)
        self.side.start_session(session.day)

    def _obey_latch(self) -> None:
        """A stop that was engaged before this start is on record from its first moment."""
        if self.latch.engaged():
            said = self.latch.read()
            verb = said["mode"] if said.get("mode") in MODES else "halt"
            uid = said.get("uid")
            reason = f"latch from before the start: {said.get('reason', '')}"
            command = OperatorCommand(verb=verb, uid=uid if isinstance(uid, int) else -1, reason=reason)
            self.core.bus.post(Lane.CONTROL, command)

    def _missing_history(self, today: date) -> HistoryLoaded | None:
        known = self.core.state.view.closed_to
        before = self.core.calendar.previous_session(today)
        if before is not None and before.day <= known:
            return None  # nothing can be missing: no file is read for it on the loop at the open
        history = self.history(today)
        if history is None or history.sessions[-1] <= known:
            return None
        first = next(i for i, day in enumerate(history.sessions) if day > known)
        width = len(self.core.settings.symbols)
        return HistoryLoaded(
            sha256=history.sha256,
            end_ns=history.end_ns,
            sessions=history.sessions[first:],
            closes=history.closes[first * width :],
        )

    # ---- while it runs -----------------------------------------------------------------------------------------------

    def take(self, received: BarBatch) -> bool:
        """Let a feed's bars in; return whether they could be from now."""
        if received.end_ns > self.clock.now_ns() + FUTURE_NS:
            # Taken, it would make every true bar after it look old.
            detail = f"ends at {ist(received.end_ns).isoformat()}, which is in the future"
            symbols, end_ns = received.symbols, received.end_ns
            message = BarsRejected(session=received.session, end_ns=end_ns, symbols=symbols, detail=detail)
            self.core.bus.post(Lane.MARKET, message)
            return False
        take_bars(self.core, self.side, received)
        return True

    def move_clock(self, by_ns: int, why: str) -> None:
        """The daemon's time was wrong by so much: set it, and let all that waits for an instant wait for it anew."""
        if self.driver is None or self.stopping:
            return
        moved_ns = self.clock.move(by_ns)
        self.core.bus.post(Lane.CONTROL, ClockMoved(by_ns=moved_ns, why=why))
        self.core.edges.rearm()
        self.driver.stop()
        self._drive()

    def hear_stop(self, mode: str, reason: str, uid: int) -> None:
        """A stop is durable in the latch; the dispatch hears of it."""
        self._stops_heard += 1
        self.core.bus.post(Lane.CONTROL, OperatorCommand(verb=mode, uid=uid, reason=reason))

    def hear_drill(self, began: StopDrillBegan, answer: Future[Answer]) -> None:
        """A drill has stopped for real; the dispatch measures the rest and answers."""
        self.core.edges.outside.replies[began.token] = answer
        self.core.bus.post(Lane.CONTROL, began)
        self.hear_stop(began.mode, began.reason, began.uid)

    def _move_cash(self, effect: MoveCash) -> None:
        self.books.move_cash(effect)

    def _release_stop(self) -> None:
        """Second step of a resume. A stop that came after it keeps the latch, also one that waits in the control lane."""
        bus = self.core.bus
        if bus.backlog()[Lane.CONTROL.value]:
            if not self.stopping:
                self.clock.loop.call_soon(self._release_stop)
        elif not self.core.state.halts:
            self._release_latch(self._stops_heard)

    def fail(self, reason: str) -> None:
        """The dispatch stopped: latch, withdraw open orders directly at the broker, stay up to be asked."""
        with suppress(OSError):
            self.latch.engage(mode="cancel", reason=reason, uid=-1, at=ist(self.clock.now_ns()).isoformat())
        self.alert(Alert("error", "dispatch.failed", reason))
        tags = [order.tag for order in self.core.state.open_orders()]
        if tags:
            # Last, because it may fail as well: the disk that the journal lost may be the paper broker's too.
            try:
                self.broker.cancel(tags)
            except OperatorError as error:
                self.alert(Alert("error", "dispatch.failed", f"{len(tags)} open orders were not withdrawn: {error}"))

    # ---- stop --------------------------------------------------------------------------------------------------------

    async def finish(self, reason: str, seconds: float) -> list[tuple[Any, Envelope]]:
        """Decide nothing more, let what was recorded leave for at most `seconds`, and return the last records."""
        core, bus = self.core, self.core.bus
        self.stopping = True
        if self.driver is not None:
            self.driver.stop()
        if self.watch is not None:
            self.watch.stop()
        bus.pause()
        end = self.clock.loop.time() + seconds
        while not bus.effects_done() and self.clock.loop.time() < end:
            await asyncio.sleep(0.01)
        if core.journal.failure is None and bus.failed is None:
            return close_book(core, reason)
        return []
