"""The risk gate's arithmetic: the projection against general solvers, and what a whole decision costs.

Problems are seeded: 0.05 <= w <= 0.40 scaled by 5/n, sum(w) <= 0.95, half-turnover <= 0.30; most have turnover or budget
binding, none needs a relaxation. Ours includes the report of what was moved and relaxed; a solver's time includes
putting the problem into its form. All take turns on the same problems, in blocks, so that a busy spell meets all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.report import Ratio
from brokers.sizing import EXPECTED_COSTS
from daemon.clock import cpu_seconds
from market.money import Paise, rupees
from risk.approval import ApprovedPlan, ProposedOrder, Side
from risk.gate import Book, Gate, OrderContext, TargetApproval
from risk.limits import RiskLimits
from risk.projection import Bounds, project, project_batch
from risk.shares import whole_shares

FloatArray = NDArray[np.float64]
Problem = tuple[list[float], list[float]]

SIZES = (5, 50, 500)
CASES = {5: 600, 50: 300, 500: 100}
# The slow ones try fewer: so many seconds of CPU at most for each solver and size.
SECONDS = 3.0
BLOCK = 60
# Microseconds, and times the best general solver.
P50_TARGET = {5: 30.0, 50: 140.0, 500: 140.0}
RATIO_TARGET = {5: 3.0, 50: 3.0, 500: 50.0}
BATCH_TARGET_MS = 5.0
GATE_TARGET_US = 150.0
SHARES_TARGET_US = {5: 20.0, 500: 400.0}
EQUITY = rupees(1_00_00_000)


def bounds_for(n: int) -> Bounds:
    """Return the limits of the cases, scaled to n instruments."""
    return Bounds(min(1.0, 2.0 / n), 0.25 / n, 0.95, 0.30)


def problems(n: int, count: int, *, seed: int = 1) -> list[Problem]:
    """Return seeded (target, held) pairs for which nothing must be relaxed."""
    generator, bounds = np.random.default_rng(seed), bounds_for(n)
    found: list[Problem] = []
    while len(found) < count:
        target = generator.dirichlet(np.full(n, 0.6)).tolist()
        held = (generator.dirichlet(np.full(n, 3.0)) * generator.uniform(0.5, 0.95)).tolist()
        if not project(target, held, bounds).relaxed:
            found.append((target, held))
    return found


def violation(weights: FloatArray, held: Sequence[float], bounds: Bounds) -> float:
    """Return by how much the worst limit is broken; 0 when none is."""
    turnover = 0.5 * float(np.abs(weights - np.array(held)).sum())
    return max(
        0.0,
        bounds.min_weight - float(weights.min()),
        float(weights.max()) - bounds.max_weight,
        float(weights.sum()) - bounds.budget,
        turnover - bounds.turnover,
    )


class Timing:
    """CPU times of one contender, and the worst that it did."""

    def __init__(self, name: str, solve: Callable[[list[float], list[float]], Any]) -> None:
        self.name = name
        self.solve = solve
        self.times: list[float] = []
        self.worst = self.farthest = 0.0
        self.failed = 0

    def run(self, cases: Sequence[Problem], bounds: Bounds, answers: Sequence[FloatArray]) -> None:
        """Solve the cases; those that fail count, but not their time."""
        for (target, held), answer in zip(cases, answers, strict=True):
            if sum(self.times) > SECONDS:
                return
            began = cpu_seconds()
            try:
                found = self.solve(target, held)
            except ValueError:
                self.failed += 1
                continue
            self.times.append(cpu_seconds() - began)
            weights = np.array(found)
            self.worst = max(self.worst, violation(weights, held, bounds))
            self.farthest = max(self.farthest, float(np.abs(weights - answer).max()))

    def at(self, percentile: float) -> float:
        """Return a percentile, in microseconds."""
        return float(np.percentile(self.times, percentile)) * 1e6 if self.times else float("inf")


def _contenders(n: int, bounds: Bounds) -> list[Timing]:
    from bench import solvers

    found = [
        Timing("daqp", solvers.with_daqp(n, bounds)),
        Timing("clarabel", solvers.with_clarabel(n, bounds)),
        Timing("piqp sparse, kept", solvers.with_piqp(n, bounds)),
        Timing("piqp sparse, kept, restated", solvers.with_piqp_restated(n, bounds)),
        Timing("cvxpy with parameters", solvers.with_cvxpy(n, bounds)),
    ]
    if n <= 50:
        found.insert(1, Timing("quadprog", solvers.with_quadprog(n, bounds)))
    return found


def bench_projection(n: int) -> list[Ratio]:
    """Return projections per CPU second, at the median, ours and each solver's."""
    bounds, cases = bounds_for(n), problems(n, CASES[n])
    results = [project(target, held, bounds) for target, held in cases]
    answers = [np.array(result.weights) for result in results]
    binding = sum(not {"turnover", bounds.budget_name}.isdisjoint(result.active) for result in results)
    ours = Timing("ours", lambda target, held: project(target, held, bounds).weights)
    others = _contenders(n, bounds)
    for at in range(0, len(cases), BLOCK):
        block = slice(at, at + BLOCK)
        for contender in (ours, *others):
            contender.run(cases[block], bounds, answers[block])
    best = min((one for one in others if not one.failed), key=lambda one: one.at(50))
    ratios = []
    for one in sorted(others, key=lambda one: one.at(50)):
        note = (
            f"{ours.at(50):.0f}/{ours.at(99):.0f} against {one.at(50):,.0f}/{one.at(99):,.0f} us CPU p50/p99; "
            f"violation {ours.worst:.0e} against {one.worst:.0e}, apart {one.farthest:.0e}; "
            f"failed {one.failed} of {len(one.times) + one.failed}"
        )
        if one is best:
            fast, times = ours.at(50) <= P50_TARGET[n], one.at(50) / ours.at(50)
            note += (
                f"; the best; targets {P50_TARGET[n]:.0f} us {_reached(fast)}, "
                f"{RATIO_TARGET[n]:.0f}x {_reached(times >= RATIO_TARGET[n])}; "
                f"turnover or budget binds in {binding} of {len(cases)}"
            )
        ratios.append(Ratio(f"projections/CPU s, n={n}, against {one.name}", 1e6 / ours.at(50), 1e6 / one.at(50), note))
    return ratios


