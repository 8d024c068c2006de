"""A deployment in a directory, a played feed and the daemon as real processes, as an operator has them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import pytest

REPO = Path(__file__).resolve().parent.parent.parent
SYMBOLS = ("HDFCBANK", "ICICIBANK", "SBIN", "AXISBANK", "KOTAKBANK")
DAYS = (date(2024, 6, 5), date(2024, 6, 6))
# Volatilities differ, so that equal weight and inverse volatility want different portfolios: sells and buys.
VOLATILITY = np.array([0.006, 0.007, 0.022, 0.024, 0.011])


def write_daily(path: Path) -> None:
    """Write daily bars before the first day."""
    from market.calendar import Calendar

    sessions = Calendar.load().sessions(date(2024, 3, 1), date(2024, 6, 4))
    rng = np.random.default_rng(1)
    closes = 1000 * np.exp(np.cumsum(rng.normal(0, VOLATILITY, (len(sessions), 5)), axis=0))
    lines = ["date,symbol,open,high,low,close,volume"]
    for session, row in zip(sessions, closes, strict=True):
        for symbol, price in zip(SYMBOLS, row, strict=True):
            text = f"{price * 0.999:.2f},{price * 1.01:.2f},{price * 0.99:.2f},{price:.2f},5000000"
            lines.append(f"{session.day},{symbol},{text}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_five_minutes(path: Path, last_close: np.ndarray) -> None:
    """Write 5-minute bars of the first hour of both days."""
    rng = np.random.default_rng(2)
    price = last_close.copy()
    lines = ["ts,symbol,open,high,low,close,volume"]
    for day in DAYS:
        for slot in range(11):
            minute = 15 + 5 * slot
            stamp = f"{day}T{9 + minute // 60:02d}:{minute % 60:02d}:00+05:30"
            after = price * np.exp(rng.normal(0, 0.0004, 5))
            for symbol, o, c in zip(SYMBOLS, price, after, strict=True):
                high, low = max(o, c) * 1.0003, min(o, c) * 0.9997
                lines.append(f"{stamp},{symbol},{o:.2f},{high:.2f},{low:.2f},{c:.2f},400000")
            price = after
    path.write_text("\n".join(lines) + "\n")


class Deployment:
    """One deployment directory and the processes that run on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.processes: list[subprocess.Popen[str]] = []

    @classmethod
    def make(cls, root: Path) -> "Deployment":
        """Make a deployment with configuration and data."""
        shutil.copytree(REPO / "production" / "config", root / "config")
        write_daily(root / "data" / "latest_market_data.csv")
        rows = (root / "data" / "latest_market_data.csv").read_text().splitlines()[-5:]
        write_five_minutes(root.parent / "five.csv", np.array([float(row.split(",")[5]) for row in rows]))
        return cls(root)

    def copy(self, root: Path) -> "Deployment":
        """Copy the deployment as it is."""
        shutil.copytree(self.root, root, ignore=shutil.ignore_patterns("*.sock", "daemon.lock"))
        return Deployment(root)

    def feed(self, day: date, *, speed: float = 240.0, silent: bool = False) -> str:
        """Start a played feed of a day, or of its first and last bars alone (`silent`); return its address."""
        path = self.root.parent / "five.csv"
        if silent:
            header, *lines = path.read_text().splitlines()
            played = [line for line in lines if line.startswith(str(day))]
            others = [line for line in lines if line[:10] != str(day)]  # never played, but they tell the interval
            path = path.with_name("silent.csv")
            rows = [*played[: len(SYMBOLS)], *played[-len(SYMBOLS) :], *others]
            path.write_text("\n".join([header, *sorted(rows)]) + "\n")
        process = self.spawn(
            "feed", "--data", str(path), "--from", str(day), "--to", str(day),
            "--speed", str(speed), "--port", "0", "--at", "09:14", "--hold",
        )  # fmt: skip
        line = process.stdout.readline()
        assert line.startswith("feed http://"), line + process.stderr.read()
        return line.split()[1]

    def daemon(
        self, url: str, strategy: str, *, latency: float = 0.0, broker: str | None = None
    ) -> subprocess.Popen[str]:
        """Start the paper daemon, on a broker process when given its address."""
        return self.spawn(
            "paper", "--root", str(self.root), "--feed", url, "--strategy", strategy, "--until-feed-ends",
            "--latency", str(latency), "--quiet", *(() if broker is None else ("--broker", broker)),
        )  # fmt: skip

    def broker(self, url: str, *arguments: str) -> tuple[subprocess.Popen[str], str]:
        """Start the broker process on a feed; return it and its address."""
        process = self.spawn("broker", "--root", str(self.root), "--feed", url, "--port", "0", "--quiet", *arguments)
        line = process.stdout.readline()
        assert line.startswith("broker http://"), line + process.stderr.read()
        return process, line.split()[1]

    def guardian(self, address: str, *, limit: float) -> subprocess.Popen[str]:
        """Start the guardian; return it when it watches."""
        process = self.spawn("guardian", "--root", str(self.root), "--broker", address, "--limit", str(limit))
        line = process.stderr.readline()
        assert '"guardian.started"' in line, line
        return process

    def spawn(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `tarazu` with arguments."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tarazu", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPO,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        )
        self.processes.append(process)
        return process

    def run(self, *arguments: str, expect: int = 0) -> str:
        """Run `tarazu` to its end and return what it printed."""
        process = self.spawn(*arguments)
        out, err = process.communicate(timeout=60)
        assert process.returncode == expect, f"{arguments}: {process.returncode}\n{out}\n{err}"
        assert "Traceback" not in err
        return out + err

    def log(self) -> list[dict]:
        """Return the daemon's log lines so far."""
        path = self.root / "logs" / "paper_trading" / "daemon.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]

    def wait_for(self, event: str, *, since: int = 0, seconds: float = 60.0, **fields) -> dict:
        """Wait until the log has an event; other processes set the pace, so this has to look from time to time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in self.log()[since:]:
                if line["event"] == event and all(line.get(key) == value for key, value in fields.items()):
                    return line
            dead = [p for p in self.processes if p.poll() not in (None, 0, -signal.SIGKILL)]
            assert not dead, dead[0].stderr.read()
            time.sleep(0.01)
        raise AssertionError(f"no {event} {fields} in {seconds} s; last lines: {self.log()[-5:]}")

    def finish(self, process: subprocess.Popen[str], *, expect: int = 0) -> None:
        """Wait for a process to end as expected."""
        out, err = process.communicate(timeout=90)
        assert process.returncode == expect, f"{process.returncode}\n{out}\n{err}"

    def orders(self, day: date) -> set[tuple]:
        """Return the orders on record of a day: tag, symbol, side, quantity, limit."""
        from daemon.journal import read_journal

        prefix = f"{day:%Y%m%d}-"
        return {
            (order.tag, order.symbol, order.side, order.quantity, order.limit)
            for record in read_journal(self.root / "state" / "journal.sqlite")
            if record.kind == "OrdersIntended" and record.message.plan_id.startswith(prefix)
            for order in record.message.orders
        }

    def broker_orders(self, day: date) -> list[tuple]:
        """Return what the paper broker was sent: every order of its current day."""
        from brokers.paper_store import PaperStore

        store = PaperStore(self.root / "state" / "paper_broker.sqlite")
        try:
            state = store.load()
        finally:
            store.close()
        assert state is not None and state.session == day
        return sorted((o.tag, o.symbol, o.side, o.quantity, o.limit, o.filled) for o in state.orders)

    def close(self) -> None:
        """End every process."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def deployment(tmp_path):
    made = Deployment.make(tmp_path / "production")
    others = []
    made.others = others
    yield made
    made.close()
    for other in others:
        other.close()
