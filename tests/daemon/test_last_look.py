"""What leaves for the broker, and when: the last look at each order, the pace, and the end of the process."""

from datetime import date

import msgspec

from brokers.orders import Order, OrderState
from brokers.port import ReportKind
from daemon.core import close_book
from daemon.effects import CancelOrders, SendOrders
from daemon.messages import (
    DaemonStopped,
    Decided,
    Lane,
    OperatorCommand,
    OrderReports,
    Outcome,
)
from daemon.state import PlanRun
from market.money import rupees
from risk.approval import ApprovedOrder, ProposedOrder, Side
from risk.gate import Gate, OrderContext
from tests.daemon.life import (
    CRASH,
    MONDAY,
    at,
    bars,
    bought,
    history,
    limits,
    locked,
)

MINUTE_NS = 60 * 10**9


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


# ---- the end of the process


def slow_disk(running):
    """From here on nothing that is appended reaches the disk, until the returned function is called."""
    journal = running.core.journal
    frozen, append = journal.durable_seq, journal.append

    def held(*args, **more):
        seq = append(*args, **more)
        journal.durable_seq = frozen
        return seq

    def let_go():
        journal.append = append
        journal.durable_seq = journal.seq
        running.core.bus.release()

    journal.append = held
    return let_go


def intended_on_a_slow_disk(life):
    """A daemon whose intents are not on disk yet: none of its orders may have left."""
    running = life(at(MONDAY, "09:00"), past=history()).to(MONDAY, "09:19")
    let_go = slow_disk(running)
    running.to(MONDAY, "09:21")
    assert len(running.core.state.orders) == 5 and not running.broker._book
    return running, let_go


def assert_rejected_after_a_restart(life, tags):
    again = life(at(MONDAY, "09:40")).to(MONDAY, "09:41")
    assert {again.core.state.orders[tag].state for tag in tags} == {OrderState.REJECTED}
    assert not again.core.state.unknown_orders()
    again.kill()


def test_orders_whose_record_was_late_at_the_end_are_on_record_as_not_sent_and_stay_here(life):
    running, let_go = intended_on_a_slow_disk(life)
    tags = tuple(running.core.state.orders)
    running.core.bus.pause()  # SIGTERM, and its time for effects passes
    close_book(running.core, "SIGTERM")
    let_go()  # what the disk held is written after all
    assert not running.broker._book and not running.core.edges.pacer.waiting
    messages = running.kill()
    assert isinstance(messages[-1], DaemonStopped)
    assert details(messages) == ["the process ended before its turn"] * 5
    assert_rejected_after_a_restart(life, tags)


def test_what_a_stop_held_back_while_the_process_ended_is_on_record(life):
    running, let_go = intended_on_a_slow_disk(life)
    tags = tuple(running.core.state.orders)
    running.stopped = True  # the latch, then SIGTERM
    running.core.bus.pause()
    let_go()
    close_book(running.core, "SIGTERM")
    assert not running.broker._book
    assert details(running.kill()) == ["the stop latch is engaged"] * 5
    assert_rejected_after_a_restart(life, tags)


def test_what_is_withdrawn_while_the_process_ends_is_on_record(life):
    running = waiting(life)
    tags = tuple(order.tag for order in running.core.edges.pacer.queue)
    running.core.bus.pause()
    running.core.edges.run(CancelOrders(tags))
    close_book(running.core, "SIGTERM")
    assert details(running.kill()) == ["cancelled before its turn"] * 4
    assert_rejected_after_a_restart(life, tags)
