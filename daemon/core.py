"""The composition that replay, paper and live share: journal, bus, state, gate and handlers, wired once.

What differs between them is three edges: the loop (clock), the feed and the broker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from brokers.charges import DeliveryCharges
from brokers.orders import check_tags
from brokers.paper_side import PaperSide
from daemon.agenda import Agenda
from daemon.alarms import Alarms
from daemon.breakers import BreakerKeeper
from daemon.bus import Bus, Envelope
from daemon.clock import Clock
from daemon.decision import Decider
from daemon.edges import Edges, Outside
from daemon.executor import Executor
from daemon.exits import Exits
from daemon.journal import Chain
from daemon.messages import (
    BarsRejected,
    ComponentFailed,
    CorporateActionApplied,
    DaemonStarted,
    DaemonStopped,
    Halted,
    HistoryLoaded,
    Lane,
    OperatorCommand,
)
from daemon.moments import Moments
from daemon.operator import Operator
from daemon.reconciler import Reconciler
from daemon.settings import DaemonSettings
from daemon.state import State
from daemon.status import Since, status
from daemon.view import LARGEST_MOVE, screen, without
from market.bar import BarBatch
from market.calendar import Calendar
from market.corporate_actions import on_new_basis
from risk.breakers.health import FAILURES_IN_A_ROW
from risk.gate import Gate
from risk.limits import RiskLimits
from tarazu import __version__


@dataclass(slots=True)
class Core:
    """Everything between the edges."""

    settings: DaemonSettings
    clock: Clock
    calendar: Calendar
    journal: Chain
    bus: Bus
    state: State
    gate: Gate
    edges: Edges
    executor: Executor
    decider: Decider
    operator: Operator
    since: Since

    def status(self) -> dict[str, Any]:
        """Return the machine-readable status (design, section 11). Money in rupees."""
        return status(self)

    def condition(self) -> str:
        """Return the daemon's state in one word."""
        state = self.state
        if self.bus.failed is not None:
            return "FAILED"
        if state.halts or self.edges.outside.engaged():
            return "HALTED"
        if state.guard.board is not None and state.guard.board.latched:
            return "BREAKER_LATCHED"
        if not state.reconciled_clean:
            return "STARTING"
        return "TRADING" if state.session_open else "WAITING"


def build_core(
    *,
    settings: DaemonSettings,
    clock: Clock,
    calendar: Calendar,
    journal: Chain,
    limits: RiskLimits,
    charges: DeliveryCharges,
    outside: Outside,
) -> Core:
    """Wire a daemon around its edges; nothing runs yet. Raises BadInput for a broker that would cut our tags."""
    capabilities = outside.broker.capabilities
    check_tags(outside.broker.name, capabilities)
    gate = Gate(limits)
    state = State(
        symbols=settings.symbols,
        charges=charges,
        agenda=Agenda(settings.slots),
        limits=limits,
    )
    decider = Decider(state, gate, settings, calendar)
    executor = Executor(state, gate, settings, calendar, decider)
    edges = Edges(clock, outside, state, gate, executor.maker)
    bus = Bus(journal, clock, edges.run)
    reconciler = Reconciler(state, capabilities)
    operator = Operator(state, executor, reconciler)
    state.wire(bus)
    BreakerKeeper(state, limits).wire(bus)
    decider.wire(bus)
    executor.wire(bus)
    Exits(state, gate, settings, decider, executor).wire(bus)
    reconciler.wire(bus)
    Moments(state, settings.reconciling, capabilities).wire(bus)
    operator.wire(bus)
    Alarms(state, limits).wire(bus)
    bus.handle(ComponentFailed, _on_component_failed)
    edges.attach(bus)
    return Core(settings, clock, calendar, journal, bus, state, gate, edges, executor, decider, operator, Since())


def take_bars(core: Core, side: PaperSide, received: BarBatch) -> None:
    """Let a feed's bars in: what cannot be true, or is not believed yet, is refused on record.

    The rest goes to the paper market, then to the bus.
    """
    batch, rejected = screen(received)
    if rejected is not None:
        core.bus.post(Lane.MARKET, rejected)
    if batch is not None and core.gate.limits.monitoring.check_data_quality:
        told = on_new_basis(batch, core.state.actions) if core.state.actions else batch  # as its fold will read it
        doubtful = core.state.view.doubtful(told, believed_after=FAILURES_IN_A_ROW)
        if doubtful:
            detail = f"a price moved by more than {LARGEST_MOVE:.0%} since the last one; not believed yet"
            said = dict(zip(told.symbols, told.close, strict=True))
            refused = BarsRejected(
                session=batch.session,
                end_ns=batch.end_ns,
                symbols=doubtful,
                detail=detail,
                prices=tuple([said[symbol] for symbol in doubtful]),
            )
            core.bus.post(Lane.MARKET, refused)
            batch = without(batch, doubtful)
    if batch is not None:
        side.on_bars(batch)
        core.bus.post(Lane.MARKET, batch)


def _on_component_failed(message: ComponentFailed, _: Envelope) -> list[Any]:
    """A part that ended with an error halts trading; the process stays up to be asked."""
    return [Halted(cause="COMPONENT_FAILED", detail=f"{message.component}: {message.error}")]


def announce(
    core: Core,
    *,
    strategy: str,
    history: HistoryLoaded | None,
    actions: tuple[Sequence[CorporateActionApplied], Sequence[CorporateActionApplied]] = ((), ()),
) -> None:
    """Post the records with which every process of a daemon begins, and ask for the first reconciliation.

    `actions` are corporate actions that fell due while nobody was here, before and after the history's last session.
    """
    settings, bus = core.settings, core.bus
    bus.post(
        Lane.CONTROL,
        DaemonStarted(
            mode=settings.mode,
            version=__version__,
            symbols=settings.symbols,
            opening_cash=settings.opening_cash,
            limits_version=core.gate.limits.version,
            strategy=strategy,
            slippage_bps=settings.slippage_bps,
            look_back=settings.look_back,
            model=core.edges.outside.strategy.version,
        ),
    )
    before, after = actions
    for message in (*before, *([] if history is None else [history]), *after):
        bus.post(Lane.CONTROL, message)
    bus.post(Lane.CONTROL, OperatorCommand(verb="reconcile", uid=-1, reason="start"))


def close_book(core: Core, reason: str) -> list[tuple[Any, Envelope]]:
    """Write the last records of a process whose bus is paused: what was not sent after all, and why it ended.

    An order that waited for its turn is on record as intended; without a word it would count as sent and unknown.
    """
    now = core.clock.now_ns()
    last = [record for record in (core.edges.stop_sending(), DaemonStopped(reason=reason)) if record is not None]
    return [(record, Envelope(core.journal.append(record, cause=0, at_ns=now), 0, now)) for record in last]
