"""Commands for a running daemon: status, stop, approve, resume, reconcile, reload. Standard library and Typer only.

`stop` writes the durable latch itself before it talks to anybody, so it works with the daemon dead, hung or restarting.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import typer

Root = typer.Option(Path("production"), "--root", help="The deployment's directory.", envvar="TARAZU_ROOT")
AsJson = typer.Option(False, "--json", help="Print the machine-readable answer.")


cash = typer.Typer(no_args_is_help=True, help="Tell the daemon of money that was paid in or taken out.")
# So that "-5" is read as an amount, and refused as one, instead of as an unknown option.
_NEGATIVE: Final = {"ignore_unknown_options": True}


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (status, stop, approve, resume, reconcile, reload):
        app.command()(command)
    app.add_typer(cash, name="cash")


def _print(payload: dict[str, Any]) -> None:
    typer.echo(json.dumps(payload, indent=2))


def need_root(root: Path) -> None:
    """Raise BadInput when the deployment's directory is not there: a slip in --root must not look like an answer."""
    from market.errors import BadInput

    if not root.is_dir():
        raise BadInput(f"--root {root}: there is no such directory; name the deployment's directory")


def _no_daemon(where: Path, error: Exception) -> str:
    # No socket, or one that a killed process left behind: the plain case gets plain words.
    absent = isinstance(error, FileNotFoundError | ConnectionRefusedError)
    return f"{where}: no daemon answers there ({'is it running?' if absent else error})"


def _ask(
    root: Path, method: str, target: str, body: dict[str, Any] | None = None, *, timeout: float = 5.0
) -> dict[str, Any]:
    from daemon import unix_socket
    from market.errors import DependencyFailed, OperatorError

    need_root(root)
    path = root / "state" / "control.sock"
    try:
        code, raw = unix_socket.request(
            path, method, target, json.dumps(body or {}).encode() if body is not None else b"", timeout=timeout
        )
    except OSError as error:
        raise DependencyFailed(_no_daemon(path, error)) from error
    try:
        payload = json.loads(raw)
    except ValueError:
        payload = {"error": f"{path}: the answer is not JSON"}
    if code >= 400:
        raise OperatorError(str(payload.get("error", f"status {code}")))
    return dict(payload)


def status(root: Path = Root, as_json: bool = AsJson) -> None:
    """Show what the daemon does and how close it is to its limits.

    Example: tarazu status --json | jq .state
    """
    from daemon import unix_socket
    from market.errors import DependencyFailed

    try:
        answer = _ask(root, "GET", "/v1/status")
    except DependencyFailed:
        # The loop may be busy or hung; the stop plane's thread still knows the last summary.
        try:
            _, raw = unix_socket.request(root / "state" / "stop.sock", "GET", "/v1/status", timeout=2.0)
            answer = json.loads(raw)
        except (OSError, ValueError) as error:
            raise DependencyFailed(_no_daemon(root, error)) from error
    if as_json:
        _print(answer)
        return
    typer.echo(f"{answer['mode']}  {answer['state']}  session {answer['session'] or '-'}")
    typer.echo(f"equity {answer['equity']}  cash {answer['cash']}  model {answer['model']}")
    typer.echo("positions " + (", ".join(f"{s} {q}" for s, q in answer["positions"].items()) or "none"))
    typer.echo(f"orders open {answer['open_orders']}, unknown {answer['unknown_orders']}")
    for name, detail in answer.get("halts", {}).items():
        typer.echo(f"HALTED by {name}: {detail}")
    for line in answer.get("differences", []):
        typer.echo(f"differs: {line}  (tarazu reconcile --accept --reason TEXT)")
    for symbol in answer.get("blocked", []):
        typer.echo(f"{symbol}: an open order that is not ours; none of ours goes there until it is gone")
    for plan in answer.get("waiting_plans", []):
        typer.echo(f"plan {plan} waits for: tarazu approve --reason TEXT")
    typer.echo("limit                     used       limit      left")
    for row in answer["limits"]:
        form = _figure if row["name"] in _COUNTS else _share
        figures = "  ".join(f"{form(row[key]):>9}" for key in ("used", "limit", "left"))
        typer.echo(f"  {row['name']:<24}{figures}  {row.get('detail', '')}".rstrip())
    typer.echo("breaker                   used       limit  state")
    for row in answer["breakers"]:
        figures = f"{_share(row['used']):>9}  {_share(row['limit']):>9}"
        typer.echo(f"  {row['name']:<24}{figures}  {row['state']:<8} {row.get('detail', '')}".rstrip())
    age = answer["data_age_seconds"]
    typer.echo(f"data age {'-' if age is None else f'{age:.0f} s'}  journal {answer['journal_seq']}")


