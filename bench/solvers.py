"""The projection as a quadratic programme for general solvers, in the form that suits each.

Two forms. *As stated*: variables w and u >= |w - held|, so 2n variables and 2n + 2 rows. *Restated*: what is bought and what is
sold of each name, both within bounds, so 2n variables and 2 rows; some solvers are twice as fast with it. Whatever does
not change between problems (matrices, the solver's own set-up where it can be updated) is made once. A solver returns
the weights, or raises when it has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import clarabel
import cvxpy
import daqp
import numpy as np
import piqp
import quadprog
import scipy.sparse as sparse
from numpy.typing import NDArray

from risk.projection import Bounds

FloatArray = NDArray[np.float64]
Solver = Callable[[Sequence[float], Sequence[float]], FloatArray]

# Interior-point solvers end here; the auxiliary variables get a little curvature where a solver asks for it.
ACCURACY = 1e-9
CURVATURE = 1e-9
DAQP_CURVATURE = 1e-6
INFINITE = 1e30


def _rows_as_stated(n: int) -> FloatArray:
    """-w - u <= -held, w - u <= held, sum(w) <= budget, sum(u) <= L1 turnover."""
    one = np.eye(n)
    sums = np.zeros((2, 2 * n))
    sums[0, :n] = sums[1, n:] = 1.0
    return np.vstack([np.hstack([-one, -one]), np.hstack([one, -one]), sums])


def _restated(n: int) -> tuple[FloatArray, FloatArray]:
    """Return the curvature and the two rows over (bought, sold)."""
    one = np.eye(n)
    curvature = np.block([[one, -one], [-one, one]]) + CURVATURE * np.eye(2 * n)
    rows = np.ones((2, 2 * n))
    rows[0, n:] = -1.0
    return curvature, rows


def _reach(p: FloatArray, bounds: Bounds) -> tuple[FloatArray, FloatArray]:
    """Return the least and the most of (bought, sold)."""
    least = np.r_[np.maximum(bounds.min_weight - p, 0.0), np.maximum(p - bounds.max_weight, 0.0)]
    most = np.r_[np.maximum(bounds.max_weight - p, 0.0), np.maximum(p - bounds.min_weight, 0.0)]
    return least, most


def with_quadprog(n: int, bounds: Bounds) -> Solver:
    """Return Goldfarb and Idnani's dual method, dense."""
    box = np.hstack([np.eye(n), np.zeros((n, n))])
    matrix = np.ascontiguousarray(np.vstack([box, -box, -_rows_as_stated(n)]).T)
    curvature = np.diag(np.r_[np.ones(n), np.full(n, CURVATURE)])
    low, high = np.full(n, bounds.min_weight), np.full(n, -bounds.max_weight)

    def solve(target: Sequence[float], previous: Sequence[float]) -> FloatArray:
        t, p = np.array(target), np.array(previous)
        right = np.concatenate([low, high, p, -p, [-bounds.budget, -2.0 * bounds.turnover]])
        answer: FloatArray = quadprog.solve_qp(curvature, np.r_[t, np.zeros(n)], matrix, right)[0]
        return answer[:n]

    return solve


def with_daqp(n: int, bounds: Bounds) -> Solver:
    """Return a dual active-set method for small dense problems."""
    rows = np.ascontiguousarray(_rows_as_stated(n))
    curvature = np.diag(np.r_[np.ones(n), np.full(n, DAQP_CURVATURE)])
    sense = np.zeros(2 * n + len(rows), dtype=np.int32)
    low = np.r_[np.full(n, bounds.min_weight), np.zeros(n), np.full(2 * n + 2, -INFINITE)]
    box = np.r_[np.full(n, bounds.max_weight), np.ones(n)]

    def solve(target: Sequence[float], previous: Sequence[float]) -> FloatArray:
        t, p = np.array(target), np.array(previous)
        high = np.concatenate([box, -p, p, [bounds.budget, 2.0 * bounds.turnover]])
        found = daqp.solve(curvature, np.r_[-t, np.zeros(n)], rows, high, low, sense)
        if found[2] != 1:
            raise ValueError(f"daqp: exit flag {found[2]}")
        weights: FloatArray = found[0][:n]
        return weights

    return solve


