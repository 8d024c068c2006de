"""What explains a difference between ledger and books: trades of the account that are not ours. Pure; books nothing.

The owner may trade by hand in the broker's own app. Such trades stand in the trade book without a tag of ours. They
explain when they do it exactly: in each symbol their shares add up to what differs, and with the charges of the same
table the cash differs by no more than rounding. All or nothing: half an explanation is none.

Shares outside the universe are not the daemon's to manage and not in its ledger; of a trade in them the cash alone counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from brokers.account import Account
from brokers.port import Trade
from daemon.clock import session_day
from daemon.messages import Difference
from market.errors import BadInput
from market.money import Paise
from risk.approval import Side

# Contract notes round some levies to the rupee, where the table goes to the paisa.
CASH_TOLERANCE: Final = Paise(100)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Trades to book, by session, and the cash then; or the differences that they do not explain.

    `cash` is the ledger's once the trades in the universe are booked, and the broker's: what rounding and trades outside the
    universe leave between the two is a correction of its own.
    """

    trades: dict[date, tuple[Trade, ...]]
    outside: tuple[Trade, ...]
    cash: tuple[Paise, Paise]
    unexplained: tuple[Difference, ...]


def explain(
    account: Account,
    differences: Sequence[Difference],
    foreign: Iterable[Trade],
    *,
    symbols: Sequence[str],
    skipped: frozenset[str],
    session: date | None,
    cash: Paise | None,
) -> Explanation:
    """Return what `foreign` trades explain of the differences.

    `skipped` are symbols that cannot be compared now, `cash` is the broker's (None: it cannot be compared either), `session`
    that of trades whose time the broker does not tell.
    """
    wanted = {difference.symbol: difference.broker - difference.ledger for difference in differences}
    by_symbol: dict[str, list[Trade]] = {}
    for trade in foreign:
        by_symbol.setdefault(trade.symbol, []).append(trade)
    unexplained = {symbol for symbol in wanted if symbol}
    taken: list[Trade] = []
    for symbol, trades in by_symbol.items():
        # A symbol without a difference counts too: bought and sold again, it has moved cash.
        if symbol in symbols and symbol not in skipped and shares(trades) == wanted.get(symbol, 0):
            taken += trades
            unexplained.discard(symbol)
    beyond = (
        () if cash is None else [trade for symbol in by_symbol if symbol not in symbols for trade in by_symbol[symbol]]
    )
    outside = tuple(beyond)
    after = account.copy()
    sessions = _by_session(taken, session)
    if not all(_book(after, day, each) for day, each in sessions.items()):
        unexplained = set(wanted)  # the account refuses one: it is too old, or no trade
    booked = after.cash
    if cash is not None:
        for day, each in _by_session(outside, session).items():
            _book(after, day, each)
        if abs(cash - after.cash) > CASH_TOLERANCE * (len(taken) + len(outside)):
            # Shares that came without their price are not explained by it either.
            unexplained |= {""} if "" in wanted else set(wanted)
    rest = tuple([difference for difference in differences if difference.symbol in unexplained])
    return Explanation(sessions, outside, (booked, booked if cash is None else cash), rest)


def shares(trades: Iterable[Trade]) -> int:
    """Return what trades add to a holding."""
    return sum(trade.quantity if trade.side is Side.BUY else -trade.quantity for trade in trades)


def _by_session(trades: Iterable[Trade], session: date | None) -> dict[date, tuple[Trade, ...]]:
    found: dict[date, tuple[Trade, ...]] = {}
    for trade in trades:
        day = session_day(trade.at_ns) if trade.at_ns else session
        if day is not None:
            found[day] = (*found.get(day, ()), trade)
    return found


def _book(account: Account, session: date, trades: Iterable[Trade]) -> bool:
    """Book trades on a copy; return whether the account takes them."""
    try:
        for trade in trades:
            account.apply_fill(
                symbol=trade.symbol,
                side=trade.side,
                quantity=trade.quantity,
                price=trade.price,
                session=session,
                trade_id=trade.trade_id,
            )
    except BadInput:
        return False
    return True
