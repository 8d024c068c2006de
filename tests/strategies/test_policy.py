"""The numpy policy and the strategy around it."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import numpy as np
import pytest

from market.errors import BadInput
from strategies.actions import weights_from_action
from strategies.observation import observation_size, observe
from strategies.policy import Normalizer, Policy, PolicyStrategy
from strategies.protocol import StrategyContext

SYMBOLS = ("AAA", "BBB")
LOOK_BACK = 5
SIZE = observation_size(2, LOOK_BACK)


def normalizer(size=SIZE, **changes):
    rng = np.random.default_rng(0)
    values = {"mean": rng.normal(0, 0.1, size), "var": rng.uniform(1e-4, 2.0, size), "epsilon": 1e-8, "clip": 10.0}
    return Normalizer(**(values | changes))


def layers(sizes=(SIZE, 16, 8, 2), seed=1):
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(0, 0.4, (out, into)).astype(np.float32), rng.normal(0, 0.1, out).astype(np.float32))
        for into, out in pairwise(sizes)
    ]


def context(sessions=20, **changes):
    closes = 100.0 * np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.02, (sessions, 2)), axis=0))
    values = {
        "session": date(2024, 1, 2),
        "closes": closes,
        "weights": np.array([0.3, 0.5]),
        "value_ratio": 1.02,
        "cash_weight": 0.2,
        "recent_returns": np.array([0.01, -0.01, 0.003]),
    }
    return StrategyContext(**(values | changes))


def by_hand(observation, statistics, network):
    """The same network in double precision, written as a formula."""
    x = (observation - statistics.mean) / np.sqrt(statistics.var + statistics.epsilon)
    x = np.clip(x, -statistics.clip, statistics.clip)
    for weight, bias in network[:-1]:
        x = np.maximum(weight.astype(np.float64) @ x + bias, 0.0)
    weight, bias = network[-1]
    return np.tanh(weight.astype(np.float64) @ x + bias)


def test_the_action_is_the_formulas():
    policy = Policy(normalizer(), layers())
    rng = np.random.default_rng(4)
    for _ in range(20):
        observation = rng.normal(0, 1, SIZE).astype(np.float32)
        np.testing.assert_allclose(policy.act(observation), by_hand(observation, normalizer(), layers()), atol=2e-6)


def test_extreme_observations_are_clipped_after_normalising():
    policy = Policy(normalizer(), layers())
    far, farther = np.full(SIZE, 1e6, dtype=np.float32), np.full(SIZE, 1e8, dtype=np.float32)
    np.testing.assert_array_equal(policy.act(far).copy(), policy.act(farther))


def test_a_strategy_observes_acts_and_returns_weights():
    strategy = PolicyStrategy(Policy(normalizer(), layers()), symbols=SYMBOLS, look_back=LOOK_BACK, version="v1_x")
    now = context()
    observation = observe(
        now.closes,
        LOOK_BACK,
        weights=now.weights,
        value_ratio=now.value_ratio,
        cash_weight=now.cash_weight,
        recent_returns=now.recent_returns,
    )
    expected = weights_from_action(by_hand(observation, normalizer(), layers()))
    np.testing.assert_allclose(strategy.target(now), expected, atol=2e-6)
    assert (strategy.name, strategy.symbols, strategy.look_back) == ("policy", SYMBOLS, LOOK_BACK)


def test_the_same_context_gives_the_same_weights_again():
    strategy = PolicyStrategy(Policy(normalizer(), layers()), symbols=SYMBOLS, look_back=LOOK_BACK)
    first = strategy.target(context())
    strategy.target(context(value_ratio=3.0))
    np.testing.assert_array_equal(first, strategy.target(context()))


def test_a_strategy_holds_until_history_suffices():
    strategy = PolicyStrategy(Policy(normalizer(), layers()), symbols=SYMBOLS, look_back=LOOK_BACK)
    assert strategy.target(context(sessions=LOOK_BACK)) is None
    assert strategy.target(context(sessions=LOOK_BACK + 1)) is not None


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Policy(normalizer(), []), "at least one layer"),
        (lambda: Policy(normalizer(SIZE + 1), layers()), "layer 0 has shape"),
        (lambda: Policy(normalizer(), [(layers()[0][0], np.zeros(3, dtype=np.float32))]), "layer 0 has shape"),
        (lambda: Policy(normalizer(mean=np.full(SIZE, np.nan)), layers()), "not a finite number"),
        (lambda: Policy(normalizer(var=np.full(SIZE, -1.0)), layers()), "a variance"),
        (
            lambda: PolicyStrategy(Policy(normalizer(), layers()), symbols=("A", "B", "C"), look_back=LOOK_BACK),
            "3 instruments with look-back 5 need",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, complaint):
    with pytest.raises(BadInput, match=complaint):
        make()
