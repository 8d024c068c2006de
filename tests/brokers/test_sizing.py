"""Sizing: whole shares, ticks, slices and what the cash affords."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.charges import DeliveryCharges
from brokers.sizing import (
    affordable,
    fills_at,
    limit_price,
    scaled_to,
    slice_order,
    slipped_price,
    target_quantities,
)  # fmt: skip
from market.errors import BadInput
from market.money import Paise, rupees
from risk.approval import Side

RATES = DeliveryCharges.default().on(date(2026, 11, 20))
prices = st.integers(1, 3_000_000).map(Paise)


def test_a_limit_is_the_offset_away_on_the_tick() -> None:
    assert limit_price(Side.BUY, rupees(1_000), offset=0.005, tick=Paise(5)) == rupees(1_005)
    assert limit_price(Side.SELL, rupees(1_000), offset=0.005, tick=Paise(5)) == rupees(995)
    assert limit_price(Side.BUY, rupees(999.95), offset=0.005, tick=Paise(5)) == rupees(1_004.90)  # 1004.9497 down
    assert limit_price(Side.SELL, rupees(999.95), offset=0.005, tick=Paise(5)) == rupees(995)  # 994.95025 up
    assert limit_price(Side.BUY, Paise(3), offset=0.0, tick=Paise(5)) == 5  # never zero


@given(st.sampled_from(Side), prices, st.integers(0, 200), st.sampled_from([1, 5, 10, 50, 100, 500]))
def test_a_limit_is_on_the_tick_and_never_beyond_the_offset(side: Side, price: Paise, tenths: int, tick: int) -> None:
    offset = tenths / 1_000
    limit = limit_price(side, price, offset=offset, tick=Paise(tick))
    exact = price * (1 + Fraction(tenths, 1_000) * (1 if side is Side.BUY else -1))
    assert limit % tick == 0 and limit > 0
    if limit > tick:
        assert exact - tick < limit <= exact if side is Side.BUY else exact <= limit < exact + tick


def test_slippage_is_always_against_us() -> None:
    assert slipped_price(Side.BUY, rupees(100), slippage_bps=5) == rupees(100.05)
    assert slipped_price(Side.SELL, rupees(100), slippage_bps=5) == rupees(99.95)
    assert slipped_price(Side.BUY, Paise(101), slippage_bps=1) == 102
    assert slipped_price(Side.SELL, Paise(1), slippage_bps=9_000) == 1
    assert slipped_price(Side.SELL, rupees(100), slippage_bps=0) == rupees(100)


def test_targets_are_rounded_down_but_not_by_floating_point() -> None:
    assert target_quantities([0.4, 0.57, 0.0], rupees(100), [rupees(3), rupees(57), rupees(1)]) == [13, 1, 0]
    for weight, price in ((-0.1, 100), (0.1, 0), (float("nan"), 100)):
        with pytest.raises(BadInput):
            target_quantities([weight], rupees(100), [Paise(price)])


def test_an_order_is_sliced_evenly_and_never_dropped() -> None:
    assert slice_order(100, rupees(100), rupees(3_400)) == [34, 33, 33]
    assert slice_order(10, rupees(100), rupees(1_000)) == [10]
    assert slice_order(3, rupees(500), rupees(100)) == [1, 1, 1]
    assert slice_order(0, rupees(500), rupees(100)) == []


@given(st.integers(1, 2_000), prices, st.integers(1, 10**9))
def test_slices_are_the_whole_and_each_is_within_the_limit(quantity: int, price: Paise, most: int) -> None:
    parts = slice_order(quantity, price, Paise(most))
    assert sum(parts) == quantity and min(parts) >= 1 and max(parts) - min(parts) <= 1
    assert max(parts) == 1 or max(parts) * price <= most


def cost(quantities: list[int], at: list[Paise]) -> int:
    return sum(q * p + RATES.total(Side.BUY, Paise(q * p), False) for q, p in zip(quantities, at, strict=True))


def test_purchases_that_fit_are_left_alone() -> None:
    assert affordable([10, 20], [rupees(100), rupees(50)], available=rupees(2_003), rates=RATES) == [10, 20]


def test_purchases_that_do_not_fit_shrink_together() -> None:
    at = [rupees(100), rupees(100)]
    assert affordable([100, 50], at, available=rupees(7_510), rates=RATES) == [50, 25]
    assert affordable([100, 50], at, available=rupees(0), rates=RATES) == [0, 0]
    assert affordable([100, 50], at, available=rupees(-5), rates=RATES) == [0, 0]
    assert affordable([], [], available=rupees(5), rates=RATES) == []
    # The share that is left over goes where the shortfall is largest, in money.
    assert affordable([3, 3], [rupees(100), rupees(60)], available=rupees(325), rates=RATES) == [2, 2]


@given(
    st.lists(st.tuples(st.integers(0, 300), prices), min_size=1, max_size=6),
    st.integers(0, 10**9),
)
def test_what_is_kept_fits_the_cash_and_nothing_more_would(orders: list[tuple[int, Paise]], available: int) -> None:
    asked, at = [q for q, _ in orders], [p for _, p in orders]
    kept = affordable(asked, at, available=Paise(available), rates=RATES)
    assert all(0 <= k <= a for k, a in zip(kept, asked, strict=True))
    assert cost(kept, at) <= available
    for i, (k, a) in enumerate(zip(kept, asked, strict=True)):
        if k < a:
            more = [*kept[:i], k + 1, *kept[i + 1 :]]
            assert cost(more, at) > available, "one more share would have fitted"
    assert kept == affordable(asked, at, available=Paise(available), rates=RATES)


def test_a_limit_fills_at_its_price_or_better() -> None:
    assert fills_at(Side.BUY, Paise(100), Paise(100)) and fills_at(Side.BUY, Paise(100), Paise(99))
    assert not fills_at(Side.BUY, Paise(100), Paise(101))
    assert fills_at(Side.SELL, Paise(100), Paise(101)) and not fills_at(Side.SELL, Paise(100), Paise(99))


def test_purchases_shrink_together_to_the_room_there_is():
    prices = [rupees(100), rupees(50)]
    assert scaled_to([10, 20], prices, rupees(2_000)) == [10, 20]
    assert scaled_to([10, 20], prices, rupees(1_000)) == [5, 10]
    assert scaled_to([10, 20], prices, rupees(1_999)) == [9, 19]
    assert scaled_to([10, 20], prices, 0) == [0, 0] and scaled_to([], [], 0) == []
