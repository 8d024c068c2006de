"""Parity: one strategy over the same dates in the training market and in the daemon's replay gives the same equity.

Not one figure is allowed to differ: both trade by the same rules, so a difference is a rule that one of them lacks.
Circuit breakers are off: training does not simulate them.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from brokers.paper import FillModel
from daemon.replay import history_message, replay
from daemon.settings import DaemonSettings, ExecutionSettings
from market.calendar import Calendar
from market.instrument import Instrument
from market.money import rupees
from market.store import daily_bars, read_csv
from strategies.baselines import make_strategy
from training.validation import run_strategy

DATA = Path(os.environ.get("TARAZU_REAL_DATA", Path(__file__).parents[3] / "shared" / "data")) / "nse_banks_daily.csv"
SYMBOLS = ("HDFCBANK", "ICICIBANK", "SBIN", "AXISBANK", "KOTAKBANK")
LOOK_BACK = 30


class Restless:
    """Wants other weights every third day, and now and then to leave almost everything."""

    name = "restless"
    symbols = SYMBOLS
    look_back = 0

    def target(self, context):
        rng = np.random.default_rng(context.session.toordinal() // 3)
        if rng.random() < 0.05:
            return np.array([0.0, 0.0, 0.0, 0.0, 0.3])
        return np.round(rng.dirichlet(np.ones(6))[:5] - 1e-6, 6).clip(0.0)


@pytest.fixture
def without_breakers(make_limits):
    limits = make_limits()
    return limits.model_copy(update={"circuit_breakers": limits.circuit_breakers.model_copy(update={"enabled": False})})


def both(strategy, bars, config, limits):
    """Equity per session from training's market and from the daemon's replay."""
    first, last = bars.days[LOOK_BACK + 1].item(), bars.days[-1].item()
    trained = run_strategy(strategy, bars, config, limits)
    replayed = replay(
        settings=DaemonSettings(
            portfolio=config.portfolio.name,
            mode="replay",
            instruments=tuple(Instrument(symbol) for symbol in SYMBOLS),
            opening_cash=rupees(config.environment.initial_capital),
            execution=ExecutionSettings(
                limit_offset=config.deployment.limit_offset,
                band=config.portfolio.rebalance.threshold,
                timeout_minutes=config.deployment.cancel_after_minutes,
                max_order_fraction=limits.execution.max_order_size_percent,
            ),
        ),
        bars=bars.slice(first, last),
        calendar=Calendar.load(),
        limits=limits,
        strategy=strategy,
        start=first,
        end=last,
        opens=bars,
        history=history_message(bars, first, LOOK_BACK + 11),
        fill_model=FillModel(slippage_bps=config.environment.slippage_bps),
    )
    return trained.equity[1:], np.array(replayed.equity)


def configuration(make_config):
    config = make_config(n=5, look_back=LOOK_BACK, environment={"slippage_bps": 2.0})
    return config.model_copy(update={"portfolio": config.portfolio.model_copy(update={"assets": SYMBOLS})})


def test_made_up_bars_give_the_same_equity_in_both(random_bars, make_config, without_breakers):
    made = random_bars(sessions=120, n=5)
    days = np.array([s.day for s in Calendar.load().sessions(date(2023, 6, 1), date(2024, 3, 1))][:120], dtype="M8[D]")
    columns = {name: getattr(made, name) for name in ("open", "high", "low", "close", "volume")}
    trained, replayed = both(
        Restless(), daily_bars(SYMBOLS, days, columns), configuration(make_config), without_breakers
    )
    assert len(trained) == 120 - LOOK_BACK - 1
    np.testing.assert_array_equal(trained, replayed)


@pytest.mark.skipif(not DATA.exists(), reason=f"no real data at {DATA} (set TARAZU_REAL_DATA)")
@pytest.mark.parametrize(
    ("strategy", "start", "end"),
    [
        (Restless(), date(2019, 6, 3), date(2020, 6, 30)),  # Muhurat, a crash, delivery after two sessions
        (Restless(), date(2022, 10, 3), date(2023, 6, 30)),  # the change to delivery after one
        (make_strategy("inverse_volatility", SYMBOLS, LOOK_BACK), date(2023, 9, 1), date(2024, 9, 30)),
    ],
)
def test_real_bars_give_the_same_equity_in_both(strategy, start, end, make_config, without_breakers):
    bars = read_csv(DATA).select(SYMBOLS).slice(start, end)
    trained, replayed = both(strategy, bars, configuration(make_config), without_breakers)
    assert len(trained) > 150
    np.testing.assert_array_equal(trained, replayed)
