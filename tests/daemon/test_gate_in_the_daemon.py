"""The risk gate where it works: in a daemon that is killed, misled, hurried and given other limits."""

from datetime import date
from functools import partial

import msgspec
import pytest

from brokers.orders import Order, OrderState
from brokers.paper import FillModel
from brokers.port import ReportKind
from daemon.effects import CancelOrders, RollBack, SendOrders
from daemon.messages import (
    BarsRejected,
    BreakerApproved,
    BreakerReleased,
    BreakerTripped,
    Decided,
    ExitDue,
    Lane,
    ModelLoaded,
    OperatorCommand,
    OrderReports,
    OrdersIntended,
    Outcome,
    PlanApproved,
    PlanClosed,
    RiskAlerted,
    RollbackDecided,
)
from daemon.state import PlanRun
from market.money import rupees
from risk.approval import ApprovedOrder, ProposedOrder, Side
from risk.gate import Gate, OrderContext
from risk.reasons import ReasonCode
from tests.daemon.life import MONDAY, SYMBOLS, TUESDAY, WEDNESDAY, Life, ask, at, bars, history, limits, of

MINUTE_NS = 60 * 10**9
FELL = (940.0,) * 5  # 3.6 % of the account on the first day (57 % is invested), 5.7 % once it is 95 %
THURSDAY = date(2024, 6, 13)


@pytest.fixture
def life(tmp_path):
    return partial(Life, tmp_path)


def bought(life, **more):
    """A daemon that has bought on Monday."""
    running = life(at(MONDAY, "09:00"), past=history(), **more).play(bars(MONDAY, "09:25")).to(MONDAY, "09:40")
    assert running.core.state.account.quantity("SBIN") > 0
    return running


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
    running = life(at(MONDAY, "09:00"), past=history(), model=lost).to(MONDAY, "09:19")
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


# ---- the last look


def leaving(running, order):
    """Hand an order to the edge that sends, as if it had come from the executor; return what was said of it."""
    before = len(running.broker._book)
    state = running.core.state
    state.orders[order.tag] = Order(order.tag, order.plan_id, order.symbol, order.side, order.quantity, order.limit)
    plan = Decided(
        decision_id=order.plan_id, session=MONDAY, slot="rebalance", outcome=Outcome.APPROVED, strategy="x", model="",
        equity=rupees(1), cash=rupees(1),
    )  # fmt: skip
    state.runs.setdefault(order.plan_id, PlanRun(plan, rupees(0)))
    running.core.edges.run(SendOrders((order,)))
    running.loop.run_until_complete(running.clock.sleep_until(running.clock.now_ns() + MINUTE_NS))
    reports = [
        report
        for message in running.kill()
        if isinstance(message, OrderReports)
        for report in message.reports
        if report.tag == order.tag
    ]
    return len(running.broker._book) - before, reports


def test_an_order_that_nobody_intended_does_not_leave(life):
    running = bought(life)
    order = sealed(running, Gate(limits(execution__min_order_size_rupees=0.0)))
    assert "not on record" in running.core.edges._held_back(order, 0, frozenset())
    running.kill()


def sealed(running, gate, **changes):
    core = running.core
    book = core.decider.book(type("E", (), {"at_ns": running.clock.now_ns()})())
    book = msgspec.structs.replace(book, **changes)
    context = OrderContext(
        book=book, available=book.cash, sellable=core.state.account.quantities, priced_not_before_ns=0, halted=False
    )
    plan = gate.approve_plan("planted", book, [quantity - 1 for quantity in book.quantities])
    order = ProposedOrder("planted", "planted", "SBIN", Side.SELL, 1, rupees(1_000))
    dear = msgspec.structs.replace(context, book=msgspec.structs.replace(book, prices=(rupees(1_000),) * 5))
    (approved,), refused = gate.review_orders([order], dear, plan)
    assert not refused
    return approved


def test_an_order_of_the_gate_leaves(life):
    free = limits(execution__min_order_size_rupees=0.0)
    running = bought(life, limits=free)
    placed, reports = leaving(running, sealed(running, running.core.gate))
    assert placed == 1 and reports[0].kind in (ReportKind.ACKNOWLEDGED, ReportKind.FILL)


