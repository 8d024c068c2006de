"""Whose is it? Finds our orders in the broker's books: by our tag, or by the broker's id where books carry no tag.

A broker without tags shows an order whose answer was lost like anybody's order. One that has its symbol, side, quantity,
limit and time *looks like* ours: that explains it to a person. It is never adopted: the owner may have given the same one.
"""

from __future__ import annotations

from typing import Final

from brokers.orders import Order, OrderState
from brokers.port import ENDS, OVER, OrderReport, OrderSnapshot, ReportKind, Trade
from daemon.bus import Envelope
from daemon.evidence import Evidence
from daemon.messages import AccountRead
from daemon.state import State

# Fills and acknowledgements are on their way for so long: what differs meanwhile is not a difference yet.
GRACE_NS: Final = 30 * 10**9
# An order in the book may be ours when it was taken so soon after ours was intended (clocks may differ a little).
_ALIKE_AFTER_NS: Final = 120 * 10**9
_ALIKE_BEFORE_NS: Final = 5 * 10**9

_UNANSWERED: Final = frozenset({OrderState.INTENDED, OrderState.SENT, OrderState.UNKNOWN})


class Matching:
    """One complete look at order book and trades, matched with our orders."""

    def __init__(self, state: State, message: AccountRead, envelope: Envelope, *, by_tag: bool) -> None:
        self.state = state
        self.message = message
        self.envelope = envelope
        self.by_tag = by_tag
        self._by_id = {order.broker_order_id: order for order in state.orders.values() if order.broker_order_id}
        # When to look again for an order that is perhaps still on its way to the book; 0: there is none.
        self.look_again_ns = 0

    def owner(self, entry: OrderSnapshot | Trade) -> Order | None:
        """Return our order that an entry of the books belongs to."""
        if self.by_tag and entry.tag:
            return self.state.orders.get(entry.tag)
        order = self._by_id.get(entry.broker_order_id)
        same = order is not None and order.symbol == entry.symbol and order.side is entry.side
        return order if same else None

    def foreign_orders(self) -> list[OrderSnapshot]:
        """Return open orders that are not ours, and do not look like one of ours either."""
        return [
            entry
            for entry in self.message.orders
            if entry.status not in OVER and self.owner(entry) is None and not self.alike(entry)
        ]

    def foreign_trades(self) -> list[Trade]:
        """Return trades that are not ours and not in the ledger yet."""
        settled, account = self.state.evidence.settled_trades, self.state.account
        return [
            trade
            for trade in self.message.trades
            if self.owner(trade) is None and trade.trade_id not in settled and not account.knows_trade(trade.trade_id)
        ]

    def alike(self, entry: OrderSnapshot) -> list[Order]:
        """Return our unanswered orders that an order without our tag looks like."""
        if self.by_tag and entry.tag:
            return []
        terms = (entry.symbol, entry.side, entry.quantity, entry.limit)
        return [
            order
            for order in self.state.live.values()
            if order.state in _UNANSWERED
            and (order.symbol, order.side, order.quantity, order.limit) == terms
            and _in_time(entry.at_ns, self.state.evidence, order.tag)
        ]

    # ---- what the books know and we do not ---------------------------------------------------------------------------

    def news(self) -> tuple[OrderReport, ...]:
        """Return what the books show and the stream did not tell."""
        news = [_fill(order, trade) for trade in self.message.trades if (order := self._unheard(trade)) is not None]
        listed = {order.tag: entry for entry in self.message.orders if (order := self.owner(entry)) is not None}
        for order in self.state.live.values():
            entry = listed.get(order.tag)
            report = self._absent(order) if entry is None else _listed(order, entry)
            if report is not None:
                news.append(report)
        return tuple(news)

    def _unheard(self, trade: Trade) -> Order | None:
        order = self.owner(trade)
        return None if order is None or order.has_trade(trade.trade_id) else order

    def _absent(self, order: Order) -> OrderReport | None:
        state, tag = self.state, order.tag
        if not state.session_open or tag in state.carried:
            return _report(order, ReportKind.EXPIRED, "its session is over and no book has it")
        if tag in self.message.not_left or order.state not in (OrderState.INTENDED, OrderState.SENT):
            return None
        intent = state.evidence.intents.get(tag)
        if intent is not None and intent.seq > state.evidence.started_seq:
            if intent.seq > self.message.began_seq:
                return None  # it went on record while the books were being read
            until = intent.at_ns + GRACE_NS
            if self.envelope.at_ns < until:
                self.look_again_ns = max(self.look_again_ns, until)
                return None
        return _report(order, ReportKind.UNKNOWN, "on record here, not in the order book")


def _listed(order: Order, entry: OrderSnapshot) -> OrderReport | None:
    kind = ENDS.get(entry.status)
    if kind is None and (entry.status == "complete" or order.state not in _UNANSWERED):
        return None  # a complete one's fills say so; until the trade book shows them, nothing is assumed
    return _report(order, kind or ReportKind.ACKNOWLEDGED, "found in the order book", entry.broker_order_id)


def _report(order: Order, kind: ReportKind, detail: str, broker_order_id: str = "") -> OrderReport:
    return OrderReport(order.tag, order.symbol, order.side, kind, broker_order_id=broker_order_id, detail=detail)


def _fill(order: Order, trade: Trade) -> OrderReport:
    return OrderReport(
        order.tag,
        trade.symbol,
        trade.side,
        ReportKind.FILL,
        trade.broker_order_id,
        trade.trade_id,
        trade.quantity,
        trade.price,
        trade.at_ns,
    )


def _in_time(at_ns: int, evidence: Evidence, tag: str) -> bool:
    intent = evidence.intents.get(tag)
    if not at_ns or intent is None:
        return True
    return intent.at_ns - _ALIKE_BEFORE_NS <= at_ns <= intent.at_ns + _ALIKE_AFTER_NS
