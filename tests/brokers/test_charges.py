"""Charges: the published table to the paisa, history by hand, and the three versions that must agree."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.charges import COVERED_FROM, COVERED_UNTIL, DeliveryCharges
from market.errors import BadInput
from market.money import Paise, rupees
from risk.approval import Side

TODAY = date(2026, 11, 20)
TABLE = DeliveryCharges.default()

days = st.dates(COVERED_FROM, COVERED_UNTIL)
values = st.integers(min_value=1, max_value=10**11).map(Paise)
sides = st.sampled_from(Side)


@pytest.mark.parametrize(
    ("value", "buy", "sell"),
    [
        (2_000, 2.37, 17.41),
        (5_000, 5.94, 20.53),
        (10_000, 11.87, 25.71),
        (20_000, 23.75, 36.09),
        (50_000, 59.37, 67.21),
        (100_000, 118.74, 119.08),
        (500_000, 593.70, 534.04),
    ],
)
def test_the_published_table_is_met_to_the_paisa(value: int, buy: float, sell: float) -> None:
    rates = TABLE.on(TODAY)
    assert rates.total(Side.BUY, rupees(value), False) == rupees(buy)
    assert rates.total(Side.SELL, rupees(value), True) == rupees(sell)


def test_the_components_of_one_lakh_are_those_of_a_contract_note() -> None:
    rates = TABLE.on(TODAY)
    buy = rates.fill(side=Side.BUY, value=rupees(100_000), first_sale_today=False)
    assert (buy.stt, buy.exchange, buy.sebi, buy.tax, buy.stamp) == (10_000, 307, 10, 57, 1_500)
    assert (buy.brokerage, buy.depository, buy.total) == (0, 0, 11_874)
    sell = rates.fill(side=Side.SELL, value=rupees(100_000), first_sale_today=True)
    assert (sell.stt, sell.exchange, sell.sebi, sell.tax, sell.stamp) == (10_000, 307, 10, 57, 0)
    assert (sell.depository, sell.total) == (1_534, 11_908)


@pytest.mark.parametrize(
    ("day", "buy", "sell"),
    [
        # Rs 1,00,000: STT 100 + exchange + SEBI + tax on these two + stamp; a sale pays the depository as well.
        (date(2015, 3, 2), 100 + 3.25 + 0.20 + 0.1236 * 3.45 + 10, 100 + 3.25 + 0.20 + 0.1236 * 3.45 + 10 + 15.93),
        (date(2015, 6, 1), 100 + 3.25 + 0.20 + 0.14 * 3.45 + 10, 100 + 3.25 + 0.20 + 0.14 * 3.45 + 10 + 15.93),
        (date(2016, 1, 15), 113.95, 129.88),
        (date(2016, 6, 1), 113.97, 129.90),
        (date(2017, 6, 30), 100 + 3.25 + 0.15 + 0.15 * 3.40 + 10, 100 + 3.25 + 0.15 + 0.15 * 3.40 + 10 + 15.93),
        (date(2017, 7, 3), 114.01, 129.94),
        (date(2019, 6, 3), 113.95, 129.88),
        (date(2020, 6, 30), 100 + 3.25 + 0.05 + 0.18 * 3.30 + 10, 100 + 3.25 + 0.05 + 0.18 * 3.30 + 10 + 15.93),
        (date(2020, 7, 1), 118.89, 119.82),
        (date(2022, 6, 1), 119.19, 120.12),
        (date(2023, 4, 3), 100 + 3.35 + 0.10 + 0.18 * 3.45 + 15, 100 + 3.35 + 0.10 + 0.18 * 3.45 + 15.93),
        (date(2024, 10, 1), 118.74, 119.08),
    ],
)
def test_history_agrees_with_hand_computation(day: date, buy: float, sell: float) -> None:
    rates = TABLE.on(day)
    assert rates.total(Side.BUY, rupees(100_000), False) == rupees(round(buy, 6))
    assert rates.total(Side.SELL, rupees(100_000), True) == rupees(round(sell, 6))


def test_the_depository_is_paid_with_the_first_sale_only() -> None:
    rates = TABLE.on(TODAY)
    first = rates.total(Side.SELL, rupees(1_000), True)
    assert first - rates.total(Side.SELL, rupees(1_000), False) == 1_534
    assert rates.total(Side.BUY, rupees(1_000), True) == rates.total(Side.BUY, rupees(1_000), False)
    assert rates.total(Side.SELL, Paise(0), True) == 0


@given(days, sides, values, st.booleans())
def test_components_add_up_and_the_total_is_the_exact_sum_rounded_half_up(
    day: date, side: Side, value: Paise, first: bool
) -> None:
    rates = TABLE.on(day)
    charges = rates.fill(side=side, value=value, first_sale_today=first)
    assert charges.total == rates.total(side, value, first)
    unit = Fraction(value, 10**9)
    taxed = unit * (rates.exchange + rates.sebi + rates.brokerage)
    stamp = unit * (rates.stamp_buy if side is Side.BUY else rates.stamp_sell)
    exact = unit * rates.stt + taxed + taxed * Fraction(rates.tax, 10_000) + stamp
    depository = rates.depository if side is Side.SELL and first else 0
    assert charges.total - depository == (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)
    assert abs(charges.stt - unit * rates.stt) <= 1 and abs(charges.stamp - stamp) <= 1
    assert min(charges.stt, charges.exchange, charges.sebi, charges.tax, charges.stamp, charges.depository) >= 0


@given(days, sides, st.lists(st.integers(0, 10**10), min_size=1, max_size=20), st.booleans())
def test_the_array_version_agrees_to_the_paisa(day: date, side: Side, amounts: list[int], first: bool) -> None:
    rates = TABLE.on(day)
    got = rates.total_array(side, np.array(amounts, dtype=np.float64) / 100.0, first)
    assert np.rint(got * 100).astype(int).tolist() == [rates.total(side, Paise(value), first) for value in amounts]


def test_the_array_version_takes_a_mask_and_any_shape() -> None:
    rates = TABLE.on(TODAY)
    traded = np.array([[1_000.0, 0.0], [1_000.0, 2_000.0]])
    got = rates.total_array(Side.SELL, traded, np.array([[True, True], [False, True]]))
    assert got.tolist() == [[16.38, 0.0], [1.04, 17.41]]
    assert rates.total_array(Side.BUY, np.zeros(0)).size == 0


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf, 1e15])
def test_the_array_version_refuses_what_is_no_value(wrong: float) -> None:
    with pytest.raises(BadInput, match="charges"):
        TABLE.on(TODAY).total_array(Side.BUY, np.array([wrong]))


@pytest.mark.parametrize("day", [COVERED_FROM - timedelta(1), COVERED_UNTIL + timedelta(1)])
def test_a_date_outside_the_table_is_refused_and_not_guessed(day: date) -> None:
    with pytest.raises(BadInput, match=str(day)):
        TABLE.on(day)


def test_another_broker_is_two_arguments() -> None:
    table = DeliveryCharges(depository=((date(2012, 1, 1), 2_000),), brokerage=1_000_000)
    charges = table.on(TODAY).fill(side=Side.SELL, value=rupees(100_000), first_sale_today=True)
    assert charges.brokerage == rupees(100) and charges.depository == 2_000
    assert charges.tax == rupees(0.18 * 103.17)  # brokerage is taxed as well
    with pytest.raises(BadInput):
        DeliveryCharges(brokerage=-1)
    with pytest.raises(BadInput, match="2020-01-01"):
        DeliveryCharges(depository=((date(2020, 1, 1), 2_000),))


def test_fractions_serve_code_that_computes_in_floats() -> None:
    rates = TABLE.on(TODAY)
    assert rates.buy_fraction == pytest.approx(0.001187406)
    assert rates.sell_fraction == pytest.approx(0.001037406)


def test_the_earliest_rates_may_be_assumed_for_older_sessions_and_it_says_so() -> None:
    assuming = DeliveryCharges(assume_earliest=True)
    assert assuming.on(date(2008, 10, 24)) == TABLE.on(COVERED_FROM)
    assert assuming.assumed_before(date(2014, 12, 31)) == COVERED_FROM


def test_the_assumption_changes_nothing_that_is_known_and_reaches_no_other_way() -> None:
    assuming = DeliveryCharges(assume_earliest=True)
    for day in (COVERED_FROM, date(2017, 7, 1), TODAY):
        assert assuming.on(day) == TABLE.on(day) and assuming.assumed_before(day) is None
    with pytest.raises(BadInput, match="no rates for"):
        assuming.on(COVERED_UNTIL + timedelta(days=1))


def test_without_the_assumption_an_older_session_is_still_refused() -> None:
    assert TABLE.assumed_before(date(2008, 10, 24)) is None
    with pytest.raises(BadInput, match="no rates for 2008-10-24"):
        DeliveryCharges().on(date(2008, 10, 24))
