"""Restart drill: trade a day on paper undisturbed, and again with SIGTERM in the middle of the rebalance; compare the orders.

Both runs are real processes against a played feed (`tarazu feed`), in copies of the same deployment that has traded the
day before. Example:

    python scripts/restart_drill.py --daily daily.csv --intraday five_minutes.csv.gz --first 2024-06-03 --second 2024-06-05
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from brokers.paper_store import PaperStore

REPOSITORY = Path(__file__).resolve().parent.parent


def tarazu(*arguments: str) -> subprocess.Popen[str]:
    """Start a command."""
    return subprocess.Popen([sys.executable, "-m", "tarazu", *arguments], stdout=subprocess.PIPE, text=True)


def trade(root: Path, day: date, options: argparse.Namespace, *, stop_after: str | None) -> float:
    """Trade one day; with `stop_after` the daemon gets SIGTERM at that log event and is started again."""
    feed = tarazu(
        "feed", "--data", str(options.intraday), "--from", str(day), "--to", str(day),
        "--speed", str(options.speed), "--port", "0", "--at", "09:14", "--hold",
    )  # fmt: skip
    assert feed.stdout is not None
    url = feed.stdout.readline().split()[1]
    choice = ["--model", str(options.model)] if options.model else ["--strategy", options.strategy]
    command = ["paper", "--root", str(root), "--feed", url, *choice, "--until-feed-ends", "--quiet"]
    log = root / "logs" / "paper_trading" / "daemon.jsonl"
    seen = log.stat().st_size if log.exists() else 0
    daemon = tarazu(*command)
    if stop_after is not None:
        # tail ends with the daemon, so a day without the event does not hang the drill.
        tail = ["tail", "-F", f"--pid={daemon.pid}", "-c", f"+{seen + 1}", str(log)]
        follow = subprocess.Popen(tail, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert follow.stdout is not None
        at = next((line["at"] for line in map(json.loads, follow.stdout) if line["event"] == stop_after), None)
        follow.kill()
        if at is None:
            print(f"  no {stop_after} that day; choose another one")
        else:
            daemon.send_signal(signal.SIGTERM)
            print(f"  SIGTERM at {at} ({stop_after}); exit code {daemon.wait()}; started again")
            daemon = tarazu(*command)
    code = daemon.wait()
    feed.kill()
    return code


def orders_of(root: Path) -> list[tuple[Any, ...]]:
    """Return what the paper broker was sent on its last day, with what was filled."""
    store = PaperStore(root / "state" / "paper_broker.sqlite")
    state = store.load()
    store.close()
    assert state is not None
    return sorted((o.tag, o.symbol, str(o.side), o.quantity, o.limit, o.filled, o.status) for o in state.orders)


def main() -> int:
    """Run the drill; 0 when the orders are the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--daily", "--intraday"):
        parser.add_argument(name, type=Path, required=True)
    for name in ("--first", "--second"):
        parser.add_argument(name, type=date.fromisoformat, required=True)
    parser.add_argument("--strategy", default="inverse_volatility")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--speed", type=float, default=240.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        shutil.copytree(REPOSITORY / "production" / "config", base / "config")
        (base / "data").mkdir()
        shutil.copy(options.daily, base / "data" / "latest_market_data.csv")
        print(f"{options.first}: the day before, to hold something")
        first = argparse.Namespace(**{**vars(options), "model": None, "strategy": "equal_weight"})
        trade(base, options.first, first, stop_after=None)
        found = {}
        for name, stop_after in (("undisturbed", None), ("restarted", "orders.intended")):
            root = Path(folder) / name
            shutil.copytree(base, root, ignore=shutil.ignore_patterns("*.sock", "*.lock"))
            print(f"{options.second}: {name}")
            trade(root, options.second, options, stop_after=stop_after)
            found[name] = orders_of(root)
        for order in found["undisturbed"]:
            print("  ", *order)
        same = found["undisturbed"] == found["restarted"]
        print(f"{len(found['undisturbed'])} orders undisturbed, {len(found['restarted'])} restarted: "
              f"{'the same' if same else 'DIFFERENT'}")  # fmt: skip
        return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
