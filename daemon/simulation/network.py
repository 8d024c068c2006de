"""What lies between the daemon and its broker: requests and answers that are late, lost, doubled, refused or nonsense.

The exchange behind it is the paper broker, which lives as long as the world. Each process has a `Line` of its own to it. What
is on its way when the process dies arrives all the same; what is on its way to the process does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from brokers.paper import PaperBroker
from brokers.port import (
    Capabilities,
    Funds,
    Known,
    OrderReport,
    OrderSnapshot,
    Position,
    Read,
    ReportKind,
    Sink,
    Trade,
    Unknown,
)
from daemon.simulation.chance import Chance
from daemon.simulation.loop import Life
from risk.approval import ApprovedOrder

# Seconds after which a request without an answer counts as unanswered (the vendor's client waits as long).
ANSWER_SECONDS: Final = 7.0
LAG_NS: Final = 120 * 10**9
_ANSWERS: Final = (ReportKind.ACKNOWLEDGED, ReportKind.REJECTED)


class Surroundings(Protocol):
    """What a line needs of the world."""

    @property
    def chance(self) -> Chance:
        """The run's draws."""
        ...

    @property
    def exchange(self) -> PaperBroker:
        """The broker behind the line."""
        ...

    @property
    def trouble(self) -> Trouble:
        """What is wrong with the broker now."""
        ...

    @property
    def cancelled(self) -> set[str]:
        """Tags that the daemon has asked to cancel."""
        ...

    def now_ns(self) -> int:
        """True time."""
        ...

    def later(self, seconds: float, function: Callable[..., Any], *args: Any) -> None:
        """Run a function of the world, not of a process."""
        ...

    def took(self, reports: list[OrderReport]) -> None:
        """The exchange has carried a request out."""
        ...

    def leaving(self, life: Life, order: ApprovedOrder) -> None:
        """An order is handed to the network: the invariants look at it."""
        ...


class Trouble:
    """Troubles of a day that last: set and cleared by the world."""

    def __init__(self) -> None:
        self.away = ""  # reads are answered with this error, requests not at all
        self.expired = False  # a login is wanted
        self.lags = False  # books are two minutes old
        self.deaf = False  # the stream is gone


