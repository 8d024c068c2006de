"""What changes the books without a trade, on the paper broker's side: corporate actions, and cash paid in or out.

Both must leave ledger and broker equal whatever moment a kill chooses, and before the first comparison of the books:

* Cash: the record first, durably; then the broker (effect `MoveCash`). A kill in between is healed at the next start.
* Corporate actions: the broker first (as a depository credits shares before the open), then the record. A kill in
  between finds the action due again at the next start; broker and ledger each remember what they applied. A broker
  that lacks what is on record is brought along as well.

An action is due from the day after the last session that the state knows: an ex date on which no daemon ran is made up
for at the next start. One that was entered in the table after its session had begun is not: that session's prices are
known already, and the shares cannot be told from a purchase. `late` names those.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from brokers.paper_side import PaperSide
from daemon.clock import session_day
from daemon.core import Core
from daemon.effects import MoveCash
from daemon.messages import CorporateActionApplied, HistoryLoaded, Lane
from market.calendar import Session
from market.corporate_actions import ActionTable, CorporateAction

NO_ACTIONS: Final = ActionTable()


class BookChanges:
    """Brings corporate actions into the books of one daemon and its paper side."""

    def __init__(self, core: Core, side: PaperSide, table: ActionTable = NO_ACTIONS) -> None:
        self.core = core
        self.side = side
        self.table = table

    def heal(self) -> None:
        """Give the broker what is on record and it does not have. Before the books are compared for the first time."""
        state = self.core.state
        for action in state.actions:
            self.side.apply_action(action)
        for moved in state.history.moves:
            self.side.move_cash(amount=moved.amount, sequence=moved.sequence, cause=moved.reason)

    def move_cash(self, effect: MoveCash) -> None:
        """Run the effect: the record is on disk."""
        self.side.move_cash(amount=effect.amount, sequence=effect.sequence, cause=effect.reason)

    def open_session(self, session: Session) -> None:
        """Apply what is due and start the broker's session. The caller posts `SessionOpened` right after."""
        for message in self._apply(self._known(session.day), session.day):
            self.core.bus.post(Lane.TIMER, message)
        self.side.start_session(session.day)

    def at_start(
        self, history: HistoryLoaded | None
    ) -> tuple[list[CorporateActionApplied], list[CorporateActionApplied]]:
        """Apply what fell due while nobody was here; return the records, before the history's and after it.

        History is on the basis of its last session, so actions up to that are applied to what was known before it, and
        those after it, up to the session that has begun by now, to both.
        """
        begun = self._begun()
        if begun is None:
            return [], []
        last = history.sessions[-1] if history is not None and history.sessions else date.min
        state = self.core.state
        known = max(state.session or date.min, state.view.closed_to)
        if known == date.min:
            return [], (self._apply(last, begun) if last > date.min else [])
        return self._apply(known, min(last, begun)), self._apply(max(known, last), begun)

    def late(self) -> list[CorporateAction]:
        """Return actions that the state should know by now and does not: they came into the table too late."""
        state = self.core.state
        first = min([day for day, _ in state.history.equity[:1]], default=state.session)
        if first is None or state.session is None:
            return []
        applied = {action.key for action in state.actions}
        known = max(state.session, state.view.closed_to)
        due = self.table.due(after=first, until=known, symbols=state.symbols)
        return [action for action in due if action.key not in applied]

    def _apply(self, after: date, until: date) -> list[CorporateActionApplied]:
        state, calendar = self.core.state, self.core.calendar
        applied = {action.key for action in state.actions}
        messages = []
        for action in self.table.due(after=after, until=until, symbols=state.symbols):
            self.side.apply_action(action)
            if action.key in applied:
                continue
            session = calendar.session(action.ex_date) or calendar.next_session(action.ex_date)
            messages.append(
                CorporateActionApplied(
                    session=action.ex_date if session is None else session.day,
                    ex_date=action.ex_date,
                    symbol=action.symbol,
                    kind=action.kind,
                    numerator=action.numerator,
                    denominator=action.denominator,
                )
            )
        return messages

    def _known(self, coming: date) -> date:
        """Return the last session whose actions are in the books; on the very first day, the session before."""
        state = self.core.state
        known = max(state.session or date.min, state.view.closed_to)
        if known == date.min:
            before = self.core.calendar.previous_session(coming)
            return coming if before is None else before.day
        return known

    def _begun(self) -> date | None:
        """Return the last session that has begun by now."""
        calendar, now = self.core.calendar, self.core.clock.now_ns()
        today = calendar.session(session_day(now))
        if today is None or now < today.open_ns:
            today = calendar.previous_session(session_day(now))
        return None if today is None else today.day
