"""Replay: the daemon itself over recorded bars, on the virtual-time loop, with the paper broker in memory.

The same core as paper and live runs here; only loop, feed and broker differ. The paper broker sees a session's opening
prices at the open (a decision never does), so orders of the 09:20 slot fill at the open when their limit allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from brokers.charges import DeliveryCharges
from brokers.paper import FillModel, PaperBroker
from daemon.book_changes import NO_ACTIONS, BookChanges
from daemon.bus import Envelope, Output
from daemon.clock import Clock, VirtualTimeLoop, cpu_seconds, ist_ns, stopwatch
from daemon.core import Core, announce, build_core, take_bars
from daemon.edges import Outside
from daemon.fold import summarise
from daemon.inference import StrategyHost
from daemon.journal import Journal
from daemon.messages import BreakerApproved, BreakerTripped, DaemonStopped, HistoryLoaded, Lane
from daemon.sessions import SessionDriver
from daemon.settings import DaemonSettings
from daemon.tally import Tally
from market.bar import BarBatch
from market.calendar import Calendar, Session
from market.corporate_actions import ActionTable
from market.errors import BadInput, OperatorError
from market.money import to_rupees
from market.store import DailyBars
from risk.limits import RiskLimits
from strategies.protocol import Strategy


class BatchSource(Protocol):
    """Recorded bars in time order."""

    def iter_batches(self, calendar: Calendar) -> Iterator[BarBatch]:
        """Yield batches, oldest first."""
        ...


@dataclass(slots=True)
class ReplayResult:
    """What a replay did. `equity` in rupees, one entry per closed session."""

    core_state: Any
    tally: Tally
    sessions: list[date]
    equity: list[float]
    initial_equity: float
    journal_sha256: str
    wall_seconds: float
    cpu_seconds: float
    strategy: str
    model: str
    symbols: tuple[str, ...]
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the documented object (docs/replay.md): rupees as numbers, ratios as fractions."""
        figures = summarise(self.core_state, self.tally, self.equity, self.initial_equity, self.strategy)
        return {
            "start": self.sessions[0].isoformat() if self.sessions else None,
            "end": self.sessions[-1].isoformat() if self.sessions else None,
            "sessions": len(self.sessions),
            "symbols": list(self.symbols),
            "strategy": self.strategy,
            "model": self.model or None,
            **figures,
            "wall_seconds": round(self.wall_seconds, 4),
            "cpu_seconds": round(self.cpu_seconds, 4),
            "bars_per_cpu_second": round(self.tally.bars / self.cpu_seconds) if self.cpu_seconds > 0 else None,
            "journal_sha256": self.journal_sha256,
        }


class ReplayFeed:
    """Plays batches on the clock: each to the paper broker first, then to the bus, at the moment the bar ended."""

    def __init__(self, clock: Clock, batches: Iterator[BarBatch], core: Core, broker: PaperBroker) -> None:
        self.clock = clock
        self.batches = batches
        self.core = core
        self.broker = broker

    def start(self) -> None:
        """Arm the first batch."""
        self._next()

    def _next(self) -> None:
        batch = next(self.batches, None)
        if batch is not None:
            self.clock.call_at(batch.end_ns, self._emit, batch)

    def _emit(self, received: BarBatch) -> None:
        take_bars(self.core, self.broker, received)
        self._next()


def history_message(
    bars: DailyBars, before: date, rows: int, *, actions: ActionTable = NO_ACTIONS, as_traded: bool = False
) -> HistoryLoaded | None:
    """Return the last `rows` complete daily closes before a date, or None when there are none.

    They come out on the basis of the last of them: as that session traded. `bars` are as traded, or else adjusted for every
    action up to the last day that they hold.
    """
    days = bars.days.astype("datetime64[D]")
    count = int(np.searchsorted(days, np.datetime64(before)))
    keep = [i for i in range(max(0, count - rows), count) if np.isfinite(bars.close[i]).all()]
    if not keep:
        return None
    closes, last = bars.close[keep], days[keep[-1]].item()
    first, until = (days[keep[0]].item(), last) if as_traded else (last, days[-1].item())
    for action in actions.due(after=first, until=until, symbols=bars.symbols):
        column, factor = bars.symbols.index(action.symbol), float(action.factor)
        if as_traded:
            closes[days[keep] < np.datetime64(action.ex_date), column] /= factor
        else:
            closes[:, column] *= factor
    return HistoryLoaded(
        sha256=bars.sha256,
        end_ns=ist_ns(days[keep[-1]].item(), hour=15, minute=30),
        sessions=tuple(days[i].item() for i in keep),
        closes=tuple(closes.ravel().tolist()),
    )


