"""Commands for what runs beside the daemon: the paper broker as a process of its own, and the guardian."""

from __future__ import annotations

from pathlib import Path

import typer

from tarazu.commands.operate import Root


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(broker)
    app.command()(guardian)


def broker(
    feed_url: str = typer.Option("http://127.0.0.1:8710", "--feed", help="The feed that the daemon trades on, too."),
    port: int | None = typer.Option(
        None, "--port", min=0, max=65535, help="Loopback port, 0 takes a free one; without it: state/broker.sock."
    ),
    latency: float = typer.Option(0.0, "--latency", min=0.0, help="Seconds that reports take."),
    lose_answers: float = typer.Option(
        0.0, "--lose-answers", min=0.0, max=1.0, help="For tests: the share of orders placed without an answer."
    ),
    lose_requests: float = typer.Option(
        0.0, "--lose-requests", min=0.0, max=1.0, help="For tests: the share of orders lost before they are placed."
    ),
    seed: int = typer.Option(0, "--seed", min=0, help="For tests: chooses which orders are lost."),
    quiet: bool = typer.Option(False, "--quiet", help="Log to the file only."),
    root: Path = Root,
) -> None:
    """Run the paper broker as a process of its own, on this machine alone, until SIGTERM.

    Example: tarazu broker --feed http://127.0.0.1:8710 --port 8720, then tarazu paper --broker http://127.0.0.1:8720
    """
    from brokers.paper import FillModel
    from tarazu.broker import run_broker

    faults = FillModel(
        latency_seconds=latency, lost_answer_fraction=lose_answers, lost_request_fraction=lose_requests, seed=seed
    )
    run_broker(root=root, feed_url=feed_url, port=port, faults=faults, quiet=quiet)


def guardian(
    address: str = typer.Option(
        "",
        "--broker",
        help="The broker process (http://127.0.0.1:PORT or unix:PATH); without it only the latch is engaged.",
    ),
    limit: float = typer.Option(30.0, "--limit", min=2.0, help="Seconds without a heartbeat before it acts."),
    root: Path = Root,
) -> None:
    """Withdraw open orders at the broker when the daemon dies or hangs in a session, in a process of its own.

    Example: tarazu guardian --broker http://127.0.0.1:8720 --limit 30
    """
    from tarazu.commands.operate import need_root
    from tarazu.guardian import run_guardian

    need_root(root)
    run_guardian(root=root, broker=address, limit=limit)