def test_an_order_that_was_altered_does_not_leave(life):
    free = limits(execution__min_order_size_rupees=0.0)
    running = bought(life, limits=free)
    forged = msgspec.structs.replace(sealed(running, running.core.gate), quantity=2)
    placed, (report,) = leaving(running, forged)
    assert placed == 0 and report.kind is ReportKind.NOT_SENT and "PLAN_NOT_APPROVED" in report.detail


def test_a_handmade_order_does_not_leave(life):
    running = bought(life)
    handmade = ApprovedOrder(
        "planted", "p", "SBIN", Side.SELL, 1, rupees(1_000), running.core.gate.limits.version, 1, 7
    )
    placed, (report,) = leaving(running, handmade)
    assert placed == 0 and "PLAN_NOT_APPROVED" in report.detail


def test_an_order_approved_under_other_limits_does_not_leave(life):
    running = bought(life)
    other = Gate(limits(execution__min_order_size_rupees=0.0))
    placed, (report,) = leaving(running, sealed(running, other))
    assert placed == 0 and "PLAN_LIMITS_CHANGED" in report.detail


def test_an_order_approved_on_old_prices_does_not_leave(life):
    free = limits(execution__min_order_size_rupees=0.0)
    running = bought(life, limits=free)
    old = sealed(running, running.core.gate, priced_at_ns=at(date(2024, 6, 6), "15:30"))
    placed, (report,) = leaving(running, old)
    assert placed == 0 and "PLAN_PRICE_STALE" in report.detail


# ---- pacing


def test_orders_leave_no_faster_than_allowed_and_a_stop_holds_back_those_that_wait(life):
    running = life(at(MONDAY, "09:00"), past=history(), limits=limits(execution__max_orders_per_second=2))
    running.play(bars(MONDAY, "09:25"))
    start = at(MONDAY, "09:20")
    running.loop.run_until_complete(running.clock.sleep_until(start + 500_000_000))
    assert len(running.broker._book) == 2 and running.core.edges.pacer.waiting == 3
    running.loop.run_until_complete(running.clock.sleep_until(start + 1_500_000_000))
    assert len(running.broker._book) == 4 and running.core.edges.pacer.waiting == 1
    running.core.bus.post(Lane.CONTROL, OperatorCommand(verb="halt", uid=0, reason="enough"))
    running.to(MONDAY, "09:21")
    assert len(running.broker._book) == 4 and running.core.edges.pacer.waiting == 0
    reports = [r for m in running.kill() if isinstance(m, OrderReports) for r in m.reports]
    assert [r.detail for r in reports if r.kind is ReportKind.NOT_SENT] == ["halted: STOP_HALT"]


def waiting(life, *, per_second=1, **more):
    """A daemon that has sent one purchase of five at 09:20:00 and has four waiting for their turn."""
    slow = limits(execution__max_orders_per_second=per_second, **more.pop("keys", {}))
    running = life(at(MONDAY, "09:00"), past=history(), limits=slow, **more)
    running.loop.run_until_complete(running.clock.sleep_until(at(MONDAY, "09:20") + 500_000_000))
    assert running.core.edges.pacer.waiting == 5 - per_second
    return running


def details(messages):
    return [
        r.detail for m in messages if isinstance(m, OrderReports) for r in m.reports if r.kind is ReportKind.NOT_SENT
    ]


def test_what_is_cancelled_while_it_waits_never_leaves(life):
    running = waiting(life)
    tags = tuple(running.core.state.orders)
    running.core.edges.run(CancelOrders(tags))
    running.to(MONDAY, "09:30")
    assert len(running.broker._book) == 1 and running.core.edges.pacer.waiting == 0
    states = [order.state for order in running.core.state.orders.values()]
    assert states.count(OrderState.REJECTED) == 4
    assert details(running.kill()) == ["cancelled before its turn"] * 4


