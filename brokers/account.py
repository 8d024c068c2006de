"""The account: cash, shares and what they cost, as a fold of fills, charges and explicit corrections.

It records what happened, also when that should not have happened: a sale of shares that are not there gives a negative
position, a purchase without funds negative cash. Both are shown by `anomalies`, never hidden or refused.

Settlement: shares are delivered one session after the trade since 27 January 2023, two before (market rules 4.2).
Proceeds of delivered shares may be spent the same day; proceeds of shares that are not delivered yet (BTST) from the
next session on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Final

import msgspec

from brokers.charges import ChargeRates, DeliveryCharges
from brokers.port import Position
from market.errors import BadInput
from market.money import ZERO, Paise
from risk.approval import Side

# Sessions from trade to delivery, by trade date.
SETTLEMENT: Final[tuple[tuple[date, int], ...]] = ((date(2003, 4, 1), 2), (date(2023, 1, 27), 1))

# Sessions whose trade ids and first sales are remembered: today's, and the one before it for late news.
_REMEMBERED: Final = 2


def settlement_sessions(session: date) -> int:
    """Return the number of sessions from a trade on this date to its delivery."""
    sessions = SETTLEMENT[0][1]
    for start, changed in SETTLEMENT:
        if session >= start:
            sessions = changed
    return sessions


class AnomalyKind(StrEnum):
    """What should not be."""

    OVERSOLD = "oversold"  # more shares sold than owned
    NEGATIVE_CASH = "negative_cash"


class Anomaly(msgspec.Struct, frozen=True):
    """What should not be; `amount` in shares or paise, below zero. `symbol` is empty for cash."""

    kind: AnomalyKind
    symbol: str
    amount: int


class Correction(msgspec.Struct, frozen=True):
    """An explicit change that no fill explains. `symbol` is empty for cash (paise), else shares."""

    symbol: str
    delta: int
    cause: str
    session: date | None


class Lot(msgspec.Struct):
    """Shares on their way: delivered when the account's session count reaches `due`."""

    due: int
    quantity: int


class Holding(msgspec.Struct):
    """Shares of one symbol. `cost` is what the shares held were bought for, in paise, without charges."""

    settled: int = 0
    lots: list[Lot] = []  # msgspec copies an empty list default
    cost: int = 0


class Day(msgspec.Struct):
    """What is remembered of one session to count each trade once and the depository charge once per symbol."""

    session: date
    trade_ids: set[str]
    sold: set[str]


class AccountState(msgspec.Struct):
    """Everything an account is, as JSON-able data."""

    opening_cash: Paise
    cash: Paise
    unsettled_proceeds: Paise
    session: date | None
    session_count: int
    quantities: dict[str, int]
    holdings: dict[str, Holding]
    days: list[Day]
    charges_paid: Paise
    traded: Paise
    realised: Paise
    fills: int
    corrections: list[Correction]


