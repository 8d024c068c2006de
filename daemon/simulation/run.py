"""Runs of the simulated world: one seed, many seeds, the same seed twice, and the smallest set of faults that still breaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from brokers.charges import DeliveryCharges
from daemon.clock import cpu_seconds, ist
from daemon.simulation.chance import Chance, Hit
from daemon.simulation.faults import rates
from daemon.simulation.invariants import Broken
from daemon.simulation.market import BAR_TIMES
from daemon.simulation.world import World
from market.calendar import Calendar
from risk.schema import RiskLimits

# Every second seed has what is ready run in another order; the others keep the order of the stock loop.
_SHUFFLED_EVERY: Final = 2
_LIQUIDATES_EVERY: Final = 4


@cache
def _calendar() -> Calendar:
    return Calendar.load()


@cache
def _charges() -> DeliveryCharges:
    return DeliveryCharges.default()


@cache
def _limits(liquidates: bool) -> RiskLimits:
    """The limits that ship; for some seeds with the liquidation on, and at a loss that a simulated month knows."""
    if not liquidates:
        return RiskLimits()
    keys = {"enable_auto_liquidate": True, "confirm_auto_liquidate": True, "liquidate_if_loss_exceeds": 0.06}
    return RiskLimits.model_validate({"emergency": keys})


@dataclass(slots=True)
class Outcome:
    """What one run was."""

    seed: int
    days: int
    broken: list[Broken]
    hits: list[Hit]
    records: int
    checked: int
    crashes: int
    starts: int
    orders: int
    fills: int
    journal: str  # hash of the last record on disk
    story: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Sweep:
    """What many runs were, in sum."""

    seeds: int = 0
    days: int = 0
    crashes: int = 0
    starts: int = 0
    orders: int = 0
    fills: int = 0
    checked: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[int, Broken]] = field(default_factory=list)
    cpu_seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Add one run."""
        self.seeds += 1
        self.days += outcome.days
        self.crashes += outcome.crashes
        self.starts += outcome.starts
        self.orders += outcome.orders
        self.fills += outcome.fills
        self.checked += outcome.checked
        self.faults.update(hit.fault for hit in outcome.hits)
        self.violations += [(outcome.seed, broken) for broken in outcome.broken[:1]]


def run_seed(
    seed: int,
    *,
    days: int,
    profile: str = "full",
    limits: RiskLimits | None = None,
    only: frozenset[Hit] | None = None,
    always: frozenset[Hit] = frozenset(),
    story: bool = False,
    bar_times: tuple[tuple[int, int], ...] = BAR_TIMES,
    prepare: Callable[[World], None] = lambda world: None,
) -> Outcome:
    """Play one run. With `only`, no other faults strike; `always` do; with `story`, what happened is told line by line."""
    lines: list[str] = []

    def log(at_ns: int, what: str) -> None:
        lines.append(f"{ist(at_ns):%d %b %H:%M:%S}  {what}")

    chance = Chance(seed, rates(profile), only=only, always=always)
    world = World(
        chance=chance,
        days=days,
        limits=limits or _limits(seed % _LIQUIDATES_EVERY == _LIQUIDATES_EVERY - 1),
        calendar=_calendar(),
        charges=_charges(),
        shuffled=seed % _SHUFFLED_EVERY == 1,
        bar_times=bar_times,
        log=log if story else None,
    )
    if story:
        chance.on_hit = lambda hit: world.tell(f"fault {hit.fault}")
    prepare(world)
    world.run()
    rows = world.disk.rows
    return Outcome(
        seed=seed,
        days=chance.day + 1,
        broken=world.invariants.found,
        hits=chance.hits,
        records=len(rows),
        checked=world.invariants.checked,
        crashes=world.crashes,
        starts=world.starts,
        orders=world.orders,
        fills=len(world.tape),
        journal=bytes(rows[-1][5]).hex() if rows else "",
        story=lines,
    )


def sweep(
    seeds: Iterable[int], *, days: int, profile: str, tell: Callable[[Sweep], Any] = lambda so_far: None
) -> Sweep:
    """Play many runs."""
    result, began = Sweep(), cpu_seconds()
    for seed in seeds:
        result.add(run_seed(seed, days=days, profile=profile))
        result.cpu_seconds = cpu_seconds() - began
        tell(result)
    return result


def shrink(seed: int, *, days: int, profile: str, limits: RiskLimits | None = None) -> Outcome:
    """Return the run of a broken seed with as few faults as still break the same invariant (delta debugging), and its story."""

    def breaks(hits: list[Hit]) -> bool:
        found = run_seed(seed, days=until, profile=profile, limits=limits, only=frozenset(hits)).broken
        return bool(found) and found[0].invariant == invariant

    whole = run_seed(seed, days=days, profile=profile, limits=limits)
    if not whole.broken:
        return whole
    invariant, until = whole.broken[0].invariant, days
    hits, parts = whole.hits, 2
    if breaks([]):
        hits = []
    while len(hits) > 1:
        size = max(1, len(hits) // parts)
        without = [hits[:i] + hits[i + size :] for i in range(0, len(hits), size)]
        smaller = next((rest for rest in without if breaks(rest)), None)
        if smaller is not None:
            hits, parts = smaller, max(2, parts - 1)
        elif size == 1:
            break
        else:
            parts = min(len(hits), parts * 2)
    return run_seed(seed, days=until, profile=profile, limits=limits, only=frozenset(hits), story=True)