def test_orders_that_wait_when_the_process_ends_are_on_record_as_not_sent(life):
    messages = waiting(life).stop()
    assert details(messages) == ["the process ended before its turn"] * 4
    again = life(at(MONDAY, "09:21")).play(bars(MONDAY, "09:25")).to(MONDAY, "09:30")
    assert again.core.state.unknown_orders() == [] and len(again.broker._book) == 1
    again.kill()


def test_nothing_leaves_after_the_market_has_closed(life):
    running = bought(life, limits=locked(execution__max_orders_per_second=1)).to(MONDAY, "15:29")
    running.loop.run_until_complete(running.clock.sleep_until(at(MONDAY, "15:29") + 57 * 10**9))
    running.core.bus.post(
        Lane.MARKET, msgspec.structs.replace(bars(MONDAY, "15:29", CRASH), end_ns=running.clock.now_ns())
    )
    running.to(MONDAY, "15:35")
    assert "liquidation" in running.core.state.guard.board.latched
    late = [order for order in running.broker._book.values() if order.at_ns >= at(MONDAY, "15:30")]
    assert late == [] and "the market is not in continuous trading" in details(running.kill())


def test_when_sending_breaks_its_group_is_unknown_and_the_rest_has_not_left(life):
    running = waiting(life)

    def broken(orders):
        raise OSError("the connection is gone")

    submit, running.broker.submit = running.broker.submit, broken
    running.loop.set_exception_handler(lambda *_: None)
    running.to(MONDAY, "09:21")
    running.broker.submit = submit
    running.core.edges.pacer.add(())
    running.loop.run_until_complete(running.clock.sleep_until(at(MONDAY, "09:25")))
    states = sorted(order.state for order in running.core.state.orders.values() if not order.filled)
    assert len(running.broker._book) == 1, "nothing that waited leaves later"
    assert states.count("rejected") == 3
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


# ---- rollback


def losing(life, loaded, **more):
    """A model that has lost a fifth of what it was given, on a board on which only that counts."""
    quiet = limits(
        circuit_breakers__max_daily_loss_percent=90.0, circuit_breakers__max_weekly_loss_percent=90.0,
        circuit_breakers__max_drawdown_percent=90.0, circuit_breakers__max_single_stock_loss=90.0,
        circuit_breakers__min_portfolio_value_percent=1.0,
    )  # fmt: skip

    def roll_back(version):
        loaded.append(version)
        return ModelLoaded(version=version, sha256="s", accepted=True)

    return bought(life, limits=quiet, roll_back=roll_back, **more)


def test_a_model_that_lost_too_much_is_replaced_by_the_one_before_and_trading_pauses(life):
    loaded = []
    running = losing(life, loaded, version="v1")
    running.core.bus.post(Lane.TIMER, ModelLoaded(version="v2", sha256="s", accepted=True))
    running.play(bars(MONDAY, "10:00"), bars(MONDAY, "10:05", (700.0,) * 5)).to(MONDAY, "10:06")
    state = running.core.state
    assert loaded == ["v1"] and state.guard.model == "v1" and state.guard.board.latched == ("model_loss",)
    (latch,) = state.guard.board.latches
    assert latch.detail == "v2" and latch.used == pytest.approx(0.17, abs=0.01)
    messages = running.kill()
    (decided,) = of(messages, RollbackDecided)
    assert (decided.model, decided.back_to, decided.limit) == ("v2", "v1", 0.15)
    told = [r for a in of(messages, RiskAlerted) for r in a.reasons if r.code is ReasonCode.BREAKER_LATCHED]
    assert told[0].detail == "model_loss"


def test_without_a_model_before_it_nothing_is_taken_back_and_people_are_told(life):
    loaded = []
    running = losing(life, loaded, version="v1").play(bars(MONDAY, "10:05", (700.0,) * 5)).to(MONDAY, "10:06")
    assert loaded == [] and running.core.state.guard.board.latched == ("model_loss",)
    assert "model.no_rollback" in [alert.event for alert in running.told]
    (decided,) = of(running.kill(), RollbackDecided)
    assert decided.back_to == ""


