"""Real daemon, real broker, real guardian: a daemon that hangs or dies leaves no order open at the broker."""

import json
import signal
import time
import urllib.request
from datetime import date

import pytest

from daemon.journal import read_journal
from daemon.messages import OrdersIntended

DAY = date(2024, 6, 5)
# Far above what a busy machine keeps a healthy heartbeat waiting for.
LIMIT = 6.0
pytestmark = pytest.mark.slow


def orders(address):
    with urllib.request.urlopen(f"{address}/v1/orders", timeout=5) as answer:
        return json.load(answer)


def until(condition, seconds):
    """Wait for a condition of other processes; return how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not come in time"
        time.sleep(0.02)
    return time.monotonic() - began


def resting(deployment):
    """A daemon with open orders at its broker, and a guardian beside it."""
    # No bar comes for long after the decision's: on a slow machine one would fill the orders before the test looks.
    url = deployment.feed(DAY, speed=40.0, silent=True)
    _, address = deployment.broker(url)
    guardian = deployment.guardian(address, limit=LIMIT)
    daemon = deployment.daemon(url, "equal_weight", broker=address)
    deployment.wait_for("orders.intended")
    journal = read_journal(deployment.root / "state" / "journal.sqlite")
    intended = [
        order for record in journal if isinstance(record.message, OrdersIntended) for order in record.message.orders
    ]
    # All of them: a request that is past its last look when its process is frozen leaves when it wakes.
    until(lambda: len(orders(address)) == len(intended), 30.0)
    assert any(order["status"] == "open" for order in orders(address))
    assert not (deployment.root / "state" / "latch" / "stop.latch").exists()
    return url, address, guardian, daemon


def state(deployment):
    return json.loads(deployment.run("status", "--root", str(deployment.root), "--json"))


def said_by(guardian):
    """Let the guardian finish what it does, end it, and return the events that it told."""
    said = [""]
    while said[-1] != "guardian.withdrawn":
        said.append(json.loads(guardian.stderr.readline())["event"])
    guardian.send_signal(signal.SIGTERM)
    _, errors = guardian.communicate(timeout=20)
    assert guardian.returncode == 0
    return [*said, *(json.loads(line)["event"] for line in errors.splitlines())]


@pytest.mark.timeout(120)
def test_a_daemon_that_hangs_has_its_orders_cancelled_and_does_not_trade_on_when_it_wakes(deployment):
    _, address, guardian, daemon = resting(deployment)
    daemon.send_signal(signal.SIGSTOP)
    took = until(lambda: all(order["status"] != "open" for order in orders(address)), LIMIT + 20.0)
    assert took > LIMIT - 1.5
    assert {order["status"] for order in orders(address)} == {"cancelled"}
    latch = json.loads((deployment.root / "state" / "latch" / "stop.latch").read_text())
    assert latch["mode"] == "cancel" and latch["reason"].startswith("guardian: no heartbeat")
    placed = len(orders(address))

    since = len(deployment.log())
    daemon.send_signal(signal.SIGCONT)
    deployment.wait_for("plan.closed", since=since)
    assert state(deployment)["state"] == "HALTED"
    assert len([order for order in orders(address) if order["status"] == "open"]) == 0
    assert len(orders(address)) == placed
    said = said_by(guardian)
    assert said.count("guardian.engaged") == said.count("guardian.cancelled") == 1
    assert said.index("guardian.engaged") < said.index("guardian.withdrawn")
    daemon.send_signal(signal.SIGTERM)
    deployment.finish(daemon)


@pytest.mark.timeout(120)
def test_a_daemon_that_is_killed_has_its_orders_cancelled_and_starts_again_halted(deployment):
    url, address, guardian, daemon = resting(deployment)
    daemon.kill()
    daemon.communicate()
    until(lambda: all(order["status"] == "cancelled" for order in orders(address)), LIMIT + 20.0)
    since = len(deployment.log())
    again = deployment.daemon(url, "equal_weight", broker=address)
    deployment.wait_for("reconcile.done", since=since)
    assert state(deployment)["state"] == "HALTED"
    again.send_signal(signal.SIGTERM)
    deployment.finish(again)
    beat = json.loads((deployment.root / "state" / "heartbeat").read_text())
    assert beat["state"] == "stopped" and beat["pid"] == again.pid
    assert said_by(guardian).count("guardian.engaged") == 1
