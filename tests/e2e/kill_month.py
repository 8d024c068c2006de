"""The real thing without simulation: a month of paper trading in which the real daemon is killed 200 times.

    python -m tests.e2e.kill_month --kills 200 --seed 1

Real processes (feed, broker, daemon), real SQLite files, real sockets. Each day has a morning (09:14 to 10:04, the whole of
a plan's life) and an evening (15:28 to 15:48, the close), played faster than life; what lies between is not played. The
daemon is killed with SIGKILL at random moments, most of them right after something happened; at times cash moves as it
dies, the broker is killed as well, or an answer of the broker is lost. After each kill

* the journal as the kill left it: `PRAGMA integrity_check`, the chain, and a record of every order that the broker has;
* after the restart and its reconciliation: the fold of the journal against the broker's books, shares and cash to the paisa.

The seed chooses market, moments and losses. Real processes keep no exact time, so a run is repeated in kind, not to the
byte; each kill is printed with what it was, and a failure keeps its directory.
"""

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from daemon import unix_socket
from daemon.fold import fold_journal
from daemon.journal import read_journal
from tarazu.deployment import Deployment
from tests.e2e.kill_market import Market, make_market

REPO = Path(__file__).resolve().parent.parent.parent
MORNING, EVENING = ("09:14", 50), ("15:28", 20)
# What a kill may follow at once, and how often each kind of moment is chosen.
TRADING = ("decision.made", "orders.intended", "orders.reported", "orders.cancel_requested", "plan.closed")
MOMENTS, CHANCES = ("trading", "cash", "start", "any time"), (0.55, 0.15, 0.15, 0.15)
CLOSE_TO_IT = 0.05
PATIENCE = 20.0
STRATEGIES = ("equal_weight", "inverse_volatility")


class Violated(AssertionError):
    """Something that must always hold did not."""


@dataclass
class Figures:
    """What the run counted."""

    kills: int = 0
    broker_kills: int = 0
    sessions: int = 0
    starts: int = 0
    compared: int = 0
    integrity_checks: int = 0
    orders: int = 0
    fills: int = 0
    cash_moves: int = 0
    unknown: int = 0
    actions: int = 0
    records: int = 0
    slowest_ready: float = 0.0
    wall_seconds: float = 0.0
    moments: Counter = field(default_factory=Counter)


