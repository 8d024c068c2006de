"""Paper trading as real processes on the real loop: a played feed, signals, kills, a second daemon, a stop."""

import json
import os
import signal
import subprocess
from datetime import date

import pytest

FIRST, SECOND = date(2024, 6, 5), date(2024, 6, 6)

pytestmark = pytest.mark.slow


def day_one(deployment):
    url = deployment.feed(FIRST, speed=400.0)
    deployment.finish(deployment.daemon(url, "equal_weight"))
    assert deployment.orders(FIRST)
    return deployment


def day_two_undisturbed(deployment):
    url = deployment.feed(SECOND)
    deployment.finish(deployment.daemon(url, "inverse_volatility"))


@pytest.mark.timeout(240)
def test_sigterm_or_kill_in_the_middle_of_a_rebalance_leaves_the_day_with_the_same_orders(deployment, tmp_path):
    day_one(deployment)
    undisturbed = deployment.copy(tmp_path / "undisturbed")
    terminated = deployment.copy(tmp_path / "terminated")
    killed = deployment.copy(tmp_path / "killed")
    deployment.others += [undisturbed, terminated, killed]

    for disturbed, number in ((undisturbed, None), (terminated, signal.SIGTERM), (killed, signal.SIGKILL)):
        url = disturbed.feed(SECOND)
        before = len(disturbed.log())
        daemon = disturbed.daemon(url, "inverse_volatility")
        if number is not None:
            disturbed.wait_for("orders.intended", since=before)
            daemon.send_signal(number)
            disturbed.finish(daemon, expect=0 if number == signal.SIGTERM else -number)
            daemon = disturbed.daemon(url, "inverse_volatility")
        disturbed.finish(daemon)

    expected = undisturbed.broker_orders(SECOND)
    sides = {order[2] for order in expected}
    assert sides == {"buy", "sell"}, "the day has both phases"
    assert terminated.orders(SECOND) == undisturbed.orders(SECOND)
    assert terminated.broker_orders(SECOND) == expected
    # A kill may fall between record and send: what was sent is then a part, and nothing was sent twice.
    sent = killed.broker_orders(SECOND)
    assert len({order[0] for order in sent}) == len(sent)
    assert {order[:5] for order in sent} <= killed.orders(SECOND)
    assert terminated.log()[-1]["event"] == "daemon.stopped"


@pytest.mark.timeout(120)
def test_a_second_daemon_on_the_directory_is_refused_and_the_first_is_not_disturbed(deployment):
    url = deployment.feed(FIRST)
    first = deployment.daemon(url, "equal_weight")
    deployment.wait_for("reconcile.done")
    said = deployment.run(
        "paper", "--root", str(deployment.root), "--feed", url, "--strategy", "equal_weight", "--quiet", expect=2
    )
    assert f"pid {first.pid}" in said and "stop it first" in said
    status = json.loads(deployment.run("status", "--root", str(deployment.root), "--json"))
    assert status["mode"] == "paper"
    first.send_signal(signal.SIGTERM)
    deployment.finish(first)


@pytest.mark.timeout(120)
def test_stop_is_durable_and_going_on_takes_two_steps(deployment):
    root = str(deployment.root)
    url = deployment.feed(FIRST)
    first = deployment.daemon(url, "equal_weight")
    deployment.wait_for("reconcile.done")
    said = deployment.run("stop", "--root", root, "--reason", "drill")
    assert "stopped" in said
    deployment.wait_for("daemon.halted", halt="STOP_HALT")
    status = json.loads(deployment.run("status", "--root", root, "--json"))
    assert status["state"] == "HALTED" and "STOP_HALT" in status["halts"]
    deployment.wait_for("decision.made")
    assert deployment.orders(FIRST) == set()
    first.kill()
    deployment.finish(first, expect=-signal.SIGKILL)

    # Slowly: a nonce lives 300 played seconds, and three commands on a busy machine take more than one real one.
    again = deployment.daemon(deployment.feed(FIRST, speed=30.0), "equal_weight")
    since = len(deployment.log())
    deployment.wait_for("reconcile.done", since=since)
    assert json.loads(deployment.run("status", "--root", root, "--json"))["state"] == "HALTED"
    first_step = deployment.run("resume", "--root", root, "--reason", "drill over")
    nonce = first_step.rsplit("--nonce ", 1)[1].split()[0]
    deployment.run("resume", "--root", root, "--reason", "drill over", "--nonce", "wrong", expect=1)
    deployment.run("resume", "--root", root, "--reason", "drill over", "--nonce", nonce)
    assert json.loads(deployment.run("status", "--root", root, "--json"))["state"] != "HALTED"
    assert not (deployment.root / "state" / "latch" / "stop.latch").exists()
    again.send_signal(signal.SIGTERM)
    deployment.finish(again)


