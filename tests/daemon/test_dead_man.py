"""Dead-man rules through the whole daemon: each condition begins by its cause, holds back what it should, and ends."""

from datetime import date, time

import numpy as np
import pytest

from brokers.paper import FillModel
from brokers.port import ReportKind
from daemon.conditions import RULES, Ends
from daemon.effects import AskStrategy
from daemon.journal import read_journal
from daemon.messages import (
    AccountRead,
    BarsRejected,
    CancelRequested,
    ClockMoved,
    ConditionChanged,
    ConditionName,
    Decided,
    Lane,
    OrderReports,
    OrdersIntended,
    OrdersRefused,
    Outcome,
    SessionClosed,
    SessionOpened,
)
from daemon.settings import DeadManSettings
from risk.approval import Side
from tests.daemon.life import (
    CALENDAR,
    CRASH,
    MONDAY,
    SYMBOLS,
    TUESDAY,
    WEDNESDAY,
    ask,
    at,
    bars,
    bought,
    history,
    limits,
    locked,
    of,
    reconcile,
)
from tests.daemon.outside import GIB, MIB, SECOND_NS, World, moving
from tests.daemon.test_last_look import leaving, sealed

C = ConditionName
SATURDAY = date(2024, 6, 15)
LATE = {"settings": {"trade_time": time(10, 0)}}


def held(running):
    return set(running.core.state.conditions.held)


def told(running, event="condition.began"):
    """Return of which conditions people were told that they began (or ended)."""
    return [ConditionName(alert.detail.replace(":", " ").split()[0]) for alert in running.told if alert.event == event]


def watched(life, world, day=MONDAY, clock="09:00", **more):
    more.setdefault("past", history())
    return life(at(day, clock), senses=world.senses, **more)


# ---- each condition by its cause: the time at which it holds, and the time at which it is over


def stale_feed(life, world):
    running = watched(life, world).play(*moving(MONDAY, "09:20", "09:50"), *moving(MONDAY, "10:30", "15:30"))
    return running, (MONDAY, "10:07"), lambda: running.to(MONDAY, "10:31")


def frozen_feed(life, world):
    same = [bars(MONDAY, f"09:{minute}") for minute in (40, 45, 50)]
    running = watched(life, world).play(*moving(MONDAY, "09:20", "09:35", 1001.0), *same)
    running.play(*moving(MONDAY, "09:55", "15:30", 1001.0))
    return running, (MONDAY, "09:51"), lambda: running.to(MONDAY, "09:56")


def broker_lost(life, world):
    running = watched(life, world).play(*moving(MONDAY, "09:20", "15:30")).to(MONDAY, "09:40")
    running.broker.fail_reads("gateway timeout")
    running.core.bus.post(Lane.CONTROL, reconcile())

    def over():
        running.broker.fail_reads("")
        running.to(MONDAY, "10:00")

    return running, (MONDAY, "09:43"), over


def login_needed(life, world):
    running = watched(life, world).play(*moving(MONDAY, "09:20", "15:30")).to(MONDAY, "09:40")
    running.broker.fail_reads("the session has expired", login_needed=True)
    running.core.bus.post(Lane.CONTROL, reconcile())

    def over():
        running.broker.fail_reads("")
        running.to(MONDAY, "10:00")

    return running, (MONDAY, "09:41"), over


def clock_jump(life, world):
    running = watched(life, world).play(*moving(MONDAY, "09:20", "15:30")).to(MONDAY, "10:00")
    world.set_clock(-3.0)
    return running, (MONDAY, "10:01"), lambda: resume(running)


def machine_slept(life, world):
    running = watched(life, world).play(*moving(MONDAY, "09:20", "15:30")).to(MONDAY, "10:00")
    running.broker.fail_reads("no network yet")
    world.suspend(300.0)

    def over():
        running.broker.fail_reads("")
        running.to(MONDAY, "10:07")

    return running, (MONDAY, "10:01"), over


def disk_nearly_full(life, world, free=150 * MIB):
    running = watched(life, world).play(*moving(MONDAY, "09:20", "15:30")).to(MONDAY, "10:00")
    world.free = free

    def over():
        world.free = 300 * MIB
        running.to(MONDAY, "10:05")

    return running, (MONDAY, "10:01"), over


def disk_full(life, world):
    return disk_nearly_full(life, world, free=40 * MIB)


