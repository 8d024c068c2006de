"""The watch: an edge that looks around all the time in a session and says when a condition begins or ends.

The dispatch cannot notice what does not come: a silent feed, a full disk, a clock that was set. This edge asks the
watchers (`daemon.watchers`), compares their findings with the conditions on record and posts the difference. It decides
nothing; `daemon.conditions` says what follows. Replays have no watch: their feed and clock are the record.
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from daemon.bus import Bus, Envelope, Output
from daemon.clock import Clock, Readings, session_day
from daemon.messages import BarsRejected, ConditionChanged, Lane
from daemon.settings import DaemonSettings
from daemon.state import State
from daemon.watchers import CalendarWatcher, ClockWatcher, DiskWatcher, FeedWatcher, Finding, HorizonWatcher, Watcher
from market.bar import BarBatch
from market.calendar import Calendar

# How often to look, in seconds: (in a session, between sessions). Where there are clocks to compare, nothing should be sent
# between a wake-up and its being noticed; everything else has time, and time that is played fast has many seconds.
WITH_CLOCKS: Final = (1.0, 60.0)
WITHOUT_CLOCKS: Final = (30.0, 600.0)
# The first bars and the last ones lie outside the session's own hours by less than this.
_MARGIN_NS: Final = 20 * 60 * 10**9


@dataclass(frozen=True, slots=True)
class Senses:
    """What a composition lets its watch look at; None: there is no such thing here, and nothing is said of it.

    `free_space` returns (free, total) bytes of the state directory's disk.
    """

    feed_connected: Callable[[], bool] | None = None
    free_space: Callable[[], tuple[int, int]] | None = None
    clocks: Callable[[], Readings] | None = None


class Watch:
    """Asks the watchers on a timer, and the feed's at each bar. `move_clock(by_ns, why)` sets the daemon's time."""

    def __init__(
        self,
        *,
        settings: DaemonSettings,
        clock: Clock,
        calendar: Calendar,
        state: State,
        senses: Senses,
        move_clock: Callable[[int, str], None],
    ) -> None:
        self.clock = clock
        self.calendar = calendar
        self.state = state
        self._timer: TimerHandle | None = None
        self._post: Callable[[ConditionChanged], None] = lambda message: None
        self._periods = WITHOUT_CLOCKS if senses.clocks is None else WITH_CLOCKS
        rules = settings.dead_man
        self._at_bars: list[FeedWatcher | CalendarWatcher] = []
        self._watchers: list[Watcher] = [HorizonWatcher(rules, calendar)]
        if senses.clocks is not None:
            # First: the others judge by a time that is right.
            watcher = ClockWatcher(rules, calendar, senses.clocks, move_clock)
            self._watchers.insert(0, watcher)
        if senses.free_space is not None:
            self._watchers.append(DiskWatcher(rules, senses.free_space))
        if senses.feed_connected is not None:
            kinds = frozenset(instrument.derivatives for instrument in settings.instruments)
            self._at_bars = [
                FeedWatcher(rules, calendar, state, kinds),
                CalendarWatcher(rules, calendar, state, senses.feed_connected),
            ]
            self._watchers += self._at_bars

    def wire(self, bus: Bus) -> None:
        """Hear of bars, and say what changes. The feed's watchers see a bar after its fold, before anything else comes."""
        self._post = lambda message: bus.post(Lane.CONTROL, message)
        if self._at_bars:
            bus.handle(BarBatch, self.on_bars)
            bus.handle(BarsRejected, self.on_rejected)

    def start(self) -> None:
        """Say what holds now, and look again and again."""
        # What ended by itself in the process before is judged afresh: everything that holds is news.
        self._look(known=frozenset())

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def on_bars(self, batch: BarBatch, envelope: Envelope) -> list[Output] | None:
        """Judge the feed at each bar: what a good bar ends has ended before the next message."""
        found: list[Finding] = []
        for watcher in self._at_bars:
            watcher.on_bars(batch, envelope.at_ns)
            found += watcher.look(envelope.at_ns)
        return list(self._changes(found, self.state.conditions.held)) or None

    def on_rejected(self, message: BarsRejected, _: Envelope) -> None:
        """A bar that is not believed shows at least that somebody trades."""
        for watcher in self._at_bars:
            watcher.on_rejected(message)

    def _tick(self) -> None:
        self._look(known=self.state.conditions.held)

    def _look(self, *, known: Any) -> None:
        # The timer first: a look that fails must not be the last. It is armed again when the clock was moved.
        self.stop()
        trading, waiting = self._periods
        period = trading if self._in_session(self.clock.now_ns()) else waiting
        self._timer = self.clock.loop.call_later(period, self._tick)
        found = [finding for watcher in self._watchers for finding in watcher.look(self.clock.now_ns())]
        for change in self._changes(found, known):
            self._post(change)

    def _in_session(self, now_ns: int) -> bool:
        session = self.calendar.session(session_day(now_ns))
        return session is not None and session.open_ns - _MARGIN_NS <= now_ns < session.close_ns + _MARGIN_NS

    def _changes(self, found: list[Finding], known: Any) -> list[ConditionChanged]:
        return [
            ConditionChanged(name=finding.name, holds=finding.holds, detail=finding.detail)
            for finding in found
            if finding.holds != (finding.name in known)
        ]
