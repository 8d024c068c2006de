"""An emergency stop until the last cancel is confirmed: idle, and under a flood with inference hanging.

A real process and its real stop socket; each sample is a drill in earnest (`tarazu drill stop --really`): five purchases
rest at the paper broker, the command goes out, the latch is synced to the disk, the dispatch hears it behind the flood,
cancels, and answers when the broker has confirmed the last one. Measured from before the client connects until it has
that answer; the stages are those that the drill puts on record. Then the two-step resume, and the next sample.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import Ratio
from daemon import unix_socket
from daemon.clock import stopwatch

FLOOD = 50_000
BOUND_MS = 1_000.0


class Daemon:
    """The process, its sockets and its standard input."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.stop_daemon", str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._wait(lambda: self.status().get("state") == "TRADING")

    def tell(self, line: str) -> None:
        """Give a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, socket: str, target: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST, and return the answer."""
        status, raw = unix_socket.request(
            self.root / "state" / socket, "POST", target, json.dumps(body).encode(), timeout=60.0
        )
        assert status == 200, raw
        return dict(json.loads(raw))

    def status(self) -> dict[str, Any]:
        """Return the stop plane's status; empty while there is none."""
        try:
            _, raw = unix_socket.request(self.root / "state" / "stop.sock", "GET", "/v1/status")
        except OSError:
            return {}
        return dict(json.loads(raw))

    def _wait(self, condition: Any) -> None:
        end = stopwatch() + 60.0
        while not condition():
            assert self.process.poll() is None and stopwatch() < end, "the daemon did not get there"
            time.sleep(0.005)

    def sample(self) -> tuple[float, dict[str, Any]]:
        """Open orders, stop, and go on; return milliseconds until the answer, and the stages."""
        assert self.process.stdout is not None
        self.tell("open")
        opened = int(self.process.stdout.readline().split()[1])
        began = stopwatch()
        answer = self.ask("stop.sock", "/v1/drill", {"reason": "bench", "really": True})
        took = (stopwatch() - began) * 1e3
        assert answer["cancelled"] == opened and answer["durable"], answer
        nonce = self.ask("control.sock", "/v1/resume/prepare", {})["nonce"]
        self.ask("control.sock", "/v1/resume/confirm", {"reason": "bench", "nonce": nonce})
        self._wait(lambda: not self.status()["stop_engaged"])
        return took, answer

    def handled(self) -> int:
        """Return how many records the journal has."""
        return int(self.status()["journal_seq"])

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


def _measure(hang: str, flood: int, count: int) -> tuple[list[float], list[dict[str, Any]], float]:
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder))
        try:
            if hang:
                daemon.tell(f"hang {hang}")
            daemon.tell(f"flood {flood}")
            warm = count // 10
            samples = []
            for number in range(count + warm):
                if number == warm:
                    began, before = stopwatch(), daemon.handled()
                samples.append(daemon.sample())
            rate = (daemon.handled() - before) / (stopwatch() - began)
        finally:
            daemon.close()
    kept = samples[warm:]
    return [took for took, _ in kept], [answer for _, answer in kept], rate


def bench(count: int = 100) -> list[Ratio]:
    """Return p50, p99 and the worst, idle and flooded, against the idle daemon and the bound."""
    idle, idle_stages, _ = _measure("", 0, count)
    ratios = [_bounded(f"ms command to answer, idle, worst of {count}", idle)]
    for hang in ("waiting", "computing"):
        took, stages, rate = _measure(hang, FLOOD, count)
        note = f"baseline: idle; {FLOOD:,} bars/s offered, {rate:,.0f} records/s handled"
        for what, ours, base in (
            ("ms command to answer", took, idle),
            ("  of it arrival to latch durable", _of(stages, "latch_ms"), _of(idle_stages, "latch_ms")),
            ("  of it arrival to last cancel", _of(stages, "confirmed_ms"), _of(idle_stages, "confirmed_ms")),
        ):
            ratios += [Ratio(f"{what}, {hang}, p{p}", _at(ours, p), _at(base, p), note) for p in (50, 99)]
        ratios.append(_bounded(f"ms command to answer, {hang}, worst of {count}", took))
    return ratios


def _bounded(what: str, values: list[float]) -> Ratio:
    return Ratio(what, max(values), BOUND_MS, f"baseline: the bound of {BOUND_MS:,.0f} ms")


def _of(stages: list[dict[str, Any]], name: str) -> list[float]:
    return [float(answer[name]) for answer in stages]


def _at(values: list[float], percent: float) -> float:
    return float(np.percentile(np.array(values), percent))
