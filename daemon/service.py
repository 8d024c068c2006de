"""The running daemon (paper and live): start-up, readiness, and shutdown in stages with budgets.

Start: lock -> journal verified and folded -> stop plane -> broker -> control -> first reconciliation -> READY. Stop: SIGTERM
sets an event; nothing is raised inside an order. Orders at the broker keep their limits and their day validity and are
found again at the next start; `tarazu stop --cancel` is the way to withdraw them.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from apscheduler.triggers.interval import IntervalTrigger

from brokers.charges import DeliveryCharges
from brokers.paper import FillModel, PaperBroker
from brokers.paper_side import PaperSide
from brokers.paper_store import PaperStore
from brokers.port import Broker
from brokers.remote_paper import RemotePaperBroker
from brokers.remote_side import RemoteSide
from daemon.agenda import Recurring
from daemon.book_changes import NO_ACTIONS
from daemon.clock import IST, Clock, ist, read_clocks, stopwatch
from daemon.control import Control, may_stop
from daemon.effects import Alert
from daemon.heartbeat import SECONDS, Heartbeat
from daemon.inference import StrategyHost
from daemon.journal import Journal
from daemon.latch import Latch
from daemon.lock import InstanceLock
from daemon.logs import RecordLog
from daemon.messages import (
    BrokerConnection,
    ComponentFailed,
    HistoryLoaded,
    Lane,
    ModelLoaded,
    Reconciled,
    StopDrillBegan,
)
from daemon.notify import notify, watchdog_seconds
from daemon.process import Process
from daemon.settings import DaemonSettings, Paths
from daemon.stop_plane import StopPlane
from daemon.stop_watch import SIGNAL, StopFile, block_signal
from daemon.watch import Senses
from market.bar import BarBatch
from market.calendar import Calendar
from market.corporate_actions import ActionTable
from market.errors import BadInput
from market.feed import FeedClient
from risk.approval import ApprovedOrder
from risk.limits import RiskLimits
from strategies.protocol import Strategy

# Seconds each stage of a shutdown may take; a test adds them up against the unit's TimeoutStopSec.
SHUTDOWN_STAGES: Final = {
    "no new decisions": 1.0,
    "finish what was recorded": 20.0,
    "journal": 15.0,
    "sockets": 5.0,
    "broker": 5.0,
}


@dataclass(slots=True)
class Service:
    """What one daemon process is made of. `broker` is a broker process's address; empty: the paper broker in this process.

    `load_active` returns (strategy, version, sha256) of the active model; `activate` makes a version the active one. Both
    raise BadInput for a model that does not verify.
    """

    settings: DaemonSettings
    paths: Paths
    calendar: Calendar
    limits: RiskLimits
    strategy: Strategy
    clock: Clock
    feed_url: str
    model: str = ""
    history: Callable[[Any], HistoryLoaded | None] = lambda before: None
    actions: ActionTable = NO_ACTIONS
    load_active: Callable[[], tuple[Strategy, str, str]] | None = None
    activate: Callable[[str], None] | None = None
    fill_model: FillModel | None = None
    console: bool = True
    exit_when_feed_ends: bool = False
    feed_heartbeat: float | None = 20.0
    watches_clock: bool = True
    broker: str = ""

    async def run(self) -> None:
        """Run until SIGTERM, SIGINT, or the end of a played feed. Raises BadInput when a daemon runs here already."""
        with ExitStack() as locks:
            locks.enter_context(InstanceLock(self.paths.lock))
            if not self.broker:
                locks.enter_context(InstanceLock(self.paths.broker_lock, "keeper of the paper broker's books"))
            await _Running(self).run()


class _Running:
    """One run of a service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.clock = service.clock
        self.stopping = asyncio.Event()
        self.reason = "asked to stop"
        self.latch = Latch(service.paths.latch)
        log_file = service.paths.logs(service.settings.mode) / "daemon.jsonl"
        self.log = RecordLog(log_file, console=service.console, mode=service.settings.mode)
        self.plane: StopPlane | None = None
        self.heartbeat = Heartbeat(service.paths.heartbeat)
        self._publishes = False
        self._feed_connected = False
        self._told_state = ""
        self._drills = 0
        service.paths.state.mkdir(parents=True, exist_ok=True)
        self.latch.prepare()
        charges = DeliveryCharges.default()
        self.broker, side = self._make_broker(charges)
        self.host = StrategyHost(self.clock, service.strategy, version=service.model)
        self.process = Process(
            settings=service.settings,
            clock=self.clock,
            calendar=service.calendar,
            journal=Journal(service.paths.journal, durable=True),
            limits=service.limits,
            charges=charges,
            broker=self.broker,
            side=side,
            host=self.host,
            latch=self.latch,
            history=service.history,
            actions=service.actions,
            alert=lambda alert: self.log.alert(alert, self.clock.now_ns()),
            engaged=self._engaged,
            lets_exits=lambda: self.plane is not None and self.plane.lets_exits(),
            stopwatch=stopwatch,
            release_latch=self._release_latch,
            roll_back=self._roll_back if service.activate is not None else None,
            senses=Senses(
                feed_connected=lambda: self._feed_connected,
                free_space=self._free_space,
                clocks=read_clocks if service.watches_clock else None,
            ),
        )
        self.core = self.process.core

    def _make_broker(self, charges: DeliveryCharges) -> tuple[Broker, PaperSide]:
        service = self.service
        if service.broker:
            remote = RemotePaperBroker(
                service.broker,
                pace=self.clock.pace,
                on_state=self._on_broker_state,
                hold=self._held_back,
            )
            return remote, RemoteSide(remote)
        paper = PaperBroker(
            symbols=service.settings.symbols,
            opening_cash=service.settings.opening_cash,
            charges=charges,
            model=service.fill_model or FillModel(slippage_bps=service.settings.slippage_bps),
            now_ns=self.clock.now_ns,
            store=PaperStore(service.paths.paper_broker),
            schedule=self.clock.loop.call_later,
        )
        return paper, paper

    def _held_back(self, order: ApprovedOrder) -> str:
        return self.core.edges.held_back(order)

    # ---- start -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        service, core, bus = self.service, self.core, self.core.bus
        block_signal()
        self.process.recover()
        loop = self.clock.loop
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        self.plane = StopPlane(
            socket_path=service.paths.stop_socket,
            latch=self.latch,
            permits=may_stop,
            now_text=lambda: ist(self.clock.now_ns()).isoformat(),
            tell_loop=self._tell_loop,
            tell_drill=self._tell_drill,
            stop_file=StopFile(service.paths.stop_file, may_stop),
        )
        self.plane.start()
        if self.plane.watch is not None:
            signal.signal(SIGNAL, self.plane.watch.hand_on)
        control = Control(core, service.paths.control_socket, stop=self.plane.stop, reload=self._reload)
        models = Recurring(IntervalTrigger(seconds=30, timezone=IST), self.clock, lambda fire: self._check_model())
        bus.on_failure = self._on_failure
        loop.set_exception_handler(self._on_loop_error)
        bus.on_record = self._on_record
        try:
            await self.broker.open()
            await control.start()
            self.process.begin(self._wake)
            if service.load_active is not None:
                models.start()
            feed = core.edges.spawn("feed", self._feed())
            core.edges.spawn("watchdog", self._watch())
            core.edges.spawn("heartbeat", self._beat())
            if service.exit_when_feed_ends:
                feed.add_done_callback(lambda _: self._feed_ended())
            await self.stopping.wait()
        finally:
            notify("STOPPING=1")
            models.stop()
            await self._shut_down(control)

    async def _feed(self) -> None:
        client = FeedClient(
            url=self.service.feed_url,
            symbols=self.service.settings.symbols,
            after_ns=self.core.state.view.last_end_ns,
            on_batch=self.process.take,
            on_state=self._on_feed_state,
            heartbeat=self.service.feed_heartbeat,
        )
        try:
            await client.run()
        finally:
            self._feed_connected = False

    def _on_feed_state(self, state: str, detail: str) -> None:
        self._feed_connected = state == "connected"
        if state == "lost" and not self.stopping.is_set():
            self.log.alert(Alert("warning", "feed.lost", detail), self.clock.now_ns())

    def _free_space(self) -> tuple[int, int]:
        usage = shutil.disk_usage(self.service.paths.state)
        return usage.free, usage.total

    def _feed_ended(self) -> None:
        self.reason = "the played feed is over"
        if self.core.bus.idle():
            self.stopping.set()
        else:
            self.clock.loop.call_later(1.0, self._feed_ended)

    def _on_broker_state(self, state: str, detail: str) -> None:
        """A stream that was lost may have missed something; what the broker refused of ours is in our books alone."""
        if self.stopping.is_set():
            return
        if state == "refused":
            self.log.alert(Alert("error", "broker.refused", detail), self.clock.now_ns())
        elif (state == "lost") != self._broker_lost:  # each further attempt is no news
            self._broker_lost = state == "lost"
            connected = not self._broker_lost
            message = BrokerConnection(connected=connected, detail="" if connected else detail)
            self.core.bus.post(Lane.BROKER, message)

    # ---- while running -----------------------------------------------------------------------------------------------

    def _on_record(self, message: Any, envelope: Any) -> None:
        self.log.record(message, envelope)
        if isinstance(message, Reconciled) and message.clean and message.purpose == "start":
            notify(f"READY=1\nSTATUS={self.core.condition()}")
        if not isinstance(message, BarBatch) and not self._publishes:
            # Once a turn of the loop: an order that is on its way must not wait for a table of limits.
            self._publishes = True
            self.clock.loop.call_soon(self._publish)

    def _publish(self) -> None:
        self._publishes = False
        summary = self.core.status()
        if self.plane is not None:
            self.plane.publish(summary)
        if summary["state"] != self._told_state:
            self._told_state = summary["state"]
            notify(f"STATUS={self._told_state}")

    def _engaged(self) -> bool:
        return self.plane.engaged() if self.plane is not None else self.latch.engaged()

    def _release_latch(self, heard: int) -> None:
        if self.plane is not None:
            self.plane.release(heard)

    def _tell_loop(self, mode: str, reason: str, uid: int) -> None:
        self.clock.loop.call_soon_threadsafe(self.process.hear_stop, mode, reason, uid)

    def _tell_drill(self, mode: str, reason: str, uid: int, arrived: float, latched: float, answer: Any) -> None:
        """Called by the stop plane, one drill at a time. Tokens below zero: the control socket counts upwards."""
        self._drills += 1
        began = StopDrillBegan(
            mode=mode,
            uid=uid,
            reason=reason,
            really=mode == "cancel",
            arrived=arrived,
            latched=latched,
            token=-self._drills,
        )
        self.clock.loop.call_soon_threadsafe(self.process.hear_drill, began, answer)

    def _wake(self) -> None:
        """Called from the journal's thread: what was held may be durable now."""
        self.clock.loop.call_soon_threadsafe(self.core.bus.release)

    def _on_failure(self, reason: str) -> None:
        """The dispatch stopped: say so, then withdraw what can be."""
        if self.plane is not None:
            self.plane.publish({**self.core.status(), "failure": reason})
        notify(f"STATUS=FAILED: {reason}")
        self.process.fail(reason)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A timer or callback that raises is a failed component: trading halts, control stays."""
        error = context.get("exception")
        detail = (
            f"{context.get('message', '')}: {type(error).__name__}: {error}" if error else str(context.get("message"))
        )
        self.log.alert(Alert("error", "component.failed", detail), self.clock.now_ns())
        if self.core.bus.failed is None and isinstance(error, Exception):
            self.core.bus.post(Lane.CONTROL, ComponentFailed(component="event loop", error=detail))

    def _asked_to_stop(self, number: int) -> None:
        self.reason = signal.Signals(number).name
        self.stopping.set()

    async def _watch(self) -> None:
        period = watchdog_seconds()
        while period is not None:
            if self.core.bus.failed is None:
                notify("WATCHDOG=1")
            await asyncio.sleep(period)

    async def _beat(self) -> None:
        state = self.core.state
        while True:
            if self.core.bus.failed is None:
                # A dispatch that has stopped carries nothing out any more, although the loop turns.
                session = state.session.isoformat() if state.session_open and state.session is not None else ""
                self.heartbeat.beat(session=session, open_orders=len(state.live))
            await asyncio.sleep(SECONDS * self.clock.pace)

    def _check_model(self) -> None:
        if self.service.load_active is not None:
            self._load_model(only_if_new=True)

    def _reload(self) -> dict[str, Any]:
        if self.service.load_active is None:
            return {"model": None, "detail": f"strategy {self.host.strategy.name} is not a model; nothing to reload"}
        return self._load_model(only_if_new=False)

    def _load_model(self, *, only_if_new: bool) -> dict[str, Any]:
        load = self.service.load_active
        assert load is not None
        before = self.host.version
        try:
            made = load()
        except BadInput as error:
            detail = str(error)
            if detail != self._last_refusal:
                self._last_refusal = detail
                self.core.bus.post(Lane.TIMER, ModelLoaded(version="", sha256="", accepted=False, detail=detail))
            return {"model": before, "accepted": False, "detail": detail}
        self._last_refusal = ""
        if only_if_new and made[1] == before:
            return {"model": before, "accepted": True, "detail": "unchanged"}
        message = self.host.take(*made)
        self.core.bus.post(Lane.TIMER, message)
        return {"model": message.version, "accepted": message.accepted, "detail": message.detail}

    def _roll_back(self, version: str) -> ModelLoaded:
        """Make an earlier model the active one and take it over; whatever is wrong with it keeps the one that runs."""
        service = self.service
        assert service.activate is not None and service.load_active is not None
        try:
            service.activate(version)
            return self.host.take(*service.load_active())
        except BadInput as error:
            return ModelLoaded(version=version, sha256="", accepted=False, detail=str(error))

    _last_refusal: str = ""
    _broker_lost: bool = False

    # ---- stop --------------------------------------------------------------------------------------------------------

    async def _shut_down(self, control: Control) -> None:
        core = self.core
        for record, envelope in await self.process.finish(self.reason, SHUTDOWN_STAGES["finish what was recorded"]):
            self.log.record(record, envelope)
        await asyncio.to_thread(core.journal.close)
        await core.edges.close()
        if core.bus.failed is None:
            self.heartbeat.stopped()
        await control.close()
        if self.plane is not None:
            self.plane.close()
        await self.broker.close()
        self.log.close()