def calendar_contradiction(life, world):
    running = watched(life, world)
    return running, (MONDAY, "09:31"), lambda: running.to(TUESDAY, "00:02")


def calendar_horizon(life, world):
    late = CALENDAR.coverage_until.replace(day=20)
    return watched(life, world, late, "18:00"), (late, "18:05"), None


CAUSES = {
    C.STALE_FEED: stale_feed,
    C.FROZEN_FEED: frozen_feed,
    C.BROKER_LOST: broker_lost,
    C.LOGIN_NEEDED: login_needed,
    C.CLOCK_JUMP: clock_jump,
    C.MACHINE_SLEPT: machine_slept,
    C.DISK_NEARLY_FULL: disk_nearly_full,
    C.DISK_FULL: disk_full,
    C.CALENDAR_CONTRADICTION: calendar_contradiction,
    C.CALENDAR_HORIZON: calendar_horizon,
}


def resume(running):
    _, shown = ask(running, "resume/prepare", uid=7)
    status, answer = ask(running, "resume/confirm", uid=7, nonce=shown["nonce"], reason="looked at it")
    assert status == 200, answer
    running.to(MONDAY, "10:05")


@pytest.mark.parametrize("name", ConditionName)
def test_a_condition_begins_by_its_cause_is_told_once_and_ends(life, name):
    running, begun, over = CAUSES[name](life, World())
    running.to(*begun)
    assert name in held(running)
    assert running.core.condition() == (RULES[name].word or "WAITING")
    assert name in [row["name"] for row in running.core.status()["conditions"]]
    assert told(running).count(name) == 1
    if over is not None:
        over()
        assert name not in held(running)
        by_a_person = RULES[name].ends is Ends.PERSON
        assert told(running, "condition.ended").count(name) == (0 if by_a_person else 1)
        assert told(running).count(name) == 1
    changes = [message for message in of(running.kill(), ConditionChanged) if message.name is name]
    assert changes[0].holds and changes[0].detail


@pytest.mark.parametrize("name", sorted(set(C) - {C.STALE_FEED, C.BROKER_LOST}))
def test_a_restart_in_the_middle_finds_again_what_still_is_so(life, name):
    world = World()
    running, begun, _ = CAUSES[name](life, world)
    running.to(*begun).kill()
    again = life(running.clock.now_ns() + 60 * SECOND_NS, senses=world.senses)
    if name is C.LOGIN_NEEDED:
        again.broker.fail_reads("the session has expired", login_needed=True)
    again.loop.run_until_complete(again.clock.sleep_until(running.clock.now_ns() + 120 * SECOND_NS))
    # A frozen feed shows again after as many bars; a sleep is over when the books of the new process agree.
    assert (name in held(again)) == (name not in (C.FROZEN_FEED, C.MACHINE_SLEPT))
    again.kill()


def test_a_restart_on_stale_data_is_stale_from_its_first_moment(life):
    world = World()
    watched(life, world).play(*moving(MONDAY, "09:20", "09:50")).to(MONDAY, "09:55").kill()
    again = life(at(MONDAY, "10:20"), senses=world.senses).play(bars(MONDAY, "10:25", (1003.0,) * 5))
    again.to(MONDAY, "10:21")
    assert again.core.condition() == "REDUCING" and held(again) == {C.STALE_FEED}
    again.to(MONDAY, "10:26")
    assert again.core.condition() == "TRADING"
    again.kill()


def test_a_broker_that_stays_away_over_a_restart_is_lost_again_after_its_time(life):
    world = World()
    running, begun, _ = broker_lost(life, world)
    running.to(*begun).kill()
    again = life(at(MONDAY, "09:45"), senses=world.senses, unreadable="gateway timeout").to(MONDAY, "09:46")
    assert held(again) == set() and again.core.condition() == "STARTING"
    again.to(MONDAY, "09:48")
    assert again.core.condition() == "BROKER_LOST"
    again.kill()


def test_an_ordinary_day_begins_no_condition(life):
    world = World()
    running = watched(life, world).play(*moving(MONDAY, "09:20", "15:30")).to(TUESDAY, "08:00")
    assert not of(running.kill(), ConditionChanged)


# ---- decisions


def test_a_decision_waits_for_the_end_of_a_condition_inside_its_window(life):
    running = watched(life, World(), **LATE).play(bars(MONDAY, "09:25"), bars(MONDAY, "10:20"), bars(MONDAY, "10:25"))
    running.to(MONDAY, "10:19")
    assert held(running) == {C.STALE_FEED} and running.core.state.last_decision is None
    running.to(MONDAY, "10:21")
    assert running.core.state.last_decision.outcome is Outcome.APPROVED
    assert len(of(running.kill(), Decided)) == 1


