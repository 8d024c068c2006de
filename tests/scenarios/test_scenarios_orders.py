"""Scenarios of orders and fills: answers that are lost, come late, twice or in the wrong order, and a process that dies."""

from dataclasses import dataclass

import pytest

from brokers.orders import TERMINAL, OrderState
from brokers.paper import FillModel
from brokers.port import Known, OrderReport, ReportKind
from daemon.messages import (
    AccountRead,
    BrokerConnection,
    Decided,
    Lane,
    ManualTrades,
    OrderReports,
    OrdersIntended,
    Outcome,
    Phase,
    PlanClosed,
)
from daemon.simulation.loop import Killed
from daemon.simulation.run import run_seed
from market.money import rupees
from risk.approval import Side
from tests.daemon import life as stage_of_life
from tests.daemon.life import MONDAY, SYMBOLS, TUESDAY, WEDNESDAY, ask, at, bars, bought, history, limits, of
from tests.scenarios.stage import (
    Script,
    Wire,
    assert_once,
    assert_same_books,
    events,
    halts,
    invested,
    moment,
)

FORTY_A_BAR = FillModel(participation=0.00004)
LOST_REQUEST = FillModel(lost_request_fraction=1.0, seed=1)
RESTING = FillModel(participation=0.0)
ROTATED = (0.05, 0.05, 0.19, 0.30, 0.36)


def test_scenario_01_submit_times_out_the_order_lives_and_its_fills_come_in_disorder(life):
    """Submit times out; order is live; later fills in three parts out of order; one duplicate frame."""
    running = life(at(MONDAY, "09:00"), past=history(), model=FORTY_A_BAR, broker=Wire).to(MONDAY, "09:19")
    broker, state = running.broker, running.core.state
    broker.passes = lambda report: False
    running.play(*(bars(MONDAY, clock) for clock in ("09:25", "09:30", "09:35")))
    moment(running, MONDAY, "09:20", 1)
    broker.fail_reads("timeout")
    broker.tell(
        *(OrderReport(o.tag, o.symbol, o.side, ReportKind.UNKNOWN, detail="timeout") for o in state.live.values())
    )
    running.to(MONDAY, "09:36")
    fills = [report for report in broker.held if report.kind is ReportKind.FILL]
    first, second, third = fills[:5], fills[5:10], fills[10:]
    assert len(third) == 5 and len(state.unknown_orders()) == 5 and not state.account.fills
    for part in (third, first, third, second):
        broker.tell(*part)
    running.to(MONDAY, "09:37")
    assert state.account.fills == 15 and {order.state for order in state.orders.values()} == {OrderState.FILLED}
    assert_same_books(running)
    broker.fail_reads("")
    running.to(MONDAY, "09:50")
    assert state.reconciled_clean and not state.unknown_orders()
    messages = running.kill()
    assert_once(messages)
    assert len(broker.sent) == 5 and not halts(messages)


def test_scenario_02_submit_times_out_and_the_order_never_existed(life):
    """Submit times out; order never existed; order book read fails twice, then succeeds."""
    running = life(at(MONDAY, "09:00"), past=history(), model=LOST_REQUEST, broker=Wire).to(MONDAY, "09:19")
    broker, state = running.broker, running.core.state
    running.clock.call_at(at(MONDAY, "09:20"), setattr, broker, "failing", 2)
    running.play(bars(MONDAY, "09:25")).to(MONDAY, "11:00")
    assert broker.failing == 0
    assert len(state.unknown_orders()) == 5, "an order book without it proves nothing on the same day: books lag"
    assert not state.account.fills and len(broker.sent) == 5, "and nothing is sent again"
    running.play(bars(MONDAY, "15:30")).to(MONDAY, "15:50")
    assert {order.state for order in state.orders.values()} <= {OrderState.EXPIRED} and not state.unknown_orders()
    broker.model = FillModel()
    running.play(bars(TUESDAY, "09:18"), bars(TUESDAY, "09:25")).to(TUESDAY, "09:40")
    assert all(state.account.quantity(symbol) for symbol in SYMBOLS), "the next rebalance makes it good"
    assert_same_books(running)
    messages = running.kill()
    assert_once(messages)
    failed = [message for message in of(messages, AccountRead) if "504" in message.unknown]
    assert len(failed) == 2 and not halts(messages)


