"""Offline commands: train, validate; and looking back: report, doctor."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from tarazu.commands.models import model_directory, verdict
from tarazu.commands.operate import AsJson, Root


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (train, validate, report, doctor):
        app.command()(command)


def train(
    timesteps: int | None = typer.Option(None, "--timesteps", min=1, help="Environment steps; default: configured."),
    seed: int = typer.Option(0, "--seed", min=0, help="Seed of everything random."),
    data: Path | None = typer.Option(None, "--data", help="Daily bars; default: the deployment's."),
    until: str | None = typer.Option(None, "--until", help="Use no bar after this date (YYYY-MM-DD)."),
    activate: bool = typer.Option(False, "--activate", help="Make the new version the active one."),
    resume: Path | None = typer.Option(
        None, "--resume", help="Go on from a checkpoint: logs/training/VERSION/checkpoint."
    ),
    root: Path = Root,
) -> None:
    """Train a SAC model; writes production/models/v1_{timestamp}/ complete or not at all.

    Example: tarazu train --timesteps 1000000 --seed 7
    """
    from datetime import date

    from daemon.clock import wall_datetime
    from market.errors import BadInput
    from market.store import read_csv
    from strategies.artifact import activate as activate_version
    from tarazu.deployment import Deployment
    from training.trainer import train as run_training

    deployment = Deployment.open(root, mode="replay")
    symbols = tuple(deployment.production.portfolio.assets)
    bars = read_csv(data or deployment.paths.market_data).select(symbols)
    if until is not None:
        try:
            last = date.fromisoformat(until)
        except ValueError:
            raise BadInput(f"--until {until}: not a date; write it as 2022-12-31") from None
        bars = bars.slice(bars.days[0].astype("datetime64[D]").item(), last)
    directory = run_training(
        deployment.production,
        bars,
        deployment.limits,
        timesteps=timesteps or deployment.production.model.total_timesteps,
        seed=seed,
        created=wall_datetime(),
        out_dir=deployment.paths.models,
        log_dir=root / "logs" / "training",
        resume=resume,
    )
    if activate:
        activate_version(deployment.paths.models, directory.name)
    typer.echo(str(directory))


def validate(
    model: Path = typer.Argument(..., help="A version, or a model directory."),
    data: Path | None = typer.Option(None, "--data", help="Daily bars; default: the deployment's."),
    root: Path = Root,
    as_json: bool = AsJson,
) -> None:
    """Judge a model on the bars after its training range: return, against baselines, determinism. Exit 1: not good enough.

    Example: tarazu validate production/models/v1_20261123_093000
    """
    from market.store import read_csv
    from tarazu.deployment import Deployment
    from training.validation import validate_artifact

    deployment = Deployment.open(root, mode="replay")
    symbols = tuple(deployment.production.portfolio.assets)
    bars = read_csv(data or deployment.paths.market_data).select(symbols)
    answer = validate_artifact(model_directory(root, model), bars, deployment.production, deployment.limits)
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        for line in verdict(answer):
            typer.echo(line)
    if not answer["passed"]:
        raise typer.Exit(1)


def report(
    root: Path = Root,
    journal: Path | None = typer.Option(None, "--journal", help="A journal file; default: the deployment's."),
    html: Path | None = typer.Option(None, "--html", help="Also write a self-contained page."),
    as_json: bool = AsJson,
) -> None:
    """Report on a run from its journal, beside baselines on the same bars, and what the gate changed and why.

    Example: tarazu report --html report.html
    """
    from daemon.report import table
    from market.errors import BadInput
    from tarazu.reporting import build_report

    if html is not None and not html.parent.is_dir():
        raise BadInput(f"--html {html}: there is no directory {html.parent}")
    built = build_report(root, journal)
    if html is not None:
        html.write_text(built.html())
    if as_json:
        typer.echo(json.dumps(built.to_json()))
        return
    rows = table(built.columns)
    widths = [max(16, len(name)) + 2 for name in rows[0][1:]]
    for row in rows:
        cells = zip(row[1:], widths, strict=True)
        typer.echo(f"{row[0]:<14}" + "".join(f"{cell:>{width}}" for cell, width in cells))
    for line in built.lines:
        typer.echo(line)
    if html is not None:
        typer.echo(f"page: {html}")


def doctor(root: Path = Root, as_json: bool = AsJson) -> None:
    """Check the deployment: configuration, data, models, journal, disk, calendar horizon, daemon.

    Example: tarazu doctor
    """
    from tarazu.checks import run_checks

    checks = run_checks(root)
    if as_json:
        typer.echo(json.dumps([{"name": c.name, "ok": c.ok, "detail": c.detail} for c in checks]))
    else:
        for check in checks:
            typer.echo(f"{'ok  ' if check.ok else 'FAIL'} {check.name:<13} {check.detail}")
    if not all(check.ok for check in checks):
        raise typer.Exit(1)
