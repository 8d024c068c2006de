"""One decision's parts: the observation against a pandas version, the policy against `SAC.predict`."""

from __future__ import annotations

import contextlib
import io

import numpy as np
from numpy.typing import NDArray

from bench.report import Ratio, per_call
from strategies.observation import observation_size, observe

COUNT, LOOK_BACK = 5, 30


def _closes() -> NDArray[np.float64]:
    generator = np.random.default_rng(11)
    closes: NDArray[np.float64] = 1000.0 * np.exp(np.cumsum(generator.normal(0, 0.012, (LOOK_BACK + 1, COUNT)), axis=0))
    return closes


def bench_observation() -> list[Ratio]:
    """Return observation calls per CPU second: ours and the same numbers by pandas."""
    import pandas as pd

    closes = _closes()
    weights = np.full(COUNT, 0.18)
    returns = np.random.default_rng(3).normal(0, 0.01, 30)
    # As the daemon has it: a frame of all history by date, of which a decision takes the window up to its day.
    days = pd.bdate_range("2014-01-01", periods=2_500)
    past = np.random.default_rng(2).normal(1000.0, 5.0, (len(days) - len(closes), COUNT))
    history = pd.DataFrame(np.vstack([past, closes]), index=days, columns=[f"S{i}" for i in range(COUNT)])
    today = days[-1]

    def ours() -> NDArray[np.float32]:
        return observe(closes, LOOK_BACK, weights=weights, value_ratio=1.02, cash_weight=0.1, recent_returns=returns)

    def by_pandas() -> NDArray[np.float32]:
        frame = history.loc[:today].tail(LOOK_BACK + 1)
        window = frame.iloc[-LOOK_BACK:]
        relative = frame.iloc[-1] / window.mean() - 1.0
        moves = frame.pct_change(fill_method=None).iloc[-LOOK_BACK:]
        names = list(frame.columns)
        pairs = [moves[a].corr(moves[b]) for i, a in enumerate(names) for b in names[i + 1 :]]
        series = pd.Series(returns)
        sharpe = series.mean() / series.std() * 252**0.5
        parts = [
            relative.to_numpy(),
            pd.Series(weights).to_numpy(),
            np.array([1.02, 0.1, sharpe]),
            np.array(pairs),
            moves.to_numpy().T.ravel(),
        ]
        return np.concatenate(parts).clip(-10, 10).astype(np.float32)

    assert len(ours()) == len(by_pandas()) == observation_size(COUNT, LOOK_BACK) == 173
    mine, theirs = per_call(ours, calls=500), per_call(by_pandas, calls=20)
    note = f"{mine * 1e6:.0f} against {theirs * 1e6:.0f} us CPU; target 100x"
    return [Ratio("observations/CPU s, 173 features, against pandas", 1 / mine, 1 / theirs, note)]


def bench_policy() -> list[Ratio]:
    """Return decisions per CPU second: the numpy policy and `SAC.predict` with VecNormalize; checks the parity."""
    import gymnasium
    import torch
    from stable_baselines3 import SAC
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    from training.export import policy_of

    torch.set_num_threads(1)
    size = observation_size(COUNT, LOOK_BACK)

    class Nothing(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):  # type: ignore[misc]
        observation_space = gymnasium.spaces.Box(-10, 10, (size,), np.float32)
        action_space = gymnasium.spaces.Box(-1, 1, (COUNT,), np.float32)

    with contextlib.redirect_stdout(io.StringIO()):
        environment = VecNormalize(DummyVecEnv([Nothing]), clip_obs=10.0)
        model = SAC("MlpPolicy", environment, policy_kwargs={"net_arch": [256, 256]}, seed=0, device="cpu")
    generator = np.random.default_rng(5)
    environment.obs_rms.mean = generator.normal(0, 0.1, size)
    environment.obs_rms.var = generator.uniform(0.5, 2.0, size)
    policy = policy_of(model, environment)
    observation = generator.normal(0, 1, size).astype(np.float32)

    def sb3() -> NDArray[np.float32]:
        action: NDArray[np.float32] = model.predict(environment.normalize_obs(observation), deterministic=True)[0]
        return action

    gap = 0.0
    for _ in range(200):
        observation = generator.normal(0, 2, size).astype(np.float32)
        gap = max(gap, float(np.abs(policy.act(observation) - sb3()).max()))
    mine, theirs = per_call(lambda: policy.act(observation), calls=1000), per_call(sb3, calls=100)
    note = f"{mine * 1e6:.0f} against {theirs * 1e6:.0f} us CPU; largest difference {gap:.1e}; targets 10x, 1e-6"
    return [Ratio("policy decisions/CPU s, against SAC.predict", 1 / mine, 1 / theirs, note)]