class Line:
    """One process's session with the broker. Implements `brokers.port.Broker`."""

    def __init__(self, world: Surroundings, life: Life) -> None:
        self._world = world
        self._life = life
        self._sink: Sink | None = None

    @property
    def name(self) -> str:
        """Name for logs and the journal."""
        return "simulated"

    @property
    def capabilities(self) -> Capabilities:
        """As the brokers of this market: a tag comes back, and does not keep a second order from being taken."""
        return Capabilities(lookup_by_tag=True, rejects_duplicate_tag=False, tag_max_length=20, order_updates=True)

    def attach(self, sink: Sink) -> None:
        """Set where reports go."""
        self._sink = sink

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Disconnect."""
        self._sink = None

    # ---- requests ----------------------------------------------------------------------------------------------------

    def submit(self, orders: Sequence[ApprovedOrder]) -> None:
        """Send each order; what becomes of it is chance."""
        for order in orders:
            self._life.touch("an order is about to leave")
            self._world.leaving(self._life, order)
            self._request(order)
            self._life.touch("an order has left")

    def _request(self, order: ApprovedOrder) -> None:
        world, chance, trouble = self._world, self._world.chance, self._world.trouble
        there = chance.between(0.005, 0.3, "way there")
        if trouble.expired:
            self._answer(there, order, ReportKind.REJECTED, "403: the session has expired")
        elif trouble.away or chance.strikes("lost_request"):
            self._answer(ANSWER_SECONDS, order, ReportKind.UNKNOWN, "no answer")
        elif chance.strikes("throttled"):
            self._answer(there, order, ReportKind.UNKNOWN, "429 to the request")
        elif chance.strikes("refused"):
            self._answer(there, order, ReportKind.REJECTED, "refused by risk management")
        elif chance.strikes("server_error"):
            self._answer(there, order, ReportKind.UNKNOWN, "502 to the request")
            if chance.roll("behind the 502") < 0.5:
                world.later(there, self._arrives, order, True)
        else:
            silent = chance.strikes("lost_answer")
            if silent:
                self._answer(ANSWER_SECONDS, order, ReportKind.UNKNOWN, "no answer")
            world.later(there, self._arrives, order, silent)

    def _arrives(self, order: ApprovedOrder, silent: bool) -> None:
        """The exchange takes the order. Its own reports come back by `tell`."""
        chance = self._world.chance
        back = chance.between(60.0, 600.0, "slow back") if chance.strikes("slow_answer") else 0.0
        answers = self._at_the_exchange(lambda exchange: exchange.submit((order,)))
        for report in answers:
            if report.kind is ReportKind.FILL:
                self.tell(report)
            elif not silent:
                self._world.later(back + chance.between(0.005, 0.3, "way back"), self._deliver, report)

    def cancel(self, tags: Sequence[str]) -> None:
        """Ask to cancel."""
        for tag in tags:
            self._life.touch("a cancel is about to leave")
            self._world.cancelled.add(tag)
            chance, trouble = self._world.chance, self._world.trouble
            if trouble.away or trouble.expired or chance.strikes("cancel_lost"):
                continue
            seconds = chance.between(0.005, 0.3, "way there")
            if chance.strikes("cancel_late"):
                seconds = chance.between(5.0, 90.0, "late cancel")
            self._world.later(seconds, self._cancel_arrives, tag)

    def _cancel_arrives(self, tag: str) -> None:
        for report in self._at_the_exchange(lambda exchange: exchange.cancel((tag,))):
            self.tell(report)

    def _at_the_exchange(self, act: Callable[[PaperBroker], None]) -> list[OrderReport]:
        reports: list[OrderReport] = []
        exchange = self._world.exchange
        # What this one request brings about is told apart from all else.
        usual = exchange.heard_by(reports.extend)
        try:
            act(exchange)
        finally:
            exchange.heard_by(usual)
        self._world.took(reports)
        return reports

    # ---- answers and updates -----------------------------------------------------------------------------------------

    def _answer(self, seconds: float, order: ApprovedOrder, kind: ReportKind, detail: str) -> None:
        report = OrderReport(order.tag, order.symbol, order.side, kind, detail=detail)
        self._world.later(seconds, self._deliver, report)

    def tell(self, report: OrderReport) -> None:
        """Send one update over the stream, which is not to be trusted."""
        world, chance = self._world, self._world.chance
        if world.trouble.away or world.trouble.deaf or chance.strikes("fill_lost"):
            return
        seconds = chance.between(0.005, 0.5, "update")
        if chance.strikes("fill_late"):
            seconds = chance.between(30.0, 1800.0, "late update")
        world.later(seconds, self._deliver, report)
        if chance.strikes("fill_doubled"):
            world.later(seconds + chance.between(0.0, 60.0, "second update"), self._deliver, report)

    def _deliver(self, report: OrderReport) -> None:
        if self._sink is not None:
            self._life.call(self._sink, (report,))

    # ---- reads -------------------------------------------------------------------------------------------------------

    async def _read(self, look: Callable[[], Any]) -> Any:
        self._life.touch("a read is asked for")
        chance, trouble = self._world.chance, self._world.trouble
        await asyncio.sleep(60.0 if chance.strikes("read_slow") else chance.between(0.005, 0.3, "read"))
        self._life.touch("a read is answered")
        if trouble.expired:
            return Unknown("403: the session has expired")
        if trouble.away:
            return Unknown(trouble.away)
        if chance.strikes("read_failed"):
            return Unknown("502, an HTML page")
        return Known(look())

    def _shown(self, at_ns: int) -> bool:
        return not self._world.trouble.lags or at_ns < self._world.now_ns() - LAG_NS

    async def orders(self) -> Read[tuple[OrderSnapshot, ...]]:
        """Today's order book."""
        exchange = self._world.exchange
        return await self._read(  # type: ignore[no-any-return]
            lambda: tuple([order for order in exchange.order_book() if self._shown(order.at_ns)])
        )

    async def trades(self) -> Read[tuple[Trade, ...]]:
        """Today's trades."""
        exchange = self._world.exchange
        return await self._read(  # type: ignore[no-any-return]
            lambda: tuple([trade for trade in exchange.trade_book() if self._shown(trade.at_ns)])
        )

    async def positions(self) -> Read[tuple[Position, ...]]:
        """Holdings."""
        return await self._read(self._world.exchange.account.positions)  # type: ignore[no-any-return]

    async def funds(self) -> Read[Funds]:
        """Cash."""
        return await self._read(self._world.exchange.balance)  # type: ignore[no-any-return]