def _reached(yes: bool) -> str:
    return "reached" if yes else "NOT reached"


def bench_batch() -> list[Ratio]:
    """Return portfolios per CPU second: 1,024 at once, and one by one."""
    bounds, cases = bounds_for(5), problems(5, 1_024, seed=2)
    targets, held = np.array([case[0] for case in cases]), np.array([case[1] for case in cases])
    batch, single = [], []
    for _ in range(15):
        began = cpu_seconds()
        rows = project_batch(targets, held, bounds)
        batch.append(cpu_seconds() - began)
        began = cpu_seconds()
        alone = [project(t, p, bounds).weights for t, p in cases]
        single.append(cpu_seconds() - began)
    apart = float(np.abs(rows - np.array(alone)).max())
    together, one_by_one = float(np.median(batch)), float(np.median(single))
    note = (
        f"{together * 1e3:.2f} against {one_by_one * 1e3:.2f} ms CPU p50; apart {apart:.0e}; "
        f"target {BATCH_TARGET_MS:.0f} ms {_reached(together * 1e3 <= BATCH_TARGET_MS)}"
    )
    return [Ratio("portfolios/CPU s, batch 1,024 x 5, one by one", 1_024 / together, 1_024 / one_by_one, note)]


def _limits(n: int) -> RiskLimits:
    bounds = bounds_for(n)
    return RiskLimits.model_validate(
        {
            "position_limits": {
                "max_weight_per_stock": bounds.max_weight,
                "min_weight_per_stock": bounds.min_weight,
                "max_daily_turnover": bounds.turnover,
                "min_cash_reserve": 0.05,
            }
        }
    )


def _book(held: Sequence[float], prices: Sequence[Paise]) -> Book:
    quantities = tuple(int(weight * EQUITY / price) for weight, price in zip(held, prices, strict=True))
    cash = EQUITY - sum(q * price for q, price in zip(quantities, prices, strict=True))
    symbols = tuple(f"S{i:03d}" for i in range(len(held)))
    return Book(symbols, quantities, tuple(prices), Paise(cash), EQUITY, (True,) * len(held), 1, 2, date(2025, 6, 2))


