"""Time and the three event loops: ordinary, scaled and virtual.

`Clock.now_ns()` is an epoch plus the running loop's own time, so replacing the loop replaces time everywhere. This is
the one module that may ask the machine for the time (a lint rule bans it elsewhere).

* ordinary loop: live and paper trading;
* scaled loop: the same, with time running `speed` times faster, to watch a trading day in minutes over real sockets;
* virtual loop: replay and simulation. It never waits: when nothing is ready, time jumps to the next timer.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from heapq import heappop
from typing import Any, Final, NamedTuple

IST: Final = timezone(timedelta(hours=5, minutes=30), "IST")
NS: Final = 1_000_000_000
_IST_OFFSET_NS: Final = int(5.5 * 3600) * NS
_DAY_NS: Final = 86_400 * NS
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
# Real I/O (signals above all) is polled once in so many turns of a virtual loop; a turn is some ten microseconds.
_POLL_EVERY: Final = 256


class Clock:
    """The daemon's only source of time: `epoch_ns` is the instant at which the loop's own time was zero."""

    __slots__ = ("epoch_ns", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, epoch_ns: int) -> None:
        self.loop = loop
        # In whole microseconds, as what is read: instants of different processes are then never a fraction of one apart,
        # which a timer could not wait for.
        self.epoch_ns = epoch_ns - epoch_ns % 1000

    @classmethod
    def wall(cls, loop: asyncio.AbstractEventLoop) -> Clock:
        """Return the clock of an ordinary loop, set once from the machine's wall clock."""
        return cls(loop, time.time_ns() - int(loop.time() * 1e9))

    def move(self, by_ns: int) -> int:
        """Set the clock later by so much, in whole microseconds; return what it was moved by."""
        before = self.epoch_ns
        self.epoch_ns = before + by_ns - (before + by_ns) % 1000
        return self.epoch_ns - before

    @property
    def pace(self) -> float:
        """How many of the loop's seconds pass in one of the machine's: what waits for another process counts those."""
        return float(getattr(self.loop, "speed", 1.0))

    def now_ns(self) -> int:
        """Return nanoseconds since 1970-01-01 UTC, in steps of a microsecond.

        A microsecond, because the loop's time is a float: rounding there makes the same instant the same integer on
        every run and after years of virtual time.
        """
        return self.epoch_ns + int(self.loop.time() * 1e6 + 0.5) * 1000

    def call_at(self, at_ns: int, callback: Callable[..., Any], *args: Any) -> asyncio.TimerHandle:
        """Run `callback` at an instant; at once when that has passed."""
        return self.loop.call_at((at_ns - self.epoch_ns) / 1e9, callback, *args)

    async def sleep_until(self, at_ns: int) -> None:
        """Wait for an instant."""
        await asyncio.sleep(max(0.0, (at_ns - self.now_ns()) / 1e9))


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is what its timers say. Starts at zero; ten years of replay stay exact to a microsecond.

    It never waits: when nothing is ready, time jumps to the next timer. Callbacks run in the order in which they became
    ready, as on the stock loop; its turn is replaced because a replay spends a large part of its time in there.
    """

    def __init__(self) -> None:
        self._virtual_now = 0.0
        self._turns = 0
        super().__init__()
        # The stock resolution (1 ns) is below a double's spacing after some 100 virtual days, and a loop would spin.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self._virtual_now

    def _run_once(self) -> None:
        loop: Any = self  # the stock loop's parts are private; their names have been stable since Python 3.4
        ready: deque[Any] = loop._ready
        scheduled: list[Any] = loop._scheduled
        self._turns += 1
        if not ready:
            while scheduled and scheduled[0]._cancelled:
                loop._timer_cancelled_count -= 1
                heappop(scheduled)._scheduled = False
            if scheduled:
                self._virtual_now = max(self._virtual_now, scheduled[0]._when)
                due = self._virtual_now + self._clock_resolution
                while scheduled and scheduled[0]._when < due:
                    handle = heappop(scheduled)
                    handle._scheduled = False
                    ready.append(handle)
        if self._turns % _POLL_EVERY == 0 or not ready:
            # Signals and sockets; with no timer left, only the outside world can continue this run.
            loop._process_events(loop._selector.select(0 if ready or loop._stopping else None))
        self._run_ready(ready)

    def _run_ready(self, ready: deque[Any]) -> None:
        """Run what is ready by now, in order; what becomes ready meanwhile waits for the next turn."""
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()


class _ScaledSelector(selectors.DefaultSelector):
    speed = 1.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout if timeout is None else timeout / self.speed)


class ScaledTimeLoop(asyncio.SelectorEventLoop):
    """An ordinary loop whose seconds are shorter: real sockets, real threads, time running `speed` times faster."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._started = time.monotonic()
        selector = _ScaledSelector()
        selector.speed = speed
        super().__init__(selector)

    def time(self) -> float:
        """Return scaled seconds since the loop was made."""
        return (time.monotonic() - self._started) * self.speed


def wall_ns() -> int:
    """Return the machine's wall clock, for what is not part of a decision (file names, start-up)."""
    return time.time_ns()


def wall_datetime() -> datetime:
    """Return the machine's wall clock in IST."""
    return datetime.now(IST)


class Readings(NamedTuple):
    """The machine's clocks at one moment: the wall clock, the one that counts, and the one that also counts suspends."""

    wall_ns: int
    counting_ns: int
    boot_ns: int


def read_clocks() -> Readings:
    """Return the machine's clocks, for the watch over them.

    They are read one after the other; a pause of the process in between would look like a clock that jumped.
    """
    for _ in range(5):
        before = time.monotonic_ns()
        wall, boot = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        after = time.monotonic_ns()
        if after - before < 10_000_000:
            break
    return Readings(wall, before, boot)


def cpu_seconds() -> float:
    """Return this process's CPU time, for figures in reports."""
    return time.process_time()


def stopwatch() -> float:
    """Return monotonic wall seconds, for figures in reports."""
    return time.perf_counter()


def ist(at_ns: int) -> datetime:
    """Return an instant in Indian Standard Time."""
    return datetime.fromtimestamp(at_ns / 1e9, UTC).astimezone(IST)


def ist_ns(day: date, *, hour: int, minute: int, second: int = 0) -> int:
    """Return the instant of a wall-clock time in India."""
    midnight = (day.toordinal() - _EPOCH_ORDINAL) * _DAY_NS - _IST_OFFSET_NS
    return midnight + (hour * 3600 + minute * 60 + second) * NS


def session_day(at_ns: int) -> date:
    """Return the date in India at an instant."""
    return date.fromordinal((at_ns + _IST_OFFSET_NS) // _DAY_NS + _EPOCH_ORDINAL)
