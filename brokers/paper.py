"""The paper broker: a broker in this process that fills orders from market data, by a stated and pessimistic model.

It is driven by the composition: `start_session`, `on_open` (the opening print), `on_bars`, `end_session`. It keeps its
own book and account and, with a store, survives the daemon's death. What it assumes and what it cannot know is in
docs/decisions/0003-paper-fill-model.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Final, Protocol

from brokers.account import Account, Correction
from brokers.charges import ChargeRates, DeliveryCharges
from brokers.paper_market import BarMatch, FillModel, PaperMarket
from brokers.paper_store import VERSION, PaperOrder, PaperState, PaperStore
from brokers.port import (
    ENDS,
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
from market.bar import BarBatch
from market.corporate_actions import CorporateAction, on_new_basis
from market.errors import BadInput
from market.instrument import tick_size
from market.money import Paise, rupees
from risk.approval import ApprovedOrder, Side, is_approved

# Midnight UTC is 05:30 IST, when no market is open: the UTC date is enough to tell that a session is over.
_DAY_NS: Final = 86_400 * 10**9
_EPOCH: Final = date(1970, 1, 1)
__all__ = ["FillModel", "PaperBroker"]

_FILL: Final = ReportKind.FILL
# What the book shows; an order that expired with the day is listed as cancelled, as brokers do.
_LISTED: Final = {"expired": "cancelled"}


class Wanted(Protocol):
    """What the paper broker reads of an order: an approved one, or a request that came over the wire."""

    @property
    def tag(self) -> str:
        """The client's own name for it."""
        ...

    @property
    def symbol(self) -> str:
        """What to trade."""
        ...

    @property
    def side(self) -> Side:
        """Which way."""
        ...

    @property
    def quantity(self) -> int:
        """Whole shares."""
        ...

    @property
    def limit(self) -> Paise:
        """The worst price, in paise per share."""
        ...


