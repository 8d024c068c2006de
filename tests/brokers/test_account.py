"""The account: money and shares to the paisa, settlement, and honesty about what should not be."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.account import Account, AccountState, Anomaly, AnomalyKind, settlement_sessions
from brokers.charges import DeliveryCharges
from brokers.port import Position
from market.errors import BadInput
from market.money import Paise, rupees
from risk.approval import Side

MONDAY = date(2026, 11, 16)
CHARGES = DeliveryCharges.default()


class Ledger(Account):
    """An account with a short way to trade: `buy(quantity, price in rupees)`."""

    def trade(self, side: Side, quantity: int, price: float, *, symbol: str = "SBIN", trade: str = "") -> Paise:
        assert self.session is not None
        return self.apply_fill(
            symbol=symbol,
            side=side,
            quantity=quantity,
            price=rupees(price),
            session=self.session,
            trade_id=trade or f"auto{self.fills}",
        )


def account(cash: float = 100_000, day: date = MONDAY) -> Ledger:
    it = Ledger(rupees(cash), CHARGES)
    it.start_session(day)
    return it


def day(n: int) -> date:
    return MONDAY + timedelta(n)


def test_a_purchase_costs_its_value_and_charges_at_once() -> None:
    it = account(200_000)
    assert it.trade(Side.BUY, 100, 1_000.0) == rupees(118.74)
    assert it.cash == it.available == rupees(200_000 - 100_000 - 118.74)
    assert it.positions() == (Position("SBIN", settled=0, unsettled=100),)
    assert it.average_cost("SBIN") == 100_000
    assert (it.charges_paid, it.traded, it.fills) == (rupees(118.74), rupees(100_000), 1)


def test_proceeds_of_delivered_shares_are_spent_the_same_day() -> None:
    it = account(200_000)
    it.trade(Side.BUY, 100, 1_000.0)
    it.start_session(day(1))
    assert it.positions() == (Position("SBIN", settled=100, unsettled=0),)
    before = it.available
    it.trade(Side.SELL, 100, 1_000.0)
    assert it.available == before + rupees(100_000 - 119.08)
    assert it.positions() == ()


def test_proceeds_of_undelivered_shares_wait_for_the_next_session() -> None:
    it = account(200_000, day=date(2022, 3, 1))  # two sessions to delivery
    it.trade(Side.BUY, 100, 1_000.0)
    it.start_session(date(2022, 3, 2))
    before = it.available
    it.trade(Side.SELL, 60, 1_000.0)
    assert it.cash > before and it.available < before  # the money is there, and cannot be spent
    assert it.positions() == (Position("SBIN", settled=0, unsettled=40),)
    it.start_session(date(2022, 3, 3))
    assert it.available == it.cash
    assert it.positions() == (Position("SBIN", settled=40, unsettled=0),)


def test_delivered_shares_are_sold_first() -> None:
    it = account(500_000)
    it.trade(Side.BUY, 100, 1_000.0)
    it.start_session(day(1))
    it.trade(Side.BUY, 50, 1_000.0)
    it.trade(Side.SELL, 100, 1_000.0)
    assert it.available == it.cash and it.positions() == (Position("SBIN", settled=0, unsettled=50),)
    it.trade(Side.SELL, 20, 1_000.0)
    assert it.cash - it.available == rupees(20_000)


def test_delivery_took_two_sessions_before_2023() -> None:
    assert settlement_sessions(date(2023, 1, 25)) == 2 and settlement_sessions(date(2023, 1, 27)) == 1
    it = account(500_000, day=date(2023, 1, 25))
    it.trade(Side.BUY, 10, 1_000.0)
    it.start_session(date(2023, 1, 27))
    it.trade(Side.BUY, 5, 1_000.0)
    assert it.positions() == (Position("SBIN", settled=0, unsettled=15),)
    it.start_session(date(2023, 1, 30))
    assert it.positions() == (Position("SBIN", settled=15, unsettled=0),)


def test_sessions_that_nobody_watched_deliver_too_when_they_are_told() -> None:
    it = account(500_000, day=date(2022, 3, 1))
    it.trade(Side.BUY, 10, 1_000.0)
    it.start_session(date(2022, 3, 10), elapsed=6)
    assert it.positions() == (Position("SBIN", settled=10, unsettled=0),)


def test_the_depository_charge_comes_once_a_symbol_and_day() -> None:
    it = account(500_000)
    it.trade(Side.BUY, 100, 100.0)
    it.trade(Side.BUY, 100, 100.0, symbol="INFY")
    it.start_session(day(1))
    first, second = it.trade(Side.SELL, 10, 100.0), it.trade(Side.SELL, 10, 100.0)
    assert first - second == 1_534
    assert it.trade(Side.SELL, 10, 100.0, symbol="INFY") == first
    it.start_session(day(2))
    assert it.trade(Side.SELL, 10, 100.0) == first


def test_a_trade_id_counts_once_in_its_session_and_again_in_another() -> None:
    it = account()
    assert it.trade(Side.BUY, 10, 100.0, trade="7") > 0
    assert it.trade(Side.BUY, 10, 100.0, trade="7") == 0
    assert it.quantity("SBIN") == 10 and it.fills == 1
    it.start_session(day(1))
    assert it.trade(Side.BUY, 10, 100.0, trade="7") > 0  # exchanges number trades by day
    assert it.quantity("SBIN") == 20


def test_late_news_of_yesterday_is_booked_once_with_yesterdays_ids() -> None:
    it = account()
    it.trade(Side.BUY, 10, 100.0, trade="7")
    it.start_session(day(1))
    late = {"symbol": "SBIN", "side": Side.BUY, "quantity": 10, "price": rupees(100), "session": MONDAY}
    assert it.apply_fill(**late, trade_id="7") == 0
    assert it.apply_fill(**late, trade_id="8") > 0
    assert it.apply_fill(**late, trade_id="8") == 0
    it.start_session(day(2))
    with pytest.raises(BadInput, match="too late"):
        it.apply_fill(**late, trade_id="9")
    assert it.quantity("SBIN") == 20


def test_memory_of_trade_ids_is_bounded() -> None:
    it = account(10_000_000)
    for n in range(1, 40):
        it.start_session(day(n))
        for k in range(5):
            it.trade(Side.BUY, 1, 100.0, trade=f"{k}")
    assert sum(len(item.trade_ids) for item in it.to_state().days) == 10


def test_a_sale_of_what_is_not_there_is_recorded_and_flagged() -> None:
    it = account()
    it.trade(Side.SELL, 10, 100.0)
    assert it.quantity("SBIN") == -10 and it.available < it.cash
    assert it.anomalies() == (Anomaly(AnomalyKind.OVERSOLD, "SBIN", -10),)
    it.trade(Side.BUY, 15, 90.0)
    assert it.anomalies() == () and it.positions() == (Position("SBIN", settled=0, unsettled=5),)
    assert it.average_cost("SBIN") == 9_000


def test_a_purchase_without_funds_is_recorded_and_flagged() -> None:
    it = account(1_000)
    it.trade(Side.BUY, 11, 100.0)
    assert it.cash < 0 and it.anomalies() == (Anomaly(AnomalyKind.NEGATIVE_CASH, "", it.cash),)


def test_realised_profit_is_against_the_average_cost() -> None:
    it = account(1_000_000)
    it.trade(Side.BUY, 100, 100.0)
    it.trade(Side.BUY, 100, 120.0)
    assert it.average_cost("SBIN") == 11_000
    it.start_session(day(1))
    it.trade(Side.SELL, 50, 130.0)
    assert it.realised == rupees(50 * 20.0) and it.average_cost("SBIN") == 11_000
    assert it.average_cost("INFY") is None


def test_equity_needs_a_price_for_all_that_is_held() -> None:
    it = account()
    it.trade(Side.BUY, 10, 100.0)
    assert it.equity({"SBIN": rupees(110)}) == it.cash + rupees(1_100)
    with pytest.raises(BadInput, match="SBIN"):
        it.equity({"INFY": rupees(110)})


def test_corrections_are_explicit_and_have_a_cause() -> None:
    it = account()
    it.trade(Side.BUY, 10, 100.0)
    cash = it.cash
    it.correct(symbol="SBIN", delta=10, cause="bonus 1:1")
    it.correct(delta=500, cause="interest")
    assert it.quantity("SBIN") == 20 and it.cash == cash + 500
    assert it.average_cost("SBIN") == 5_000
    it.correct(symbol="SBIN", delta=-15, cause="the broker's books say 5")
    assert it.positions() == (Position("SBIN", settled=0, unsettled=5),)
    assert [item.cause for item in it.corrections] == ["bonus 1:1", "interest", "the broker's books say 5"]
    with pytest.raises(BadInput, match="cause"):
        it.correct(delta=1, cause="")


def test_shares_that_a_correction_takes_away_leave_the_cost_of_the_others_as_it_was() -> None:
    it = account()
    it.trade(Side.BUY, 10, 100.0)
    it.correct(symbol="SBIN", delta=-4, cause="sold by hand, and nobody told us")
    assert it.quantity("SBIN") == 6 and it.average_cost("SBIN") == 10_000
    it.correct(symbol="SBIN", delta=6, cause="bought by hand", price=Paise(20_000))
    assert it.average_cost("SBIN") == 15_000


def test_a_copy_is_the_same_and_goes_its_own_way() -> None:
    it = account()
    it.trade(Side.BUY, 10, 100.0)
    copy = it.copy()
    assert copy.to_state() == it.to_state()
    copy.correct(symbol="SBIN", delta=1, cause="only there")
    assert it.quantity("SBIN") == 10 and copy.quantity("SBIN") == 11


@pytest.mark.parametrize(("quantity", "price", "trade"), [(0, 100, "1"), (-1, 100, "1"), (1, 0, "1"), (1, 100, "")])
def test_what_is_no_trade_is_refused(quantity: int, price: int, trade: str) -> None:
    it = account()
    with pytest.raises(BadInput):
        it.apply_fill(
            symbol="SBIN", side=Side.BUY, quantity=quantity, price=Paise(price), session=MONDAY, trade_id=trade
        )
    assert it.quantities == {} and it.cash == rupees(100_000)


def test_time_does_not_run_backwards() -> None:
    it = account()
    it.start_session(MONDAY)  # again: harmless
    with pytest.raises(BadInput):
        it.start_session(MONDAY - timedelta(1))
    with pytest.raises(BadInput):
        it.start_session(day(1), elapsed=0)


trades = st.lists(
    st.tuples(
        st.sampled_from(["SBIN", "INFY", "M&M"]),
        st.sampled_from(Side),
        st.integers(1, 500),
        st.integers(1, 500_000),
        st.integers(0, 2),  # sessions until this trade
        st.integers(0, 30),  # trade id: may repeat
    ),
    max_size=30,
)


def play(steps: list[tuple[str, Side, int, int, int, int]], *, reload: bool) -> Account:
    it = Account(rupees(1_000_000), CHARGES)
    today = date(2023, 1, 20)
    it.start_session(today)
    cash = charges = traded = 0
    positions: dict[str, int] = {}
    seen: set[tuple[date, int]] = set()
    for symbol, side, quantity, price, wait, number in steps:
        for _ in range(wait):
            today += timedelta(1)
            it.start_session(today)
        paid = it.apply_fill(
            symbol=symbol, side=side, quantity=quantity, price=Paise(price), session=today, trade_id=f"{number}"
        )
        if (today, number) in seen:
            assert paid == 0
        else:
            seen.add((today, number))
            sign = 1 if side is Side.BUY else -1
            cash -= sign * quantity * price + paid
            positions[symbol] = positions.get(symbol, 0) + sign * quantity
            charges += paid
            traded += quantity * price
        if reload:
            it = Account.from_state(msgspec.json.decode(msgspec.json.encode(it.to_state()), type=AccountState), CHARGES)
        assert it.cash == rupees(1_000_000) + cash
        assert it.charges_paid == charges and it.traded == traded
        assert it.quantities == positions
        listed = {position.symbol: position.quantity for position in it.positions()}
        assert listed == {symbol: held for symbol, held in positions.items() if held}
        assert it.available <= it.cash
        for position in it.positions():
            assert position.unsettled >= 0  # only delivered shares can be missing
    return it


@given(trades)
def test_cash_and_positions_are_the_sum_of_what_happened(steps: list[tuple[str, Side, int, int, int, int]]) -> None:
    play(steps, reload=False)


@given(trades)
def test_an_account_that_is_saved_and_loaded_at_every_step_ends_the_same(
    steps: list[tuple[str, Side, int, int, int, int]],
) -> None:
    assert msgspec.json.encode(play(steps, reload=True).to_state(), order="sorted") == msgspec.json.encode(
        play(steps, reload=False).to_state(), order="sorted"
    )


@given(
    st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 50), st.integers(1, 500_000)), min_size=1, max_size=8),
    st.data(),
)
def test_the_order_of_a_days_trades_does_not_matter_to_cash_shares_and_charges(
    fills: list[tuple[Side, int, int]], data: st.DataObject
) -> None:
    ends = []
    for sequence in (list(enumerate(fills)), data.draw(st.permutations(list(enumerate(fills))))):
        it = account(1_000_000)
        it.trade(Side.BUY, 60, 100.0, trade="before")
        it.start_session(day(1))
        for number, (side, quantity, price) in sequence:
            it.trade(side, quantity, price / 100.0, trade=str(number))
        ends.append((it.cash, it.positions(), it.charges_paid, it.traded))
    assert ends[0] == ends[1]
