"""Selling everything under a latched liquidation: in a halt, over a restart, without a price, behind other orders."""

from brokers.paper import FillModel
from brokers.port import OrderReport, ReportKind
from daemon.messages import (
    Decided,
    ExitDue,
    Lane,
    OrdersIntended,
)
from risk.approval import Side
from tests.daemon.life import CRASH, MONDAY, TUESDAY, ask, at, bars, bought, locked, of, reconcile


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


def test_a_liquidation_goes_on_once_orders_without_an_answer_have_one(life):
    running = bought(life, limits=locked())
    submit, asked = running.broker.submit, []

    def no_answer(orders):
        asked.extend(orders)
        reports = [OrderReport(o.tag, o.symbol, o.side, ReportKind.UNKNOWN, detail="no answer") for o in orders]
        running.core.edges.on_reports(tuple(reports))

    running.broker.submit = no_answer
    running.play(bars(MONDAY, "10:00", CRASH)).to(MONDAY, "10:20")
    state = running.core.state
    assert asked and any(state.account.quantities.values())
    # The broker works again, and tells that none of them was taken.
    running.broker.submit = submit
    late = [OrderReport(o.tag, o.symbol, o.side, ReportKind.REJECTED, detail="late answer") for o in asked]
    running.core.edges.on_reports(tuple(late))
    running.play(*(bars(MONDAY, f"10:{minute}", CRASH) for minute in range(25, 60, 5)), bars(MONDAY, "11:00", CRASH))
    running.to(MONDAY, "11:00")
    assert not state.unknown_orders() and not any(state.account.quantities.values())
    running.kill()


def test_who_reconciles_all_the_time_does_not_put_an_exit_off(life):
    running = bought(life, limits=locked())
    running.broker.model = FillModel(band=0.001)  # refuses every price but the last
    running.play(bars(MONDAY, "10:00", CRASH)).to(MONDAY, "10:01")

    def exits():
        return sum(1 for run in running.core.state.runs.values() if run.plan.exit)

    before = exits()
    for _ in range(60):
        running.core.bus.post(Lane.CONTROL, reconcile())
        running.loop.run_until_complete(running.clock.sleep_until(running.clock.now_ns() + 45 * 10**9))
    assert exits() >= before + 3, "45 minutes, and sixteen between two attempts at most"
    running.kill()
