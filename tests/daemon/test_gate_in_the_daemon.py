"""The risk gate where it works: in a daemon that is killed, misled, hurried and given other limits."""

from datetime import date

import numpy as np
import pytest

from brokers.paper import FillModel
from daemon.messages import (
    BarsRejected,
    BreakerApproved,
    BreakerReleased,
    BreakerTripped,
    Decided,
    Lane,
    OrdersIntended,
    Outcome,
    PlanApproved,
    PlanClosed,
    RiskAlerted,
)
from daemon.settings import ONLY_IF_NEEDED
from market.money import rupees
from risk.gate import Gate
from risk.reasons import ReasonCode
from tests.daemon.life import (
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
)

MINUTE_NS = 60 * 10**9
FELL = (940.0,) * 5  # 3.6 % of the account on the first day (57 % is invested), 5.7 % once it is 95 %
THURSDAY = date(2024, 6, 13)


def tripped(life, **more):
    """A daemon whose daily loss breaker tripped on Monday at 10:00."""
    running = bought(life, limits=limits(circuit_breakers__max_daily_loss_percent=3.0), **more)
    running.play(bars(MONDAY, "10:00", FELL)).to(MONDAY, "10:01")
    assert running.core.state.guard.board.latched == ("daily_loss",)
    return running


# ---- latches


def test_a_latch_outlives_a_restart_under_looser_limits_and_a_clock_that_jumped(life):
    tripped(life).kill()
    loose = limits(circuit_breakers__max_daily_loss_percent=50.0)
    # Three days later by the clock, though nobody approved: the pause alone releases nothing.
    again = life(at(THURSDAY, "09:00"), limits=loose).play(bars(THURSDAY, "09:18")).to(THURSDAY, "09:30")
    assert again.core.state.guard.board.latched == ("daily_loss",)
    (latch,) = again.core.state.guard.board.latches
    assert (latch.used, latch.limit) == (pytest.approx(0.036, abs=0.002), 0.03), (
        "as it was tripped, not as limits are now"
    )
    messages = again.kill()
    assert of(messages, Decided)[-1].outcome is Outcome.REFUSED
    assert "BREAKER_LATCHED" in of(messages, Decided)[-1].reasons[0]
    # Back to the evening of the trip: still latched, and the approval does not count before its pause is over.
    back = life(at(MONDAY, "18:00"), limits=loose)
    back.to(MONDAY, "18:01")
    assert back.core.state.guard.board.latched == ("daily_loss",)
    back.kill()


def test_tighter_limits_do_not_rewrite_what_happened(life):
    first = bought(life)
    first.play(bars(MONDAY, "10:00", (985.0,) * 5), bars(MONDAY, "10:05")).to(MONDAY, "10:06").kill()
    tight = limits(circuit_breakers__max_daily_loss_percent=0.5)
    again = life(at(MONDAY, "10:10"), limits=tight).to(MONDAY, "10:11")
    assert again.core.state.guard.board.latched == (), "at 10:00 the limit was another"
    again.play(bars(MONDAY, "10:15", (985.0,) * 5)).to(MONDAY, "10:16")
    assert again.core.state.guard.board.latched == ("daily_loss",)
    again.kill()


def test_trading_goes_on_after_pause_and_approval_and_both_are_on_record_with_who_and_when(life):
    running = tripped(life)
    status, answer = ask(running, "approve", uid=1000, reason="a bad print")
    assert status == 200 and answer["approved"] == ["daily_loss"]
    assert answer["pause_until"].startswith("2024-06-11T10:00")
    running.play(bars(MONDAY, "15:30", FELL), bars(TUESDAY, "09:18", FELL), bars(TUESDAY, "10:05", FELL))
    running.to(TUESDAY, "09:30")
    assert running.core.state.guard.board.latched == ("daily_loss",), "approved, and the pause is not over"
    running.to(TUESDAY, "10:06")
    assert running.core.state.guard.board.latched == ()
    running.play(bars(TUESDAY, "15:30", FELL), bars(WEDNESDAY, "09:18", FELL)).to(WEDNESDAY, "09:30")
    messages = running.kill()
    (approval,) = of(messages, BreakerApproved)
    assert (approval.uid, approval.reason) == (1000, "a bad print")
    (release,) = of(messages, BreakerReleased)
    assert release.names == ("daily_loss",) and release.approved_by == ("1000",)
    assert [d.outcome for d in of(messages, Decided)] == [Outcome.APPROVED, Outcome.REFUSED, Outcome.APPROVED]


