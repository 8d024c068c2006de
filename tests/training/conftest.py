"""Small builders for training's tests: bars, a configuration, limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from market.store import DailyBars
from risk.limits import load_limits
from strategies.production_config import ProductionConfig

CONFIG = Path(__file__).parents[2] / "production" / "config"


def build_bars(closes, opens=None, *, symbols=None, start="2023-02-01"):
    """Bars [T, n] on weekdays from `start`; without opens they open at the close before."""
    closes = np.asarray(closes, dtype=np.float64)
    if opens is None:
        opens = np.vstack([closes[:1], closes[:-1]])
    opens = np.asarray(opens, dtype=np.float64)
    days = np.busday_offset(np.datetime64(start), np.arange(len(closes)), roll="forward")
    return DailyBars(
        symbols=tuple(symbols or [f"S{i}" for i in range(closes.shape[1])]),
        days=days,
        open=opens,
        high=np.maximum(opens, closes),
        low=np.minimum(opens, closes),
        close=closes,
        volume=np.full(closes.shape, 1e6),
        sha256="0" * 64,
    )


def build_random_bars(*, sessions=120, n=3, seed=1, start="2023-02-01", drift=0.0005):
    """Random walks with gaps at the open."""
    rng = np.random.default_rng(seed)
    closes = np.round(400.0 * np.exp(np.cumsum(rng.normal(drift, 0.015, (sessions, n)), axis=0)), 2)
    before = np.vstack([closes[:1], closes[:-1]])
    return build_bars(closes, np.round(before * np.exp(rng.normal(0, 0.004, closes.shape)), 2), start=start)


def build_config(*, n=3, look_back=5, start="2015-01-01", band=0.01, **sections):
    """A small production configuration; keyword sections override model, environment, splits and deployment."""
    content = {
        "portfolio": {"name": "test", "assets": [f"S{i}" for i in range(n)], "rebalance": {"threshold": band}},
        "data": {"start": np.datetime64(start).item()},
        "model": {
            "features": 2 * n + 3 + n * (n - 1) // 2 + n * look_back,
            "network": [16, 16],
            "learning_starts": 60,
            "buffer_size": 2000,
            "batch_size": 32,
            "eval_every": 150,
            "checkpoint_every": 100_000,
        },
        "environment": {"look_back": look_back, "slippage_bps": 0.0, "episode_sessions": 40},
    }
    for name, changes in sections.items():
        content[name] = content.get(name, {}) | changes
    return ProductionConfig.model_validate(content)


def build_limits(**position_limits):
    """The shipped limits, with changed position limits."""
    limits = load_limits(CONFIG / "risk_limits.yaml", mode="replay")
    return limits.model_copy(update={"position_limits": limits.position_limits.model_copy(update=position_limits)})


@pytest.fixture
def make_bars():
    return build_bars


@pytest.fixture
def random_bars():
    return build_random_bars


@pytest.fixture
def make_config():
    return build_config


@pytest.fixture
def make_limits():
    return build_limits


@pytest.fixture(scope="session")
def builders():
    """All builders, for fixtures of a wider scope."""
    return build_random_bars, build_config, build_limits
