"""Classical strategies."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.errors import BadInput
from strategies.baselines import BASELINES, make_strategy
from strategies.protocol import StrategyContext

SYMBOLS = ("AAA", "BBB", "CCC", "DDD")


def context(*, weights=(0.0, 0.0, 0.0, 0.0), closes=None):
    held = np.array(weights)
    rng = np.random.default_rng(0)
    history = 100.0 * np.exp(np.cumsum(rng.normal(0, [0.01, 0.02, 0.01, 0.04], (40, 4)), axis=0))
    return StrategyContext(
        session=date(2024, 1, 2),
        closes=history if closes is None else closes,
        weights=held,
        value_ratio=1.0,
        cash_weight=1.0 - float(held.sum()),
        recent_returns=np.zeros(0),
    )


def test_equal_weight_always_wants_the_same():
    strategy = make_strategy("equal_weight", SYMBOLS, 30)
    assert strategy.target(context(weights=(0.7, 0.1, 0.0, 0.0))).tolist() == [0.25] * 4


def test_equal_weight_needs_no_history():
    strategy = make_strategy("equal_weight", SYMBOLS, 30)
    assert strategy.look_back == 0 and strategy.target(context(closes=np.ones((1, 4)))) is not None


def test_buy_and_hold_buys_equal_weights_and_then_holds():
    strategy = make_strategy("buy_and_hold", SYMBOLS, 30)
    assert strategy.target(context()).tolist() == [0.25] * 4
    assert strategy.target(context(weights=(0.30, 0.30, 0.20, 0.15))) is None


@given(st.lists(st.floats(0.0, 0.22), min_size=4, max_size=4))
def test_buy_and_hold_never_sells_and_never_wants_more_than_all(weights):
    held = np.array(weights)
    target = make_strategy("buy_and_hold", SYMBOLS, 30).target(context(weights=tuple(weights)))
    assert (target >= held - 1e-6).all() and target.sum() <= 1.0 + 1e-12


def test_inverse_volatility_gives_the_calm_more():
    closes = context().closes
    strategy = make_strategy("inverse_volatility", SYMBOLS, 30)
    target = strategy.target(context(closes=closes))
    deviation = np.std(closes[-30:] / closes[-31:-1] - 1.0, axis=0, ddof=1)
    np.testing.assert_allclose(target * deviation, target[0] * deviation[0], rtol=1e-4)
    assert target.sum() == pytest.approx(1.0, abs=1e-5) and target[3] == target.min()


def test_inverse_volatility_is_not_drawn_to_a_price_that_stands_still():
    closes = context().closes.copy()
    closes[:, 1] = 100.0
    target = make_strategy("inverse_volatility", SYMBOLS, 30).target(context(closes=closes))
    assert np.isfinite(target).all() and target[1] < 1.0


def test_inverse_volatility_holds_until_history_suffices():
    assert make_strategy("inverse_volatility", SYMBOLS, 30).target(context(closes=context().closes[:30])) is None


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(BadInput) as caught:
        make_strategy("momentum", SYMBOLS, 30)
    assert all(name in str(caught.value) for name in BASELINES)


@pytest.mark.parametrize("n", [1, 3, 6, 7, 37, 200])
@pytest.mark.parametrize("name", BASELINES)
def test_no_universe_makes_rounded_weights_exceed_one(name, n):
    """1/6 rounds up: six times 0.166667 is more than the account, and the gate would refuse it."""
    symbols = tuple(f"S{i}" for i in range(n))
    closes = 100.0 * np.exp(np.cumsum(np.random.default_rng(n).normal(0, 0.01, (40, n)), axis=0))
    target = make_strategy(name, symbols, 30).target(context(weights=(0.0,) * n, closes=closes))
    assert sum(round(weight * 1e6) for weight in target.tolist()) <= 1_000_000