class Account:
    """Cash in paise and whole shares. `quantities` holds every symbol ever traded; read it, do not write to it."""

    __slots__ = (
        "_count",
        "_days",
        "_holdings",
        "_lot_sessions",
        "_rates",
        "_settling",
        "_sold",
        "_table",
        "_trade_ids",
        "cash",
        "changes",
        "charges_paid",
        "corrections",
        "fills",
        "opening_cash",
        "quantities",
        "realised",
        "session",
        "traded",
        "unsettled_proceeds",
    )

    def __init__(self, opening_cash: Paise, charges: DeliveryCharges) -> None:
        self.opening_cash = opening_cash
        self.cash = opening_cash
        self.unsettled_proceeds = ZERO
        self.session: date | None = None
        self.quantities: dict[str, int] = {}
        self.charges_paid = ZERO
        self.traded = ZERO
        self.realised = ZERO
        self.fills = 0
        self.changes = 0  # grows with whatever changes cash or shares; tells whether a value of before still holds
        self.corrections: list[Correction] = []
        self._table = charges
        self._count = 0
        self._holdings: dict[str, Holding] = {}
        self._settling: set[str] = set()
        self._days: list[Day] = []
        self._trade_ids: set[str] = set()
        self._sold: set[str] = set()
        self._rates: ChargeRates | None = None
        self._lot_sessions = 1

    # ---- reading -----------------------------------------------------------------------------------------------------

    @property
    def available(self) -> Paise:
        """Return what may be spent on purchases now: cash less proceeds that settle later. May be negative."""
        return Paise(self.cash - self.unsettled_proceeds)

    def quantity(self, symbol: str) -> int:
        """Return the shares owned, delivered or not."""
        return self.quantities.get(symbol, 0)

    def positions(self) -> tuple[Position, ...]:
        """Return what is held, by symbol; symbols held at zero are absent."""
        found = []
        for symbol in sorted(self._holdings):
            quantity = self.quantities[symbol]
            holding = self._holdings[symbol]
            if quantity or holding.lots:
                found.append(Position(symbol, holding.settled, quantity - holding.settled))
        return tuple(found)

    def average_cost(self, symbol: str) -> float | None:
        """Return what a held share was bought for on average, in paise without charges; None when none is held."""
        quantity = self.quantities.get(symbol, 0)
        return self._holdings[symbol].cost / quantity if quantity > 0 else None

    def equity(self, prices: Mapping[str, Paise]) -> Paise:
        """Return cash plus holdings at `prices`. Raises BadInput for a held symbol without a price."""
        total: int = self.cash
        for symbol, quantity in self.quantities.items():
            if quantity:
                price = prices.get(symbol)
                if price is None:
                    raise BadInput(f"account: {quantity} shares of {symbol} are held and have no price")
                total += quantity * price
        return Paise(total)

    def anomalies(self) -> tuple[Anomaly, ...]:
        """Return what should not be: shares or cash below zero."""
        found = [
            Anomaly(AnomalyKind.OVERSOLD, symbol, quantity)
            for symbol, quantity in sorted(self.quantities.items())
            if quantity < 0
        ]
        if self.cash < 0:
            found.append(Anomaly(AnomalyKind.NEGATIVE_CASH, "", self.cash))
        return tuple(found)

    # ---- what happens ------------------------------------------------------------------------------------------------

    def start_session(self, session: date, *, elapsed: int = 1) -> None:
        """Begin a session: deliver what is due, free yesterday's proceeds, forget old trade ids. Repeating is harmless.

        `elapsed` is the number of sessions since the one before; with the default 1, sessions in which the account was
        not run deliver later than in truth, never earlier. Raises BadInput when time runs backwards.
        """
        if session == self.session:
            return
        if self.session is not None and session < self.session:
            raise BadInput(f"account: session {session} is before {self.session}, which has begun")
        if elapsed < 1:
            raise BadInput(f"account: {elapsed} sessions elapsed, allowed: 1 or more")
        self._rates = self._table.on(session)
        self.session = session
        self._count += elapsed
        self._lot_sessions = settlement_sessions(session)
        self.unsettled_proceeds = ZERO
        day = Day(session, set(), set())
        self._days.append(day)
        del self._days[:-_REMEMBERED]
        self._trade_ids, self._sold = day.trade_ids, day.sold
        if self._settling:
            self._deliver()

    def _deliver(self) -> None:
        for symbol in list(self._settling):
            holding = self._holdings[symbol]
            # Lots come due in the order in which they were bought: the cycle was never cut by more than a session.
            lots = holding.lots
            while lots and lots[0].due <= self._count:
                holding.settled += lots.pop(0).quantity
            if not lots:
                self._settling.discard(symbol)

    def apply_fill(
        self, *, symbol: str, side: Side, quantity: int, price: Paise, session: date, trade_id: str
    ) -> Paise:
        """Book one trade and return its charges; a trade id that is known in its session changes nothing.

        A trade of a session that has not begun begins it. A late one of the session before is booked with that
        session's rates and ids (delivery counts from today: never earlier than in truth). Raises BadInput for
        no shares, no price, no trade id, or an older session.
        """
        if quantity <= 0 or price <= 0 or not trade_id:
            raise BadInput(f"account: fill {trade_id!r} of {quantity} {symbol} at {price} paise is not a trade")
        if session == self.session:
            trade_ids, sold, rates = self._trade_ids, self._sold, self._rates
        else:
            trade_ids, sold, rates = self._other_day(session)
        if trade_id in trade_ids:
            return ZERO
        trade_ids.add(trade_id)
        holding = self._holdings.get(symbol)
        if holding is None:
            holding = self._holdings[symbol] = Holding()
            self.quantities[symbol] = 0
        value = Paise(quantity * price)
        assert rates is not None
        if side is Side.BUY:
            charges = rates.total(side, value, False)
            self._buy(symbol, holding, quantity, value)
            self.cash = Paise(self.cash - value - charges)
        else:
            first = symbol not in sold
            if first:
                sold.add(symbol)
            charges = rates.total(side, value, first)
            self._sell(symbol, holding, quantity, price)
            self.cash = Paise(self.cash + value - charges)
        self.charges_paid = Paise(self.charges_paid + charges)
        self.traded = Paise(self.traded + value)
        self.fills += 1
        self.changes += 1
        return charges

    def _other_day(self, session: date) -> tuple[set[str], set[str], ChargeRates]:
        if self.session is None or session > self.session:
            self.start_session(session)
        for day in self._days:
            if day.session == session:
                return day.trade_ids, day.sold, self._table.on(session)
        raise BadInput(f"account: a fill of {session} is too late, allowed: {self._days[0].session} or after")

    def _buy(self, symbol: str, holding: Holding, quantity: int, value: Paise) -> None:
        held = self.quantities[symbol]
        self.quantities[symbol] = held + quantity
        if held < 0 or holding.settled < 0:
            # Shares that were sold without being there are replaced first; only what is left is held, and has a cost.
            covered = min(quantity, -holding.settled)
            holding.settled += covered
            value = Paise(value - value * covered // quantity)
            quantity -= covered
            if not quantity:
                return
        holding.cost += value
        due = self._count + self._lot_sessions
        lots = holding.lots
        if lots and lots[-1].due == due:
            lots[-1].quantity += quantity
        else:
            lots.append(Lot(due, quantity))
            self._settling.add(symbol)

    def _sell(self, symbol: str, holding: Holding, quantity: int, price: Paise) -> None:
        held = self.quantities[symbol]
        self.quantities[symbol] = held - quantity
        owned = min(quantity, max(held, 0))
        if owned:
            cost = (2 * holding.cost * owned + held) // (2 * held)
            holding.cost -= cost
            self.realised = Paise(self.realised + owned * price - cost)
        delivered = min(quantity, max(holding.settled, 0))
        holding.settled -= delivered
        left = quantity - delivered
        if left:
            self.unsettled_proceeds = Paise(self.unsettled_proceeds + left * price)
            lots = holding.lots
            while left and lots:
                taken = min(left, lots[0].quantity)
                lots[0].quantity -= taken
                left -= taken
                if not lots[0].quantity:
                    lots.pop(0)
            holding.settled -= left

    def knows_trade(self, trade_id: str) -> bool:
        """Return whether this trade is booked, today or in the session before."""
        return any(trade_id in day.trade_ids for day in self._days)

    def copy(self) -> Account:
        """Return an account that is the same and shares nothing with this one: to see what a trade would do."""
        state = msgspec.json.decode(msgspec.json.encode(self.to_state()), type=AccountState)
        return Account.from_state(state, self._table)

    def correct(self, *, delta: int, cause: str, symbol: str = "", price: Paise = ZERO) -> Correction:
        """Change cash (no symbol; paise) or a position (delivered shares), for a stated cause.

        Shares that are added are taken to have cost `price` each. Shares that vanish take their part of the cost with them,
        as a realised loss, so that what is kept costs on average what it did.
        """
        if not cause:
            raise BadInput("account: a correction needs a cause")
        if symbol:
            holding = self._holdings.setdefault(symbol, Holding())
            held = self.quantities.get(symbol, 0)
            self.quantities[symbol] = held + delta
            if delta < 0 < held + delta:
                kept = (2 * holding.cost * (held + delta) + held) // (2 * held)
                self.realised = Paise(self.realised + kept - holding.cost)
                holding.cost = kept
            elif delta > 0 and held >= 0:
                holding.cost += delta * price
            # Shares that vanish are taken from the delivered first, then from those on their way.
            holding.settled += delta
            while holding.settled < 0 and holding.lots:
                taken = min(-holding.settled, holding.lots[0].quantity)
                holding.lots[0].quantity -= taken
                holding.settled += taken
                if not holding.lots[0].quantity:
                    holding.lots.pop(0)
            if self.quantities[symbol] <= 0:
                holding.cost = 0
        else:
            self.cash = Paise(self.cash + delta)
        correction = Correction(symbol, delta, cause, self.session)
        self.corrections.append(correction)
        self.changes += 1
        return correction

    def apply_action(
        self, symbol: str, numerator: int, denominator: int, *, cause: str = "corporate action"
    ) -> Correction | None:
        """Turn every `denominator` shares into `numerator`: a split or a bonus issue. Called twice it acts twice.

        Shares delivered and on their way change alike, and what they cost stays. A fraction of a share is not kept: the
        company pays it out in cash later, which is a correction of its own when it comes. Its part of the cost leaves with
        it as a realised loss, so that the cost of a share does not grow by what is no longer held.
        Returns the correction that says so; None when nothing is held.
        """
        if numerator <= 0 or denominator <= 0:
            raise BadInput(f"account: {symbol}: {numerator}/{denominator} is not a factor, allowed: above zero")
        holding = self._holdings.get(symbol)
        before = self.quantities.get(symbol, 0)
        if holding is None or not before:
            return None
        # Rounded down as one holding, as a depository does it: the parts are differences of running sums.
        running = holding.settled
        rounded = holding.settled = running * numerator // denominator
        for lot in holding.lots:
            running += lot.quantity
            upto = running * numerator // denominator
            lot.quantity, rounded = upto - rounded, upto
        holding.lots = [lot for lot in holding.lots if lot.quantity]
        if not holding.lots:
            self._settling.discard(symbol)
        after = self.quantities[symbol] = rounded
        fraction = before * numerator - after * denominator
        if fraction and before > 0:
            kept = (2 * holding.cost * after * denominator + before * numerator) // (2 * before * numerator)
            self.realised = Paise(self.realised + kept - holding.cost)
            holding.cost = kept
        lost = f"; {fraction}/{denominator} of a share is left over, to be paid out by the company" if fraction else ""
        correction = Correction(symbol, after - before, f"{cause}{lost}", self.session)
        self.corrections.append(correction)
        self.changes += 1
        return correction

    # ---- durable state -----------------------------------------------------------------------------------------------

    def to_state(self) -> AccountState:
        """Return the account as data. It shares nothing that changes with the account once it is encoded."""
        return AccountState(
            self.opening_cash,
            self.cash,
            self.unsettled_proceeds,
            self.session,
            self._count,
            self.quantities,
            self._holdings,
            self._days,
            self.charges_paid,
            self.traded,
            self.realised,
            self.fills,
            self.corrections,
        )

    @classmethod
    def from_state(cls, state: AccountState, charges: DeliveryCharges) -> Account:
        """Return the account that `to_state` described; it takes over the state's collections."""
        account = cls(state.opening_cash, charges)
        account.cash = state.cash
        account.unsettled_proceeds = state.unsettled_proceeds
        account.session = state.session
        account._count = state.session_count
        account.quantities = state.quantities
        account._holdings = state.holdings
        account._days = state.days
        account.charges_paid = state.charges_paid
        account.traded = state.traded
        account.realised = state.realised
        account.fills = state.fills
        account.corrections = state.corrections
        account._settling = {symbol for symbol, holding in state.holdings.items() if holding.lots}
        if state.session is not None:
            account._rates = charges.on(state.session)
            account._lot_sessions = settlement_sessions(state.session)
            account._trade_ids, account._sold = state.days[-1].trade_ids, state.days[-1].sold
        return account
