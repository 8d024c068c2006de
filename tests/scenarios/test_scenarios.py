"""Scenarios of the process and its machine: restarts, a second daemon, disk and clock, a stop under flood, a month's soak, a
reload, the same seed twice; and that every scenario of the bank is here."""

import ast
import asyncio
import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import date
from datetime import time as time_of_day
from pathlib import Path

import numpy as np
import pytest

from daemon import unix_socket
from daemon.clock import ist
from daemon.latch import Latch
from daemon.messages import (
    BreakerApproved,
    BreakerReleased,
    ConditionChanged,
    ConditionName,
    Decided,
    Halted,
    Lane,
    Outcome,
    Resumed,
)
from daemon.simulation.chance import Hit
from daemon.simulation.run import run_seed
from daemon.stop_plane import StopPlane
from market.bar import BarBatch
from tests.daemon.life import CALENDAR, MONDAY, SYMBOLS, TUESDAY, ask, at, bars, bought, history, limits, of
from tests.daemon.outside import GIB, MIB, World, moving
from tests.scenarios.stage import PRICES, Wire, assert_once, assert_same_books, decided, events, intended, moment

C = ConditionName
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DAY = date(2024, 6, 5)

# ---- 8: restarts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["halt", "cancel", "flatten"])
def test_scenario_08_restart_while_halted(life, verb):
    """Restart while HALTED: it is halted still, whichever stop it was, and buys nothing until a person resumes."""
    running = bought(life)
    ask(running, verb, reason="enough")
    running.to(MONDAY, "09:41").kill()
    again = life(at(MONDAY, "10:00"), broker=Wire).play(bars(MONDAY, "15:30"), bars(TUESDAY, "09:18"))
    again.to(TUESDAY, "11:00")
    assert f"STOP_{verb.upper()}" in again.core.state.halts and again.core.condition() == "HALTED"
    sides = {str(again.core.state.orders[tag].side) for tag in again.broker.sent if tag in again.core.state.orders}
    assert sides <= ({"sell"} if verb == "flatten" else set())
    messages = again.kill()
    assert of(messages, Decided)[-1].outcome is Outcome.SKIPPED or verb == "flatten"
    assert not of(messages, Resumed)


def test_scenario_08_restart_while_a_breaker_is_tripped(life):
    """Restart while breaker tripped: it is latched still, also under looser limits, and the day is refused."""
    tight, loose = (limits(circuit_breakers__max_daily_loss_percent=percent) for percent in (3.0, 50.0))
    running = bought(life, limits=tight).play(bars(MONDAY, "10:00", (940.0,) * 5)).to(MONDAY, "10:01")
    assert running.core.state.guard.board.latched == ("daily_loss",)
    running.kill()
    again = life(at(TUESDAY, "09:00"), limits=loose, broker=Wire).play(bars(TUESDAY, "09:18")).to(TUESDAY, "11:00")
    assert again.core.state.guard.board.latched == ("daily_loss",) and not again.broker.sent
    messages = again.kill()
    assert of(messages, Decided)[-1].outcome is Outcome.REFUSED
    assert not of(messages, BreakerReleased) and not of(messages, BreakerApproved)


def test_scenario_08_restart_after_the_limits_file_was_tightened(life):
    """Restart after limits file tightened: the next plan brings what is held under the new limits."""
    bought(life).to(MONDAY, "15:50").kill()
    tight = limits(position_limits__max_weight_per_stock=0.10)
    again = life(at(TUESDAY, "09:00"), limits=tight).play(bars(TUESDAY, "09:18"), bars(TUESDAY, "09:25"))
    assert max(again.core.state.weights()) > 0.11
    again.to(TUESDAY, "10:00")
    assert max(again.core.state.weights()) <= 0.10
    assert_same_books(again)
    messages = again.kill()
    assert_once(messages)
    assert of(messages, Decided)[-1].limits_version == tight.version


# ---- 17 and 23: real processes ---------------------------------------------------------------------------------------


def test_scenario_17_two_daemons_are_started_and_the_second_refuses(deployment):
    """Two daemons started; second must refuse."""
    url = deployment.feed(DAY, speed=30.0)
    first = deployment.daemon(url, "equal_weight")
    deployment.wait_for("reconcile.done")
    arguments = ("paper", "--root", str(deployment.root), "--feed", url, "--strategy", "equal_weight", "--quiet")
    said = deployment.run(*arguments, expect=2)
    assert f"pid {first.pid}" in said and len(said.strip().splitlines()) == 1
    assert first.poll() is None
    assert [line["event"] for line in deployment.log()].count("daemon.started") == 1
    first.send_signal(signal.SIGTERM)
    deployment.finish(first)


