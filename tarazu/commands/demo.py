"""The demonstration: everything once, offline, in a couple of minutes."""

from __future__ import annotations

from pathlib import Path

import typer

from tarazu.commands.operate import Root


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(demo)
    app.command()(live)


def demo(
    directory: Path = typer.Option(Path("demo"), "--directory", help="Where it writes; replaced when it exists."),
    seed: int = typer.Option(7, "--seed", min=0, help="Seed of the market and of the training."),
    timesteps: int = typer.Option(30_000, "--timesteps", min=600, help="Training steps; more take longer."),
) -> None:
    """Make a synthetic market, train a small SAC model, trade a quarter on paper with it, and report.

    Example: tarazu demo --seed 11
    """
    from tarazu.demo import run_demo

    run_demo(directory, seed=seed, timesteps=timesteps)


def live(root: Path = Root) -> None:
    """Trade with real money. This version has no live broker adapter, so it refuses.

    Example: tarazu live
    """
    from market.errors import OperatorError

    raise OperatorError(
        "live trading needs a live broker adapter, and this version has the paper broker only: tarazu paper"
    )