def test_scenario_03_a_cancel_is_accepted_after_the_order_has_filled(life):
    """Cancel accepted after the order filled."""
    running = life(at(MONDAY, "09:00"), past=history(), broker=Wire).to(MONDAY, "09:21")
    broker, state = running.broker, running.core.state
    broker.passes = lambda report: False
    running.play(bars(MONDAY, "09:27")).to(MONDAY, "09:28")
    assert all(order.status == "complete" for order in broker.order_book()) and len(state.open_orders()) == 5
    ask(running, "cancel", reason="too late")
    broker.tell(*(OrderReport(o.tag, o.symbol, o.side, ReportKind.CANCELLED) for o in state.open_orders()))
    running.to(MONDAY, "09:29")
    assert not state.open_orders() and state.account.fills == 5, "the trade book knows better"
    broker.tell(*[report for report in broker.held if report.kind is ReportKind.FILL])
    moment(running, MONDAY, "09:29", 1)
    assert state.account.fills == 5
    assert_same_books(running)
    running.to(MONDAY, "10:00")
    messages = running.kill()
    assert_once(messages)
    assert halts(messages) == ["STOP_CANCEL"], "a fill after a cancel is no contradiction"


def test_scenario_04_no_name_service_for_twenty_minutes_with_six_working_orders(life):
    """DNS down for 20 minutes with six working orders: five of ours, and one of the owner's by hand."""
    running = life(at(MONDAY, "09:00"), past=history(), model=RESTING, broker=Wire).to(MONDAY, "09:25")
    broker, state = running.broker, running.core.state
    by_hand = broker.order_by_hand("SBIN", Side.BUY, 3, rupees(1_001))
    running.to(MONDAY, "09:31")
    assert [order.status for order in broker.order_book()] == ["open"] * 6
    broker.passes, broker.cancels_arrive = lambda report: False, False
    broker.fail_reads("Temporary failure in name resolution")
    running.core.bus.post(Lane.BROKER, BrokerConnection(connected=False, detail="name resolution"))
    broker.model = FillModel(participation=0.000065)
    two = ("KOTAKBANK", "SBIN")
    running.play(bars(MONDAY, "09:35"), bars(MONDAY, "09:40", (1000.0,) * 2, two)).to(MONDAY, "09:51")
    assert running.core.condition() == "BROKER_LOST" and "broker_lost" in state.conditions.held
    assert not {order.state for order in state.orders.values()} & TERMINAL, "silence is no cancel, and no rejection"
    assert not state.account.fills and len(broker.sent) == 5
    broker.passes, broker.cancels_arrive = lambda report: True, True
    broker.fail_reads("")
    running.core.bus.post(Lane.BROKER, BrokerConnection(connected=True))
    running.to(MONDAY, "09:53")
    assert state.account.fills == 8 and state.reconciled_clean and not state.conditions.held
    assert_same_books(running)
    running.to(MONDAY, "10:30")
    assert [order.status for order in broker.order_book()] == [*["cancelled"] * 3, *["complete"] * 3]
    assert not state.open_orders() and by_hand in {order.broker_order_id for order in broker.order_book()}
    messages = running.kill()
    assert_once(messages)
    assert not halts(messages) and of(messages, ManualTrades)


def test_scenario_05_the_stream_drops_fills_while_its_heartbeats_continue(life):
    """Stream drops fills, heartbeats continue."""
    running = life(at(MONDAY, "09:00"), past=history(), broker=Wire).to(MONDAY, "09:19")
    broker, state = running.broker, running.core.state
    broker.passes = lambda report: report.kind is not ReportKind.FILL
    running.play(bars(MONDAY, "09:27")).to(MONDAY, "09:28")
    assert broker.account.fills == 5 and not state.account.fills and state.evidence.connected
    running.to(MONDAY, "09:31")
    assert state.account.fills == 5, "the timer's look at the books finds them"
    assert_same_books(running)
    messages = running.kill()
    assert_once(messages)
    assert {m.source for m in of(messages, OrderReports) if any(r.kind is ReportKind.FILL for r in m.reports)} == {
        "reconcile"
    }
    assert not halts(messages) and of(messages, PlanClosed)[0].residuals == {}


def test_scenario_06_the_position_query_fails_at_start(life):
    """Position query fails at start."""
    bought(life).kill()
    again = life(at(MONDAY, "10:00"), unreadable="500").play(bars(TUESDAY, "09:18")).to(TUESDAY, "09:30")
    state = again.core.state
    assert not state.reconciled_clean and again.core.condition() == "BROKER_LOST"
    assert state.account.quantity("SBIN") > 0, "unknown is not flat"
    again.to(TUESDAY, "10:30")
    decided = of(again.kill(), Decided)
    assert [d.outcome for d in decided] == [Outcome.APPROVED, Outcome.SKIPPED]


