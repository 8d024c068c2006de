"""The doors of a running daemon: bad bodies, answers that cross, stops that cross a resume, failures that come together."""

import asyncio
import json
import os
import socket
import threading
from types import SimpleNamespace

import pytest

import daemon.control
from daemon import unix_socket
from daemon.clock import Clock
from daemon.control import Command, Control
from daemon.latch import Latch
from daemon.messages import Lane
from daemon.service import Service, _Running
from daemon.settings import DaemonSettings, Paths
from daemon.stop_plane import StopPlane
from market.calendar import Calendar
from market.errors import OperatorError
from market.instrument import Instrument
from market.money import rupees
from risk.limits import load_limits
from strategies.baselines import make_strategy

SYMBOLS = ("AXISBANK", "HDFCBANK")


def silent_core():
    posted = []
    return SimpleNamespace(
        posted=posted,
        clock=SimpleNamespace(pace=1.0),
        bus=SimpleNamespace(post=lambda lane, message: posted.append(message), failed=None),
        edges=SimpleNamespace(outside=SimpleNamespace(replies={})),
    )


async def test_a_request_that_times_out_does_not_take_another_ones_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(daemon.control, "ANSWER_SECONDS", 0.05)
    core = silent_core()
    control = Control(core, tmp_path / "control.sock", stop=lambda **_: {}, reload=dict)
    first = asyncio.create_task(control._ask("reconcile", 0, Command()))
    await asyncio.sleep(0.03)
    second = asyncio.create_task(control._ask("reconcile", 0, Command()))
    assert (await first).status == 503
    core.edges.outside.replies.pop(core.posted[1].token).set_result((202, {}))
    assert (await second).status == 202


@pytest.mark.parametrize(
    "body",
    [b"not json", b'{"reason": "\xff"}', b'{"more": ' + b"[" * 4000, b"[]", b'{"reason": 1}', b'{"mode": "halt"}'],
)
async def test_a_bad_body_is_answered_and_does_nothing(tmp_path, body):
    core, path = silent_core(), tmp_path / "control.sock"
    control = Control(core, path, stop=lambda **_: pytest.fail("a bad body stopped something"), reload=dict)
    await control.start()
    try:
        for verb in ("halt", "resume/confirm"):
            status, answer = await asyncio.to_thread(unix_socket.request, path, "POST", f"/v1/{verb}", body)
            assert status == 400 and "allowed" in json.loads(answer)["error"]
    finally:
        await control.close()
    assert core.posted == []


@pytest.fixture
def plane(tmp_path):
    latch, told = Latch(tmp_path / "latch"), []
    latch.prepare()
    made = StopPlane(
        socket_path=tmp_path / "stop.sock",
        latch=latch,
        permits=lambda uid, gid: True,
        now_text=lambda: "now",
        tell_loop=lambda *said: told.append(said),
    )
    made.start()
    yield made
    made.close()


@pytest.mark.parametrize("length", ["-1", "many", "99999", "\N{SUPERSCRIPT TWO}"])
def test_the_stop_plane_answers_a_false_content_length_at_once(plane, tmp_path, length):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2.0)
        client.connect(str(tmp_path / "stop.sock"))
        client.sendall(f"POST /v1/stop HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n".encode("latin-1"))
        with client.makefile("rb") as answer:
            assert answer.read().startswith(b"HTTP/1.1 413")
    assert not plane.engaged()