def with_clarabel(n: int, bounds: Bounds) -> Solver:
    """Return an interior-point method, sparse, set up for each problem."""
    one, none = sparse.identity(n), sparse.csc_matrix((n, n))
    stated = sparse.csc_matrix(_rows_as_stated(n))
    rows = sparse.vstack([stated, sparse.hstack([-one, none]), sparse.hstack([one, none])]).tocsc()
    curvature = sparse.diags(np.r_[np.ones(n), np.full(n, CURVATURE)]).tocsc()
    low, high = np.full(n, -bounds.min_weight), np.full(n, bounds.max_weight)
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    cone = [clarabel.NonnegativeConeT(rows.shape[0])]

    def solve(target: Sequence[float], previous: Sequence[float]) -> FloatArray:
        t, p = np.array(target), np.array(previous)
        right = np.concatenate([-p, p, [bounds.budget, 2.0 * bounds.turnover], low, high])
        found = clarabel.DefaultSolver(curvature, np.r_[-t, np.zeros(n)], rows, right, cone, settings).solve()
        if str(found.status) != "Solved":
            raise ValueError(f"clarabel: {found.status}")
        return np.array(found.x)[:n]

    return solve


def _piqp(curvature: sparse.csc_matrix, rows: FloatArray, low: FloatArray, high: FloatArray) -> piqp.SparseSolver:
    solver = piqp.SparseSolver()
    solver.settings.eps_abs = solver.settings.eps_rel = ACCURACY
    count, n = rows.shape
    none, right = np.full(count, -np.inf), np.ones(count)
    solver.setup(curvature, np.zeros(n), None, None, sparse.csc_matrix(rows), none, right, low, high)
    return solver


def with_piqp(n: int, bounds: Bounds) -> Solver:
    """Return a proximal interior-point method, sparse, kept and updated."""
    low = np.r_[np.full(n, bounds.min_weight), np.zeros(n)]
    high = np.r_[np.full(n, bounds.max_weight), np.ones(n)]
    curvature = sparse.diags(np.r_[np.ones(n), np.full(n, CURVATURE)]).tocsc()
    solver = _piqp(curvature, _rows_as_stated(n), low, high)

    def solve(target: Sequence[float], previous: Sequence[float]) -> FloatArray:
        t, p = np.array(target), np.array(previous)
        right = np.concatenate([-p, p, [bounds.budget, 2.0 * bounds.turnover]])
        solver.update(c=np.r_[-t, np.zeros(n)], h_u=right)
        if solver.solve() != piqp.PIQP_SOLVED:
            raise ValueError("piqp: not solved")
        return np.array(solver.result.x)[:n]

    return solve


def with_piqp_restated(n: int, bounds: Bounds) -> Solver:
    """Return the same method for the restated problem."""
    curvature, rows = _restated(n)
    solver = _piqp(sparse.csc_matrix(curvature), rows, np.zeros(2 * n), np.ones(2 * n))

    def solve(target: Sequence[float], previous: Sequence[float]) -> FloatArray:
        t, p = np.array(target), np.array(previous)
        x = t - p
        least, most = _reach(p, bounds)
        right = np.array([bounds.budget - p.sum(), 2.0 * bounds.turnover])
        solver.update(c=np.r_[-x, x], h_u=right, x_l=least, x_u=most)
        if solver.solve() != piqp.PIQP_SOLVED:
            raise ValueError("piqp: not solved")
        trades = np.array(solver.result.x)
        return np.asarray(p + trades[:n] - trades[n:])

    return solve


def with_cvxpy(n: int, bounds: Bounds) -> Solver:
    """Return a modelling layer with parameters, compiled once, over clarabel."""
    w, t, p = cvxpy.Variable(n), cvxpy.Parameter(n), cvxpy.Parameter(n)
    problem = cvxpy.Problem(
        cvxpy.Minimize(cvxpy.sum_squares(w - t)),
        [
            w >= bounds.min_weight,
            w <= bounds.max_weight,
            cvxpy.sum(w) <= bounds.budget,
            cvxpy.norm1(w - p) <= 2.0 * bounds.turnover,
        ],
    )

    def solve(target: Sequence[float], previous: Sequence[float]) -> FloatArray:
        t.value, p.value = np.array(target), np.array(previous)
        problem.solve(solver=cvxpy.CLARABEL)
        if problem.status != cvxpy.OPTIMAL:
            raise ValueError(f"cvxpy: {problem.status}")
        return np.asarray(w.value)

    return solve
