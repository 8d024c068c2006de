"""A full disk while journaling: nothing is sent, the daemon stays up to say so, and a start with space goes on."""

import json
import os
import shutil
import signal
import subprocess
import time
from datetime import date

import pytest

DAY = date(2024, 6, 5)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small tmpfs needs root"),
]


@pytest.fixture
def small_disk(deployment):
    state = deployment.root / "state"
    state.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(state)], check=False, capture_output=True
    )
    if done.returncode != 0:
        pytest.skip("this machine does not allow mounting a tmpfs")
    yield state
    deployment.close()
    subprocess.run(["umount", "-l", str(state)], check=False)


@pytest.mark.timeout(120)
def test_a_full_disk_halts_before_anything_is_sent_and_the_daemon_stays_up(deployment, small_disk):
    root = str(deployment.root)
    url = deployment.feed(DAY)
    daemon = deployment.daemon(url, "equal_weight")
    deployment.wait_for("reconcile.done")
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    alert = deployment.wait_for("dispatch.failed")
    assert "full" in alert["detail"] or "I/O" in alert["detail"]
    status = json.loads(deployment.run("status", "--root", root, "--json"))
    assert status["state"] == "FAILED"
    assert daemon.poll() is None
    daemon.send_signal(signal.SIGTERM)
    deployment.finish(daemon)

    ballast.unlink()
    (small_disk / "latch" / "stop.latch").unlink(missing_ok=True)
    since = len(deployment.log())
    again = deployment.daemon(url, "equal_weight")
    deployment.wait_for("reconcile.done", since=since)
    end = time.monotonic() + 30
    while time.monotonic() < end and not deployment.orders(DAY):
        time.sleep(0.05)
    orders = [order[0] for order in deployment.broker_orders(DAY)]
    assert len(orders) == len(set(orders))
    again.send_signal(signal.SIGTERM)
    deployment.finish(again)
