"""Commands that run the daemon: replay, paper, feed."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import typer

from tarazu.commands.operate import AsJson, Root

MOST_CASH: Final = 1e12


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (replay, paper, feed):
        app.command()(command)


def _symbols(text: str | None) -> tuple[str, ...] | None:
    from market.errors import BadInput

    if text is None:
        return None
    symbols = tuple(part.strip().upper() for part in text.split(",") if part.strip())
    if not symbols:
        raise BadInput(f"--symbols {text!r}: names no symbol; write them as SBIN,HDFCBANK")
    for symbol in symbols:
        if symbols.count(symbol) > 1:
            raise BadInput(f"--symbols {text}: {symbol} is there twice")
    return symbols


def _range(start: datetime, end: datetime) -> tuple[date, date]:
    from market.errors import BadInput

    if start > end:
        raise BadInput(f"--from {start.date()} is after --to {end.date()}")
    return start.date(), end.date()


def replay(
    data: Path = typer.Option(..., "--data", help="Daily or intraday bars (long CSV, .gz allowed)."),
    start: datetime = typer.Option(..., "--from", formats=["%Y-%m-%d"], help="First session."),
    end: datetime = typer.Option(..., "--to", formats=["%Y-%m-%d"], help="Last session."),
    strategy: str | None = typer.Option(
        None, "--strategy", help="equal_weight, buy_and_hold, inverse_volatility, or an adversary (docs/stress.md)."
    ),
    model: Path | None = typer.Option(None, "--model", help="A model directory."),
    symbols: str | None = typer.Option(None, "--symbols", help="Comma-separated; default: the configured portfolio."),
    cash: float | None = typer.Option(None, "--cash", help="Opening cash in rupees; default: the configured capital."),
    journal: Path | None = typer.Option(None, "--journal", help="Keep the journal in this new file."),
    actions: Path | None = typer.Option(
        None, "--actions", help="Splits and bonus issues (CSV); the bars are then as traded, not adjusted."
    ),
    approvals: bool = typer.Option(True, help="Play an operator who approves each tripped breaker; the pause holds."),
    slippage: float | None = typer.Option(
        None, "--slippage-bps", min=0.0, help="Adverse slippage of fills in basis points; default: configured."
    ),
    assume_charges: bool = typer.Option(
        False,
        "--assume-charges",
        help="Play sessions before the charges are known (2015) with the earliest known rates; the result is then an assumption.",
    ),
    root: Path = Root,
    as_json: bool = AsJson,
) -> None:
    """Run the daemon itself over recorded bars, in virtual time.

    Example: tarazu replay --data production/data/latest_market_data.csv --from 2023-01-01 --to 2024-09-30 --strategy equal_weight
    """
    from dataclasses import replace

    from brokers.charges import DeliveryCharges
    from daemon.replay import history_message
    from daemon.replay import replay as run_replay
    from market.corporate_actions import ActionTable, read_actions
    from market.errors import BadInput
    from market.money import rupees
    from market.store import DailyBars, read_bars
    from strategies.adversaries import ADVERSARIES, make_adversary
    from tarazu.deployment import Deployment

    first, last = _range(start, end)
    deployment = Deployment.open(root, mode="replay")
    chosen = _symbols(symbols) or tuple(deployment.production.portfolio.assets)
    # The configuration's least capital; NaN is within no bounds.
    if cash is not None and not 1_000 <= cash <= MOST_CASH:
        raise BadInput(f"--cash {cash:g}: must be 1000 to {MOST_CASH:.0f} rupees")
    if journal is not None and journal.exists():
        raise BadInput(f"--journal {journal}: the file exists; name a new one (a journal is never overwritten)")
    if journal is not None and not journal.parent.is_dir():
        raise BadInput(f"--journal {journal}: there is no directory {journal.parent}")
    settings = deployment.settings(mode="replay", symbols=chosen, opening_cash=None if cash is None else rupees(cash))
    if slippage is not None:
        settings = replace(settings, slippage_bps=slippage)
    table = ActionTable() if actions is None else read_actions(actions)
    bars = read_bars(data).select(chosen)
    played = bars.slice(first, last)
    if next(iter(played.iter_batches(deployment.calendar)), None) is None:
        raise BadInput(f"{data}: no complete bars of {', '.join(chosen)} between {first} and {last}")
    # Refused here in one line, not in the middle of the run. The calendar reaches back further than the charges.
    charges = DeliveryCharges(assume_earliest=assume_charges)
    sessions = deployment.calendar.sessions(first, last)
    for session in sessions:
        charges.on(session.day)
    daily = bars if isinstance(bars, DailyBars) else None
    if strategy in ADVERSARIES and model is None:
        # Here alone and in `tarazu stress`: what trades on paper or live does not know their names.
        made, version = make_adversary(strategy, chosen, settings.look_back), ""
    else:
        made, version = deployment.strategy(name=strategy, model=model, symbols=chosen, today=last)
    history = None
    if daily is not None:
        history = history_message(daily, first, deployment.history_rows, actions=table, as_traded=actions is not None)
    result = run_replay(
        settings=settings,
        bars=played,
        calendar=deployment.calendar,
        limits=deployment.limits,
        strategy=made,
        start=first,
        end=last,
        model=version,
        opens=daily,
        history=history,
        charges=charges,
        approvals=approvals,
        actions=table,
        journal_path=":memory:" if journal is None else journal,
    )
    answer = result.to_json()
    assumed = charges.assumed_before(sessions[0].day)
    if assumed is not None:
        answer["charges_assumed_before"] = assumed.isoformat()
    typer.echo(json.dumps(answer) if as_json else describe(answer))


def describe(answer: dict[str, Any]) -> str:
    """Return a replay's result as lines for a person."""
    lines = [
        f"{answer['strategy']} on {', '.join(answer['symbols'][:8])}{' ...' if len(answer['symbols']) > 8 else ''}",
        f"{answer['start']} to {answer['end']}: {answer['sessions']} sessions, {answer['bars']} bars",
        f"equity      Rs {answer['initial_equity']:,.2f} -> Rs {answer['final_equity']:,.2f}  ({answer['return']:+.2%})",
        f"volatility  {answer['volatility']:.2%} a year   Sharpe {answer['sharpe']:.2f}"
        f"   max drawdown {answer['max_drawdown']:.2%}",
        f"turnover    {answer['turnover']:.2f} a year (one way)   charges Rs {answer['charges']:,.2f}",
        f"orders {answer['orders']}, fills {answer['fills']}, decisions {answer['decisions']},"
        f" changed by the gate {answer['gate_interventions']}, breaker trips {len(answer['breaker_trips'])}",
        f"{answer['wall_seconds']:.2f} s wall, {answer['bars_per_cpu_second']} bars per CPU second",
        f"journal sha256 {answer['journal_sha256']}",
    ]
    if "charges_assumed_before" in answer:
        lines.insert(
            2, f"charges_assumed_before: {answer['charges_assumed_before']} (the rates of that day: an assumption)"
        )
    return "\n".join(lines)


