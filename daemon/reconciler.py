"""The reconciler: compares the broker's books with the ledger and turns differences into facts, or into a halt.

A read that is not complete proves nothing and changes nothing. What the books show and the stream did not tell (fills,
acknowledgements, ends) becomes `OrderReports` with source "reconcile", which fold like any others; then the account is
read again. Only when the books add nothing new are positions and cash compared. There are three answers:

* clean;
* explained: trades by the owner's hand account for it (`daemon.explanation`). They are booked, people are told, and the
  books are read again;
* unexplained: a halt that names each difference. A person may accept exactly these, with a reason.

A difference is one that stays: it must be there again in a later read, and where a symbol moves (an order open, or
heard of a moment ago) it must stay until the grace is over. One whose amount at the broker is another in each read stays
too: it is judged by its last figures once the grace is over. reconcile(reconcile(x)) = reconcile(x).

An order that we meant to send and the book does not show is UNKNOWN, not absent: books lag. It is never sent again.
(One that still waits here for its turn is neither.) Once its session is over and neither book nor trades have it, that
is evidence, and it expires.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from brokers.port import Capabilities, OrderReport, OrderSnapshot, Trade
from daemon.bus import Bus, Envelope, Output
from daemon.effects import Alert, ReadAccount, Reply, SetTimer
from daemon.explanation import Explanation, explain
from daemon.matching import GRACE_NS, Matching
from daemon.messages import (
    AccountRead,
    BooksDue,
    Difference,
    Halted,
    LedgerCorrected,
    ManualTrades,
    OperatorCommand,
    OrderReports,
    Reconciled,
)
from daemon.moments import LOGIN_RETRY_NS
from daemon.state import CONTRADICTION, State
from market.money import Paise

DIFFERENCE: Final = "RECONCILE_DIFFERENCE"
ACCEPT: Final = "accept"
_RETRY_NS: Final = 10 * 10**9
_AGAIN_NS: Final = 5 * 10**9
# Reads at once, one after the other, to see a difference again; a broker's books are not read without a pause.
_LOOKS_AT_ONCE: Final = 2
_CHANGED: Final = (
    "the books have changed since the differences were shown; nothing was changed: look again, then accept"
)


def code_of(differences: Sequence[Difference]) -> str:
    """Return a short name of exactly these differences, for a person to confirm what was shown."""
    text = "; ".join([difference.text for difference in differences])
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest() if text else ""


class Reconciler:
    """Handles complete looks at the broker's books."""

    def __init__(self, state: State, capabilities: Capabilities) -> None:
        self.state = state
        self._by_tag = capabilities.lookup_by_tag
        self._passed = False  # a comparison of this process was clean
        # Difference -> sequence of the read that first showed it.
        self._seen: dict[Difference, int] = {}
        # Symbol (none: cash) and the ledger's figure -> time of the read that first showed any difference there.
        self._since: dict[tuple[str, int], int] = {}
        self._looks = 0  # reads at once since books were last judged
        self._adopted: tuple[OrderReport, ...] = ()
        self._told: set[tuple[str, str]] = set()
        self._accepting: OperatorCommand | None = None

    def wire(self, bus: Bus) -> None:
        """Register the handlers."""
        bus.handle(AccountRead, self.on_read)
        bus.handle(ManualTrades, self.on_booked)
        bus.handle(LedgerCorrected, self.on_booked)

    def on_read(self, message: AccountRead, envelope: Envelope) -> list[Output] | None:
        """Adopt what is news, then compare positions and cash."""
        if message.unknown:
            return self._unread(message, envelope)
        match = Matching(self.state, message, envelope, by_tag=self._by_tag)
        news = match.news()
        # The same news twice was not taken in: it contradicts what is known, and trading is halted for that.
        if news and news != self._adopted:
            self._adopted = news
            reports = OrderReports(reports=news, source="reconcile")
            return [reports] if message.orders_only else [reports, ReadAccount(message.purpose)]
        if message.orders_only or message.funds is None:
            return None
        self._adopted = ()
        outputs = self._alike(match)
        if match.look_again_ns:
            outputs.append(SetTimer("books:sent", match.look_again_ns, BooksDue(purpose="sent")))
        differences = self._differences(message)
        if message.purpose == ACCEPT and self._accepting is not None:
            return outputs + self._accept(self._accepting, differences, match)
        return outputs + self._judge(differences, match)

    def on_booked(self, _: ManualTrades | LedgerCorrected, __: Envelope) -> list[Output] | None:
        """Halt when a correction did not fit the ledger; that would be a fault of this program."""
        if not self.state.contradictions:
            return None
        detail = "; ".join(self.state.contradictions)
        return [Halted(cause=CONTRADICTION, detail=detail), Alert("error", "order.contradiction", detail)]

    def _unread(self, message: AccountRead, envelope: Envelope) -> list[Output] | None:
        if message.orders_only:
            return None  # the next poll asks again
        outputs: list[Output] = [Reconciled(purpose=message.purpose, clean=False, detail=message.unknown)]
        if message.purpose == ACCEPT:
            error = f"the books could not be read ({message.unknown}); nothing was changed"
            return outputs + self._answer(503, error=error)
        wait_ns = LOGIN_RETRY_NS if message.login_needed else _RETRY_NS
        # One timer, whoever asked: what fails is asked again so long after the last time that it failed.
        return [*outputs, SetTimer("books:retry", envelope.at_ns + wait_ns, BooksDue(purpose=message.purpose))]

    def _again(self, purpose: str, at_ns: int) -> Output:
        return SetTimer(f"books:{purpose}", at_ns, BooksDue(purpose=purpose))

    # ---- what must be equal ------------------------------------------------------------------------------------------

    def _differences(self, message: AccountRead) -> tuple[Difference, ...]:
        """Return where ledger and books differ. Not compared: what an unknown order leaves open, shares that are not ours."""
        state = self.state
        assert message.funds is not None
        unknown = {order.symbol for order in state.unknown_orders()}
        broker = {position.symbol: position.quantity for position in message.positions}
        found = [
            Difference(symbol, held, there)
            for symbol in state.symbols
            if symbol not in unknown and (held := state.account.quantity(symbol)) != (there := broker.get(symbol, 0))
        ]
        if not unknown and message.funds.cash != state.account.cash:
            found.append(Difference("", state.account.cash, message.funds.cash))
        return tuple(found)

    def _judge(self, differences: tuple[Difference, ...], match: Matching) -> list[Output]:
        message, envelope = match.message, match.envelope
        self._seen = {each: self._seen.get(each, envelope.seq) for each in differences}
        # The broker's figure may change: it is the same difference. Ours changes when a fill is heard, and the grace is anew.
        self._since = {_place(each): self._since.get(_place(each), envelope.at_ns) for each in differences}
        if not differences:
            self._looks = 0
            return self._clean(match)
        if any(self._seen[each] > message.began_seq and self._is_young(each, envelope.at_ns) for each in differences):
            # The books are read one after the other, and a fill may fall between: first of all, look once more.
            self._looks += 1
            if self._looks <= _LOOKS_AT_ONCE:
                return [ReadAccount(message.purpose)]
            return [self._again(message.purpose, envelope.at_ns + _AGAIN_NS)]
        waiting = {each for each in differences if self._may_pass(each, envelope.at_ns)}
        explanation = self._explain(differences, match)
        unexplained = [each for each in explanation.unexplained if each not in waiting]
        if unexplained:
            self._looks = 0
            return self._halt([each for each in differences if each not in waiting], match)
        if waiting:
            return [self._again(message.purpose, envelope.at_ns + _AGAIN_NS)]
        self._seen, self._since, self._looks = {}, {}, 0
        return [*self._book(explanation), ReadAccount(message.purpose)]

    def _may_pass(self, difference: Difference, at_ns: int) -> bool:
        """Return whether a difference may be a fill on its way: its symbol moves, and the grace is not over."""
        moved, live = self.state.evidence.moved_ns, self.state.live.values()
        if difference.symbol:
            last = moved.get(difference.symbol, 0)
            still_open = any(order.symbol == difference.symbol for order in live)
        else:
            last, still_open = max(moved.values(), default=0), bool(live)
        return (still_open or at_ns - last < GRACE_NS) and self._is_young(difference, at_ns)

    def _is_young(self, difference: Difference, at_ns: int) -> bool:
        return at_ns - self._since[_place(difference)] < GRACE_NS

    def _explain(self, differences: Sequence[Difference], match: Matching) -> Explanation:
        state, funds = self.state, match.message.funds
        unknown = frozenset([order.symbol for order in state.unknown_orders()])
        assert funds is not None
        return explain(
            state.account,
            differences,
            match.foreign_trades(),
            symbols=state.symbols,
            skipped=unknown,
            session=state.session,
            cash=None if unknown else funds.cash,
        )

    # ---- the three answers -------------------------------------------------------------------------------------------

    def _clean(self, match: Matching) -> list[Output]:
        # Whatever asked for it: the first clean comparison of a process is the one that its start waits for.
        purpose = match.message.purpose if self._passed else "start"
        self._passed = True
        blocked, outputs = self._blocked(match)
        return [Reconciled(purpose=purpose, clean=True, detail=self._note(match), blocked=blocked), *outputs]

    def _book(self, explanation: Explanation) -> list[Output]:
        """Book what the owner traded by hand, and what is left of the cash."""
        outputs: list[Output] = []
        for session, trades in explanation.trades.items():
            detail = ", ".join([_words(trade) for trade in trades])
            outputs.append(ManualTrades(session=session, trades=trades, detail=detail))
            outputs.append(Alert("warning", "reconcile.manual_trade", f"not ours, and booked: {detail}"))
        old, new = explanation.cash
        if old != new:
            ids = tuple([trade.trade_id for trade in explanation.outside])
            cause = "charges of trades by hand, rounded otherwise"
            if ids:
                cause = f"trades outside the universe: {', '.join([_words(trade) for trade in explanation.outside])}"
            outputs.append(LedgerCorrected(old=old, new=new, cause=cause, trade_ids=ids))
            outputs.append(Alert("warning", "reconcile.corrected", f"cash {new - old:+d} paise: {cause}"))
        return outputs

    def _halt(self, differences: list[Difference], match: Matching) -> list[Output]:
        detail = "; ".join([difference.text for difference in differences])
        blocked, outputs = self._blocked(match)
        judged = Reconciled(
            purpose=match.message.purpose, clean=False, detail=detail, differences=tuple(differences), blocked=blocked
        )
        if self.state.halts.get(DIFFERENCE) == detail:
            return [judged, *outputs]  # on record and told already
        return [
            judged,
            Halted(cause=DIFFERENCE, detail=detail),
            Alert("error", "reconcile.difference", detail),
            *outputs,
        ]

    def _blocked(self, match: Matching) -> tuple[tuple[str, ...], list[Output]]:
        """Return the symbols that orders of others block, and what to tell of those that are new."""
        foreign = match.foreign_orders()
        new = [order for order in foreign if order.symbol not in self.state.evidence.blocked]
        detail = "; ".join([_open(order) for order in new])
        told: list[Output] = [Alert("warning", "reconcile.foreign_order", f"{detail}; no order of ours goes there")]
        return tuple(sorted({order.symbol for order in foreign})), told if new else []

    def _note(self, match: Matching) -> str:
        """Return what a clean comparison leaves open."""
        parts = [_open(order) for order in match.foreign_orders()]
        unknown = len(self.state.unknown_orders())
        if unknown:
            parts.append(f"{unknown} orders unknown")
        outside = [p for p in match.message.positions if p.symbol not in self.state.symbols and p.quantity]
        parts += [f"outside the universe: {position.symbol} {position.quantity}" for position in outside]
        return "; ".join(parts)

    def _alike(self, match: Matching) -> list[Output]:
        """Tell once of each order in the book that looks like one of ours whose outcome is unknown."""
        outputs: list[Output] = []
        for entry in match.message.orders:
            for order in match.alike(entry) if match.owner(entry) is None else ():
                if (order.tag, entry.broker_order_id) not in self._told:
                    self._told.add((order.tag, entry.broker_order_id))
                    detail = f"{order.symbol} {order.tag}: the broker's {entry.broker_order_id} ({entry.status}) has its terms"
                    outputs.append(Alert("error", "order.alike", f"{detail}; it is not taken for ours"))
        return outputs

    # ---- a person's word ---------------------------------------------------------------------------------------------

    def accept(self, message: OperatorCommand) -> list[Output]:
        """Begin to accept the differences that were shown: the books are read once more, then judged."""
        shown = self.state.evidence.differences
        if not message.reason.strip():
            return self._reply(message, 400, error="a reason is required")
        if not shown:
            return self._reply(message, 409, error="no difference waits; nothing to accept")
        if message.nonce and message.nonce != code_of(shown):
            return self._reply(message, 409, error=_CHANGED)
        if self._accepting is not None:
            return self._reply(message, 409, error="another acceptance is on its way")
        self._accepting = message
        return [ReadAccount(ACCEPT)]

    def _accept(self, command: OperatorCommand, differences: tuple[Difference, ...], match: Matching) -> list[Output]:
        if differences != self.state.evidence.differences:
            return [*self._answer(409, error=_CHANGED), ReadAccount("operator")]
        cause = f"accepted by uid {command.uid}: {command.reason}"
        foreign = match.foreign_trades()
        outputs: list[Output] = [self._correction(difference, cause, foreign) for difference in differences]
        detail = "; ".join([difference.text for difference in differences])
        lines = [difference.text for difference in differences]
        return [
            *outputs,
            *self._clean(match),
            Alert("warning", "reconcile.accepted", f"{detail}; {cause}"),
            *self._answer(200, accepted=lines, still_halted=bool(self.state.halts)),
        ]

    def _correction(self, difference: Difference, cause: str, foreign: list[Trade]) -> LedgerCorrected:
        symbol = difference.symbol
        ids = tuple([trade.trade_id for trade in foreign if not symbol or trade.symbol == symbol])
        price = Paise(0)
        if symbol and difference.broker > difference.ledger:
            view = self.state.view
            price = Paise(round(self.state.account.average_cost(symbol) or view.prices()[view.index[symbol]]))
        return LedgerCorrected(
            symbol=symbol, old=difference.ledger, new=difference.broker, cause=cause, price=price, trade_ids=ids
        )

    def _answer(self, status: int, **payload: Any) -> list[Output]:
        command, self._accepting = self._accepting, None
        return [] if command is None else self._reply(command, status, **payload)

    def _reply(self, message: OperatorCommand, status: int, **payload: Any) -> list[Output]:
        return [Reply(message.token, status, payload)] if message.token else []


def _place(difference: Difference) -> tuple[str, int]:
    return difference.symbol, difference.ledger


def _words(trade: Trade) -> str:
    return f"{trade.side} {trade.quantity} {trade.symbol} at {trade.price / 100:.2f} ({trade.trade_id})"


def _open(order: OrderSnapshot) -> str:
    return f"open order that is not ours: {order.side} {order.quantity} {order.symbol}"
