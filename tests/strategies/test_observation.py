"""The observation: what it contains, checked against a slow version written another way."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.errors import BadInput
from strategies.observation import (
    compose,
    market_features,
    observation_size,
    observe,
    rolling_sharpe,
    schema,
)


def random_closes(*, sessions=80, n=5, seed=1):
    rng = np.random.default_rng(seed)
    return 500.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, (sessions, n)), axis=0))


def account(n=5, **changes):
    given_ = {"weights": np.full(n, 0.9 / n), "value_ratio": 1.1, "cash_weight": 0.1, "recent_returns": [0.01, -0.02]}
    return given_ | changes


def slow_observation(closes, look_back, *, weights, value_ratio, cash_weight, recent_returns):
    """The documented layout, in pandas, one entry after the other."""
    frame = pd.DataFrame(closes)
    window = frame.iloc[-look_back:]
    returns = frame.pct_change().iloc[-look_back:]
    portfolio = pd.Series(recent_returns, dtype=float).iloc[-30:]
    sharpe = portfolio.mean() / portfolio.std() * 252**0.5 if len(portfolio) >= 2 else 0.0
    correlation = returns.corr()
    entries = [
        *(window.iloc[-1] / window.mean() - 1.0),
        *weights,
        value_ratio,
        cash_weight,
        sharpe,
        *(correlation.iloc[i, j] for i, j in combinations(range(closes.shape[1]), 2)),
        *(value for i in range(closes.shape[1]) for value in returns[i]),
    ]
    return np.clip(np.array(entries), -10.0, 10.0)


def test_five_instruments_and_thirty_sessions_make_173_entries():
    assert observation_size(5, 30) == 173 == schema(5, 30).size
    assert observe(random_closes(), 30, **account()).shape == (173,)


@pytest.mark.parametrize(("n", "look_back"), [(1, 2), (2, 5), (5, 30), (12, 20)])
def test_equals_the_slow_version(n, look_back):
    closes = random_closes(n=n)
    mine = observe(closes, look_back, **account(n))
    assert mine.dtype == np.float32
    np.testing.assert_allclose(mine, slow_observation(closes, look_back, **account(n)), atol=1e-6, rtol=0)


def test_batched_features_equal_single_ones_bit_for_bit():
    closes = random_closes(sessions=600)
    table = market_features(closes, 30)
    assert len(table) == 570
    for row in (0, 1, 255, 256, 300, 569):
        np.testing.assert_array_equal(table[row], market_features(closes[row : row + 31], 30)[0])


def test_a_batch_of_portfolios_equals_each_alone():
    closes = random_closes()
    rng = np.random.default_rng(3)
    weights, ratios, returns = rng.dirichlet(np.ones(6), 4)[:, :5], rng.uniform(0.5, 2, 4), rng.normal(0, 0.01, (4, 30))
    cash = 1.0 - weights.sum(axis=1)
    batch = compose(
        market_features(closes, 30)[[10, 20, 30, 49]],
        weights=weights,
        value_ratio=ratios,
        cash_weight=cash,
        sharpe=rolling_sharpe(returns, np.full(4, 30)),
    )
    for k, row in enumerate((10, 20, 30, 49)):
        alone = observe(
            closes[: row + 31],
            30,
            weights=weights[k],
            value_ratio=ratios[k],
            cash_weight=cash[k],
            recent_returns=returns[k],
        )
        np.testing.assert_array_equal(batch[k], alone)


def test_nothing_of_the_future_shows():
    closes = random_closes(sessions=100)
    changed = closes.copy()
    changed[61:] *= 3.0
    np.testing.assert_array_equal(market_features(closes, 30)[:31], market_features(changed, 30)[:31])
    assert (market_features(closes, 30)[31] != market_features(changed, 30)[31]).any()


def test_a_split_and_the_size_of_the_account_do_not_show():
    closes = random_closes()
    scaled = closes * np.array([0.1, 1.0, 5.0, 0.5, 100.0])
    np.testing.assert_allclose(observe(closes, 30, **account()), observe(scaled, 30, **account()), atol=1e-6, rtol=0)


def test_a_price_that_does_not_move_correlates_with_nothing():
    closes = random_closes()
    closes[:, 2] = 750.0
    closes[:, 4] = 500.0 * 1.01 ** np.arange(len(closes))  # the same return every day varies by rounding alone
    values = dict(zip(schema(5, 30).names, observe(closes, 30, **account()), strict=True))
    dead = [name for name in values if name.startswith("correlation.") and ("2" in name or "4" in name)]
    assert len(dead) == 7 and all(values[name] == 0.0 for name in dead)
    assert values["correlation.0.1"] != 0.0


@pytest.mark.parametrize("returns", [[], [0.01], [0.01, 0.01], [0.0] * 30])
def test_a_sharpe_ratio_without_variation_or_with_one_return_is_zero(returns):
    position = schema(5, 30).names.index("rolling_sharpe")
    assert observe(random_closes(), 30, **account(recent_returns=returns))[position] == 0.0


def test_only_the_last_thirty_returns_count():
    rng = np.random.default_rng(5)
    returns = rng.normal(0, 0.01, 45)
    long, short = (observe(random_closes(), 30, **account(recent_returns=r)) for r in (returns, returns[-30:]))
    np.testing.assert_array_equal(long, short)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 3.0), st.floats(0.0, 1e9))
def test_is_finite_and_bounded_for_any_positive_prices(seed, roughness, ratio):
    rng = np.random.default_rng(seed)
    closes = np.exp(np.clip(np.cumsum(rng.normal(0, roughness, (40, 3)), axis=0), -200, 200))
    seen = observe(closes, 30, **account(3, value_ratio=ratio, recent_returns=rng.normal(0, roughness, 20)))
    assert np.isfinite(seen).all() and np.abs(seen).max() <= 10.0


def test_the_hash_names_what_the_numbers_mean():
    hashes = {schema(n, look_back).hash for n in (4, 5) for look_back in (20, 30)}
    assert len(hashes) == 4
    assert schema(5, 30).hash == schema(5, 30).hash


def test_too_little_history_and_missing_closes_are_refused():
    with pytest.raises(BadInput, match="30 sessions of closes, allowed: at least 31"):
        observe(random_closes(sessions=30), 30, **account())
    for bad in (np.nan, 0.0, -1.0, np.inf):
        closes = random_closes()
        closes[-3, 1] = bad
        with pytest.raises(BadInput, match="missing or not positive"):
            observe(closes, 30, **account())
