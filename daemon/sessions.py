"""Session driver: the edge that turns the calendar and the clock into messages.

It arms one timer at a time per purpose, so that a year of replay does not hold a year of timers. After a restart it posts
what is true now: the session is open, a slot is due and not decided; and it ends a session (`opened`) that ended while
nobody was here.
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable
from datetime import date

from daemon.agenda import Agenda
from daemon.bus import Bus
from daemon.clock import Clock, session_day
from daemon.messages import Lane, SessionClosed, SessionOpened, SlotDue
from market.calendar import Calendar, Session

# Bars of the close, the closing auction among them, need a while to arrive before the session is summed up.
SETTLE_NS = 10 * 60 * 10**9


class SessionDriver:
    """Posts session starts, due slots and session ends."""

    def __init__(
        self,
        *,
        clock: Clock,
        calendar: Calendar,
        agenda: Agenda,
        bus: Bus,
        until: date | None = None,
        on_open: Callable[[Session], None] = lambda session: None,
        on_close: Callable[[Session], None] = lambda session: None,
        on_end: Callable[[], None] = lambda: None,
        every_sessions: int = 1,
        opened: date | None = None,
    ) -> None:
        self.clock = clock
        self.calendar = calendar
        self.agenda = agenda
        self.bus = bus
        self.until = until
        self.on_open = on_open
        self.on_close = on_close
        self.on_end = on_end
        self.every_sessions = every_sessions
        self._opened = opened
        self._count = 0
        self._timers: list[TimerHandle] = []

    def start(self) -> None:
        """Post what is true now and arm what comes next."""
        now = self.clock.now_ns()
        session = self._coming(date.min)
        missed = self.calendar.session(self._opened) if self._opened is not None else None
        if missed is None or now < missed.close_ns + SETTLE_NS:
            self._arm(session)
        elif session is not None and session.open_ns <= now:
            self._end(missed)
            self._arm(session)
        else:
            # Its last bars come with the feed's backlog; they get the time that they get on any day.
            at = now + SETTLE_NS if session is None else min(now + SETTLE_NS, session.open_ns)
            self._timers = [self.clock.call_at(at, self._close, missed)]

    def _coming(self, after: date) -> Session | None:
        """Return the session that is on, or else the next one; never one up to `after`."""
        now = self.clock.now_ns()
        today = session_day(now)
        session = self.calendar.session(today)
        if session is None or session.day <= after or now >= session.close_ns + SETTLE_NS:
            return self.calendar.next_session(max(today, after))
        return session

    def _arm(self, session: Session | None) -> None:
        if session is None or (self.until is not None and session.day > self.until):
            self.on_end()
            return
        self._timers = [self.clock.call_at(session.open_ns, self._open, session)]

    def _open(self, session: Session) -> None:
        self.on_open(session)
        self.bus.post(
            Lane.TIMER,
            SessionOpened(session=session.day, open_ns=session.open_ns, close_ns=session.close_ns),
        )
        self._timers = [self.clock.call_at(session.close_ns + SETTLE_NS, self._close, session)]
        rebalances = self._count % self.every_sessions == 0
        self._count += 1
        if rebalances and session.rebalances:
            for slot in self.agenda.slots:
                due = slot.due_ns(session.day)
                if session.open_ns <= due < session.close_ns:  # one whose window is over is skipped, and on record
                    self._timers.append(
                        self.clock.call_at(due, self.bus.post, Lane.TIMER, SlotDue(session=session.day, slot=slot.name))
                    )

    def _close(self, session: Session) -> None:
        self._end(session)
        self._arm(self._coming(session.day))

    def _end(self, session: Session) -> None:
        self.on_close(session)
        self.bus.post(Lane.TIMER, SessionClosed(session=session.day))

    def stop(self) -> None:
        """Disarm."""
        for timer in self._timers:
            timer.cancel()
