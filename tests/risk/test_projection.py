"""The projection against an independent judge, and what must hold for any portfolio at all."""

from __future__ import annotations

import numpy as np
import pytest
import quadprog
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.projection import Bounds, Projection, project, project_batch

EPS = 1e-9


def bounds(**changes: object) -> Bounds:
    values: dict[str, object] = {"max_weight": 0.40, "min_weight": 0.05, "budget": 0.95, "turnover": 0.30}
    return Bounds(**{**values, **changes})  # type: ignore[arg-type]


EQUAL = (0.19,) * 5


@st.composite
def problems(draw: st.DrawFn, *, pins: bool = True) -> tuple[list[float], list[float], Bounds]:
    """Any target, any held book (up to fully invested, drifted as far as it likes), any sane limits."""
    n = draw(st.one_of(st.integers(1, 12), st.integers(25, 50)))
    share = st.floats(0.0, 1.0).map(lambda x: 0.0 if x < 1e-6 else x)
    raw = draw(st.lists(share, min_size=n, max_size=n))
    held_sum = draw(st.sampled_from([0.0, 0.3, 0.95, 1.0]))
    total = sum(raw) or 1.0
    previous = [held_sum * x / total for x in raw]
    target = draw(st.lists(share, min_size=n, max_size=n))
    if draw(st.booleans()):
        scale = sum(target) or 1.0
        target = [x / scale for x in target]
    minimum = draw(st.sampled_from([0.0, 0.2, 0.6])) / n
    limits = bounds(
        max_weight=min(1.0, draw(st.sampled_from([1.2, 2.0, 4.0])) / n),
        min_weight=minimum,
        budget=draw(st.sampled_from([0.5, 0.95, 1.0])),
        turnover=draw(st.sampled_from([0.0, 0.02, 0.1, 0.3, 1.0])),
    )
    if pins and draw(st.booleans()):
        tradable = tuple(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
        limits = Bounds(limits.max_weight, limits.min_weight, limits.budget, limits.turnover, tradable=tradable)
    return target, previous, limits


def judge(target: list[float], previous: list[float], limits: Bounds) -> np.ndarray | None:
    """The same problem as a quadratic programme with auxiliary variables u >= |w - previous|; None when infeasible."""
    n = len(target)
    free = np.array(limits.tradable if limits.tradable is not None else (True,) * n)
    p, t = np.array(previous), np.array(target)
    low, high = np.where(free, limits.min_weight, p), np.where(free, limits.max_weight, p)
    one, none = np.eye(n), np.zeros((n, n))
    rows = [
        (np.c_[one, none], low),
        (np.c_[-one, none], -high),
        (np.c_[-one, one], -p),
        (np.c_[one, one], p),
        (np.r_[-np.ones(n), np.zeros(n)][None], [-limits.budget]),
        (np.r_[np.zeros(n), -np.ones(n)][None], [-2.0 * limits.turnover]),
    ]
    matrix = np.vstack([m for m, _ in rows]).T
    # A hair of room: quadprog calls a set without an interior infeasible.
    right = np.concatenate([np.asarray(b, dtype=float) for _, b in rows]) - 1e-10
    try:
        answer = quadprog.solve_qp(np.diag(np.r_[np.ones(n), np.full(n, 1e-9)]), np.r_[t, np.zeros(n)], matrix, right)
    except ValueError:
        return None
    return answer[0][:n]


def broken(result: Projection, previous: list[float], limits: Bounds) -> list[str]:
    """Names of the limits that the result breaks, by the bounds that it reports."""
    w, p = np.array(result.weights), np.array(previous)
    free = np.array(limits.tradable if limits.tradable is not None else (True,) * len(w))
    relaxed = result.relaxed
    wrong = []
    if np.any(w < -EPS):
        wrong.append("short")
    if np.any(w[~free] != p[~free]):
        wrong.append("untradable")
    if np.any(w[free] > limits.max_weight + EPS):
        wrong.append("max_weight")
    if np.any(w[free] < min(limits.min_weight, relaxed.get("min_weight", 1.0)) - EPS):
        wrong.append("min_weight")
    if w.sum() > max(limits.budget, relaxed.get("cash_reserve", 0.0)) + EPS:
        wrong.append("cash_reserve")
    if 0.5 * np.abs(w - p).sum() > max(limits.turnover, relaxed.get("turnover", 0.0)) + EPS:
        wrong.append("turnover")
    return wrong


@settings(max_examples=300, deadline=None)
@given(problems())
def test_the_result_keeps_every_limit_and_says_which_it_could_not_keep(problem):
    target, previous, limits = problem
    result = project(target, previous, limits)
    assert broken(result, previous, limits) == []
    assert set(result.active) == set(result.moved)


@settings(max_examples=300, deadline=None)
@given(problems())
def test_nothing_is_relaxed_when_all_limits_can_hold_and_the_result_is_the_closest_point(problem):
    target, previous, limits = problem
    best = judge(target, previous, limits)
    result = project(target, previous, limits)
    if best is None:
        # The judge has 1e-10 of room and found nothing: something had to give way.
        assert result.relaxed
        return
    if not result.relaxed:
        assert np.allclose(result.weights, best, atol=2e-5)
        mine = np.sum((np.array(result.weights) - target) ** 2)
        assert mine <= np.sum((best - target) ** 2) + 1e-7


@settings(max_examples=200, deadline=None)
@given(problems())
def test_projecting_twice_is_projecting_once(problem):
    target, previous, limits = problem
    once = project(target, previous, limits).weights
    twice = project(once, previous, limits).weights
    assert np.allclose(once, twice, atol=1e-11)


@settings(max_examples=200, deadline=None)
@given(problems(), st.integers(0, 2**32 - 1))
def test_a_small_change_of_the_target_is_at_most_that_change_of_the_result(problem, seed):
    target, previous, limits = problem
    nudged = (np.array(target) + np.random.default_rng(seed).normal(0.0, 1e-6, len(target))).tolist()
    before = np.array(project(target, previous, limits).weights)
    after = np.array(project(nudged, previous, limits).weights)
    assert np.linalg.norm(after - before) <= np.linalg.norm(np.array(nudged) - target) + 1e-10


@settings(max_examples=150, deadline=None)
@given(problems())
def test_the_batch_gives_the_same_weights(problem):
    target, previous, limits = problem
    one = project(target, previous, limits).weights
    rows = project_batch(np.array([target, previous, target]), np.array([previous] * 3), limits)
    assert np.allclose(rows[0], one, atol=EPS) and np.allclose(rows[2], one, atol=EPS)


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


def test_leverage_is_named_when_it_binds_before_the_cash_reserve():
    result = project((0.19,) * 5, EQUAL, bounds(budget=0.80, budget_name="leverage"))
    assert result.active == ("leverage",)
