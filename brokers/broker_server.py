"""The paper broker as a process of its own speaks: HTTP and a stream of reports, on this machine alone.

The protocol is in `brokers.wire`. Every request is one step of the one loop, and what it changed is on disk before its
answer leaves. What the fill model loses is really lost here: the connection breaks without an answer.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from aiohttp import web

from brokers.paper import PaperBroker
from brokers.port import Known, OrderReport, Read, ReportKind
from brokers.wire import (
    BODY_LIMIT,
    STREAM_LIMIT,
    TAG_LIMIT,
    VERSION,
    Action,
    Actions,
    Books,
    CashMoves,
    Clock,
    Done,
    Hello,
    News,
    OrderAnswer,
    OrderRequest,
    Refusal,
    encode,
)
from market.corporate_actions import ActionKind, CorporateAction
from market.errors import BadInput, OperatorError

T = TypeVar("T")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Batches of reports that a client may have missed and still be given.
_REMEMBERED: Final = 10_000
# A page of the web that resolves its own name to this machine must not trade here.
_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]", "broker")


class BrokerServer:
    """Serves one paper broker. `failed` hears when its books can no longer be written: the process should end.

    `repeated` hears the tag of an order that came again: harmless here, and a fault of the client that sent it.
    """

    def __init__(
        self,
        paper: PaperBroker,
        *,
        now_ns: Callable[[], int],
        speed: float = 1.0,
        failed: Callable[[str], None] = lambda reason: None,
        repeated: Callable[[str], None] = lambda tag: None,
    ) -> None:
        self.paper = paper
        self.speed = speed
        self.epoch = secrets.token_hex(8)
        self.sequence = 0
        self._now_ns = now_ns
        self._failed = failed
        self._repeated = repeated
        self._log: deque[News] = deque(maxlen=_REMEMBERED)
        self._changed = asyncio.Event()
        self._streams: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None
        paper.attach(self._hear)

    async def start(self, listener: socket.socket) -> None:
        """Serve on a bound socket until `close`."""
        application = web.Application(client_max_size=BODY_LIMIT, middlewares=[self._guarded])
        router = application.router
        router.add_get("/v1/clock", self._clock)
        router.add_post("/v1/orders", self._place)
        router.add_delete("/v1/orders/{tag}", self._cancel)
        router.add_get("/v1/{book:orders|trades|positions|funds}", self._book)
        router.add_get("/v1/books", self._books)
        router.add_post("/v1/cash", self._cash)
        router.add_post("/v1/actions", self._actions)
        router.add_get("/v1/stream", self._stream)
        application.on_shutdown.append(self._hang_up)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def close(self) -> None:
        """Stop serving; the books stay."""
        if self._runner is not None:
            await self._runner.cleanup()

    # ---- orders ------------------------------------------------------------------------------------------------------

    async def _place(self, request: web.Request) -> web.StreamResponse:
        wanted = await _body(request, OrderRequest)
        if not (wanted.tag.isascii() and wanted.tag.isalnum() and len(wanted.tag) <= TAG_LIMIT):
            return _refuse(400, f"tag {wanted.tag!r}: allowed: 1 to {TAG_LIMIT} letters and digits", placed=False)
        known = self.paper.order(wanted.tag) is not None
        lost = "" if known else self.paper.model.loses(wanted.tag)
        if known:
            self._repeated(wanted.tag)
        else:
            self.paper.receive([wanted])
        if lost:
            return _vanish(request)
        found = self.paper.order(wanted.tag)
        assert found is not None
        return _answer(OrderAnswer(found[0], "duplicate tag: not placed again" if known else found[1]))

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        tag = request.match_info["tag"]
        self.paper.cancel([tag])
        found = self.paper.order(tag)
        if found is None:
            return _refuse(404, f"no order of today has the tag {tag}")
        return _answer(OrderAnswer(*found))

    # ---- books -------------------------------------------------------------------------------------------------------

    async def _clock(self, request: web.Request) -> web.StreamResponse:
        paper = self.paper
        return _answer(Clock(VERSION, self._now_ns(), self.speed, paper.session, paper.is_open))

    async def _book(self, request: web.Request) -> web.StreamResponse:
        read: dict[str, Callable[[], Awaitable[Read[Any]]]] = {
            "orders": self.paper.orders,
            "trades": self.paper.trades,
            "positions": self.paper.positions,
            "funds": self.paper.funds,
        }
        return _answer(_known(await read[request.match_info["book"]]()))

    async def _books(self, request: web.Request) -> web.StreamResponse:
        # The paper broker answers without waiting for anything, so nothing comes between these four.
        paper = self.paper
        orders, trades = _known(await paper.orders()), _known(await paper.trades())
        positions, funds = _known(await paper.positions()), _known(await paper.funds())
        return _answer(Books(self.epoch, self.sequence, paper.session, paper.is_open, orders, trades, positions, funds))

    # ---- what an owner does ------------------------------------------------------------------------------------------

    async def _cash(self, request: web.Request) -> web.StreamResponse:
        for move in (await _body(request, CashMoves)).moves:
            self.paper.move_cash(amount=move.amount, sequence=move.sequence, cause=move.cause)
        return _answer(Done())

    async def _actions(self, request: web.Request) -> web.StreamResponse:
        wanted = [_action(said) for said in (await _body(request, Actions)).actions]
        for action in wanted:
            if not self.paper.knows(action) and self.paper.has_traded_since(action.ex_date):
                # Shares bought on the new basis cannot be told from those on the old one any more.
                return _refuse(409, f"{action.symbol}: {action.cause}: comes too late, that session has traded")
        for action in wanted:
            self.paper.apply_action(action)
        return _answer(Done())

    # ---- the stream --------------------------------------------------------------------------------------------------

    def _hear(self, reports: tuple[OrderReport, ...]) -> None:
        """Number what the paper broker says. It knows its own orders: what it calls unknown is for the other end to find."""
        told = tuple([report for report in reports if report.kind is not ReportKind.UNKNOWN])
        if told:
            self.sequence += 1
            self._log.append(News(self.sequence, told))
            self._changed.set()
            self._changed = asyncio.Event()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        after = request.query.get("after", "")
        position = int(after) if after.isascii() and after.isdigit() else -1
        resumed = request.query.get("epoch") == self.epoch and self._oldest() - 1 <= position <= self.sequence
        stream = web.WebSocketResponse(heartbeat=20.0 * self.speed, max_msg_size=STREAM_LIMIT)
        await stream.prepare(request)
        self._streams.add(stream)
        # Nobody writes to this stream but its client; reading is how its end is noticed.
        listening = asyncio.ensure_future(stream.receive())
        try:
            with suppress(ConnectionResetError):
                await self._tell(stream, position if resumed else self.sequence, resumed, listening)
        finally:
            listening.cancel()
            self._streams.discard(stream)
        return stream

    async def _tell(
        self, stream: web.WebSocketResponse, position: int, resumed: bool, listening: asyncio.Future[Any]
    ) -> None:
        await stream.send_bytes(encode(Hello(self.epoch, self.sequence, resumed)))
        while not listening.done():
            changed = self._changed
            if position + 1 < self._oldest():
                await stream.close(code=aiohttp.WSCloseCode.TRY_AGAIN_LATER, message=b"too slow; read the books")
                return
            for news in [known for known in self._log if known.sequence > position] if position < self.sequence else []:
                await stream.send_bytes(encode(news))
                position = news.sequence
            if position < self.sequence:
                continue
            waiting = asyncio.ensure_future(changed.wait())
            await asyncio.wait((waiting, listening), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()

    def _oldest(self) -> int:
        return self._log[0].sequence if self._log else self.sequence + 1

    async def _hang_up(self, application: web.Application) -> None:
        for stream in list(self._streams):
            await stream.close(code=aiohttp.WSCloseCode.GOING_AWAY)

    # ---- the door ----------------------------------------------------------------------------------------------------

    @web.middleware
    async def _guarded(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        host = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdigit() else request.host
        if host not in _HOSTS:
            return _refuse(403, f"host {request.host!r}: allowed: {', '.join(_HOSTS)}", placed=False)
        try:
            return await handler(request)
        except BadInput as error:
            return _refuse(400, str(error), placed=False)
        except _Unreadable as error:
            return _refuse(503, str(error))
        except OperatorError as error:
            # The books in memory are ahead of those on disk: whatever was asked, nobody may rely on it.
            self._failed(str(error))
            return _refuse(500, str(error))


class _Unreadable(Exception):
    """The paper broker was told not to answer (tests of unknown reads)."""


def _known(read: Read[T]) -> T:
    if isinstance(read, Known):
        return read.value
    raise _Unreadable(read.reason)


async def _body(request: web.Request, kind: type[T]) -> T:
    """Return the request's body. Raises BadInput for what is not the JSON that is wanted; nothing was done then."""
    if request.content_type != "application/json":
        raise BadInput(f"content type {request.content_type!r}: allowed: application/json")
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:  # also: not UTF-8, nested without end
        raise BadInput(f"body: {error}") from error


def _action(said: Action) -> CorporateAction:
    """Return the action that was said. Raises BadInput for what is none."""
    if said.kind not in list(ActionKind) or said.numerator <= 0 or said.denominator <= 0:
        raise BadInput(f"{said.symbol}: {said.kind} {said.numerator}/{said.denominator}: not a split or bonus issue")
    return CorporateAction(said.ex_date, said.symbol, ActionKind(said.kind), said.numerator, said.denominator)


def _answer(payload: Any) -> web.Response:
    return web.Response(body=encode(payload), content_type="application/json")


def _refuse(status: int, error: str, *, placed: bool | None = None) -> web.Response:
    return web.Response(status=status, body=encode(Refusal(error, placed)), content_type="application/json")


def _vanish(request: web.Request) -> web.Response:
    """Break the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
