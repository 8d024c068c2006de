"""The agenda answers "has today's rebalance happened?" from durable state; timers only wake the question.

A rebalance slot is a time of day on sessions of our own calendar; recurring chores are APScheduler triggers; both are
asked on the daemon's own clock, so replay and simulation share them. A restart inside
a slot's window still does the day's rebalance once; one after it was decided does not do it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cache
from typing import Any, Final

from apscheduler.triggers.base import BaseTrigger

from daemon.clock import IST, ist_ns
from daemon.messages import Decided

REBALANCE: Final = "rebalance"


@dataclass(frozen=True, slots=True)
class Slot:
    """A scheduled rebalance: when in the session, and for how long after that it may still be done."""

    name: str
    at: time
    window_minutes: int
    settle_seconds: int = 0

    def due_ns(self, day: date) -> int:
        """Return the instant at which the slot is due: its time plus the seconds in which data may settle."""
        return (
            ist_ns(day, hour=self.at.hour, minute=self.at.minute, second=self.at.second) + self.settle_seconds * 10**9
        )

    def closes_ns(self, day: date) -> int:
        """Return the instant after which the slot is skipped."""
        return self.due_ns(day) + self.window_minutes * 60 * 10**9


def decision_id(portfolio: str, session: date, slot: str) -> str:
    """Return the id of a decision: a function of what it is for, never of when it ran."""
    return f"{session.isoformat().replace('-', '')}-{slot}-{_digest(portfolio)}"


@cache
def _digest(portfolio: str) -> str:
    return hashlib.blake2b(portfolio.encode(), digest_size=3).hexdigest()


class Agenda:
    """Which slots were decided; a fold of `Decided`."""

    def __init__(self, slots: tuple[Slot, ...]) -> None:
        self.slots = slots
        self._by_name = {slot.name: slot for slot in slots}
        self._decided: dict[tuple[date, str], str] = {}
        self._asked: set[tuple[date, str]] = set()

    def add(self, slot: Slot) -> None:
        """Add a slot to the schedule."""
        self.slots = (*self.slots, slot)
        self._by_name[slot.name] = slot

    def decided(self, message: Decided) -> None:
        """Note that a slot's decision was made, whatever its outcome."""
        self._decided[message.session, message.slot] = message.decision_id
        self._asked.discard((message.session, message.slot))

    def is_done(self, session: date, slot: str) -> bool:
        """Return whether the slot was decided in this session."""
        return (session, slot) in self._decided

    def ask(self, session: date, slot: str) -> bool:
        """Return whether to ask the strategy now; true once per slot and process."""
        key = (session, slot)
        if key in self._decided or key in self._asked:
            return False
        self._asked.add(key)
        return True

    def slot(self, name: str) -> Slot:
        """Return a slot by name."""
        return self._by_name[name]


class Recurring:
    """Calls a function at each fire time of an APScheduler trigger, on the daemon's clock."""

    def __init__(self, trigger: BaseTrigger, clock: Any, call: Callable[[datetime], None]) -> None:
        self._trigger = trigger
        self._clock = clock
        self._call = call
        self._previous: datetime | None = None
        self._timer: Any = None

    def start(self) -> None:
        """Arm the next fire time."""
        now = datetime.fromtimestamp(self._clock.now_ns() / 1e9, IST)
        fire = self._trigger.get_next_fire_time(self._previous, now)
        if fire is not None:
            self._timer = self._clock.call_at(round(fire.timestamp() * 1e6) * 1000, self._fire, fire)

    def _fire(self, fire: datetime) -> None:
        self._previous = fire
        self.start()  # first: a call that fails must not be the last
        self._call(fire)

    def stop(self) -> None:
        """Disarm."""
        if self._timer is not None:
            self._timer.cancel()