def test_a_decision_whose_window_passes_under_a_condition_is_skipped_with_both_reasons(life):
    running = watched(life, World(), **LATE).play(bars(MONDAY, "09:25")).to(MONDAY, "11:05")
    (decided,) = of(running.kill(), Decided)
    assert decided.outcome is Outcome.SKIPPED
    assert [why.split(":")[0] for why in decided.reasons] == ["SESSION_WINDOW_PASSED", "CONDITION_STALE_FEED"]


def test_a_decision_does_not_wait_for_a_person_or_another_day(life):
    running = watched(life, World(), **LATE).to(MONDAY, "10:01")
    (decided,) = of(running.kill(), Decided)
    assert decided.outcome is Outcome.SKIPPED and decided.reasons[0].startswith("CONDITION_CALENDAR_CONTRADICTION")


def test_a_decision_that_waits_is_skipped_when_a_person_is_needed_meanwhile(life):
    world = World()
    running = watched(life, world, **LATE).play(bars(MONDAY, "09:25")).to(MONDAY, "10:05")
    assert running.core.state.last_decision is None
    world.set_clock(60.0)
    running.to(MONDAY, "10:06")
    assert running.core.state.last_decision.outcome is Outcome.SKIPPED
    running.kill()


def test_an_answer_that_comes_after_a_condition_began_is_not_traded(life):
    running = watched(life, World()).play(*moving(MONDAY, "09:20", "09:30"))
    asked = running.core.edges._run.copy()

    def between(effect):
        running.core.bus.post(Lane.CONTROL, ConditionChanged(name=C.DISK_NEARLY_FULL, holds=True, detail="just now"))
        running.loop.call_later(0.5, asked[type(effect)], effect)

    running.core.edges._run[AskStrategy] = between
    running.to(MONDAY, "09:21")
    (decided,) = of(running.kill(), Decided)
    assert decided.outcome is Outcome.SKIPPED and decided.reasons[0].startswith("CONDITION_DISK_NEARLY_FULL")


# ---- orders


class Turns:
    """Wants all banks on Monday, and on Tuesday more of some and none of the others."""

    name, look_back, symbols = "turns", 0, SYMBOLS

    def target(self, context):
        return np.array([0.12] * 5 if context.session == MONDAY else [0.15, 0.15, 0.15, 0.05, 0.05])


ASKS = limits(live__daily_approval_required=True, position_limits__min_weight_per_stock=0.0)


def test_a_plan_on_its_way_goes_on_with_its_sales_and_without_its_purchases(life):
    running = watched(life, World(), mode="live", limits=ASKS, strategy=Turns())
    running.play(*moving(MONDAY, "09:20", "15:30"), *moving(TUESDAY, "09:20", "09:25"), bars(TUESDAY, "09:50"))
    running.to(MONDAY, "09:22")
    assert ask(running, "approve", uid=7, reason="go on")[0] == 200
    running.to(TUESDAY, "09:42")
    assert held(running) == {C.STALE_FEED}
    assert ask(running, "approve", uid=7, reason="go on")[0] == 200
    running.to(TUESDAY, "10:00")
    messages = running.kill()
    sides = [order.side for m in of(messages, OrdersIntended) for order in m.orders if m.plan_id.startswith("20240611")]
    assert sides and set(sides) == {Side.SELL}
    refused = [why for message in of(messages, OrdersRefused) for _, why in message.refusals]
    assert refused and all("ORDER_REDUCING" in why for why in refused)


@pytest.mark.parametrize("name", [C.BROKER_LOST, C.LOGIN_NEEDED, C.MACHINE_SLEPT])
def test_a_plan_goes_on_when_the_broker_is_there_again(life, name):
    world = World()
    running = watched(life, world, mode="live", limits=ASKS).play(*moving(MONDAY, "09:20", "15:30"))
    running.to(MONDAY, "09:25")
    if name is C.MACHINE_SLEPT:
        world.suspend(10.0)
    running.broker.fail_reads("not now", login_needed=name is C.LOGIN_NEEDED)
    running.core.bus.post(Lane.CONTROL, reconcile())
    running.to(MONDAY, "09:28")
    assert name in held(running)
    assert ask(running, "approve", uid=7, reason="go on")[0] == 200
    running.to(MONDAY, "09:29")
    assert not running.core.state.orders, "approved, and nothing leaves"
    running.broker.fail_reads("")
    running.to(MONDAY, "09:45")
    assert held(running) == set() and all(running.core.state.account.quantities.values())
    assert len(of(running.kill(), OrdersIntended)) == 1


