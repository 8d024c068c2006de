"""`tarazu simulate`: the whole daemon through simulated days with faults, crashes and bad moments."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import typer

from tarazu.commands.operate import AsJson

if TYPE_CHECKING:
    from daemon.simulation.crash_points import CrashPoints
    from daemon.simulation.run import Outcome, Sweep

_QUIET_SECONDS: Final = 2.0
# With more, a run is slow (each start folds what came before); with fewer, nothing has time to go wrong twice.
_DAYS_A_SEED: Final = 10


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(simulate)


def simulate(
    seeds: str = typer.Option("0..99", "--seeds", help="A..B: from A to B, both included; or one seed."),
    days: int = typer.Option(
        _DAYS_A_SEED, "--days", min=3, max=400, help="Sessions of each seed; the last two are calm."
    ),
    faults: str = typer.Option("full", "--faults", help="How much goes wrong: none, light, full, harsh."),
    story: bool = typer.Option(False, "--story", help="Tell what happened, line by line (one seed)."),
    coverage: bool = typer.Option(
        False, "--coverage", help="Print how often each fault struck, and where others are tested."
    ),
    crash_points: bool = typer.Option(False, "--crash-points", help="Die at every place of three days instead."),
    as_json: bool = AsJson,
) -> None:
    """Run the daemon in a simulated world and look at what must always hold after every message.

    The same seed gives the same run, byte for byte. A seed that breaks an invariant is made smaller: the fewest faults that
    still break it are told as a story, with the command that repeats it. Exit code 1 when something broke.

    Example: tarazu simulate --seeds 0..999 --days 10
    """
    from daemon.simulation.faults import PROFILES
    from market.errors import BadInput

    if faults not in PROFILES:
        raise BadInput(f"--faults {faults!r}: allowed: {', '.join(PROFILES)}")
    first, last = _range(seeds)
    if crash_points:
        _crash_points(as_json, first)
    elif story:
        if first != last:
            raise BadInput(f"--seeds {seeds}: --story tells one seed; allowed: a single number")
        _story(first, days, faults)
    else:
        _sweep(range(first, last + 1), days, faults, coverage, as_json)


def _range(text: str) -> tuple[int, int]:
    from market.errors import BadInput

    found = re.fullmatch(r"(\d{1,12})(?:\.\.(\d{1,12}))?", text.strip())
    if found is None:
        raise BadInput(f"--seeds {text!r}: allowed: A..B with whole numbers from 0, like 0..99, or one number")
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise BadInput(f"--seeds {text!r}: the last seed must not be below the first")
    return first, last


# ---- many seeds ------------------------------------------------------------------------------------------------------


def _sweep(seeds: range, days: int, faults: str, coverage: bool, as_json: bool) -> None:
    from daemon.simulation.run import shrink, sweep

    result = sweep(seeds, days=days, profile=faults, tell=_progress(len(seeds)))
    if as_json:
        typer.echo(json.dumps(to_json(result, faults)))
    else:
        typer.echo(describe(result, faults))
        if coverage:
            typer.echo(describe_coverage(result))
        for seed, _ in result.violations[:1]:
            typer.echo(describe_story(shrink(seed, days=days, profile=faults), days, faults))
    if result.violations:
        raise typer.Exit(1)


def _progress(total: int) -> Callable[[Sweep], None]:
    from daemon.clock import stopwatch

    said = stopwatch()

    def tell(so_far: Sweep) -> None:
        nonlocal said
        if so_far.seeds < total and stopwatch() - said > _QUIET_SECONDS:
            said = stopwatch()
            broken = f", {len(so_far.violations)} broken" if so_far.violations else ""
            typer.echo(f"simulate: {so_far.seeds} of {total} seeds, {so_far.days} days{broken}", err=True)

    return tell


def to_json(result: Sweep, faults: str) -> dict[str, Any]:
    """Return the documented object (docs/simulation.md)."""
    return {
        "seeds": result.seeds,
        "days": result.days,
        "profile": faults,
        "crashes": result.crashes,
        "starts": result.starts,
        "faults_injected": dict(sorted(result.faults.items())),
        "orders": result.orders,
        "fills": result.fills,
        "messages_checked": result.checked,
        "violations": [
            {"seed": seed, "day": b.day, "step": b.record, "at": b.at, "invariant": b.invariant, "detail": b.detail}
            for seed, b in result.violations
        ],
        "cpu_seconds": round(result.cpu_seconds, 3),
        "days_per_cpu_second": round(result.days / result.cpu_seconds, 1) if result.cpu_seconds > 0 else None,
    }


def describe(result: Sweep, faults: str) -> str:
    """Return the sweep in words."""
    speed = result.days / result.cpu_seconds if result.cpu_seconds > 0 else 0.0
    lines = [
        f"{result.seeds} seeds, {result.days} days, faults {faults}: {sum(result.faults.values())} faults of"
        f" {len(result.faults)} kinds, {result.crashes} kills, {result.starts} starts,",
        f"{result.orders} orders, {result.fills} fills, {result.checked} messages checked,"
        f" {result.cpu_seconds:.1f} CPU s, {speed:.0f} days per CPU second",
    ]
    if result.violations:
        lines.append(f"{len(result.violations)} seeds broke an invariant:")
        lines += [f"  seed {seed} {b.at} {b.invariant}: {b.detail}" for seed, b in result.violations[:20]]
    else:
        lines.append("every invariant held")
    return "\n".join(lines)


def describe_coverage(result: Sweep) -> str:
    """Return how often each fault struck."""
    from daemon.simulation.faults import FAULTS

    rows = [f"  {result.faults[f.name]:>6}  {f.code:<4} {f.name:<18} {f.what}" for f in FAULTS]
    return "\n".join(["faults struck (others of the catalogue: docs/simulation.md)", *rows])


# ---- one seed --------------------------------------------------------------------------------------------------------


def _story(seed: int, days: int, faults: str) -> None:
    from daemon.simulation.run import run_seed

    outcome = run_seed(seed, days=days, profile=faults, story=True)
    typer.echo("\n".join(outcome.story))
    typer.echo(f"journal {outcome.journal}")
    if outcome.broken:
        raise typer.Exit(1)


def describe_story(outcome: Outcome, days: int, faults: str) -> str:
    """Return the smallest story that was found of a broken seed, and how to see it again."""
    if not outcome.broken:
        return f"seed {outcome.seed}: the smaller run does not break; see the whole: --seeds {outcome.seed} --story"
    first = outcome.broken[0]
    needed = ", ".join(f"{hit.fault} (day {hit.day})" for hit in outcome.hits) or "no fault at all"
    return "\n".join(
        [
            "",
            f"seed {outcome.seed}, {first.invariant}: {first.detail}",
            f"needs: {needed}",
            *outcome.story,
            f"again: tarazu simulate --seeds {outcome.seed} --days {days} --faults {faults}",
        ]
    )


# ---- crash points ----------------------------------------------------------------------------------------------------


def _crash_points(as_json: bool, seed: int) -> None:
    from daemon.simulation.crash_points import KINDS, enumerate_crashes

    found = [enumerate_crashes(kind, seed=seed) for kind in KINDS]
    if as_json:
        typer.echo(json.dumps([_crash_json(points) for points in found]))
    else:
        typer.echo("\n".join(_crash_words(points) for points in found))
    if any(points.broken or points.otherwise for points in found):
        raise typer.Exit(1)


def _crash_json(points: CrashPoints) -> dict[str, Any]:
    return {
        "day": points.kind,
        "contacts": points.names,
        "callbacks": points.steps,
        "crashes": points.crashed,
        "same_book": points.held,
        "an_intent_never_left": points.excused,
        "another_book": [list(place) for place in points.otherwise],
        "violations": [
            {"where": where, "at": at, "invariant": b.invariant, "detail": b.detail} for where, at, b in points.broken
        ],
    }


def _crash_words(points: CrashPoints) -> str:
    lines = [
        f"{points.kind}: {points.crashed} crashes ({points.contacts} contacts, {points.steps} callbacks),"
        f" {len(points.broken)} broke an invariant; {points.held} ended with the same book, in {points.excused}"
        " an order on record had not left and is never sent again",
    ]
    lines += [f"  {where} {at}: {b.invariant}: {b.detail}" for where, at, b in points.broken[:10]]
    lines += [f"  {where} {at}: ended with another book" for where, at in points.otherwise[:10]]
    return "\n".join(lines)
