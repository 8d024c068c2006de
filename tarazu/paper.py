"""Runs paper trading on the real loop, and the played feed that it can trade against."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from pathlib import Path

import typer

from daemon.clock import NS, Clock, ScaledTimeLoop, ist_ns, session_day, stopwatch
from daemon.messages import HistoryLoaded
from market.errors import BadInput
from strategies.protocol import Strategy
from tarazu.deployment import Deployment


def run_paper(
    *,
    root: Path,
    feed_url: str,
    strategy: str | None,
    model: Path | None,
    until_feed_ends: bool,
    latency: float,
    settle: int,
    quiet: bool,
    broker: str = "",
) -> None:
    """Run the daemon until it is told to stop. A played feed sets the pace: its clock is read first."""
    from brokers.paper import FillModel
    from brokers.wire import split_address
    from daemon.service import Service
    from strategies.artifact import activate, active_version

    deployment = Deployment.open(root, mode="paper")
    if broker:
        split_address(broker)
    loop, clock = clock_of_feed(feed_url)
    settings = deployment.settings(mode="paper", settle=settle)
    settings = replace(settings, dead_man=settings.dead_man.at_speed(clock.pace))
    today = session_day(clock.now_ns())
    symbols = settings.symbols
    made, version = deployment.strategy(name=strategy, model=model, symbols=symbols, today=today)

    def load_active() -> tuple[Strategy, str, str]:
        current = active_version(deployment.paths.models)
        if current is None:
            raise BadInput(f"{deployment.paths.models}: no model is active")
        loaded, name = deployment.strategy(name=None, model=None, symbols=symbols, today=session_day(clock.now_ns()))
        return loaded, name, current

    from_registry = strategy is None and model is None
    read_history = deployment.history(symbols)

    def history(before: date) -> HistoryLoaded | None:
        return read_history(before)

    service = Service(
        settings=settings,
        paths=deployment.paths,
        calendar=deployment.calendar,
        limits=deployment.limits,
        strategy=made,
        clock=clock,
        feed_url=feed_url,
        model=version,
        history=history,
        actions=deployment.actions(),
        load_active=load_active if from_registry else None,
        activate=(lambda version: activate(deployment.paths.models, version)) if from_registry else None,
        fill_model=FillModel(latency_seconds=latency, slippage_bps=settings.slippage_bps),
        console=not quiet,
        exit_when_feed_ends=until_feed_ends,
        # Pings in a feed's accelerated seconds would come in milliseconds.
        feed_heartbeat=20.0 if clock.pace == 1.0 else None,
        # An accelerated daemon's time has nothing to do with the machine's clock.
        watches_clock=clock.pace == 1.0,
        broker=broker,
    )
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(service.run())
    finally:
        loop.close()


def clock_of_feed(feed_url: str) -> tuple[ScaledTimeLoop, Clock]:
    """Return a loop at the feed's pace and a clock that shows its time. Raises BadInput, DependencyFailed."""
    from market.feed import read_clock

    if not feed_url.startswith(("http://", "https://")):
        raise BadInput(f"--feed {feed_url!r}: must be the address of a feed server, like http://127.0.0.1:8710")
    hello = asyncio.run(read_clock(feed_url))
    heard = stopwatch()
    loop = ScaledTimeLoop(hello.speed)
    # A played second may be a few milliseconds: what passed since the feed told its time counts at the feed's pace.
    now_ns = hello.now_ns + int((stopwatch() - heard) * hello.speed * NS)
    return loop, Clock(loop, now_ns - int(loop.time() * NS))


def run_feed(
    *,
    data: Path,
    start: date,
    end: date,
    speed: float,
    port: int,
    symbols: tuple[str, ...] | None,
    begin: str,
    hold: bool,
) -> None:
    """Serve recorded bars until interrupted."""
    from market.calendar import Calendar
    from market.feed import FeedServer
    from market.store import DailyBars, read_bars

    bars = read_bars(data)
    if isinstance(bars, DailyBars):
        raise BadInput(f"{data}: has daily bars; a feed plays intraday bars (a column ts)")
    if symbols is not None:
        bars = bars.select(symbols)
    hour, _, minute = begin.partition(":")
    if not (hour.isdigit() and minute.isdigit() and int(hour) < 24 and int(minute) < 60):
        raise BadInput(f"--at {begin}: not a time of day; write it as 09:10")
    batches = list(bars.slice(start, end).iter_batches(Calendar.load()))
    if not batches:
        raise BadInput(f"{data}: no bars between {start} and {end}")
    start_ns = ist_ns(batches[0].session, hour=int(hour), minute=int(minute))

    async def serve() -> None:
        server = FeedServer(batches, start_ns=start_ns, speed=speed, now=stopwatch, hold=hold)
        try:
            bound = await server.start("127.0.0.1", port)
        except OSError as error:
            raise BadInput(f"--port {port}: cannot be used ({error.strerror}); --port 0 takes a free one") from error
        typer.echo(f"feed http://127.0.0.1:{bound} plays {len(batches)} batches at {speed:g}x; Ctrl-C ends it")
        try:
            await asyncio.Event().wait()
        finally:
            await server.close()

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        return
