"""The two faces of `PortfolioMarket`: stable-baselines3's VecEnv for training, gymnasium's Env for everything else.

An action is in [-1, 1]^n and becomes target weights by `strategies.actions`. Episodes start on random sessions, in cash
or invested; the end of an episode, or of the data, is a truncation: the portfolio lives on, so its value is bootstrapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from market.store import DailyBars
from risk.schema import RiskLimits
from strategies.actions import weights_from_actions
from strategies.observation import CLIP, Observation
from strategies.production_config import ProductionConfig
from training.portfolio_market import PortfolioMarket, Tables

Float32Array = NDArray[np.float32]


def _spaces(market: PortfolioMarket) -> tuple[spaces.Box, spaces.Box]:
    observed = spaces.Box(-CLIP, CLIP, (market.size,), np.float32)
    return observed, spaces.Box(-1.0, 1.0, (len(market.symbols),), np.float32)


def random_start(market: PortfolioMarket, k: int, rng: np.random.Generator) -> None:
    """Reset portfolio k to a random session, in cash or invested, for the configured length (or what data there is)."""
    environment = market.config.environment
    sessions = min(environment.episode_sessions, market.last - market.first)
    start = int(rng.integers(market.first, market.last - sessions + 1))
    market.reset(k, start=start, sessions=sessions, invested=bool(rng.random() < environment.start_invested))


class PortfolioVecEnv(VecEnv):  # type: ignore[misc]
    """N portfolios as one vectorised environment."""

    def __init__(
        self,
        bars: DailyBars,
        config: ProductionConfig,
        limits: RiskLimits,
        *,
        count: int,
        seed: int,
        tables: Tables | None = None,
    ) -> None:
        """Raises BadInput for bars that are not complete or too few."""
        self.market = PortfolioMarket(bars, config, limits, count=count, tables=tables)
        self.render_mode = None
        self._rng = np.random.default_rng(seed)
        self._targets = np.zeros((count, len(bars.symbols)))
        self._total = np.zeros(count)
        self._length = np.zeros(count, dtype=np.int64)
        super().__init__(count, *_spaces(self.market))

    def reset(self) -> Observation:
        """Start every portfolio on a random session."""
        for k in range(self.num_envs):
            random_start(self.market, k, self._rng)
        self._total[:] = 0.0
        self._length[:] = 0
        self.reset_infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        return self.market.observations()

    def step_async(self, actions: Float32Array) -> None:
        """Remember the actions [N, n]."""
        self._targets = weights_from_actions(actions)

    def step_wait(self) -> tuple[Observation, Float32Array, NDArray[np.bool_], list[dict[str, Any]]]:
        """Step all; portfolios at their end are reset, their last observation is in the info."""
        market = self.market
        result = market.step(self._targets)
        observations = market.observations()
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        self._total += result.rewards
        self._length += 1
        if result.done.any():
            for k in np.flatnonzero(result.done).tolist():
                infos[k] = {
                    "terminal_observation": observations[k].copy(),
                    "TimeLimit.truncated": True,
                    "episode": {"r": float(self._total[k]), "l": int(self._length[k]), "t": 0.0},
                    "equity_ratio": float(market.equity[k]) / market.opening,
                }
                random_start(market, k, self._rng)
                self._total[k], self._length[k] = 0.0, 0
            observations = market.observations()
        return observations, result.rewards.astype(np.float32), result.done, infos

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the starts of episodes."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        return [seed] * self.num_envs

    def rng_state(self) -> dict[str, Any]:
        """Return the generator's state, for a checkpoint."""
        return dict(self._rng.bit_generator.state)

    def set_rng_state(self, state: dict[str, Any]) -> None:
        """Continue the generator of a checkpoint."""
        self._rng.bit_generator.state = state

    def close(self) -> None:
        """Nothing to free."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute, the same for each portfolio."""
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Portfolios share everything: attributes are not set one by one."""
        raise AttributeError(f"{attr_name} cannot be set on single portfolios")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Portfolios are no objects: there is no method to call on one."""
        raise AttributeError(f"{method_name} cannot be called on single portfolios")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Nothing is wrapped."""
        return [False] * len(list(self._get_indices(indices)))


class PortfolioEnv(gymnasium.Env[Observation, Float32Array]):  # type: ignore[misc]
    """One portfolio as a gymnasium environment. Options of `reset`: start (session index), sessions, invested."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - gymnasium's own declaration

    def __init__(self, bars: DailyBars, config: ProductionConfig, limits: RiskLimits) -> None:
        """Raises BadInput for bars that are not complete or too few."""
        self.market = PortfolioMarket(bars, config, limits)
        self.render_mode = None
        self.observation_space, self.action_space = _spaces(self.market)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode: a random one, or the one that the options name."""
        super().reset(seed=seed)
        if options is None:
            random_start(self.market, 0, self.np_random)
        else:
            self.market.reset(0, **options)
        return self.market.observations().reshape(-1), self._info()

    def step(self, action: Float32Array) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Return observation, reward, terminated (never), truncated, info."""
        result = self.market.step(weights_from_actions(np.asarray(action)[None]))
        return (
            self.market.observations().reshape(-1),
            float(result.rewards[0]),
            False,
            bool(result.done[0]),
            self._info(),
        )

    def _info(self) -> dict[str, Any]:
        market = self.market
        return {
            "session": market.tables.days[int(market.t[0])].isoformat(),
            "equity": int(market.equity[0]) / 100.0,
            "charges": int(market.charges[0]) / 100.0,
            "shares": market.shares[0].tolist(),
        }
