"""Bar received to first order byte on the real loop: WebSocket feed in, HTTP order out, durable intent in between.

A feed server in a process of its own sends bars of five instruments; the daemon's core decides on each, commits the
intent with synchronous=FULL, and writes orders to a loopback HTTP server. Measured in the daemon's process, from the
moment the feed client hands over the batch to the moment the first order byte is written; the durable commit is
timed by itself in the same run, so that its share can be taken off.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.replay import CONFIG, FixedWeights
from brokers.charges import DeliveryCharges
from brokers.port import Capabilities, Funds, Known, OrderReport, OrderSnapshot, Position, Read, ReportKind, Sink, Trade
from daemon.agenda import Slot
from daemon.clock import Clock, ist_ns, stopwatch
from daemon.core import Core, announce, build_core
from daemon.edges import Outside
from daemon.inference import StrategyHost
from daemon.journal import Chain, Journal
from daemon.messages import Lane, SessionOpened, SlotDue
from daemon.settings import ONLY_IF_NEEDED, DaemonSettings, ExecutionSettings
from market.bar import BarBatch
from market.calendar import Calendar
from market.feed import FeedClient
from market.instrument import Instrument
from market.money import ZERO, Paise, rupees
from risk.approval import ApprovedOrder
from risk.limits import load_limits

SYMBOLS = ("S000", "S001", "S002", "S003", "S004")
DAY = date(2024, 6, 5)
GAP_SECONDS = 0.02


class HttpBroker:
    """Writes each order as an HTTP request on a kept connection, and takes the answer as a fill at the limit."""

    name = "bench"
    capabilities = Capabilities(lookup_by_tag=True, rejects_duplicate_tag=False, tag_max_length=20, order_updates=True)

    def __init__(self, port: int, cash: Paise) -> None:
        self.port = port
        self.cash = cash
        self.first_byte = 0.0
        self.commit_seconds = 0.0
        self.journal: Chain | None = None
        self._sink: Sink | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: list[ApprovedOrder] = []
        self._task: asyncio.Task[None] | None = None

    def attach(self, sink: Sink) -> None:
        """Set where reports go."""
        self._sink = sink

    async def open(self) -> None:
        """Connect."""
        reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._task = asyncio.create_task(self._answers(reader))

    async def close(self) -> None:
        """Disconnect."""
        if self._writer is not None:
            self._writer.close()
        if self._task is not None:
            self._task.cancel()

    def submit(self, orders: Sequence[ApprovedOrder]) -> None:
        """Write the requests, one by one."""
        assert self._writer is not None
        for order in orders:
            body = (
                f"tag={order.tag}&symbol={order.symbol}&side={order.side}&quantity={order.quantity}&price={order.limit}"
            )
            head = f"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            self._waiting.append(order)
            self._writer.write((head + body).encode())
            if not self.first_byte:
                self.first_byte = stopwatch()
                # The commit that this order waited for, not one of the smaller ones that follow.
                self.commit_seconds = self.journal.last_commit_seconds if self.journal is not None else 0.0

    async def _answers(self, reader: asyncio.StreamReader) -> None:
        count = 0
        while True:
            await reader.readexactly(len(ANSWER))
            order = self._waiting.pop(0)
            count += 1
            assert self._sink is not None
            identity = f"B{count}"
            self._sink(
                (
                    OrderReport(order.tag, order.symbol, order.side, ReportKind.ACKNOWLEDGED, identity),
                    OrderReport(
                        order.tag,
                        order.symbol,
                        order.side,
                        ReportKind.FILL,
                        identity,
                        f"T{count}",
                        order.quantity,
                        order.limit,
                    ),
                )
            )

    def cancel(self, tags: Sequence[str]) -> None:
        """Nothing rests here."""

    async def orders(self) -> Read[tuple[OrderSnapshot, ...]]:
        """Return an empty book."""
        return Known(())

    async def trades(self) -> Read[tuple[Trade, ...]]:
        """Return no trades."""
        return Known(())

    async def positions(self) -> Read[tuple[Position, ...]]:
        """Return no positions."""
        return Known(())

    async def funds(self) -> Read[Funds]:
        """Return the opening cash."""
        return Known(Funds(self.cash, self.cash))


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

_SERVER = f"""
import asyncio
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\\r\\n")[0])
            await reader.readexactly(length)
            writer.write({ANSWER!r})
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""

