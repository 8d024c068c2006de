"""The simulated feed: the exchange's bars on their way to the daemon, with what feeds do to them."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec

from daemon.clock import NS
from market.bar import BarBatch

if TYPE_CHECKING:
    from daemon.simulation.running import Running
    from daemon.simulation.world import World


class Feed:
    """Delivers bars to whichever process runs; what a process missed comes when it connects."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._today: list[BarBatch] = []
        self._before: list[BarBatch] = []  # the session before: a feed keeps it for those who come late
        self._session: date | None = None
        self.silent = False
        self.lost = False
        # Sessions of which the daemon was not told the whole truth.
        self.dishonest: set[date] = set()
        # Sessions of which it was told all, in the wrong order.
        self.disordered: set[date] = set()

    def plan_day(self, session: date) -> None:
        """Draw what goes wrong for a while."""
        world = self._world
        if self._today:
            self._before = self._today
        self._today, self._session = [], session
        if world.running is not None and not world.running.clock_right:
            self.lie()  # to a clock that is behind, bars come from the future
        self.silent = self.lost = False
        for what in ("silent", "lost"):
            if world.chance.strikes(f"feed_{what}"):
                begins = world.moment(session, what)
                ends = begins + int(world.chance.between(300, 10_800, f"{what}: seconds") * 1e9)
                world.at(begins, self._set, what, True)
                world.at(ends, self._set, what, False)

    def _set(self, what: str, value: bool) -> None:
        setattr(self, what, value)
        self._world.tell(f"feed: {what} {value}")
        if value and what == "silent":
            self.lie()
        running = self._world.running
        if not value and what == "lost" and running is not None:
            self.connect(running)

    def lie(self) -> None:
        """The daemon is not told the whole truth of this session."""
        if self._session is not None:
            self.dishonest.add(self._session)

    def connect(self, running: Running) -> None:
        """Send what the process has not seen of today and of the session before."""
        process = running.process
        if process is None:
            return
        after = process.core.state.view.last_end_ns
        missed = [batch for batch in (*self._before, *self._today) if batch.end_ns > after]
        for number, batch in enumerate(missed):
            self._world.later(1.0 + number * 0.001, self._deliver, batch)

    def play(self, batch: BarBatch) -> None:
        """The exchange's bar is complete."""
        chance = self._world.chance
        self._today.append(batch)
        if self.silent or self.lost:
            return
        said = batch
        if chance.strikes("feed_frozen") and len(self._today) > 1:
            said = _stamped(self._today[-2], batch)
        elif chance.strikes("bar_old") and self._before:
            self.lie()
            self._world.later(1.0, self._deliver, self._before[-1])
            return
        elif chance.strikes("bar_early"):
            early = msgspec.structs.replace(batch, end_ns=batch.end_ns + 86_400 * NS)
            self._world.later(0.5, self._deliver, early)
        elif chance.strikes("bar_missing"):
            gone = int(chance.roll("which is missing") * len(batch.symbols))
            said = _without(batch, gone)
        elif chance.strikes("bar_impossible"):
            wrong = chance.pick((float("nan"), -1.0, 0.0), "how wrong")
            said = _with(batch, 0, wrong)
        elif chance.strikes("bar_spike"):
            said = _with(batch, 1, batch.close[1] * chance.pick((0.3, 3.0), "spike"))
        if said is not batch:
            self.lie()
        seconds = chance.between(0.05, 2.0, "feed")
        if chance.strikes("bar_late"):
            self.disordered.add(batch.session)
            seconds = chance.between(600.0, 5400.0, "late bar")
        self._world.later(seconds, self._deliver, said)
        if chance.strikes("bar_doubled"):
            self._world.later(seconds + 5.0, self._deliver, said)

    def _deliver(self, batch: BarBatch) -> None:
        running = self._world.running
        if running is not None and running.ready and running.process is not None:
            running.life.call(running.process.take, batch)


def _stamped(batch: BarBatch, like: BarBatch) -> BarBatch:
    return msgspec.structs.replace(batch, start_ns=like.start_ns, end_ns=like.end_ns)


def _without(batch: BarBatch, index: int) -> BarBatch:
    def cut(column: tuple[Any, ...]) -> tuple[Any, ...]:
        return column[:index] + column[index + 1 :]

    return msgspec.structs.replace(
        batch,
        symbols=cut(batch.symbols),
        open=cut(batch.open),
        high=cut(batch.high),
        low=cut(batch.low),
        close=cut(batch.close),
        volume=cut(batch.volume),
    )


def _with(batch: BarBatch, index: int, price: float) -> BarBatch:
    def put(column: tuple[float, ...]) -> tuple[float, ...]:
        return (*column[:index], price, *column[index + 1 :])

    return msgspec.structs.replace(
        batch, open=put(batch.open), high=put(batch.high), low=put(batch.low), close=put(batch.close)
    )