def test_scenario_23_the_configuration_becomes_invalid_under_a_running_daemon(deployment):
    """Config reload with an invalid limit: old config stays, alarm raised.

    Limits are read at the start alone, so a reload leaves the old ones in force; the alarm is the refusal of the next
    start, in one line with file and key, before anything is touched. A model that is refused at a reload is scenario 16.
    """
    root = str(deployment.root)
    url = deployment.feed(DAY, speed=30.0)
    first = deployment.daemon(url, "equal_weight")
    deployment.wait_for("reconcile.done")
    before = json.loads(deployment.run("status", "--root", root, "--json"))
    file = deployment.root / "config" / "risk_limits.yaml"
    file.write_text(file.read_text().replace("max_weight_per_stock: 0.40", "max_weight_per_stock: 4.0"))
    deployment.run("reload", "--root", root)
    after = json.loads(deployment.run("status", "--root", root, "--json"))
    assert after["limits_version"] == before["limits_version"] and after["state"] == before["state"]
    assert first.poll() is None
    first.send_signal(signal.SIGTERM)
    deployment.finish(first)
    records = len(deployment.log())
    said = deployment.run("paper", "--root", root, "--feed", url, "--strategy", "equal_weight", "--quiet", expect=2)
    assert "risk_limits.yaml" in said and "max_weight_per_stock" in said and len(deployment.log()) == records


# ---- 18: disk and clock ----------------------------------------------------------------------------------------------


def outside(life, world, **more):
    running = life(at(MONDAY, "09:00"), past=history(), senses=world.senses, broker=Wire, **more)
    return running.play(*moving(MONDAY, "09:20", "12:30"))


def test_scenario_18_the_disk_is_full(life):
    """Disk full: no order leaves while there is no room for its record; with room, the day's rebalance is done."""
    world = World()
    world.free = 10 * MIB
    running = outside(life, world).to(MONDAY, "09:40")
    assert running.core.condition() == "HALTED" and not running.broker.sent and "condition.began" in events(running)
    world.free = GIB
    running.to(MONDAY, "10:00")
    assert len(running.broker.sent) == 5
    assert_once(running.kill())


def test_scenario_18_a_write_fails_in_the_middle_of_a_rebalance():
    """Disk full in earnest, commits fail: what is not on record does not leave, and the next start goes on from what is."""
    told = run_seed(4, days=5, profile="none", always=frozenset({Hit("disk_full", 1, 0)}), story=True)
    assert told.broken == [] and any("the disk is full" in line for line in told.story)


@pytest.mark.parametrize("hours", [2, -2])
def test_scenario_18_the_clock_jumps_in_a_session(life, hours):
    """Clock jumps +2 h and -2 h: nobody here knows which time is true; trading halts until a person has looked."""
    world = World()
    running = outside(life, world, settings={"trade_time": time_of_day(11, 0)}).to(MONDAY, "10:00")
    world.set_clock(hours * 3600.0)
    running.to(MONDAY, "10:01")
    assert C.CLOCK_JUMP in running.core.state.conditions.held and running.core.condition() == "HALTED"
    running.to(MONDAY, "12:10")
    assert not running.broker.sent
    messages = running.kill()
    assert decided(messages)[0][0] is Outcome.SKIPPED and not intended(messages)


@pytest.mark.parametrize(("minutes", "trades"), [(25, True), (90, False)])
def test_scenario_18_the_machine_sleeps_over_the_time_of_the_rebalance(life, minutes, trades):
    """Suspend over the rebalance time: awake inside the window it is done once, after it it is skipped with a reason."""
    world = World()
    running = life(at(MONDAY, "09:00"), past=history(), senses=world.senses, broker=Wire)
    running.play(bars(MONDAY, "09:18")).to(MONDAY, "09:18:30")
    world.suspend(minutes * 60.0)
    moment(running, MONDAY, "09:18", 40)
    awake = at(MONDAY, "09:18") + minutes * 60 * 10**9
    assert running.clock.now_ns() >= awake and "condition.began" in events(running)
    running.play(*moving(MONDAY, f"{ist(awake + 120 * 10**9):%H:%M}", "12:00")).to(MONDAY, "12:00")
    messages = running.kill()
    assert C.MACHINE_SLEPT in {message.name for message in of(messages, ConditionChanged)}
    outcomes = decided(messages)
    assert len(outcomes) == 1 and len(running.broker.sent) == (5 if trades else 0)
    assert outcomes[0][0] is (Outcome.APPROVED if trades else Outcome.SKIPPED)
    assert outcomes[0][1] or trades


# ---- 19: a stop under flood ------------------------------------------------------------------------------------------


class Pressed:
    """A strategy that hangs on the loop, while data pile up, until the operator's stop was answered."""

    name, look_back, symbols = "pressed", 0, SYMBOLS

    def __init__(self, socket):
        self.socket = socket
        self.seconds = 0.0
        self.answer = None
        self.bus = None

    def target(self, context):
        for _ in range(20_000):
            self.bus.post(Lane.MARKET, bars(MONDAY, "09:20"))
        began = time.perf_counter()
        self.answer = unix_socket.request(self.socket, "POST", "/v1/stop", b'{"mode": "cancel", "reason": "now"}')
        self.seconds = time.perf_counter() - began
        return np.array([0.19] * 5)


