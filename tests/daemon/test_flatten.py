"""A person says flatten: cancelled, sold under exit rules, over halts, kills, sessions and other people's last words."""

import msgspec
import pytest

from brokers.paper import FillModel
from brokers.port import ReportKind
from daemon.latch import merged
from daemon.messages import (
    AccountRead,
    BrokerConnection,
    ConditionChanged,
    ConditionName,
    Decided,
    Halted,
    Lane,
    OrderReports,
    OrdersIntended,
    Resumed,
)
from daemon.stops import flattening, hold_exits, with_halt
from risk.approval import Side
from tests.daemon.life import MONDAY, TUESDAY, ask, at, bars, bought, history, limits, of

THIN = FillModel(participation=0.00001)  # ten shares a bar


def held(running):
    return sum(running.core.state.account.quantities.values())


def minutes(*whole, hour=10):
    return [bars(MONDAY, f"{hour:02d}:{minute:02d}") for minute in whole]


def selling(life):
    """A daemon in the middle of a flatten: ten shares of each are sold, the rest rests at the broker."""
    running = bought(life)
    running.broker.model = THIN
    ask(running, "flatten", reason="out")
    before = held(running)
    minute = msgspec.structs.replace(bars(MONDAY, "09:42"), start_ns=at(MONDAY, "09:41"))
    running.play(minute).to(MONDAY, "09:43")
    assert held(running) == before - 50 and running.core.state.open_orders()
    return running


def exits(messages):
    return [decided for decided in of(messages, Decided) if decided.exit]


def resume(running):
    _, prepared = ask(running, "resume/prepare")
    return ask(running, "resume/confirm", nonce=prepared["nonce"], reason="go on")[0]


def test_a_flatten_sells_everything_at_once_and_buys_nothing(life):
    running = bought(life).play(*minutes(42, 50, hour=9))
    status, answer = ask(running, "flatten", reason="out")
    assert status == 200 and answer["note"] == ""
    running.to(MONDAY, "10:10")
    assert held(running) == 0 and set(running.core.state.halts) == {"STOP_FLATTEN"}
    messages = running.kill()
    (plan,) = exits(messages)
    assert plan.strategy == "flatten" and "out" in plan.reasons[0]
    orders = [o for m in of(messages, OrdersIntended) if m.plan_id == plan.decision_id for o in m.orders]
    assert {order.side for order in orders} == {Side.SELL}
    assert len({order.tag for order in orders}) == len(orders)


def test_open_orders_are_cancelled_first_and_what_they_brought_is_sold(life):
    running = life(at(MONDAY, "09:00"), past=history(), model=THIN).play(bars(MONDAY, "09:25"), bars(MONDAY, "09:30"))
    running.to(MONDAY, "09:31")
    buys = running.core.state.open_orders()
    assert buys and held(running) > 0
    running.broker.model = FillModel()
    ask(running, "flatten", reason="out")
    running.play(bars(MONDAY, "09:35")).to(MONDAY, "09:36")
    assert held(running) == 0 and not running.core.state.open_orders()
    assert {running.core.state.orders[order.tag].state for order in buys} == {"cancelled"}
    running.kill()


def test_cancels_that_nobody_answers_hold_a_flatten_back_for_seconds_only(life):
    running = life(at(MONDAY, "09:00"), past=history(), model=THIN).play(bars(MONDAY, "09:25"), bars(MONDAY, "09:30"))
    running.to(MONDAY, "09:31")
    state = running.core.state
    answer, running.broker.cancel = running.broker.cancel, lambda tags: None
    kept = state.open_orders()[0]
    answer([order.tag for order in state.open_orders() if order is not kept])
    ask(running, "flatten", reason="out")
    running.to(MONDAY, "09:32")
    sold = {order.symbol for order in state.open_orders() if order.side is Side.SELL}
    assert len(sold) == 4 and kept.symbol not in sold, "an order without an answer blocks its symbol"
    running.kill()


def test_the_gate_and_the_last_look_let_nothing_but_sales_of_the_exit_pass(life):
    running = life(at(MONDAY, "09:00"), past=history()).play(bars(MONDAY, "09:25"), bars(MONDAY, "09:30"))
    running.to(MONDAY, "09:19")
    ask(running, "flatten", reason="out")
    running.latch.engage(mode="flatten", reason="out", uid=0)
    running.to(MONDAY, "09:31")
    assert held(running) == 0 and not running.broker._book, "the day's rebalance was skipped"
    running.kill()


@pytest.mark.parametrize("before", ["halt", "cancel"])
def test_a_flatten_after_a_milder_stop_takes_effect(life, before):
    running = bought(life)
    ask(running, before, reason="wait")
    running.latch.engage(mode=before, reason="wait", uid=0)
    running.play(*minutes(0, 5)).to(MONDAY, "10:02")
    ask(running, "flatten", reason="out after all")
    running.latch.engage(mode="flatten", reason="out", uid=0)
    running.to(MONDAY, "10:10")
    assert held(running) == 0
    running.kill()


