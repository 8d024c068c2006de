"""One order's life: what the broker's reports add up to, in whatever order and however often they come.

An order collects facts (acknowledged, a terminal answer, trades by id, a cancel that was asked for, an unknown outcome)
and its state is a function of these facts. So a repeated report changes nothing, a late one never moves the state
backwards, and any order of the same reports ends in the same position. UNKNOWN stands only while there is no evidence.

Fills are always counted, also after a cancel, a rejection or the end of the day: they are what happened.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b
from typing import Final

import msgspec

from brokers.port import Capabilities, OrderReport, ReportKind
from market.errors import BadInput
from market.money import Paise
from risk.approval import Side


class OrderState(StrEnum):
    """Where an order stands, as far as we know."""

    INTENDED = "intended"  # on record here, perhaps not sent yet
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCEL_REQUESTED = "cancel_requested"  # may still fill
    CANCELLED = "cancelled"
    REJECTED = "rejected"  # refused by the broker, or proved not to have left this machine
    EXPIRED = "expired"
    UNKNOWN = "unknown"  # sent, and nobody told what became of it


_S = OrderState

TAG_LENGTH: Final = 20

TERMINAL: Final = frozenset({_S.FILLED, _S.CANCELLED, _S.REJECTED, _S.EXPIRED})

# What may follow what. Every state may stay; a terminal state gives way only to FILLED, by late fills.
TRANSITIONS: Final[dict[OrderState, frozenset[OrderState]]] = {
    _S.INTENDED: TERMINAL | {_S.SENT, _S.ACKNOWLEDGED, _S.PARTIALLY_FILLED, _S.CANCEL_REQUESTED, _S.UNKNOWN},
    _S.SENT: TERMINAL | {_S.ACKNOWLEDGED, _S.PARTIALLY_FILLED, _S.CANCEL_REQUESTED, _S.UNKNOWN},
    _S.UNKNOWN: TERMINAL | {_S.ACKNOWLEDGED, _S.PARTIALLY_FILLED, _S.CANCEL_REQUESTED},
    _S.ACKNOWLEDGED: TERMINAL | {_S.PARTIALLY_FILLED, _S.CANCEL_REQUESTED},
    _S.PARTIALLY_FILLED: TERMINAL | {_S.CANCEL_REQUESTED},
    _S.CANCEL_REQUESTED: TERMINAL | {_S.UNKNOWN},
    _S.CANCELLED: frozenset({_S.FILLED}),
    _S.REJECTED: frozenset({_S.FILLED}),
    _S.EXPIRED: frozenset({_S.FILLED}),
    _S.FILLED: frozenset(),
}

_TERMINAL_OF: Final[dict[ReportKind, OrderState]] = {
    ReportKind.CANCELLED: _S.CANCELLED,
    ReportKind.REJECTED: _S.REJECTED,
    ReportKind.EXPIRED: _S.EXPIRED,
    ReportKind.NOT_SENT: _S.REJECTED,
}


class IllegalReport(AssertionError):
    """A report that cannot be about this order, or contradicts a proof of ours: a bug of this program, not news."""


class OrderChange(msgspec.Struct, frozen=True, gc=False):
    """What one report changed. `filled` are shares that were news, `ignored` says why nothing changed."""

    before: OrderState
    after: OrderState
    filled: int = 0
    ignored: str = ""


class Order:
    """One order and everything known about it. Mutable; owned by the dispatch task alone."""

    __slots__ = (
        "_acknowledged",
        "_cancel_requested",
        "_end",
        "_not_sent",
        "_sent",
        "_unknown",
        "broker_order_id",
        "detail",
        "filled",
        "fills",
        "limit",
        "plan_id",
        "quantity",
        "side",
        "state",
        "symbol",
        "tag",
        "value",
    )

    def __init__(self, tag: str, plan_id: str, symbol: str, side: Side, quantity: int, limit: Paise) -> None:
        self.tag = tag
        self.plan_id = plan_id
        self.symbol = symbol
        self.side = side
        self.quantity = quantity
        self.limit = limit
        self.state = OrderState.INTENDED
        self.broker_order_id = ""
        self.fills: dict[str, tuple[int, Paise]] = {}
        self.filled = 0
        self.value = 0
        self.detail = ""
        self._sent = False
        self._acknowledged = False
        self._unknown = False
        self._not_sent = False
        self._cancel_requested = False
        self._end: OrderState | None = None

    def __repr__(self) -> str:
        what = f"{self.side} {self.filled}/{self.quantity} {self.symbol} at {self.limit}"
        return f"Order({self.tag}, {what}, {self.state})"

    @property
    def remaining(self) -> int:
        """Shares that the order asked for and no fill has brought yet; zero when overfilled."""
        return max(0, self.quantity - self.filled)

    @property
    def overfilled(self) -> bool:
        """Return whether the broker reported more shares than were asked for: look now."""
        return self.filled > self.quantity

    @property
    def terminal(self) -> bool:
        """Return whether the broker will do nothing more (late fills may still be told)."""
        return self.state in TERMINAL

    @property
    def average_price(self) -> float | None:
        """Return the mean fill price in paise, None before the first fill."""
        return self.value / self.filled if self.filled else None

    def has_trade(self, trade_id: str) -> bool:
        """Return whether this trade is counted."""
        return trade_id in self.fills

    def mark_sent(self) -> OrderChange:
        """Record that the request was handed to the broker."""
        self._sent = True
        return self._settle(0, "")

    def request_cancel(self) -> OrderChange:
        """Record that a cancel was asked for; the order may still fill until the broker confirms."""
        self._cancel_requested = True
        return self._settle(0, "")

    def apply(self, report: OrderReport) -> OrderChange:
        """Take in one report and return what it changed.

        Raises IllegalReport when the report is about another order, carries a fill without trade id or without shares,
        or shows that an order which we proved not sent is at the broker.
        """
        if report.tag != self.tag or report.symbol != self.symbol or report.side is not self.side:
            raise IllegalReport(f"report {report.tag} {report.side} {report.symbol} is not about {self!r}")
        kind = report.kind
        if not self.broker_order_id:
            self.broker_order_id = report.broker_order_id
        if kind is ReportKind.FILL:
            return self._fill(report)
        if kind is ReportKind.ACKNOWLEDGED:
            if self._not_sent:
                raise IllegalReport(f"{self!r} was proved not sent, and the broker has it")
            repeated = self._acknowledged
            self._acknowledged = True
            return self._settle(0, "already acknowledged" if repeated else "")
        if kind is ReportKind.UNKNOWN:
            self._unknown = True
            return self._settle(0, "" if self._end is None and not self._acknowledged else "there is evidence already")
        if kind is ReportKind.NOT_SENT:
            if self._acknowledged or self.fills:
                raise IllegalReport(f"{self!r} is at the broker and cannot have been not sent")
            self._not_sent = True
        if self._end is not None:
            return self._settle(0, f"already {self._end}")
        self._end = _TERMINAL_OF[kind]
        self.detail = report.detail
        return self._settle(0, "")

    def _fill(self, report: OrderReport) -> OrderChange:
        trade_id, quantity, price = report.trade_id, report.quantity, report.price
        if not trade_id or quantity <= 0 or price <= 0:
            raise IllegalReport(f"fill {trade_id!r} of {quantity} at {price} for {self!r}")
        known = self.fills.get(trade_id)
        if known is not None:
            same = known == (quantity, price)
            reason = "trade already counted" if same else f"trade {trade_id} repeated with other terms"
            return OrderChange(self.state, self.state, 0, reason)
        self.fills[trade_id] = (quantity, price)
        self.filled += quantity
        self.value += quantity * price
        return self._settle(quantity, "")

    def _settle(self, filled: int, reason: str) -> OrderChange:
        """Derive the state from the facts and check the step against the table."""
        before = self.state
        after = self._derive()
        if after is before:
            return OrderChange(before, after, filled, reason if filled else reason or "no change")
        if after not in TRANSITIONS[before]:
            raise IllegalReport(f"{self!r} cannot become {after}")
        self.state = after
        return OrderChange(before, after, filled)

    def _derive(self) -> OrderState:
        if self.filled >= self.quantity:
            return OrderState.FILLED
        if self._end is not None:
            return self._end
        if self._acknowledged or self.filled:
            if self._cancel_requested:
                return OrderState.CANCEL_REQUESTED
            return OrderState.PARTIALLY_FILLED if self.filled else OrderState.ACKNOWLEDGED
        if self._unknown:
            return OrderState.UNKNOWN
        if self._cancel_requested:
            return OrderState.CANCEL_REQUESTED
        return OrderState.SENT if self._sent else OrderState.INTENDED


def check_tags(name: str, capabilities: Capabilities) -> None:
    """Raise BadInput for a broker that would cut our tags: an order could not be found under what is left of one."""
    longest = capabilities.tag_max_length
    takes_tags = longest > 0 or capabilities.lookup_by_tag
    if takes_tags and longest < TAG_LENGTH:
        raise BadInput(
            f"broker {name}: it keeps tags of {longest} characters, ours have {TAG_LENGTH}; it cannot be used"
        )


def order_tag(decision_id: str, symbol: str, side: Side, attempt: int) -> str:
    """Return the order's tag: 20 characters of [0-9a-f], the same for the same arguments on any machine.

    A crash and restart computes the same tag and finds its own order. 80 bits: with a million orders the chance of two
    with one tag is below 1e-12.
    """
    return blake2b(f"{decision_id}|{symbol}|{side}|{attempt}".encode(), digest_size=TAG_LENGTH // 2).hexdigest()