def paper(
    feed_url: str = typer.Option("http://127.0.0.1:8710", "--feed", help="Feed server (WebSocket bars)."),
    strategy: str | None = typer.Option(None, "--strategy", help="A baseline instead of the active model."),
    model: Path | None = typer.Option(None, "--model", help="A model directory instead of the active one."),
    until_feed_ends: bool = typer.Option(False, "--until-feed-ends", help="End when a played feed is over."),
    latency: float = typer.Option(0.0, "--latency", min=0.0, help="Seconds the paper broker takes to report."),
    settle: int = typer.Option(20, "--settle-seconds", min=0, help="Seconds after the trade time for data to arrive."),
    quiet: bool = typer.Option(False, "--quiet", help="Log to the file only."),
    broker: str = typer.Option(
        "", "--broker", help="A broker process (http://127.0.0.1:PORT or unix:PATH) instead of the broker inside."
    ),
    root: Path = Root,
) -> None:
    """Trade on paper, in the foreground, until SIGTERM (systemd runs exactly this).

    Example: tarazu paper --feed http://127.0.0.1:8710 --strategy equal_weight
    """
    from daemon.stop_watch import block_signal

    # Before numpy is imported: its threads must not be the ones that SIGUSR1, an emergency stop, ends the process in.
    block_signal()
    from tarazu.paper import run_paper

    run_paper(
        root=root,
        feed_url=feed_url,
        strategy=strategy,
        model=model,
        until_feed_ends=until_feed_ends,
        latency=latency,
        settle=settle,
        quiet=quiet,
        broker=broker,
    )


def feed(
    data: Path = typer.Option(..., "--data", help="Intraday bars (long CSV with ts, .gz allowed)."),
    start: datetime = typer.Option(..., "--from", formats=["%Y-%m-%d"], help="First session to play."),
    end: datetime = typer.Option(..., "--to", formats=["%Y-%m-%d"], help="Last session to play."),
    speed: float = typer.Option(60.0, "--speed", min=0.1, max=100_000.0, help="How much faster than life."),
    port: int = typer.Option(8710, "--port", min=0, max=65535, help="Loopback port; 0 takes a free one."),
    symbols: str | None = typer.Option(None, "--symbols", help="Comma-separated; default: all in the file."),
    begin: str = typer.Option("09:10", "--at", help="Played time of day at which it starts."),
    hold: bool = typer.Option(False, "--hold", help="Let the clock stand until the first daemon asks for it."),
) -> None:
    """Play recorded bars as a live feed on loopback, to trade on paper against.

    Example: tarazu feed --data five_minute_bars.csv.gz --from 2024-06-04 --to 2024-06-04 --speed 120
    """
    from tarazu.paper import run_feed

    first, last = _range(start, end)
    run_feed(
        data=data,
        start=first,
        end=last,
        speed=speed,
        port=port,
        symbols=_symbols(symbols),
        begin=begin,
        hold=hold,
    )
