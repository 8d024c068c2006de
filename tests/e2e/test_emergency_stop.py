"""The emergency stop on a real paper daemon: a drill, a signal, a file, and a flatten that sells."""

import json
import os
import signal
import time
from datetime import date

import pytest

from brokers.paper_store import PaperStore

FIRST, SECOND = date(2024, 6, 5), date(2024, 6, 6)

pytestmark = pytest.mark.slow


def status(deployment):
    return json.loads(deployment.run("status", "--root", str(deployment.root), "--json"))


def resume(deployment):
    root = str(deployment.root)
    nonce = deployment.run("resume", "--root", root, "--reason", "over").rsplit("--nonce ", 1)[1].split()[0]
    deployment.run("resume", "--root", root, "--reason", "over", "--nonce", nonce)


def started(deployment, day=FIRST, *, speed=30.0, strategy="equal_weight"):
    since = len(deployment.log())
    daemon = deployment.daemon(deployment.feed(day, speed=speed), strategy)
    deployment.wait_for("reconcile.done", since=since)
    return daemon


def held_at_the_broker(deployment):
    store = PaperStore(deployment.root / "state" / "paper_broker.sqlite")
    try:
        return store.load().account.quantities
    finally:
        store.close()


def gone(path, seconds=5.0):
    end = time.monotonic() + seconds
    while path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    return not path.exists()


@pytest.mark.timeout(120)
def test_a_drill_stops_measures_and_is_on_record(deployment):
    root = str(deployment.root)
    daemon = started(deployment)
    answer = json.loads(deployment.run("drill", "stop", "--root", root, "--reason", "monthly", "--json"))
    assert answer["orders"] == 0 and answer["durable"] and answer["unconfirmed"] == []
    assert 0 < answer["latch_ms"] <= answer["heard_ms"] <= answer["confirmed_ms"] < 5_000
    line = deployment.wait_for("stop.drilled")
    assert line["reason"] == "drill: monthly" and line["uid"] == os.getuid()
    assert line["confirmed_ms"] == answer["confirmed_ms"]
    assert status(deployment)["state"] == "HALTED"
    said = deployment.run("drill", "stop", "--root", root, "--reason", "again", expect=1)
    assert "stopped already" in said
    resume(deployment)
    assert status(deployment)["state"] != "HALTED"
    said = deployment.run("drill", "stop", "--root", root, "--reason", "again", "--really")
    assert "the daemon is STOPPED; to go on: tarazu resume" in said
    daemon.send_signal(signal.SIGTERM)
    deployment.finish(daemon)


@pytest.mark.timeout(120)
def test_a_signal_and_a_file_stop_and_the_daemon_stays_up(deployment):
    daemon = started(deployment)
    daemon.send_signal(signal.SIGUSR1)
    line = deployment.wait_for("daemon.halted", halt="STOP_CANCEL")
    assert "SIGUSR1 from pid" in line["detail"] and line["uid"] == os.getuid()
    resume(deployment)
    since = len(deployment.log())
    file = deployment.root / "state" / "STOP"
    file.write_text("halt\n")
    line = deployment.wait_for("daemon.halted", since=since, halt="STOP_HALT")
    assert line["detail"] == "stop file STOP" and line["uid"] == os.getuid()
    assert gone(file) and file.with_suffix(".obeyed").exists()
    assert json.loads((deployment.root / "state" / "latch" / "stop.latch").read_text())["mode"] == "halt"
    daemon.send_signal(signal.SIGTERM)
    deployment.finish(daemon)


@pytest.mark.timeout(120)
def test_a_file_that_lay_there_before_the_start_keeps_the_day_from_trading(deployment):
    (deployment.root / "state").mkdir()
    file = deployment.root / "state" / "STOP"
    file.touch()
    daemon = started(deployment, speed=400.0)
    line = deployment.wait_for("daemon.halted")
    assert line["halt"] == "STOP_CANCEL" and "stop file" in line["detail"] and gone(file)
    deployment.finish(daemon)
    assert deployment.orders(FIRST) == set()


@pytest.mark.timeout(240)
def test_a_flatten_sells_what_is_held_and_goes_on_over_a_kill(deployment):
    deployment.finish(deployment.daemon(deployment.feed(FIRST, speed=400.0), "equal_weight"))
    assert deployment.orders(FIRST)
    said = deployment.run("stop", "--root", str(deployment.root), "--flatten", "--reason", "out")
    assert "it sells once it runs and its market is open" in said
    since = len(deployment.log())
    first = started(deployment, SECOND, speed=240.0)
    # At the broker: a kill between record and send would leave orders unknown, and those are never sent again.
    deployment.wait_for("orders.reported", since=since)
    first.kill()
    deployment.finish(first, expect=-signal.SIGKILL)
    # The played feed begins anew at 09:14; the daemon's books know better.
    deployment.finish(deployment.daemon(deployment.feed(SECOND, speed=240.0), "equal_weight"))
    sent = deployment.broker_orders(SECOND)
    assert {order[2] for order in sent} == {"sell"} and len({order[0] for order in sent}) == len(sent)
    assert not any(held_at_the_broker(deployment).values())
