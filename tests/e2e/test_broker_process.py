"""The broker as a process of its own: the daemon trades on it over a socket, and it outlives daemon, feed and itself."""

import json
import signal
import urllib.request
from datetime import date

import pytest

FIRST = date(2024, 6, 5)
pytestmark = pytest.mark.slow


def books(address):
    with urllib.request.urlopen(f"{address}/v1/books", timeout=5) as answer:
        return json.load(answer)


@pytest.mark.timeout(120)
def test_a_day_is_traded_over_the_socket_as_with_the_broker_inside(deployment, tmp_path):
    inside = deployment.copy(tmp_path / "inside")
    deployment.others.append(inside)
    inside.finish(inside.daemon(inside.feed(FIRST, speed=600.0), "equal_weight"))

    url = deployment.feed(FIRST, speed=600.0)
    process, address = deployment.broker(url)
    daemon = deployment.daemon(url, "equal_weight", broker=address)
    deployment.wait_for("plan.closed")
    status = json.loads(deployment.run("status", "--root", str(deployment.root), "--json"))
    held = books(address)
    deployment.finish(daemon)
    assert {row["symbol"]: row["unsettled"] for row in held["positions"]} == status["positions"]
    assert held["funds"]["cash"] == round(status["cash"] * 100)
    process.send_signal(signal.SIGTERM)
    deployment.finish(process)
    # Limits hang on how long the start took at this pace; which orders there are, and that all are filled, does not.
    ours, theirs = deployment.broker_orders(FIRST), inside.broker_orders(FIRST)
    assert [order[:3] for order in ours] == [order[:3] for order in theirs]
    assert all(order[3] == order[5] for order in (*ours, *theirs))
    assert not [line for line in deployment.log() if line["event"] in ("broker.lost", "daemon.halted")]


@pytest.mark.timeout(120)
def test_two_keepers_of_the_same_books_are_refused_and_an_absent_broker_is_one_line(deployment):
    root = str(deployment.root)
    url = deployment.feed(FIRST, speed=30.0)
    process, address = deployment.broker(url)
    for arguments in (["broker", "--port", "0"], ["paper", "--strategy", "equal_weight"]):
        said = deployment.run(*arguments, "--root", root, "--feed", url, "--quiet", expect=2)
        assert f"keeper of the paper broker's books (pid {process.pid})" in said
    process.send_signal(signal.SIGTERM)
    deployment.finish(process)
    said = deployment.run(
        "paper", "--root", root, "--feed", url, "--strategy", "equal_weight", "--quiet", "--broker", address, expect=3
    )
    assert f"broker {address}" in said and len(said.strip().splitlines()) == 1

    deployment.processes[:] = [process for process in deployment.processes if process.poll() is None]
    _, address = deployment.broker(url)
    daemon = deployment.daemon(url, "equal_weight", broker=address)
    assert deployment.wait_for("reconcile.done", purpose="start")["clean"]
    daemon.send_signal(signal.SIGTERM)
    deployment.finish(daemon)


@pytest.mark.timeout(120)
def test_the_broker_may_be_killed_and_come_back_on_its_books_and_the_daemon_goes_on(deployment):
    url = deployment.feed(FIRST, speed=120.0)
    process, address = deployment.broker(url)
    daemon = deployment.daemon(url, "equal_weight", broker=address)
    deployment.wait_for("orders.intended")
    process.kill()
    process.communicate()
    deployment.wait_for("broker.lost")
    since = len(deployment.log())
    again = deployment.spawn(
        "broker", "--root", str(deployment.root), "--feed", url, "--port", address.rsplit(":", 1)[1], "--quiet"
    )
    assert again.stdout.readline().startswith("broker http://")
    assert deployment.wait_for("reconcile.done", since=since, purpose="reconnect")["clean"] in (True, False)
    deployment.wait_for("reconcile.done", since=since, clean=True)
    daemon.send_signal(signal.SIGTERM)
    deployment.finish(daemon)
    again.send_signal(signal.SIGTERM)
    deployment.finish(again)
    tags = [order[0] for order in deployment.broker_orders(FIRST)]
    assert len(tags) == len(set(tags)) and set(tags) <= {order[0] for order in deployment.orders(FIRST)}
