"""A drill of the emergency stop: refused, measured, on record; and a stop is heard however much else there is to do."""

import threading
from concurrent.futures import Future

import numpy as np
import pytest

from brokers.paper import FillModel
from daemon.effects import SendOrders
from daemon.latch import Latch
from daemon.messages import CancelRequested, Halted, Lane, StopDrillBegan, StopDrilled, TargetProposed
from daemon.stop_plane import StopPlane
from market.bar import BarBatch
from tests.daemon.life import MONDAY, SYMBOLS, at, bars, history, of

THIN = FillModel(participation=0.00001)


def drill(running, *, really):
    """Begin a drill as the stop plane does; return who waits for its answer."""
    answer = Future()
    now = running.loop.time()
    mode = "cancel" if really else "halt"
    began = StopDrillBegan(
        mode=mode, uid=7, reason="drill: monthly", really=really, arrived=now, latched=now + 0.002, token=-1
    )
    running.process.hear_drill(began, answer)
    return answer


def with_open_orders(life, **more):
    running = life(at(MONDAY, "09:00"), past=history(), model=FillModel(participation=0.00001, **more))
    running.play(bars(MONDAY, "09:25")).to(MONDAY, "09:26")
    assert running.core.state.open_orders()
    return running


def test_a_drill_with_nothing_open_measures_up_to_the_dispatch(life):
    running = life(at(MONDAY, "09:00"), past=history()).to(MONDAY, "09:05")
    answer = drill(running, really=False)
    running.to(MONDAY, "09:06")
    status, payload = answer.result(0)
    assert status == 200 and payload["latch_ms"] == 2.0 and payload["orders"] == 0 and payload["unconfirmed"] == []
    (done,) = of(running.kill(), StopDrilled)
    assert (done.uid, done.reason, done.mode, done.orders) == (7, "drill: monthly", "halt", 0)
    assert running.core.state.halts == {"STOP_HALT": "drill: monthly"}, "a drill is a stop"


def test_a_drill_in_earnest_ends_with_the_last_confirmed_cancel(life):
    running = with_open_orders(life, latency_seconds=0.25)
    count = len(running.core.state.open_orders())
    answer = drill(running, really=True)
    running.to(MONDAY, "09:27")
    _, payload = answer.result(0)
    assert payload["orders"] == payload["cancelled"] == count and payload["unconfirmed"] == []
    assert payload["asked_ms"] < 1.0 and 250.0 <= payload["confirmed_ms"] < 251.0
    (done,) = of(running.kill(), StopDrilled)
    assert done.mode == "cancel" and done.cancelled == count


def test_cancels_that_nobody_confirms_are_named_after_a_while(life):
    running = with_open_orders(life)
    tags = {order.tag for order in running.core.state.open_orders()}
    running.broker.cancel = lambda tags: None
    answer = drill(running, really=True)
    running.to(MONDAY, "09:27")
    _, payload = answer.result(0)
    assert set(payload["unconfirmed"]) == tags and payload["cancelled"] == 0
    assert payload["confirmed_ms"] == pytest.approx(20_000.0)
    running.kill()


def test_a_drill_that_only_halts_cancels_nothing_that_came_in_between(life):
    running = with_open_orders(life)
    answer = drill(running, really=False)
    running.to(MONDAY, "09:27")
    assert answer.result(0)[1]["orders"] == 0 and running.core.state.open_orders()
    running.kill()


class Refusing:
    """A stop plane with a summary and nobody behind it."""

    def __init__(self, folder, **summary):
        latch = Latch(folder / "latch")
        latch.prepare()
        self.begun = []

        def tell(mode, reason, uid, arrived, latched, answer):
            self.begun.append((mode, reason, uid))
            answer.set_result((200, {"orders": 0}))

        self.plane = StopPlane(
            socket_path=folder / "stop.sock",
            latch=latch,
            permits=lambda uid, gid: True,
            now_text=lambda: "now",
            tell_loop=lambda *said: None,
            tell_drill=tell,
        )
        self.plane.publish(summary)
        self.plane._server.server_close()