@pytest.mark.parametrize("after", ["halt", "cancel"])
def test_a_milder_stop_after_a_flatten_ends_the_selling_and_says_so(life, after):
    running = selling(life)
    left = held(running)
    _, answer = ask(running, after, reason="no, keep the rest")
    assert answer["note"] == "the selling of the flatten before it is over"
    assert bool(running.core.state.open_orders()) is (after == "halt"), "a halt leaves what is at the broker"
    running.broker.model = FillModel(band=0.001)  # what rests may not trade; nothing new may come
    running.to(MONDAY, "11:00")
    assert held(running) == left and not running.core.state.open_orders()
    messages = running.kill()
    stopped = messages.index(of(messages, Halted)[-1])
    assert not of(messages[stopped:], OrdersIntended)


def test_a_flatten_goes_on_after_a_kill_and_sends_nothing_twice(life):
    selling(life).kill()
    again = life(at(MONDAY, "10:10"))
    again.play(*minutes(15, 20, 25, 30, 35)).to(MONDAY, "10:40")
    assert held(again) == 0
    messages = again.kill()
    tags = [order.tag for message in of(messages, OrdersIntended) for order in message.orders]
    assert len(tags) == len(set(tags))


def test_a_latch_that_was_written_with_the_daemon_dead_flattens_at_the_start(life):
    bought(life).kill()
    again = life(at(MONDAY, "10:10"), latched="flatten").play(*minutes(15, 20, 25))
    again.to(MONDAY, "10:40")
    assert held(again) == 0 and flattening(again.core.state.halts)
    again.kill()


def test_a_flatten_outside_the_session_sells_in_the_next_one(life):
    running = bought(life).play(bars(MONDAY, "15:30")).to(MONDAY, "16:00")
    _, answer = ask(running, "flatten", reason="out")
    assert "next session" in answer["note"]
    running.play(bars(TUESDAY, "09:18"), bars(TUESDAY, "09:25")).to(TUESDAY, "09:40")
    assert held(running) == 0
    messages = running.kill()
    assert [plan.session for plan in exits(messages)] == [TUESDAY]


def test_a_resume_ends_a_flatten_and_withdraws_what_it_has_open(life):
    running = selling(life)
    assert resume(running) == 200
    left = held(running)
    running.play(*minutes(5, 10, 15)).to(MONDAY, "10:30")
    assert held(running) == left and not running.core.state.open_orders() and not running.core.state.halts
    messages = running.kill()
    assert not of(messages[messages.index(of(messages, Resumed)[0]) :], OrdersIntended)


def test_a_resume_withdraws_also_what_a_lost_cancel_left_open(life):
    running = selling(life)
    cancel, running.broker.cancel = running.broker.cancel, lambda tags: None
    running.to(MONDAY, "09:47")
    (plan,) = [run for run in running.core.state.runs.values() if run.plan.exit]
    assert plan.closed and running.core.state.open_orders()
    running.broker.cancel = cancel
    assert resume(running) == 200
    running.to(MONDAY, "09:48")
    assert not running.core.state.open_orders()
    running.kill()


def test_what_no_person_said_holds_a_flatten_back_and_the_answer_names_it(life):
    running = bought(life)
    running.core.bus.post(Lane.CONTROL, Halted(cause="RECONCILE_DIFFERENCE", detail="SBIN: ledger 7, broker 9"))
    _, answer = ask(running, "flatten", reason="out")
    assert "RECONCILE_DIFFERENCE holds it back" in answer["note"]
    running.play(*minutes(0, 5)).to(MONDAY, "10:10")
    assert held(running) > 0 and not exits(running.kill())


def test_a_latch_of_another_mode_holds_back_what_the_dispatch_still_wants_to_sell(life):
    running = bought(life)
    running.latch.engage(mode="halt", reason="on its way to the dispatch", uid=0)
    ask(running, "flatten", reason="heard late")
    running.play(*minutes(0)).to(MONDAY, "10:02")
    assert held(running) > 0
    reports = [report for message in of(running.kill(), OrderReports) for report in message.reports]
    held_back = [report.detail for report in reports if report.kind is ReportKind.NOT_SENT]
    assert held_back and set(held_back) == {"the stop latch is engaged"}


def test_a_flatten_waits_while_the_data_cannot_be_relied_on(life):
    running = bought(life, limits=limits(circuit_breakers__max_single_stock_loss=90.0))
    nonsense = (float("nan"), 1000.0, 1000.0, 1000.0, 1000.0)
    running.play(*(bars(MONDAY, f"10:0{minute}", nonsense) for minute in range(4))).to(MONDAY, "10:05")
    assert "data_health" in running.core.state.guard.board.latched
    ask(running, "flatten", reason="out")
    running.to(MONDAY, "10:30")
    assert held(running) > 0 and "exit.unsold" in [alert.event for alert in running.told]
    running.kill()


