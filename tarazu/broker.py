"""Runs the paper broker as a process: its books, its own feed, its own hours, and a socket for its clients."""

from __future__ import annotations

import asyncio
import signal
import socket
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import typer

from brokers.broker_server import BrokerServer
from brokers.charges import DeliveryCharges
from brokers.market_hours import MarketHours
from brokers.paper import FillModel, PaperBroker
from brokers.paper_store import PaperStore
from daemon import unix_socket
from daemon.clock import Clock, ist
from daemon.lock import InstanceLock
from daemon.logs import RecordLog
from daemon.notify import notify
from daemon.view import screen
from market.bar import BarBatch
from market.errors import BadInput, OperatorError
from market.feed import FeedClient
from tarazu.deployment import Deployment
from tarazu.paper import clock_of_feed


def run_broker(*, root: Path, feed_url: str, port: int | None, faults: FillModel, quiet: bool) -> None:
    """Serve until SIGTERM or SIGINT. `faults` brings latency and losses; slippage is the deployment's.

    Raises BadInput when somebody keeps these books already, OperatorError when they can no longer be written.
    """
    deployment = Deployment.open(root, mode="paper")
    loop, clock = clock_of_feed(feed_url)
    deployment.paths.state.mkdir(parents=True, exist_ok=True)
    with InstanceLock(deployment.paths.broker_lock, "keeper of the paper broker's books"):
        try:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(_Running(deployment, clock, feed_url, faults, quiet=quiet).run(port))
        finally:
            loop.close()


class _Running:
    """One run of the broker process."""

    def __init__(self, deployment: Deployment, clock: Clock, feed_url: str, faults: FillModel, *, quiet: bool) -> None:
        settings = deployment.settings(mode="paper")
        self.clock = clock
        self.paths = deployment.paths
        self.log = RecordLog(self.paths.logs("paper") / "broker.jsonl", console=not quiet, mode="broker")
        self.ended = asyncio.Event()
        self.failure = ""
        self.paper = PaperBroker(
            symbols=settings.symbols,
            opening_cash=settings.opening_cash,
            charges=DeliveryCharges.default(),
            now_ns=clock.now_ns,
            model=replace(faults, slippage_bps=settings.slippage_bps),
            store=PaperStore(self.paths.paper_broker),
            schedule=clock.loop.call_later,
        )
        self.server = BrokerServer(
            self.paper, now_ns=clock.now_ns, speed=clock.pace, failed=self._fail, repeated=self._repeated
        )
        self.hours = MarketHours(
            self.paper,
            deployment.calendar,
            now_ns=clock.now_ns,
            call_at=clock.call_at,
            actions=deployment.actions,
            said=self._said,
        )
        self.feed = FeedClient(
            url=feed_url,
            symbols=settings.symbols,
            after_ns=self.paper.last_end_ns,
            on_batch=self._take,
            on_state=lambda state, detail: self._say("warning" if state == "lost" else "info", f"feed.{state}", detail),
            heartbeat=20.0 if clock.pace == 1.0 else None,
        )

    async def run(self, port: int | None) -> None:
        loop = self.clock.loop
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ended.set)
        loop.set_exception_handler(self._on_loop_error)
        listener, address = self._listen(port)
        try:
            self.hours.start()
            await self.server.start(listener)
            feed = loop.create_task(self.feed.run(), name="feed")
            feed.add_done_callback(self._feed_ended)
            typer.echo(f"broker {address} keeps {self.paths.paper_broker}; Ctrl-C ends it")
            self._say("info", "broker.started", address)
            notify("READY=1")
            await self.ended.wait()
            feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)
        finally:
            notify("STOPPING=1")
            self.hours.stop()
            await self.server.close()
            await self.paper.close()
            if port is None:
                self.paths.broker_socket.unlink(missing_ok=True)
            self._say("info", "broker.stopped", self.failure)
            self.log.close()
        if self.failure:
            raise OperatorError(self.failure)

    def _listen(self, port: int | None) -> tuple[socket.socket, str]:
        if port is None:
            path = self.paths.broker_socket
            return unix_socket.bind(path), f"unix:{path}"
        try:
            listener = socket.create_server(("127.0.0.1", port))
        except OSError as error:
            raise BadInput(f"--port {port}: cannot be used ({error.strerror}); --port 0 takes a free one") from error
        return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"

    def _take(self, received: BarBatch) -> None:
        """Let bars in that can be true; a price that cannot is no price to trade at."""
        batch, _ = screen(received)
        if batch is not None:
            self.paper.on_bars(batch)

    def _feed_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fail(f"feed: {type(error).__name__}: {error}")

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A timer that raises (the store, the action table) leaves the market half open: end, and say why."""
        self._fail(str(context.get("exception") or context.get("message")))

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or reason
        self._say("error", "broker.failed", reason)
        self.ended.set()

    def _repeated(self, tag: str) -> None:
        self._say("warning", "order.repeated", tag)

    def _said(self, event: str, day: date) -> None:
        self._say("info", event, day.isoformat())

    def _say(self, level: str, event: str, detail: str) -> None:
        getattr(self.log.logger, level)(event, at=ist(self.clock.now_ns()).isoformat(), level=level, detail=detail)