def test_a_release_is_the_same_after_a_restart(life):
    running = tripped(life)
    ask(running, "approve", uid=7, reason="seen")
    running.play(bars(MONDAY, "15:30", FELL), bars(TUESDAY, "10:05", FELL)).to(TUESDAY, "10:06")
    before = running.core.state.guard.board
    assert before.latched == ()
    running.kill()
    again = life(at(TUESDAY, "10:10"), limits=limits(circuit_breakers__max_daily_loss_percent=3.0))
    assert again.core.state.guard.board == before
    again.kill()


def test_a_trip_that_a_kill_kept_from_the_record_is_found_at_the_start(life):
    running = bought(life, limits=limits(circuit_breakers__max_daily_loss_percent=3.0))
    # The bar is on disk, and the process dies before its trip is.
    running.core.journal.append(bars(MONDAY, "10:00", FELL), cause=0, at_ns=at(MONDAY, "10:00"))
    running.kill()
    again = life(at(MONDAY, "10:10"), limits=limits(circuit_breakers__max_daily_loss_percent=3.0)).to(MONDAY, "10:11")
    assert again.core.state.guard.board.latched == ("daily_loss",)
    again.kill()


# ---- what is not known


def test_a_price_that_cannot_be_believed_leaves_equity_unknown_and_that_has_a_deadline(life):
    running = bought(life)
    running.play(bars(MONDAY, "10:00", (100.0, 1000.0, 1000.0, 1000.0, 1000.0))).to(MONDAY, "10:09")
    state = running.core.state
    assert state.equity() is None and set(state.view.suspect) == {"AXISBANK"} and not state.guard.board.latched
    running.to(MONDAY, "10:11")  # no bar has come to ask
    assert state.guard.board.latched == ("unknown_equity",)
    messages = running.kill()
    assert [m.prices for m in of(messages, BarsRejected)] == [(100.0,)]
    (trip,) = of(messages, BreakerTripped)
    assert trip.detail == "600 seconds without a known equity"


def test_a_wrong_bar_that_is_followed_by_a_right_one_was_an_accident(life):
    running = bought(life)
    wrong = (100.0, 1000.0, 1000.0, 1000.0, 1000.0)
    running.play(bars(MONDAY, "10:00", wrong), bars(MONDAY, "10:05")).to(MONDAY, "10:30")
    state = running.core.state
    assert state.equity() is not None and not state.view.suspect and not state.guard.board.latched
    assert state.guard.data_health.count == 0
    running.kill()


def test_a_price_that_stays_is_believed_when_trading_is_paused_for_it(life):
    running = bought(life)
    crash = (300.0, 1000.0, 1000.0, 1000.0, 1000.0)
    running.play(*(bars(MONDAY, f"10:0{minute}", crash) for minute in range(5))).to(MONDAY, "10:06")
    state = running.core.state
    assert {"data_health", "single_stock_loss", "daily_loss"} <= set(state.guard.board.latched)
    assert state.view.last[0] == 300.0 and state.equity() is not None
    messages = running.kill()
    assert len(of(messages, BarsRejected)) == 3
    assert of(messages, BreakerTripped)[0].name == "data_health"