def replay(
    *,
    settings: DaemonSettings,
    bars: BatchSource,
    calendar: Calendar,
    limits: RiskLimits,
    strategy: Strategy,
    start: date,
    end: date,
    model: str = "",
    opens: DailyBars | None = None,
    history: HistoryLoaded | None = None,
    charges: DeliveryCharges | None = None,
    fill_model: FillModel | None = None,
    journal_path: Path | str = ":memory:",
    approvals: bool = True,
    actions: ActionTable = NO_ACTIONS,
    observer: Any = None,
) -> ReplayResult:
    """Run the daemon from `start` to `end`. `opens` gives the opening print of each session (daily bars).

    `approvals` plays an operator who approves each tripped breaker at once, so that trading goes on when the pause is over;
    without it the first trip ends the trading, as it would with nobody there. With `actions`, bars and opens are as traded.

    Raises OperatorError when the dispatch failed, BadInput when the range holds no session.
    """
    sessions = calendar.sessions(start, end)
    if not sessions:
        raise BadInput(f"replay: no session between {start} and {end} (calendar covers to {calendar.coverage_until})")
    charges = charges or DeliveryCharges.default()
    loop = VirtualTimeLoop()
    try:
        clock = Clock(loop, ist_ns(start, hour=9, minute=0))
        broker = PaperBroker(
            symbols=settings.symbols,
            opening_cash=settings.opening_cash,
            charges=charges,
            model=fill_model or FillModel(slippage_bps=settings.slippage_bps),
            now_ns=clock.now_ns,
            schedule=loop.call_later,
        )
        outside = Outside(
            broker=broker,
            strategy=StrategyHost(clock, strategy, version=model),
            engaged=lambda: False,
            release_stop=lambda: None,
        )
        core = build_core(
            settings=settings,
            clock=clock,
            calendar=calendar,
            journal=Journal(journal_path, durable=False),
            limits=limits,
            charges=charges,
            outside=outside,
        )
        if approvals:
            core.bus.handle(BreakerTripped, _approve)
        tally = Tally()
        core.bus.on_record = tally.record
        if observer is not None:

            def record(message: Any, envelope: Envelope) -> None:
                tally.record(message, envelope)
                observer(core, message, envelope)

            core.bus.on_record = record
        began, cpu_began = stopwatch(), cpu_seconds()
        _drive(core, clock, broker, bars, sessions, opens, history, strategy, BookChanges(core, broker, actions))
        if core.bus.failed is not None:
            raise OperatorError(f"replay: {core.bus.failed}")
        core.journal.close()
        return ReplayResult(
            core_state=core.state,
            tally=tally,
            sessions=[day for day, _ in core.state.history.equity],
            equity=[to_rupees(equity) for _, equity in core.state.history.equity],
            initial_equity=to_rupees(settings.opening_cash),
            journal_sha256=core.journal.head.hex(),
            wall_seconds=stopwatch() - began,
            cpu_seconds=cpu_seconds() - cpu_began,
            strategy=strategy.name,
            model=model,
            symbols=settings.symbols,
        )
    finally:
        loop.close()


def _approve(message: BreakerTripped, envelope: Envelope) -> list[Output]:
    """Play the operator of a replay. The approval is on record like any other; the pause still has to pass."""
    return [BreakerApproved(uid=-1, reason=f"replay: {message.name} approved at once; the pause holds")]


def _drive(
    core: Core,
    clock: Clock,
    broker: PaperBroker,
    bars: BatchSource,
    sessions: list[Session],
    opens: DailyBars | None,
    history: HistoryLoaded | None,
    strategy: Strategy,
    books: BookChanges,
) -> None:
    loop = clock.loop
    done: asyncio.Future[None] = loop.create_future()

    def finish(reason: str = "") -> None:
        if not done.done():
            done.set_result(None)

    core.bus.on_failure = finish

    def broken(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # A timer that raises would otherwise end the run's clockwork in silence, and the replay would wait for ever.
        if not done.done():
            done.set_exception(context.get("exception") or OperatorError(f"replay: {context['message']}"))

    loop.set_exception_handler(broken)
    printed = _opening_prints(opens)
    due = books.at_start(history)
    _prime(broker, opens, sessions[0].day)

    def on_open(session: Session) -> None:
        books.open_session(session)
        prices = printed(session.day)
        if prices:
            broker.on_open(prices)

    driver = SessionDriver(
        clock=clock,
        calendar=core.calendar,
        agenda=core.state.agenda,
        bus=core.bus,
        until=sessions[-1].day,
        on_open=on_open,
        on_close=lambda session: broker.end_session(),
        on_end=lambda: _stop_when_idle(core, finish),
        every_sessions=core.settings.every_sessions,
    )
    announce(core, strategy=strategy.name, history=history, actions=due)
    feed = ReplayFeed(clock, bars.iter_batches(core.calendar), core, broker)
    core.journal.start(core.bus.release)
    core.bus.start()
    feed.start()
    driver.start()
    loop.run_until_complete(done)


def _stop_when_idle(core: Core, finish: Any) -> None:
    if not core.bus.idle():
        core.clock.loop.call_soon(_stop_when_idle, core, finish)
        return
    core.bus.post(Lane.CONTROL, DaemonStopped(reason="the replay is over"))
    core.clock.loop.call_soon(finish)


def _prime(broker: PaperBroker, bars: DailyBars | None, start: date) -> None:
    """Tell the paper broker the session before: its price band and its capacity at the open follow from that."""
    before = 0 if bars is None else int(np.searchsorted(bars.days.astype("datetime64[D]"), np.datetime64(start)))
    if bars is not None and before:
        row = before - 1
        known = [i for i in range(len(bars.symbols)) if np.isfinite(bars.close[row, i])]
        broker.prime(
            closes={bars.symbols[i]: float(bars.close[row, i]) for i in known},
            volumes={bars.symbols[i]: float(bars.volume[row, i]) for i in known},
        )


def _opening_prints(opens: DailyBars | None) -> Any:
    if opens is None:
        return lambda day: None
    days = opens.days.astype("datetime64[D]").tolist()
    rows = dict(zip(days, opens.open.tolist(), strict=True))
    symbols = opens.symbols

    def prints(day: date) -> dict[str, float] | None:
        row = rows.get(day)
        # NaN is not equal to itself: an instrument without a bar has no opening print.
        return None if row is None else {s: price for s, price in zip(symbols, row, strict=True) if price == price}

    return prints
