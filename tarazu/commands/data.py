"""Commands on market data: import, check, update."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from tarazu.commands.operate import AsJson, Root, need_root

app = typer.Typer(help="Market data: import, check, update.", no_args_is_help=True)


def _default(data: Path | None, root: Path) -> Path:
    return root / "data" / "latest_market_data.csv" if data is None else data


@app.command()
def check(
    data: Path | None = typer.Option(None, "--data", help="A long CSV; default: the deployment's daily bars."),
    root: Path = Root,
    as_json: bool = AsJson,
) -> None:
    """Check daily bars: missing, infinite, extreme, contradictory, duplicate, holiday, missing sessions.

    Example: tarazu data check --data production/data/latest_market_data.csv
    """
    from market.quality import check as check_bars
    from market.store import read_csv
    from tarazu.deployment import open_calendar

    report = check_bars(read_csv(_default(data, root)), open_calendar(root))
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        for line in report.lines():
            typer.echo(line)
    if not report.ok:
        raise typer.Exit(1)


@app.command(name="import")
def import_(
    source: Path = typer.Argument(..., help="A long CSV, or a wide one with SYMBOL_close columns."),
    root: Path = Root,
    replace: bool = typer.Option(
        False, "--replace", help="Replace bars that exist; the check must still find no errors."
    ),
    force: bool = typer.Option(False, "--force", help="Replace bars that exist, and accept errors of the check."),
) -> None:
    """Import daily bars into production/data/latest_market_data.csv, after checking them.

    Example: tarazu data import downloads/banks.csv
    """
    from market.errors import BadInput
    from market.quality import check as check_bars
    from market.store import read_csv, write_csv
    from market.wide_import import is_wide, read_wide
    from tarazu.deployment import open_calendar

    need_root(root)
    target = _default(None, root)
    if target.exists() and not (replace or force):
        raise BadInput(f"{target}: exists; give --replace to replace it")
    bars = read_wide(source) if is_wide(source) else read_csv(source)
    report = check_bars(bars, open_calendar(root))
    for line in report.lines():
        typer.echo(line)
    if not report.ok and not force:
        raise BadInput(f"{source}: has errors (above); nothing was imported (--force takes it all the same)")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_csv(bars, target)
    typer.echo(f"{len(bars.days)} sessions of {len(bars.symbols)} symbols -> {target}")


@app.command()
def update(root: Path = Root) -> None:
    """Check the deployment's bars and say what is missing up to the last session. Online sources are not built yet.

    Example: tarazu data update
    """
    from market.errors import BadInput
    from market.store import read_csv
    from tarazu.checks import missing_sessions
    from tarazu.deployment import open_calendar

    need_root(root)
    target = _default(None, root)
    if not target.exists():
        raise BadInput(f"{target}: there is none; bring bars in with: tarazu data import FILE")
    last = read_csv(target).days[-1].astype("datetime64[D]").item()
    missing = missing_sessions(open_calendar(root), last)
    if not missing:
        typer.echo(f"{target}: up to date ({last})")
        return
    typer.echo(f"{target}: ends on {last}; {len(missing)} sessions are missing, {missing[0]} to {missing[-1]}")
    typer.echo("this version has no online source; import a file that has them: tarazu data import FILE --replace")
    raise typer.Exit(1)
