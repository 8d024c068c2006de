"""The paper broker behind a socket: an adapter of the Broker port, as one for a real broker would be.

An order is tried once. What is not a definite answer about this very order is UNKNOWN, and evidence decides later:

* no answer in time, a connection that broke, a status of 5xx, an answer that cannot be read: UNKNOWN;
* a refusal that says that nothing was placed: REJECTED. One that does not say so is UNKNOWN, also with a status of 4xx;
* held back at the last moment, or a connection that was refused before it existed: NOT_SENT. Each order has a connection
  of its own, so no byte of it can have left on an older one.

Reads, cancels and errands (what the owner does at the broker) may be repeated. A stream that breaks is taken up again with
back-off, where it stopped when the broker still knows; `on_state` hears of it, so that the books can be compared.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import aiohttp
import msgspec

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
from brokers.wire import (
    STREAM_LIMIT,
    TAG_LIMIT,
    VERSION,
    Clock,
    Done,
    Hello,
    News,
    OrderAnswer,
    OrderRequest,
    Refusal,
    decode_stream,
    encode,
    split_address,
)
from market.errors import DependencyFailed
from risk.approval import ApprovedOrder, is_approved

T = TypeVar("T")

_BACK_OFF: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_CANCEL_ATTEMPTS: Final = 4
_REFUSED: Final = (errno.ECONNREFUSED, errno.ENOENT)
_JSON: Final = {"Content-Type": "application/json"}
_FAILURES: Final = (aiohttp.ClientError, OSError, TimeoutError, ValueError, msgspec.DecodeError)
_ENDED: Final = {"cancelled": ReportKind.CANCELLED, "rejected": ReportKind.REJECTED}


class RemotePaperBroker:
    """Implements `brokers.port.Broker`. `pace` is how many of the loop's seconds pass in one of the machine's.

    `on_state(state, detail)` hears "connected", "lost" (of the stream) and "refused" (of an errand). `hold(order)` is asked
    right before each request, since an order may have waited for those before it while the process hung: it returns why
    the order may not leave any more, or an empty text.
    """

    def __init__(
        self,
        address: str,
        *,
        pace: float = 1.0,
        seconds: float = 10.0,
        on_state: Callable[[str, str], None] = lambda state, detail: None,
        hold: Callable[[ApprovedOrder], str] = lambda order: "",
    ) -> None:
        self.address = address
        self.on_state = on_state
        self._hold = hold
        self.epoch = ""
        self.sequence = 0
        self._base, self._socket = split_address(address)
        self._pace = pace
        self._seconds = seconds * pace
        self._session: aiohttp.ClientSession | None = None
        self._sink: Sink | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._orders: deque[ApprovedOrder] = deque()
        self._answered: dict[str, asyncio.Event] = {}  # of orders that wait for their turn or their answer
        self._errands: deque[tuple[str, bytes]] = deque()
        self._no_errands = asyncio.Event()
        self._no_errands.set()
        self._listening = asyncio.Event()

    # ---- the port ----------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name for logs and the journal."""
        return "paper"

    @property
    def capabilities(self) -> Capabilities:
        """What this broker can do."""
        return Capabilities(
            lookup_by_tag=True, rejects_duplicate_tag=True, tag_max_length=TAG_LIMIT, order_updates=True
        )

    def attach(self, sink: Sink) -> None:
        """Set where reports go."""
        self._sink = sink

    async def open(self) -> None:
        """Connect. Raises DependencyFailed when nobody answers, or in another language."""
        connector: aiohttp.BaseConnector = (
            aiohttp.TCPConnector(force_close=True)
            if self._socket is None
            else aiohttp.UnixConnector(self._socket, force_close=True)
        )
        self._session = aiohttp.ClientSession(connector=connector)
        try:
            await self.clock()
            self._spawn(self._follow(), "broker stream")
            try:
                await asyncio.wait_for(self._listening.wait(), self._seconds)
            except TimeoutError as error:
                raise DependencyFailed(f"broker {self.address}: its stream of reports does not begin") from error
        except DependencyFailed:
            await self.close()
            raise

    async def close(self) -> None:
        """Let what was handed over leave, for a little while, and disconnect; open orders stay at the broker."""
        self._sink = None
        if self._session is None:
            return
        waiting = [event.wait() for event in self._answered.values()]
        if waiting:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*waiting), min(3.0 * self._pace, self._seconds))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()
        self._session = None

    def submit(self, orders: Sequence[ApprovedOrder]) -> None:
        """Send each order once, in order. Raises AssertionError, before anything leaves, when one was not approved."""
        for order in orders:
            if not is_approved(order):
                raise AssertionError(f"order {order.tag} was not approved by the gate")
        idle = not self._orders
        self._orders.extend(orders)
        for order in orders:
            self._answered.setdefault(order.tag, asyncio.Event())
        if idle and orders:
            self._spawn(self._send_all(), "broker orders")

    def cancel(self, tags: Sequence[str]) -> None:
        """Ask to cancel; an order whose request is on its way is cancelled after that."""
        for tag in tags:
            self._spawn(self._cancel(tag), f"cancel {tag}")

    async def orders(self) -> Read[tuple[OrderSnapshot, ...]]:
        """Today's order book."""
        return await self._read("/v1/orders", tuple[OrderSnapshot, ...])

    async def trades(self) -> Read[tuple[Trade, ...]]:
        """Today's trades."""
        return await self._read("/v1/trades", tuple[Trade, ...])

    async def positions(self) -> Read[tuple[Position, ...]]:
        """Holdings and today's purchases."""
        return await self._read("/v1/positions", tuple[Position, ...])

    async def funds(self) -> Read[Funds]:
        """Cash, and what may be spent net of open purchases."""
        return await self._read("/v1/funds", Funds)

    # ---- beside the port ---------------------------------------------------------------------------------------------

    async def clock(self) -> Clock:
        """Return the broker's clock. Raises DependencyFailed."""
        answer = await self._get("/v1/clock", Clock)
        if isinstance(answer, Unknown):
            raise DependencyFailed(f"broker {self.address}: {answer.reason}")
        if answer.value.version != VERSION:
            raise DependencyFailed(f"broker {self.address}: speaks version {answer.value.version}, not {VERSION}")
        return answer.value

    def errand(self, target: str, body: Any) -> None:
        """Do what may be done twice, in order, until the broker says that it is done or refuses it. Reads wait for it."""
        self._errands.append((target, encode(body)))
        if self._no_errands.is_set():
            self._no_errands.clear()
            self._spawn(self._run_errands(), "broker errands")

    # ---- orders ------------------------------------------------------------------------------------------------------

    async def _send_all(self) -> None:
        while self._orders:
            order = self._orders[0]
            kind, detail, order_id = await self._send(order)
            self._orders.popleft()
            if not any(later.tag == order.tag for later in self._orders):
                self._answered.pop(order.tag).set()
            self._tell(OrderReport(order.tag, order.symbol, order.side, kind, order_id, detail=detail))

    async def _send(self, order: ApprovedOrder) -> tuple[ReportKind, str, str]:
        """Send an order, once, and return what is known of it: kind of report, detail, the broker's order id."""
        held = self._hold(order)
        if held:
            return ReportKind.NOT_SENT, held, ""
        body = encode(OrderRequest(order.tag, order.symbol, order.side, order.quantity, order.limit))
        try:
            status, raw = await self._ask("POST", "/v1/orders", body)
        except aiohttp.ClientConnectorError as error:
            refused = error.os_error.errno in _REFUSED
            kind = ReportKind.NOT_SENT if refused else ReportKind.UNKNOWN
            return kind, f"the broker cannot be reached: {error.os_error.strerror or error}", ""
        except Exception as error:  # noqa: BLE001 - whatever broke, the request may have left
            return ReportKind.UNKNOWN, f"no answer to the order request: {_said(error)}", ""
        return _outcome(order, status, raw)

    async def _cancel(self, tag: str) -> None:
        answered = self._answered.get(tag)
        if answered is not None:
            await answered.wait()
        for attempt in range(_CANCEL_ATTEMPTS):
            with suppress(*_FAILURES):
                status, raw = await self._ask("DELETE", f"/v1/orders/{tag}")
                if status == 404:
                    return
                if status == 200:
                    answer = msgspec.json.decode(raw, type=OrderAnswer)
                    order = answer.order
                    kind = _ENDED.get(order.status)
                    if kind is not None and order.tag == tag:
                        self._tell(
                            OrderReport(
                                tag, order.symbol, order.side, kind, order.broker_order_id, detail=answer.detail
                            )
                        )
                    return
            await self._pause(attempt)

    def _tell(self, *reports: OrderReport) -> None:
        if self._sink is not None:
            self._sink(reports)

    # ---- reads and errands -------------------------------------------------------------------------------------------

    async def _read(self, target: str, kind: type[T]) -> Read[T]:
        """Read a book. What was done at the broker in the owner's name has to be in it."""
        try:
            await asyncio.wait_for(self._no_errands.wait(), self._seconds)
        except TimeoutError:
            return Unknown(f"{self._errands[0][0]} is not confirmed by the broker yet")
        return await self._get(target, kind)

    async def _get(self, target: str, kind: type[T]) -> Read[T]:
        try:
            status, raw = await self._ask("GET", target)
            if status != 200:
                return Unknown(f"{target}: status {status}: {_error(raw)}")
            return Known(msgspec.json.decode(raw, type=kind))
        except _FAILURES as error:
            return Unknown(f"{target}: {_said(error)}")

    async def _run_errands(self) -> None:
        attempt = 0
        while self._errands:
            target, body = self._errands[0]
            try:
                status, raw = await self._ask("POST", target, body)
                done = status == 200 and msgspec.json.decode(raw, type=Done).done
            except _FAILURES:
                status, raw, done = 0, b"", False
            if not done and not 400 <= status < 500:
                await self._pause(attempt)
                attempt += 1
                continue
            attempt = 0
            self._errands.popleft()
            if not done:
                self.on_state("refused", f"{target}: status {status}: {_error(raw)}")
        self._no_errands.set()

    # ---- the stream --------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        attempt = 0
        while True:
            try:
                async for news in self._connected():
                    attempt = 0
                    self.sequence = news.sequence
                    self._tell(*news.reports)
                reason = "the connection closed"
            except _FAILURES as error:
                reason = _said(error)
            self.on_state("lost", f"{self.address}: {reason}")
            await self._pause(attempt)
            attempt += 1

    async def _connected(self) -> Any:
        assert self._session is not None
        timeout = aiohttp.ClientWSTimeout(ws_close=self._seconds)
        target = f"{self._base}/v1/stream?epoch={self.epoch}&after={self.sequence}"
        async with self._session.ws_connect(
            target, heartbeat=20.0 * self._pace, max_msg_size=STREAM_LIMIT, timeout=timeout
        ) as stream:
            async for frame in stream:
                if frame.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    continue
                message = decode_stream(frame.data)
                if isinstance(message, Hello):
                    if not message.resumed:
                        self.epoch, self.sequence = message.epoch, message.sequence
                    self._listening.set()
                    self.on_state("connected", self.address)
                elif isinstance(message, News):
                    yield message

    # ---- below -------------------------------------------------------------------------------------------------------

    async def _ask(self, method: str, target: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Make one request, never a second one: redirects are not followed, and POST is not repeated by the library."""
        assert self._session is not None, "the session is not open"
        timeout = aiohttp.ClientTimeout(total=self._seconds)
        async with self._session.request(
            method, self._base + target, data=body, headers=_JSON, timeout=timeout, allow_redirects=False
        ) as answer:
            return answer.status, await answer.read()

    async def _pause(self, attempt: int) -> None:
        await asyncio.sleep(_BACK_OFF[min(attempt, len(_BACK_OFF) - 1)] * self._pace)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A bug of ours: silence would leave orders without an answer. The loop's handler halts trading.
            message = f"{task.get_name()} ended with an error"
            task.get_loop().call_exception_handler({"message": message, "exception": task.exception()})


def _outcome(order: ApprovedOrder, status: int, raw: bytes) -> tuple[ReportKind, str, str]:
    """Return what an answer to an order request proves: kind of report, detail, the broker's order id."""
    try:
        if status == 200:
            answer = msgspec.json.decode(raw, type=OrderAnswer)
            found = answer.order
            same = (found.tag, found.symbol, found.side, found.quantity, found.limit)
            if same != (order.tag, order.symbol, order.side, order.quantity, order.limit) or not found.broker_order_id:
                return ReportKind.UNKNOWN, f"the answer is about another order: {found.tag} {found.symbol}", ""
            return _ENDED.get(found.status, ReportKind.ACKNOWLEDGED), answer.detail, found.broker_order_id
        if 400 <= status < 500:
            refusal = msgspec.json.decode(raw, type=Refusal)
            if refusal.placed is False:
                return ReportKind.REJECTED, f"status {status}: {refusal.error}", ""
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        return ReportKind.UNKNOWN, f"the answer to the order request cannot be read: {_said(error)}", ""
    return ReportKind.UNKNOWN, f"the order request was answered with status {status}: {_error(raw)}", ""


def _error(raw: bytes) -> str:
    try:
        return msgspec.json.decode(raw, type=Refusal).error
    except (ValueError, msgspec.DecodeError, RecursionError):
        return repr(raw[:80])


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
