"""The exchange's calendar: which days are sessions, and what may be done at a moment.

The table is our own dated file, because public calendars lack special weekend sessions and Muhurat sessions. Outside
its coverage the answer is CLOSED, never a guess: `covers` tells the two kinds of closed apart.

Everything is worked out when the calendar is loaded (about 20 ms, once per process), so that the lookups that replay
makes on every message are one dictionary access or one binary search.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Final

from market.calendar_file import CalendarTable, SpecialDay, merge_overrides, read_table
from market.errors import BadInput
from market.sessions import (
    DAY_NS,
    IST_OFFSET_NS,
    DayPlan,
    Phase,
    Session,
    SessionKind,
    Timeline,
    day_ordinal,
    midnight_ns,
)

__all__ = ["NSE_TABLE", "Calendar", "Phase", "Session", "SessionKind"]

NSE_TABLE: Final = Path(__file__).resolve().parent / "data" / "nse_calendar.yaml"
_SATURDAY: Final = 5
_NO_PHASES: Final = Timeline((), ())
_NOTHING_TRADED: Final = DayPlan(_NO_PHASES, _NO_PHASES)


class Calendar:
    """Sessions and phases over a covered range of days. Immutable; share it freely."""

    __slots__ = ("_closed", "_days", "_plans", "_sessions", "coverage_from", "coverage_until")

    def __init__(
        self,
        *,
        coverage_from: date,
        coverage_until: date,
        sessions: Iterable[tuple[Session, DayPlan]],
        closed: dict[date, str],
    ) -> None:
        """Hold sessions, in the order of their days, with their plans; and the names of closed weekdays."""
        pairs = list(sessions)
        self.coverage_from: Final = coverage_from
        self.coverage_until: Final = coverage_until
        self._sessions: Final = {session.day: session for session, _ in pairs}
        self._days: Final = list(self._sessions)
        self._plans: Final = {session.day.toordinal(): plan for session, plan in pairs}
        self._closed: Final = closed

    @classmethod
    def load(cls, path: Path | None = None, *, overrides: Path | None = None) -> Calendar:
        """Return the calendar of a file (default: the NSE table that ships with the product), with overrides merged.

        Raises BadInput naming file, key, value and what is allowed.
        """
        if overrides is None and path is None:
            return _shipped()
        table = read_table(NSE_TABLE if path is None else path)
        if overrides is not None:
            merge_overrides(table, overrides)
        return _build(table)

    def covers(self, day: date) -> bool:
        """Return whether the table knows this day. False: closed, but only because nothing is known."""
        return self.coverage_from <= day <= self.coverage_until

    def days_of_coverage_left(self, day: date) -> int:
        """Return the days from `day` to the end of the coverage; 0 on its last day and after."""
        return max(0, (self.coverage_until - day).days)

    def session(self, day: date) -> Session | None:
        """Return a day's session, None when the day is closed or not covered."""
        return self._sessions.get(day)

    def is_session(self, day: date) -> bool:
        """Return whether the exchange trades on a day."""
        return day in self._sessions

    def closed_because(self, day: date) -> str:
        """Return why a day has no session, in words; empty when it has one."""
        if day in self._sessions:
            return ""
        if not self.covers(day):
            return f"the calendar covers {self.coverage_from} to {self.coverage_until} only"
        if day in self._closed:
            return self._closed[day] or "exchange holiday"
        return "weekend"

    def next_session(self, after: date) -> Session | None:
        """Return the first session after a day; None when it lies past the coverage, or the day is before it."""
        if after.toordinal() < self.coverage_from.toordinal() - 1:
            return None
        index = bisect_right(self._days, after)
        return self._sessions[self._days[index]] if index < len(self._days) else None

    def previous_session(self, before: date) -> Session | None:
        """Return the last session before a day; None when it lies before the coverage, or the day is past it."""
        if before.toordinal() > self.coverage_until.toordinal() + 1:
            return None
        index = bisect_left(self._days, before)
        return self._sessions[self._days[index - 1]] if index > 0 else None

    def sessions(self, start: date, end: date) -> list[Session]:
        """Return the sessions from `start` to `end`, both included, in order."""
        days = self._days[bisect_left(self._days, start) : bisect_right(self._days, end)]
        return [self._sessions[day] for day in days]

    def phase(self, at_ns: int, *, derivatives: bool) -> Phase:
        """Return the phase at a moment. `derivatives`: the security has derivatives, and so a closing auction."""
        plan = self._plans.get(day_ordinal(at_ns))
        if plan is None:
            return Phase.CLOSED
        timeline = plan.derivatives if derivatives else plan.others
        return timeline.at((at_ns + IST_OFFSET_NS) % DAY_NS)

    def continuous_close_ns(self, session: Session, *, derivatives: bool) -> int:
        """Return when continuous trading ends for a security: 15:15 under the closing auction, else the close.

        Raises BadInput for a session that is not this calendar's.
        """
        plan = self._plans.get(session.day.toordinal())
        if plan is None:
            raise BadInput(f"calendar: {session.day} is not a session: {self.closed_because(session.day)}")
        spans = plan.timeline(derivatives=derivatives).continuous()
        return midnight_ns(session.day) + spans[-1][1] if spans else session.close_ns


@lru_cache(maxsize=1)
def _shipped() -> Calendar:
    return _build(read_table(NSE_TABLE))


def _build(table: CalendarTable) -> Calendar:
    return Calendar(
        coverage_from=table.first,
        coverage_until=table.until,
        sessions=_days(table),
        closed=dict(table.closed),
    )


def _days(table: CalendarTable) -> list[tuple[Session, DayPlan]]:
    result: list[tuple[Session, DayPlan]] = []
    rules = iter(table.ordinary[1:])
    following = next(rules, None)
    plan = table.ordinary[0][1]
    opens, closes = plan.bounds()
    midnight = midnight_ns(table.first)
    for ordinal in range(table.first.toordinal(), table.until.toordinal() + 1):
        day = date.fromordinal(ordinal)
        while following is not None and day >= following[0]:
            plan, following = following[1], next(rules, None)
            opens, closes = plan.bounds()
        special = table.sessions.get(day)
        if special is not None:
            result.append(_special(day, special, plan, table))
        elif day.weekday() < _SATURDAY and day not in table.closed:
            result.append((Session(day, SessionKind.REGULAR, midnight + opens, midnight + closes), plan))
        midnight += DAY_NS
    return result


def _special(day: date, special: SpecialDay, plan: DayPlan, table: CalendarTable) -> tuple[Session, DayPlan]:
    """Return a listed session. Short ones trade continuously in their hours: nothing is known of auctions around them."""
    midnight = midnight_ns(day)
    if special.hours == ():
        opens, closes = plan.bounds()
        return Session(day, special.kind, midnight + opens, midnight + closes, special.name), plan
    if special.hours is None:
        hours = table.placeholder[special.kind]
        plan = _NOTHING_TRADED
    else:
        hours = special.hours
        timeline = Timeline.of([(start, end, Phase.CONTINUOUS) for start, end in hours])
        plan = DayPlan(timeline, timeline)
    session = Session(
        day,
        special.kind,
        midnight + hours[0][0],
        midnight + hours[-1][1],
        special.name,
        short=True,
        hours_known=special.hours is not None,
    )
    return session, plan