def test_a_rollback_that_fails_keeps_the_model_and_the_latch(life):
    running = losing(life, [], version="v1")
    running.core.edges.outside.roll_back = lambda version: ModelLoaded(
        version=version, sha256="", accepted=False, detail="expired"
    )
    running.core.bus.post(Lane.TIMER, ModelLoaded(version="v2", sha256="s", accepted=True))
    running.play(bars(MONDAY, "10:00"), bars(MONDAY, "10:05", (700.0,) * 5)).to(MONDAY, "10:06")
    assert running.core.state.guard.model == "v2" and running.core.state.guard.board.latched == ("model_loss",)
    running.kill()


def test_the_models_baseline_survives_a_restart(life):
    running = losing(life, [], version="v1")
    running.play(bars(MONDAY, "10:00", (900.0,) * 5)).to(MONDAY, "10:01")
    before = running.core.state.guard.board.breakers
    running.kill()
    again = life(at(MONDAY, "10:05"), version="v1", limits=running.core.gate.limits)
    assert again.core.state.guard.board.breakers == before and again.core.state.guard.models == ["v1"]
    again.kill()


# ---- liquidation

BOTH_KEYS = {
    "emergency__enable_auto_liquidate": True, "emergency__confirm_auto_liquidate": True,
    "emergency__liquidate_if_loss_exceeds": 0.10,
}  # fmt: skip
CRASH = (800.0,) * 5


locked = partial(limits, **BOTH_KEYS)


def test_a_liquidation_sells_everything_at_once_although_breakers_are_latched(life):
    running = bought(life, limits=locked()).play(bars(MONDAY, "10:00", CRASH), bars(MONDAY, "10:05", CRASH))
    running.to(MONDAY, "10:10")
    state = running.core.state
    assert "liquidation" in state.guard.board.latched and not any(state.account.quantities.values())
    messages = running.kill()
    (exit_plan,) = [d for d in of(messages, Decided) if d.exit]
    assert exit_plan.strategy == "liquidation" and {move.after for move in exit_plan.moves} == {0}
    sales = [o for m in of(messages, OrdersIntended) if m.plan_id == exit_plan.decision_id for o in m.orders]
    assert {order.side for order in sales} == {Side.SELL}
    assert max(order.quantity * order.limit for order in sales) <= 0.15 * exit_plan.equity, "sliced as any order"


def test_a_persons_stop_outranks_a_liquidation_and_a_resume_lets_it_go_on(life):
    running = bought(life, limits=locked())
    ask(running, "halt", reason="wait")
    running.play(bars(MONDAY, "10:00", CRASH), bars(MONDAY, "10:05", CRASH), bars(MONDAY, "10:20", CRASH))
    running.to(MONDAY, "10:10")
    state = running.core.state
    assert "liquidation" in state.guard.board.latched and any(state.account.quantities.values())
    _, prepared = ask(running, "resume/prepare")
    assert ask(running, "resume/confirm", nonce=prepared["nonce"], reason="go")[0] == 200
    running.to(MONDAY, "10:25")
    assert not any(state.account.quantities.values())
    running.kill()


def test_a_liquidation_that_a_kill_interrupted_goes_on(life):
    thin = FillModel(participation=0.00001)
    first = bought(life, limits=locked()).play(bars(MONDAY, "10:00", CRASH))
    first.broker.model = thin
    first.to(MONDAY, "10:02")
    assert "liquidation" in first.core.state.guard.board.latched and any(first.core.state.account.quantities.values())
    first.kill()
    again = life(at(MONDAY, "10:10"), limits=locked()).play(
        *(bars(MONDAY, f"10:{minute}", CRASH) for minute in (15, 20, 25, 45, 50, 55))
    )
    again.to(MONDAY, "11:00")
    assert not any(again.core.state.account.quantities.values())
    messages = again.kill()
    tags = [order.tag for message in of(messages, OrdersIntended) for order in message.orders]
    assert len(tags) == len(set(tags))


