"""The edges: run what handlers asked for, and post what comes of it. Here, and only here, is anything awaited.

Sending looks at the stop latch as the last thing before each batch of orders: an order that a stop overtook is reported
as NOT_SENT, which is a fact and not a guess.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from brokers.orders import OrderState
from brokers.port import Broker, OrderReport, ReportKind
from daemon.book_reader import BookReader
from daemon.bus import Bus, Effect
from daemon.clock import Clock, session_day
from daemon.effects import (
    Alert,
    AskStrategy,
    CancelOrders,
    DropTimer,
    MoveCash,
    ReadAccount,
    ReleaseStop,
    Reply,
    RollBack,
    SendOrders,
    SetTimer,
)
from daemon.inference import StrategyHost
from daemon.messages import ComponentFailed, Lane, ModelLoaded, OrderReports
from daemon.order_making import OrderMaker
from daemon.pacing import Pacer
from daemon.state import State
from daemon.stops import hold_exits
from risk.approval import ApprovedOrder
from risk.gate import Gate

# Status and payload, as on the control socket.
Answer = tuple[int, dict[str, Any]]


@dataclass(slots=True)
class Outside:
    """What the edges talk to."""

    broker: Broker
    strategy: StrategyHost
    engaged: Callable[[], bool]
    release_stop: Callable[[], None]
    # Whether the stop that is engaged is a flatten, which lets the sales of an exit pass.
    lets_exits: Callable[[], bool] = lambda: False
    alert: Callable[[Alert], None] = lambda alert: None
    # Takes an earlier model back and says what came of it; None: this composition has no models to choose from.
    roll_back: Callable[[str], ModelLoaded] | None = None
    # A real broker sees a transfer by itself; the paper broker has to be told.
    move_cash: Callable[[MoveCash], None] = lambda effect: None
    # A drill of the stop is timed by it; None: by the loop's own time.
    stopwatch: Callable[[], float] | None = None
    # Those who wait on the loop, and those who wait on the stop plane's threads.
    replies: dict[int, asyncio.Future[Answer] | concurrent.futures.Future[Answer]] = field(default_factory=dict)


class Edges:
    """Runs effects. One per daemon."""

    def __init__(
        self,
        clock: Clock,
        outside: Outside,
        state: State,
        gate: Gate,
        maker: OrderMaker,
    ) -> None:
        self.clock = clock
        self.outside = outside
        self.state = state
        self.gate = gate
        self.maker = maker
        self.pacer = Pacer(clock, gate.limits, self._send_now, self._sending_broke)
        self.reader = BookReader(
            outside.broker,
            not_left=self._not_left,
            sequence=lambda: self.bus.journal.seq,
            post=lambda message: self.bus.post(Lane.BROKER, message),
            spawn=self.spawn,
            pace=clock.pace,
        )
        self._bus: Bus | None = None
        self._timers: dict[str, tuple[asyncio.TimerHandle, SetTimer]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._run: dict[type[Effect], Callable[[Any], None]] = {
            AskStrategy: self._ask,
            SendOrders: self._send,
            CancelOrders: self._cancel,
            ReadAccount: self.reader.read,
            SetTimer: self._set_timer,
            DropTimer: self._drop_timer,
            Reply: self._reply,
            Alert: self._alert,
            RollBack: self._roll_back,
            ReleaseStop: lambda _: self.outside.release_stop(),
            MoveCash: self._move_cash,
        }

    def attach(self, bus: Bus) -> None:
        """Connect to the bus; the broker's reports go to its lane."""
        self._bus = bus
        self.outside.broker.attach(self.on_reports)
        self.outside.strategy.attach(lambda message: bus.post(Lane.TIMER, message))

    @property
    def bus(self) -> Bus:
        """The bus this is attached to."""
        assert self._bus is not None
        return self._bus

    def run(self, effect: Effect) -> None:
        """Start one effect; returns at once."""
        self._run[type(effect)](effect)

    def on_reports(self, reports: tuple[OrderReport, ...]) -> None:
        """Post what the broker said."""
        self.bus.post(Lane.BROKER, OrderReports(reports=reports))

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task of the core; its failure is a message, never silence."""
        task = self.clock.loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            error = task.exception()
            text = f"{type(error).__name__}: {error}"
            self.bus.post(Lane.CONTROL, ComponentFailed(component=task.get_name(), error=text))

    # ---- effects -----------------------------------------------------------------------------------------------------

    def _ask(self, effect: AskStrategy) -> None:
        self.outside.strategy.ask(effect.decision_id, effect.slot, effect.context)

    def _send(self, effect: SendOrders) -> None:
        self.pacer.add(effect.orders)

    def _send_now(self, orders: tuple[ApprovedOrder, ...]) -> None:
        """Take the last look at each order and send what may leave; the rest is reported as not sent, which is a fact."""
        now = self.clock.now_ns()
        not_before, closed = self.maker.priced_not_before(session_day(now)), self.maker.closed(now)
        leaving: list[ApprovedOrder] = []
        held: list[OrderReport] = []
        for order in orders:
            why = self._held_back(order, not_before, closed)
            if why:
                held.append(_not_sent(order, why))
            else:
                leaving.append(order)
        if leaving:
            self.outside.broker.submit(tuple(leaving))
        if held:
            self.on_reports(tuple(held))

    def held_back(self, order: ApprovedOrder) -> str:
        """Take the last look once more: for a broker's client that sends one order after the other and may have waited."""
        now = self.clock.now_ns()
        return self._held_back(order, self.maker.priced_not_before(session_day(now)), self.maker.closed(now))

    def _held_back(self, order: ApprovedOrder, not_before: int, closed: frozenset[str]) -> str:
        """Return why an order may not leave now. Much may have happened while its record was on its way to disk, or while
        it waited for its turn: a halt, a trip, a cancel, the end of its plan or of the session."""
        state = self.state
        if self.outside.engaged() and not (order.leaves and self.outside.lets_exits()):
            return "the stop latch is engaged"
        halts = hold_exits(state.halts) if order.leaves else sorted(state.halts)
        if halts:
            return f"halted: {', '.join(halts)}"
        against = state.conditions.against(order.side)
        if against:
            return against[0]
        board = state.guard.board
        if board is not None and board.latches and not order.leaves:
            return f"breaker latched: {', '.join(board.latched)}"
        intended = state.orders.get(order.tag)
        if intended is None or intended.state is not OrderState.INTENDED:
            return "it is not on record as intended" if intended is None else f"it is {intended.state}"
        run = state.runs.get(order.plan_id)
        if run is None or run.closed:
            return "its plan is closed"
        if order.symbol in state.evidence.blocked:
            return "an order that is not ours is open in its symbol"
        if order.symbol in closed:
            return "the market is not in continuous trading"
        reason = self.gate.last_look(order, priced_not_before_ns=not_before)
        return "" if reason is None else reason.text

    def _sending_broke(self, group: tuple[ApprovedOrder, ...], waiting: tuple[ApprovedOrder, ...]) -> None:
        """The broker's client raised: nobody knows what became of the group, and what waited has not left."""
        unknown = [
            OrderReport(order.tag, order.symbol, order.side, ReportKind.UNKNOWN, detail="sending raised an error")
            for order in group
        ]
        self.on_reports((*unknown, *(_not_sent(order, "sending before it broke") for order in waiting)))

    def stop_sending(self) -> OrderReports | None:
        """Send nothing more (shutdown) and shut the bus; return what says so of the orders that have not left, if any.

        Three kinds have provably not left: those that wait for their turn, those whose record was not on disk in time,
        and those that were held back or withdrawn when nothing was handled any more.
        """
        held, said = self.bus.shut()
        reports = [
            report
            for message in said
            if isinstance(message, OrderReports)
            for report in message.reports
            if report.kind is ReportKind.NOT_SENT
        ]
        late = [order for effect in held if isinstance(effect, SendOrders) for order in effect.orders]
        reports += [_not_sent(order, "the process ended before its turn") for order in (*self.pacer.close(), *late)]
        return OrderReports(reports=tuple(reports)) if reports else None

    def _not_left(self) -> set[str]:
        """Return the tags of orders that are on record and have not been handed to the broker yet."""
        held = [effect.orders for effect in self.bus.held() if isinstance(effect, SendOrders)]
        return {order.tag for orders in (self.pacer.queue, *held) for order in orders}

    def _roll_back(self, effect: RollBack) -> None:
        if self.outside.roll_back is None:
            detail = "there is no registry of models here"
            answer = ModelLoaded(version=effect.version, sha256="", accepted=False, detail=detail)
        else:
            answer = self.outside.roll_back(effect.version)
        self.bus.post(Lane.TIMER, answer)

    def _alert(self, effect: Alert) -> None:
        self.outside.alert(effect)

    def _move_cash(self, effect: MoveCash) -> None:
        self.outside.move_cash(effect)

    def _cancel(self, effect: CancelOrders) -> None:
        withdrawn = self.pacer.withdraw(effect.tags)
        if withdrawn:
            self.on_reports(tuple([_not_sent(order, "cancelled before its turn") for order in withdrawn]))
        self.outside.broker.cancel(effect.tags)

    def _set_timer(self, effect: SetTimer) -> None:
        self._drop(effect.name)
        self._timers[effect.name] = self.clock.call_at(effect.at_ns, self._fire, effect), effect

    def _fire(self, effect: SetTimer) -> None:
        self._timers.pop(effect.name, None)
        self.bus.post(effect.lane, effect.message)

    def _drop_timer(self, effect: DropTimer) -> None:
        self._drop(effect.name)

    def _drop(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer[0].cancel()

    def rearm(self) -> None:
        """Set every timer again: the clock was moved, and each waits for an instant of it."""
        for _, effect in list(self._timers.values()):
            self._set_timer(effect)

    def _reply(self, effect: Reply) -> None:
        future = self.outside.replies.pop(effect.token, None)
        if future is not None and not future.done():
            future.set_result((effect.status, effect.payload))

    async def close(self) -> None:
        """Forget timers and end tasks; what was sent stays sent."""
        self.pacer.close()
        for name in list(self._timers):
            self._drop(name)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _not_sent(order: ApprovedOrder, why: str) -> OrderReport:
    return OrderReport(order.tag, order.symbol, order.side, ReportKind.NOT_SENT, detail=why)