@pytest.mark.parametrize(
    ("words", "mode"),
    [
        (("halt",), "halt"),
        (("halt", "cancel"), "cancel"),
        (("cancel", "halt"), "cancel"),
        (("halt", "flatten"), "flatten"),
        (("cancel", "flatten"), "flatten"),
        (("flatten", "halt"), "cancel"),
        (("flatten", "cancel"), "cancel"),
        (("flatten", "halt", "flatten"), "flatten"),
    ],
)
def test_the_last_word_decides_on_sending_and_no_cancel_is_forgotten(words, mode):
    in_force, halts = "", {}
    for word in words:
        in_force = merged(in_force, word)
        halts = with_halt(halts, f"STOP_{word.upper()}", "")
    assert in_force == mode
    assert flattening(halts) is (mode == "flatten") and bool(hold_exits(halts)) is (mode != "flatten")
    assert set(halts) - {"STOP_FLATTEN"} == {f"STOP_{word.upper()}" for word in words} - {"STOP_FLATTEN"}


@pytest.mark.parametrize(("name", "waits"), [(ConditionName.DISK_NEARLY_FULL, False), (ConditionName.DISK_FULL, True)])
def test_a_flatten_waits_only_for_a_condition_that_forbids_all_orders_and_goes_on_after(life, name, waits):
    running = bought(life).play(*minutes(42, 47, 52, 57, hour=9))
    running.core.bus.post(Lane.CONTROL, ConditionChanged(name=name, holds=True, detail="a test"))
    ask(running, "flatten", reason="out")
    running.to(MONDAY, "09:50")
    assert bool(held(running)) == waits
    running.core.bus.post(Lane.CONTROL, ConditionChanged(name=name, holds=False, detail="a test"))
    running.to(MONDAY, "10:00")
    assert held(running) == 0
    running.kill()


def unsold(running):
    return [alert.detail for alert in running.told if alert.event == "exit.unsold"]


@pytest.mark.parametrize("name", [ConditionName.CLOCK_JUMP, ConditionName.DISK_FULL])
def test_a_condition_that_holds_a_flatten_back_is_named_in_the_answer_and_told_once(life, name):
    running = bought(life).play(*minutes(42, 47, 52, 57, hour=9))
    running.core.bus.post(Lane.CONTROL, ConditionChanged(name=name, holds=True, detail="a test"))
    _, answer = ask(running, "flatten", reason="out")
    assert "nothing is sold" in answer["note"] and f"CONDITION_{name.value.upper()}" in answer["note"]
    running.to(MONDAY, "09:45")
    # The same word again is an attempt anew, held back by the same cause.
    for _ in range(3):
        running.core.bus.post(Lane.CONTROL, Halted(cause="STOP_FLATTEN", detail="again"))
    running.to(MONDAY, "10:10")
    (told,) = unsold(running)
    assert name.value.upper() in told and held(running) > 0
    assert "exit" not in [read.purpose for read in of(running.kill(), AccountRead)], "a read would not help"


def test_a_second_cause_is_told_too_and_one_that_comes_again_is_told_again(life):
    running = bought(life).play(*minutes(42, 47, 52, 57, hour=9))
    running.core.bus.post(Lane.CONTROL, Halted(cause="RECONCILE_DIFFERENCE", detail="SBIN: ledger 7, broker 9"))
    ask(running, "flatten", reason="out")
    full = ConditionChanged(name=ConditionName.DISK_FULL, holds=True, detail="a test")
    for change in (full, msgspec.structs.replace(full, holds=False), full):
        running.core.bus.post(Lane.CONTROL, change)
        running.core.bus.post(Lane.CONTROL, Halted(cause="STOP_FLATTEN", detail="again"))
    running.to(MONDAY, "09:45")
    assert ["RECONCILE" in told for told in unsold(running)] == [True, False, False]
    assert ["DISK_FULL" in told for told in unsold(running)] == [False, True, True]
    running.kill()


def test_a_flatten_that_only_a_comparison_holds_back_says_so_and_asks_for_the_books(life):
    running = bought(life).to(MONDAY, "09:46").play(*minutes(47, 50, 52, hour=9))
    running.core.bus.post(Lane.BROKER, BrokerConnection(connected=False, detail="the stream broke"))
    running.to(MONDAY, "09:46:10")  # a command would overtake it
    _, answer = ask(running, "flatten", reason="out")
    assert "books" in answer["note"]
    running.to(MONDAY, "09:46:30")
    assert len(running.reads("exit")) == 1 and running.core.state.reconciled_clean
    running.to(MONDAY, "09:49")
    assert exits(running.kill()), "the timer's read, at 09:50, is not waited for"
    assert len(unsold(running)) == 1 and "not reconciled" in unsold(running)[0]
