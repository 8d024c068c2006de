"""Replay through gate, executor, paper broker, ledger and hash-chained journal, against a bare asyncio queue loop.

Three workloads: 5 instruments x 2,600 days with a rebalance on every bar; 5 x 22,500 one-minute bars with a daily
rebalance; 500 x 1,250 days with a weekly rebalance. Figures are bars per CPU second of the run, data already in memory.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.bare_loop import BareLoop
from bench.report import Ratio, cpu_of
from brokers.charges import DeliveryCharges
from daemon.replay import ReplayResult, replay
from daemon.settings import DaemonSettings, ExecutionSettings
from market.bar import BarBatch, Interval
from market.calendar import Calendar
from market.instrument import Instrument
from market.money import rupees
from market.store import DailyBars
from risk.limits import RiskLimits, load_limits
from strategies.protocol import StrategyContext

CASH = 10_000_000.0
MINUTE_NS = 60 * 10**9
CONFIG = Path(__file__).resolve().parent.parent / "production" / "config" / "risk_limits.yaml"


class FixedWeights:
    """Target weights that are a function of the decision's number alone, so that only the engine is measured."""

    name = "fixed_weights"
    look_back = 0

    def __init__(self, symbols: tuple[str, ...], weights: NDArray[np.float64]) -> None:
        self.symbols = symbols
        self._weights = weights
        self._count = 0

    def target(self, context: StrategyContext) -> NDArray[np.float64]:
        """Return the next row."""
        row: NDArray[np.float64] = self._weights[self._count % len(self._weights)]
        self._count += 1
        return row


@dataclass(slots=True)
class Workload:
    """Prices [steps, instruments] and how they are traded."""

    name: str
    symbols: tuple[str, ...]
    opens: NDArray[np.float64]
    closes: NDArray[np.float64]
    weights: NDArray[np.float64]
    every: int
    start: date
    end: date
    target: float
    daily: DailyBars | None
    minutes: list[BarBatch] | None = None

    def iter_batches(self, calendar: Calendar) -> Iterator[BarBatch]:
        """Yield the workload's batches."""
        if self.minutes is not None:
            return iter(self.minutes)
        assert self.daily is not None
        return self.daily.iter_batches(calendar)

    @property
    def bars(self) -> int:
        """Bars in all."""
        return int(self.closes.size)