def test_while_an_orders_outcome_is_unknown_its_position_is_judged_at_the_larger_end(life):
    lost = FillModel(lost_answer_fraction=1.0, seed=1)
    running = life(at(MONDAY, "09:00"), past=history(), model=lost, reconcile=ONLY_IF_NEEDED).to(MONDAY, "09:19")
    running.broker.fail_reads("the broker is away")
    running.to(MONDAY, "09:21")
    state = running.core.state
    unknown = {order.symbol: order.remaining for order in state.unknown_orders()}
    assert set(unknown) == set(SYMBOLS), "nobody said what became of them"
    book = running.core.decider.book(type("E", (), {"at_ns": running.clock.now_ns()})())
    assert book.quantities == (0,) * 5 and not any(book.tradable)
    assert book.high == tuple(unknown[symbol] for symbol in SYMBOLS)
    assert book.traded == sum(order.remaining * order.limit for order in state.unknown_orders())
    # Each was a purchase at up to half a percent above the price: that much may be lost.
    assert rupees(1_000_000) - book.equity == pytest.approx(0.005 * book.traded, rel=0.01)
    verdict = Gate(limits()).review_targets((0.19,) * 5, book, latched=())
    assert verdict.weights == verdict.current == pytest.approx((0.12,) * 5, abs=0.002)
    running.kill()


# ---- cash that is moved while a plan runs


def test_a_withdrawal_between_decision_and_purchases_leaves_no_order_beyond_the_limits(life):
    asks = limits(live__daily_approval_required=True)
    running = life(at(MONDAY, "09:00"), past=history(), mode="live", limits=asks).to(MONDAY, "09:25")
    assert ask(running, "cash/withdraw", uid=1000, reason="a house", amount=rupees(600_000))[0] == 200
    assert ask(running, "approve", uid=1000, reason="go on")[0] == 200
    running.play(bars(MONDAY, "09:30")).to(MONDAY, "10:30")
    state = running.core.state
    equity = state.equity()
    weights = state.weights()
    assert equity == pytest.approx(rupees(400_000), rel=0.01)
    assert max(weights) <= 0.40 + 1e-3 and sum(weights) <= 0.95 + 1e-3
    assert max(o.quantity * o.limit for o in state.orders.values()) <= 0.15 * rupees(400_000) + rupees(1_100)
    running.kill()


