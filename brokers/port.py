"""The Broker port: what the daemon asks of any broker, and the three-valued answers it gets.

Orders go out by `submit` and `cancel`, which start the work and return; what became of it arrives through the sink as
`OrderReport`s. Reads return `Known(value)` or `Unknown(reason)`: an unknown is never zero, flat or cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from market.money import Paise
from risk.approval import ApprovedOrder, Side

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Known(Generic[T]):
    """The broker said so. An empty collection inside is a fact, too."""

    value: T


@dataclass(frozen=True, slots=True)
class Unknown:
    """The broker did not say; `reason` is for the journal and the operator. `login_needed`: its session has expired."""

    reason: str
    login_needed: bool = False


Read = Known[T] | Unknown


class ReportKind(StrEnum):
    """What a report says about one order."""

    ACKNOWLEDGED = "acknowledged"  # the broker has it, under broker_order_id
    FILL = "fill"  # a trade; trade_id, quantity and price are set
    CANCELLED = "cancelled"  # terminal; fills before it stand
    REJECTED = "rejected"  # terminal, definitive refusal; detail says why
    EXPIRED = "expired"  # terminal: the day ended
    UNKNOWN = "unknown"  # sent, outcome not known; resolved by evidence only
    NOT_SENT = "not_sent"  # proved that nothing left this machine (for instance the stop latch)


class OrderReport(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One fact about one order, keyed by our tag. Fills carry the broker's trade id and are harmless when repeated."""

    tag: str
    symbol: str
    side: Side
    kind: ReportKind
    broker_order_id: str = ""
    trade_id: str = ""
    quantity: int = 0
    price: Paise = Paise(0)
    at_ns: int = 0
    detail: str = ""


class OrderSnapshot(msgspec.Struct, frozen=True, gc=False):
    """An order as the broker's book shows it."""

    broker_order_id: str
    tag: str
    symbol: str
    side: Side
    quantity: int
    filled: int
    limit: Paise
    status: str  # open, complete, cancelled, rejected; anything else counts as open
    at_ns: int = 0  # when the broker took it; 0 when it does not say


# What a status in the book says of an order that is over, besides its fills; and every status of one that is over.
ENDS: Final = {
    "cancelled": ReportKind.CANCELLED,
    "rejected": ReportKind.REJECTED,
    "expired": ReportKind.EXPIRED,
}
OVER: Final = frozenset({*ENDS, "complete"})


class Trade(msgspec.Struct, frozen=True, gc=False):
    """A trade of today as the broker's trade book shows it."""

    trade_id: str
    broker_order_id: str
    tag: str
    symbol: str
    side: Side
    quantity: int
    price: Paise
    at_ns: int


class Position(msgspec.Struct, frozen=True, gc=False):
    """Shares owned: settled (delivered) and unsettled (bought, not yet delivered)."""

    symbol: str
    settled: int
    unsettled: int

    @property
    def quantity(self) -> int:
        """All shares owned."""
        return self.settled + self.unsettled


class Funds(msgspec.Struct, frozen=True, gc=False):
    """Money at the broker: the ledger balance, and what may be spent on buys now (net of open buy orders)."""

    cash: Paise
    available: Paise


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a broker can do; chooses the strategy for unknown orders (docs/decisions/0006-reconciling.md).

    `lookup_by_tag`: orders and trades in its books carry our tag. Without, they are known by the broker's id alone, and an
    order whose answer was lost can be explained, never found. `tag_max_length`: the longest tag it keeps (0: it takes
    none); one that would cut ours is refused at start-up. `order_updates`: it tells of fills and ends by itself; without,
    its order book is read every few seconds while orders are open. `rejects_duplicate_tag`: an unknown order could be sent
    again without harm. Nothing does so: the next rebalance makes good what was missed, and no broker's promise is tested.
    """

    lookup_by_tag: bool
    rejects_duplicate_tag: bool
    tag_max_length: int
    order_updates: bool


Sink = Callable[[tuple[OrderReport, ...]], None]


class Broker(Protocol):
    """A broker session. Methods that place or cancel return at once and never raise for what the broker answers."""

    @property
    def name(self) -> str:
        """Name for logs and the journal."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What this broker can do."""
        ...

    def attach(self, sink: Sink) -> None:
        """Set where reports go. Reports are posted, never handled inside the call that caused them."""
        ...

    async def open(self) -> None:
        """Connect. Raises OperatorError when a person must log in, DependencyFailed when the broker cannot be reached."""
        ...

    async def close(self) -> None:
        """Disconnect; open orders stay at the broker."""
        ...

    def submit(self, orders: Sequence[ApprovedOrder]) -> None:
        """Send each order once, in order. An order that does not verify raises AssertionError: that is our bug."""
        ...

    def cancel(self, tags: Sequence[str]) -> None:
        """Ask to cancel open orders; the outcome is a report."""
        ...

    async def orders(self) -> Read[tuple[OrderSnapshot, ...]]:
        """Today's order book."""
        ...

    async def trades(self) -> Read[tuple[Trade, ...]]:
        """Today's trades."""
        ...

    async def positions(self) -> Read[tuple[Position, ...]]:
        """Holdings and today's purchases together; a symbol that is absent is held at zero."""
        ...

    async def funds(self) -> Read[Funds]:
        """Cash and what may be spent."""
        ...
