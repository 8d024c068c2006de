"""The simulated disk: what is synced survives a kill or a power cut, what is only written does not.

A transaction in flight when the machine dies is on the disk as a whole or not at all: that is what SQLite's log promises,
and tests/daemon/test_torn_journal.py holds the real one to it, byte by byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from daemon.journal import Chain, Row
from daemon.simulation.chance import Chance
from daemon.simulation.loop import Life


class SimulatedDisk:
    """What is durable in the world of one daemon: the journal's rows and the stop latch."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.latch: dict[str, Any] | None = None
        self.broken = ""  # why writes fail; empty: they do not


class SimulatedJournal(Chain):
    """A durable journal whose writer is a timer instead of a thread; commits take time, fail, and may be cut off."""

    def __init__(self, disk: SimulatedDisk, life: Life, loop: asyncio.AbstractEventLoop, chance: Chance) -> None:
        super().__init__("simulated", durable=True)
        self._disk = disk
        self._life = life
        self._loop = loop
        self._chance = chance
        self._flight: list[Row] = []
        self._scheduled: asyncio.TimerHandle | None = None
        self._notify: Callable[[], None] = lambda: None

    def _rows(self) -> Iterable[Row]:
        return tuple(self._disk.rows)

    def start(self, notify: Callable[[], None]) -> None:
        """Begin to write; `notify` is called when the disk has moved on, or failed."""
        self._notify = notify

    def append(self, message: Any, *, cause: int, at_ns: int) -> int:
        """Append; the writer looks by itself within a fifth of a second, as the real one does."""
        seq = super().append(message, cause=cause, at_ns=at_ns)
        if self._scheduled is None and not self._flight:
            self._scheduled = self._loop.call_later(0.2, self._begin)
        return seq

    def request_commit(self) -> None:
        """Begin at once, unless a commit is on its way: the next one begins when it is done."""
        if not self._flight and self._pending:
            if self._scheduled is not None:
                self._scheduled.cancel()
            self._scheduled = self._loop.call_later(0.0, self._begin)

    def _begin(self) -> None:
        self._scheduled = None
        if self._flight or self.failure is not None:
            return
        self._life.touch("a commit begins")
        self._flight = self._take()
        if not self._flight:
            return
        seconds = self._chance.between(0.001, 0.004, "commit")
        if self._chance.strikes("slow_disk"):
            seconds = self._chance.between(0.5, 25.0, "slow commit")
        self._loop.call_later(seconds, self._done)

    def _done(self) -> None:
        if self._disk.broken:
            self._flight = []
            self.failure = f"write failed: {self._disk.broken}"
            self._notify()
            return
        self._land()
        self._life.touch("a commit is on disk, and nobody knows")
        self._notify()
        if self._pending:
            self._begin()

    def _land(self) -> None:
        self._disk.rows.extend(self._flight)
        if self._flight:
            self.durable_seq = self._flight[-1][0]
        self._flight = []

    def cut_off(self) -> None:
        """The machine died: a commit in flight is on the disk, or it is not."""
        if self._flight and not self._disk.broken and self._chance.roll("commit in flight") < 0.5:
            self._land()
        self._flight = []
        self._pending.clear()

    def flush(self) -> None:
        """Keep what is pending, now."""
        self._flight += self._take()
        if self._disk.broken:
            self.failure = f"write failed: {self._disk.broken}"
        else:
            self._land()

    def close(self) -> None:
        """Keep what is pending, and end."""
        if self._scheduled is not None:
            self._scheduled.cancel()
        if self.failure is None:
            self.flush()


class SimulatedLatch:
    """The stop latch of one process on the simulated disk."""

    def __init__(self, disk: SimulatedDisk, life: Life) -> None:
        self._disk = disk
        self._life = life

    def engaged(self) -> bool:
        """Return whether new orders are forbidden."""
        return self._disk.latch is not None

    def read(self) -> dict[str, Any]:
        """Return what the latch says."""
        return self._disk.latch or {}

    def engage(self, *, mode: str, reason: str, uid: int, at: str) -> None:
        """Write it."""
        self._life.touch("the latch is written")
        self._disk.latch = {"mode": mode, "reason": reason, "uid": uid, "at": at}

    def release(self) -> None:
        """Remove it."""
        self._life.touch("the latch is removed")
        self._disk.latch = None