def test_scenario_19_a_stop_under_a_flood_of_data_while_inference_blocks_the_loop(life, tmp_path):
    """Data flood plus blocked inference while the operator sends stop: measured bound holds.

    Bounds: the stop plane answers within a second although the loop hangs, and the dispatch takes the stop up within one
    burst of the flood, 64 messages. The answer that the strategy gives afterwards is not traded.
    """
    strategy = Pressed(tmp_path / "stop.sock")
    running = life(at(MONDAY, "09:00"), past=history(), strategy=strategy, broker=Wire).to(MONDAY, "09:19")
    latch = Latch(tmp_path / "latch")
    latch.prepare()
    seen, told = [], []

    def tell(*said):
        told.append(len(seen))
        running.loop.call_soon_threadsafe(running.process.hear_stop, *said)

    plane = StopPlane(
        socket_path=strategy.socket,
        latch=latch,
        permits=lambda uid, gid: True,
        now_text=lambda: "now",
        tell_loop=tell,
    )
    plane.start()
    running.core.edges.outside.engaged = plane.engaged
    running.core.bus.on_record = lambda message, envelope: seen.append(type(message))
    strategy.bus = running.core.bus
    running.to(MONDAY, "09:21")
    plane.close()
    assert strategy.answer[0] == 200 and strategy.seconds < 1.0
    heard = seen.index(Halted)
    assert seen[told[0] : heard].count(BarBatch) <= 64 and seen[heard:].count(BarBatch) > 5_000
    assert not running.broker.sent
    running.kill()


# ---- 20: a month in one process --------------------------------------------------------------------------------------


def test_scenario_20_thirty_days_in_one_process(life):
    """Thirty-day soak: flat memory, flat task count, flat descriptors.

    Memory is counted in the interpreter's allocated blocks. What grows by design, a row of closes and of results a day,
    is a few hundred of them.
    """
    days = [session.day for session in CALENDAR.sessions(MONDAY, date(2024, 8, 31))][:30]
    running = life(at(MONDAY, "09:00"), past=history(), strategy=Turning())
    blocks, tasks, descriptors, timers = [], [], [], []
    for number, day in enumerate(days):
        for hour in range(10, 16):
            running.play(*(bars(day, f"{hour}:{minute:02d}", _walk(number, hour)) for minute in (0, 25)))
        running.play(bars(day, "09:18", _walk(number, 9)), bars(day, "09:25", _walk(number, 9))).to(day, "18:00")
        for heard in (running.read, running.reports, running.told):
            heard.clear()
        gc.collect()
        blocks.append(sys.getallocatedblocks())
        tasks.append(len(asyncio.all_tasks(running.loop)))
        descriptors.append(len(list(Path("/proc/self/fd").iterdir())))
        timers.append(len(running.loop._scheduled))
    assert len(set(tasks[1:])) == 1 and len(set(descriptors[1:])) == 1
    assert max(timers[5:]) <= max(timers[:5]) + 2
    assert (blocks[-1] - blocks[9]) / 20 < 600, f"blocks a day: {np.diff(blocks[9:]).tolist()}"
    messages = running.kill()
    assert len(intended(messages)) > 60
    assert_once(messages)
    assert len(of(messages, Decided)) == 30


class Turning:
    """A strategy that wants something else each day, so that each day sells and buys."""

    name, look_back, symbols = "turning", 0, SYMBOLS

    def target(self, context):
        return np.roll([0.10, 0.15, 0.20, 0.20, 0.25], context.session.toordinal() % 5)


def _walk(number, hour):
    return tuple(price * (1.0 + 0.002 * ((number + hour + i) % 3 - 1)) for i, price in enumerate(PRICES))


# ---- 24: the same seed -----------------------------------------------------------------------------------------------

PROGRAM = """
from daemon.simulation.run import run_seed
from tests.simulation.small_market import daily, path, simulate, limits
print(run_seed(7, days=4).journal)
print(simulate(daily(path(0.01, -0.02, 0.005, 0.01)), limits()).result.journal_sha256)
"""


def test_scenario_24_the_same_seed_on_two_machines_gives_the_same_journal():
    """Same seed, same day, two machines: identical journal hash.

    One machine stands for two here: another process with another hash seed, time zone, language and number of threads.
    """
    machines = (
        {"PYTHONHASHSEED": "1", "TZ": "America/New_York", "LC_ALL": "C", "OMP_NUM_THREADS": "1"},
        {"PYTHONHASHSEED": "2", "TZ": "Asia/Kolkata", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "2"},
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **machine},
            stdout=subprocess.PIPE, text=True,
        )
        for machine in machines
    ]  # fmt: skip
    first, second = (process.communicate()[0].split() for process in processes)
    assert first == second and len(set(first)) == 2 and all(len(digest) == 64 for digest in first)


# ---- all of them -----------------------------------------------------------------------------------------------------


def test_every_scenario_of_the_bank_has_a_test_with_its_sentence():
    numbers = set()
    for file in HERE.glob("test_*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and (match := re.match(r"test_scenario_(\d\d)_", node.name)):
                numbers.add(int(match[1]))
                assert ast.get_docstring(node), f"{node.name} has no sentence"
    assert numbers == set(range(1, 25))
