"""The bus: bounded lanes, and one dispatch that handles one message at a time.

    edges post -> lanes (control > broker > timer > market) -> journal -> state (fold) -> handlers -> messages, effects

* Only the dispatch changes state. Handlers are plain functions; two messages are never handled at once, so there is
  no lock. Messages that a handler returns are handled next, before anything else from an edge, with `cause` set.
* An effect (sending orders, asking a strategy, reading the broker) is what waits or leaves the process; an edge runs
  it. A durable effect is held until every record up to its own is on disk, in order.
* A full lane has a policy: control and broker are unbounded in name and bounded by what a person and a broker can say
  (overflow halts); a full market lane drops its *oldest* batch, because the newest price is the one that matters, and
  counts it. The market lane also waits while the disk is far behind: bars may be dropped, a stop may not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

import msgspec

from daemon.clock import Clock
from daemon.journal import Chain
from daemon.messages import Lane

CAPACITY: Final = {Lane.CONTROL: 1_000, Lane.BROKER: 100_000, Lane.TIMER: 10_000, Lane.MARKET: 10_000}
# After so many messages the loop gets a turn, so that sockets and timers live while a backlog is worked off.
_BURST: Final = 64
# Bars are taken no further than so many records ahead of the disk; what comes meanwhile waits in its lane, or is dropped.
_AHEAD: Final = 10_000


class Effect(msgspec.Struct, frozen=True):
    """Something an edge must do. `durable` effects wait for the journal; `urgent` ones overtake those that wait."""

    durable: ClassVar[bool] = False
    urgent: ClassVar[bool] = False


class Envelope(NamedTuple):
    """What the journal added to a message."""

    seq: int
    cause: int
    at_ns: int


Output = msgspec.Struct | Effect
Reducer = Callable[[Any, Envelope], None]
Handler = Callable[[Any, Envelope], "list[Output] | None"]


@dataclass(slots=True)
class BusCounters:
    """What the bus did, for status and metrics."""

    handled: int = 0
    dropped: int = 0
    refused: int = 0
    observer_errors: int = 0
    observer_error: str = ""


class Bus:
    """Lanes and dispatch over one journal."""

    def __init__(self, journal: Chain, clock: Clock, run_effect: Callable[[Effect], None]) -> None:
        self.journal = journal
        self.clock = clock
        self.counters = BusCounters()
        self.failed: str | None = None
        self.on_failure: Callable[[str], None] = lambda reason: None
        self.on_record: Callable[[Any, Envelope], None] | None = None
        self._run_effect = run_effect
        self._lanes: dict[Lane, deque[tuple[msgspec.Struct, int]]] = {lane: deque() for lane in Lane}
        self._ordered = tuple(self._lanes[lane] for lane in (Lane.CONTROL, Lane.BROKER, Lane.TIMER, Lane.MARKET))
        self._reducers: dict[type, tuple[Reducer, ...]] = {}
        self._handlers: dict[type, tuple[Handler, ...]] = {}
        self._held: deque[tuple[int, Effect]] = deque()
        self._inner: deque[tuple[msgspec.Struct, int]] = deque()
        self._scheduled = False
        self._paused = True

    # ---- wiring ------------------------------------------------------------------------------------------------------

    def reduce(self, kind: type, reducer: Reducer) -> None:
        """Register a fold step: runs for each record of `kind`, live and in recovery, before any handler."""
        self._reducers[kind] = (*self._reducers.get(kind, ()), reducer)

    def handle(self, kind: type, handler: Handler) -> None:
        """Register a handler: runs live only, after all fold steps of the record."""
        self._handlers[kind] = (*self._handlers.get(kind, ()), handler)

    # ---- recovery ----------------------------------------------------------------------------------------------------

    def recover(self) -> int:
        """Fold the whole journal into the state; return how many records there were."""
        count = 0
        for record in self.journal.read():
            envelope = Envelope(record.seq, record.cause, record.at_ns)
            for reducer in self._reducers.get(type(record.message), ()):
                reducer(record.message, envelope)
            count += 1
        return count

    # ---- running -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to handle messages; those posted before wait in their lanes."""
        self._paused = False
        self._schedule()

    def pause(self) -> None:
        """Handle nothing more (shutdown). Effects of what was handled still run once they are durable."""
        self._paused = True

    def shut(self) -> tuple[tuple[Effect, ...], tuple[msgspec.Struct, ...]]:
        """End for good: no effect runs any more. Return the effects that were held back, and what the broker's lane holds."""
        self._paused = True
        held = self.held()
        self._held.clear()
        return held, tuple([message for message, _ in self._lanes[Lane.BROKER]])

    def held(self) -> tuple[Effect, ...]:
        """Return the effects that wait for their records to be on disk."""
        return tuple([effect for _, effect in self._held])

    def post(self, lane: Lane, message: msgspec.Struct, *, cause: int = 0) -> None:
        """Queue a message from an edge. Never handles it inside the call."""
        queue = self._lanes[lane]
        if len(queue) >= CAPACITY[lane]:
            if lane is Lane.MARKET:
                queue.popleft()
                self.counters.dropped += 1
            else:
                self._fail(f"the {lane} lane is full ({CAPACITY[lane]} messages)")
                return
        queue.append((message, cause))
        if not self._scheduled:
            self._schedule()

    def effects_done(self) -> bool:
        """Return whether no effect is held back."""
        return not self._held

    def idle(self) -> bool:
        """Return whether no message waits and no effect is held back."""
        return not any(self._ordered) and not self._held

    def backlog(self) -> dict[str, int]:
        """Return how many messages wait in each lane."""
        return {lane.value: len(queue) for lane, queue in self._lanes.items()}

    def _schedule(self) -> None:
        if not self._paused and self.failed is None:
            self._scheduled = True
            self.clock.loop.call_soon(self._drain)

    def _drain(self) -> None:
        # What is posted while this turn runs is taken by it; it needs no turn of its own.
        self._scheduled = True
        control, broker, timer, market = self._ordered
        for _ in range(0 if self._paused else _BURST):
            # Control first, each time: a stop overtakes whatever data is queued.
            queue = control or broker or timer or self._market()
            if not queue or self.failed is not None:
                break
            message, cause = queue.popleft()
            try:
                self._process(message, cause)
            except Exception as error:  # noqa: BLE001 - whatever breaks in the dispatch must halt, not vanish
                self._fail(f"{type(message).__name__}: {type(error).__name__}: {error}", error)
                return
        self._scheduled = False
        if control or broker or timer or self._market():
            self._schedule()
        elif market:
            self.journal.request_commit()  # which leads to `release`, and that to the bars that wait

    def _market(self) -> deque[tuple[msgspec.Struct, int]] | None:
        """Return the market lane, None while the disk is too far behind to take from it."""
        journal = self.journal
        return self._ordered[3] if journal.seq - journal.durable_seq < _AHEAD else None

    def _process(self, message: msgspec.Struct, cause: int) -> None:
        inner = self._inner
        inner.append((message, cause))
        clock, journal, reducers, handlers = self.clock, self.journal, self._reducers, self._handlers
        at_ns = clock.now_ns()
        while inner:
            message, cause = inner.popleft()
            seq = journal.append(message, cause=cause, at_ns=at_ns)
            envelope = Envelope(seq, cause, at_ns)
            kind = type(message)
            for reducer in reducers.get(kind, ()):
                reducer(message, envelope)
            self.counters.handled += 1
            for handler in handlers.get(kind, ()):
                outputs = handler(message, envelope)
                if outputs:
                    for output in outputs:
                        if isinstance(output, Effect):
                            if output.urgent:
                                self._held.appendleft((0, output))
                                continue
                            self._held.append((journal.seq + len(inner) if output.durable else 0, output))
                        else:
                            inner.append((output, seq))
            if self.on_record is not None:
                self._observe(message, envelope)
        if self._held:
            self.release()

    def _observe(self, message: msgspec.Struct, envelope: Envelope) -> None:
        """Tell the observer (logs, counters). What breaks there is counted and shown, and never stops trading."""
        assert self.on_record is not None
        try:
            self.on_record(message, envelope)
        except Exception as error:  # noqa: BLE001
            self.counters.observer_errors += 1
            self.counters.observer_error = f"{type(message).__name__}: {type(error).__name__}: {error}"

    def release(self) -> None:
        """Run the effects whose records are durable, in order; called again when the journal has moved on."""
        held, journal = self._held, self.journal
        if journal.failure is not None:
            self._fail(f"journal: {journal.failure}")
            return
        while held and held[0][0] <= journal.durable_seq:
            effect = held.popleft()[1]
            try:
                self._run_effect(effect)
            except Exception as error:  # noqa: BLE001 - an effect that breaks must halt, not vanish in a callback
                self._fail(f"{type(effect).__name__}: {type(error).__name__}: {error}", error)
                return
        if held:
            journal.request_commit()
        if not self._scheduled and self._market():
            self._schedule()

    def _fail(self, reason: str, error: BaseException | None = None) -> None:
        """Stop handling for good: no effect that was held back will run. The process stays up to say so."""
        if self.failed is None:
            self.failed = reason
            self._held.clear()
            for queue in self._ordered:
                self.counters.refused += len(queue)
                queue.clear()
            self.on_failure(reason)
            if error is not None:
                self.clock.loop.call_exception_handler({"message": f"dispatch failed: {reason}", "exception": error})