class PaperBroker:
    """Implements `brokers.port.Broker`. Synchronous inside; one task calls it, and it calls back by the sink alone.

    `schedule(seconds, function)` is needed for a latency above zero (the loop's `call_later`). With a store that holds
    a state, that state is taken over and `opening_cash` is not used. Raises BadInput for bad arguments.
    """

    def __init__(
        self,
        *,
        symbols: Iterable[str],
        opening_cash: Paise,
        charges: DeliveryCharges,
        now_ns: Callable[[], int],
        model: FillModel | None = None,
        store: PaperStore | None = None,
        schedule: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        self.model = model or FillModel()
        if self.model.latency_seconds and schedule is None:
            raise BadInput("fill model: latency_seconds needs a scheduler")
        self.symbols = frozenset(symbols)
        self.account = Account(opening_cash, charges)
        self._charges = charges
        self._now_ns = now_ns
        self._store = store
        self._schedule = schedule
        self._sink: Sink | None = None
        self._unreadable = ""
        self._expired = False
        self._session: date | None = None
        self._is_open = False
        self._book: dict[str, PaperOrder] = {}
        self._resting: dict[str, PaperOrder] = {}
        self._trades: list[Trade] = []
        self._order_count = 0
        self._trade_count = 0
        self._market = PaperMarket()
        self._silenced: set[str] = set()
        self._actions: list[CorporateAction] = []
        self._cash_sequence = 0
        self.last_end_ns = 0  # end of the newest bars seen: where a feed goes on after a restart
        # Derived from the book and the session; rebuilt after a restart.
        self._blocked = 0
        self._selling: dict[str, int] = {}
        self._ticks: dict[str, int] = {}
        self._rates: ChargeRates | None = None
        self._prefix = ""
        saved = store.load() if store is not None else None
        if saved is not None:
            self._restore(saved)

    # ---- the port ----------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name for logs and the journal."""
        return "paper"

    @property
    def capabilities(self) -> Capabilities:
        """What this broker can do."""
        return Capabilities(lookup_by_tag=True, rejects_duplicate_tag=True, tag_max_length=20, order_updates=True)

    def attach(self, sink: Sink) -> None:
        """Set where reports go."""
        self._sink = sink

    async def open(self) -> None:
        """Connect; the paper broker is always there."""

    async def close(self) -> None:
        """Disconnect: no more reports; open orders stay, in the store when there is one."""
        self._sink = None
        if self._store is not None:
            self._store.close()
            self._store = None

    def submit(self, orders: Sequence[ApprovedOrder]) -> None:
        """Take each order once, in order; every answer of the batch is one call of the sink.

        A tag that is in today's book is not placed again: the answer says what became of the first. Raises
        AssertionError, before anything is placed, when an order was not approved.
        """
        for order in orders:
            if not is_approved(order):
                raise AssertionError(f"order {order.tag} was not approved by the gate")
        self.receive(orders)

    def receive(self, orders: Sequence[Wanted]) -> None:
        """Take orders as a broker does, who knows nothing of a client's gate.

        For the broker process alone, whose clients' adapters have looked at the seal; an architecture test holds that.
        """
        reports: list[OrderReport] = []
        at_ns = self._now_ns()
        loses = self.model.loses
        for order in orders:
            tag = order.tag
            if tag in self._book:
                reports.append(self._status_report(self._book[tag], at_ns, "duplicate tag: not placed again"))
                continue
            lost = loses(tag)
            if lost:
                self._silenced.add(tag)
                detail = "no answer to the order request"
                reports.append(
                    OrderReport(tag, order.symbol, order.side, ReportKind.UNKNOWN, at_ns=at_ns, detail=detail)
                )
                if lost == "request":
                    continue
            self._place(order, at_ns, reports)
        self._commit(reports)

    def cancel(self, tags: Sequence[str]) -> None:
        """Cancel what is open; an order that has ended reports its end again, a tag that never arrived nothing."""
        reports: list[OrderReport] = []
        at_ns = self._now_ns()
        for tag in tags:
            order = self._book.get(tag)
            if order is None or order.status == "complete":
                continue
            if order.status == "open":
                self._end(order, "cancelled", "cancelled on request")
            self._tell(reports, self._status_report(order, at_ns, order.detail))
        self._commit(reports)

    async def orders(self) -> Read[tuple[OrderSnapshot, ...]]:
        """Today's order book."""
        return Unknown(self._unreadable, self._expired) if self._unreadable else Known(self.order_book())

    async def trades(self) -> Read[tuple[Trade, ...]]:
        """Today's trades."""
        return Unknown(self._unreadable, self._expired) if self._unreadable else Known(self.trade_book())

    async def positions(self) -> Read[tuple[Position, ...]]:
        """Holdings and today's purchases."""
        return Unknown(self._unreadable, self._expired) if self._unreadable else Known(self.account.positions())

    async def funds(self) -> Read[Funds]:
        """Cash, and what may be spent net of open purchases."""
        return Unknown(self._unreadable, self._expired) if self._unreadable else Known(self.balance())

    # ---- its own books -----------------------------------------------------------------------------------------------

    def order_book(self) -> tuple[OrderSnapshot, ...]:
        """Return today's orders."""
        return tuple([_snapshot(order) for order in self._book.values()])

    def trade_book(self) -> tuple[Trade, ...]:
        """Return today's trades."""
        return tuple(self._trades)

    def balance(self) -> Funds:
        """Return cash, and what may be spent net of open purchases."""
        return Funds(self.account.cash, Paise(self.account.available - self._blocked))

    def heard_by(self, sink: Sink | None) -> Sink | None:
        """Send reports to another sink; return the one before."""
        before, self._sink = self._sink, sink
        return before

    @property
    def session(self) -> date | None:
        """The session whose books these are."""
        return self._session

    @property
    def is_open(self) -> bool:
        """Whether orders are taken."""
        return self._is_open

    def order(self, tag: str) -> tuple[OrderSnapshot, str] | None:
        """Return an order of today's book and what is to be said of it, None for a tag that is not in it."""
        order = self._book.get(tag)
        return None if order is None else (_snapshot(order), order.detail)

    def knows(self, action: CorporateAction) -> bool:
        """Return whether a corporate action is in the books."""
        return any(known.key == action.key for known in self._actions)

    def has_traded_since(self, day: date) -> bool:
        """Return whether bars of this day or a later one have been seen: prices are then on that day's basis."""
        return self._session is not None and self._session >= day and bool(self._market.volume)

    # ---- driven by the composition -----------------------------------------------------------------------------------

    def prime(self, *, closes: Mapping[str, float], volumes: Mapping[str, float]) -> None:
        """Tell the last session's closes (rupees) and volumes (shares), from which band and open capacity follow."""
        self._market.last.update(closes)
        self._market.volume.update(volumes)

    def start_session(self, session: date, *, elapsed: int = 1) -> None:
        """Open the market of a session: a new book, shares delivered. Repeating it (a restart) changes nothing.

        `elapsed` is the number of sessions since the one before (see `Account.start_session`).
        """
        if session != self._session:
            if self._resting:
                self.end_session()
            self.account.start_session(session, elapsed=elapsed)
            self._book.clear()
            self._trades.clear()
            self._silenced.clear()
            self._market.start_session()
            self._order_count = self._trade_count = 0
            self._set_session(session)
        self._is_open = True
        self._commit([])

    def on_open(self, prices: Mapping[str, float]) -> None:
        """Print the opening prices, in rupees: orders that come after it, before the first bar, trade at them.

        Together they take at most the participation in the previous session's volume; without a known volume there is
        no such cap.
        """
        self._market.print_open(prices)
        if not self._is_open:
            return
        reports: list[OrderReport] = []
        at_ns = self._now_ns()
        for order in list(self._resting.values()):
            self._match_open(order, at_ns, reports)
        self._commit(reports)

    def on_bars(self, batch: BarBatch) -> None:
        """Take in complete bars: match resting orders against them, then remember prices and volumes."""
        if self._actions:
            batch = on_new_basis(batch, self._actions)  # late bars of a session before an ex date
        reports: list[OrderReport] = []
        if self._resting and self._is_open and batch.session == self._session:
            at_ns = self._now_ns()
            match = BarMatch(batch, self.model, self._market)
            for order in list(self._resting.values()):
                quote = match.quote(order.symbol, order.side, order.limit, since_ns=order.at_ns)
                if quote is not None:
                    quantity = min(quote[0], order.quantity - order.filled)
                    match.take(order.symbol, self._fill(order, quantity, quote[1], at_ns, reports))
        self._market.remember(batch)
        if batch.end_ns > self.last_end_ns:
            self.last_end_ns = batch.end_ns
        self._commit(reports)

    def end_session(self) -> None:
        """Close the market: day orders that are open expire."""
        reports: list[OrderReport] = []
        at_ns = self._now_ns()
        for order in list(self._resting.values()):
            self._end(order, "expired", "the session ended")
            self._tell(reports, self._status_report(order, at_ns, order.detail))
        self._is_open = False
        self._commit(reports)

    def correct(self, *, delta: int, cause: str, symbol: str = "") -> Correction:
        """Change cash (paise) or a position (shares) for a stated cause: a dividend, a fraction of a share paid out."""
        correction = self.account.correct(delta=delta, cause=cause, symbol=symbol)
        self._commit([])
        return correction

    def apply_action(self, action: CorporateAction) -> Correction | None:
        """Apply a corporate action to the account and to what is remembered of the market; a known one changes nothing.

        It belongs before the start of its session. Orders live one day, so none is open then that it could touch; one that
        a missing end of the session before left open is ended here.
        """
        if self.knows(action):
            return None
        reports: list[OrderReport] = []
        at_ns = self._now_ns()
        for order in [order for order in self._resting.values() if order.symbol == action.symbol]:
            self._end(order, "expired", f"ended by {action.cause}")
            self._tell(reports, self._status_report(order, at_ns, order.detail))
        correction = self.account.apply_action(action.symbol, action.numerator, action.denominator, cause=action.cause)
        self._market.apply_action(action.symbol, float(action.factor))
        self._ticks.pop(action.symbol, None)
        self._actions.append(action)
        self._commit(reports)
        return correction

    def move_cash(self, *, amount: Paise, sequence: int, cause: str) -> None:
        """Pay in (or out, below zero). Movements come in the order of their record's sequence; a known one changes nothing."""
        if sequence <= self._cash_sequence:
            return
        self.account.correct(delta=amount, cause=cause)
        self._cash_sequence = sequence
        self._commit([])

    def last_price(self, symbol: str) -> float | None:
        """Return the last price of a symbol that the market has seen, in rupees."""
        return self._market.last.get(symbol)

    def trade_by_hand(self, symbol: str, side: Side, quantity: int, price: Paise) -> str:
        """Let the owner trade in the broker's own app, at a price: no tag of ours, and no report. Returns the trade's id.

        Raises BadInput when the shares or the cash are not there.
        """
        order = self._by_hand(symbol, side, quantity, price)
        free = self.account.quantity(symbol) - self._selling.get(symbol, 0)
        if side is Side.SELL and quantity > free:
            raise BadInput(f"paper broker: {quantity} shares to sell by hand, {free} owned and free")
        if side is Side.BUY and quantity * price * 102 // 100 > self.account.available - self._blocked:
            raise BadInput(f"paper broker: {quantity} shares at {price} paise by hand, {self.balance().available} free")
        self._book[order.key] = order
        self._rest(order)
        self._fill(order, quantity, price, order.at_ns, [])
        self._commit([])
        return self._trades[-1].trade_id

    def order_by_hand(self, symbol: str, side: Side, quantity: int, limit: Paise) -> str:
        """Let the owner leave an order in the book; the market fills it like any other. Returns the broker's id."""
        order = self._by_hand(symbol, side, quantity, limit)
        self._book[order.key] = order
        refusal = self._refusal(order)
        if refusal:
            raise BadInput(f"paper broker: {refusal}")
        self._rest(order)
        self._commit([])
        return order.broker_order_id

    def withdraw_by_hand(self, broker_order_id: str) -> None:
        """Let the owner cancel an order that was given by hand."""
        self._end(self._resting[broker_order_id], "cancelled", "cancelled by hand")
        self._commit([])

    def _by_hand(self, symbol: str, side: Side, quantity: int, limit: Paise) -> PaperOrder:
        self._order_count += 1
        return PaperOrder("", f"H{self._prefix}{self._order_count:06d}", symbol, side, quantity, limit, self._now_ns())

    def fail_reads(self, reason: str, *, login_needed: bool = False) -> None:
        """Answer every read with Unknown(reason) from now on; an empty reason ends it. For tests."""
        self._unreadable, self._expired = reason, login_needed

    # ---- taking orders -----------------------------------------------------------------------------------------------

    def _place(self, wanted: Wanted, at_ns: int, reports: list[OrderReport]) -> None:
        self._order_count += 1
        tag, symbol, side, quantity, limit = wanted.tag, wanted.symbol, wanted.side, wanted.quantity, wanted.limit
        order = PaperOrder(tag, f"P{self._prefix}{self._order_count:06d}", symbol, side, quantity, limit, at_ns)
        self._book[tag] = order
        refusal = self._refusal(order)
        if refusal:
            order.status, order.detail = "rejected", refusal
            self._tell(reports, self._status_report(order, at_ns, refusal))
            return
        self._rest(order)
        if self._market.opens:
            self._match_open(order, at_ns, reports)
        if not order.filled:
            # A fill names the broker's order, so it says all that an acknowledgement in the same batch would say.
            acknowledged = OrderReport(
                tag, symbol, side, ReportKind.ACKNOWLEDGED, order.broker_order_id, "", 0, Paise(0), at_ns
            )
            self._tell(reports, acknowledged)

    def _rest(self, order: PaperOrder) -> None:
        if order.side is Side.BUY:
            self._blocked += order.blocked
        else:
            self._selling[order.symbol] = self._selling.get(order.symbol, 0) + order.quantity
        self._resting[order.key] = order

    def _refusal(self, order: PaperOrder) -> str:
        """Return why an order cannot be taken, or "". Sets what a purchase blocks."""
        symbol, limit, quantity = order.symbol, order.limit, order.quantity
        if symbol not in self.symbols:
            return f"unknown symbol {symbol}"
        if not self._is_open or self._session is None or self._rates is None:
            return "market closed"
        if quantity <= 0 or limit <= 0:
            return f"quantity {quantity} or price {limit} is not positive"
        close = self._market.previous_close.get(symbol)
        tick = self._ticks.get(symbol)
        if tick is None:
            tick = self._ticks[symbol] = tick_size(limit if close is None else rupees(close), self._session)
        # The exchange's class of a share lags its price: the finer of the two steps is accepted.
        if limit % tick and limit % min(tick, tick_size(limit, self._session)):
            return f"price {limit} paise is off the tick of {tick}"
        if close is not None and abs(limit - close * 100.0) > self.model.band * close * 100.0 + 1e-6:
            return f"price {limit} paise is outside the band of {self.model.band:.0%} around {close:.2f}"
        if order.side is Side.SELL:
            free = self.account.quantities.get(symbol, 0) - self._selling.get(symbol, 0)
            return "" if quantity <= free else f"{quantity} shares to sell, {max(free, 0)} owned and free"
        value = Paise(quantity * limit)
        blocked = value + self._rates.total(Side.BUY, value, False)
        free = self.account.available - self._blocked
        if blocked > free:
            return f"needs {blocked} paise with charges, {free} available"
        order.blocked = blocked
        return ""

    # ---- filling -----------------------------------------------------------------------------------------------------

    def _match_open(self, order: PaperOrder, at_ns: int, reports: list[OrderReport]) -> None:
        symbol, market = order.symbol, self._market
        opened = market.opens.get(symbol)
        if opened is None:
            return
        price = self.model.open_price(order.side, order.limit, rupees(opened))
        if price is None:
            return
        quantity = order.quantity - order.filled
        room = market.room_at_open(symbol, self.model.participation)
        if room is not None and room < quantity:
            quantity = room
        if quantity:
            filled = self._fill(order, quantity, price, at_ns, reports)
            market.filled_at_open[symbol] = market.filled_at_open.get(symbol, 0) + filled

    def _fill(self, order: PaperOrder, quantity: int, price: Paise, at_ns: int, reports: list[OrderReport]) -> int:
        """Trade, book and report; returns the shares traded."""
        symbol, side, tag = order.symbol, order.side, order.tag
        rates, session = self._rates, self._session
        assert rates is not None and session is not None
        if side is Side.BUY:
            # Charges are rounded per trade: many partial fills at the limit can cost a paisa more than was blocked.
            while quantity and quantity * price * 101 // 100 + 100 > self.account.cash:
                value = Paise(quantity * price)
                if value + rates.total(side, value, False) <= self.account.cash:
                    break
                quantity -= 1
            if not quantity:
                return 0
        self._trade_count += 1
        trade_id = f"T{self._prefix}{self._trade_count:06d}"
        order.filled += quantity
        self.account.apply_fill(
            symbol=symbol, side=side, quantity=quantity, price=price, session=session, trade_id=trade_id
        )
        self._trades.append(Trade(trade_id, order.broker_order_id, tag, symbol, side, quantity, price, at_ns))
        remaining = order.quantity - order.filled
        if side is Side.BUY:
            value = Paise(remaining * order.limit)
            blocked = value + rates.total(side, value, False) if remaining else 0
            self._blocked += blocked - order.blocked
            order.blocked = blocked
        else:
            self._selling[symbol] -= quantity
        if not remaining:
            order.status = "complete"
            del self._resting[order.key]
        report = OrderReport(tag, symbol, side, _FILL, order.broker_order_id, trade_id, quantity, price, at_ns)
        self._tell(reports, report)
        return quantity

    def _end(self, order: PaperOrder, status: str, detail: str) -> None:
        order.status, order.detail = status, detail
        del self._resting[order.key]
        if order.side is Side.BUY:
            self._blocked -= order.blocked
            order.blocked = 0
        else:
            self._selling[order.symbol] -= order.quantity - order.filled

    # ---- telling -----------------------------------------------------------------------------------------------------

    def _status_report(self, order: PaperOrder, at_ns: int, detail: str) -> OrderReport:
        kind = ENDS.get(order.status, ReportKind.ACKNOWLEDGED)
        return OrderReport(order.tag, order.symbol, order.side, kind, order.broker_order_id, at_ns=at_ns, detail=detail)

    def _tell(self, reports: list[OrderReport], report: OrderReport) -> None:
        """Add a report, unless the answers to this order are lost (then only reads show the truth) or it is not ours."""
        if report.tag and (not self._silenced or report.tag not in self._silenced):
            reports.append(report)

    def _commit(self, reports: list[OrderReport]) -> None:
        """Save, then report: what the daemon hears is on disk."""
        if self._store is not None:
            self._store.save(self._state())
        if not reports:
            return
        batch = tuple(reports)
        if self.model.latency_seconds:
            assert self._schedule is not None
            self._schedule(self.model.latency_seconds, lambda: self._deliver(batch))
        else:
            self._deliver(batch)

    def _deliver(self, batch: tuple[OrderReport, ...]) -> None:
        if self._sink is not None:
            self._sink(batch)

    # ---- durable state -----------------------------------------------------------------------------------------------

    def _set_session(self, session: date) -> None:
        self._session = session
        self._rates = self._charges.on(session)
        self._prefix = session.isoformat().replace("-", "")
        self._ticks.clear()

    def _state(self) -> PaperState:
        return PaperState(
            VERSION,
            self.account.to_state(),
            self._session,
            self._is_open,
            list(self._book.values()),
            self._trades,
            self._order_count,
            self._trade_count,
            self._market,
            sorted(self._silenced),
            self._actions,
            self._cash_sequence,
            self.last_end_ns,
        )

    def _restore(self, state: PaperState) -> None:
        self.account = Account.from_state(state.account, self._charges)
        self._is_open = state.is_open
        self._book = {order.key: order for order in state.orders}
        self._resting = {order.key: order for order in state.orders if order.status == "open"}
        self._trades = state.trades
        self._order_count, self._trade_count = state.order_count, state.trade_count
        self._market = state.market
        self._silenced = set(state.silenced)
        self._actions, self._cash_sequence = state.actions, state.cash_sequence
        self.last_end_ns = state.last_end_ns
        for order in self._resting.values():
            self._blocked += order.blocked
            if order.side is Side.SELL:
                self._selling[order.symbol] = self._selling.get(order.symbol, 0) + order.quantity - order.filled
        if state.session is not None:
            self._set_session(state.session)
            if self._now_ns() // _DAY_NS > (state.session - _EPOCH).days:
                # The day ended while nobody was here: its orders are over, and the book says so to whoever reads it.
                for order in list(self._resting.values()):
                    self._end(order, "expired", "the session ended")
                self._is_open = False


def _snapshot(order: PaperOrder) -> OrderSnapshot:
    return OrderSnapshot(
        order.broker_order_id,
        order.tag,
        order.symbol,
        order.side,
        order.quantity,
        order.filled,
        order.limit,
        _LISTED.get(order.status, order.status),
        order.at_ns,
    )