def test_a_liquidation_at_the_close_sells_in_the_next_session(life):
    running = bought(life, limits=locked()).play(bars(MONDAY, "15:30", CRASH)).to(MONDAY, "16:00")
    state = running.core.state
    assert "liquidation" in state.guard.board.latched and any(state.account.quantities.values())
    running.play(bars(TUESDAY, "09:18", CRASH), bars(TUESDAY, "09:25", CRASH)).to(TUESDAY, "09:30")
    assert not any(state.account.quantities.values())
    messages = running.kill()
    assert len([d for d in of(messages, Decided) if d.exit]) == 1
    assert [d.session for d in of(messages, ExitDue)] == [MONDAY, TUESDAY, TUESDAY]


def test_what_cannot_be_sold_now_is_sold_when_it_can(life):
    running = bought(life, limits=locked(circuit_breakers__max_single_stock_loss=90.0))
    # AXISBANK's price is in doubt when the others crash: its value is not known, nothing can be planned.
    running.play(bars(MONDAY, "10:00", (100.0, *CRASH[1:])), bars(MONDAY, "10:05", CRASH), bars(MONDAY, "10:10", CRASH))
    running.to(MONDAY, "10:15")
    assert not any(running.core.state.account.quantities.values())
    running.kill()


def test_a_liquidation_waits_while_the_data_cannot_be_relied_on(life):
    running = bought(life, limits=locked(circuit_breakers__max_single_stock_loss=90.0))
    nonsense = (float("nan"), 1000.0, 1000.0, 1000.0, 1000.0)
    gone = (100.0, 1000.0, 1000.0, 1000.0, 1000.0)
    # Three bars that are no prices do not make the one wrong price after them true.
    running.play(*(bars(MONDAY, f"10:0{minute}", nonsense) for minute in range(3)), bars(MONDAY, "10:03", gone))
    running.play(bars(MONDAY, "10:05"), bars(MONDAY, "10:10")).to(MONDAY, "10:30")
    state = running.core.state
    assert "data_health" in state.guard.board.latched and "liquidation" not in state.guard.board.latched
    assert state.account.quantity("AXISBANK") > 0 and state.equity() is not None
    running.kill()


def test_a_crash_that_is_believed_is_not_sold_before_a_person_has_looked_at_the_data(life):
    running = bought(life, limits=locked(circuit_breakers__max_single_stock_loss=90.0))
    half = (300.0,) * 5
    running.play(*(bars(MONDAY, f"10:0{minute}", half) for minute in range(6))).to(MONDAY, "10:20")
    state = running.core.state
    assert {"data_health", "liquidation"} <= set(state.guard.board.latched)
    assert any(state.account.quantities.values())
    assert "exit.unsold" in [alert.event for alert in running.told]
    running.kill()


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


def test_an_exit_that_sells_nothing_is_tried_again_later_each_time_and_people_hear_of_it(life):
    running = bought(life, limits=locked())
    running.broker.model = FillModel(band=0.001)  # refuses every price but the last
    running.play(bars(MONDAY, "10:00", CRASH)).to(MONDAY, "12:00")
    exits = [message for message in running.kill() if isinstance(message, Decided) and message.exit]
    assert 4 <= len(exits) <= 12, "two hours, a minute apart at first and sixteen at last"
    assert [alert.event for alert in running.told].count("exit.unsold") >= 4


def test_the_number_of_orders_a_day_does_not_keep_a_liquidation(life):
    running = bought(life, limits=locked(execution__max_orders_per_day=5))
    running.play(bars(MONDAY, "10:00", CRASH), bars(MONDAY, "10:05", CRASH)).to(MONDAY, "10:10")
    assert not any(running.core.state.account.quantities.values())
    running.kill()


def test_a_liquidation_follows_a_market_that_goes_on_falling(life):
    running = bought(life, limits=locked())
    lower = [(800.0 - 8 * step,) * 5 for step in range(1, 6)]
    running.play(
        bars(MONDAY, "10:00", CRASH), *(bars(MONDAY, f"10:0{2 * i + 1}", row) for i, row in enumerate(lower[:4]))
    )
    running.play(bars(MONDAY, "10:12", lower[4]), bars(MONDAY, "10:17", lower[4])).to(MONDAY, "10:20")
    assert not any(running.core.state.account.quantities.values())
    running.kill()


