"""The reconciler: compares the broker's books with the ledger and turns differences into facts, or into a halt.

A read that is not complete proves nothing and changes nothing. What the books show and the stream did not tell (fills,
acknowledgements, ends) becomes `OrderReports` with source "reconcile", which fold like any others; then the account is
read again. Only when the books add nothing new are positions and cash compared. reconcile(reconcile(x)) = reconcile(x).

An order that we meant to send and the book does not show is UNKNOWN, not absent: books lag. It is never sent again.
(One that still waits here for its turn is neither.) Once its session is over and neither book nor trades have it, that
is evidence, and it expires.
"""

from __future__ import annotations

from typing import Final

from brokers.orders import OrderState
from brokers.port import OrderReport, OrderSnapshot, ReportKind
from daemon.bus import Bus, Envelope, Output
from daemon.effects import Alert, ReadAccount, SetTimer
from daemon.messages import AccountRead, Halted, OperatorCommand, OrderReports, Reconciled
from daemon.state import State

_ENDS: Final = {
    "cancelled": ReportKind.CANCELLED,
    "rejected": ReportKind.REJECTED,
    "expired": ReportKind.EXPIRED,
}
_RETRY_SECONDS: Final = 10
# Only a person's login can mend it, and brokers block who knocks too often; `POST /v1/reconcile` asks at once.
LOGIN_RETRY_SECONDS: Final = 300


class Reconciler:
    """Handles complete looks at the broker's books."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._suspected: list[str] = []

    def wire(self, bus: Bus) -> None:
        """Register the handler."""
        bus.handle(AccountRead, self.on_read)

    def on_read(self, message: AccountRead, envelope: Envelope) -> list[Output] | None:
        """Adopt what is news, then compare positions and cash."""
        if message.unknown or message.funds is None:
            outputs: list[Output] = [Reconciled(purpose=message.purpose, clean=False, detail=message.unknown)]
            retry = OperatorCommand(verb="reconcile", uid=-1, reason=message.purpose)
            seconds = LOGIN_RETRY_SECONDS if message.login_needed else _RETRY_SECONDS
            outputs.append(SetTimer("reconcile", envelope.at_ns + seconds * 10**9, retry))
            return outputs
        news = self._news(message)
        if news:
            return [OrderReports(reports=news, source="reconcile"), ReadAccount(message.purpose)]
        differences = self._differences(message)
        if differences and differences != self._suspected:
            # The books are read one after the other, and a fill may fall between: a difference is one that stays.
            self._suspected = differences
            return [ReadAccount(message.purpose)]
        self._suspected = []
        if differences:
            detail = "; ".join(differences)
            return [
                Reconciled(purpose=message.purpose, clean=False, detail=detail),
                Halted(cause="RECONCILE_DIFFERENCE", detail=detail),
                Alert("error", "reconcile.difference", detail),
            ]
        return [Reconciled(purpose=message.purpose, clean=True, detail=self._note(message))]

    # ---- what the books know and we do not ---------------------------------------------------------------------------

    def _news(self, message: AccountRead) -> tuple[OrderReport, ...]:
        orders = self.state.orders
        news: list[OrderReport] = []
        for trade in message.trades:
            order = orders.get(trade.tag)
            if order is not None and not order.has_trade(trade.trade_id):
                news.append(
                    OrderReport(
                        trade.tag,
                        trade.symbol,
                        trade.side,
                        ReportKind.FILL,
                        trade.broker_order_id,
                        trade.trade_id,
                        trade.quantity,
                        trade.price,
                        trade.at_ns,
                    )
                )
        listed = {snapshot.tag: snapshot for snapshot in message.orders}
        for order in self.state.live.values():
            snapshot = listed.get(order.tag)
            if snapshot is None:
                report = self._absent(order.tag, message)
            else:
                report = self._listed(order.tag, snapshot)
            if report is not None:
                news.append(report)
        return tuple(news)

    def _listed(self, tag: str, snapshot: OrderSnapshot) -> OrderReport | None:
        order = self.state.orders[tag]
        kind = _ENDS.get(snapshot.status)
        if kind is None and snapshot.status == "complete":
            return None  # its fills say so; until the trade book shows them, nothing is assumed
        if kind is None:
            known = order.state in (OrderState.INTENDED, OrderState.SENT, OrderState.UNKNOWN)
            kind = ReportKind.ACKNOWLEDGED if known else None
        if kind is None:
            return None
        detail = "found in the order book"
        return OrderReport(tag, order.symbol, order.side, kind, broker_order_id=snapshot.broker_order_id, detail=detail)

    def _absent(self, tag: str, message: AccountRead) -> OrderReport | None:
        order = self.state.orders[tag]
        if not self.state.session_open or tag in self.state.carried:
            return OrderReport(
                tag, order.symbol, order.side, ReportKind.EXPIRED, detail="its session is over and no book has it"
            )
        if tag not in message.not_left and order.state in (OrderState.INTENDED, OrderState.SENT):
            return OrderReport(
                tag, order.symbol, order.side, ReportKind.UNKNOWN, detail="on record here, not in the order book"
            )
        return None

    # ---- what must be equal ------------------------------------------------------------------------------------------

    def _differences(self, message: AccountRead) -> list[str]:
        state = self.state
        assert message.funds is not None
        unknown = {order.symbol for order in state.unknown_orders()}
        held = {symbol: quantity for symbol, quantity in state.account.quantities.items() if quantity}
        broker = {position.symbol: position.quantity for position in message.positions if position.quantity}
        found = [
            f"{symbol}: ledger {held.get(symbol, 0)}, broker {broker.get(symbol, 0)}"
            for symbol in sorted({*held, *broker} - unknown)
            if held.get(symbol, 0) != broker.get(symbol, 0)
        ]
        if not unknown and message.funds.cash != state.account.cash:
            found.append(f"cash: ledger {state.account.cash} paise, broker {message.funds.cash} paise")
        ours = state.orders.keys()
        foreign = [order.tag or order.broker_order_id for order in message.orders if order.tag not in ours]
        live = [order for order in message.orders if order.tag in foreign and order.status not in (*_ENDS, "complete")]
        found += [f"open order that is not ours: {order.symbol} {order.side} {order.quantity}" for order in live]
        return found

    def _note(self, message: AccountRead) -> str:
        unknown = len(self.state.unknown_orders())
        return f"{unknown} orders unknown" if unknown else ""
