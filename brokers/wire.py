"""The words between a broker process and its clients: JSON over HTTP, and a stream of reports over WebSocket. Version 1.

    GET    /v1/clock          Clock       whose market this is, what time it is there, whether it is open
    POST   /v1/orders         OrderRequest -> OrderAnswer; a tag that is known is answered, never placed again
    DELETE /v1/orders/{tag}   OrderAnswer; an order that has ended answers its end
    GET    /v1/orders  /v1/trades  /v1/positions  /v1/funds       today's books, one each
    GET    /v1/books          Books       all of them at one moment
    POST   /v1/cash           CashMoves -> Done; movements that are known by their sequence change nothing
    POST   /v1/actions        Actions -> Done; a corporate action that is known changes nothing
    GET    /v1/stream?epoch=E&after=N     WebSocket: Hello, then News; what came after N first, when E is this epoch

A refusal has a status of 4xx and a `Refusal`. Only its `placed: false` says that an order did not come to be; an answer
without these words, whatever its status, says nothing about that.
"""

from __future__ import annotations

from datetime import date
from typing import Final

import msgspec

from brokers.port import Funds, OrderReport, OrderSnapshot, Position, Trade
from market.errors import BadInput
from market.money import Paise
from risk.approval import Side

VERSION: Final = 1
BODY_LIMIT: Final = 2**20
STREAM_LIMIT: Final = 16 * 2**20
TAG_LIMIT: Final = 20


class Clock(msgspec.Struct, frozen=True):
    """The broker's clock and market. `speed` is 1 unless it trades on a played feed."""

    version: int
    now_ns: int
    speed: float
    session: date | None
    is_open: bool


class OrderRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order as it crosses the wire: whole shares, a limit in paise, good for the day."""

    tag: str
    symbol: str
    side: Side
    quantity: int
    limit: Paise


class OrderAnswer(msgspec.Struct, frozen=True):
    """What the book says of an order now. `detail` says why it was refused or ended, or that its tag was known."""

    order: OrderSnapshot
    detail: str = ""


class Refusal(msgspec.Struct, frozen=True):
    """A definite no. `placed` is False when it is certain that this request made no order."""

    error: str
    placed: bool | None = None


class CashMove(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cash paid in, or out (below zero). `sequence` grows from one movement to the next."""

    amount: Paise
    sequence: int
    cause: str


class CashMoves(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Movements in the order of their sequence."""

    moves: tuple[CashMove, ...]


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A split or bonus issue, as `market.corporate_actions` has it (not imported: a small client needs no tables)."""

    ex_date: date
    symbol: str
    kind: str
    numerator: int
    denominator: int


class Actions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Corporate actions, in the order of their ex dates."""

    actions: tuple[Action, ...]


class Done(msgspec.Struct, frozen=True):
    """It is in the books, and the books are on disk."""

    done: bool = True


class Books(msgspec.Struct, frozen=True):
    """Everything that the broker would say, at one moment. `sequence` is that of the last report on the stream."""

    epoch: str
    sequence: int
    session: date | None
    is_open: bool
    orders: tuple[OrderSnapshot, ...]
    trades: tuple[Trade, ...]
    positions: tuple[Position, ...]
    funds: Funds


class Hello(msgspec.Struct, tag="hello", frozen=True):
    """First word of a stream. `sequence` is that of the last report so far.

    An epoch is one life of the broker process. `resumed`: nothing was missed, what came after the number asked for follows.
    """

    epoch: str
    sequence: int
    resumed: bool


class News(msgspec.Struct, tag="news", frozen=True):
    """Reports that happened together, with the number of the batch."""

    sequence: int
    reports: tuple[OrderReport, ...]


encode: Final = msgspec.json.encode
decode_stream: Final = msgspec.json.Decoder(Hello | News).decode
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


def split_address(text: str) -> tuple[str, str | None]:
    """Return (base address, path of a Unix socket or None) of a broker's address.

    Raises BadInput for what is neither `http://127.0.0.1:PORT` nor `unix:PATH`: nothing else is on this machine alone.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or len(path.encode()) > 100:
            raise BadInput(f"--broker {text!r}: a socket's path has 1 to 100 bytes; use a shorter one, or a port")
        return "http://broker", path
    scheme, _, rest = text.partition("://")
    host, _, port = rest.rstrip("/").rpartition(":")
    if scheme != "http" or host not in _LOOPBACK or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise BadInput(f"--broker {text!r}: must be like http://127.0.0.1:8720 or unix:state/broker.sock")
    return f"http://{host}:{port}", None