def test_stops_at_the_same_moment_are_all_durable_and_the_strictest_mode_stays(plane):
    answers = []

    def stop(mode):
        answers.append(plane.stop(mode=mode, reason="", uid=1))

    threads = [threading.Thread(target=stop, args=("cancel" if n == 3 else "halt",)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 16 and all(answer["durable"] for answer in answers)
    assert plane.latch.read()["mode"] == "cancel"


def test_a_resume_does_not_undo_a_stop_that_the_dispatch_has_not_heard_yet(plane):
    plane.stop(mode="halt", reason="first", uid=1)
    plane.stop(mode="halt", reason="second, on its way to the loop", uid=1)
    plane.release(1)
    assert plane.engaged() and plane.latch.engaged()
    plane.release(2)
    assert not plane.engaged() and not plane.latch.engaged()


@pytest.fixture
async def running(tmp_path):
    made = _Running(
        Service(
            settings=DaemonSettings("test", "paper", tuple(map(Instrument, SYMBOLS)), rupees(1_000_000)),
            paths=Paths(tmp_path),
            calendar=Calendar.load(),
            limits=load_limits("production/config/risk_limits.yaml", mode="paper"),
            strategy=make_strategy("equal_weight", SYMBOLS, 2),
            clock=Clock.wall(asyncio.get_running_loop()),
            feed_url="http://127.0.0.1:1",
            console=False,
        )
    )
    yield made
    made.core.journal.close()
    await made.broker.close()
    made.log.close()


async def test_a_failure_is_told_although_the_broker_fails_with_it(running):
    said, cancelled = [], []
    running.plane = SimpleNamespace(publish=said.append, engaged=lambda: True)
    running.core.state.open_orders = lambda: [SimpleNamespace(tag="t")]

    def cancel(tags):
        cancelled.append(tags)
        raise OperatorError("paper broker: the same disk")

    running.broker.cancel = cancel
    running._on_failure("journal: the disk is full")
    assert cancelled == [["t"]] and said[0]["failure"] == "journal: the disk is full"
    line = (running.service.paths.logs("paper") / "daemon.jsonl").read_text()
    assert line.count("dispatch.failed") == 2 and "not withdrawn" in line and running.latch.engaged()


async def test_a_stop_in_the_control_lane_keeps_the_latch_through_a_release(running):
    released = []
    running.plane = SimpleNamespace(release=released.append, engaged=lambda: True, publish=lambda summary: None)
    running.process.hear_stop("halt", "now", 1)
    running.process._release_stop()
    assert released == []
    running.core.bus.start()
    await asyncio.sleep(0.05)
    assert running.core.state.halts and released == []
    assert running.core.bus.backlog()[Lane.CONTROL.value] == 0


async def test_a_model_check_that_fails_is_made_again(running):
    from apscheduler.triggers.interval import IntervalTrigger

    from daemon.agenda import Recurring
    from daemon.clock import IST

    loop, calls = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda loop, context: None)

    def check(fire):
        calls.append(fire)
        raise OSError("the directory is away")

    recurring = Recurring(IntervalTrigger(seconds=1, timezone=IST), running.clock, check)
    recurring.start()
    await asyncio.sleep(2.3)
    recurring.stop()
    assert len(calls) >= 2


async def test_a_writer_that_breaks_in_any_way_stops_the_dispatch(running, monkeypatch):
    told, bus = [], running.core.bus
    bus.on_failure = told.append
    running.core.journal.start(running._wake)

    def broken(batch):
        raise ValueError("not an error of SQLite")

    monkeypatch.setattr(running.core.journal, "_commit", broken)
    bus.start()
    running.process.hear_stop("halt", "so that there is a record", 1)
    for _ in range(100):
        await asyncio.sleep(0.01)
        if told:
            break
    assert "not an error of SQLite" in told[0] and bus.failed


@pytest.mark.parametrize(
    ("body", "wants"),
    [
        (b'{"reason": "x"}', "allowed: rupees above 0"),
        (b'{"reason": "x", "rupees": "-5"}', "allowed: rupees above 0"),
        (b'{"reason": "x", "rupees": "0.001"}', "two decimals"),
        (b'{"reason": "x", "rupees": 5}', "allowed: reason, nonce, rupees"),
        (b'{"reason": "x", "rupees": "2000000000000"}', "at most"),
    ],
)
async def test_an_amount_that_is_none_is_answered_and_moves_nothing(tmp_path, body, wants):
    core, path = silent_core(), tmp_path / "control.sock"
    control = Control(core, path, stop=lambda **_: {}, reload=dict)
    await control.start()
    try:
        for verb in ("cash/deposit", "cash/withdraw"):
            status, answer = await asyncio.to_thread(unix_socket.request, path, "POST", f"/v1/{verb}", body)
            assert status == 400 and wants in json.loads(answer)["error"]
    finally:
        await control.close()
    assert core.posted == []


async def test_cash_is_for_the_daemons_user_and_carries_who_and_how_much(tmp_path, monkeypatch):
    monkeypatch.setattr(daemon.control, "ANSWER_SECONDS", 0.05)
    core, path = silent_core(), tmp_path / "control.sock"
    control = Control(core, path, stop=lambda **_: {}, reload=dict)
    await control.start()
    body = b'{"reason": "savings", "rupees": "5000.50"}'
    try:
        status, answer = await asyncio.to_thread(unix_socket.request, path, "POST", "/v1/cash/deposit", body)
        assert status == 503 and "it may still be booked" in json.loads(answer)["error"]
        (command,) = core.posted
        assert (command.verb, command.amount, command.uid) == ("cash/deposit", 500_050, os.getuid())
        monkeypatch.setattr(daemon.control, "may_resume", lambda uid: False)
        status, _ = await asyncio.to_thread(unix_socket.request, path, "POST", "/v1/cash/deposit", body)
        assert status == 403 and len(core.posted) == 1
    finally:
        await control.close()


async def test_the_running_daemon_watches_its_disk_its_feed_and_its_clocks(running):
    from daemon.conditions import RULES
    from daemon.messages import ConditionName

    watch = running.process.watch
    named = {finding.name for watcher in watch._watchers for finding in watcher.look(running.clock.now_ns())}
    quiet = {ConditionName.CLOCK_JUMP, ConditionName.MACHINE_SLEPT, ConditionName.CALENDAR_CONTRADICTION}
    by_the_dispatch = {ConditionName.BROKER_LOST, ConditionName.LOGIN_NEEDED}
    assert named == set(RULES) - quiet - by_the_dispatch, "all but those that are spoken of only when they begin"
    assert {type(watcher).__name__ for watcher in watch._watchers} >= {"ClockWatcher", "CalendarWatcher"}
    free, total = running._free_space()
    assert 0 < free <= total
    running._on_feed_state("connected", "")
    assert running._feed_connected
    running._on_feed_state("lost", "refused")
    assert not running._feed_connected
