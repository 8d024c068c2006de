"""Death and return: a daemon on virtual time that is killed at an instant and started again on the same journal."""

from datetime import date

import pytest

from brokers.paper import FillModel
from daemon.effects import SendOrders
from daemon.messages import (
    AccountRead,
    BreakerTripped,
    DeadlineDue,
    Decided,
    Halted,
    Lane,
    OrderReports,
    OrdersIntended,
    Outcome,
    Phase,
    PlanClosed,
    Reconciled,
    SessionClosed,
)
from daemon.settings import ONLY_IF_NEEDED
from tests.daemon.life import MONDAY, SYMBOLS, TUESDAY, WEDNESDAY, ask, at, bars, history, of, reconcile


def test_a_restart_inside_the_window_still_does_the_days_rebalance_once(life):
    life(at(MONDAY, "09:00"), past=history()).to(MONDAY, "09:18").kill()
    again = life(at(MONDAY, "09:25")).play(bars(MONDAY, "09:30")).to(MONDAY, "10:00")
    messages = again.kill()
    assert [message.outcome for message in of(messages, Decided)] == [Outcome.APPROVED]
    third = life(at(MONDAY, "10:05")).to(MONDAY, "10:20")
    assert len(of(third.kill(), Decided)) == 1


def test_a_slot_waits_for_the_books_inside_its_window_and_no_longer(life):
    late = life(at(MONDAY, "09:00"), past=history(), unreadable="the broker is away").to(MONDAY, "09:30")
    assert late.core.state.last_decision is None
    late.broker.fail_reads("")
    late.to(MONDAY, "09:31")
    assert late.core.state.last_decision.outcome is Outcome.APPROVED
    late.kill()


def test_a_slot_whose_window_ends_before_the_books_can_be_read_is_skipped_with_a_reason(life):
    blind = life(at(MONDAY, "09:00"), past=history(), unreadable="the broker is away").to(MONDAY, "10:30")
    (decided,) = of(blind.kill(), Decided)
    assert decided.outcome is Outcome.SKIPPED and "WINDOW_PASSED" in decided.reasons[0]


@pytest.mark.parametrize(
    "back", [(MONDAY, "18:00"), (TUESDAY, "08:00"), (TUESDAY, "11:00")], ids=["evening", "morning", "next session"]
)
def test_a_session_that_ended_while_nobody_was_here_is_ended_at_the_return(life, back):
    life(at(MONDAY, "09:00"), past=history()).play(bars(MONDAY, "09:25", (1001.0,) * 5)).to(MONDAY, "12:00").kill()
    again = life(at(*back)).to(TUESDAY, "11:30")
    state = again.core.state
    assert [day for day, _ in state.history.equity] == [MONDAY]
    assert state.view.closes.tolist() == [[1000.0] * 5, [1001.0] * 5]
    assert state.session == TUESDAY and state.session_open
    messages = again.kill()
    assert [message.session for message in of(messages, SessionClosed)] == [MONDAY]
    assert not of(messages, Halted)


def test_after_a_weekend_without_us_only_the_session_on_record_is_ended(life):
    life(at(MONDAY, "09:00"), past=history()).play(bars(MONDAY, "09:25")).to(MONDAY, "12:00").kill()
    again = life(at(date(2024, 6, 15), "12:00")).to(date(2024, 6, 18), "09:30")
    assert again.core.state.session == date(2024, 6, 18)
    assert [message.session for message in of(again.kill(), SessionClosed)] == [MONDAY]


def test_a_plan_of_yesterday_is_not_carried_on_today(life):
    thin = FillModel(participation=0.00001)
    first = life(at(MONDAY, "09:00"), past=history(), model=thin).play(bars(MONDAY, "09:25")).to(MONDAY, "09:26")
    assert first.core.state.open_orders()
    first.kill()
    again = life(at(TUESDAY, "08:00"), model=thin).to(TUESDAY, "09:17")
    assert not again.core.state.open_orders()
    messages = again.kill()
    assert {message.plan_id[:8] for message in of(messages, OrdersIntended)} == {"20240610"}
    assert of(messages, PlanClosed)
    assert not of(messages, Halted)


