"""Whole shares never cross a limit that the real-valued weights kept, unless no whole number of shares keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.projection import Bounds, project
from risk.shares import WholeShares, _Rounded, whole_shares
from tests.examples import examples

RUPEES = 100
CRORE = 1_00_00_000 * RUPEES
# The code rounds its comparisons at 1e-9 of equity; the judge adds what float sums of that size may differ by.
SLACK = 1.001e-9


@dataclass(frozen=True)
class Plan:
    """A projected plan and its rounding, with what the limits come to in paise."""

    weights: tuple[float, ...]
    held: tuple[int, ...]
    prices: tuple[int, ...]
    equity: float
    bounds: Bounds
    rounded: WholeShares

    @property
    def free(self) -> tuple[bool, ...]:
        flags = self.bounds.tradable or (True,) * len(self.held)
        return tuple(flag and price > 0 for flag, price in zip(flags, self.prices, strict=True))

    @property
    def slack(self) -> float:
        return SLACK * self.equity

    @property
    def most(self) -> float:
        return self.bounds.max_weight * self.equity + self.slack

    @property
    def budget(self) -> float:
        pinned = sum(h * p for h, p, f in zip(self.held, self.prices, self.free, strict=True) if not f)
        return max(self.bounds.budget * self.equity, pinned) + self.slack

    @property
    def turnover(self) -> float:
        return 2.0 * self.bounds.turnover * self.equity + self.slack

    def minimum(self, i: int) -> float:
        return min(self.bounds.min_weight, self.weights[i]) * self.equity - self.slack

    def gross(self, shares: tuple[int, ...]) -> int:
        return sum(s * p for s, p in zip(shares, self.prices, strict=True))

    def traded(self, shares: tuple[int, ...]) -> int:
        return sum(abs(s - h) * p for s, h, p in zip(shares, self.held, self.prices, strict=True))

    def broken(self, shares: tuple[int, ...]) -> set[str]:
        """Names of the limits that these shares break."""
        wrong = set()
        rows = list(zip(shares, self.held, self.prices, self.free, strict=True))
        if any(s != h for s, h, _, f in rows if not f):
            wrong.add("untradable")
        if any(s < 0 for s in shares):
            wrong.add("short")
        if any(s * p > self.most for s, _, p, f in rows if f):
            wrong.add("max_weight")
        if self.gross(shares) > self.budget:
            wrong.add("cash_reserve")
        if self.traded(shares) > self.turnover:
            wrong.add("turnover")
        if any(s * p < self.minimum(i) for i, (s, _, p, f) in enumerate(rows) if f):
            wrong.add("min_weight")
        return wrong

    def neighbours(self) -> list[tuple[int, ...]]:
        """Every book in the box of the two whole numbers around each weight."""
        choices = []
        for weight, held, price, free in zip(self.weights, self.held, self.prices, self.free, strict=True):
            below = int(weight * self.equity / price) if free else held
            choices.append((below, below + 1) if free else (held,))
        return list(product(*choices))


@st.composite
def plans(draw: st.DrawFn, sizes: st.SearchStrategy[int], *, dear: bool = False, costs: bool = True) -> Plan:
    """Prices from Rs 20 to Rs 1,00,000 and equity from Rs 50,000 to Rs 10 crore; `dear`: few shares to a position."""
    n = draw(sizes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    equity = int(draw(st.sampled_from([0.005, 0.02, 0.1, 1.0, 10.0])) * CRORE)
    if dear:
        prices = [max(20 * RUPEES, int(x)) for x in rng.uniform(0.01, 0.9, n) * equity / n]
    else:
        prices = [int(x) for x in np.exp(rng.uniform(np.log(20 * RUPEES), np.log(1_00_000 * RUPEES), n))]
    fill, spread = draw(st.sampled_from([0.0, 0.5, 0.95, 1.0])), draw(st.sampled_from([0.5, 3.0, 50.0]))
    held = [int(fill * x * equity / p) for x, p in zip(rng.dirichlet(np.full(n, spread)), prices, strict=True)]
    target = rng.dirichlet(np.full(n, draw(st.sampled_from([0.5, 3.0, 50.0])))).tolist()
    flags = tuple(bool(flag) for flag in rng.random(n) > 0.2) if draw(st.booleans()) else None
    bounds = Bounds(
        min(1.0, draw(st.sampled_from([1.2, 2.0, 4.0])) / n),
        draw(st.sampled_from([0.0, 0.25, 0.6])) / n,
        0.95,
        draw(st.sampled_from([0.0, 0.02, 0.1, 0.3, 1.0])),
        tradable=flags,
    )
    weights = project(target, [h * p / equity for h, p in zip(held, prices, strict=True)], bounds).weights
    left = float(equity - int(draw(st.sampled_from([0.0, 0.0005, 0.002])) * equity) * costs)
    return Plan(weights, tuple(held), tuple(prices), left, bounds, whole_shares(weights, held, prices, left, bounds))


SIZES = st.one_of(st.integers(1, 8), st.integers(9, 60), st.integers(61, 500))


@settings(max_examples=examples(700), deadline=None)
@given(st.one_of(plans(SIZES), plans(SIZES, dear=True)))
def test_every_limit_holds_or_is_reported_as_relaxed(plan):
    shares = plan.rounded.quantities
    assert plan.broken(shares) == set(plan.rounded.relaxed)


@settings(max_examples=examples(500), deadline=None)
@given(st.one_of(plans(SIZES), plans(SIZES, dear=True)))
def test_beyond_turnover_go_only_forced_sales_with_nothing_bought(plan):
    shares, bounds = plan.rounded.quantities, plan.bounds
    if "turnover" not in plan.rounded.relaxed:
        return
    assert plan.rounded.relaxed["turnover"] == pytest.approx(0.5 * plan.traded(shares) / plan.equity)
    rows = list(zip(shares, plan.held, plan.prices, plan.free, strict=True))
    assert all(s <= h for s, h, _, _ in rows)
    gross = plan.gross(shares)
    for s, h, p, _ in rows:
        # One share less sold would break max weight or the budget.
        assert s == h or (s + 1) * p > plan.most or gross + p > plan.budget
    cut = [max(0.0, h * p - bounds.max_weight * plan.equity) if f else 0.0 for _, h, p, f in rows]
    kept = plan.gross(plan.held) - sum(cut)
    forced = sum(cut) + max(0.0, kept - plan.budget)
    assert plan.traded(shares) < max(plan.turnover, forced) + sum(p for s, h, p, _ in rows if s < h) + 1.0


@settings(max_examples=examples(500), deadline=None)
@given(st.one_of(plans(SIZES), plans(SIZES, dear=True)))
def test_a_position_below_its_minimum_has_no_room_for_another_share(plan):
    shares = plan.rounded.quantities
    below = [i for i in range(len(shares)) if plan.free[i] and shares[i] * plan.prices[i] < plan.minimum(i)]
    if below:
        lowest = min(shares[i] * plan.prices[i] for i in below)
        assert plan.rounded.relaxed["min_weight"] == pytest.approx(lowest / plan.equity)
    gross, traded = plan.gross(shares), plan.traded(shares)
    tolerance = 2e-12 * plan.equity
    for i in below:
        price = plan.prices[i]
        no_cash, no_room = gross + price > plan.budget - tolerance, (shares[i] + 1) * price > plan.most - tolerance
        spent = shares[i] >= plan.held[i] and traded + price > plan.turnover - tolerance
        assert no_cash or no_room or spent


@settings(max_examples=examples(600), deadline=None)
@given(st.one_of(plans(st.integers(1, 4), dear=True), plans(st.integers(1, 4)), plans(st.integers(5, 8), dear=True)))
def test_nothing_is_relaxed_when_a_neighbouring_book_keeps_every_limit(plan):
    relaxed = plan.rounded.relaxed
    if relaxed:
        kept = [plan.broken(shares) for shares in plan.neighbours()]
        assert all(kept)
        if "turnover" in relaxed:
            assert all(wrong - {"min_weight"} for wrong in kept)


@settings(max_examples=examples(300), deadline=None)
@given(plans(st.integers(1, 500), costs=False))
def test_shares_are_near_the_weights_where_nothing_had_to_be_repaired(plan):
    """Rounding alone moves a position by less than a share; repairs take away no more than rounding put on."""
    if plan.rounded.relaxed:
        return
    wanted = [w * plan.equity / p for w, p in zip(plan.weights, plan.prices, strict=True)]
    off = [(s - x) * p for s, x, p, f in zip(plan.rounded.quantities, wanted, plan.prices, plan.free, strict=True) if f]
    shares = [p for p, f in zip(plan.prices, plan.free, strict=True) if f]
    assert sum(map(abs, off)) <= 3.0 * sum(shares) + plan.slack


def test_a_weight_that_is_a_whole_number_of_shares_is_that_number():
    limits = Bounds(0.4, 0.05, 0.95, 1.0)
    assert whole_shares((0.4, 0.3), (0, 0), (10_000, 3_000), 1_000_000.0, limits) == WholeShares((40, 100))


def test_a_purchase_is_rounded_down_and_a_sale_to_fewer_shares_sold():
    limits = Bounds(0.9, 0.0, 1.0, 1.0)
    assert whole_shares((0.255, 0.255), (20, 30), (10_000, 10_000), 1_000_000.0, limits).quantities == (25, 26)


def test_a_sale_forced_by_the_maximum_is_rounded_to_one_share_more():
    limits = Bounds(0.255, 0.0, 1.0, 1.0)
    assert whole_shares((0.255,), (30,), (10_000,), 1_000_000.0, limits).quantities == (25,)


def test_a_purchase_at_the_minimum_gets_the_share_that_rounding_took():
    limits = Bounds(0.4, 0.05, 0.95, 1.0)
    assert whole_shares((0.05, 0.3), (0, 0), (17_000, 10_000), 1_000_000.0, limits).quantities == (3, 30)


def test_a_larger_purchase_pays_for_the_minimum_of_a_smaller_one():
    limits = Bounds(0.95, 0.05, 0.95, 1.0)
    assert whole_shares((0.05, 0.9), (0, 0), (17_000, 10_000), 1_000_000.0, limits) == WholeShares((3, 89))


def test_no_more_of_a_purchase_is_given_back_than_turnover_lacks():
    # Rounded up to its minimum the first costs Rs 10 more: 951,000 paise are to be traded, 945,000 may be.
    limits = Bounds(0.95, 0.05, 0.99, 0.4725)
    assert whole_shares((0.05, 0.9), (0, 0), (17_000, 10_000), 1_000_000.0, limits) == WholeShares((3, 89))


def test_the_largest_purchases_are_given_back_whole_and_of_the_last_what_is_lacking():
    # 39,000 paise are lacking, no purchase is that large alone: 30,000 of one, and then 9,000 of another.
    limits = Bounds(0.95, 0.0, 0.99, 0.0105)
    bought = whole_shares((0.03, 0.02, 0.01), (0, 0, 0), (10_000, 1_000, 1_000), 1_000_000.0, limits)
    assert bought == WholeShares((0, 11, 10))


def test_limits_have_a_billionth_of_the_equity_for_rounding_and_not_a_share_more():
    # Ten crore rupees at one paisa a share: a billionth is a hundred shares.
    half = 5 * 10**10
    for held, expected in ((half + 100, half + 100), (half + 101, half + 100)):
        rounded = whole_shares((held / 1e11,), (held,), (1,), 1e11, Bounds(1.0, 0.0, 0.5, 1.0))
        assert rounded == WholeShares((expected,))
    for wanted, expected in ((half + 100, half + 100), (half + 101, half + 100)):
        rounded = whole_shares((wanted / 1e11,), (0,), (1,), 1e11, Bounds(1.0, 0.0, 1.0, 0.25))
        assert rounded == WholeShares((expected,))
    assert whole_shares((0.0,), (0,), (1,), 1e11, Bounds(1.0, 0.0, 1.0, 1.0)) == WholeShares((0,))


def test_weights_of_another_length_than_the_book_are_not_rounded():
    with pytest.raises(ValueError, match="longer"):
        whole_shares((0.1,), (1, 2), (100, 100), 1_000.0, Bounds(0.9, 0.0, 1.0, 1.0))


def test_a_share_that_costs_more_than_the_maximum_is_not_bought_and_the_minimum_gives_way():
    limits = Bounds(0.4, 0.05, 0.95, 1.0)
    assert whole_shares((0.4,), (0,), (500_000,), 1_000_000.0, limits) == WholeShares((0,), {"min_weight": 0.0})


def test_when_turnover_pays_for_one_share_less_all_positions_but_one_reach_the_minimum():
    limits = Bounds(0.5, 0.014, 0.95, 0.0205)
    rounded = whole_shares((41 / 3000,) * 3, (0,) * 3, (10_000,) * 3, 10_000_000.0, limits)
    assert sorted(rounded.quantities) == [13, 14, 14] and rounded.relaxed == {"min_weight": 0.013}


def test_a_forced_sale_of_a_dear_share_exceeds_turnover_and_says_so():
    limits = Bounds(0.4, 0.0, 0.95, 0.01)
    rounded = whole_shares((0.4, 0.1), (5, 10), (100_000, 10_000), 1_000_000.0, limits)
    assert rounded == WholeShares((4, 10), {"turnover": 0.05})


def test_what_cannot_be_traded_stays_even_when_everything_else_is_sold():
    limits = Bounds(0.4, 0.05, 0.95, 0.01, tradable=(False, True))
    rounded = whole_shares((0.97, 0.0), (97, 3), (10_000, 10_000), 1_000_000.0, limits)
    assert rounded.quantities == (97, 0) and rounded.relaxed == {"turnover": 0.015}


def many_plans(count: int) -> list[Plan]:
    """Small books from a fixed seed: few, dear shares, round weights, tight turnover; what repairs are made for."""
    rng = np.random.default_rng(20250603)
    found = []
    for _ in range(count):
        n = int(rng.integers(1, 5))
        equity = 100_000
        prices = [int(x) for x in rng.choice([1, 100, 700, 5_000, 10_000, 12_345, 25_000, 33_333, 60_000], n)]
        part = rng.dirichlet(np.full(n, 2.0)) * rng.choice([0.0, 0.6, 1.0])
        held = [int(x * equity / p) for x, p in zip(part, prices, strict=True)]
        target = np.round(rng.dirichlet(np.full(n, 2.0)), int(rng.choice([1, 2, 9]))).tolist()
        flags = tuple(bool(flag) for flag in rng.random(n) > 0.3) if rng.random() < 0.3 else None
        maximum = min(1.0, float(rng.choice([1.0, 1.5, 3.0])) / n)
        limits = Bounds(
            maximum,
            min(maximum, 0.95 / n, float(rng.choice([0.0, 0.2, 0.6])) / n),
            float(rng.choice([0.7, 0.95])),
            float(rng.choice([0.0, 0.05, 0.1, 0.3, 1.0])),
            tradable=flags,
        )
        if limits.min_weight * n > limits.budget:
            limits = Bounds(limits.max_weight, 0.0, limits.budget, limits.turnover, tradable=flags)
        weights = project(target, [h * p / equity for h, p in zip(held, prices, strict=True)], limits).weights
        if rng.random() < 0.1:
            prices[0] = 0
        left = float(equity - int(rng.choice([0, 0, 150])))
        found.append(Plan(weights, tuple(held), tuple(prices), left, limits, WholeShares(())))
    return found


def close_plans(count: int) -> list[Plan]:
    """Books of dear shares that trade less than a share of each, with just the budget and turnover that weights need.

    One book in eight is relaxed by greedy repairs although another book next to its weights keeps every limit.
    """
    rng = np.random.default_rng(20250604)
    found = []
    for _ in range(count):
        n, equity = int(rng.integers(3, 7)), 100_000.0
        prices = [int(x) for x in rng.integers(1_000, 9_000, n)]
        held = [int(x) for x in rng.integers(1, 4, n)]
        sign = np.where(rng.random(n) < rng.choice([0.0, 0.0, 0.3]), 1.0, -1.0)
        exact = [h + float(s * x) for h, s, x in zip(held, sign, rng.uniform(0.0, 1.0, n), strict=True)]
        weights = tuple(x * p / equity for x, p in zip(exact, prices, strict=True))
        traded = sum(abs(x - h) * p for x, h, p in zip(exact, held, prices, strict=True))
        limits = Bounds(
            float(rng.choice([1.0, 1.0, max(weights)])),
            float(rng.choice([0.0, min(weights)])),
            sum(weights),
            (0.5 * traded + float(rng.uniform(0.0, 500.0))) / equity,
            tradable=tuple(bool(flag) for flag in rng.random(n) > 0.2) if rng.random() < 0.2 else None,
        )
        found.append(Plan(weights, tuple(held), tuple(prices), equity, limits, WholeShares(())))
    return found


CLOSE = close_plans(1_500)
MANY = many_plans(2_000) + CLOSE


def rounded(plan: Plan) -> WholeShares:
    return whole_shares(plan.weights, plan.held, plan.prices, plan.equity, plan.bounds)


def test_thousands_of_small_books_keep_their_limits_or_say_what_gave_way_and_how_far():
    for plan in MANY:
        found = rounded(plan)
        shares, relaxed = found.quantities, found.relaxed
        assert plan.broken(shares) == set(relaxed), plan
        assert all(type(count) is int for count in shares)
        if "turnover" in relaxed:
            assert relaxed["turnover"] == pytest.approx(0.5 * plan.traded(shares) / plan.equity)
        if "min_weight" in relaxed:
            worth = [s * p for s, p in zip(shares, plan.prices, strict=True)]
            below = [w for i, w in enumerate(worth) if plan.free[i] and w < plan.minimum(i)]
            assert relaxed["min_weight"] == pytest.approx(min(below) / plan.equity)


def test_thousands_of_small_books_relax_nothing_that_a_neighbouring_book_keeps():
    for plan in MANY:
        relaxed = rounded(plan).relaxed
        if relaxed:
            kept = [plan.broken(shares) for shares in plan.neighbours()]
            assert all(kept), plan
            if "turnover" in relaxed:
                assert all(wrong - {"min_weight"} for wrong in kept), plan


def test_numpy_rounds_like_plain_python(monkeypatch):
    plain = [rounded(plan) for plan in MANY]
    monkeypatch.setattr("risk.shares._SMALL", 0)
    assert [rounded(plan) for plan in MANY] == plain


def test_without_the_search_every_repair_still_keeps_what_outranks_it(monkeypatch):
    """More than ten instruments are repaired greedily; the repairs are the same for few, and few can be judged."""
    monkeypatch.setattr("risk.shares._SEARCHED", 0)
    for plan in MANY:
        found = rounded(plan)
        shares, relaxed = found.quantities, found.relaxed
        assert plan.broken(shares) == set(relaxed), plan
        gross, traded = plan.gross(shares), plan.traded(shares)
        rows = list(enumerate(zip(shares, plan.held, plan.prices, plan.free, strict=True)))
        if "turnover" in relaxed:
            for _, (s, h, p, _) in rows:
                assert s <= h and (s == h or (s + 1) * p > plan.most or gross + p > plan.budget), plan
        for i, (s, h, p, f) in rows:
            if f and s * p < plan.minimum(i):
                spent = s >= h and traded + p > plan.turnover - 1e-6
                assert gross + p > plan.budget - 1e-6 or (s + 1) * p > plan.most - 1e-6 or spent, plan


def test_where_repairs_fail_the_first_neighbouring_book_that_keeps_every_limit_is_taken(monkeypatch):
    """Neighbours are tried from the first instrument to the last, the nearer whole number first."""
    searched = 0
    for plan in CLOSE:
        with monkeypatch.context() as greedy:
            greedy.setattr("risk.shares._SEARCHED", 0)
            repaired = rounded(plan)
        found = rounded(plan)
        if not repaired.relaxed:
            assert found == repaired
        elif not found.relaxed:
            searched += 1
            books = sorted(
                plan.neighbours(), key=lambda shares: [abs(s - x) for s, x in zip(shares, exact(plan), strict=True)]
            )
            assert found.quantities == next(shares for shares in books if not plan.broken(shares)), plan
    assert searched > 50


def exact(plan: Plan) -> list[float]:
    rows = zip(plan.weights, plan.prices, plan.held, plan.free, strict=True)
    return [weight * plan.equity / price if free else held for weight, price, held, free in rows]


def test_after_every_repair_the_totals_are_those_of_the_shares():
    for plan in MANY:
        book = _Rounded(plan.weights, plan.held, plan.prices, plan.equity, plan.bounds)
        search = partial(book.search, minimum=False)
        for repair in (book.keep_budget, book.keep_turnover, book.lift, search, book.lift):
            repair()
            assert (book.gross, book.traded) == (plan.gross(tuple(book.shares)), plan.traded(tuple(book.shares))), plan


@pytest.mark.parametrize(("instruments", "searched"), [(10, True), (11, False)])
def test_up_to_ten_instruments_are_searched_and_above_that_repairs_are_greedy(instruments, searched):
    # The first sale that greedy repairs choose is too large for what turnover has left; two others are not.
    weights, held, prices = (0.04878594, 0.09471814, 0.05105103), (1, 4, 2), (6_000, 3_000, 4_000)
    none = (0,) * (instruments - 3)
    limits = Bounds(1.0, 0.0, 0.1995551173668314, 0.037722441316584296)
    rounded = whole_shares((*weights, *none), (*held, *none), (*prices, *(1_000 for _ in none)), 100_000.0, limits)
    greedy = WholeShares((0, 3, 2, *none), {"turnover": 0.045})
    assert rounded == (WholeShares((1, 3, 1, *none)) if searched else greedy)
