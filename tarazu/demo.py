"""`tarazu demo`: a seeded synthetic market, a short SAC training, then the daemon on paper through a quarter, and a report.

Everything is the real thing on small input: the training writes a complete artifact, the daemon loads and verifies it,
trades through gate, executor and paper broker in virtual time, and journals to a file that `tarazu report` can read.
"""

from __future__ import annotations

import shutil
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from daemon.clock import IST, ist, stopwatch
from daemon.core import Core
from daemon.logs import RecordLog
from daemon.messages import BreakerTripped, Decided, Outcome, PlanClosed
from daemon.replay import history_message, replay
from daemon.report import table
from daemon.settings import Paths
from market.calendar import Calendar
from market.errors import BadInput
from market.money import format_rupees
from market.store import read_csv, write_csv
from market.synthetic import generate
from tarazu.deployment import Deployment
from tarazu.reporting import build_report

# Four years to learn from, then a quarter to trade in.
FIRST: Final = date(2020, 1, 1)
TRADE_FROM: Final = date(2024, 4, 1)
TRADE_TO: Final = date(2024, 6, 28)
_MARK: Final = ".tarazu-demo"
_CONFIG: Final = Path(__file__).resolve().parent.parent / "production" / "config"


def run_demo(directory: Path, *, seed: int, timesteps: int) -> None:
    """Run the demonstration into `directory`. Raises BadInput when that holds something else."""
    console = Console(highlight=False)
    began = stopwatch()
    paths = _prepare(directory)
    console.print(f"[bold]1  Market[/]   five banks, seed {seed}: correlated, fat tails, volatility clusters, regimes")
    deployment = Deployment.open(directory, mode="paper")
    symbols = tuple(deployment.production.portfolio.assets)
    bars = generate(seed=seed, symbols=symbols, start=FIRST, end=TRADE_TO, calendar=Calendar.load())
    write_csv(bars, paths.market_data)
    console.print(f"            {len(bars.days)} sessions -> {paths.market_data}")
    console.print(f"[bold]2  Training[/] SAC, {timesteps} steps, on the sessions before {TRADE_FROM}")
    version = _train(deployment, timesteps, seed, console)
    console.print(f"            {paths.models / version}")
    console.print(
        f"[bold]3  Paper[/]    the daemon, {TRADE_FROM} to {TRADE_TO}, in virtual time; every third decision:"
    )
    _trade(deployment, symbols, version)
    console.print("[bold]4  Report[/]")
    _report(directory, paths, console)
    console.print(f"[dim]{stopwatch() - began:.0f} s in all[/]")


def _prepare(directory: Path) -> Paths:
    if directory.exists():
        if not (directory / _MARK).exists():
            raise BadInput(f"--directory {directory}: exists and was not made by the demo; name another one")
        shutil.rmtree(directory)
    paths = Paths(directory)
    for folder in (paths.state, paths.models, paths.market_data.parent, paths.logs("paper")):
        folder.mkdir(parents=True)
    (directory / _MARK).touch()
    shutil.copytree(_CONFIG, directory / "config")
    return paths


def _train(deployment: Deployment, timesteps: int, seed: int, console: Console) -> str:
    from strategies.artifact import activate
    from training.trainer import train

    symbols = tuple(deployment.production.portfolio.assets)
    bars = read_csv(deployment.paths.market_data).select(symbols)
    directory = train(
        deployment.production,
        bars.slice(FIRST, date(2024, 3, 31)),
        deployment.limits,
        timesteps=timesteps,
        seed=seed,
        # The artifact is as old as its market: the demo's clock, not the machine's.
        created=datetime(2024, 3, 31, 18, 0, tzinfo=IST),
        out_dir=deployment.paths.models,
        log_dir=deployment.paths.root / "logs" / "training",
    )
    activate(deployment.paths.models, directory.name)
    return str(directory.name)


class _Narrator:
    """Prints decisions as they happen and logs every record."""

    def __init__(self, log: RecordLog) -> None:
        self._log = log
        self._count = 0

    def __call__(self, core: Core, message: Any, envelope: Any) -> None:
        self._log.record(message, envelope)
        if isinstance(message, Decided):
            self._count += 1
            if message.outcome is not Outcome.APPROVED or self._count % 3 == 1:
                self._decision(message, envelope.at_ns)
        elif isinstance(message, BreakerTripped):
            what = " ".join(part for part in (message.name, message.detail) if part)
            used = f"{message.used:.1%} of {message.limit:.0%}"
            print(f"            {ist(envelope.at_ns):%d %b %H:%M}  BREAKER {what}: {used}; no trading for a day")  # noqa: T201
        elif isinstance(message, PlanClosed) and self._count % 3 == 1 and message.traded:
            cost = f"charges {format_rupees(message.charges)}, slippage {format_rupees(message.slippage)}"
            left = f", left over {message.residuals}" if message.residuals else ""
            print(f"            {'':13} done: {cost}{left}")  # noqa: T201

    def _decision(self, message: Decided, at_ns: int) -> None:
        wanted = " ".join(f"{weight:.0%}" for weight in message.requested)
        given = " ".join(f"{weight:.0%}" for weight in message.approved)
        moves = ", ".join(f"{move.symbol} {move.after - move.before:+d}" for move in message.moves) or "no trade"
        why = "; ".join(message.reasons[:2])
        equity = format_rupees(message.equity, paise=False)
        print(f"            {ist(at_ns):%d %b %H:%M}  {equity}  model {wanted} -> gate {given or message.outcome}")  # noqa: T201
        print(f"            {'':13} {moves}{f'  ({why})' if why else ''}")  # noqa: T201


def _trade(deployment: Deployment, symbols: tuple[str, ...], version: str) -> None:
    settings = deployment.settings(mode="paper")
    paths = deployment.paths
    strategy, name = deployment.strategy(name=None, model=paths.models / version, symbols=symbols, today=TRADE_FROM)
    bars = read_csv(paths.market_data).select(symbols)
    log = RecordLog(paths.logs("paper") / "daemon.jsonl", console=False, mode="paper")
    replay(
        settings=settings,
        bars=bars.slice(TRADE_FROM, TRADE_TO),
        calendar=deployment.calendar,
        limits=deployment.limits,
        strategy=strategy,
        start=TRADE_FROM,
        end=TRADE_TO,
        model=name,
        opens=bars,
        history=history_message(bars, TRADE_FROM, deployment.history_rows),
        journal_path=paths.journal,
        observer=_Narrator(log),
    )
    log.close()


def _report(directory: Path, paths: Paths, console: Console) -> None:
    built = build_report(directory)
    target = directory / "report.html"
    target.write_text(built.html())
    rows = table(built.columns)
    shown = Table(show_edge=False)
    for number, cell in enumerate(rows[0]):
        shown.add_column(cell, justify="left" if number == 0 else "right")
    for row in rows[1:]:
        shown.add_row(*row)
    console.print(shown)
    console.print("[bold]What the gate changed, and why[/]")
    for line in built.lines:
        console.print(f"  {line}")
    console.print("[bold]Where things are[/]")
    console.print(f"  journal  {paths.journal}\n  logs     {paths.logs('paper')}/daemon.jsonl\n  report   {target}")
    console.print(
        "A quarter of synthetic prices and a few minutes of training prove that the path works, not that the model does."
    )