def test_fills_that_a_kill_kept_from_us_are_adopted_and_nothing_is_sent_twice(life):
    model = FillModel(latency_seconds=120)
    first = life(at(MONDAY, "09:00"), past=history(), model=model, reconcile=ONLY_IF_NEEDED)
    first.play(bars(MONDAY, "09:25")).to(MONDAY, "09:26")
    assert first.broker.account.fills and not first.core.state.account.fills
    first.kill()
    again = life(at(MONDAY, "09:27"), model=FillModel()).to(MONDAY, "09:30")
    assert again.core.state.account.cash == again.broker.account.cash
    messages = again.kill()
    tags = [order.tag for message in of(messages, OrdersIntended) for order in message.orders]
    assert len(tags) == len(set(tags)) and any(m.source == "reconcile" for m in of(messages, OrderReports))
    assert of(messages, PlanClosed) and not of(messages, Halted)


def test_an_unknown_order_of_yesterday_frees_its_symbol_once_todays_books_are_read(life):
    lost = FillModel(lost_request_fraction=1.0, seed=1)
    first = life(at(MONDAY, "09:00"), past=history(), model=lost).play(bars(MONDAY, "09:25")).to(MONDAY, "11:00")
    assert first.core.state.unknown_orders()
    first.kill()
    again = life(at(TUESDAY, "08:00"), unreadable="the broker is away").play(bars(TUESDAY, "09:18"))
    again.to(TUESDAY, "09:16")
    assert again.core.state.carried
    again.broker.fail_reads("")
    again.play(bars(TUESDAY, "09:25")).to(TUESDAY, "09:50")
    assert again.core.state.unknown_orders() == []
    messages = again.kill()
    assert of(messages, Decided)[-1].outcome is Outcome.APPROVED and of(messages, Decided)[-1].moves


def test_prices_of_a_session_long_ago_are_not_tradable_after_days_of_absence(life):
    life(at(MONDAY, "09:00"), past=history()).play(bars(MONDAY, "15:30")).to(MONDAY, "15:45").kill()
    friday = date(2024, 6, 14)
    again = life(at(friday, "09:10")).play(bars(friday, "09:18", (1000.0,) * 4, SYMBOLS[:4])).to(friday, "09:50")
    messages = again.kill()
    moved = {move.symbol for move in of(messages, Decided)[-1].moves}
    assert "SBIN" not in moved
    assert all(order.symbol != "SBIN" for m in of(messages, OrdersIntended)[1:] for order in m.orders)


def test_history_of_a_missed_session_does_not_replace_todays_prices(life):
    life(at(MONDAY, "09:00"), past=history()).to(MONDAY, "09:10").kill()
    life(at(WEDNESDAY, "09:00")).play(bars(WEDNESDAY, "09:20", (1100.0,) * 5)).to(WEDNESDAY, "09:21").kill()
    again = life(at(WEDNESDAY, "09:22"), past=history(last=TUESDAY)).to(WEDNESDAY, "09:23")
    assert again.core.state.view.last == [1100.0] * 5
    assert again.core.state.view.last_session == [WEDNESDAY] * 5
    again.kill()


def test_a_fill_between_two_reads_of_the_books_is_not_a_difference(life):
    running = life(at(MONDAY, "09:00"), past=history()).to(MONDAY, "09:24")
    broker = running.broker
    truth, reads = broker.positions, []

    async def before_the_fill():
        reads.append(await truth())
        if len(reads) == 1:
            running._emit(bars(MONDAY, "09:25"))
        return reads[-1]

    broker.positions = before_the_fill
    running.clock.call_at(at(MONDAY, "09:25"), running.core.bus.post, Lane.CONTROL, reconcile())
    running.to(MONDAY, "09:26")
    messages = running.kill()
    assert running.core.state.account.fills
    assert not of(messages, Halted)
    assert of(messages, Reconciled)[-1].clean and len(of(messages, AccountRead)) >= 3


def test_a_difference_that_stays_halts(life):
    running = life(at(MONDAY, "09:00"), past=history()).to(MONDAY, "09:10")
    running.broker.correct(delta=-100, cause="a fee that nobody told us")
    running.core.bus.post(Lane.CONTROL, reconcile())
    running.to(MONDAY, "09:11")
    (halted,) = of(running.kill(), Halted)
    assert halted.cause == "RECONCILE_DIFFERENCE" and "cash" in halted.detail


