"""Crash points, by enumeration: one rebalance day is played once for every place at which its process could have died.

A place is a contact with the world (a commit before and after, an order before and after it leaves, a cancel, a read, the
latch) or the boundary between two callbacks, which is every await. After each crash the day is finished by the next process
and two calm days follow; the invariants hold throughout, and the book is the one of the day without a crash wherever the
broker's answers allow it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from daemon.clock import ist_ns
from daemon.simulation.chance import Hit
from daemon.simulation.invariants import Broken
from daemon.simulation.loop import Life
from daemon.simulation.run import run_seed
from daemon.simulation.world import World

# The day that crashes: by then the account is invested, so that it sells and buys.
CRASH_DAY: Final = 1
_DAYS: Final = 4

# Kind of day -> what goes wrong on it besides the crash.
KINDS: Final[dict[str, frozenset[Hit]]] = {
    "rebalance": frozenset(),
    "unknown order": frozenset({Hit("lost_answer", CRASH_DAY, 1), Hit("lost_request", CRASH_DAY, 3)}),
    "breaker trip": frozenset({Hit("crash", CRASH_DAY, 0)}),
}


@dataclass(slots=True)
class CrashPoints:
    """What an enumeration found.

    `held` is how many ended with the undisturbed day's holdings, `excused` how many with others because an order on record
    had not left: it is never sent again. `otherwise` are those that no such order explains.
    """

    kind: str
    contacts: int = 0
    steps: int = 0
    crashed: int = 0
    held: int = 0
    excused: int = 0
    names: dict[str, int] = field(default_factory=dict)
    broken: list[tuple[str, int, Broken]] = field(default_factory=list)
    otherwise: list[tuple[str, int]] = field(default_factory=list)


class _Counter:
    """Counts the places of the day's process; at the chosen one it dies."""

    def __init__(self, world: World, where: str, at: int) -> None:
        self.world = world
        self.where = where
        self.at = at
        self.contacts = 0
        self.steps = 0
        self.names: dict[str, int] = {}
        self.crashed = False
        self.watched: Life | None = None
        self.holdings: dict[str, int] = {}
        self.never_left: set[str] = set()
        world.on_day = self.on_day
        world.loop.on_step = self.on_step

    def on_day(self, number: int) -> None:
        session = self.world.session
        if number == CRASH_DAY:
            self.world.at(ist_ns(session, hour=9, minute=10), self.watch)
            self.world.at(ist_ns(session, hour=16, minute=0), self.unwatch)
        elif number == CRASH_DAY + 1:
            self.holdings = {symbol: n for symbol, n in self.world.exchange.account.quantities.items() if n}
            running = self.world.running
            if running is not None and running.books is not None:
                self.never_left = running.books.intended.keys() - self.world.requested

    def watch(self) -> None:
        running = self.world.running
        assert running is not None
        self.watched = running.life
        running.life.on_contact = self.on_contact

    def unwatch(self) -> None:
        self.watched = None

    def on_contact(self, life: Life, name: str) -> None:
        if life is self.watched:
            self.contacts += 1
            self.names[name] = self.names.get(name, 0) + 1
            if self.where == "contact" and self.contacts == self.at:
                self.die(f"contact {self.at}, {name}")

    def on_step(self, life: Life) -> None:
        if life is self.watched:
            self.steps += 1
            if self.where == "step" and self.steps == self.at:
                self.die(f"callback {self.at}")

    def die(self, why: str) -> None:
        self.crashed = True
        self.watched = None
        self.world.kill(f"kill -9, {why}")


def enumerate_crashes(
    kind: str, *, seed: int = 0, tell: Callable[[CrashPoints], None] = lambda so_far: None
) -> CrashPoints:
    """Crash at every place of a day of this kind."""
    found = CrashPoints(kind)

    def play(where: str, at: int) -> tuple[_Counter, list[Broken]]:
        kept: list[_Counter] = []
        outcome = run_seed(
            seed,
            days=_DAYS,
            profile="none",
            always=KINDS[kind],
            prepare=lambda world: kept.append(_Counter(world, where, at)),
        )
        return kept[0], outcome.broken

    undisturbed, broken = play("", 0)
    found.contacts, found.steps, found.names = undisturbed.contacts, undisturbed.steps, undisturbed.names
    if broken:
        found.broken.append(("none", 0, broken[0]))
    for where, count in (("contact", found.contacts), ("step", found.steps)):
        for at in range(1, count + 1):
            played, broken = play(where, at)
            found.crashed += played.crashed
            if broken:
                found.broken.append((where, at, broken[0]))
            if played.holdings == undisturbed.holdings:
                found.held += 1
            elif played.never_left:
                found.excused += 1
            else:
                found.otherwise.append((where, at))
            tell(found)
    return found