# Limits that are not shares of something.
_COUNTS = ("max_orders_per_day", "negative_days", "monthly_sharpe")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def stop(
    root: Path = Root,
    cancel: bool = typer.Option(False, "--cancel", help="Also cancel open orders."),
    reason: str = typer.Option("", "--reason", help="Why; goes into the journal."),
) -> None:
    """Stop new orders now. Works with the daemon dead or hung; going on takes `tarazu resume`.

    Example: tarazu stop --cancel --reason "odd prices in SBIN"
    """
    from daemon import unix_socket
    from daemon.latch import Latch
    from market.errors import DependencyFailed

    need_root(root)
    mode = "cancel" if cancel else "halt"
    latch = Latch(root / "state" / "latch")
    # Who pressed it is known from the kernel when the daemon lives, and from the file's content when it does not.
    written = True
    try:
        latch.engage(mode=mode, reason=reason, uid=os.getuid(), at="")
        typer.echo(f"stop latch written: {latch.path}")
    except OSError as error:
        # A full or read-only disk must not keep the stop from a daemon that lives.
        written = False
        typer.echo(f"stop latch NOT written: {error}", err=True)
    body = json.dumps({"mode": mode, "reason": reason}).encode()
    try:
        code, raw = unix_socket.request(root / "state" / "stop.sock", "POST", "/v1/stop", body, timeout=2.0)
    except OSError as error:
        if not written:
            raise DependencyFailed(
                f"{latch.path}: cannot be written, and no daemon answers: NOTHING was stopped"
            ) from error
        typer.echo("no daemon answers; the latch holds when one starts")
        return
    typer.echo(f"daemon: {'stopped' if code == 200 else 'answered'} {raw.decode(errors='replace').strip()}")


def approve(root: Path = Root, reason: str = typer.Option(..., "--reason", help="Why it is right to go on.")) -> None:
    """Approve going on after a breaker tripped; the pause must have passed as well.

    Example: tarazu approve --reason "bad print in AXISBANK, corrected by the exchange"
    """
    _print(_ask(root, "POST", "/v1/approve", {"reason": reason}))


def resume(
    root: Path = Root,
    reason: str = typer.Option(..., "--reason", help="Why it is right to go on."),
    nonce: str = typer.Option(
        "", "--nonce", help="From the first step; without it the summary is shown and asked about."
    ),
) -> None:
    """Let trading go on after a stop, in two steps: a summary with a nonce, then the confirmation.

    Example: tarazu resume --reason "feed is back"
    """
    if not nonce:
        prepared = _ask(root, "POST", "/v1/resume/prepare", {"reason": reason})
        _print(prepared["summary"])
        nonce = prepared["nonce"]
        typer.echo(f"nonce {nonce}, valid {prepared['valid_seconds']} seconds")
        if not sys.stdin.isatty():
            typer.echo(f"to confirm: tarazu resume --reason ... --nonce {nonce}")
            return
        if typer.prompt("Type the nonce to go on", default="", show_default=False) != nonce:
            typer.echo("not confirmed; nothing was changed")
            raise typer.Exit(1)
    _print(_ask(root, "POST", "/v1/resume/confirm", {"reason": reason, "nonce": nonce}))


