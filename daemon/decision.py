"""From a due slot to a frozen plan: ask the strategy, pass the gate, plan whole shares.

A slot is decided at most once. Whatever goes wrong on the way is itself a decision (hold, refused, skipped) with its
reasons in the journal; nothing is retried behind the operator's back.
"""

from __future__ import annotations

from datetime import date
from math import isfinite
from typing import Final

import numpy as np

from brokers.sizing import EXPECTED_COSTS
from daemon.agenda import decision_id
from daemon.alarms import warning
from daemon.bus import Bus, Envelope, Output
from daemon.effects import AskStrategy, DropTimer, ReadAccount, SetTimer
from daemon.messages import Decided, Halted, Move, Outcome, Reconciled, SlotDue, TargetProposed
from daemon.settings import DaemonSettings
from daemon.state import State
from market.calendar import Calendar
from market.money import Paise
from risk.approval import ApprovedPlan
from risk.band import outside_band
from risk.exposure import intervals
from risk.gate import Book, Gate, Refusal, TargetApproval
from risk.margins import Margin, at_most, position_margins
from risk.reasons import Reason
from strategies.protocol import StrategyContext

# A comparison so long ago still counts as one before planning.
FRESH_NS: Final = 30 * 10**9


class Decider:
    """Handles due slots and the strategies' answers."""

    def __init__(self, state: State, gate: Gate, settings: DaemonSettings, calendar: Calendar) -> None:
        self.state = state
        self.gate = gate
        self.settings = settings
        self.calendar = calendar
        self.plans: dict[str, ApprovedPlan] = {}
        self._previous: tuple[date, date] = (date.min, date.min)
        self._waiting: dict[str, SlotDue] = {}

    def wire(self, bus: Bus) -> None:
        """Register the handlers."""
        bus.handle(SlotDue, self.on_slot)
        bus.handle(TargetProposed, self.on_target)
        bus.handle(Reconciled, self.on_reconciled)
        bus.handle(Halted, self.on_halted)

    # ---- asking ------------------------------------------------------------------------------------------------------

    def on_slot(self, message: SlotDue, envelope: Envelope) -> list[Output] | None:
        """Ask the strategy, unless this slot was decided already or cannot be."""
        state = self.state
        if state.agenda.is_done(message.session, message.slot):
            return None
        if self._must_wait(message, envelope):
            self._waiting[message.slot] = message
            over = state.agenda.slot(message.slot).closes_ns(message.session) + 1_000_000
            return [SetTimer(f"slot:{message.slot}", over, message), *self._look()]
        refusal = self._cannot_trade(message, envelope)
        if refusal is not None:
            return [self._decided(message.session, message.slot, Outcome.SKIPPED, reasons=(refusal,))]
        if not state.agenda.ask(message.session, message.slot):
            return None
        identity = decision_id(self.settings.portfolio, message.session, message.slot)
        return [AskStrategy(identity, message.slot, self.context())]

    def _must_wait(self, message: SlotDue, envelope: Envelope) -> bool:
        """Return whether the books are all that is missing: inside the slot's window they may still be compared."""
        state = self.state
        return (
            not (state.reconciled_clean and self._fresh(envelope))
            and not state.halts
            and state.session == message.session
            and envelope.at_ns <= state.agenda.slot(message.slot).closes_ns(message.session)
        )

    def _fresh(self, envelope: Envelope) -> bool:
        """Return whether the last clean comparison may serve the plan that is to be made."""
        if not self.settings.reconciling.before_planning or not self.state.session_open:
            return True
        return 0 <= envelope.at_ns - self.state.reconciled_ns <= FRESH_NS

    def _look(self) -> list[Output]:
        return [ReadAccount("planning")] if self.settings.reconciling.before_planning else []

    def on_halted(self, _: Halted, __: Envelope) -> list[Output] | None:
        """What waits for the books need not wait under a halt: its slot is decided (skipped) with that reason."""
        return self._due_again()

    def on_reconciled(self, message: Reconciled, _: Envelope) -> list[Output] | None:
        """Ask again for slots that waited for the books: a restart inside the window still does the day's rebalance."""
        return self._due_again() if message.clean else None

    def _due_again(self) -> list[Output] | None:
        if not self._waiting:
            return None
        waiting, self._waiting = self._waiting, {}
        return [output for slot, due in waiting.items() for output in (DropTimer(f"slot:{slot}"), due)]

    def _cannot_trade(self, message: SlotDue, envelope: Envelope) -> str | None:
        state = self.state
        if state.session != message.session or not state.session_open:
            return "SESSION_CLOSED: the session is not open"
        if envelope.at_ns > state.agenda.slot(message.slot).closes_ns(message.session):
            waited = "; the books could not be compared in it" if message.slot in self._waiting else ""
            return f"SESSION_WINDOW_PASSED: the slot's window is over{waited}"
        if state.halts:
            return "STATE_HALTED: " + "; ".join(f"{cause} {detail}" for cause, detail in sorted(state.halts.items()))
        if not state.reconciled_clean:
            return "STATE_UNRECONCILED: the broker's books have not been compared yet"
        if not state.view.complete:
            return "DATA_MISSING: an instrument has no price yet"
        if state.equity() is None:
            doubtful = ", ".join(sorted(state.view.suspect))
            return f"DATA_SUSPECT: the price of {doubtful} is not believed yet, so the account's value is not known"
        return None

    def context(self) -> StrategyContext:
        """Return what a strategy may look at now: closes up to the last closed session, and the portfolio."""
        state = self.state
        equity = state.equity()
        assert equity is not None, "a slot is not asked for while the account's value is not known"
        prices = state.view.prices()
        quantities = state.account.quantities
        weights = np.array(
            [quantities.get(symbol, 0) * price / equity for symbol, price in zip(state.symbols, prices, strict=True)]
        )
        return StrategyContext(
            session=state.session,  # type: ignore[arg-type]
            closes=state.view.closes,
            weights=weights,
            value_ratio=state.history.value_ratio(equity),
            cash_weight=state.account.cash / equity,
            recent_returns=np.array(state.history.returns),
        )

    # ---- answering ---------------------------------------------------------------------------------------------------

    def on_target(self, message: TargetProposed, envelope: Envelope) -> list[Output] | None:
        """Pass an answer through the gate and freeze the plan."""
        state = self.state
        if state.agenda.is_done(message.session, message.slot):
            return None  # late: the slot was decided without it; the record shows both
        if state.session != message.session:
            return [
                self._decided(message.session, message.slot, Outcome.SKIPPED, message, ("SESSION_CLOSED: too late",))
            ]
        weights = message.weights
        if weights is None or not all(map(isfinite, weights)):
            detail = message.detail or "the strategy's answer has a value that is not a number"
            return [self._decided(message.session, message.slot, Outcome.HOLD, message, (detail,))]
        book = self.book(envelope)
        if book is None:
            reason = "DATA_SUSPECT: the account's value is not known"
            return [self._decided(message.session, message.slot, Outcome.SKIPPED, message, (reason,))]
        assert state.guard.board is not None
        verdict = self.gate.review_targets(weights, book, latched=state.guard.board.latched)
        if isinstance(verdict, TargetApproval):
            return self._plan(message, verdict, book)
        return self._refused(message, verdict, book)

    def _refused(self, message: TargetProposed, refusal: Refusal, book: Book) -> list[Output]:
        reasons = tuple([reason.text for reason in refusal.reasons])
        margins = self._margins(book, book.quantities) if book.equity > 0 else ()
        return [self._decided(message.session, message.slot, Outcome.REFUSED, message, reasons, margins=margins)]

    def book(self, envelope: Envelope) -> Book | None:
        """Return the portfolio as the gate sees it; None while the account's value is not known.

        Symbols with an order on its way are not tradable, and are judged at the most shares that may be held of them. Nor are
        those with an open order that is not ours.
        """
        state = self.state
        quantities = state.account.quantities
        equity = state.worst_equity()
        session = state.session
        if equity is None or session is None:
            return None
        tradable = state.view.tradable(self._session_before(session), session)
        blocked = state.evidence.blocked
        if blocked:
            tradable = tuple([free and s not in blocked for free, s in zip(tradable, state.symbols, strict=True)])
        held = tuple([quantities.get(symbol, 0) for symbol in state.symbols])
        high: tuple[int, ...] = ()
        traded: int = state.traded_today
        if state.live:
            pending = state.pending()
            unsure = intervals(quantities, pending)
            tradable = tuple(
                [free and symbol not in unsure for free, symbol in zip(tradable, state.symbols, strict=True)]
            )
            high = tuple(
                [
                    unsure[symbol].high if symbol in unsure else quantity
                    for symbol, quantity in zip(state.symbols, held, strict=True)
                ]
            )
            traded += sum(order.remaining * order.limit for order in pending)
        return Book(
            symbols=state.symbols,
            quantities=held,
            prices=tuple(state.view.prices()),
            cash=state.account.cash,
            equity=equity,
            tradable=tradable,
            priced_at_ns=state.view.last_end_ns,
            at_ns=envelope.at_ns,
            session=session,
            traded=Paise(traded),
            high=high,
        )

    def _session_before(self, session: date) -> date:
        """Return the market's session before, not the one that we last saw: after days of absence these differ."""
        if self._previous[0] != session:
            before = self.calendar.previous_session(session)
            self._previous = (session, self.state.previous_session if before is None else before.day)
        return self._previous[1]

    def _plan(self, message: TargetProposed, approval: TargetApproval, book: Book) -> list[Output]:
        equity = book.equity
        change = sum(abs(w - c) for w, c in zip(approval.weights, approval.current, strict=True))
        costs = Paise(int(change * equity * EXPECTED_COSTS))
        rounded = self.gate.round_to_shares(approval, book, expected_costs=costs)
        worthwhile = outside_band(
            book.quantities,
            rounded.quantities,
            book.prices,
            approval.weights,
            equity=equity,
            band=self.settings.execution.band,
            bounds=self.gate.bounds,
            traded=book.traded,
            worst=book.high or None,
        )
        plan = self.gate.approve_plan(message.decision_id, book, worthwhile)
        if not isinstance(plan, ApprovedPlan):
            return self._refused(message, plan, book)
        self.plans = {message.decision_id: plan}
        reasons = (*approval.reasons, *self.gate.relaxed_by_rounding(rounded))
        moves = tuple(
            [
                Move(symbol=symbol, before=before, after=after, reference=price)
                for symbol, before, after, price in zip(plan.symbols, plan.before, plan.after, plan.prices, strict=True)
                if before != after
            ]
        )
        decided = Decided(
            decision_id=message.decision_id,
            session=message.session,
            slot=message.slot,
            outcome=Outcome.APPROVED,
            strategy=message.strategy,
            model=message.model,
            equity=equity,
            cash=book.cash,
            requested=tuple(message.weights or ()),
            approved=tuple(approval.weights),
            current=approval.current,
            moves=moves,
            reasons=tuple([reason.text for reason in reasons]),
            moved=approval.moved,
            relaxed={**approval.relaxed, **rounded.relaxed},
            margins=self._margins(book, plan.after),
            breakers=self._headroom(),
            limits_version=plan.limits_version,
            priced_at_ns=book.priced_at_ns,
        )
        return [decided, *warning(_alerts(reasons), self.gate.limits)]

    def keep(self, plan: ApprovedPlan) -> None:
        """Remember a plan that was approved elsewhere (an exit), for the executor to carry out."""
        self.plans[plan.plan_id] = plan

    def _margins(self, book: Book, quantities: tuple[int, ...]) -> tuple[Margin, ...]:
        traded = book.traded + sum(
            [abs(q - h) * p for q, h, p in zip(quantities, book.quantities, book.prices, strict=True)]
        )
        return position_margins(
            book.symbols, quantities, book.prices, equity=book.equity, traded=traded, limits=self.gate.limits
        )

    def _headroom(self) -> tuple[Margin, ...]:
        board = self.state.guard.board
        if board is None:
            return ()
        return tuple([at_most(v.name, v.used, v.limit, v.detail) for v in board.verdicts])

    def _decided(
        self,
        session: date,
        slot: str,
        outcome: Outcome,
        message: TargetProposed | None = None,
        reasons: tuple[str, ...] = (),
        margins: tuple[Margin, ...] = (),
    ) -> Decided:
        state = self.state
        return Decided(
            decision_id=decision_id(self.settings.portfolio, session, slot),
            session=session,
            slot=slot,
            outcome=outcome,
            strategy=message.strategy if message else "",
            model=message.model if message else "",
            equity=state.equity() or Paise(0),
            cash=state.account.cash,
            requested=tuple(message.weights or ()) if message else (),
            reasons=reasons,
            margins=margins,
            breakers=self._headroom(),
            limits_version=self.gate.limits.version,
        )


def _alerts(reasons: tuple[Reason, ...]) -> list[Reason]:
    return [reason for reason in reasons if reason.code.startswith("ALERT_")]