def test_a_stale_feed_withdraws_open_purchases(life):
    thin = FillModel(participation=0.00001)
    running = watched(life, World(), model=thin).play(bars(MONDAY, "09:25")).to(MONDAY, "09:40")
    assert running.core.state.open_orders()
    running.to(MONDAY, "09:42")
    assert not running.core.state.open_orders()
    (cancel,) = of(running.kill(), CancelRequested)
    assert cancel.why == "condition stale_feed"


@pytest.mark.parametrize(("name", "leaves"), [(C.DISK_NEARLY_FULL, True), (C.BROKER_LOST, False), (C.DISK_FULL, False)])
def test_the_last_look_holds_back_what_a_condition_forbids(life, name, leaves):
    running = bought(life, limits=limits(execution__min_order_size_rupees=0.0))
    order = sealed(running, running.core.gate)  # a sale
    running.core.bus.post(Lane.CONTROL, ConditionChanged(name=name, holds=True, detail="a test"))
    running.to(MONDAY, "09:41")
    placed, reports = leaving(running, order)
    assert placed == (1 if leaves else 0)
    if not leaves:
        assert reports[0].kind is ReportKind.NOT_SENT and reports[0].detail.startswith(f"CONDITION_{name.upper()}")


def test_a_liquidation_leaves_while_only_purchases_are_forbidden(life):
    world = World()
    running = watched(life, world, limits=locked()).play(*moving(MONDAY, "09:20", "09:55"))
    running.to(MONDAY, "09:56")
    world.free = 150 * MIB
    running.play(*[bars(MONDAY, f"10:{minute:02d}", CRASH) for minute in range(0, 30, 5)]).to(MONDAY, "10:30")
    assert C.DISK_NEARLY_FULL in held(running)
    assert not any(running.core.state.account.quantities.values())
    running.kill()


def test_a_liquidation_waits_while_no_order_may_leave_and_goes_on_after(life):
    world = World()
    running = watched(life, world, limits=locked()).play(*moving(MONDAY, "09:20", "09:55"))
    running.to(MONDAY, "09:56")
    world.free = 10 * MIB
    crash = [bars(MONDAY, f"10:{minute:02d}", (800.0 + minute,) * 5) for minute in range(0, 60, 5)]
    running.play(*crash).to(MONDAY, "10:20")
    assert running.core.condition() == "HALTED" and all(running.core.state.account.quantities.values())
    world.free = GIB
    running.to(MONDAY, "10:50")
    assert not any(running.core.state.account.quantities.values())
    running.kill()


# ---- feed


def test_a_feed_that_delivers_old_bars_is_stale(life):
    running = watched(life, World())
    for batch in moving(MONDAY, "09:20", "10:30"):
        running.clock.call_at(batch.end_ns + 20 * 60 * 10**9, running._emit, batch)
    running.to(MONDAY, "10:30")
    assert C.STALE_FEED in held(running)
    running.kill()


def test_the_end_of_continuous_trading_ends_a_stale_feed(life):
    running = watched(life, World()).play(*moving(MONDAY, "09:20", "14:00")).to(MONDAY, "15:20")
    assert held(running) == {C.STALE_FEED}
    running.to(MONDAY, "15:31")
    assert held(running) == set()
    running.kill()


def test_the_limit_of_silence_can_be_set(life):
    short = {"settings": {"dead_man": DeadManSettings(silence_seconds=400.0)}}
    running = watched(life, World(), **short).play(*moving(MONDAY, "09:20", "10:00")).to(MONDAY, "10:06")
    assert held(running) == set()
    running.to(MONDAY, "10:07")
    assert held(running) == {C.STALE_FEED}
    running.kill()


def test_the_same_bar_sent_again_is_not_a_frozen_feed(life):
    running = watched(life, World()).play(*moving(MONDAY, "09:20", "15:30"))
    running.play(*[bars(MONDAY, "09:30", (1002.0,) * 5)] * 5).to(MONDAY, "09:34")
    assert held(running) == set()
    running.kill()


# ---- calendar