def test_scenario_06_the_position_query_returns_an_empty_list(life):
    """Query returns an empty list although shares are held: nobody takes that for flat, or buys it all again."""
    running = bought(life, broker=Wire)
    held = dict(running.core.state.account.quantities)

    async def nothing():
        return Known(())

    running.broker.positions = nothing
    running.play(bars(MONDAY, "15:30"), bars(TUESDAY, "09:18")).to(TUESDAY, "10:30")
    assert running.core.state.account.quantities == held and len(running.broker.sent) == 5
    assert running.core.condition() == "HALTED" and "reconcile.difference" in events(running)
    assert "RECONCILE_DIFFERENCE" in halts(running.kill())


def test_scenario_06_the_position_query_returns_an_older_snapshot_after_a_newer_fill(life):
    """Query returns an older snapshot after a newer fill: read again, and neither a halt nor a correction."""
    running = life(at(MONDAY, "09:00"), past=history(), broker=Wire).to(MONDAY, "09:24")
    broker, state = running.broker, running.core.state
    old, fresh = broker.account.positions(), broker.positions

    async def older():
        return Known(old)

    broker.positions = older
    running.clock.call_at(at(MONDAY, "09:25") + 20 * 10**9, setattr, broker, "positions", fresh)
    running.play(bars(MONDAY, "09:25")).to(MONDAY, "09:28")
    assert state.account.fills == 5 and state.reconciled_clean
    assert_same_books(running)
    assert not halts(running.kill())


# ---- 7: kill -9 ------------------------------------------------------------------------------------------------------

THE_DAY = 2  # by then the account is invested, so that the day sells and buys


@dataclass
class Killer:
    """Kills the process of one day: at the `count`-th contact of a name, or in the middle of a record that `when` likes."""

    contact: str = ""
    count: int = 1
    when: object = None
    died: bool = False
    world: object = None

    def prepare(self, world):
        self.world = world
        world.on_day = self._on_day

    def _on_day(self, number):
        # A little of each order trades at the open and in each bar; the other days trade as usual.
        self.world.exchange.model = FillModel(participation=0.00002) if number == THE_DAY else FillModel()
        if number == THE_DAY:
            self.world.at(at(self.world.session, "09:19"), self._watch)

    def _watch(self):
        running = self.world.running
        bus, life = running.process.core.bus, running.life
        if self.contact:
            life.on_contact = self._on_contact
            return
        usual = bus.on_record

        def on_record(message, envelope):
            usual(message, envelope)
            if not self.died and self.when(message, running.process.core.state):
                self._die()
                raise Killed

        bus.on_record = on_record

    def _on_contact(self, life, name):
        if name == self.contact and not self.died:
            self.count -= 1
            if self.count == 0:
                self._die()

    def _die(self):
        self.died = True
        self.world.kill("kill -9")


def says(kind):
    return lambda message, state: isinstance(message, OrderReports) and any(r.kind is kind for r in message.reports)


def first_part(message, state):
    told = says(ReportKind.FILL)(message, state)
    return told and any(r.quantity < state.orders[r.tag].quantity for r in message.reports if r.kind is ReportKind.FILL)


def before_the_buys(message, state):
    sold = any(Phase.SELLS in run.tags for run in state.runs.values())
    return sold and isinstance(message, OrdersIntended) and message.phase is Phase.BUYS


KILLS = {
    "after the intent was written": {"contact": "an order is about to leave"},
    "after the order was posted": {"contact": "an order has left"},
    "after the acknowledgement": {"when": says(ReportKind.ACKNOWLEDGED)},
    "after the first partial fill": {"when": first_part},
    "between sells and buys": {"when": before_the_buys},
    "during the flush of the journal": {"contact": "a commit begins", "count": 2},
    "after the flush, before anybody knows": {"contact": "a commit is on disk, and nobody knows", "count": 2},
}


@pytest.mark.parametrize("where", KILLS)
def test_scenario_07_kill_nine(where):
    """Kill -9 after intent write, after POST, after ack, after first partial, between sells and buys, during journal flush."""
    killer = Killer(**KILLS[where])
    told = run_seed(4, days=6, profile="none", prepare=killer.prepare, story=True)
    assert killer.died and told.crashes == 1 and told.broken == []
    tags = [line.rsplit("(", 1)[1] for line in told.story if "the daemon sends" in line]
    assert len(tags) == len(set(tags)) and len(tags) > 10
    ours, theirs = killer.world.running.process.core.state.account, killer.world.exchange.account
    assert ours.quantities == theirs.quantities and ours.cash == theirs.cash


# ---- plans that cannot be done as they were meant --------------------------------------------------------------------


