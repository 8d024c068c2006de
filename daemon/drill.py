"""Stop drills: how long a stop takes, from the command's arrival to the last confirmed cancel, on record.

A drill is a real stop. The stop plane engages the latch and says when the command arrived and when the latch was durable;
the dispatch says when it heard, when the cancels were asked for, and when the broker had confirmed the last one. Times
are of the process's stopwatch. Going on afterwards takes the usual two steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from brokers.orders import OrderState
from daemon.bus import Bus, Envelope, Output
from daemon.effects import DropTimer, Reply, SetTimer
from daemon.messages import DrillDue, Halted, OrderReports, StopDrillBegan, StopDrilled
from daemon.state import State
from daemon.stops import STOP_CAUSES

# After this long without a confirmation a cancel counts as unconfirmed.
CONFIRM_SECONDS: Final = 20
_TIMER: Final = "stop-drill"


class Drills:
    """Measures the part of a drill that happens in the dispatch."""

    def __init__(self, state: State, stopwatch: Callable[[], float]) -> None:
        self.state = state
        self._stopwatch = stopwatch
        self._began: StopDrillBegan | None = None
        self._heard = self._asked = 0.0
        self._tags: tuple[str, ...] | None = None  # None: the stop itself was not handled yet

    def wire(self, bus: Bus) -> None:
        """Register the handlers; after the executor's, which asks for the cancels."""
        bus.handle(StopDrillBegan, self.on_began)
        bus.handle(Halted, self.on_halted)
        bus.handle(OrderReports, self.on_reports)
        bus.handle(DrillDue, self.on_due)

    def on_began(self, message: StopDrillBegan, _: Envelope) -> None:
        """Note when the dispatch heard; the stop is the very next command in its lane."""
        self._began, self._tags, self._heard = message, None, self._stopwatch()

    def on_halted(self, message: Halted, envelope: Envelope) -> list[Output] | None:
        """Note what is being cancelled; a drill that only halts ends here."""
        began = self._began
        if began is None or self._tags is not None or message.cause != STOP_CAUSES.get(began.mode):
            return None
        self._asked = self._stopwatch()
        self._tags = tuple(self.state.live) if began.really else ()
        if not self._tags:
            return self._done(self._asked)
        return [SetTimer(_TIMER, envelope.at_ns + CONFIRM_SECONDS * 10**9, DrillDue(token=began.token))]

    def on_reports(self, _: OrderReports, __: Envelope) -> list[Output] | None:
        """End with the last confirmation."""
        if self._tags is None or any(tag in self.state.live for tag in self._tags):
            return None
        return [DropTimer(_TIMER), *self._done(self._stopwatch())]

    def on_due(self, message: DrillDue, _: Envelope) -> list[Output] | None:
        """End without the confirmations that did not come."""
        if self._began is None or self._tags is None or message.token != self._began.token:
            return None
        return self._done(self._stopwatch())

    def _done(self, ended: float) -> list[Output]:
        began, tags = self._began, self._tags or ()
        assert began is not None
        self._began = self._tags = None
        state = self.state
        done = StopDrilled(
            uid=began.uid,
            reason=began.reason,
            mode=began.mode,
            latch_ms=_milliseconds(began.latched - began.arrived),
            heard_ms=_milliseconds(self._heard - began.arrived),
            asked_ms=_milliseconds(self._asked - began.arrived),
            confirmed_ms=_milliseconds(ended - began.arrived),
            orders=len(tags),
            cancelled=sum(1 for tag in tags if state.orders[tag].state is OrderState.CANCELLED),
            unconfirmed=tuple(tag for tag in tags if tag in state.live),
        )
        payload: dict[str, Any] = msgspec.to_builtins(done) | {"unconfirmed": list(done.unconfirmed)}
        # Fields that are zero are left out of a record; a person and a program want to see them.
        answer = {name: payload.get(name, getattr(done, name)) for name in done.__struct_fields__}
        return [done, Reply(began.token, 200, answer)]


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1e3, 3)