def test_bars_of_a_closed_day_are_a_contradiction_told_once(life):
    running = watched(life, World(), SATURDAY).play(*moving(SATURDAY, "09:20", "15:30")).to(SATURDAY, "09:26")
    assert held(running) == set(), "two bars may be a stray"
    running.to(SATURDAY, "16:00")
    assert held(running) == {C.CALENDAR_CONTRADICTION} and running.core.condition() == "HALTED"
    detail = running.core.state.conditions.held[C.CALENDAR_CONTRADICTION].detail
    assert "weekend" in detail and told(running) == [C.CALENDAR_CONTRADICTION]
    running.to(date(2024, 6, 16), "00:02")
    assert held(running) == set()
    running.kill()


def test_silence_of_a_feed_that_is_not_connected_says_nothing_of_the_exchange(life):
    world = World()
    world.connected = False
    running = watched(life, world).to(MONDAY, "10:00")
    assert held(running) == {C.STALE_FEED}
    running.kill()


def test_bars_that_are_refused_show_that_the_exchange_trades(life):
    running = watched(life, World())
    running.core.bus.post(Lane.MARKET, BarsRejected(session=MONDAY, end_ns=1, symbols=("SBIN",), detail="a test"))
    running.to(MONDAY, "09:45")
    assert held(running) == {C.STALE_FEED}
    running.kill()


def test_a_person_who_has_looked_is_not_asked_again_that_day(life):
    running = watched(life, World()).to(MONDAY, "09:35")
    resume(running)
    running.to(MONDAY, "15:00")
    assert told(running).count(C.CALENDAR_CONTRADICTION) == 1 and C.CALENDAR_CONTRADICTION not in held(running)
    running.to(TUESDAY, "09:31")
    assert told(running).count(C.CALENDAR_CONTRADICTION) == 2, "another day, another question"
    running.kill()


# ---- broker


def test_an_expired_session_is_asked_about_seldom(life):
    running, begun, _ = login_needed(life, World())
    running.to(*begun)
    running.to(MONDAY, "11:41")
    reads = [message for message in of(running.kill(), AccountRead) if message.login_needed]
    assert 20 <= len(reads) <= 26, "every five minutes for two hours"


def test_a_broker_that_fails_outside_a_session_is_not_lost(life):
    running = watched(life, World(), unreadable="maintenance").to(MONDAY, "09:14")
    assert held(running) == set() and running.core.condition() == "STARTING"
    running.to(MONDAY, "09:16")
    assert held(running) == {C.BROKER_LOST}, "it has been away for longer than allowed when the session opens"
    running.kill()


def test_reads_that_fail_for_a_minute_are_no_loss(life):
    running = watched(life, World()).play(*moving(MONDAY, "09:20", "15:30")).to(MONDAY, "09:40")
    for minute in (42, 45, 48):
        running.broker.fail_reads("timeout")
        running.core.bus.post(Lane.CONTROL, reconcile())
        running.to(MONDAY, f"09:{minute - 1}")
        running.broker.fail_reads("")
        running.to(MONDAY, f"09:{minute + 1}")
    messages = running.kill()
    assert len([m for m in of(messages, AccountRead) if m.unknown]) > 3 and not of(messages, ConditionChanged)


# ---- clocks


def records(running):
    running.kill()
    return list(read_journal(running.path))


def test_a_clock_that_is_set_outside_a_session_is_followed_and_told(life):
    world = World()
    running = watched(life, world, MONDAY, "07:00").to(MONDAY, "07:10")
    world.set_clock(90.0)
    running.to(MONDAY, "07:14")
    assert held(running) == set() and running.clock.now_ns() == at(MONDAY, "07:15") + 30 * 10**9
    assert [alert.event for alert in running.told] == ["clock.moved"]
    running.to(MONDAY, "09:20")
    (opened,) = [record for record in records(running) if isinstance(record.message, SessionOpened)]
    assert opened.at_ns == opened.message.open_ns


def test_a_clock_that_would_land_in_a_session_is_not_followed(life):
    world = World()
    running = watched(life, world, MONDAY, "07:00").to(MONDAY, "07:10")
    world.set_clock(3 * 3600.0)
    running.to(MONDAY, "07:15")
    assert running.core.condition() == "HALTED" and held(running) == {C.CLOCK_JUMP}
    assert running.clock.now_ns() == at(MONDAY, "07:15")
    running.kill()