_FEED = """
import asyncio, sys, time
from datetime import date
import numpy as np
from daemon.clock import ist_ns
from market.bar import BarBatch, Interval
from market.feed import FeedServer
count, gap = int(sys.argv[1]), float(sys.argv[2])
start = ist_ns(date(2024, 6, 5), hour=9, minute=16)
step = int(gap * 1e9)
rng = np.random.default_rng(5)
prices = np.round(1000 * np.exp(np.cumsum(rng.normal(0, 0.0004, (count, 5)), axis=0)), 2)
batches = []
for i, row in enumerate(prices.tolist()):
    close = tuple(row)
    batches.append(BarBatch(date(2024, 6, 5), Interval.MINUTE, start + i * step, start + (i + 1) * step,
        ("S000", "S001", "S002", "S003", "S004"), close, close, close, close, (1e6,) * 5))
async def main():
    server = FeedServer(batches, start_ns=start - 2 * 10**9, speed=1.0, now=time.perf_counter)
    print(await server.start("127.0.0.1", 0), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@dataclass(slots=True)
class Latencies:
    """Milliseconds, one entry a decision."""

    first_byte: list[float] = field(default_factory=list)
    commit: list[float] = field(default_factory=list)


async def measure(count: int) -> Latencies:
    """Run `count` decisions and return their latencies; the first tenth warms up and is dropped."""
    server = subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True)
    feed = subprocess.Popen(
        [sys.executable, "-c", _FEED, str(count), str(GAP_SECONDS)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None and feed.stdout is not None
        port, feed_port = int(server.stdout.readline()), int(feed.stdout.readline())
        with tempfile.TemporaryDirectory() as folder:
            found = await _measure(count, port, feed_port, Path(folder))
    finally:
        for process in (server, feed):
            process.kill()
            process.communicate()
    drop = count // 10
    return Latencies(found.first_byte[drop:], found.commit[drop:])


async def _measure(count: int, port: int, feed_port: int, folder: Path) -> Latencies:
    loop = asyncio.get_running_loop()
    clock = Clock(loop, ist_ns(DAY, hour=9, minute=25) - int(loop.time() * 1e9))
    cash = rupees(10_000_000.0)
    broker = HttpBroker(port, cash)
    core = _core(clock, broker, count, cash, folder)
    broker.journal = core.journal
    found, done = Latencies(), asyncio.Event()

    def wake() -> None:
        loop.call_soon_threadsafe(core.bus.release)

    core.journal.start(wake)
    await broker.open()
    announce(core, strategy="fixed_weights", history=None)
    open_ns, close_ns = ist_ns(DAY, hour=9, minute=15), ist_ns(DAY, hour=15, minute=30)
    core.bus.post(Lane.TIMER, SessionOpened(session=DAY, open_ns=open_ns, close_ns=close_ns))
    core.bus.start()
    decided = 0

    def on_batch(batch: BarBatch) -> None:
        nonlocal decided
        broker.first_byte = 0.0
        # Each bar stands for a day of its own: the turnover cap starts afresh, and yesterday's proceeds have settled.
        core.state.traded_today = ZERO
        core.state.account.unsettled_proceeds = ZERO
        received = stopwatch()
        core.bus.post(Lane.MARKET, batch)
        core.bus.post(Lane.MARKET, SlotDue(session=DAY, slot=f"bar{decided}"))
        decided += 1
        loop.call_later(GAP_SECONDS * 0.7, collect, received)

    def collect(received: float) -> None:
        if broker.first_byte:
            found.first_byte.append((broker.first_byte - received) * 1e3)
            found.commit.append(broker.commit_seconds * 1e3)
        if decided >= count:
            done.set()

    client = FeedClient(f"http://127.0.0.1:{feed_port}", SYMBOLS, 0, on_batch)
    task = asyncio.create_task(client.run())
    await done.wait()
    task.cancel()
    core.bus.pause()
    await asyncio.to_thread(core.journal.close)
    await core.edges.close()
    await broker.close()
    return found


def _core(clock: Clock, broker: HttpBroker, count: int, cash: Paise, folder: Path) -> Core:
    limits = load_limits(CONFIG, mode="replay")
    # Thousands of rebalances a day are not what the breakers are for; their observation is timed all the same.
    recovery = limits.circuit_breakers.model_copy(
        update={"max_daily_loss_percent": 99.0, "max_weekly_loss_percent": 99.0, "max_drawdown_percent": 99.0,
                "max_single_stock_loss": 99.0, "min_portfolio_value_percent": 1.0}
    )  # fmt: skip
    # Nor the pace of orders: fifty decisions a second are not a portfolio's day.
    unpaced = limits.execution.model_copy(update={"max_orders_per_second": 1_000_000, "max_orders_per_day": 10_000_000})
    limits = limits.model_copy(update={"circuit_breakers": recovery, "execution": unpaced})
    rows: NDArray[np.float64] = np.array([[0.10, 0.14, 0.18, 0.22, 0.26], [0.26, 0.22, 0.18, 0.14, 0.10]])
    settings = DaemonSettings(
        portfolio="bench",
        mode="paper",
        instruments=tuple(Instrument(symbol) for symbol in SYMBOLS),
        opening_cash=cash,
        execution=ExecutionSettings(band=0.0),
        reconcile=ONLY_IF_NEEDED,  # a decision on each bar, not on a schedule before which the books are compared
    )
    core = build_core(
        settings=settings,
        clock=clock,
        calendar=Calendar.load(),
        journal=Journal(folder / "journal.sqlite", durable=True),
        limits=limits,
        charges=DeliveryCharges.default(),
        outside=Outside(
            broker=broker,
            strategy=StrategyHost(clock, FixedWeights(SYMBOLS, rows)),
            engaged=lambda: False,
            release_stop=lambda: None,
        ),
    )
    for number in range(count):
        core.state.agenda.add(Slot(f"bar{number}", settings.trade_time, 24 * 60))
    return core


def percentiles(values: list[float]) -> tuple[float, float, float]:
    """Return p50, p99 and p99.9."""
    p50, p99, p999 = np.percentile(np.array(values), [50, 99, 99.9])
    return float(p50), float(p99), float(p999)
