"""Start-up of the paper daemon until READY and its resident memory; and `tarazu stop`, whole processes on real sockets."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from bench.report import Ratio
from daemon.clock import stopwatch

CONFIG = Path(__file__).resolve().parent.parent / "production" / "config"


def _deployment(root: Path) -> Path:
    """Make a deployment with two years of bars and an hour of five-minute bars; return the file of the latter."""
    from market.calendar import Calendar
    from market.store import write_csv
    from market.synthetic import generate

    symbols = ("HDFCBANK", "ICICIBANK", "SBIN", "AXISBANK", "KOTAKBANK")
    shutil.copytree(CONFIG, root / "config")
    (root / "data").mkdir()
    bars = generate(1, symbols, date(2022, 1, 3), date(2024, 6, 4), Calendar.load())
    write_csv(bars, root / "data" / "latest_market_data.csv")
    lines = ["ts,symbol,open,high,low,close,volume"]
    last = bars.close[-1]
    for slot in range(12):
        minute = 15 + 5 * slot
        stamp = f"2024-06-05T{9 + minute // 60:02d}:{minute % 60:02d}:00+05:30"
        lines += [f"{stamp},{s},{p:.2f},{p:.2f},{p:.2f},{p:.2f},100000" for s, p in zip(symbols, last, strict=True)]
    path = root.parent / "five.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def _start(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tarazu", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
    )


def bench(repeat: int = 5) -> list[Ratio]:
    """Return seconds until READY, resident megabytes, and seconds of `tarazu stop`, each against its target."""
    ready, resident, stopping = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "production"
        five = _deployment(root)
        # The first start fills the cache of the bars, as the first start of a deployment does; it is not counted.
        for number in range(repeat + 1):
            shutil.rmtree(root / "state", ignore_errors=True)
            seconds, megabytes, stop = _once(root, five, Path(folder) / "notify")
            if number:
                ready.append(seconds)
                resident.append(megabytes)
                stopping.append(stop)
    bare = min(_timed([sys.executable, "-c", "pass"]) for _ in range(repeat))
    return [
        Ratio(
            "seconds until READY, paper daemon", min(ready), bare, "baseline: an empty interpreter; target below 1 s"
        ),
        Ratio("resident MB when READY", max(resident), 150.0, "baseline: the target of 150 MB"),
        Ratio("seconds of tarazu stop", min(stopping), bare, "baseline: an empty interpreter; target below 0.3 s"),
    ]


def _timed(command: list[str]) -> float:
    began = stopwatch()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return stopwatch() - began


def _once(root: Path, five: Path, address: Path) -> tuple[float, float, float]:
    address.unlink(missing_ok=True)
    feed = _start(
        "feed", "--data", str(five), "--from", "2024-06-05", "--to", "2024-06-05", "--port", "0", "--speed", "1"
    )
    assert feed.stdout is not None
    url = feed.stdout.readline().split()[1]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(30.0)
        began = stopwatch()
        daemon = _start(
            "paper", "--root", str(root), "--feed", url, "--strategy", "equal_weight", "--quiet",
            environment={"NOTIFY_SOCKET": str(address)},
        )  # fmt: skip
        try:
            while b"READY=1" not in manager.recv(4096):
                pass
            seconds = stopwatch() - began
            status = Path(f"/proc/{daemon.pid}/status").read_text()
            kilobytes = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
            stop = _timed([sys.executable, "-m", "tarazu", "stop", "--root", str(root), "--reason", "bench"])
        finally:
            for process in (daemon, feed):
                process.kill()
                process.communicate()
    return seconds, kilobytes / 1024.0, stop