def reconcile(
    root: Path = Root,
    accept: bool = typer.Option(False, "--accept", help="Correct the ledger to the broker's books, as shown."),
    reason: str = typer.Option("", "--reason", help="Why the books are right; goes into the journal. With --accept."),
    code: str = typer.Option("", "--code", help="Accept only what was shown under this code before. With --accept."),
) -> None:
    """Compare the broker's books with the ledger; with --accept, take over the differences that are shown.

    They are shown, with their code, and the daemon reads the books once more: it refuses when anything has changed.

    Example: tarazu reconcile --accept --reason "fee of 12 March, see the contract note"
    """
    from market.errors import BadInput, DependencyFailed, OperatorError

    if not accept:
        if reason or code:
            raise BadInput("--reason, --code: only with --accept")
        _print(_ask(root, "POST", "/v1/reconcile", {}))
        return
    if not reason.strip():
        raise BadInput("--reason: must not be empty; it goes into the journal")
    shown = _ask(root, "GET", "/v1/status")
    if not shown["differences"]:
        raise OperatorError("no difference waits; nothing to accept")
    for line in shown["differences"]:
        typer.echo(line)
    typer.echo(f"code {shown['differences_code']}")
    body = {"reason": reason, "nonce": code or shown["differences_code"]}
    try:
        # Longer than the daemon waits for itself: it reads the books in between.
        answer = _ask(root, "POST", "/v1/reconcile/accept", body, timeout=10.0)
    except DependencyFailed as error:
        raise DependencyFailed(f"{error}; it may still be booked: look at the status before you repeat it") from error
    typer.echo(f"accepted: {len(answer['accepted'])} corrections are booked")
    if answer["still_halted"]:
        typer.echo("trading stays halted until: tarazu resume --reason TEXT")


def _move_cash(verb: str, amount: str, reason: str, root: Path) -> None:
    from market.errors import BadInput, DependencyFailed
    from market.money import parse_rupees

    parse_rupees(amount)
    if not reason.strip():
        raise BadInput("--reason: must not be empty; it goes into the journal")
    try:
        # Longer than the daemon waits for itself, so that it is the one to say that the outcome is not known.
        answer = _ask(root, "POST", f"/v1/cash/{verb}", {"rupees": amount, "reason": reason}, timeout=10.0)
    except DependencyFailed as error:
        if isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError):
            raise
        raise DependencyFailed(f"{error}; it may still be booked: look at the status before you repeat it") from error
    typer.echo(f"booked Rs {answer['moved']:+,.2f}; cash is now Rs {answer['cash']:,.2f}")


@cash.command(context_settings=_NEGATIVE)
def deposit(
    rupees: str = typer.Argument(..., help="Rupees, above 0, up to two decimals."),
    reason: str = typer.Option(..., "--reason", help="Why; goes into the journal."),
    root: Path = Root,
) -> None:
    """Tell the daemon that money was paid in: it is no profit, and no breaker takes it for one.

    Example: tarazu cash deposit 50000 --reason "savings of March"
    """
    _move_cash("deposit", rupees, reason, root)


@cash.command(context_settings=_NEGATIVE)
def withdraw(
    rupees: str = typer.Argument(..., help="Rupees, above 0, up to two decimals; at most the available cash."),
    reason: str = typer.Option(..., "--reason", help="Why; goes into the journal."),
    root: Path = Root,
) -> None:
    """Take money out of the account: it is no loss, and no breaker takes it for one.

    Example: tarazu cash withdraw 20000.50 --reason "school fees"
    """
    _move_cash("withdraw", rupees, reason, root)


def reload(root: Path = Root) -> None:
    """Verify the active model version and take it over at the next decision.

    Example: tarazu models list && tarazu reload
    """
    answer = _ask(root, "POST", "/v1/reload", {})
    _print(answer)
    if answer.get("accepted") is False:
        raise typer.Exit(1)
