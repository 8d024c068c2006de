"""Splits and bonus issues, and cash paid in or out, through the whole daemon: neither is profit or loss, and both happen
once whatever moment a kill chooses."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.charges import DeliveryCharges
from brokers.orders import Order
from brokers.port import OrderReport, ReportKind
from daemon.agenda import Agenda
from daemon.bus import Envelope
from daemon.messages import (
    BreakerReleased,
    BreakerTripped,
    CashMoved,
    CorporateActionApplied,
    DaemonStarted,
    Halted,
    HistoryLoaded,
    Lane,
    OrderReports,
    Reconciled,
    SessionClosed,
    SessionOpened,
)
from daemon.report import Story, baseline_results
from daemon.settings import DaemonSettings
from daemon.state import State
from daemon.unit_history import UnitHistory
from market.corporate_actions import ActionKind, ActionTable, CorporateAction
from market.instrument import Instrument
from market.money import Paise, rupees
from risk.approval import Side
from risk.breakers.daily_loss import DailyLoss
from risk.limits import load_limits
from tests.daemon.life import (
    CALENDAR,
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
    of,
    reconcile,
)

BONUS = CorporateAction(TUESDAY, "SBIN", ActionKind.BONUS, 2, 1)
TABLE = ActionTable([BONUS])
BEFORE, AFTER = (1000.0,) * 5, (1000.0,) * 4 + (500.0,)
LIMITS = load_limits("production/config/risk_limits.yaml", mode="paper")


def monday(life, **more):
    """Buy on Monday and see the session closed."""
    running = life(at(MONDAY, "09:00"), past=history(), **more)
    running.play(bars(MONDAY, "09:25"), bars(MONDAY, "15:30")).to(MONDAY, "16:00")
    assert running.core.state.account.quantity("SBIN") > 0
    return running


def used(running):
    return {verdict.name: verdict.used for verdict in running.core.state.guard.board.verdicts}


def assert_equal_books(running):
    ours, theirs = running.core.state.account, running.broker.account
    assert (ours.cash, ours.quantities) == (theirs.cash, theirs.quantities)


# ---- corporate actions -----------------------------------------------------------------------------------------------


def test_a_bonus_issue_overnight_is_in_the_books_before_the_session_and_no_breaker_moves(life):
    running = monday(life, actions=TABLE)
    state = running.core.state
    shares, equity, before = state.account.quantity("SBIN"), state.equity(), used(running)
    running.play(bars(TUESDAY, "09:18", AFTER)).to(TUESDAY, "09:19")
    assert state.account.quantity("SBIN") == 2 * shares and state.equity() == equity
    assert state.view.closes[:, SYMBOLS.index("SBIN")].tolist() == [500.0, 500.0]
    now = used(running)
    for name in ("single_stock_loss", "drawdown", "portfolio_value"):
        assert now[name] == pytest.approx(before[name])
    assert now["daily_loss"] == 0.0
    running.play(bars(TUESDAY, "15:30", AFTER)).to(TUESDAY, "15:45")
    assert_equal_books(running)
    messages = running.kill()
    assert not of(messages, BreakerTripped) and not of(messages, Halted)
    around = [m for m in messages if isinstance(m, CorporateActionApplied | SessionOpened)]
    assert [type(m) for m in around] == [SessionOpened, CorporateActionApplied, SessionOpened]
    assert state.history.returns[-1] == pytest.approx(0.0, abs=1e-4)


def test_without_the_table_the_same_day_looks_like_a_crash(life):
    running = monday(life)
    running.play(bars(TUESDAY, "09:18", AFTER)).to(TUESDAY, "09:19")
    tripped = {message.name for message in of(running.kill(), BreakerTripped)}
    assert {"daily_loss", "single_stock_loss"} <= tripped


def test_a_real_fall_on_the_ex_date_still_trips(life):
    running = monday(life, actions=TABLE)
    running.play(bars(TUESDAY, "09:18", (*AFTER[:4], 455.0))).to(TUESDAY, "09:19")
    tripped = of(running.kill(), BreakerTripped)
    assert [(message.name, message.detail) for message in tripped] == [("single_stock_loss", "SBIN")]


# The broker acts at the open, so that alone it cannot be ahead of the record before that.
@pytest.mark.parametrize(
    ("side", "back"),
    [
        ("record", "09:05"),
        ("record", "09:16"),
        ("record", "11:00"),
        ("broker", "09:16"),
        ("broker", "11:00"),
        ("broker", "18:00"),
    ],
)
def test_a_kill_between_record_and_broker_leaves_both_equal(life, side, back):
    first = monday(life, actions=TABLE)
    shares = first.core.state.account.quantity("SBIN")
    first.to(TUESDAY, "09:02")
    if side == "record":
        record = CorporateActionApplied(
            session=TUESDAY, ex_date=TUESDAY, symbol="SBIN", kind=ActionKind.BONUS, numerator=2, denominator=1
        )
        first.core.bus.post(Lane.TIMER, record)
        first.to(TUESDAY, "09:03")
    else:
        first.broker.apply_action(BONUS)
    first.kill()
    again = life(at(TUESDAY, back), actions=TABLE).to(TUESDAY, "18:10")
    assert again.core.state.account.quantity("SBIN") == 2 * shares
    assert_equal_books(again)
    messages = again.kill()
    assert not of(messages, Halted) and all(message.clean for message in of(messages, Reconciled))


def test_an_ex_date_without_a_daemon_is_made_up_for_once(life):
    first = monday(life, actions=TABLE)
    shares = first.core.state.account.quantity("SBIN")
    first.kill()
    second = life(at(WEDNESDAY, "11:00"), actions=TABLE).play(bars(WEDNESDAY, "11:05", AFTER)).to(WEDNESDAY, "11:10")
    assert second.core.state.account.quantity("SBIN") == 2 * shares
    second.kill()
    third = life(at(WEDNESDAY, "11:20"), actions=TABLE).to(WEDNESDAY, "11:30")
    assert third.core.state.account.quantity("SBIN") == 2 * shares
    assert_equal_books(third)
    messages = third.kill()
    assert len(of(messages, CorporateActionApplied)) == 1
    assert not of(messages, BreakerTripped) and not of(messages, Halted)


def test_history_of_the_missed_ex_date_and_late_bars_of_before_are_on_one_basis(life):
    first = monday(life, actions=TABLE)
    equity = first.core.state.equity()
    first.kill()
    # The data file has Tuesday by now, and is adjusted up to its last day: Tuesday's row is on the new basis.
    past = HistoryLoaded(sha256="h", end_ns=at(TUESDAY, "15:30"), sessions=(TUESDAY,), closes=AFTER)
    again = life(at(WEDNESDAY, "09:00"), past=past, actions=TABLE).to(WEDNESDAY, "09:10")
    state = again.core.state
    assert state.view.closes[:, SYMBOLS.index("SBIN")].tolist() == [500.0, 500.0, 500.0]
    assert state.equity() == equity
    assert_equal_books(again)
    messages = again.kill()
    kinds = [type(m) for m in messages if isinstance(m, CorporateActionApplied | HistoryLoaded)]
    assert kinds == [HistoryLoaded, CorporateActionApplied, HistoryLoaded]


def test_late_bars_of_a_session_before_the_ex_date_do_not_double_the_equity(life):
    running = life(at(MONDAY, "09:00"), past=history(), actions=TABLE).play(bars(MONDAY, "09:25")).to(MONDAY, "12:00")
    equity = running.core.state.equity()
    running.kill()
    again = life(at(TUESDAY, "11:00"), actions=TABLE)
    again.core.bus.post(Lane.MARKET, bars(MONDAY, "15:30", BEFORE))
    again.to(TUESDAY, "11:01")
    assert again.core.state.equity() == equity
    again.kill()


def test_an_action_that_comes_into_the_table_too_late_is_named_and_not_applied(life):
    monday(life).play(bars(TUESDAY, "09:18")).to(TUESDAY, "09:19").kill()
    again = life(at(TUESDAY, "11:00"), actions=TABLE)
    assert again.books.late() == [BONUS]
    again.to(TUESDAY, "11:10")
    assert not of(again.kill(), CorporateActionApplied)


class Fold:
    """A state of one symbol that is fed records by hand."""

    def __init__(self, *, quantity, price):
        self.seq = 0
        self.state = State(
            symbols=("SBIN",),
            charges=DeliveryCharges.default(),
            agenda=Agenda(()),
            limits=LIMITS,
        )
        self.reducers = {}
        self.state.wire(self)
        cash = rupees(2.0 * quantity * price)
        self.take(
            DaemonStarted(
                mode="paper", version="1", symbols=("SBIN",), opening_cash=cash, limits_version="1", strategy="x"
            )
        )
        self.take(SessionOpened(session=MONDAY, open_ns=0, close_ns=1))
        self.state.orders["tag"] = Order("tag", "plan", "SBIN", Side.BUY, quantity, rupees(price))
        fill = OrderReport("tag", "SBIN", Side.BUY, ReportKind.FILL, "b", "t", quantity, rupees(price), 1)
        self.take(OrderReports(reports=(fill,)))

    def reduce(self, kind, reducer):
        self.reducers.setdefault(kind, []).append(reducer)

    def take(self, message, clock="10:00", day=MONDAY):
        self.seq += 1
        for reducer in self.reducers[type(message)]:
            reducer(message, Envelope(self.seq, 0, at(day, clock)))

    def price(self, price, clock, day=MONDAY):
        self.take(bars(day, clock, (price,), ("SBIN",)), clock, day)
        # What the breakers' handler would put on record.
        board = self.state.guard.board
        free = board.releasable(at(day, clock))
        if free:
            self.take(BreakerReleased(names=free, approved_by=("0",)), clock, day)
        for trip in self.state.guard.board.due(at(day, clock)):
            self.take(BreakerTripped(name=trip.name, used=trip.used, limit=trip.limit), clock, day)

    def used(self):
        return {verdict.name: verdict.used for verdict in self.state.guard.board.verdicts}


@given(
    quantity=st.integers(50, 5_000),
    price=st.floats(100.0, 5_000.0).map(lambda value: round(value, 2)),
    moved=st.floats(0.93, 1.1),
    numerator=st.integers(1, 20),
    denominator=st.integers(1, 10),
)
@settings(deadline=None)
def test_any_action_leaves_equity_drawdown_and_single_stock_loss_as_they_were(
    quantity, price, moved, numerator, denominator
):
    fold = Fold(quantity=quantity, price=price)
    last = round(price * moved, 2)
    fold.price(last, "10:05")
    fold.take(SessionClosed(session=MONDAY))
    equity, before = fold.state.equity(), fold.used()
    factor = numerator / denominator
    action = {"symbol": "SBIN", "kind": ActionKind.SPLIT, "numerator": numerator, "denominator": denominator}
    fold.take(CorporateActionApplied(session=TUESDAY, ex_date=TUESDAY, **action), day=TUESDAY)
    fold.take(CorporateActionApplied(session=TUESDAY, ex_date=TUESDAY, **action), day=TUESDAY)
    fold.take(SessionOpened(session=TUESDAY, open_ns=0, close_ns=1), day=TUESDAY)
    fold.price(last / factor, "10:05", TUESDAY)
    # A fraction of a share at most, and half a paisa on each share: prices are whole paise.
    shares = fold.state.account.quantity("SBIN")
    assert shares == quantity * numerator // denominator
    tolerance = last / factor * 100.0 + 0.5 * shares + 0.5 * quantity + 1
    assert abs(fold.state.equity() - equity) <= tolerance
    now = fold.used()
    worth = tolerance / equity
    assert now["drawdown"] == pytest.approx(before["drawdown"], abs=2 * worth)
    paisa = 1.5 / (price / factor * 100.0)  # entry and last price are rounded to a paisa
    assert now["single_stock_loss"] == pytest.approx(before["single_stock_loss"], abs=2 * paisa)
    assert fold.state.history.returns == [pytest.approx(equity / fold.state.opening_cash - 1.0)]


def test_a_loss_that_a_person_accepted_stays_accepted_through_a_split():
    fold = Fold(quantity=7, price=1004.5)
    fold.price(900.0, "10:05")
    state = fold.state
    assert "single_stock_loss" in state.guard.board.latched
    state.guard.board = state.guard.board.approve(who="0", reason="seen", at_ns=at(MONDAY, "10:06"))
    fold.price(900.0, "10:10", WEDNESDAY)
    assert fold.used()["single_stock_loss"] == pytest.approx(0.0)
    fold.take(
        CorporateActionApplied(
            session=WEDNESDAY, ex_date=WEDNESDAY, symbol="SBIN", kind=ActionKind.SPLIT, numerator=3, denominator=1
        )
    )
    fold.price(300.0, "10:15", WEDNESDAY)
    assert fold.used()["single_stock_loss"] == pytest.approx(0.0, abs=1e-4)
    fold.price(270.0, "10:20", WEDNESDAY)
    assert fold.used()["single_stock_loss"] == pytest.approx(0.1, abs=1e-4)


def test_the_reports_baselines_go_through_the_same_action(life, tmp_path):
    running = monday(life, actions=TABLE)
    running.play(bars(TUESDAY, "09:18", AFTER), bars(TUESDAY, "15:30", AFTER)).to(TUESDAY, "16:00")
    running.kill()
    story = Story.read(tmp_path / "journal.sqlite")
    settings = DaemonSettings("test", "replay", tuple(map(Instrument, SYMBOLS)), rupees(1_000_000))
    (baseline,) = baseline_results(story, settings, CALENDAR, LIMITS, names=("equal_weight",))
    assert baseline.sessions == [MONDAY, TUESDAY] and baseline.core_state.account.quantity("SBIN") > 0
    assert baseline.tally.trips == [] and baseline.equity[-1] == pytest.approx(baseline.equity[0], rel=0.005)


# ---- cash ------------------------------------------------------------------------------------------------------------


def test_a_deposit_and_a_withdrawal_are_on_record_with_who_and_why_and_in_both_books(life):
    running = monday(life)
    cash = running.core.state.account.cash
    status, answer = ask(running, "cash/deposit", uid=4, reason="savings", amount=rupees(50_000))
    assert status == 200 and answer["moved"] == 50_000.0
    status, answer = ask(running, "cash/withdraw", uid=4, reason="fees", amount=rupees(20_000.55))
    assert status == 200 and answer["cash"] * 100 == pytest.approx(cash + rupees(29_999.45))
    assert_equal_books(running)
    account = running.core.state.account
    assert account.cash == cash + rupees(29_999.45)
    moved = sum(correction.delta for correction in account.corrections if not correction.symbol)
    assert moved == rupees(29_999.45) == running.core.state.history.net_deposits
    # Design, invariant 3, to the paisa; so far everything was a purchase.
    assert account.cash == rupees(1_000_000) - account.traded - account.charges_paid + moved
    running.core.bus.post(Lane.CONTROL, reconcile())
    running.to(MONDAY, "16:30")
    messages = running.kill()
    assert [(m.amount, m.uid, m.reason) for m in of(messages, CashMoved)] == [
        (rupees(50_000), 4, "savings"),
        (-rupees(20_000.55), 4, "fees"),
    ]
    assert of(messages, Reconciled)[-1].clean and not of(messages, Halted)


def test_what_cannot_be_withdrawn_is_refused_in_one_line_and_nothing_moves(life):
    running = monday(life)
    cash = running.core.state.account.cash
    status, answer = ask(running, "cash/withdraw", reason="all", amount=Paise(cash + 1))
    assert status == 409 and "is more than the Rs" in answer["error"]
    assert ask(running, "cash/withdraw", reason=" ", amount=rupees(1))[0] == 400
    assert ask(running, "cash/deposit", reason="nothing")[0] == 400
    assert running.core.state.account.cash == running.broker.account.cash == cash
    assert not of(running.kill(), CashMoved)
    empty = life(at(TUESDAY, "08:00"))
    assert ask(empty, "cash/withdraw", reason="at once", amount=rupees(1))[0] == 409  # nothing is reconciled yet
    empty.kill()


def test_an_account_is_not_emptied_under_its_breakers(life):
    running = life(at(MONDAY, "08:00"), past=history()).to(MONDAY, "08:05")
    status, answer = ask(running, "cash/withdraw", reason="all", amount=rupees(1_000_000))
    assert status == 409 and "nothing would be left" in answer["error"]
    running.kill()


def test_cash_of_open_purchases_is_not_withdrawn(life):
    running = life(at(MONDAY, "09:00"), past=history()).to(MONDAY, "09:22")
    taken = sum(order.remaining * order.limit for order in running.core.state.open_orders())
    cash = running.core.state.account.cash
    assert taken
    assert ask(running, "cash/withdraw", reason="x", amount=Paise(cash - taken))[0] == 409  # their charges come on top
    assert ask(running, "cash/withdraw", reason="x", amount=Paise(cash - taken - taken // 100))[0] == 200
    running.play(bars(MONDAY, "09:25")).to(MONDAY, "09:30")
    assert_equal_books(running)
    assert running.core.state.account.cash > 0
    running.kill()


def test_a_kill_between_the_record_and_the_broker_is_healed_before_the_first_comparison(life):
    first = monday(life)
    cash = first.core.state.account.cash
    first.core.edges.outside.move_cash = lambda effect: None  # killed here
    ask(first, "cash/deposit", reason="savings", amount=rupees(5_000))
    assert first.broker.account.cash == cash
    first.kill()
    for hour in ("18:00", "19:00"):  # once, also at the second start
        again = life(at(MONDAY, hour)).to(MONDAY, f"{hour[:2]}:05")
        assert again.core.state.account.cash == again.broker.account.cash == cash + rupees(5_000)
        messages = again.kill()
        assert of(messages, Reconciled)[-1].clean and not of(messages, Halted)


@pytest.mark.parametrize("when", ["12:00", "15:35", "18:00"], ids=["in the session", "after its last bar", "after it"])
def test_a_withdrawal_of_half_the_cash_trips_nothing_and_is_no_loss_of_the_next_day(life, when):
    running = life(at(MONDAY, "09:00"), past=history()).play(bars(MONDAY, "09:25"), bars(MONDAY, "15:30"))
    running.to(MONDAY, when)
    cash = running.core.state.account.cash
    assert ask(running, "cash/withdraw", reason="house", amount=Paise(cash // 2))[0] == 200
    running.play(bars(TUESDAY, "09:18"), bars(TUESDAY, "15:30")).to(TUESDAY, "16:00")
    state = running.core.state
    assert used(running)["daily_loss"] < 0.002 and used(running)["drawdown"] < 0.002
    assert len(state.history.returns) == 2 and all(abs(value) < 0.002 for value in state.history.returns)
    assert_equal_books(running)
    assert not of(running.kill(), BreakerTripped)


@pytest.mark.parametrize("when", ["12:00", "15:35", "18:00"], ids=["in the session", "after its last bar", "after it"])
def test_a_deposit_does_not_hide_a_loss_of_six_percent(life, when):
    running = life(at(MONDAY, "09:00"), past=history()).play(bars(MONDAY, "09:25"), bars(MONDAY, "15:30"))
    running.to(MONDAY, when)
    ask(running, "cash/deposit", reason="savings", amount=rupees(100_000))
    equity = running.core.state.equity()
    held = equity - running.core.state.account.cash
    fall = 0.06 * equity / held
    running.play(bars(TUESDAY, "09:18", (1000.0 * (1 - fall),) * 5)).to(TUESDAY, "09:19")
    assert used(running)["daily_loss"] == pytest.approx(0.06, abs=0.001)
    assert "daily_loss" in {message.name for message in of(running.kill(), BreakerTripped)}


def test_a_deposit_before_the_first_session_is_capital_from_the_start(life):
    running = life(at(MONDAY, "08:00"), past=history()).to(MONDAY, "08:05")
    ask(running, "cash/deposit", reason="more", amount=rupees(500_000))
    running.play(bars(MONDAY, "09:18"), bars(MONDAY, "15:30")).to(MONDAY, "16:00")
    assert all(value < 0.01 for value in used(running).values())
    assert running.core.state.history.returns[-1] == pytest.approx(0.0, abs=0.002)
    running.kill()


def test_a_withdrawal_after_a_loss_makes_it_no_larger_and_a_deposit_no_smaller(life):
    running = monday(life)
    equity = running.core.state.equity()
    held = equity - running.core.state.account.cash
    running.play(bars(TUESDAY, "09:18", (1000.0 * (1 - 0.04 * equity / held),) * 5)).to(TUESDAY, "09:19")
    ask(running, "cash/withdraw", reason="fear", amount=rupees(300_000))
    assert used(running)["daily_loss"] == pytest.approx(0.04, abs=0.001)
    ask(running, "cash/deposit", reason="hope", amount=rupees(500_000))
    assert used(running)["daily_loss"] == pytest.approx(0.04, abs=0.001)
    assert not of(running.kill(), BreakerTripped)


def test_returns_and_figures_are_time_weighted(life, tmp_path):
    from daemon.fold import fold_journal

    running = monday(life)
    held = running.core.state.equity() - running.core.state.account.cash
    before = running.core.state.equity()
    up = (1050.0,) * 5
    running.play(bars(TUESDAY, "12:00", up)).to(TUESDAY, "12:01")
    middle = running.core.state.equity()
    ask(running, "cash/deposit", reason="savings", amount=rupees(1_000_000))
    running.play(bars(TUESDAY, "15:30", (1000.0,) * 5)).to(TUESDAY, "16:00")
    state = running.core.state
    after = state.equity()
    expected = middle / before * after / (middle + rupees(1_000_000)) - 1.0
    assert held > 0 and state.history.returns[-1] == pytest.approx(expected)
    running.kill()
    instruments = tuple(map(Instrument, SYMBOLS))
    folded = fold_journal(
        tmp_path / "journal.sqlite",
        settings=DaemonSettings("test", "paper", instruments, rupees(1_000_000)),
        limits=LIMITS,
    )
    figures = folded.figures()
    assert figures["net_deposits"] == 1_000_000.0 and figures["final_equity"] == pytest.approx(after / 100)
    assert figures["return"] == pytest.approx((1 + state.history.returns[0]) * (1 + state.history.returns[1]) - 1)
    assert abs(figures["return"]) < 0.05
    assert folded.state.history.moves == state.history.moves and folded.state.account.cash == state.account.cash


def test_a_fold_of_the_journal_gives_the_same_breakers_and_units(life):
    first = monday(life, actions=TABLE)
    ask(first, "cash/deposit", reason="savings", amount=rupees(70_000))
    first.play(bars(TUESDAY, "09:18", AFTER)).to(TUESDAY, "09:40")
    state = first.core.state
    kept = (
        state.guard.board,
        state.account.to_state(),
        state.history.value_ratio(state.equity()),
        state.view.closes.tolist(),
    )
    first.kill()
    again = life(at(TUESDAY, "09:41"), actions=TABLE)
    state = again.core.state
    assert kept == (
        state.guard.board,
        state.account.to_state(),
        state.history.value_ratio(state.equity()),
        state.view.closes.tolist(),
    )
    again.to(TUESDAY, "09:42").kill()


def test_late_bars_of_before_a_bonus_raise_no_doubt_after_it(life):
    bought(life, actions=TABLE).play(bars(MONDAY, "15:00")).to(MONDAY, "15:01").kill()
    again = life(at(TUESDAY, "09:16"), actions=TABLE).to(TUESDAY, "09:17")
    before = again.core.state.equity()
    for clock in ("15:05", "15:10", "15:15", "15:20"):
        again._emit(bars(MONDAY, clock))
    again.to(TUESDAY, "09:18")
    assert not again.core.state.view.suspect and again.core.state.guard.board.latched == ()
    assert again.core.state.equity() == before
    again.kill()


def test_a_withdrawal_in_a_session_that_ends_without_a_known_equity_makes_no_loss_larger_on_the_next_day(life):
    quiet = limits(
        circuit_breakers__max_daily_loss_percent=30.0, circuit_breakers__max_weekly_loss_percent=90.0,
        circuit_breakers__max_drawdown_percent=90.0, circuit_breakers__max_single_stock_loss=90.0,
        circuit_breakers__min_portfolio_value_percent=1.0, circuit_breakers__max_daily_loss_absolute=900_000.0,
    )  # fmt: skip
    fell = (700.0,) * 5
    running = bought(life, limits=quiet).play(bars(MONDAY, "10:00", fell)).to(MONDAY, "10:01")
    state = running.core.state
    (before,) = [v.used for v in state.guard.board.verdicts if v.name == "daily_loss"]
    lost = rupees(1_000_000) - state.equity()
    assert ask(running, "cash/withdraw", reason="a car", amount=int(state.account.available * 0.95))[0] == 200
    # The last bar is beyond belief: the session has no close.
    running.play(bars(MONDAY, "15:30", (100.0, *fell[1:])), bars(TUESDAY, "09:18", fell)).to(TUESDAY, "09:19")
    assert state.history.equity == [] and state.equity() is not None
    (after,) = [v.used for v in state.guard.board.verdicts if v.name == "daily_loss"]
    assert after == pytest.approx(before, abs=1e-6)
    (breaker,) = [b for b in state.guard.board.breakers if isinstance(b, DailyLoss)]
    assert breaker.rupees - state.equity() == pytest.approx(lost, abs=1), "an amount in rupees stays that amount"
    running.kill()


def test_cash_that_is_moved_twice_before_a_price_is_known_counts_once_each():
    history = UnitHistory()
    history.start(rupees(100))
    for _ in range(2):
        history.move(CashMoved(amount=rupees(50), uid=0, reason="savings", sequence=1), None)
    assert history.value_ratio(rupees(200)) == pytest.approx(1.0) and history.unread == rupees(100)
