"""One process of the daemon in the simulated world, and what of the paper broker it tells itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokers.paper import PaperBroker
from brokers.paper_side import NoPaperSide
from daemon.clock import Clock
from daemon.process import Process
from daemon.simulation.books import Books
from daemon.simulation.disk import SimulatedJournal, SimulatedLatch
from daemon.simulation.invariants import Invariants
from daemon.simulation.loop import Life
from daemon.simulation.network import Line
from daemon.simulation.strategy import SimulatedHost
from market.money import Paise

if TYPE_CHECKING:
    from daemon.simulation.world import World


class Running:
    """One process of the daemon and what it is connected to."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.life = Life(number)
        self.line = Line(world, self.life)
        self.journal = SimulatedJournal(world.disk, self.life, world.loop, world.chance)
        self.latch = SimulatedLatch(world.disk, self.life)
        self.ready = False
        self.clock_right = True
        self.since_ns = world.now_ns()
        self.process: Process | None = None
        self.books: Books | None = None

    def boot(self, clock: Clock) -> None:
        """Start, as the service does. Runs as part of the process."""
        world = self.world
        host = SimulatedHost(clock, world.strategy, world.chance, version=world.model)
        process = Process(
            settings=world.settings,
            clock=clock,
            calendar=world.calendar,
            journal=self.journal,
            limits=world.limits,
            charges=world.charges,
            broker=self.line,
            side=world.side,
            host=host,
            latch=self.latch,
            history=world.market.history,
            actions=world.market.table(),
            alert=lambda alert: world.tell(f"alert {alert.event}: {alert.detail}"),
        )
        self.process = process
        self.books = Books(world.limits, world.charges, world.tape, world.invariants.broken, world.ended_wrongly)
        self.books.wire(process.core.bus, process.core.state)
        process.core.bus.on_record = lambda message, envelope: world.invariants.record(self, message, envelope)
        process.recover()
        world.invariants.recovered(self)
        process.begin(self._on_disk)
        self.ready = True

    def _on_disk(self) -> None:
        self.world.loop.call_soon(self._wake)

    def _wake(self) -> None:
        assert self.process is not None
        self.world.invariants.acknowledged(self.journal)
        self.process.core.bus.release()


class CashAtTheExchange(NoPaperSide):
    """Cash goes to the exchange by the daemon's word, as on paper; its market and its depository are the world's."""

    def __init__(self, exchange: PaperBroker, invariants: Invariants) -> None:
        self._exchange = exchange
        self._invariants = invariants

    def move_cash(self, *, amount: Paise, sequence: int, cause: str) -> None:
        """Pay in or out."""
        self._invariants.paying(amount)
        self._exchange.move_cash(amount=amount, sequence=sequence, cause=cause)