class Month:
    """One run: the processes that live now, and what was counted."""

    def __init__(self, folder: Path, *, seed: int, kills: int, sessions: int, speed: float, quiet: bool) -> None:
        self.folder, self.seed, self.target, self.speed, self.quiet = folder, seed, kills, speed, quiet
        self.market: Market = make_market(folder, seed=seed, sessions=sessions)
        self.deployment = Deployment.open(self.market.root, mode="paper")
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self.figures = Figures()
        self.began = time.monotonic()
        self.alive: dict[str, subprocess.Popen[bytes]] = {}
        self.feed_url = self.broker_url = ""
        self.halted = 0

    # ---- processes ---------------------------------------------------------------------------------------------------

    def spawn(self, name: str, *arguments: str) -> str:
        """Start `tarazu`; return the first word that says where it is, when it says so."""
        errors = (self.folder / f"{name}.err").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "tarazu", *arguments],
            stdout=subprocess.PIPE if name != "daemon" else subprocess.DEVNULL,
            stderr=errors,
            cwd=REPO,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(REPO)},
        )
        errors.close()
        self.alive[name] = process
        if name == "daemon":
            return ""
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        if not line.startswith(name):
            raise Violated(f"{name} does not start: {(self.folder / f'{name}.err').read_text()[-2000:]}")
        return line.split()[1]

    def start_broker(self, day: date, port: str = "0") -> None:
        self.broker_url = self.spawn(
            "broker", "broker", "--root", str(self.market.root), "--feed", self.feed_url, "--port", port, "--quiet",
            "--lose-answers", "0.05", "--lose-requests", "0.03", "--seed", str(self.seed * 1000 + day.toordinal() % 1000),
        )  # fmt: skip

    def start_daemon(self, day: date) -> tuple[int, float]:
        self.figures.starts += 1
        mark = self.mark()
        strategy = STRATEGIES[self.market.days.index(day) % len(STRATEGIES)]
        self.spawn(
            "daemon", "paper", "--root", str(self.market.root), "--feed", self.feed_url, "--broker", self.broker_url,
            "--strategy", strategy, "--quiet",
        )  # fmt: skip
        return mark, time.monotonic()

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        process = self.alive.pop(name)
        process.send_signal(number)
        process.communicate(timeout=60)
        code = process.returncode
        if code not in (0, -number):
            raise Violated(f"{name} ended with {code}: {(self.folder / f'{name}.err').read_text()[-2000:]}")

    def close(self) -> None:
        for process in self.alive.values():
            process.kill()
            process.communicate()
        self.alive.clear()

    # ---- looking -----------------------------------------------------------------------------------------------------

    @property
    def journal(self) -> Path:
        return self.market.root / "state" / "journal.sqlite"

    @property
    def logs(self) -> Path:
        return self.market.root / "logs" / "paper_trading"

    def log(self, name: str = "daemon.jsonl") -> list[bytes]:
        path = self.logs / name
        return path.read_bytes().splitlines() if path.exists() else []

    def mark(self) -> int:
        """Return where the daemon's log ends now: what is read from here on is news."""
        path = self.logs / "daemon.jsonl"
        return path.stat().st_size if path.exists() else 0

    def news(self, mark: int) -> bytes:
        path = self.logs / "daemon.jsonl"
        if not path.exists():
            return b""
        with path.open("rb") as file:
            file.seek(mark)
            return file.read()

    def wait_for(self, events: tuple[str, ...], mark: int, seconds: float) -> str:
        """Return the first of the events since the mark; empty when none came in time or the daemon is gone."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in self.news(mark).splitlines():
                for event in events:
                    if f'"event": "{event}"'.encode() in line:
                        return event
            if self.alive["daemon"].poll() is not None:
                return ""
            time.sleep(0.002)
        return ""

    def books(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.broker_url}/v1/books", timeout=5) as answer:
            return dict(json.load(answer))

    def ask(self, target: str, body: dict[str, str], *, wait: bool = True) -> None:
        path = self.market.root / "state" / "control.sock"
        raw = json.dumps(body).encode()
        if wait:
            unix_socket.request(path, "POST", target, raw, timeout=5.0)
            return
        head = f"POST {target} HTTP/1.1\r\nHost: tarazu\r\nContent-Type: application/json\r\n"
        client = unix_socket.connect(path, timeout=5.0)
        client.sendall(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
        client.close()

    # ---- what must hold ----------------------------------------------------------------------------------------------

    def check_left_behind(self) -> None:
        """Check the files as the kill left them, on a copy: the daemon shall recover the originals by itself."""
        copy = self.folder / "left"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for path in self.journal.parent.glob("journal.sqlite*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, copy / path.name)
        if not (copy / "journal.sqlite").exists():
            return
        with closing(sqlite3.connect(copy / "journal.sqlite")) as connection:
            (found,) = connection.execute("PRAGMA integrity_check").fetchone()
        if found != "ok":
            raise Violated(f"integrity_check: {found}")
        intended = {}
        records = 0
        for record in read_journal(copy / "journal.sqlite"):
            records += 1
            if record.kind == "OrdersIntended":
                intended |= {order.tag: order for order in record.message.orders}
        if records < self.figures.records:
            raise Violated(f"the journal had {self.figures.records} records and has {records}")
        self.figures.records = records
        self.figures.integrity_checks += 1
        if "broker" not in self.alive:
            return
        for order in self.books()["orders"]:
            meant = intended.get(order["tag"])
            if meant is None or (meant.symbol, meant.quantity) != (order["symbol"], order["quantity"]):
                raise Violated(f"the broker has an order that is not on record: {order}")

    def check_equal(self) -> None:
        """Compare the fold of the journal with the broker's books, shares and cash to the paisa, until they are equal."""
        end = time.monotonic() + PATIENCE
        while True:
            before = self.books()
            ledger = self.folded()
            after = self.books()
            still = all(before[key] == after[key] for key in ("positions", "funds", "trades"))
            theirs = (
                {
                    p["symbol"]: p["settled"] + p["unsettled"]
                    for p in after["positions"]
                    if p["settled"] + p["unsettled"]
                },
                after["funds"]["cash"],
            )
            if still and ledger == theirs:
                self.figures.compared += 1
                return
            if time.monotonic() > end:
                raise Violated(f"ledger {ledger}, broker {theirs}")
            if self.alive["daemon"].poll() is None:
                # A lost answer silences the order's stream: only another look at the books can tell of its fills.
                self.ask("/v1/reconcile", {"reason": "compare"})
            time.sleep(0.1)

    def folded(self) -> tuple[dict[str, int], int]:
        folded = fold_journal(
            self.journal, settings=self.deployment.settings(mode="paper"), limits=self.deployment.limits
        )
        account = folded.state.account
        self.figures.orders, self.figures.fills = folded.tally.orders, account.fills
        self.figures.cash_moves, self.figures.actions = len(folded.state.history.moves), len(folded.state.actions)
        return {symbol: shares for symbol, shares in account.quantities.items() if shares}, account.cash

    def check_logs(self) -> None:
        """No tag came twice to the broker, and nothing halted the daemon."""
        repeated = [line for line in self.log("broker.jsonl") if b'"order.repeated"' in line]
        if repeated:
            raise Violated(f"an order was sent twice: {repeated[0]!r}")
        lines = self.log()
        halts = [line for line in lines if b'"event": "daemon.halted"' in line or b'"breaker.tripped"' in line]
        if halts:
            raise Violated(f"halted: {halts[0]!r}")
        self.figures.unknown = sum(b'"event": "order.unknown"' in line for line in lines)

    # ---- the run -----------------------------------------------------------------------------------------------------

    def run(self) -> Figures:
        """Play the days until there were enough kills. Raises Violated."""
        try:
            for day in self.market.days:
                left = self.target - self.figures.kills
                days = len(self.market.days) - self.market.days.index(day)
                if left <= 0:
                    break
                evening = 1 if left > 1 and self.rng.random() < 0.7 else 0
                share = max(1, -(-left // days))
                self.play(day, MORNING, share - evening)
                self.play(day, EVENING, evening)
                self.figures.sessions += 1
        finally:
            self.close()
            self.figures.wall_seconds = time.monotonic() - self.began
        return self.figures

    def play(self, day: date, part: tuple[str, int], kills: int) -> None:
        at, minutes = part
        self.feed_url = self.spawn(
            "feed", "feed", "--data", str(self.market.five), "--from", str(day), "--to", str(day),
            "--speed", str(self.speed), "--port", "0", "--at", at, "--hold",
        )  # fmt: skip
        self.start_broker(day)
        ends = time.monotonic() + minutes * 60 / self.speed
        mark, started = self.start_daemon(day)
        for number in range(kills):
            self.one_kill(day, mark, started, spare=(ends - time.monotonic()) / max(1, kills - number))
            mark, started = self.start_daemon(day)
        self.ready(mark, started)
        self.check_equal()
        time.sleep(max(0.0, ends - time.monotonic()))
        self.end("daemon")
        self.end("broker")
        self.end("feed")
        self.check_logs()

    def ready(self, mark: int, started: float) -> None:
        """Wait until the daemon has compared the books once."""
        if not self.wait_for(("reconcile.done",), mark, PATIENCE):
            raise Violated(f"no reconciliation after a start: {(self.folder / 'daemon.err').read_text()[-2000:]}")
        took = time.monotonic() - started
        if took > self.figures.slowest_ready:
            self.figures.slowest_ready = took
            self.say(f"ready after {took:.2f} s, the longest so far")

    def one_kill(self, day: date, mark: int, started: float, *, spare: float) -> None:
        rng = self.rng
        moment = str(rng.choice(MOMENTS, p=CHANCES))
        after = float(rng.uniform(0.0, CLOSE_TO_IT))
        if moment == "start":
            after = float(rng.uniform(0.0, 1.2))
        else:
            self.ready(mark, started)
            self.check_equal()
            mark = self.mark()
        if moment == "cash":
            verb = "deposit" if rng.random() < 0.7 else "withdraw"
            amount = f"{int(rng.integers(1, 50_000)) / 100:.2f}"
            self.ask(f"/v1/cash/{verb}", {"rupees": amount, "reason": "month of kills"}, wait=False)
        elif moment == "trading":
            moment = self.wait_for(TRADING, mark, max(0.2, spare - 1.5)) or "nothing for a while"
        elif moment == "any time":
            after = float(rng.uniform(0.0, max(0.1, spare - 2.0)))
        time.sleep(after)
        self.end("daemon", signal.SIGKILL)
        both = rng.random() < 0.1
        if both:
            self.end("broker", signal.SIGKILL)
            self.figures.broker_kills += 1
        self.figures.kills += 1
        self.figures.moments[moment] += 1
        if both:
            self.start_broker(day, self.broker_url.rsplit(":", 1)[1])
        self.check_left_behind()
        what = f"{moment}{' and broker' if both else ''}"
        self.say(f"kill {self.figures.kills}: {day} after {what}, {self.figures.records} records")

    def say(self, text: str) -> None:
        if not self.quiet:
            print(text, flush=True)


def main() -> int:
    """Run from the command line; exit code 1 when something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--sessions", type=int, default=21)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", type=float, default=100.0)
    parser.add_argument("--quiet", action="store_true")
    wanted = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tarazu-kill-month-"))
    month = Month(
        folder,
        seed=wanted.seed,
        kills=wanted.kills,
        sessions=wanted.sessions,
        speed=wanted.speed,
        quiet=wanted.quiet,
    )
    try:
        figures = month.run()
    except Violated as violation:
        print(f"VIOLATED after {month.figures.kills} kills, seed {wanted.seed}: {violation}\nkept: {folder}")
        return 1
    shutil.rmtree(folder)
    print(json.dumps({"seed": wanted.seed, "speed": wanted.speed, **vars(figures)}, default=str))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