def test_scenario_14_without_the_depository_authorisation_sells_are_refused_and_no_buys_go(life):
    """Depository authorisation missing: sells refused, buys must not be sent.

    The authorisation itself is a matter of the real broker; here its refusal of every sale is played. What is bought all
    the same is the share or two that the cash above the reserve had been enough for without any sale.
    """
    running = invested(life, ROTATED)
    broker, state = running.broker, running.core.state
    before = dict(state.account.quantities)
    free = state.account.cash - 0.05 * state.equity()
    assert free < rupees(5_000)
    broker.refuses = lambda order: "depository authorisation is missing" if order.side is Side.SELL else ""
    running.play(bars(WEDNESDAY, "09:25")).to(WEDNESDAY, "15:20")
    todays = [state.orders[tag] for tag in broker.sent]
    sells = [order for order in todays if order.side is Side.SELL]
    assert len(sells) == 2 and {order.state for order in sells} == {OrderState.REJECTED}
    bought_for = sum(order.quantity * order.limit for order in todays if order.side is Side.BUY)
    assert bought_for <= free and all(state.account.quantity(symbol) >= shares for symbol, shares in before.items())
    messages = running.kill()
    assert_once(messages)
    closed = of(messages, PlanClosed)[-1]
    assert closed.residuals["AXISBANK"] < 0 < closed.residuals["SBIN"]


def test_scenario_15_sells_are_done_in_part_at_the_deadline(life):
    """Partial sells at the deadline: buys scaled to confirmed cash, residual carried with reason."""
    running = invested(life, ROTATED)
    broker, state = running.broker, running.core.state
    cash = state.account.available
    broker.model = FORTY_A_BAR
    running.play(bars(WEDNESDAY, "09:25")).to(WEDNESDAY, "09:49")
    sold = sum(trade.quantity * trade.price for trade in broker.trade_book())
    assert sold > 0 and {order.side for order in state.open_orders()} == {Side.SELL}
    moment(running, WEDNESDAY, "09:50", 5)
    buys = [order for order in state.open_orders() if order.side is Side.BUY]
    spent = sum(order.quantity * order.limit for order in buys)
    assert buys and spent <= cash + sold, "nothing is bought for money that is not there yet"
    running.to(WEDNESDAY, "10:30")
    assert_same_books(running)
    messages = running.kill()
    assert_once(messages)
    closed = of(messages, PlanClosed)[-1]
    assert closed.residuals["AXISBANK"] < 0 < closed.residuals["SBIN"] and closed.tracking_error > 0.01


def test_scenario_21_the_owner_trades_by_hand_during_the_session(life):
    """Manual trade placed by the owner in the broker's app during the session."""
    running = bought(life, broker=Wire)
    broker, state = running.broker, running.core.state
    broker.trade_by_hand("SBIN", Side.SELL, 40, rupees(1_002))
    running.to(MONDAY, "09:46")
    assert_same_books(running)
    assert not state.halts and "reconcile.manual_trade" in events(running)
    running.play(bars(MONDAY, "15:30"), bars(TUESDAY, "09:18"), bars(TUESDAY, "09:25")).to(TUESDAY, "09:40")
    quantities = [state.account.quantity(symbol) for symbol in SYMBOLS]
    assert max(quantities) - min(quantities) <= 1, "the next rebalance starts from what is really held"
    assert_same_books(running)
    messages = running.kill()
    assert_once(messages)
    (manual,) = of(messages, ManualTrades)
    assert [(trade.symbol, trade.quantity) for trade in manual.trades] == [("SBIN", 40)]


def test_scenario_22_eleven_orders_are_needed_in_one_second(life, monkeypatch):
    """11 orders needed in one second: governor spreads them over calendar seconds."""
    eleven = tuple(f"SHARE{number:02d}" for number in range(11))
    monkeypatch.setattr(stage_of_life, "SYMBOLS", eleven)
    strategy = Script((0.08,) * 11)
    strategy.symbols = eleven
    past = history()
    past = type(past)(sha256="h", end_ns=past.end_ns, sessions=past.sessions, closes=(1000.0,) * 11)
    free = limits(position_limits__min_weight_per_stock=0.0)
    running = life(at(MONDAY, "09:00"), past=past, strategy=strategy, limits=free, broker=Wire)
    running.play(bars(MONDAY, "09:25", (1000.0,) * 11, eleven)).to(MONDAY, "09:26")
    seconds = [order.at_ns // 10**9 for order in running.broker.order_book()]
    assert len(seconds) == 11 and max(map(seconds.count, seconds)) <= 10 and max(seconds) - min(seconds) <= 2
    assert running.core.state.account.fills == 11
    assert_same_books(running)
    assert_once(running.kill())
