"""What `tarazu doctor` looks at. Each check answers in one line; one that cannot be made fails, it is not skipped."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from market.errors import TarazuError

if TYPE_CHECKING:
    from market.calendar import Calendar

LEAST_FREE_BYTES: Final = 500 * 2**20
# Daily bars may be this many closed sessions old: a source that publishes late, or a long weekend at the vendor's.
LATE_SESSIONS: Final = 5


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor."""

    name: str
    ok: bool
    detail: str


def run_checks(root: Path) -> list[Check]:
    """Run every check on a deployment's directory."""
    checks = []
    for name, look in _CHECKS.items():
        try:
            ok, detail = look(root)
        except TarazuError as error:
            ok, detail = False, " ".join(str(error).split())
        except (OSError, ValueError, sqlite3.Error) as error:
            ok, detail = False, f"cannot be checked: {type(error).__name__}: {error}"
        checks.append(Check(name, ok, detail))
    return checks


def missing_sessions(calendar: Calendar, last: date) -> list[date]:
    """Return the sessions after `last` that are over by now."""
    from daemon.clock import session_day, wall_ns

    now_ns = wall_ns()
    sessions = calendar.sessions(last, session_day(now_ns))
    return [session.day for session in sessions if session.day > last and session.close_ns <= now_ns]


def _packages(root: Path) -> tuple[bool, str]:
    from tarazu.guard import foreign_rooms

    foreign = foreign_rooms()
    return not foreign, "; ".join(foreign) or "every room is ours"


def _configuration(root: Path) -> tuple[bool, str]:
    from tarazu.deployment import Deployment

    deployment = Deployment.open(root, mode="paper")
    return True, f"{', '.join(deployment.production.portfolio.assets)}; limits version {deployment.limits.version}"


def _calendar(root: Path) -> tuple[bool, str]:
    from daemon.clock import session_day, wall_ns
    from daemon.settings import HORIZON_DAYS
    from tarazu.deployment import open_calendar

    calendar = open_calendar(root)
    left = (calendar.coverage_until - session_day(wall_ns())).days
    return left >= HORIZON_DAYS, f"covers to {calendar.coverage_until}, {left} days ahead (wanted: {HORIZON_DAYS})"


def _data(root: Path) -> tuple[bool, str]:
    from market.quality import check
    from market.store import read_csv
    from tarazu.deployment import open_calendar

    path = root / "data" / "latest_market_data.csv"
    if not path.exists():
        return False, f"{path}: there is none; tarazu data import FILE"
    bars = read_csv(path)
    calendar = open_calendar(root)
    report = check(bars, calendar)
    behind = len(missing_sessions(calendar, bars.days[-1].astype("datetime64[D]").item()))
    said = [f"{len(bars.days)} sessions to {bars.days[-1]}", "clean" if report.ok else report.lines()[0]]
    if behind:
        said.append(f"{behind} sessions behind; see: tarazu data update")
    return report.ok and behind <= LATE_SESSIONS, ", ".join(said)


def _actions(root: Path) -> tuple[bool, str]:
    from daemon.clock import session_day, wall_ns
    from market.corporate_actions import read_actions

    path = root / "data" / "corporate_actions.csv"
    if not path.exists():
        return True, "no table; splits and bonus issues are not expected"
    table, today = read_actions(path), session_day(wall_ns())
    coming = [f"{action.symbol} {action.cause}" for action in table.actions if action.ex_date >= today]
    return True, f"{len(table.actions)} actions" + (f"; to come: {', '.join(coming[:3])}" if coming else "")


def _model(root: Path) -> tuple[bool, str]:
    from daemon.clock import session_day, wall_ns
    from strategies.artifact import active_version, load_artifact
    from tarazu.deployment import Deployment

    deployment = Deployment.open(root, mode="paper")
    version = active_version(deployment.paths.models)
    if version is None:
        return False, f"{deployment.paths.models}: no model is active"
    load_artifact(
        deployment.paths.models / version,
        symbols=tuple(deployment.production.portfolio.assets),
        look_back=deployment.production.environment.look_back,
        today=session_day(wall_ns()),
    )
    return True, f"{version}, verified"


def _journal(root: Path) -> tuple[bool, str]:
    from daemon.journal import read_journal

    path = root / "state" / "journal.sqlite"
    if not path.exists():
        return True, "none yet"
    count = sum(1 for _ in read_journal(path))
    return True, f"{count} records, chain holds"


def _disk(root: Path) -> tuple[bool, str]:
    free = shutil.disk_usage(root).free
    writable = os.access(root, os.W_OK)
    return free >= LEAST_FREE_BYTES and writable, f"{free // 2**20} MiB free, {'writable' if writable else 'read-only'}"


def _daemon(root: Path) -> tuple[bool, str]:
    from daemon import unix_socket

    try:
        _, raw = unix_socket.request(root / "state" / "stop.sock", "GET", "/v1/status", timeout=2.0)
    except OSError:
        return True, "not running"
    return True, f"running, {json.loads(raw).get('state')}"


def _latch(root: Path) -> tuple[bool, str]:
    from daemon.latch import Latch

    latch = Latch(root / "state" / "latch")
    if not latch.path.exists():
        return True, "not engaged"
    content = latch.read()
    reason = content.get("reason") or "no reason given"
    return False, f"engaged ({content.get('mode')}): {reason}; going on takes: tarazu resume"


_CHECKS: Final[dict[str, Callable[[Path], tuple[bool, str]]]] = {
    "packages": _packages,
    "configuration": _configuration,
    "calendar": _calendar,
    "data": _data,
    "corporate actions": _actions,
    "model": _model,
    "journal": _journal,
    "disk": _disk,
    "stop latch": _latch,
    "daemon": _daemon,
}
