"""The paper broker: refuses what a broker refuses, fills what the market allows, and loses answers when told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import date, timedelta
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.account import Account
from brokers.charges import DeliveryCharges
from brokers.orders import Order, OrderState
from brokers.paper import FillModel, PaperBroker
from brokers.port import Broker, Funds, Known, OrderReport, ReportKind, Unknown
from market.bar import BarBatch, Interval
from market.errors import BadInput
from market.money import Paise, rupees
from risk.approval import ApprovedOrder, ProposedOrder, Side, _seal

T = TypeVar("T")
DAY = date(2026, 11, 20)
CHARGES = DeliveryCharges.default()
MINUTE = 60 * 10**9
OPEN_NS = 1_795_146_300 * 10**9  # 2026-11-20 09:15 IST
CLOSES = {"SBIN": 800.0, "INFY": 1_500.0}


def known(read: Coroutine[Any, Any, Known[T] | Unknown]) -> T:
    answer = asyncio.run(read)
    assert isinstance(answer, Known), answer
    return answer.value


def order(tag: str, side: Side, quantity: int, limit: float, *, symbol: str = "SBIN") -> ApprovedOrder:
    proposal = ProposedOrder(tag, "plan", symbol, side, quantity, rupees(limit))
    return _seal(proposal, limits_version="v1", priced_at_ns=0)


def buy(tag: str, quantity: int, limit: float, *, symbol: str = "SBIN") -> ApprovedOrder:
    return order(tag, Side.BUY, quantity, limit, symbol=symbol)


def sell(tag: str, quantity: int, limit: float, *, symbol: str = "SBIN") -> ApprovedOrder:
    return order(tag, Side.SELL, quantity, limit, symbol=symbol)


class Market:
    """A paper broker, its clock and what it reported."""

    def __init__(self, *, cash: float = 1_000_000, volume: float = 1_000_000, start: bool = True, **model: Any) -> None:
        self.now = OPEN_NS + 5 * MINUTE
        self.calls: list[tuple[OrderReport, ...]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.broker = PaperBroker(
            symbols=tuple(CLOSES),
            opening_cash=rupees(cash),
            charges=CHARGES,
            model=FillModel(**model),
            now_ns=lambda: self.now,
            schedule=lambda delay, function: self.later.append((delay, function)),
        )
        self.broker.attach(self.calls.append)
        self.broker.prime(closes=CLOSES, volumes=dict.fromkeys(CLOSES, volume))
        if start:
            self.broker.start_session(DAY)

    @property
    def reports(self) -> list[OrderReport]:
        return [report for call in self.calls for report in call]

    def kinds(self, tag: str) -> list[str]:
        return [report.kind.value for report in self.reports if report.tag == tag]

    def fills(self, tag: str) -> list[tuple[int, int]]:
        return [(r.quantity, r.price) for r in self.reports if r.tag == tag and r.kind is ReportKind.FILL]

    def why(self, tag: str) -> str:
        (report,) = [r for r in self.reports if r.tag == tag and r.kind is ReportKind.REJECTED]
        return report.detail

    def status(self, tag: str) -> str:
        (found,) = [snapshot for snapshot in known(self.broker.orders()) if snapshot.tag == tag]
        return found.status

    def bar(
        self,
        *,
        open: float,
        high: float,
        low: float,
        close: float,
        volume: float = 1_000_000,
        minutes: tuple[int, int] = (6, 7),
        interval: Interval = Interval.MINUTE,
        session: date = DAY,
        symbol: str = "SBIN",
    ) -> None:
        start, end = OPEN_NS + minutes[0] * MINUTE, OPEN_NS + minutes[1] * MINUTE
        self.now = max(self.now, end)
        columns = ((value,) for value in (open, high, low, close, volume))
        self.broker.on_bars(BarBatch(session, interval, start, end, (symbol,), *columns))


def test_it_is_a_broker() -> None:
    broker: Broker = Market().broker
    assert broker.name == "paper" and broker.capabilities.tag_max_length == 20


def test_an_order_after_the_opening_print_fills_at_the_open() -> None:
    market = Market()
    market.broker.on_open({"SBIN": 801.0, "INFY": 1_490.0})
    market.broker.submit([buy("a", 100, 804.0), buy("b", 10, 1_507.5, symbol="INFY")])
    assert len(market.calls) == 1  # one batch, one call
    assert market.kinds("a") == ["fill"] and market.fills("a") == [(100, 80_100)]
    assert market.fills("b") == [(10, 149_000)]
    assert market.status("a") == "complete"
    (first, second) = known(market.broker.trades())
    assert (first.trade_id, first.tag, first.quantity) == ("T20261120000001", "a", 100)
    assert second.broker_order_id == "P20261120000002"
    assert first.at_ns == market.now


def test_an_order_whose_limit_the_open_does_not_meet_rests() -> None:
    market = Market()
    market.broker.on_open({"SBIN": 805.0})
    market.broker.submit([buy("a", 100, 804.0)])
    assert market.kinds("a") == ["acknowledged"] and market.status("a") == "open"


def test_an_order_before_the_opening_print_fills_with_it() -> None:
    market = Market()
    market.broker.submit([buy("a", 100, 804.0)])
    market.broker.on_open({"SBIN": 803.0})
    assert market.fills("a") == [(100, 80_300)]


def test_the_open_gives_no_more_than_a_share_of_yesterdays_volume() -> None:
    market = Market(volume=1_000)
    market.broker.on_open({"SBIN": 800.0})
    market.broker.submit([buy("a", 80, 804.0), buy("b", 80, 804.0)])
    assert market.fills("a") == [(80, 80_000)] and market.fills("b") == [(20, 80_000)]
    market.bar(open=800, high=810, low=790, close=805, volume=1_500, minutes=(0, 375), interval=Interval.DAY)
    assert market.fills("b") == [(20, 80_000), (50, 80_000)]  # 10 % of the day less what the open gave


def test_an_unknown_volume_is_not_a_volume_of_zero() -> None:
    market = Market(start=False)
    market.broker._market.volume.clear()
    market.broker.start_session(DAY)
    market.broker.on_open({"SBIN": 800.0})
    market.broker.submit([buy("a", 80, 804.0)])
    assert market.fills("a") == [(80, 80_000)]


def test_the_opening_print_is_over_when_the_first_bar_came() -> None:
    market = Market()
    market.broker.on_open({"SBIN": 800.0})
    market.bar(open=800, high=830, low=800, close=830, minutes=(0, 1))
    market.broker.submit([buy("a", 80, 804.0)])
    assert market.fills("a") == []


@pytest.mark.parametrize(
    ("placed", "bar", "price"),
    [
        (buy("a", 10, 800.0), {"open": 805, "high": 806, "low": 799, "close": 803}, 80_000),  # through the limit
        (buy("a", 10, 800.0), {"open": 798, "high": 806, "low": 797, "close": 803}, 79_800),  # opened better
        (buy("a", 10, 800.0), {"open": 805, "high": 806, "low": 801, "close": 803}, None),
        (sell("a", 10, 800.0), {"open": 795, "high": 801, "low": 794, "close": 796}, 80_000),
        (sell("a", 10, 800.0), {"open": 803, "high": 806, "low": 797, "close": 803}, 80_300),
        (sell("a", 10, 800.0), {"open": 795, "high": 799, "low": 794, "close": 796}, None),
    ],
)
def test_a_resting_order_trades_when_the_bar_reaches_it(
    placed: ApprovedOrder, bar: dict[str, float], price: int | None
) -> None:
    market = Market()
    market.broker.correct(symbol="SBIN", delta=10, cause="a holding")
    market.broker.submit([placed])
    market.bar(**bar)
    assert market.fills("a") == ([] if price is None else [(10, price)])


def test_slippage_worsens_the_price_but_not_past_the_limit_or_the_range() -> None:
    market = Market(slippage_bps=10.0)
    market.broker.submit([buy("a", 10, 800.0)])
    market.bar(open=790, high=795, low=785, close=790)
    assert market.fills("a") == [(10, 79_079)]
    market.broker.submit([buy("b", 10, 800.0)])
    market.bar(open=799.9, high=805, low=785, close=790, minutes=(7, 8))
    assert market.fills("b") == [(10, 80_000)]  # limit
    market.broker.submit([buy("c", 10, 800.0)])
    market.bar(open=790, high=790.2, low=785, close=790, minutes=(8, 9))
    assert market.fills("c") == [(10, 79_020)]  # top of the range
    market.broker.submit([sell("d", 10, 780.0)])
    market.bar(open=790, high=791, low=789.5, close=790, minutes=(9, 10))
    assert market.fills("d") == [(10, 78_950)]  # bottom of the range


def test_orders_share_a_bars_volume_and_the_rest_stays() -> None:
    market = Market()
    market.broker.submit([buy("a", 70, 800.0), buy("b", 70, 800.0)])
    market.bar(open=800, high=801, low=799, close=800, volume=1_000)
    assert market.fills("a") == [(70, 80_000)] and market.fills("b") == [(30, 80_000)]
    market.bar(open=800, high=801, low=799, close=800, volume=390, minutes=(7, 8))
    assert market.fills("b") == [(30, 80_000), (39, 80_000)]
    assert known(market.broker.orders())[1].filled == 69 and market.status("b") == "open"
    market.bar(open=800, high=801, low=799, close=800, volume=0, minutes=(8, 9))
    market.bar(open=800, high=801, low=799, close=800, volume=10, minutes=(9, 10))
    assert market.status("b") == "complete"


def test_a_bar_of_the_past_fills_nothing() -> None:
    market = Market()
    market.broker.submit([buy("a", 10, 800.0), buy("b", 10, 790.0)])
    market.bar(open=780, high=801, low=780, close=800, minutes=(0, 5))
    assert market.fills("a") == [] and market.fills("b") == []
    # This one began before the orders came: its low may be older than they are, its close is not.
    market.bar(open=780, high=801, low=780, close=799, minutes=(4, 9))
    assert market.fills("a") == [(10, 79_900)] and market.fills("b") == []


def test_a_bar_of_another_session_or_without_a_price_fills_nothing() -> None:
    market = Market()
    market.broker.submit([buy("a", 10, 800.0)])
    market.bar(open=780, high=801, low=780, close=800, session=DAY - timedelta(1))
    nan = float("nan")
    market.bar(open=nan, high=nan, low=nan, close=nan, volume=0, minutes=(7, 8))
    market.bar(open=780, high=801, low=780, close=800, symbol="INFY", minutes=(8, 9))
    assert market.kinds("a") == ["acknowledged"]


@pytest.mark.parametrize(
    ("placed", "reason"),
    [
        (buy("a", 10, 800.0, symbol="TCS"), "unknown symbol TCS"),
        (buy("a", 0, 800.0), "not positive"),
        (buy("a", 10, 800.02), "off the tick of 5"),
        (buy("a", 10, 960.05), "outside the band of 20%"),
        (sell("a", 10, 639.95), "outside the band of 20%"),
        (sell("a", 10, 800.0), "10 shares to sell, 0 owned"),
        (buy("a", 1_250, 800.0), "available"),  # Rs 10,00,000 and charges
    ],
)
def test_what_a_broker_refuses_is_rejected_with_its_reason(placed: ApprovedOrder, reason: str) -> None:
    market = Market()
    market.broker.submit([placed])
    assert reason in market.why("a") and market.status("a") == "rejected"
    assert known(market.broker.funds()) == Funds(rupees(1_000_000), rupees(1_000_000))


def test_a_closed_market_refuses() -> None:
    market = Market(start=False)
    market.broker.submit([buy("a", 10, 800.0)])
    assert market.why("a") == "market closed"
    market.broker.start_session(DAY)
    market.broker.end_session()
    market.broker.submit([buy("b", 10, 800.0)])
    assert market.why("b") == "market closed"


def test_an_order_without_approval_is_a_bug_and_nothing_of_its_batch_is_placed() -> None:
    market = Market()
    forged = msgspec.structs.replace(buy("a", 10, 800.0), quantity=1_000)
    with pytest.raises(AssertionError, match="approved"):
        market.broker.submit([buy("b", 10, 800.0), forged])
    assert known(market.broker.orders()) == () and market.calls == []


def test_open_purchases_hold_their_cash_and_give_back_what_they_do_not_need() -> None:
    market = Market(cash=200_000)
    market.broker.submit([buy("a", 100, 800.0)])
    held = rupees(80_000) + CHARGES.on(DAY).total(Side.BUY, rupees(80_000), False)
    assert known(market.broker.funds()) == Funds(rupees(200_000), Paise(rupees(200_000) - held))
    market.broker.submit([buy("b", 150, 800.0)])
    assert "available" in market.why("b")
    market.bar(open=790, high=791, low=789, close=790, volume=600)  # 60 of the 100 at 790
    market.broker.cancel(["a"])
    funds = known(market.broker.funds())
    assert funds.cash == funds.available == market.broker.account.cash
    assert market.kinds("a") == ["acknowledged", "fill", "cancelled"]


def test_shares_that_are_for_sale_already_are_not_sold_twice() -> None:
    market = Market()
    market.broker.correct(symbol="SBIN", delta=10, cause="a holding")
    market.broker.submit([sell("a", 6, 810.0), sell("b", 6, 810.0)])
    assert "6 shares to sell, 4 owned and free" in market.why("b")
    market.broker.cancel(["a"])
    market.broker.submit([sell("c", 10, 810.0)])
    assert market.kinds("c") == ["acknowledged"]


def test_a_tag_is_placed_once() -> None:
    market = Market()
    market.broker.submit([buy("a", 10, 800.0), buy("a", 10, 800.0)])
    assert market.kinds("a") == ["acknowledged", "acknowledged"]
    assert "duplicate" in market.reports[1].detail
    assert len(known(market.broker.orders())) == 1


def test_a_cancel_of_what_has_ended_repeats_the_end_and_undoes_nothing() -> None:
    market = Market()
    market.broker.on_open({"SBIN": 800.0})
    market.broker.submit([buy("a", 10, 800.0), buy("b", 10, 790.0)])
    market.broker.cancel(["a", "b", "nobody"])
    market.broker.cancel(["b"])
    assert market.kinds("a") == ["fill"]
    assert market.kinds("b") == ["acknowledged", "cancelled", "cancelled"]
    assert known(market.broker.positions())[0].quantity == 10


def test_open_orders_end_with_the_day() -> None:
    market = Market()
    market.broker.submit([buy("a", 10, 790.0)])
    market.broker.end_session()
    assert market.kinds("a") == ["acknowledged", "expired"]
    assert market.status("a") == "cancelled"  # as a broker's book shows it
    assert known(market.broker.funds()).available == rupees(1_000_000)
    market.broker.start_session(DAY + timedelta(3))
    assert known(market.broker.orders()) == () and known(market.broker.trades()) == ()


def test_a_new_session_ends_what_the_old_one_left_open() -> None:
    market = Market()
    market.broker.submit([buy("a", 10, 790.0)])
    market.broker.start_session(DAY + timedelta(3))
    assert market.kinds("a") == ["acknowledged", "expired"]


def test_starting_the_same_session_again_changes_nothing() -> None:
    market = Market()
    market.broker.on_open({"SBIN": 800.0})
    market.broker.submit([buy("a", 10, 800.0), buy("b", 10, 790.0)])
    market.broker.start_session(DAY)
    assert len(known(market.broker.orders())) == 2 and market.status("b") == "open"


def test_late_reports_are_late_and_the_books_are_not() -> None:
    market = Market(latency_seconds=0.5)
    market.broker.on_open({"SBIN": 800.0})
    market.broker.submit([buy("a", 10, 800.0)])
    assert market.calls == [] and market.status("a") == "complete"
    ((delay, deliver),) = market.later
    deliver()
    assert delay == 0.5 and market.kinds("a") == ["fill"]


def test_after_close_nobody_is_called() -> None:
    market = Market(latency_seconds=0.5)
    market.broker.submit([buy("a", 10, 800.0)])
    asyncio.run(market.broker.close())
    market.later[0][1]()
    assert market.calls == []


def test_a_lost_answer_is_unknown_while_the_order_lives() -> None:
    market = Market(lost_answer_tags=frozenset({"a"}))
    market.broker.on_open({"SBIN": 800.0})
    market.broker.submit([buy("a", 10, 800.0), buy("b", 10, 800.0)])
    assert market.kinds("a") == ["unknown"] and market.kinds("b") == ["fill"]
    assert market.status("a") == "complete"
    assert [trade.tag for trade in known(market.broker.trades())] == ["a", "b"]


def test_a_lost_request_is_unknown_and_there_is_no_order() -> None:
    market = Market(lost_request_tags=frozenset({"a"}))
    market.broker.submit([buy("a", 10, 800.0)])
    assert market.kinds("a") == ["unknown"] and known(market.broker.orders()) == ()


def test_what_is_lost_follows_from_seed_and_tag() -> None:
    model = FillModel(lost_answer_fraction=0.3, lost_request_fraction=0.2, seed=7)
    fates = [model.loses(f"tag{i}") for i in range(2_000)]
    assert fates == [model.loses(f"tag{i}") for i in range(2_000)]
    assert 0.25 < fates.count("answer") / 2_000 < 0.35 and 0.15 < fates.count("request") / 2_000 < 0.25
    other = FillModel(lost_answer_fraction=0.3, lost_request_fraction=0.2, seed=8)
    assert fates != [other.loses(f"tag{i}") for i in range(2_000)]


def test_reads_that_fail_are_unknown_and_not_empty() -> None:
    market = Market()
    market.broker.fail_reads("gateway timeout")
    for read in (market.broker.orders, market.broker.trades, market.broker.positions, market.broker.funds):
        assert asyncio.run(read()) == Unknown("gateway timeout")
    market.broker.fail_reads("")
    assert known(market.broker.positions()) == ()


@pytest.mark.parametrize(
    "wrong",
    [{"slippage_bps": -1.0}, {"participation": 1.1}, {"band": float("nan")}, {"lost_answer_fraction": 2.0}],
)
def test_a_senseless_model_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput, match=next(iter(wrong))):
        FillModel(**wrong)  # type: ignore[arg-type]


def test_latency_without_a_scheduler_is_refused() -> None:
    with pytest.raises(BadInput, match="latency"):
        PaperBroker(
            symbols=("SBIN",),
            opening_cash=Paise(0),
            charges=CHARGES,
            now_ns=lambda: 0,
            model=FillModel(latency_seconds=1.0),
        )


def test_many_small_fills_of_the_last_rupee_never_make_cash_negative() -> None:
    rates = CHARGES.on(DAY)
    value = rupees(800 * 97)
    cash = value + rates.total(Side.BUY, value, False)
    market = Market(cash=cash / 100)
    market.broker.submit([buy("a", 97, 800.0)])
    for minute in range(97):
        market.bar(open=801, high=802, low=799, close=801, volume=10, minutes=(6 + minute, 7 + minute))
        assert market.broker.account.cash >= 0
    assert known(market.broker.positions())[0].quantity >= 96


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("order"),
            st.sampled_from(Side),
            st.sampled_from(["SBIN", "INFY"]),
            st.integers(1, 400),
            st.integers(-60, 60),
        ),
        st.tuples(st.just("bar"), st.integers(-40, 40), st.integers(0, 5_000)),
        st.tuples(st.just("cancel"), st.integers(0, 20)),
        st.tuples(st.just("day")),
        st.tuples(st.just("open"), st.integers(-30, 30)),
    ),
    max_size=30,
)


@given(steps, st.sampled_from([0.0, 7.0]))
def test_a_ledger_that_hears_every_report_agrees_with_the_broker(plan: list[Any], bps: float) -> None:
    market = Market(cash=300_000, slippage_bps=bps, volume=2_000)
    ledger = Account(rupees(300_000), CHARGES)
    ledger.start_session(DAY)
    orders: dict[str, Order] = {}
    day, minute, number = DAY, 6, 0
    for step in plan:
        seen = len(market.calls)
        if step[0] == "order":
            _, side, symbol, quantity, ticks = step
            limit = Paise(rupees(CLOSES[symbol]) + 50 * ticks)
            proposal = ProposedOrder(f"t{number}", "plan", symbol, side, quantity, limit)
            orders[proposal.tag] = Order(proposal.tag, "plan", symbol, side, quantity, limit)
            number += 1
            market.broker.submit([_seal(proposal, limits_version="v", priced_at_ns=0)])
        elif step[0] == "bar":
            for symbol, close in CLOSES.items():
                price = close + step[1] / 2
                bar = {"open": price, "high": price + 3, "low": price - 3, "close": price + 1, "volume": step[2]}
                market.bar(**bar, minutes=(minute, minute + 1), session=day, symbol=symbol)
            minute += 1
        elif step[0] == "cancel":
            market.broker.cancel([f"t{step[1]}"])
        elif step[0] == "open":
            market.broker.on_open({symbol: close + step[1] / 2 for symbol, close in CLOSES.items()})
        else:
            market.broker.end_session()
            day += timedelta(1)
            market.broker.start_session(day)
        for report in (report for call in market.calls[seen:] for report in call):
            assert orders[report.tag].apply(report).filled == report.quantity
            if report.kind is ReportKind.FILL:
                limit = orders[report.tag].limit
                assert report.price <= limit if report.side is Side.BUY else report.price >= limit
                ledger.apply_fill(
                    symbol=report.symbol,
                    side=report.side,
                    quantity=report.quantity,
                    price=report.price,
                    session=ledger.session or day,
                    trade_id=report.trade_id,
                )
        if step[0] == "day":
            ledger.start_session(day)
        funds = known(market.broker.funds())
        assert funds.cash == ledger.cash >= 0 and 0 <= funds.available <= funds.cash
        assert known(market.broker.positions()) == ledger.positions()
        assert not ledger.anomalies()
        open_tags = {snapshot.tag for snapshot in known(market.broker.orders()) if snapshot.status == "open"}
        assert open_tags == {
            tag for tag, it in orders.items() if it.state in (OrderState.ACKNOWLEDGED, OrderState.PARTIALLY_FILLED)
        }
