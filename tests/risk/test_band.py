"""The no-trade band: thrift, and the limits that outrank it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from market.money import rupees
from risk.band import outside_band
from risk.bounds import Bounds
from risk.plan_checks import against_plan
from risk.projection import project
from risk.shares import whole_shares
from tests.examples import examples

BOUNDS = Bounds(0.40, 0.05, 0.95, 0.30)
FREE = Bounds(0.40, 0.0, 0.95, 0.30)
PRICES = (rupees(100),) * 4


def banded(held, rounded, weights=(0.2,) * 4, **options):
    """Shares of Rs 100 in an account of Rs 1,00,000: one share is a tenth of a percent."""
    values = {"equity": rupees(100_000), "band": 0.01, "bounds": BOUNDS, **options}
    return outside_band(held, rounded, PRICES, weights, **values)


def test_a_change_below_the_band_is_left_undone_and_one_at_it_is_done():
    assert banded((100, 100, 100, 100), (109, 91, 110, 90)) == (100, 100, 110, 90)


def test_a_holding_above_its_maximum_and_one_that_leaves_are_sold_however_little_it_is():
    assert banded((401, 100, 100, 0), (400, 100, 100, 0)) == (400, 100, 100, 0)
    assert banded((400, 100, 100, 5), (399, 100, 100, 0), (0.399, 0.1, 0.1, 0.0)) == (400, 100, 100, 0)
    assert banded((400, 100, 100, 5), (400, 100, 100, 0), (0.4, 0.1, 0.1, 0.1)) == (400, 100, 100, 5)


def test_a_holding_below_its_minimum_is_lifted_however_little_it_is():
    assert banded((49, 100, 100, 100), (50, 100, 100, 100)) == (50, 100, 100, 100)
    assert banded((50, 100, 100, 100), (51, 100, 100, 100)) == (50, 100, 100, 100)
    assert banded((49, 100, 100, 100), (48, 100, 100, 100)) == (49, 100, 100, 100), "sold: that is no lifting"


def test_purchases_that_sales_left_undone_should_have_paid_for_shrink_together():
    # 945 of 950 are held; the purchases of 20 and 10 were to be paid for by small sales of 9 each.
    held, wide = (300, 290, 300, 25), Bounds(0.40, 0.0, 0.95, 0.30)
    assert banded(held, (330, 320, 291, 25), bounds=wide) == (317, 307, 300, 25)
    assert banded(held, (350, 301, 291, 25), bounds=wide) == (328, 290, 300, 25), "six shares are below the band"


def test_purchases_shrink_away_where_what_is_left_of_them_is_below_the_band():
    # 945 of 950 are held; the purchase of 20 was to be paid for by small sales of 9 each.
    assert banded((300, 300, 300, 45), (320, 291, 291, 45)) == (300, 300, 300, 45)


def test_purchases_shrink_to_the_turnover_that_is_left():
    assert banded((100, 100, 100, 100), (130, 100, 100, 100), traded=rupees(58_000)) == (120, 100, 100, 100)
    assert banded((100, 100, 100, 100), (130, 100, 100, 80), traded=rupees(58_000)) == (100, 100, 100, 80)


def test_where_shrinking_would_leave_a_holding_below_its_minimum_everything_is_done():
    held, rounded = (300, 300, 300, 45), (297, 299, 299, 50)
    assert banded(held, rounded) == (300, 300, 300, 50), "there is room"
    full = (302, 301, 302, 45)
    assert banded(full, (299, 299, 299, 50)) == (299, 299, 299, 50)


def test_what_may_be_held_already_leaves_less_room():
    free = Bounds(0.40, 0.0, 0.95, 0.30)
    assert banded((200, 200, 200, 200), (250, 200, 200, 200), bounds=free) == (250, 200, 200, 200)
    worst = (200, 300, 200, 200)
    assert banded((200, 200, 200, 200), (250, 200, 200, 200), bounds=free, worst=worst) == (250, 200, 200, 200)
    assert banded((200, 200, 200, 200), (280, 200, 200, 200), bounds=free, worst=worst) == (250, 200, 200, 200)


def test_a_single_share_that_leaves_is_sold_and_one_that_is_not_wanted_is_not_bought():
    assert banded((1, 100, 100, 100), (0, 100, 100, 100), (0.0, 0.1, 0.1, 0.1)) == (0, 100, 100, 100)
    assert banded((0, 100, 100, 100), (1, 100, 100, 100), (0.0, 0.1, 0.1, 0.1), bounds=FREE) == (0, 100, 100, 100)


def test_turnover_counts_to_the_paisa_and_what_was_not_said_was_not_traded():
    whole = Bounds(1.0, 0.0, 1.0, 0.05)
    assert banded((0, 0, 0, 0), (100, 0, 0, 0), (0.1,) * 4, bounds=whole) == (100, 0, 0, 0)
    assert banded((0, 0, 0, 0), (100, 0, 0, 0), (0.1,) * 4, bounds=whole, traded=1) == (99, 0, 0, 0)
    assert banded((0, 0, 0, 0), (1, 0, 0, 0), (0.1,) * 4, bounds=whole, band=0.0, traded=rupees(10_000)) == (0, 0, 0, 0)


def test_what_is_left_of_a_purchase_is_done_from_the_band_on():
    # Room for Rs 1,000, which is the band.
    assert banded((300, 300, 300, 40), (320, 300, 300, 40), bounds=FREE) == (310, 300, 300, 40)
    assert banded((300, 300, 300, 41), (320, 300, 300, 41), bounds=FREE) == (300, 300, 300, 41)


def test_a_holding_at_its_minimum_needs_no_lifting():
    # 950 of 950: the holding of 50 is at its minimum, so its purchase is thrift's to drop.
    assert banded((300, 300, 300, 50), (295, 295, 295, 65)) == (300, 300, 300, 50)


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(2_000, 400_000)), min_size=2, max_size=12),
    st.sampled_from([0.0, 0.01, 0.05]),
    st.sampled_from([0.4, 0.95, 1.0]),
)
def test_what_is_left_of_an_approved_plan_breaks_no_limit(rows, band, invested):
    n, equity = len(rows), rupees(1_000_000)
    prices = [price for _, _, price in rows]
    total, asked = sum(held for held, _, _ in rows) or 1.0, sum(want for _, want, _ in rows) or 1.0
    held = [int(invested * have / total * equity / price) for have, _, price in rows]
    bounds = Bounds(min(1.0, 2.0 / n), 0.25 / n, 0.95, 0.30)
    current = [count * price / equity for count, price in zip(held, prices, strict=True)]
    weights = project([want / asked for _, want, _ in rows], current, bounds).weights
    rounded = whole_shares(weights, held, prices, float(equity), bounds).quantities
    after = outside_band(held, rounded, prices, weights, equity=equity, band=band, bounds=bounds)
    assert against_plan([""] * n, held, after, prices, equity=equity, bounds=bounds) == []
    for have, wanted, got in zip(held, rounded, after, strict=True):
        assert min(have, wanted) <= got <= max(have, wanted)
    if not band:
        assert after == rounded