def test_stop_works_with_no_daemon_and_a_daemon_that_starts_obeys_it(deployment):
    said = deployment.run("stop", "--root", str(deployment.root), "--cancel", "--reason", "before start")
    assert "no daemon answers; the latch holds" in said
    latch = json.loads((deployment.root / "state" / "latch" / "stop.latch").read_text())
    assert latch["mode"] == "cancel" and latch["uid"] == os.getuid()


@pytest.mark.timeout(120)
def test_curl_speaks_to_the_control_socket(deployment):
    daemon = deployment.daemon(deployment.feed(FIRST), "equal_weight")
    deployment.wait_for("reconcile.done")
    socket = deployment.root / "state" / "control.sock"
    assert socket.stat().st_mode & 0o777 == 0o660
    done = subprocess.run(
        ["curl", "-s", "--unix-socket", str(socket), "http://tarazu/v1/status"], capture_output=True, check=True
    )
    assert json.loads(done.stdout)["mode"] == "paper"
    bad = subprocess.run(
        ["curl", "-s", "--unix-socket", str(socket), "-d", '{"reasn": 1}', "http://tarazu/v1/approve"],
        capture_output=True,
        check=True,
    )
    assert "allowed: reason, nonce" in json.loads(bad.stdout)["error"]
    daemon.send_signal(signal.SIGTERM)
    deployment.finish(daemon)


@pytest.mark.timeout(120)
def test_a_universe_that_changed_under_a_journal_is_refused(deployment):
    daemon = deployment.daemon(deployment.feed(FIRST), "equal_weight")
    deployment.wait_for("reconcile.done")
    daemon.send_signal(signal.SIGTERM)
    deployment.finish(daemon)
    config = deployment.root / "config" / "production.yaml"
    before = "[HDFCBANK, ICICIBANK, SBIN, AXISBANK, KOTAKBANK]"
    config.write_text(config.read_text().replace(before, "[ICICIBANK, HDFCBANK, SBIN, AXISBANK, KOTAKBANK]"))
    url = deployment.feed(FIRST)
    said = deployment.run(
        "paper", "--root", str(deployment.root), "--feed", url, "--strategy", "equal_weight", "--quiet", expect=2
    )
    assert "restore portfolio.assets" in said


@pytest.mark.timeout(120)
def test_cash_is_booked_once_over_a_kill_and_a_withdrawal_beyond_it_is_refused(deployment):
    root = str(deployment.root)
    first = deployment.daemon(deployment.feed(FIRST, speed=30.0), "equal_weight")
    deployment.wait_for("reconcile.done")
    before = json.loads(deployment.run("status", "--root", root, "--json"))["cash"]
    said = deployment.run("cash", "deposit", "5000.50", "--reason", "savings of May", "--root", root)
    assert "booked Rs +5,000.50" in said
    line = deployment.wait_for("cash.moved")
    assert (line["rupees"], line["uid"], line["reason"]) == (5000.5, os.getuid(), "savings of May")
    first.kill()
    deployment.finish(first, expect=-signal.SIGKILL)

    since = len(deployment.log())
    again = deployment.daemon(deployment.feed(FIRST), "equal_weight")
    assert deployment.wait_for("reconcile.done", since=since)["clean"]
    status = json.loads(deployment.run("status", "--root", root, "--json"))
    assert status["cash"] == pytest.approx(before + 5000.5) and status["net_deposits"] == 5000.5
    said = deployment.run("cash", "withdraw", "999999999", "--reason", "all of it", "--root", root, expect=1)
    assert "is more than the Rs" in said and len(said.strip().splitlines()) == 1
    again.send_signal(signal.SIGTERM)
    deployment.finish(again)


@pytest.mark.timeout(120)
def test_a_split_between_two_days_of_a_real_process_leaves_equity_and_books_as_they_were(deployment):
    """The feed of the second day plays SBIN at a tenth of its price; the deployment has the table."""
    day_one(deployment)
    (before,) = [line["equity"] for line in deployment.log() if line["event"] == "decision.made"]
    five = deployment.root.parent / "five.csv"
    rows = five.read_text().splitlines()
    for number, row in enumerate(rows[1:], 1):
        stamp, symbol, *prices, volume = row.split(",")
        if symbol == "SBIN" and stamp >= f"{SECOND}":
            rows[number] = ",".join([stamp, symbol, *(f"{float(p) / 10:.2f}" for p in prices), volume])
    five.write_text("\n".join(rows) + "\n")
    table = deployment.root / "data" / "corporate_actions.csv"
    table.write_text(f"ex_date,symbol,action,shares_after_per_share_before\n{SECOND},SBIN,split 10:1,10\n")
    since = len(deployment.log())
    deployment.finish(deployment.daemon(deployment.feed(SECOND), "equal_weight"))
    lines = deployment.log()[since:]
    events = [line["event"] for line in lines]
    assert events.index("corporate_action.applied") < events.index("session.opened")
    assert "breaker.tripped" not in events and "daemon.halted" not in events
    (decided,) = [line for line in lines if line["event"] == "decision.made"]
    assert decided["equity"] == pytest.approx(before, rel=0.02)