@pytest.mark.parametrize(
    ("summary", "reason", "really", "wants"),
    [
        ({"open_orders": 3}, "monthly", False, "3 orders are open"),
        ({"open_orders": 0}, " ", False, "a reason is required"),
        ({}, "monthly", True, "not running normally"),
        ({"open_orders": 0, "failure": "disk"}, "monthly", True, "not running normally"),
    ],
)
def test_a_drill_that_is_refused_stops_nothing(tmp_path, summary, reason, really, wants):
    made = Refusing(tmp_path, **summary)
    status, answer = made.plane.drill(reason, 1, really=really, arrived=0.0)
    assert status == 409 and wants in answer["error"]
    assert not made.plane.engaged() and made.begun == []


def test_a_drill_during_a_stop_in_earnest_is_refused(tmp_path):
    made = Refusing(tmp_path, open_orders=0)
    made.plane.stop(mode="flatten", reason="in earnest", uid=1)
    status, answer = made.plane.drill("monthly", 1, really=True, arrived=0.0)
    assert status == 409 and "stopped already" in answer["error"] and made.plane.lets_exits()


@pytest.mark.parametrize(("really", "mode"), [(False, "halt"), (True, "cancel")])
def test_a_drill_stops_for_real(tmp_path, really, mode):
    made = Refusing(tmp_path, open_orders=0)
    assert made.plane.drill("monthly", 1, really=really, arrived=0.0) == (200, {"orders": 0, "durable": True})
    assert made.plane.engaged() and made.plane.latch.mode() == mode and made.begun == [(mode, "drill: monthly", 1)]


# ---- however much else there is to do --------------------------------------------------------------------------------


class Hanging:
    """A strategy that does not answer."""

    name, look_back, symbols, slow = "hanging", 0, SYMBOLS, True

    def __init__(self):
        self.asked, self.go_on = threading.Event(), threading.Event()

    def target(self, context):
        self.asked.set()
        self.go_on.wait(30.0)
        return np.zeros(5)


def test_a_stop_is_heard_within_one_burst_of_a_flood_while_the_strategy_hangs(life):
    """Stated bound: between the stop's arrival on the loop and the last cancel asked for, at most 64 messages."""
    strategy = Hanging()
    running = life(at(MONDAY, "09:00"), past=history(), model=THIN, strategy=strategy)
    running.loop.run_until_complete(running.clock.sleep_until(at(MONDAY, "09:20") + 500_000_000))
    assert strategy.asked.wait(5.0)
    bus, host = running.core.bus, running.core.edges.outside.strategy
    # Open orders, from an answer for the slot that the hanging strategy was asked for.
    answer = {"session": MONDAY, "slot": "rebalance", "strategy": "x", "model": ""}
    bus.post(Lane.TIMER, TargetProposed(decision_id="x", weights=(0.19,) * 5, **answer))
    running.loop.call_later(1.0, running.loop.stop)
    running.loop.run_forever()
    opened = {order.tag for order in running.core.state.open_orders()}
    assert opened and host._tasks, "orders are open, and the strategy still hangs"

    seen, stopped_at, asked_at = [], [], []

    def observe(message, envelope):
        seen.append(type(message))
        if len(seen) == 1_000:
            stopped_at.append(len(seen))
            running.loop.call_soon_threadsafe(running.process.hear_stop, "cancel", "now", 0)
        if isinstance(message, CancelRequested):
            asked_at.append((len(seen), set(message.tags)))

    bus.on_record = observe
    batch = bars(MONDAY, "09:21")
    for _ in range(50_000):
        bus.post(Lane.MARKET, batch)
    running.loop.call_later(1.0, running.loop.stop)
    running.loop.run_forever()
    strategy.go_on.set()
    ((asked, tags),) = asked_at
    assert tags == opened
    assert 0 < asked - stopped_at[0] <= 64 + len((Halted, CancelRequested))
    assert seen.count(BarBatch) >= 10_000 and not running.core.state.open_orders()
    running.kill()


def test_a_cancel_does_not_wait_for_a_disk_that_hangs(life):
    """Orders that wait for the disk are overtaken by the cancel, and then do not leave."""
    running = with_open_orders(life)
    core = running.core
    core.journal.durable, core.journal.durable_seq = True, core.journal.seq  # as if the disk had stopped here
    held = SendOrders(orders=())
    core.bus._held.append((core.journal.seq + 1, held))
    running.process.hear_stop("cancel", "now", 0)
    running.loop.call_later(1.0, running.loop.stop)
    running.loop.run_forever()
    assert not core.state.open_orders() and held in core.bus.held()
    core.journal.durable = False
    running.kill()
