"""What every broker adapter must do, whatever is behind it. An adapter joins with one rig in RIGS.

A rig is a broker and a market that the test can move: paper has its own, a remote adapter brings a fake server.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import pytest

from brokers.broker_server import BrokerServer
from brokers.charges import DeliveryCharges
from brokers.orders import TERMINAL, Order, OrderState, order_tag
from brokers.paper import FillModel, PaperBroker
from brokers.paper_store import PaperStore
from brokers.port import Broker, Known, OrderReport, ReportKind, Unknown
from brokers.remote_paper import RemotePaperBroker
from market.bar import BarBatch, Interval
from market.money import rupees
from risk.approval import ApprovedOrder, ProposedOrder, Side, _seal

DAY = date(2026, 11, 20)
NOON_NS = 1_795_156_200 * 10**9
SYMBOL = "SBIN"
LAST = 800.0


class Rig(Protocol):
    """A broker under test and its market. Cash Rs 10,00,000, last price of SBIN 800, session open, nothing held."""

    broker: Broker
    reports: list[OrderReport]

    async def start(self) -> None:
        """Open the session under test."""
        ...

    async def trade(self, *, low: float, high: float, volume: int = 1_000_000) -> None:
        """Let the market trade a range, long enough for an order to take `volume / 10` shares, and settle reports."""
        ...

    async def settle(self) -> None:
        """Wait until what was asked has been answered."""
        ...

    def lose_answer(self, tag: str) -> None:
        """Lose the answer to this order's request: it lives, and we do not hear of it."""
        ...

    def fail_reads(self, reason: str) -> None:
        """Make reads fail; an empty reason ends it."""
        ...

    async def restart(self) -> None:
        """Kill this side of the session and connect anew; the broker's side goes on."""
        ...

    async def close(self) -> None:
        """Take the rig down."""
        ...


@dataclass
class PaperRig:
    """The paper broker on a file, with minute bars."""

    path: Path
    lost: set[str] = field(default_factory=set)
    reports: list[OrderReport] = field(default_factory=list)
    minute: int = 0
    broker: Any = None

    def __post_init__(self) -> None:
        self._connect()
        self.broker.prime(closes={SYMBOL: LAST}, volumes={SYMBOL: 1e6})
        self.broker.start_session(DAY)

    def _connect(self) -> None:
        self.broker = PaperBroker(
            symbols=(SYMBOL,),
            opening_cash=rupees(1_000_000),
            charges=DeliveryCharges.default(),
            now_ns=lambda: NOON_NS + self.minute * 60 * 10**9,
            model=FillModel(lost_answer_tags=frozenset(self.lost)),
            store=PaperStore(self.path),
        )
        self.broker.attach(self.reports.extend)

    async def start(self) -> None:
        await self.broker.open()

    async def trade(self, *, low: float, high: float, volume: int = 1_000_000) -> None:
        start = NOON_NS + self.minute * 60 * 10**9
        self.minute += 1
        middle = (low + high) / 2
        row = ((middle,), (high,), (low,), (middle,), (float(volume),))
        self.broker.on_bars(BarBatch(DAY, Interval.MINUTE, start, start + 60 * 10**9, (SYMBOL,), *row))

    async def settle(self) -> None:
        pass

    def lose_answer(self, tag: str) -> None:
        self.lost.add(tag)
        self.broker.model = FillModel(lost_answer_tags=frozenset(self.lost))

    def fail_reads(self, reason: str) -> None:
        self.broker.fail_reads(reason)

    async def restart(self) -> None:
        self.broker.attach(lambda reports: None)  # killed: it tells nobody anything, and closes nothing
        self._connect()
        await self.broker.open()

    async def close(self) -> None:
        await self.broker.close()


@dataclass
class RemoteRig:
    """The paper broker behind a real socket on loopback. What the fill model loses is a connection that breaks."""

    path: Path
    reports: list[OrderReport] = field(default_factory=list)
    broker: Any = None
    inner: Any = None
    server: Any = None
    address: str = ""

    async def start(self) -> None:
        self.inner = PaperRig(self.path)
        self.server = BrokerServer(self.inner.broker, now_ns=lambda: NOON_NS)
        listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        await self.server.start(listener)
        await self._connect()

    async def _connect(self) -> None:
        self.broker = RemotePaperBroker(self.address, seconds=5.0)
        self.broker.attach(self.reports.extend)
        await self.broker.open()

    async def trade(self, *, low: float, high: float, volume: int = 1_000_000) -> None:
        await self.settle()
        await self.inner.trade(low=low, high=high, volume=volume)
        await self.settle()

    async def settle(self) -> None:
        busy = ("broker orders", "cancel")
        while any(task.get_name().startswith(busy) for task in self.broker._tasks):
            await asyncio.sleep(0)
        while self.broker.sequence < self.server.sequence:
            await asyncio.sleep(0)

    def lose_answer(self, tag: str) -> None:
        self.inner.lose_answer(tag)

    def fail_reads(self, reason: str) -> None:
        self.inner.fail_reads(reason)

    async def restart(self) -> None:
        self.broker.attach(lambda reports: None)
        await self.broker.close()
        await self._connect()

    async def close(self) -> None:
        await self.broker.close()
        await self.server.close()
        await self.inner.close()