def _prices(steps: int, count: int, volatility: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    generator = np.random.default_rng(20_261_123)
    moves = generator.normal(0.3 * volatility**2, volatility, (steps, count))
    closes = np.round(1000.0 * np.exp(np.cumsum(moves, axis=0)), 2)
    opens = np.vstack([np.full((1, count), 1000.0), closes[:-1]])
    return opens, closes


def _weights(count: int, rows: int) -> NDArray[np.float64]:
    return np.random.default_rng(7).dirichlet(np.full(count, 6.0), rows) * 0.9


def _daily(calendar: Calendar, name: str, count: int, days: int, every: int, target: float) -> Workload:
    sessions = calendar.sessions(date(2016, 1, 1), date(2026, 10, 30))[:days]
    assert len(sessions) == days, "the calendar covers the workload"
    symbols = tuple(f"S{i:03d}" for i in range(count))
    opens, closes = _prices(days, count, 0.006)
    bars = DailyBars(
        symbols=symbols,
        days=np.array([session.day for session in sessions], dtype="datetime64[D]"),
        open=opens,
        high=np.maximum(opens, closes) * 1.002,
        low=np.minimum(opens, closes) * 0.998,
        close=closes,
        volume=np.full(closes.shape, 1e8),
        sha256="bench",
    )
    weights = _weights(count, days)
    return Workload(name, symbols, opens, closes, weights, every, sessions[0].day, sessions[-1].day, target, bars)


def _minutes(calendar: Calendar, target: float) -> Workload:
    sessions = calendar.sessions(date(2024, 1, 1), date(2024, 12, 31))
    sessions = [session for session in sessions if session.close_ns - session.open_ns == 375 * MINUTE_NS][:60]
    symbols = tuple(f"S{i:03d}" for i in range(5))
    opens, closes = _prices(60 * 375, 5, 0.0003)
    high, low = np.maximum(opens, closes) * 1.0005, np.minimum(opens, closes) * 0.9995
    batches = []
    columns = [array.tolist() for array in (opens, high, low, closes)]
    volume = (1e6,) * 5
    for number in range(60 * 375):
        session = sessions[number // 375]
        start = session.open_ns + number % 375 * MINUTE_NS
        o, h, lows, c = (tuple(column[number]) for column in columns)
        batches.append(BarBatch(session.day, Interval.MINUTE, start, start + MINUTE_NS, symbols, o, h, lows, c, volume))
    weights = _weights(5, 60)
    first, last = sessions[0].day, sessions[-1].day
    name = "5 x 22,500 minutes, daily"
    return Workload(name, symbols, opens, closes, weights, 375, first, last, target, None, batches)


def workloads(calendar: Calendar) -> list[Workload]:
    """Return the three workloads."""
    return [
        _daily(calendar, "5 x 2,600 days, every bar", 5, 2_600, 1, 26_000),
        _minutes(calendar, 150_000),
        _daily(calendar, "500 x 1,250 days, weekly", 500, 1_250, 5, 150_000),
    ]


def limits_for(count: int) -> RiskLimits:
    """Return the shipped limits; for 500 names the minimum weight cannot hold, so it is scaled to the count."""
    limits = load_limits(CONFIG, mode="replay")
    if count <= 19:
        return limits
    position = limits.position_limits.model_copy(update={"min_weight_per_stock": 0.0})
    execution = limits.execution.model_copy(update={"min_order_size_rupees": 0.0})
    return limits.model_copy(update={"position_limits": position, "execution": execution})


def run(workload: Workload, calendar: Calendar, journal: Path) -> ReplayResult:
    """Run one workload through the daemon's core."""
    settings = DaemonSettings(
        portfolio="bench",
        mode="replay",
        instruments=tuple(Instrument(symbol) for symbol in workload.symbols),
        opening_cash=rupees(CASH),
        execution=ExecutionSettings(band=0.0),
        every_sessions=workload.every if workload.daily is not None else 1,
    )
    return replay(
        settings=settings,
        bars=workload,
        calendar=calendar,
        limits=limits_for(len(workload.symbols)),
        strategy=FixedWeights(workload.symbols, workload.weights),
        start=workload.start,
        end=workload.end,
        opens=workload.daily,
        charges=DeliveryCharges.default(),
        journal_path=journal,
    )


def bench(repeat: int = 3) -> list[Ratio]:
    """Measure the three workloads: ours and the bare loop, interleaved."""
    calendar = Calendar.load()
    ratios = []
    for workload in workloads(calendar):
        ours, bare = float("inf"), float("inf")
        result: ReplayResult | None = None
        for number in range(repeat):
            with tempfile.TemporaryDirectory() as folder:
                result = run(workload, calendar, Path(folder) / f"journal-{number}.sqlite")
            ours = min(ours, result.cpu_seconds)
            bare = min(bare, cpu_of(partial(_run_bare, workload), repeat=1))
        assert result is not None
        tally = result.tally
        decisions = tally.decisions / ours
        note = f"target {workload.target:,.0f}; {tally.orders:,} orders; {decisions:,.0f} decisions/s"
        ratios.append(Ratio(f"bars/CPU s, {workload.name}", workload.bars / ours, workload.bars / bare, note))
    return ratios


def _run_bare(workload: Workload) -> float:
    return asyncio.run(_bare(workload))


async def _bare(workload: Workload) -> float:
    loop = BareLoop(workload.opens, workload.closes, workload.weights, every=workload.every, cash=CASH)
    return await loop.run()
