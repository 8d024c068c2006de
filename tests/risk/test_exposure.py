"""While an outcome is unknown a position is an interval, and equity is what the worse end makes of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from market.money import Paise, rupees
from risk.approval import Side
from risk.exposure import Interval, Pending, intervals, worst_equity

PRICES = {"SBIN": rupees(100), "TCS": rupees(200)}


def pending(side: Side, remaining: int, limit: float = 100, symbol: str = "SBIN") -> Pending:
    return Pending(symbol, side, remaining, rupees(limit))


def test_a_purchase_on_its_way_may_be_there_or_not():
    assert intervals({"SBIN": 10}, [pending(Side.BUY, 5)]) == {"SBIN": Interval(10, 15)}


def test_a_sale_on_its_way_may_be_gone_or_not_and_never_leaves_less_than_nothing():
    assert intervals({"SBIN": 10}, [pending(Side.SELL, 4)]) == {"SBIN": Interval(6, 10)}
    assert intervals({"SBIN": 10}, [pending(Side.SELL, 40)]) == {"SBIN": Interval(0, 10)}


def test_orders_of_one_symbol_add_up_and_other_symbols_are_known():
    orders = [pending(Side.BUY, 5), pending(Side.SELL, 4), pending(Side.BUY, 1), pending(Side.BUY, 7, symbol="TCS")]
    assert intervals({"SBIN": 10, "INFY": 3}, orders) == {"SBIN": Interval(6, 16), "TCS": Interval(0, 7)}
    assert intervals({"SBIN": 10}, []) == {}


def test_equity_is_judged_as_if_what_costs_something_had_happened():
    equity = rupees(10_000)
    assert worst_equity(equity, PRICES, []) == equity
    assert worst_equity(equity, PRICES, [pending(Side.BUY, 10, 101)]) == rupees(9_990)
    assert worst_equity(equity, PRICES, [pending(Side.BUY, 10, 99)]) == equity
    assert worst_equity(equity, PRICES, [pending(Side.SELL, 10, 98)]) == rupees(9_980)
    assert worst_equity(equity, PRICES, [pending(Side.SELL, 10, 103)]) == equity
    both = [pending(Side.BUY, 10, 101), pending(Side.SELL, 1, 190, "TCS")]
    assert worst_equity(equity, PRICES, both) == rupees(9_980)


def test_without_a_price_nothing_is_known():
    assert worst_equity(rupees(1), PRICES, [pending(Side.BUY, 1, symbol="INFY")]) is None
    assert worst_equity(rupees(1), {"SBIN": Paise(0)}, [pending(Side.BUY, 1)]) is None


def test_a_price_of_one_paisa_is_a_price():
    order = Pending("SBIN", Side.BUY, 10, Paise(3))
    assert worst_equity(rupees(1), {"SBIN": Paise(1)}, [order]) == rupees(1) - 20


@given(
    st.lists(st.tuples(st.sampled_from(Side), st.integers(0, 500), st.floats(50, 200)), max_size=6), st.integers(0, 500)
)
def test_the_truth_lies_inside_whatever_part_of_the_orders_traded(orders, held):
    on_their_way = [pending(side, remaining, limit) for side, remaining, limit in orders]
    found = intervals({"SBIN": held}, on_their_way).get("SBIN", Interval(held, held))
    assert 0 <= found.low <= held <= found.high
    worst = worst_equity(rupees(100_000), PRICES, on_their_way)
    assert worst is not None and worst <= rupees(100_000)