RIGS: dict[str, Callable[[Path], Rig]] = {
    "paper": lambda path: PaperRig(path / "paper.sqlite"),
    "remote_paper": lambda path: RemoteRig(path / "paper.sqlite"),
}


@pytest.fixture(params=sorted(RIGS))
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    it = RIGS[request.param](tmp_path)
    await it.start()
    yield it
    await it.close()


class Book:
    """What the daemon keeps: orders by tag, fed with reports."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}

    def make(self, side: Side, quantity: int, limit: float, *, attempt: int = 0) -> ApprovedOrder:
        tag = order_tag("contract:2026-11-20", SYMBOL, side, attempt)
        proposal = ProposedOrder(tag, "contract", SYMBOL, side, quantity, rupees(limit))
        self.orders[tag] = Order(tag, "contract", SYMBOL, side, quantity, rupees(limit))
        return _seal(proposal, limits_version="v", priced_at_ns=0)

    def hear(self, rig: Rig) -> None:
        for report in rig.reports:
            self.orders[report.tag].apply(report)


@pytest.fixture
def book() -> Iterator[Book]:
    it = Book()
    yield it
    assert not any(order.overfilled for order in it.orders.values())


async def value(read: Any) -> Any:
    answer = await read
    assert isinstance(answer, Known), answer
    return answer.value


async def test_an_order_is_acknowledged_filled_and_found_in_every_book(rig: Rig, book: Book) -> None:
    order = book.make(Side.BUY, 100, 804.0)
    rig.broker.submit([order])
    await rig.settle()
    book.hear(rig)
    assert book.orders[order.tag].state is OrderState.ACKNOWLEDGED
    assert book.orders[order.tag].broker_order_id
    await rig.trade(low=801.0, high=803.0)
    book.hear(rig)
    it = book.orders[order.tag]
    assert it.state is OrderState.FILLED and it.filled == 100 and it.value <= 100 * order.limit
    (snapshot,) = await value(rig.broker.orders())
    assert (snapshot.tag, snapshot.status, snapshot.filled) == (order.tag, "complete", 100)
    trades = await value(rig.broker.trades())
    assert {trade.trade_id for trade in trades} == set(it.fills) and {trade.tag for trade in trades} == {order.tag}
    (position,) = await value(rig.broker.positions())
    assert (position.symbol, position.quantity, position.settled) == (SYMBOL, 100, 0)
    funds = await value(rig.broker.funds())
    assert funds.cash <= rupees(1_000_000) - it.value and funds.available == funds.cash


async def test_a_part_that_is_filled_stands_when_the_rest_is_cancelled(rig: Rig, book: Book) -> None:
    order = book.make(Side.BUY, 100, 804.0)
    rig.broker.submit([order])
    await rig.trade(low=801.0, high=803.0, volume=300)
    rig.broker.cancel([order.tag])
    await rig.settle()
    book.hear(rig)
    it = book.orders[order.tag]
    assert it.state is OrderState.CANCELLED and it.filled == 30
    (snapshot,) = await value(rig.broker.orders())
    assert (snapshot.status, snapshot.filled) == ("cancelled", 30)
    assert (await value(rig.broker.positions()))[0].quantity == 30


async def test_a_cancel_that_comes_too_late_changes_nothing(rig: Rig, book: Book) -> None:
    order = book.make(Side.BUY, 100, 804.0)
    rig.broker.submit([order])
    await rig.trade(low=801.0, high=803.0)
    rig.broker.cancel([order.tag])
    await rig.settle()
    book.hear(rig)
    assert book.orders[order.tag].state is OrderState.FILLED
    assert (await value(rig.broker.orders()))[0].status == "complete"


async def test_one_tag_never_becomes_two_orders_where_the_broker_promises_so(rig: Rig, book: Book) -> None:
    if not rig.broker.capabilities.rejects_duplicate_tag:
        pytest.skip(f"{rig.broker.name} does not promise to refuse a repeated tag; the daemon never sends twice")
    order = book.make(Side.BUY, 100, 804.0)
    rig.broker.submit([order])
    rig.broker.submit([order])
    await rig.trade(low=801.0, high=803.0)
    book.hear(rig)
    assert len(await value(rig.broker.orders())) == 1
    assert book.orders[order.tag].filled == 100
    assert (await value(rig.broker.positions()))[0].quantity == 100


async def test_a_refusal_is_terminal_and_says_why(rig: Rig, book: Book) -> None:
    short = book.make(Side.SELL, 10, 800.0)
    rich = book.make(Side.BUY, 10_000, 804.0)
    rig.broker.submit([short, rich])
    await rig.settle()
    book.hear(rig)
    assert all(order.state is OrderState.REJECTED and order.detail for order in book.orders.values())
    assert await value(rig.broker.positions()) == ()
    assert (await value(rig.broker.funds())).available == rupees(1_000_000)


async def test_open_purchases_are_not_spent_twice(rig: Rig, book: Book) -> None:
    rig.broker.submit([book.make(Side.BUY, 1_000, 790.0)])
    await rig.settle()
    funds = await value(rig.broker.funds())
    assert funds.cash == rupees(1_000_000) and funds.available <= rupees(1_000_000 - 790_000)


async def test_a_lost_answer_is_resolved_by_what_the_books_show(rig: Rig, book: Book) -> None:
    order = book.make(Side.BUY, 100, 804.0)
    rig.lose_answer(order.tag)
    rig.broker.submit([order])
    await rig.settle()
    book.hear(rig)
    assert book.orders[order.tag].state is OrderState.UNKNOWN
    await rig.trade(low=801.0, high=803.0)
    (snapshot,) = await value(rig.broker.orders())
    assert snapshot.tag == order.tag and snapshot.status == "complete"
    for trade in await value(rig.broker.trades()):
        assert trade.tag == order.tag
        book.orders[order.tag].apply(
            OrderReport(
                trade.tag, trade.symbol, trade.side, ReportKind.FILL, "", trade.trade_id, trade.quantity, trade.price
            )
        )
    book.hear(rig)  # whatever the stream still brings is counted already
    assert book.orders[order.tag].state is OrderState.FILLED and book.orders[order.tag].filled == 100


async def test_a_read_that_fails_is_unknown_and_never_empty(rig: Rig, book: Book) -> None:
    rig.broker.submit([book.make(Side.BUY, 100, 804.0)])
    await rig.settle()
    rig.fail_reads("gateway timeout")
    for read in (rig.broker.orders, rig.broker.trades, rig.broker.positions, rig.broker.funds):
        answer = await read()
        assert isinstance(answer, Unknown) and answer.reason
    rig.fail_reads("")
    assert len(await value(rig.broker.orders())) == 1


async def test_the_broker_goes_on_while_this_side_is_dead(rig: Rig, book: Book) -> None:
    done, waiting = book.make(Side.BUY, 100, 804.0), book.make(Side.BUY, 50, 780.0, attempt=1)
    rig.broker.submit([done, waiting])
    await rig.trade(low=801.0, high=803.0)
    before = [await value(read()) for read in (rig.broker.orders, rig.broker.trades, rig.broker.positions)]
    await rig.restart()
    after = [await value(read()) for read in (rig.broker.orders, rig.broker.trades, rig.broker.positions)]
    assert after == before
    await rig.trade(low=775.0, high=790.0)
    rig.broker.submit([book.make(Side.SELL, 20, 779.0, attempt=2)])
    await rig.trade(low=781.0, high=785.0)
    book.hear(rig)
    assert [order.filled for order in book.orders.values()] == [100, 50, 20]
    trades = await value(rig.broker.trades())
    assert len({trade.trade_id for trade in trades}) == len(trades) == 3
    assert (await value(rig.broker.positions()))[0].quantity == 130


async def test_an_order_that_the_gate_did_not_seal_never_leaves(rig: Rig) -> None:
    forged = ApprovedOrder("x" * 20, "plan", SYMBOL, Side.BUY, 1, rupees(800), "v", 0, 12345)
    with pytest.raises(AssertionError):
        rig.broker.submit([forged])
    assert await value(rig.broker.orders()) == ()


async def test_tags_of_ours_fit(rig: Rig, book: Book) -> None:
    order = book.make(Side.BUY, 1, 804.0)
    assert len(order.tag) <= rig.broker.capabilities.tag_max_length
    rig.broker.submit([order])
    await rig.trade(low=801.0, high=803.0)
    book.hear(rig)
    assert book.orders[order.tag].state in TERMINAL
