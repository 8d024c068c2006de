"""Whole shares never cross a limit that the real-valued weights kept."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from risk.projection import Bounds, project
from risk.shares import whole_shares

PRICES = st.integers(5_000, 400_000)  # Rs 50 to Rs 4,000, in paise


@st.composite
def books(draw: st.DrawFn) -> tuple[list[int], list[int], int, list[float], Bounds]:
    """Held shares, prices, equity (paise), a target and limits; the smallest account is Rs 50,000."""
    n = draw(st.integers(1, 8))
    prices = draw(st.lists(PRICES, min_size=n, max_size=n))
    equity = draw(st.sampled_from([5_000_000, 10_000_000, 1_000_000_000]))
    raw = draw(st.lists(st.floats(0.0, 1.0), min_size=n, max_size=n))
    total = sum(raw) or 1.0
    fill = draw(st.sampled_from([0.0, 0.5, 1.0]))
    held = [int(fill * x / total * equity / price) for x, price in zip(raw, prices, strict=True)]
    target = draw(st.lists(st.floats(0.0, 1.0), min_size=n, max_size=n))
    scale = sum(target) or 1.0
    flags = draw(st.one_of(st.none(), st.lists(st.booleans(), min_size=n, max_size=n).map(tuple)))
    limits = Bounds(min(1.0, 2.0 / n), 0.25 / n, 0.95, draw(st.sampled_from([0.02, 0.3])), tradable=flags)
    return held, prices, equity, [t / scale for t in target], limits


@settings(max_examples=500, deadline=None)
@given(books())
def test_no_limit_is_crossed_that_the_weights_kept(book):
    held, prices, equity, target, limits = book
    previous = [h * p / equity for h, p in zip(held, prices, strict=True)]
    weights = project(target, previous, limits).weights
    shares = whole_shares(weights, held, prices, equity, limits).quantities
    free = limits.tradable or (True,) * len(held)
    slack = 1e-8 * equity

    assert all(s >= 0 for s in shares)
    assert all(s == h for s, h, f in zip(shares, held, free, strict=True) if not f)
    for s, p, f in zip(shares, prices, free, strict=True):
        if f:
            assert s * p <= limits.max_weight * equity + slack
    worth = [s * p for s, p in zip(shares, prices, strict=True)]
    assert sum(worth) <= max(limits.budget, sum(weights)) * equity + slack

    traded = sum(abs(s - h) * p for s, h, p in zip(shares, held, prices, strict=True))
    planned = sum(abs(w * equity - h * p) for w, h, p in zip(weights, held, prices, strict=True))
    sold = [p for s, h, p in zip(shares, held, prices, strict=True) if s < h]
    bought = any(s > h for s, h in zip(shares, held, strict=True))
    most = max(2.0 * limits.turnover * equity, planned)
    # Beyond the plan's turnover only when nothing is bought, and then by less than a share of each sale.
    assert traded <= most + slack if bought else traded < most + sum(sold) + slack

    for s, p, w, f in zip(shares, prices, weights, free, strict=True):
        if f:
            assert s * p > min(w, limits.min_weight) * equity - p - sum(sold) - slack


def test_a_weight_that_is_a_whole_number_of_shares_is_that_number():
    limits = Bounds(0.4, 0.05, 0.95, 1.0)
    assert whole_shares((0.4, 0.3), (0, 0), (10_000, 3_000), 1_000_000.0, limits).quantities == (40, 100)


def test_a_purchase_is_rounded_down_and_a_sale_to_fewer_shares_sold():
    limits = Bounds(0.9, 0.0, 1.0, 1.0)
    assert whole_shares((0.255, 0.255), (20, 30), (10_000, 10_000), 1_000_000.0, limits).quantities == (25, 26)


def test_a_sale_forced_by_the_maximum_is_rounded_to_one_share_more():
    limits = Bounds(0.255, 0.0, 1.0, 1.0)
    assert whole_shares((0.255,), (30,), (10_000,), 1_000_000.0, limits).quantities == (25,)


def test_a_purchase_at_the_minimum_gets_the_share_that_rounding_took():
    limits = Bounds(0.4, 0.05, 0.95, 1.0)
    assert whole_shares((0.05, 0.3), (0, 0), (17_000, 10_000), 1_000_000.0, limits).quantities == (3, 30)


def test_a_share_that_costs_more_than_the_maximum_is_not_bought():
    limits = Bounds(0.4, 0.05, 0.95, 1.0)
    assert whole_shares((0.4,), (0,), (500_000,), 1_000_000.0, limits).quantities == (0,)