def _orders(book: Book, after: Sequence[int], side: Side) -> list[ProposedOrder]:
    """Return the plan's orders of one side, at the reference prices, in slices of a tenth of equity."""
    orders: list[ProposedOrder] = []
    for symbol, have, want, price in zip(book.symbols, book.quantities, after, book.prices, strict=True):
        left = want - have if side is Side.BUY else have - want
        part = max(1, int(EQUITY // 10 // price))
        while left > 0:
            size = min(left, part)
            orders.append(ProposedOrder(f"{symbol}{len(orders)}", "plan", symbol, side, size, price))
            left -= size
    return orders


def bench_decision(n: int) -> list[Ratio]:
    """Return the whole gate's time per decision, and the rounding's, beside that of the projection alone."""
    gate, bounds = Gate(_limits(n)), bounds_for(n)
    generator = np.random.default_rng(4)
    prices = [Paise(500 * round(price / 500)) for price in np.exp(generator.uniform(np.log(5e3), np.log(4e5), n))]
    whole, rounding, alone = [], [], []
    orders = refused = 0
    for target, held in problems(n, CASES[n], seed=3):
        book = _book(held, prices)
        began = cpu_seconds()
        approval = gate.review_targets(target, book, latched=())
        assert isinstance(approval, TargetApproval)
        change = sum(abs(w - c) for w, c in zip(approval.weights, approval.current, strict=True))
        costs = Paise(int(change * book.equity * EXPECTED_COSTS))
        after = gate.round_to_shares(approval, book, expected_costs=costs).quantities
        plan = gate.approve_plan("plan", book, after)
        assert isinstance(plan, ApprovedPlan)
        spent = cpu_seconds() - began
        for side in (Side.SELL, Side.BUY):
            proposed = _orders(book, after, side)
            sellable = dict(zip(book.symbols, book.quantities, strict=True))
            context = OrderContext(
                book=book, available=book.cash, sellable=sellable, priced_not_before_ns=0, halted=False
            )
            began = cpu_seconds()
            approved, denied = gate.review_orders(proposed, context, plan)
            assert all(gate.last_look(order, priced_not_before_ns=0) is None for order in approved)
            spent += cpu_seconds() - began
            orders += len(proposed)
            refused += len(denied)
            if side is Side.SELL:
                sold = sum(order.quantity * order.limit for order in approved)
                left = tuple(min(have, want) for have, want in zip(book.quantities, after, strict=True))
                book = Book(
                    book.symbols, left, book.prices, Paise(book.cash + sold), book.equity, book.tradable,
                    book.priced_at_ns, book.at_ns, book.session, Paise(sold),
                )  # fmt: skip
        whole.append(spent)
        began = cpu_seconds()
        project(target, approval.current, bounds)
        alone.append(cpu_seconds() - began)
        began = cpu_seconds()
        whole_shares(approval.weights, _book(held, prices).quantities, prices, float(EQUITY - costs), bounds)
        rounding.append(cpu_seconds() - began)
    ratios = []
    for name, times, target_us in (
        ("whole gate", whole, GATE_TARGET_US if n == 5 else None),
        ("whole shares", rounding, SHARES_TARGET_US.get(n)),
    ):
        p50, p99 = (float(np.percentile(times, q)) * 1e6 for q in (50, 99))
        note = f"p99 {p99:,.0f}; baseline: its projection alone"
        if times is whole:
            note += f"; {orders / CASES[n]:.1f} orders a decision, {refused} of {orders} refused"
        if target_us is not None:
            note += f"; target {target_us:.0f} us {_reached(p50 <= target_us)}"
        ratios.append(Ratio(f"{name}, n={n}, us CPU p50", p50, float(np.percentile(alone, 50)) * 1e6, note))
    return ratios


def bench() -> list[Ratio]:
    """Return everything."""
    ratios = [ratio for n in SIZES for ratio in bench_projection(n)]
    ratios += bench_batch()
    return ratios + [ratio for n in SIZES for ratio in bench_decision(n)]