# ---- a stop, a trip or a late message at the wrong moment ------------------------------------------------------------


@pytest.mark.parametrize("how", ["halt", "trip"])
def test_orders_that_wait_for_the_disk_do_not_leave_after_a_halt_or_a_trip(life, how):
    running = life(at(MONDAY, "09:00"), past=history()).play(bars(MONDAY, "09:25"))
    core, waiting = running.core, []
    core.bus._run_effect = lambda effect: (waiting.append if isinstance(effect, SendOrders) else core.edges.run)(effect)
    running.to(MONDAY, "09:21")
    if how == "halt":
        core.bus.post(Lane.CONTROL, Halted(cause="COMPONENT_FAILED", detail="the feed"))
    else:
        core.bus.post(Lane.CONTROL, BreakerTripped(name="daily_loss", used=0.06, limit=0.05))
    running.to(MONDAY, "09:22")
    (sending,) = waiting
    core.edges.run(sending)
    running.to(MONDAY, "09:30")
    assert {order.state for order in core.state.orders.values()} == {"rejected"}
    assert not running.broker._book, "nothing reached the broker"
    running.kill()


def test_a_late_grace_timer_of_the_sells_does_not_end_the_buys(life):
    thin = FillModel(participation=0.00001)
    running = life(at(MONDAY, "09:00"), past=history(), model=thin).play(bars(MONDAY, "09:25")).to(MONDAY, "09:26")
    (run,) = running.core.state.runs.values()
    assert run.phase is Phase.BUYS and running.core.state.open_orders()
    running.core.bus.post(Lane.TIMER, DeadlineDue(plan_id=run.plan.decision_id, phase="grace:sells"))
    running.to(MONDAY, "09:27")
    assert not run.closed
    running.kill()


def test_a_halt_after_the_first_step_of_a_resume_voids_its_nonce(life):
    running = life(at(MONDAY, "09:00"), past=history()).to(MONDAY, "09:05")
    ask(running, "halt", reason="drill")
    _, prepared = ask(running, "resume/prepare")
    ask(running, "cancel", reason="in earnest: the summary did not show this")
    status, _ = ask(running, "resume/confirm", nonce=prepared["nonce"], reason="drill over")
    assert status == 409 and set(running.core.state.halts) == {"STOP_HALT", "STOP_CANCEL"}
    _, prepared = ask(running, "resume/prepare")
    assert ask(running, "resume/confirm", uid=1, nonce=prepared["nonce"], reason="of another")[0] == 409
    assert ask(running, "resume/confirm", nonce=prepared["nonce"], reason="understood")[0] == 200
    assert ask(running, "resume/confirm", nonce=prepared["nonce"], reason="replayed")[0] == 409
    assert running.core.state.halts == {}
    running.kill()


def test_a_flatten_halts_and_cancels_like_any_stop(life):
    thin = FillModel(participation=0.00001)
    running = life(at(MONDAY, "09:00"), past=history(), model=thin).play(bars(MONDAY, "09:25")).to(MONDAY, "09:26")
    assert running.core.state.open_orders()
    ask(running, "flatten", reason="out")
    running.to(MONDAY, "09:27")
    assert running.core.state.halts and not running.core.state.open_orders()
    running.kill()


def test_a_latch_and_its_approval_survive_a_restart_and_the_pause_still_has_to_pass(life):
    first = life(at(MONDAY, "09:00"), past=history()).play(bars(MONDAY, "09:25"), bars(MONDAY, "09:30", (800.0,) * 5))
    first.to(MONDAY, "09:31")
    assert first.core.state.guard.board.latched
    assert ask(first, "approve", reason="")[0] == 400
    assert ask(first, "approve", reason="looked at it")[0] == 200
    first.kill()
    again = life(at(MONDAY, "09:40")).play(bars(MONDAY, "09:45", (800.0,) * 5)).to(MONDAY, "10:00")
    board = again.core.state.guard.board
    assert board.latched and all(latch.approved for latch in board.latches)
    again.kill()
