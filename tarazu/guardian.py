"""Runs the guardian: heartbeat file, latch, a broker session of its own, and log lines on standard error.

It loads neither numpy nor a configuration model: what guards must be small. So the paths are written out here; a test holds
them to `daemon.settings.Paths`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

from brokers.port import Broker
from brokers.remote_paper import RemotePaperBroker
from brokers.wire import split_address
from daemon.clock import NS, Clock, ist
from daemon.guardian import Guardian, line
from daemon.heartbeat import read_beat
from daemon.latch import Latch
from daemon.lock import InstanceLock
from daemon.notify import notify
from market.calendar import Calendar
from market.errors import DependencyFailed

HEARTBEAT: Final = "state/heartbeat"
LATCH: Final = "state/latch"
GUARDIAN_LOCK: Final = "guardian.lock"


def run_guardian(*, root: Path, broker: str, limit: float) -> None:
    """Guard until SIGTERM or SIGINT. Raises BadInput for a bad address or a second guardian."""
    if broker:
        split_address(broker)
    state = root / "state"
    state.mkdir(parents=True, exist_ok=True)
    with InstanceLock(state / GUARDIAN_LOCK, "guardian"):
        asyncio.run(_run(root, broker, limit))


class _MarketClock:
    """The exchange's time: the machine's, until a broker on a played feed has told another."""

    def __init__(self, wall: Clock) -> None:
        self._wall = wall
        self._loop = wall.loop
        self._at, self._since, self._speed = wall.now_ns(), wall.loop.time(), 1.0

    def now_ns(self) -> int:
        return self._at + int((self._loop.time() - self._since) * self._speed * NS)

    async def follow(self, broker: RemotePaperBroker) -> None:
        told = await broker.clock()
        self._at, self._since, self._speed = told.now_ns, self._loop.time(), told.speed


async def _run(root: Path, address: str, limit: float) -> None:
    loop = asyncio.get_running_loop()
    clock = _MarketClock(Clock.wall(loop))
    overrides = root / "config" / "calendar_overrides.yaml"
    calendar = Calendar.load(overrides=overrides if overrides.exists() else None)

    def now_text() -> str:
        return ist(clock.now_ns()).isoformat()

    def say(level: str, event: str, **fields: Any) -> None:
        sys.stderr.write(json.dumps(line(level, event, now_text(), fields)) + "\n")
        sys.stderr.flush()

    async def connect() -> Broker:
        session = RemotePaperBroker(address, seconds=5.0)
        await session.open()
        try:
            await clock.follow(session)
        except DependencyFailed:
            await session.close()
            raise
        return session

    guardian = Guardian(
        read=lambda: read_beat(root / HEARTBEAT),
        latch=Latch(root / LATCH),
        connect=connect if address else None,
        calendar=calendar,
        market_ns=clock.now_ns,
        now_text=now_text,
        uid=os.getuid(),
        say=say,
        limit=limit,
    )
    await guardian.reach()
    what = f"cancels at {address}" if address else "has no broker process: it can engage the latch, and cancel nothing"
    say("info", "guardian.started", text=f"limit {limit:g} s; {what}")
    notify("READY=1")
    looking = loop.create_task(guardian.run(lambda: notify("WATCHDOG=1")), name="guardian")
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, looking.cancel)
    try:
        await looking
    except asyncio.CancelledError:
        say("info", "guardian.stopped", text="asked to stop")
    finally:
        notify("STOPPING=1")
        await guardian.close()
