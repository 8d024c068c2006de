"""Watchers: what each part of the world says about the conditions that it is asked for.

A watcher answers `look(now_ns)` with findings: this condition holds, or does not, and what was seen. It says nothing of a
condition that others end (a person, a clean comparison of the books). Nothing here posts, sends or waits.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Final, NamedTuple, Protocol

from daemon.clock import Readings, ist, session_day
from daemon.messages import BarsRejected, ConditionName
from daemon.sessions import SETTLE_NS
from daemon.settings import DeadManSettings
from daemon.state import State
from market.bar import BarBatch, Interval
from market.calendar import Calendar, Phase

_SECONDS: Final = {Interval.MINUTE: 60, Interval.FIVE_MINUTES: 300}
_SILENT_BARS: Final = 3
_NS: Final = 10**9
_PRE_OPEN_NS: Final = 15 * 60 * _NS
# What is free must rise by so much above a limit before a disk counts as mended: a disk on the edge would be told again
# and again.
_MENDED: Final = 1.25


class Finding(NamedTuple):
    """What a watcher says of a condition."""

    name: ConditionName
    holds: bool
    detail: str


class Watcher(Protocol):
    """Looks at one part of the world."""

    def look(self, now_ns: int) -> list[Finding]:
        """Return what is to be said now."""
        ...


class FeedWatcher:
    """Silent and frozen feeds, in continuous trading alone.

    Age is that of the data, not of its arrival: a feed that delivers the bars of an hour ago is as stale as none.
    """

    def __init__(self, rules: DeadManSettings, calendar: Calendar, state: State, kinds: frozenset[bool]) -> None:
        self._rules = rules
        self._calendar = calendar
        self._state = state
        self._kinds = kinds
        self._interval = Interval.FIVE_MINUTES
        self._continuous_since: int | None = None
        self._looked = False
        self._last: BarBatch | None = None
        self._same = 1  # how many bars in a row have said the same

    @property
    def limit_seconds(self) -> float:
        """Return the longest silence: as set, or three bars of this feed and a minute for their way."""
        usual = _SILENT_BARS * _SECONDS.get(self._interval, 86_400) + 60.0
        return max(self._rules.silence_seconds or usual, self._rules.least_seconds)

    def on_bars(self, batch: BarBatch, now_ns: int) -> None:
        """Take a bar in; a bar that is no news (late, or sent again) says nothing about the feed."""
        self._interval = batch.interval
        last = self._last
        if last is not None and batch.end_ns <= last.end_ns:
            return
        same = last is not None and last.session == batch.session and _content(last) == _content(batch)
        self._same = self._same + 1 if same else 1
        self._last = batch

    def on_rejected(self, message: BarsRejected) -> None:
        """A refused bar is none."""

    def look(self, now_ns: int) -> list[Finding]:
        """Judge silence and sameness."""
        since = self._since(now_ns)
        if since is None:
            self._same = 1
            over = "continuous trading is over"
            return [Finding(ConditionName.STALE_FEED, False, over), Finding(ConditionName.FROZEN_FEED, False, over)]
        seen = self._state.view.last_end_ns
        age = (now_ns - max(seen, since)) / _NS
        stale, frozen = age > self.limit_seconds, self._same >= self._rules.frozen_bars
        same = f"the last {self._same} bars are the same" if frozen else "the bars differ again"
        return [
            Finding(ConditionName.STALE_FEED, stale, _last_bar(seen) if stale else "bars come again"),
            Finding(ConditionName.FROZEN_FEED, frozen, same),
        ]

    def _since(self, now_ns: int) -> int | None:
        """Return since when there has been continuous trading, None when there is none."""
        phases = [self._calendar.phase(now_ns, derivatives=kind) for kind in self._kinds]
        if Phase.CONTINUOUS not in phases:
            self._continuous_since = None
        elif self._continuous_since is None:
            session = self._calendar.session(session_day(now_ns))
            # A process that starts in the middle has no grace: data that was old before it is old now.
            self._continuous_since = now_ns if self._looked or session is None else session.open_ns
        self._looked = True
        return self._continuous_since


def _last_bar(end_ns: int) -> str:
    return f"the last bar is of {ist(end_ns).isoformat(timespec='seconds')}" if end_ns else "there has been no bar yet"


def _content(batch: BarBatch) -> tuple[object, ...]:
    return batch.symbols, batch.open, batch.high, batch.low, batch.close, batch.volume


class CalendarWatcher:
    """Calendar against feed: bars of a day that is closed, or a day without any bar while the feed is connected.

    Once a day: a person who has looked and resumed is not asked again.
    """

    def __init__(self, rules: DeadManSettings, calendar: Calendar, state: State, connected: Callable[[], bool]) -> None:
        self._rules = rules
        self._calendar = calendar
        self._state = state
        self._connected = connected
        self._told = date.min
        self._heard = date.min  # the newest session of which anything was heard
        self._on_closed: tuple[date, int] = (date.min, 0)
        self._silent_since: int | None = None

    def on_bars(self, batch: BarBatch, now_ns: int) -> None:
        """Count bars of today when today is closed: one may be a stray, or a test of the exchange's."""
        self._heard = max(self._heard, batch.session)
        today = session_day(now_ns)
        if batch.session == today and self._calendar.session(today) is None:
            count = self._on_closed[1] if self._on_closed[0] == today else 0
            self._on_closed = (today, count + 1)

    def on_rejected(self, message: BarsRejected) -> None:
        """A refused bar shows that the exchange trades."""
        self._heard = max(self._heard, message.session)

    def look(self, now_ns: int) -> list[Finding]:
        """Judge the day."""
        name, today = ConditionName.CALENDAR_CONTRADICTION, session_day(now_ns)
        held = self._state.conditions.held.get(name)
        if held is not None:
            self._told = session_day(held.since_ns)
            return [] if self._told == today else [Finding(name, False, "its day is over")]
        seen = self._bars_of_a_closed_day(today) or self._no_bars(now_ns, today)
        if not seen or self._told == today:
            return []
        self._told = today
        return [Finding(name, True, seen)]

    def _bars_of_a_closed_day(self, today: date) -> str:
        day, count = self._on_closed
        if day != today or count < self._rules.closed_day_bars:
            return ""
        return f"{count} bars of {today} have come, and the day is closed: {self._calendar.closed_because(today)}"

    def _no_bars(self, now_ns: int, today: date) -> str:
        session = self._calendar.session(today)
        trading = session is not None and session.hours_known and session.open_ns <= now_ns < session.close_ns
        heard = max(self._heard, self._state.view_session()) >= today
        if not trading or heard or not self._connected():
            self._silent_since = None  # a feed that is lost says nothing about the exchange
            return ""
        if self._silent_since is None:
            self._silent_since = now_ns
        minutes = (now_ns - self._silent_since) / (60 * _NS)
        if minutes < self._rules.first_bar_minutes:
            return ""
        return f"{today} is a session, the feed is connected, and no bar has come in {minutes:.0f} minutes"