# ---- what review found


def test_a_model_that_was_thrown_out_does_not_come_back_by_a_second_rollback(life):
    loaded = []
    running = losing(life, loaded, version="v1")
    running.core.bus.post(Lane.TIMER, ModelLoaded(version="v2", sha256="s", accepted=True))
    running.play(bars(MONDAY, "10:00"), bars(MONDAY, "10:05", (700.0,) * 5)).to(MONDAY, "10:06")
    assert loaded == ["v1"]
    ask(running, "approve", uid=1, reason="go on")
    running.play(bars(MONDAY, "15:30", (700.0,) * 5), bars(TUESDAY, "10:10", (700.0,) * 5))
    running.play(bars(TUESDAY, "10:20", (400.0,) * 5)).to(TUESDAY, "10:30")
    assert running.core.state.guard.board.latched == ("model_loss",)
    assert loaded == ["v1"] and running.core.state.guard.model == "v1", "v2 was thrown out, and there is no other"
    decided = of(running.kill(), RollbackDecided)
    assert [(d.model, d.back_to) for d in decided] == [("v2", "v1"), ("v1", "")]


def test_a_rollback_that_a_kill_prevented_happens_at_the_next_start(life):
    running = losing(life, [], version="v1")
    running.core.edges._run[RollBack] = lambda effect: None  # dies before it
    running.core.bus.post(Lane.TIMER, ModelLoaded(version="v2", sha256="s", accepted=True))
    running.play(bars(MONDAY, "10:00"), bars(MONDAY, "10:05", (700.0,) * 5)).to(MONDAY, "10:06")
    assert running.core.state.guard.rollback_due == "v1"
    running.kill()
    loaded = []

    def roll_back(version):
        loaded.append(version)
        return ModelLoaded(version=version, sha256="s", accepted=True)

    again = life(at(MONDAY, "10:10"), version="v2", limits=running.core.gate.limits, roll_back=roll_back)
    again.to(MONDAY, "10:11")
    assert loaded == ["v1"] and again.core.state.guard.model == "v1" and again.core.state.guard.rollback_due == ""
    again.kill()


def test_a_shorter_pause_in_the_file_does_not_shorten_one_that_runs(life):
    running = tripped(life)
    ask(running, "approve", uid=1, reason="seen")
    running.kill()
    short = limits(circuit_breakers__max_daily_loss_percent=3.0, recovery__pause_duration_hours=0.0)
    again = life(at(MONDAY, "10:10"), limits=short).play(bars(MONDAY, "10:15", FELL)).to(MONDAY, "10:20")
    assert again.core.state.guard.board.latched == ("daily_loss",)
    again.kill()


def test_another_model_starts_with_a_clean_bill_of_health(life):
    running = bought(life)
    guard = running.core.state.guard
    guard.model_health = guard.model_health.bad("failed").bad("failed")
    running.core.bus.post(Lane.TIMER, ModelLoaded(version="v2", sha256="s", accepted=True))
    running.to(MONDAY, "09:41")
    assert guard.model_health.count == 0
    running.kill()


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
    history.opening = rupees(100_000)
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


def test_a_reconciliation_leaves_what_waits_for_its_turn_alone(life):
    running = life(at(MONDAY, "09:00"), past=history(), limits=limits(execution__max_orders_per_second=1))
    running.play(bars(MONDAY, "09:15"))
    second = 0
    while running.core.edges.pacer.waiting < 3 and second < 2_400:
        second += 1
        running.loop.run_until_complete(running.clock.sleep_until(at(MONDAY, "09:15") + second * 10**9))
    assert running.core.edges.pacer.waiting >= 3
    running.core.bus.post(Lane.CONTROL, OperatorCommand(verb="reconcile", uid=0, reason="asked"))
    running.loop.run_until_complete(running.clock.sleep_until(running.clock.now_ns() + 60 * 10**9))
    assert {order.state for order in running.core.state.orders.values()} == {OrderState.ACKNOWLEDGED}
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
