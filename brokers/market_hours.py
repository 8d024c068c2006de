"""Opens and ends the sessions of a broker's market by the calendar, for a paper broker that is a process of its own.

Corporate actions come first, as a depository credits shares before the open. The end waits for the last bars, and comes
before a client's own end of the day, so that whoever looks at the books then finds every order ended.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Final, Protocol

from brokers.paper import PaperBroker
from market.calendar import Calendar, Session
from market.corporate_actions import ActionTable
from market.sessions import MINUTE_NS, session_date

# After the close; a client sums its day up after ten minutes (daemon/sessions.py).
SETTLE_NS: Final = 5 * MINUTE_NS


class Timer(Protocol):
    """Something that may be cancelled."""

    def cancel(self) -> None:
        """Forget it."""
        ...


class MarketHours:
    """One timer at a time. `call_at(instant, function)` runs it then, or at once when that has passed.

    `actions` is asked before each session: the table may have got a line since the last one.
    """

    def __init__(
        self,
        paper: PaperBroker,
        calendar: Calendar,
        *,
        now_ns: Callable[[], int],
        call_at: Callable[[int, Callable[[], None]], Timer],
        actions: Callable[[], ActionTable] = ActionTable,
        said: Callable[[str, date], None] = lambda event, day: None,
    ) -> None:
        self.paper = paper
        self.calendar = calendar
        self._now_ns = now_ns
        self._call_at = call_at
        self._actions = actions
        self._said = said
        self._timer: Timer | None = None

    def start(self) -> None:
        """Do what is due by now and wait for what comes next. Raises BadInput when the action table is wrong."""
        now = self._now_ns()
        paper = self.paper
        if paper.is_open and (paper.session is None or now >= self._end_ns(paper.session)):
            self._end()
        today = self.calendar.session(session_date(now))
        if today is None or now >= today.close_ns + SETTLE_NS:
            today = self.calendar.next_session(session_date(now))
        self._wait_for(today)

    def stop(self) -> None:
        """Do nothing more; the session stays as it is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_ns(self, day: date) -> int:
        session = self.calendar.session(day)
        return 0 if session is None else session.close_ns + SETTLE_NS

    def _wait_for(self, session: Session | None) -> None:
        if session is None:
            return
        if self._now_ns() >= session.open_ns:
            self._open(session)  # at once: an order may be the first thing that comes in
        else:
            self._timer = self._call_at(session.open_ns, lambda: self._open(session))

    def _open(self, session: Session) -> None:
        paper = self.paper
        before = self.calendar.previous_session(session.day)
        known = paper.session or (session.day if before is None else before.day)
        for action in self._actions().due(after=known, until=session.day, symbols=paper.symbols):
            paper.apply_action(action)
        paper.start_session(session.day)
        self._said("session.opened", session.day)
        self._timer = self._call_at(session.close_ns + SETTLE_NS, lambda: self._close(session))

    def _close(self, session: Session) -> None:
        self._end()
        self._wait_for(self.calendar.next_session(session.day))

    def _end(self) -> None:
        self.paper.end_session()
        if self.paper.session is not None:
            self._said("session.closed", self.paper.session)
