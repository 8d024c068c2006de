"""Live feed over WebSocket: bars as they complete, a backlog after a reconnect, and the feed's clock.

Protocol (JSON text frames, one object each; version 1):

    client  {"type": "subscribe", "symbols": [...], "after_ns": N}     bars that ended after N come first, oldest first
    server  {"type": "hello", "version": 1, "now_ns": N, "speed": S}
    server  {"type": "bars", "batch": {...market.bar.BarBatch...}}
    server  {"type": "end"}                                            the recording is over (a played feed only)

`GET /clock` answers the hello alone, so that a daemon can run its loop at a played feed's pace before it connects.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

import aiohttp
import msgspec
from aiohttp import web

from market.bar import BarBatch
from market.errors import DependencyFailed

VERSION: Final = 1
_RECONNECT: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Subscribe(msgspec.Struct, tag="subscribe", frozen=True):
    """What the client wants."""

    symbols: tuple[str, ...]
    after_ns: int = 0


class Hello(msgspec.Struct, tag="hello", frozen=True):
    """The feed's clock. `speed` is 1 for a live feed."""

    version: int
    now_ns: int
    speed: float


class Bars(msgspec.Struct, tag="bars", frozen=True):
    """One batch."""

    batch: BarBatch


class End(msgspec.Struct, tag="end", frozen=True):
    """A played feed is over."""

    reason: Literal["over"] = "over"


_SERVER: Final = msgspec.json.Decoder(Hello | Bars | End)
_CLIENT: Final = msgspec.json.Decoder(Subscribe)
_encode: Final = msgspec.json.encode


async def read_clock(url: str, *, timeout: float = 5.0) -> Hello:
    """Return a feed's clock. Raises DependencyFailed when it does not answer as specified."""
    address = url.rstrip("/") + "/clock"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout)) as session,
            session.get(address) as answer,
        ):
            hello = _SERVER.decode(await answer.read())
    except aiohttp.ClientConnectorError as error:
        raise DependencyFailed(f"feed {address}: nobody answers there ({error.strerror})") from error
    except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
        raise DependencyFailed(f"feed {address}: {type(error).__name__}: {error}") from error
    if not isinstance(hello, Hello) or hello.version != VERSION:
        raise DependencyFailed(f"feed {address}: speaks another version than {VERSION}")
    return hello


@dataclass(slots=True)
class FeedClient:
    """Connects, subscribes, reconnects with back-off, and hands over each batch once, in order."""

    url: str
    symbols: tuple[str, ...]
    after_ns: int
    # Returns False for a batch that was refused whole: it does not move the position that is resumed from.
    on_batch: Callable[[BarBatch], bool | None]
    on_state: Callable[[str, str], None] = lambda state, detail: None
    # Seconds between pings; None for a played feed, whose seconds may be milliseconds.
    heartbeat: float | None = None
    ended: bool = False

    async def run(self) -> None:
        """Deliver until the feed says that it is over, or this task is cancelled."""
        attempt = 0
        while True:
            try:
                async for batch in self._connected():
                    attempt = 0
                    if batch.end_ns > self.after_ns and self.on_batch(batch) is not False:
                        self.after_ns = batch.end_ns
                reason = "the connection closed"
            except (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError) as error:
                reason = f"{type(error).__name__}: {error}"
            if self._is_over():
                return
            delay = _RECONNECT[min(attempt, len(_RECONNECT) - 1)]
            attempt += 1
            self.on_state("lost", f"{reason}; again in {delay:g} s")
            await asyncio.sleep(delay)

    def _is_over(self) -> bool:
        return self.ended

    async def _connected(self) -> AsyncIterator[BarBatch]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.ws_connect(
                self.url.rstrip("/") + "/feed", heartbeat=self.heartbeat, max_msg_size=16 * 2**20
            ) as socket,
        ):
            await socket.send_bytes(_encode(Subscribe(self.symbols, self.after_ns)))
            self.on_state("connected", self.url)
            async for frame in socket:
                if frame.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    continue
                message = _SERVER.decode(frame.data)
                if isinstance(message, Bars):
                    yield message.batch
                elif isinstance(message, End):
                    self.ended = True
                    return


class FeedServer:
    """Plays recorded batches in protocol time, `speed` times as fast. Serves any number of clients on loopback.

    With `hold` the clock stands at `start_ns` until the first client asks for it.
    """

    def __init__(
        self,
        batches: Sequence[BarBatch],
        *,
        start_ns: int,
        speed: float,
        now: Callable[[], float],
        hold: bool = False,
    ) -> None:
        self.batches = batches
        self.start_ns = start_ns
        self.speed = speed
        self._now = now
        self._began: float | None = None if hold else now()
        self._runner: web.AppRunner | None = None

    def now_ns(self) -> int:
        """Return the played time."""
        if self._began is None:
            self._began = self._now()
        return self.start_ns + int((self._now() - self._began) * self.speed * 1e9)

    def _hello(self) -> bytes:
        return _encode(Hello(VERSION, self.now_ns(), self.speed))

    async def start(self, host: str, port: int) -> int:
        """Serve; returns the port (0 asks for a free one)."""
        application = web.Application()
        application.router.add_get("/clock", self._clock)
        application.router.add_get("/feed", self._feed)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        addresses = self._runner.addresses
        return int(addresses[0][1])

    async def close(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _clock(self, request: web.Request) -> web.Response:
        return web.Response(body=self._hello(), content_type="application/json")

    async def _feed(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        # A client that leaves in the middle is its own business: it reconnects and says what it has.
        with suppress(ConnectionResetError):
            await self._play(socket)
        return socket

    async def _play(self, socket: web.WebSocketResponse) -> None:
        frame = await socket.receive()
        if frame.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            return
        try:
            wanted = _CLIENT.decode(frame.data)
        except msgspec.DecodeError as error:
            await socket.close(code=aiohttp.WSCloseCode.INVALID_TEXT, message=str(error).encode()[:100])
            return
        await socket.send_bytes(self._hello())
        for batch in self.batches:
            if batch.end_ns <= wanted.after_ns:
                continue
            wait = (batch.end_ns - self.now_ns()) / 1e9 / self.speed
            if wait > 0:
                await asyncio.sleep(wait)
            if socket.closed:
                return
            await socket.send_bytes(_encode(Bars(batch)))
        await socket.send_bytes(_encode(End()))
        await socket.close()
