"""The projection against independent judges, and what must hold for any portfolio at all, from 1 to 500 instruments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import quadprog
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, hstack, vstack

from risk.projection import Bounds, Projection, project, project_batch
from risk.projection_arrays import project_arrays
from risk.schema import PositionLimits
from tests.examples import examples

EPS = 1e-9
EXACTLY = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


def bounds(**changes: object) -> Bounds:
    values: dict[str, object] = {"max_weight": 0.40, "min_weight": 0.05, "budget": 0.95, "turnover": 0.30}
    return Bounds(**{**values, **changes})  # type: ignore[arg-type]


EQUAL = (0.19,) * 5
FEW = st.integers(1, 12)
ANY = st.one_of(FEW, st.integers(13, 60), st.integers(61, 500))


@st.composite
def problems(draw: st.DrawFn, sizes: st.SearchStrategy[int] = ANY) -> tuple[list[float], list[float], Bounds]:
    """Any target, any held book (up to fully invested, drifted as far as it likes), any sane limits.

    Every number of a small problem is drawn, so that it shrinks; a large one comes from a drawn seed, coarse enough at
    times for ties.
    """
    n = draw(sizes)
    if n <= 12:
        share = st.floats(0.0, 1.0).map(lambda x: 0.0 if x < 1e-6 else x)
        raw = draw(st.lists(share, min_size=n, max_size=n))
        target = draw(st.lists(share, min_size=n, max_size=n))
        flags = draw(st.one_of(st.none(), st.lists(st.booleans(), min_size=n, max_size=n)))
    else:
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        power = draw(st.sampled_from([0.2, 1.0, 4.0]))
        raw, target = rng.random(n) ** power, rng.random(n) ** power
        if draw(st.booleans()):
            raw, target = np.round(raw, 1), np.round(target, 1)
        raw, target = raw.tolist(), target.tolist()
        free = draw(st.sampled_from([0.0, 0.5, 0.97]))
        flags = draw(st.sampled_from([None, None, [bool(flag) for flag in rng.random(n) < free]]))
    held_sum = draw(st.sampled_from([0.0, 0.3, 0.95, 1.0]))
    total = sum(raw) or 1.0
    previous = [held_sum * x / total for x in raw]
    if n > 12 or draw(st.booleans()):
        scale = sum(target) or 1.0
        target = [x / scale for x in target]
    limits = Bounds(
        min(1.0, draw(st.sampled_from([1.2, 2.0, 4.0])) / n),
        draw(st.sampled_from([0.0, 0.2, 0.6])) / n,
        draw(st.sampled_from([0.5, 0.95, 1.0])),
        draw(st.sampled_from([0.0, 0.02, 0.1, 0.3, 1.0])),
        tradable=None if flags is None else tuple(flags),
    )
    if limits.min_weight > limits.budget / n:
        limits = bounds(
            **{**{f: getattr(limits, f) for f in limits.__struct_fields__}, "min_weight": limits.budget / n}
        )
    return target, previous, limits


class Judge:
    """What can be kept, found without the code under test: by linear programmes over the weights and |w - held|."""

    def __init__(self, previous: list[float], limits: Bounds) -> None:
        n = len(previous)
        self.p = np.array(previous)
        self.free = np.array(limits.tradable if limits.tradable is not None else (True,) * n)
        self.relaxed: dict[str, float] = {}
        stuck = self.p[~self.free]
        self.budget, self.l1 = limits.budget, 2.0 * limits.turnover
        least = limits.min_weight
        if len(stuck):
            if stuck.max() > limits.max_weight + EPS:
                self.relaxed["max_weight"] = stuck.max()
            if stuck.sum() > limits.budget + EPS:
                self.relaxed[limits.budget_name] = stuck.sum()
            self.budget = max(self.budget, float(stuck.sum()))
            least = min(least, float(stuck.min()))
        self.high = np.where(self.free, limits.max_weight, self.p)
        self.low = np.where(self.free, 0.0, self.p)
        # Without any minimum: the least turnover that reaches max weight and budget.
        answer = self._solve(np.r_[np.zeros(n), np.ones(n)])
        if answer > self.l1 + EPS:
            self.relaxed["turnover"] = 0.5 * answer
        self.l1 = max(self.l1, answer)
        # Then the largest minimum for all that can be traded.
        level = limits.min_weight
        if self.free.any():
            level = min(level, self._largest_minimum(limits.min_weight))
        if min(level, least) < limits.min_weight - EPS:
            self.relaxed["min_weight"] = min(level, least)
        # A position between that level and the minimum that cash allows is not sold further.
        cash = (self.budget - float(stuck.sum())) / max(1, int(self.free.sum()))
        self.low = np.where(self.free, np.maximum(level, np.minimum(self.p, min(limits.min_weight, cash))), self.p)

    def _rows(self) -> tuple[csr_array, NDArray[np.float64]]:
        n = len(self.p)
        one = eye_array(n, format="csr")
        sums = csr_array(np.r_[np.c_[np.ones((1, n)), np.zeros((1, n))], np.c_[np.zeros((1, n)), np.ones((1, n))]])
        rows = vstack([hstack([one, -one]), hstack([-one, -one]), sums], format="csr")
        return rows, np.r_[self.p, -self.p, self.budget, np.inf]

    def _solve(self, cost: NDArray[np.float64]) -> float:
        rows, right = self._rows()
        n = len(self.p)
        sides = list(zip(np.r_[self.low, np.zeros(n)], np.r_[self.high, np.full(n, 2.0)], strict=True))
        return float(linprog(cost, A_ub=rows[:-1], b_ub=right[:-1], bounds=sides, options=EXACTLY).fun)

    def _largest_minimum(self, wanted: float) -> float:
        rows, right = self._rows()
        right[-1] = self.l1
        n = len(self.p)
        names = np.flatnonzero(self.free)
        lifts = csr_array((np.full(len(names), -1.0), (range(len(names)), names)), shape=(len(names), 2 * n))
        matrix = vstack([hstack([rows, csr_array((len(right), 1))]), hstack([lifts, np.ones((len(names), 1))])])
        sides = list(zip(np.r_[self.low, np.zeros(n), 0.0], np.r_[self.high, np.full(n, 2.0), wanted], strict=True))
        # A hair of turnover: what is needed exactly was found by a programme with a tolerance.
        right[-2:] += 1e-9
        right = np.r_[right, np.zeros(len(names))]
        cost = np.r_[np.zeros(2 * n), -1.0]
        return -float(linprog(cost, A_ub=matrix, b_ub=right, bounds=sides, options=EXACTLY).fun)


def closest(target: list[float], judge: Judge) -> NDArray[np.float64]:
    """The closest point by quadprog, with auxiliary variables u >= |w - held|."""
    n = len(target)
    one, none = np.eye(n), np.zeros((n, n))
    rows = [
        (np.c_[one, none], judge.low),
        (np.c_[-one, none], -judge.high),
        (np.c_[-one, one], -judge.p),
        (np.c_[one, one], judge.p),
        (np.r_[-np.ones(n), np.zeros(n)][None], [-judge.budget]),
        (np.r_[np.zeros(n), -np.ones(n)][None], [-judge.l1]),
    ]
    matrix = np.vstack([m for m, _ in rows]).T
    # A hair of room: quadprog calls a set without an interior infeasible, and the linear programmes have a tolerance.
    right = np.concatenate([np.asarray(b, dtype=float) for _, b in rows]) - 1e-8
    answer = quadprog.solve_qp(np.diag(np.r_[np.ones(n), np.full(n, 1e-9)]), np.r_[target, np.zeros(n)], matrix, right)
    return np.asarray(answer[0][:n])


def stationary(target: list[float], result: Projection, judge: Judge) -> bool:
    """Whether multipliers exist that make the result the closest point (Karush, Kuhn and Tucker).

    For a budget multiplier a >= 0 and a turnover multiplier m >= 0, what is bought fixes c = a + m and what is sold
    d = a - m; each weight gives an interval for one of them, and all intervals must have a common point.
    """
    w, p, low, high = np.array(result.weights), judge.p, judge.low, judge.high
    gap, at = np.array(target) - w, 1e-9
    open_ = judge.free & (high - low > 2 * at)
    above, below = open_ & (w > low + at), open_ & (w < high - at)
    bought, sold = w > p + at, w < p - at
    same = ~bought & ~sold

    def span(least: NDArray[np.bool_], most: NDArray[np.bool_]) -> tuple[float, float]:
        return float(gap[least].max(initial=-np.inf)), float(gap[most].min(initial=np.inf))

    # A weight that could go down (above its lower bound) but does not bounds the multiplier from above, and so on.
    c_low, c_high = span(below & (bought | same), above & bought)
    d_low, d_high = span(below & sold, above & (sold | same))
    a_most = np.inf if w.sum() > judge.budget - 1e-8 else 0.0
    m_most = np.inf if np.abs(w - p).sum() > judge.l1 - 1e-8 else 0.0
    # c in [c_low, c_high], d in [d_low, d_high], 0 <= (c + d) / 2 <= a_most, 0 <= (c - d) / 2 <= m_most.
    answer = linprog(
        [0.0, 0.0],
        A_ub=[[-1, -1], [-1, 1]] + ([[1, 1]] if a_most == 0 else []) + ([[1, -1]] if m_most == 0 else []),
        b_ub=[2e-9, 2e-9] + ([2e-9] if a_most == 0 else []) + ([2e-9] if m_most == 0 else []),
        bounds=[(c_low - 2e-9, c_high + 2e-9), (d_low - 2e-9, d_high + 2e-9)],
    )
    return bool(answer.status == 0)


def broken(result: Projection, previous: list[float], limits: Bounds) -> list[str]:
    """Names of the limits that the result breaks, by the bounds that it reports."""
    w, p = np.array(result.weights), np.array(previous)
    free = np.array(limits.tradable if limits.tradable is not None else (True,) * len(w))
    relaxed = result.relaxed
    wrong = []
    if np.any(w < 0.0):
        wrong.append("short")
    if np.any(w[~free] != p[~free]):
        wrong.append("untradable")
    if np.any(w[free] > limits.max_weight + 1e-12):
        wrong.append("max_weight")
    if np.any(w[free] < min(limits.min_weight, relaxed.get("min_weight", 1.0)) - 1e-12):
        wrong.append("min_weight")
    if w.sum() > max(limits.budget, relaxed.get("cash_reserve", 0.0)) + 3e-12:
        wrong.append("cash_reserve")
    if 0.5 * np.abs(w - p).sum() > max(limits.turnover, relaxed.get("turnover", 0.0)) + 3e-12:
        wrong.append("turnover")
    return wrong


@settings(max_examples=examples(500), deadline=None)
@given(problems())
def test_the_result_keeps_every_limit_and_says_which_it_could_not_keep(problem):
    target, previous, limits = problem
    result = project(target, previous, limits)
    assert broken(result, previous, limits) == []
    assert set(result.active) == set(result.moved)


@settings(max_examples=examples(250), deadline=None)
@given(problems())
def test_only_what_cannot_hold_is_relaxed_and_by_the_smallest_amount(problem):
    target, previous, limits = problem
    judge = Judge(previous, limits)
    assert project(target, previous, limits).relaxed == pytest.approx(judge.relaxed, abs=1e-7)


@settings(max_examples=examples(250), deadline=None)
@given(problems(FEW))
def test_the_result_is_the_closest_point_that_a_general_solver_finds(problem):
    target, previous, limits = problem
    result = project(target, previous, limits)
    best = closest(target, Judge(previous, limits))
    assert np.allclose(result.weights, best, atol=1e-4)
    mine = np.sum((np.array(result.weights) - target) ** 2)
    assert mine <= np.sum((best - target) ** 2) + 1e-6


@settings(max_examples=examples(250), deadline=None)
@given(problems())
def test_multipliers_prove_that_no_feasible_point_is_closer(problem):
    target, previous, limits = problem
    assert stationary(target, project(target, previous, limits), Judge(previous, limits))


@settings(max_examples=examples(200), deadline=None)
@given(problems())
def test_projecting_twice_is_projecting_once(problem):
    target, previous, limits = problem
    result = project(target, previous, limits)
    twice = project(result.weights, previous, limits)
    if result.relaxed or limits.tradable is not None:
        assert np.allclose(result.weights, twice.weights, rtol=0.0, atol=1e-11)
    else:
        assert twice == Projection(result.weights)


@settings(max_examples=examples(200), deadline=None)
@given(problems(), st.integers(0, 2**32 - 1))
def test_a_small_change_of_the_target_is_at_most_that_change_of_the_result(problem, seed):
    target, previous, limits = problem
    nudged = (np.array(target) + np.random.default_rng(seed).normal(0.0, 1e-6, len(target))).tolist()
    before = np.array(project(target, previous, limits).weights)
    after = np.array(project(nudged, previous, limits).weights)
    assert np.linalg.norm(after - before) <= np.linalg.norm(np.array(nudged) - target) + 1e-10


@settings(max_examples=examples(300), deadline=None)
@given(problems(), st.integers(0, 2**32 - 1))
def test_a_small_change_of_the_book_or_the_limits_is_a_small_change_of_the_result(problem, seed):
    """Whatever gives way gives way continuously; only an instrument that stops being tradable makes a step."""
    target, previous, limits = problem
    rng, size = np.random.default_rng(seed), 1e-8
    moved = np.maximum(np.array(previous) + size * rng.uniform(-1.0, 1.0, len(previous)), 0.0).tolist()
    other = Bounds(
        limits.max_weight + size * rng.uniform(),
        max(0.0, limits.min_weight + size * rng.uniform(-1.0, 0.0)),
        limits.budget + size * rng.uniform(-1.0, 1.0),
        max(0.0, limits.turnover + size * rng.uniform(-1.0, 1.0)),
        limits.budget_name,
        limits.tradable,
    )
    before, after = project(target, previous, limits), project(target, moved, other)
    change = 2.0 * len(previous) + 4.0
    assert np.abs(np.array(after.weights) - before.weights).sum() <= 4.0 * size * change


@settings(max_examples=examples(200), deadline=None)
@given(problems())
def test_the_batch_gives_the_same_weights(problem):
    target, previous, limits = problem
    one = project(target, previous, limits).weights
    rows = project_batch(np.array([target, previous, target]), np.array([previous] * 3), limits)
    assert np.allclose(rows[0], one, rtol=0.0, atol=EPS) and np.allclose(rows[2], one, rtol=0.0, atol=EPS)


@settings(max_examples=examples(300), deadline=None)
@given(problems(st.integers(1, 60)))
def test_plain_python_and_numpy_give_the_same_answer_and_the_same_report(problem):
    target, previous, limits = problem
    one, other = project(target, previous, limits), project_arrays(target, previous, limits)
    assert np.allclose(one.weights, other.weights, rtol=0.0, atol=1e-11)
    assert one.relaxed == pytest.approx(other.relaxed, abs=1e-11)
    for name in {*one.moved, *other.moved}:
        assert one.moved.get(name, 0.0) == pytest.approx(other.moved.get(name, 0.0), abs=1e-10)


def test_the_batch_treats_every_row_alone():
    rng = np.random.default_rng(7)
    targets, previous = rng.dirichlet(np.ones(5), 400), rng.dirichlet(np.ones(5), 400) * rng.random((400, 1))
    tradable = rng.random((400, 5)) > 0.2
    rows = project_batch(targets, previous, bounds(), tradable=tradable)
    for t, p, flags, row in zip(targets, previous, tradable, rows, strict=True):
        limits = bounds(tradable=tuple(bool(f) for f in flags))
        assert np.allclose(project(t.tolist(), p.tolist(), limits).weights, row, atol=EPS)


@given(st.permutations(range(5)))
def test_a_feasible_target_comes_back_bit_for_bit(order):
    target = [(0.05, 0.1, 0.2, 0.25, 0.33)[i] for i in order]
    assert project(target, EQUAL, bounds()) == Projection(tuple(target))


def test_each_limit_alone_is_reported_with_how_far_it_moved_the_target():
    wide = {"max_weight": 1.0, "min_weight": 0.0, "budget": 1.0, "turnover": 1.0}
    top = project((0.6, 0.1, 0.1, 0.1, 0.1), EQUAL, bounds(**{**wide, "max_weight": 0.4}))
    assert top.active == ("max_weight",) and top.moved["max_weight"] == pytest.approx(0.2)
    low = project((0.5, 0.1, 0.1, 0.1, 0.0), EQUAL, bounds(**{**wide, "min_weight": 0.05}))
    assert low.active == ("min_weight",) and low.moved["min_weight"] == pytest.approx(0.05)
    cash = project((0.2,) * 5, EQUAL, bounds(**{**wide, "budget": 0.95}))
    assert cash.active == ("cash_reserve",) and cash.weights == pytest.approx((0.19,) * 5)
    turn = project((0.6, 0.1, 0.1, 0.1, 0.1), (0.1,) * 5, bounds(**{**wide, "turnover": 0.10}))
    assert turn.active == ("turnover",) and turn.weights == pytest.approx((0.3, 0.1, 0.1, 0.1, 0.1))
    pinned = project((0.1,) * 5, EQUAL, bounds(**wide, tradable=(False, True, True, True, True)))
    assert pinned.active == ("untradable",) and pinned.weights == (0.19, 0.1, 0.1, 0.1, 0.1)


def test_from_cash_the_first_day_buys_as_much_as_turnover_allows():
    result = project(EQUAL, (0.0,) * 5, bounds())
    assert result.weights == pytest.approx((0.12,) * 5) and not result.relaxed


def test_drift_above_the_maximum_is_sold_even_beyond_the_turnover_cap_and_buys_nothing():
    previous = (0.55, 0.10, 0.10, 0.10, 0.10)
    result = project((0.40, 0.2, 0.15, 0.10, 0.10), previous, bounds(turnover=0.05))
    assert result.weights == pytest.approx((0.40, 0.10, 0.10, 0.10, 0.10))
    assert result.relaxed == pytest.approx({"turnover": 0.075})


def test_from_cash_with_little_turnover_the_minimum_gives_way():
    result = project(EQUAL, (0.0,) * 5, bounds(turnover=0.05))
    assert result.weights == pytest.approx((0.02,) * 5)
    assert result.relaxed == pytest.approx({"min_weight": 0.02})


def test_when_turnover_ends_the_purchases_the_smallest_positions_are_lifted_to_one_level():
    previous = (0.0, 0.01, 0.03, 0.06, 0.30)
    result = project((0.2,) * 5, previous, bounds(turnover=0.015))
    assert result.weights == pytest.approx((0.02, 0.02, 0.03, 0.06, 0.30))
    assert result.relaxed == pytest.approx({"min_weight": 0.02})


def test_a_purchase_to_the_minimum_that_needs_a_sale_costs_its_turnover_twice():
    # The budget is used up: of 4 % bought and sold, half pays for the purchases of the two that are empty.
    held = (0.5, 0.45, 0.0, 0.0)
    limits = bounds(max_weight=0.6, turnover=0.02)
    result = project(held, held, limits)
    assert result.weights == pytest.approx((0.49, 0.44, 0.01, 0.01)) and result.relaxed == pytest.approx(
        {"min_weight": 0.01}
    )
    # With 1 % of the budget unused, that costs its own value and the rest twice: 0.01 + (0.04 - 0.01) / 2.
    held = (0.5, 0.44, 0.0, 0.0)
    result = project(held, held, limits)
    assert result.relaxed == pytest.approx({"min_weight": 0.0125}) and sum(result.weights) == pytest.approx(0.95)
    (row,) = project_batch(np.array([held]), np.array([held]), limits)
    assert row.tolist() == pytest.approx(result.weights)


def test_the_lowest_of_all_minima_that_gave_way_is_reported():
    # Nothing of the first, which cannot be traded; the cash for the last is short of its minimum.
    short_of_cash = bounds(max_weight=0.9, min_weight=0.2, tradable=(False, False, True))
    result = project((0.0, 0.85, 0.1), (0.0, 0.85, 0.1), short_of_cash)
    assert result.relaxed == pytest.approx({"min_weight": 0.0}) and result.weights[2] == pytest.approx(0.1)
    (row,) = project_batch(np.array([[0.0, 0.85, 0.0]]), np.array([[0.0, 0.85, 0.0]]), short_of_cash)
    assert row.tolist() == pytest.approx([0.0, 0.85, 0.1]), "one instrument has all the cash to itself"
    short_of_turnover = bounds(turnover=0.01, tradable=(False, True, True))
    result = project((0.0, 0.3, 0.0), (0.0, 0.3, 0.0), short_of_turnover)
    assert result.relaxed == pytest.approx({"min_weight": 0.0}) and result.weights[2] == pytest.approx(0.02)


def test_what_cannot_be_traded_and_lies_on_its_limits_gives_way_to_nothing():
    limits = bounds(max_weight=0.5, min_weight=0.25, budget=0.75, tradable=(False, False))
    assert project((0.5, 0.25), (0.5, 0.25), limits).relaxed == {}


def test_the_minimum_gives_way_when_untradable_holdings_leave_too_little_cash():
    limits = bounds(tradable=(False, True, True, True, True), min_weight=0.2, max_weight=0.9)
    result = project((0.1, 0.2, 0.2, 0.2, 0.2), (0.55, 0.1, 0.1, 0.1, 0.1), limits)
    assert result.weights == pytest.approx((0.55, 0.1, 0.1, 0.1, 0.1))
    assert result.relaxed == pytest.approx({"min_weight": 0.1})


def test_untradable_holdings_above_all_limits_stay_and_everything_else_is_sold():
    limits = bounds(tradable=(False, True, True, True, True), turnover=0.01)
    result = project(EQUAL, (0.97, 0.01, 0.01, 0.0, 0.0), limits)
    assert result.weights == pytest.approx((0.97, 0.0, 0.0, 0.0, 0.0))
    assert result.relaxed == pytest.approx({"max_weight": 0.97, "cash_reserve": 0.97, "min_weight": 0.0})


def test_a_book_over_the_budget_is_sold_down_even_when_turnover_is_used_up():
    result = project((0.2,) * 5, (0.2,) * 5, bounds(turnover=0.0))
    assert sum(result.weights) == pytest.approx(0.95)
    assert result.relaxed == pytest.approx({"turnover": 0.025})


def test_of_a_leverage_and_a_cash_reserve_that_leave_the_same_the_reserve_is_named():
    same_budget = PositionLimits(max_leverage=0.95, min_cash_reserve=0.05)
    assert Bounds.of(same_budget).budget_name == "cash_reserve"
    assert Bounds.of(PositionLimits(max_leverage=0.94, min_cash_reserve=0.05)).budget_name == "leverage"


def test_leverage_is_named_when_it_binds_before_the_cash_reserve():
    result = project((0.19,) * 5, EQUAL, bounds(budget=0.80, budget_name="leverage"))
    assert result.active == ("leverage",)


def many_problems(count: int, *, concentrated: bool = False) -> list[tuple[list[float], list[float], Bounds]]:
    """Small problems from a fixed seed, coarse enough for ties and for weights that lie on their limits.

    `concentrated`: a few instruments hold nearly everything, and the others are below their minimum.
    """
    rng = np.random.default_rng(20250602)
    found = []
    for _ in range(count):
        n = int(rng.integers(1, 7))
        digits = int(rng.choice([1, 2, 12]))
        raw, target = np.round(rng.random(n), digits), np.round(rng.random(n) * rng.choice([0.2, 0.5, 1.0]), digits)
        if concentrated:
            raw = raw**6
        previous = np.round(raw * rng.choice([0.0, 0.3, 0.9, 1.0]) / (raw.sum() or 1.0), digits)
        flags = tuple(bool(flag) for flag in rng.random(n) > 0.3) if rng.random() < 0.3 else None
        budget = float(rng.choice([0.5, 0.9, 1.0]))
        maximum = min(1.0, float(rng.choice([1.0, 1.5, 3.0])) / n)
        limits = Bounds(
            maximum,
            min(maximum, budget / n, float(rng.choice([0.0, 0.1, 0.3])) * (2.5 if concentrated else 1.0) / n),
            budget,
            float(rng.choice([0.0, 0.05, 0.2, 1.0])),
            tradable=flags,
        )
        found.append((target.tolist(), previous.tolist(), limits))
    return found


MANY = many_problems(2_000) + many_problems(1_000, concentrated=True)


def same(left: Sequence[float], right: Sequence[float]) -> bool:
    return len(left) == len(right) and all(abs(a - b) <= 1e-11 for a, b in zip(left, right, strict=True))


def same_report(left: dict[str, float], right: dict[str, float]) -> bool:
    return left.keys() == right.keys() and same([*left.values()], [right[name] for name in left])


def test_plain_python_and_numpy_agree_on_thousands_of_small_problems():
    for target, previous, limits in MANY:
        one, other = project(target, previous, limits), project_arrays(target, previous, limits)
        assert same(one.weights, other.weights), (target, previous, limits)
        assert same_report(one.relaxed, other.relaxed) and same_report(one.moved, other.moved)
        assert one.active == tuple(one.moved) and other.active == tuple(other.moved)
        assert min(one.weights) >= 0.0 and min(other.weights) >= 0.0


def test_a_batch_of_many_books_is_each_of_them():
    kinds: dict[tuple[int, Bounds], list[tuple[list[float], list[float]]]] = {}
    for target, previous, limits in MANY:
        kinds.setdefault((len(target), limits), []).append((target, previous))
    for (_, limits), books in kinds.items():
        rows = project_batch(np.array([t for t, _ in books]), np.array([p for _, p in books]), limits)
        for (target, previous), row in zip(books, rows.tolist(), strict=True):
            assert same(project(target, previous, limits).weights, row), (target, previous, limits)


def test_thousands_of_small_problems_keep_their_limits_and_can_be_projected_again():
    for target, previous, limits in MANY[::4]:
        result = project(target, previous, limits)
        assert broken(result, previous, limits) == []
        assert same(project(result.weights, previous, limits).weights, result.weights)


def test_no_instruments_have_no_weights():
    assert project((), (), bounds()) == Projection(())


def test_a_target_of_another_length_than_the_book_is_not_cut_short():
    for target in ((0.2,) * 4, (0.2,) * 6):
        with pytest.raises(ValueError, match=r"argument 2 is"):
            project(target, EQUAL, bounds())