def test_small_steps_of_the_clock_add_up(life):
    world = World()
    running = watched(life, world).play(*moving(MONDAY, "09:20", "15:30"))
    for minute in (1, 2):
        world.set_clock(0.9)
        running.to(MONDAY, f"10:0{minute}")
    assert held(running) == set()
    world.set_clock(0.9)
    running.to(MONDAY, "10:05")
    assert held(running) == {C.CLOCK_JUMP}
    running.kill()


def test_after_a_session_the_clock_that_was_set_in_it_is_followed(life):
    world = World()
    running, begun, over = clock_jump(life, world)
    running.to(*begun)
    over()
    assert running.core.condition() == "TRADING"
    running.to(MONDAY, "15:50")
    (moved,) = of(running.kill(), ClockMoved)
    assert moved.by_ns == -3 * 10**9


def test_after_a_sleep_the_books_are_read_before_anything_else_and_deadlines_are_those_of_the_clock(life):
    world = World()
    thin = FillModel(participation=0.00001)
    running = watched(life, world, model=thin).play(*moving(MONDAY, "09:20", "09:35")).to(MONDAY, "09:36")
    assert running.core.state.open_orders()
    world.suspend(600.0)
    running.to(MONDAY, "09:37")
    assert running.clock.now_ns() == at(MONDAY, "09:47") and held(running) == set()
    running.play(*moving(MONDAY, "09:50", "15:30"))
    running.to(MONDAY, "09:52")
    journal = records(running)
    kinds = [record.kind for record in journal]
    moved = kinds.index("ClockMoved")
    assert kinds[moved : moved + 2] == ["ClockMoved", "ConditionChanged"]
    assert next(r.message.purpose for r in journal[moved:] if r.kind == "AccountRead") == "slept"
    cancelled = [record for record in journal if record.kind == "CancelRequested"]
    assert [record.at_ns // 10**9 for record in cancelled] == [at(MONDAY, "09:50") // 10**9]


def test_a_machine_that_slept_over_the_end_of_a_session_ends_it(life):
    world = World()
    running = watched(life, world).play(*moving(MONDAY, "09:20", "10:00")).to(MONDAY, "10:01")
    world.suspend(10 * 3600.0)
    running.to(MONDAY, "20:30")
    state = running.core.state
    assert not state.session_open and held(running) == set() and running.core.condition() == "WAITING"
    running.play(*moving(TUESDAY, "09:20", "09:30")).to(TUESDAY, "09:31")
    messages = running.kill()
    assert [message.session for message in of(messages, SessionClosed)] == [MONDAY]
    assert [message.outcome for message in of(messages, Decided)] == [Outcome.APPROVED, Outcome.APPROVED]


def test_a_machine_that_slept_into_a_session_trades_it(life):
    world = World()
    running = watched(life, world, MONDAY, "08:00").to(MONDAY, "08:01")
    world.suspend(80 * 60.0)
    running.play(*moving(MONDAY, "09:25", "10:00")).to(MONDAY, "09:30")
    messages = running.kill()
    assert [message.outcome for message in of(messages, Decided)] == [Outcome.APPROVED]
    assert len(of(messages, SessionOpened)) == 1


# ---- disk


def test_a_disk_on_the_edge_is_told_once(life):
    running, begun, _ = disk_nearly_full(life, world := World())
    running.to(*begun)
    for minute in range(2, 10):
        world.free = (190 if minute % 2 else 210) * MIB
        running.to(MONDAY, f"10:0{minute}")
    assert told(running) == [C.DISK_NEARLY_FULL] and told(running, "condition.ended") == []
    running.kill()


def test_no_order_was_ever_sent_twice_whatever_held(life):
    world = World()
    running = watched(life, world).play(*moving(MONDAY, "09:20", "15:30"), *moving(TUESDAY, "09:20", "15:30"))
    for clock, seconds in (("09:30", 30.0), ("11:00", 900.0), ("12:00", 3.0)):
        running.to(MONDAY, clock)
        world.suspend(seconds)
    running.to(WEDNESDAY, "09:00")
    messages = running.kill()
    tags = [order.tag for message in of(messages, OrdersIntended) for order in message.orders]
    assert tags and len(tags) == len(set(tags))
    assert len(of(messages, Decided)) == 2 and not of(messages, OrdersRefused)
    assert not [r for m in of(messages, OrderReports) for r in m.reports if r.kind is ReportKind.UNKNOWN]