def test_a_withdrawal_makes_no_loss_larger(life):
    running = bought(life, limits=locked()).play(bars(MONDAY, "10:00", (850.0,) * 5)).to(MONDAY, "10:01")
    used = {v.name: v.used for v in running.core.state.guard.board.verdicts}
    cash = running.core.state.account.available
    assert ask(running, "cash/withdraw", uid=1000, reason="fees", amount=rupees(cash // 100 - 1_000))[0] == 200
    running.play(bars(MONDAY, "10:10", (850.0,) * 5)).to(MONDAY, "10:11")
    after = {v.name: v.used for v in running.core.state.guard.board.verdicts}
    for name in ("daily_loss", "weekly_loss", "drawdown", "portfolio_value", "liquidation"):
        assert after[name] == pytest.approx(used[name], abs=1e-6), name
    assert any(running.core.state.account.quantities.values()), "nothing was sold for it"
    running.kill()


# ---- plans over a restart


class Killed(BaseException):
    """The dispatch dies here, in the middle of a message, and handles nothing more."""


def die(message, envelope):
    raise Killed


def test_a_plan_that_was_recorded_before_the_limits_changed_is_judged_by_those_of_today(life):
    # Dies between the decision's record and the first intent.
    running = life(at(MONDAY, "09:00"), past=history())
    running.core.bus._handlers[Decided] = (die,)
    running.to(MONDAY, "09:21")
    (decided,) = of(running.kill(), Decided)
    assert max(decided.approved) == pytest.approx(0.12)
    small = limits(position_limits__max_weight_per_stock=0.10)
    again = life(at(MONDAY, "09:30"), limits=small).play(bars(MONDAY, "09:35")).to(MONDAY, "10:30")
    messages = again.kill()
    (closed,) = of(messages, PlanClosed)
    assert "PLAN_MAX_WEIGHT" in closed.why and not of(messages, OrdersIntended)


def test_a_plan_that_was_recorded_goes_on_under_the_same_limits(life):
    running = life(at(MONDAY, "09:00"), past=history())
    running.core.bus._handlers[Decided] = (die,)
    running.to(MONDAY, "09:21")
    running.kill()
    again = life(at(MONDAY, "09:30")).play(bars(MONDAY, "09:35")).to(MONDAY, "10:30")
    messages = again.kill()
    assert len(of(messages, Decided)) == 1 and len(of(messages, OrdersIntended)) == 1
    assert of(messages, PlanClosed)[0].residuals == {}


def test_a_plan_that_waits_for_a_person_still_waits_after_a_restart(life):
    asks = limits(live__daily_approval_required=True)
    first = life(at(MONDAY, "09:00"), past=history(), mode="live", limits=asks).to(MONDAY, "09:25")
    assert first.core.executor.awaiting_approval() and not first.core.state.orders
    assert [alert.event for alert in first.told] == ["risk.alerted", "plan.waits"]
    first.kill()
    again = life(at(MONDAY, "09:30"), mode="live", limits=asks).play(bars(MONDAY, "09:35")).to(MONDAY, "09:31")
    (plan_id,) = again.core.executor.awaiting_approval()
    assert ask(again, "approve", uid=1000, reason="")[0] == 400
    status, answer = ask(again, "approve", uid=1000, reason="as expected")
    assert status == 200 and answer["approved"] == [plan_id]
    again.to(MONDAY, "09:40")
    assert again.core.state.account.quantity("SBIN") > 0 and again.core.executor.awaiting_approval() == ()
    assert ask(again, "approve", uid=1000, reason="again")[0] == 409
    messages = again.kill()
    (said,) = of(messages, PlanApproved)
    assert (said.plan_id, said.uid, said.reason) == (plan_id, 1000, "as expected")


def test_in_paper_mode_nobody_is_asked(life):
    asks = limits(live__daily_approval_required=True)
    running = bought(life, limits=asks)
    assert not of(running.kill(), PlanApproved)


def test_the_same_wrong_bar_again_says_nothing_new(life):
    running = bought(life)
    wrong = bars(MONDAY, "10:00", (100.0, 1000.0, 1000.0, 1000.0, 1000.0))
    running.play(*[wrong] * 6).to(MONDAY, "10:05")
    state = running.core.state
    assert state.view.suspect["AXISBANK"].count == 1 and state.guard.board.latched == ()
    running.kill()


def test_a_late_bar_does_not_clear_a_doubt(life):
    running = bought(life).play(bars(MONDAY, "10:00", (100.0, 1000.0, 1000.0, 1000.0, 1000.0))).to(MONDAY, "10:01")
    running.core.bus.post(Lane.MARKET, bars(MONDAY, "09:30"))
    # It is older than what was taken last at 10:00 by the others.
    running.to(MONDAY, "10:02")
    assert running.core.state.equity() is None and set(running.core.state.view.suspect) == {"AXISBANK"}
    running.kill()


# ---- what review found


def test_a_shorter_pause_in_the_file_does_not_shorten_one_that_runs(life):
    running = tripped(life)
    ask(running, "approve", uid=1, reason="seen")
    running.kill()
    short = limits(circuit_breakers__max_daily_loss_percent=3.0, recovery__pause_duration_hours=0.0)
    again = life(at(MONDAY, "10:10"), limits=short).play(bars(MONDAY, "10:15", FELL)).to(MONDAY, "10:20")
    assert again.core.state.guard.board.latched == ("daily_loss",)
    again.kill()


def test_what_is_told_of_the_book_is_told_when_it_begins(life):
    running = bought(life, limits=limits(circuit_breakers__max_single_position_percent=10.0))
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        running.play(bars(day, "09:18"), bars(day, "15:30"))
    running.to(WEDNESDAY, "16:00")
    told = [r for a in of(running.kill(), RiskAlerted) for r in a.reasons if r.code is ReasonCode.ALERT_SINGLE_POSITION]
    assert sorted(reason.symbol for reason in told) == sorted(SYMBOLS), "each once, at the first close"


def test_a_losing_streak_is_counted_beyond_a_month(life):
    from daemon.unit_history import UnitHistory

    history = UnitHistory()
    history.start(rupees(100_000))
    for number in range(45):
        history.close(date(2024, 1, 1), rupees(99_999 - number))
    assert history.losing_streak == 45 and len(history.returns) == 30


def test_time_switched_off_is_no_time_of_waiting_for_a_known_equity(life):
    running = bought(life).play(bars(MONDAY, "15:25", (100.0, 1000.0, 1000.0, 1000.0, 1000.0))).to(MONDAY, "15:26")
    running.kill()
    again = life(at(TUESDAY, "09:10")).play(bars(TUESDAY, "09:16")).to(TUESDAY, "09:18")
    assert again.core.state.guard.board.latched == () and again.core.state.equity() is not None
    again.kill()


def test_status_shows_a_liquidation_that_is_on_before_its_first_reading(life):
    running = life(at(MONDAY, "09:00"), past=history(), limits=locked())
    running.to(MONDAY, "09:01")
    rows = {row["name"]: row for row in running.core.status()["breakers"]}
    assert rows["liquidation"]["state"] == "ready"
    running.kill()


def test_late_bars_raise_no_doubt(life):
    running = bought(life, limits=limits(circuit_breakers__max_single_stock_loss=90.0))
    running.play(*[bars(MONDAY, f"10:0{minute}", (300.0,) * 5) for minute in range(6)]).to(MONDAY, "10:10")
    for clock in ("09:50", "09:52", "09:54"):
        running._emit(bars(MONDAY, clock))
    running.to(MONDAY, "10:11")
    assert not running.core.state.view.suspect
    assert running.core.state.equity() is not None
    running.kill()


def test_a_doubt_that_a_person_has_released_ends_with_good_bars_as_any_other(life):
    class Four:
        name, look_back, symbols = "four", 0, SYMBOLS

        def target(self, context):
            return np.array([0.19] * 4 + [0.0])

    free = limits(position_limits__min_weight_per_stock=0.0)
    running = life(at(MONDAY, "09:00"), past=history(), strategy=Four(), limits=free)
    running.play(bars(MONDAY, "09:25")).to(MONDAY, "09:40")
    assert running.core.state.account.quantity("AXISBANK") and not running.core.state.account.quantity("SBIN")
    # SBIN is not held: its price jumps about, each time beyond belief, and then it does not trade at all.
    for clock, price in (("10:00", 100.0), ("10:05", 5000.0), ("10:10", 100.0)):
        running.play(bars(MONDAY, clock, (1000.0,) * 4 + (price,)))
    running.to(MONDAY, "10:11")
    state = running.core.state
    assert state.guard.board.latched == ("data_health",) and set(state.view.suspect) == {"SBIN"}
    ask(running, "approve", uid=1, reason="looked at it")
    four = SYMBOLS[:4]
    for day, clock in ((MONDAY, "15:30"), (TUESDAY, "09:18"), (TUESDAY, "10:30")):
        running.play(bars(day, clock, (1000.0,) * 4, four))
    running.to(TUESDAY, "10:31")
    assert state.guard.board.latched == ()
    running.play(bars(TUESDAY, "11:00"), bars(TUESDAY, "11:05")).to(TUESDAY, "11:10")
    assert not state.view.suspect
    running.kill()


def test_an_approval_says_when_the_pause_ends_by_the_limits_of_its_trip(life):
    tripped(life).kill()
    short = limits(circuit_breakers__max_daily_loss_percent=3.0, recovery__pause_duration_hours=0.0)
    again = life(at(MONDAY, "10:10"), limits=short)
    _, answer = ask(again, "approve", uid=1, reason="seen")
    (row,) = [row for row in again.core.status()["breakers"] if row["name"] == "daily_loss"]
    assert answer["pause_until"].startswith("2024-06-11T10:00") and answer["pause_until"] == row["until"]
    again.kill()
