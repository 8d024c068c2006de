"""`tarazu stress`: adversarial strategies through the worst days on record, with the gate and without anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from tarazu.commands.operate import AsJson, Root

if TYPE_CHECKING:
    from daemon.stress import GateRecord, Loss, Run, StressReport, TripRecord, WindowResult

# Below this nobody wonders whether it hangs; after it, a line as often as this.
_QUIET_SECONDS: Final = 2.0


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(stress)


def stress(
    data: Path = typer.Option(..., "--data", help="Daily bars (long CSV, .gz allowed) that cover a window or more."),
    approvals: bool = typer.Option(True, help="Play an operator who approves each tripped breaker; the pause holds."),
    root: Path = Root,
    as_json: bool = AsJson,
) -> None:
    """Run adversarial strategies through 2008, 2009-05-18, 2020-03 and 2024-06-04, with the gate and without anything.

    Sessions before the charges are known (2015) are played with the earliest known rates; the answer says so.

    Example: tarazu stress --data production/data/latest_market_data.csv
    """
    from daemon.stress import Setup
    from daemon.stress import stress as run_stress
    from market.errors import BadInput
    from market.store import DailyBars, read_bars
    from tarazu.deployment import Deployment

    deployment = Deployment.open(root, mode="replay")
    if not deployment.limits.circuit_breakers.enabled:
        raise BadInput(
            f"{deployment.paths.risk_limits}: circuit_breakers.enabled: false; allowed: true (stress is there to see them trip)"
        )
    settings = deployment.settings(mode="replay")
    bars = read_bars(data)
    if not isinstance(bars, DailyBars):
        raise BadInput(
            f"--data {data}: holds intraday bars; allowed: daily bars (date,symbol,open,high,low,close,volume)"
        )
    setup = Setup(
        settings=settings,
        bars=bars.select(settings.symbols),
        calendar=deployment.calendar,
        limits=deployment.limits,
        history_rows=deployment.history_rows,
        approvals=approvals,
        source=str(data),
    )
    report = run_stress(setup, progress=_progress())
    typer.echo(json.dumps(report.to_json()) if as_json else describe(report))


def _progress() -> Callable[[int, int], None]:
    from daemon.clock import stopwatch

    said = stopwatch()

    def tell(done: int, total: int) -> None:
        nonlocal said
        if done < total and stopwatch() - said > _QUIET_SECONDS:
            said = stopwatch()
            typer.echo(f"stress: {done} of {total} runs", err=True)

    return tell


_COLUMNS: Final = "{:<13}{:>10}{:>10}{:>9}  {:<15}{:>9}{:>10}{:>9}  {:<15}{:>6}"


def describe(report: StressReport) -> str:
    """Return the report as lines for a person: a table a window, then what stopped and what tripped, run by run."""
    money = f"Rs {report.initial_equity:,.0f}"
    who = (
        "each trip is approved at once, the pause holds"
        if report.approvals
        else "nobody approves: a trip ends the trading"
    )
    lines = [f"{', '.join(report.symbols)}; {money}; limits {report.limits_version}; {who}"]
    for window in report.windows:
        lines += ["", *_window(window)]
    return "\n".join(lines)


def _window(window: WindowResult) -> list[str]:
    title = f"{window.name} ({window.start} to {window.end})"
    if window.skipped:
        return [f"{title}: skipped; {window.skipped}"]
    lines = [f"{title}: {window.sessions} sessions"]
    if window.charges_assumed_before is not None:
        lines.append(
            f"  charges_assumed_before: {window.charges_assumed_before} (the rates of that day: an assumption)"
        )
    lines.append(_COLUMNS.format("", "WITH GATE", "", "", "", "WITHOUT", "", "", "", "").rstrip())
    head = ("return", "drawdown", "worst", "day")
    lines.append(_COLUMNS.format("strategy", *head, *head, "orders"))
    for run in window.runs:
        cells = (*_loss(run.with_gate), *_loss(run.without_gate))
        lines.append(_COLUMNS.format(run.strategy, *cells, run.gate.orders))
    for run in window.runs:
        lines += _gate(run)
    return lines


def _loss(loss: Loss) -> tuple[str, str, str, str]:
    if loss.total_return is None or loss.max_drawdown is None or loss.worst_day is None:
        return "not a", "number", "-", "-"
    day = "-" if loss.worst_session is None else str(loss.worst_session)
    ruin = " ruin" if loss.total_return <= -1.0 else ""
    return f"{loss.total_return:+.1%}", f"{loss.max_drawdown:.1%}", f"{loss.worst_day:.1%}", day + ruin


def _gate(run: Run) -> list[str]:
    gate = run.gate
    asked = sum(count for what, count in gate.decisions.items() if what != "clipped")
    lines = [f"  {run.strategy}: {asked} decisions: {_decisions(gate)}"]
    if gate.orders_refused:
        lines.append(f"    single orders refused: {_counts(gate.orders_refused)}")
    by_name: dict[str, list[TripRecord]] = {}
    for trip in gate.breaker_trips:
        by_name.setdefault(trip.name, []).append(trip)
    for name, trips in by_name.items():
        worst = max(trips, key=lambda trip: trip.used)
        detail = f" {worst.detail}" if worst.detail else ""
        lines.append(
            f"    {name} tripped {len(trips)}x, first {trips[0].session};"
            f" worst {worst.used:.1%} of {worst.limit:.1%} on {worst.session}{detail}"
        )
    if not gate.breaker_trips:
        lines.append("    no breaker tripped")
    return lines


def _decisions(gate: GateRecord) -> str:
    parts = []
    for what in ("approved", "refused", "hold", "skipped"):
        count = gate.decisions[what]
        if not count:
            continue
        text = f"{count} {'held before the gate' if what == 'hold' else what}"
        if what == "approved":
            text += f", {gate.decisions['clipped']} of them clipped"
        reasons = gate.reasons.get(what)
        parts.append(f"{text} ({_counts(reasons)})" if reasons else text)
    return "; ".join(parts)


def _counts(codes: dict[str, int]) -> str:
    # What only tells a person (ALERT_...) is in the JSON; here it would hide what acted.
    acted = {code: count for code, count in codes.items() if not code.startswith("ALERT_")}
    return ", ".join(f"{code} {count}" for code, count in sorted(acted.items(), key=lambda item: (-item[1], item[0])))