class HorizonWatcher:
    """The end of the calendar comes near."""

    def __init__(self, rules: DeadManSettings, calendar: Calendar) -> None:
        self._rules = rules
        self._calendar = calendar

    def look(self, now_ns: int) -> list[Finding]:
        """Judge how far the calendar reaches."""
        left = self._calendar.days_of_coverage_left(session_day(now_ns))
        detail = f"it covers to {self._calendar.coverage_until}, {left} days ahead"
        return [Finding(ConditionName.CALENDAR_HORIZON, left < self._rules.horizon_days, detail)]


class DiskWatcher:
    """Free space where the journal is. A disk that cannot be asked counts as full."""

    def __init__(self, rules: DeadManSettings, free_space: Callable[[], tuple[int, int]]) -> None:
        self._free_space = free_space
        self._limits = (
            (ConditionName.DISK_NEARLY_FULL, rules.low_disk_bytes, rules.low_disk_share),
            (ConditionName.DISK_FULL, rules.least_disk_bytes, rules.least_disk_share),
        )
        self._short: set[ConditionName] = set()

    def look(self, now_ns: int) -> list[Finding]:
        """Judge both limits."""
        try:
            free, total = self._free_space()
        except OSError as error:
            return [Finding(name, True, f"cannot be asked: {error}") for name, _, _ in self._limits]
        found = []
        for name, most, share in self._limits:
            least = min(most, share * total)
            holds = free < (least * _MENDED if name in self._short else least)
            (self._short.add if holds else self._short.discard)(name)
            detail = f"{free / 2**20:.0f} MiB free, limit {least / 2**20:.0f} MiB"
            found.append(Finding(name, holds, detail))
        return found


class ClockWatcher:
    """The machine's clocks against each other: one that counts (and stands still in a suspend), one that also counts the
    suspend, and the wall clock, which somebody may set.

    The daemon's time counts from its start, so a wall clock that is set does not move it, and its deadlines hold. Which
    of the two is right is not known here. In a session that is for a person; outside, the daemon follows the wall clock, as a
    restart would: it is what the machine's time service has just corrected. After a suspend it follows at any hour, since
    its own time is wrong for certain.
    """

    def __init__(
        self,
        rules: DeadManSettings,
        calendar: Calendar,
        read: Callable[[], Readings],
        move: Callable[[int, str], None],
    ) -> None:
        self._most_ns = int(rules.clock_jump_seconds * _NS)
        self._calendar = calendar
        self._read = read
        self._move = move
        now = read()
        self._asleep_ns = now.boot_ns - now.counting_ns
        self._offset_ns = now.wall_ns - now.boot_ns
        self._behind_ns = 0  # how far the daemon's time is behind a wall clock that was set

    def look(self, now_ns: int) -> list[Finding]:
        """Compare; a difference is told once and is the new measure from there on."""
        now, found = self._read(), []
        slept = now.boot_ns - now.counting_ns - self._asleep_ns
        if slept > self._most_ns:
            self._asleep_ns += slept
            self._move(slept, "the machine was suspended")
            found.append(Finding(ConditionName.MACHINE_SLEPT, True, f"for {slept / _NS:.0f} s"))
            now_ns += slept
        step = now.wall_ns - now.boot_ns - self._offset_ns
        if abs(step) > self._most_ns:
            self._offset_ns += step
            self._behind_ns += step
            if not self._may_follow(now_ns):
                detail = f"it was set by {step / _NS:+.1f} s; the daemon goes on with its own time"
                found.append(Finding(ConditionName.CLOCK_JUMP, True, detail))
        if self._behind_ns and self._may_follow(now_ns):
            self._move(self._behind_ns, "the machine's clock was set")
            self._behind_ns = 0
        return found

    def _may_follow(self, now_ns: int) -> bool:
        """Return whether no session is touched, by the time of here or by that of the wall clock."""
        return self._quiet(now_ns) and self._quiet(now_ns + self._behind_ns)

    def _quiet(self, now_ns: int) -> bool:
        session = self._calendar.session(session_day(now_ns))
        return session is None or not session.open_ns - _PRE_OPEN_NS <= now_ns <= session.close_ns + SETTLE_NS
