"""The two faces of the training market."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from training.environment import PortfolioEnv, PortfolioVecEnv


def random_actions(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def test_the_single_environment_keeps_gymnasiums_contract(random_bars, make_config, make_limits):
    check_env(PortfolioEnv(random_bars(), make_config(), make_limits()), skip_render_check=True)


def test_both_faces_see_and_pay_the_same(random_bars, make_config, make_limits):
    bars, config, limits = random_bars(), make_config(), make_limits()
    single, vector = PortfolioEnv(bars, config, limits), PortfolioVecEnv(bars, config, limits, count=1, seed=0)
    vector.reset()
    vector.market.reset(0, start=20, sessions=30)
    seen, _ = single.reset(options={"start": 20, "sessions": 30})
    np.testing.assert_array_equal(seen, vector.market.observations()[0])
    for action in random_actions(29, 3):
        one, reward, terminated, truncated, _ = single.step(action)
        many, rewards, dones, _ = vector.step(action[None])
        np.testing.assert_array_equal(one, many[0])
        assert np.float32(reward) == rewards[0] and not terminated and truncated == dones[0]


def test_an_episode_ends_by_truncation_with_its_last_observation(random_bars, make_config, make_limits):
    config = make_config(environment={"episode_sessions": 7})
    env = PortfolioVecEnv(random_bars(), config, make_limits(), count=3, seed=1)
    env.reset()
    for number, actions in enumerate(random_actions(14, 3, 3), start=1):
        observations, _, dones, infos = env.step(actions)
        assert dones.all() == (number % 7 == 0) and dones.any() == dones.all()
        if dones.all():
            for info, first in zip(infos, observations, strict=True):
                assert info["TimeLimit.truncated"] and info["episode"]["l"] == 7
                assert (info["terminal_observation"] != first).any()
        else:
            assert infos == [{}, {}, {}]


def test_the_end_of_the_data_is_a_truncation_too(random_bars, make_config, make_limits):
    env = PortfolioEnv(random_bars(sessions=30), make_config(), make_limits())
    env.reset(options={"start": 25})
    outcomes = [env.step(action)[2:4] for action in random_actions(4, 3)]
    assert outcomes == [(False, False)] * 3 + [(False, True)]


def test_starts_are_random_seeded_and_inside_the_data(random_bars, make_config, make_limits):
    config = make_config(environment={"episode_sessions": 3})

    def starts(seed):
        env = PortfolioVecEnv(random_bars(), config, make_limits(), count=4, seed=seed)
        env.reset()
        found = []
        for actions in random_actions(60, 4, 3):
            _, _, dones, _ = env.step(actions)
            if dones.any():
                found += env.market.t.tolist()
        return found

    first = starts(1)
    assert first == starts(1) != starts(2)
    assert min(first) >= 5 and max(first) <= 116 and len(set(first)) > 30


def test_some_episodes_start_invested_and_some_in_cash(random_bars, make_config, make_limits):
    env = PortfolioVecEnv(random_bars(), make_config(), make_limits(), count=64, seed=0)
    env.reset()
    invested = int((env.market.shares.sum(axis=1) > 0).sum())
    assert 16 < invested < 48


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (1.0, 16)])
def test_the_share_of_invested_starts_is_the_configurations(random_bars, make_config, make_limits, share, expected):
    config = make_config(environment={"start_invested": share})
    env = PortfolioVecEnv(random_bars(), config, make_limits(), count=16, seed=0)
    env.reset()
    assert int((env.market.shares.sum(axis=1) > 0).sum()) == expected


def test_all_cash_is_an_action(random_bars, make_config, make_limits):
    env = PortfolioEnv(random_bars(), make_config(), make_limits(min_weight_per_stock=0.0))
    env.reset(options={"start": 10, "invested": True})
    for _ in range(8):
        observation, *_ = env.step(np.full(3, -1.0, dtype=np.float32))
    assert observation[3:6].tolist() == [0.0, 0.0, 0.0] and observation[7] == 1.0
