"""The policy: a trained actor in numpy, without torch and without pickle.

Normalise as stable-baselines3's VecNormalize does, hidden layers with ReLU, tanh of the mean: the deterministic action of
a SAC actor. Matrices are float32 as trained; buffers are allocated once, so one policy serves one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market.errors import BadInput
from strategies.actions import weights_from_action
from strategies.observation import observation_size, observe
from strategies.protocol import StrategyContext

Float32Array = NDArray[np.float32]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Normalizer:
    """Running statistics of observations at the end of training: clip((x - mean) / sqrt(var + epsilon), -clip, clip)."""

    mean: FloatArray
    var: FloatArray
    epsilon: float
    clip: float


class Policy:
    """A deterministic actor: observation [size] to action [n] in [-1, 1]."""

    def __init__(self, normalizer: Normalizer, layers: Sequence[tuple[Float32Array, Float32Array]]) -> None:
        """`layers` are (weight [out, in], bias [out]); all but the last are followed by ReLU, the last by tanh.

        Raises BadInput when shapes do not chain or a number is not finite.
        """
        self._mean = np.ascontiguousarray(normalizer.mean, dtype=np.float64)
        self._clip = float(normalizer.clip)
        width = len(self._mean)
        if not layers or normalizer.var.shape != self._mean.shape or not (normalizer.var >= 0.0).all():
            raise BadInput("policy: needs at least one layer, and a mean and a variance for each observation entry")
        # The same division as in training, in double precision: a nearly constant entry has a tiny scale, and rounding
        # its difference to single precision first would be magnified.
        self._scale = np.sqrt(normalizer.var + normalizer.epsilon)
        self._layers = []
        for number, (weight, bias) in enumerate(layers):
            if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
                raise BadInput(f"policy: layer {number} has shape {weight.shape}, its input has {width} entries")
            width = weight.shape[0]
            matrix = np.ascontiguousarray(weight, dtype=np.float32)
            offset = np.ascontiguousarray(bias, dtype=np.float32)
            self._layers.append((matrix, offset, np.empty(width, dtype=np.float32)))
        arrays = [self._mean, self._scale, *(array for layer in layers for array in layer)]
        if not all(np.isfinite(array).all() for array in arrays):
            raise BadInput("policy: a weight or a statistic is not a finite number")
        self._wide = np.empty_like(self._mean)
        self._narrow = np.empty(len(self._mean), dtype=np.float32)

    @property
    def observation_size(self) -> int:
        """Entries of an observation."""
        return len(self._mean)

    @property
    def action_size(self) -> int:
        """Entries of an action."""
        return len(self._layers[-1][1])

    def act(self, observation: Float32Array) -> Float32Array:
        """Return the action [n] for an observation [size]. The result is a buffer: copy it to keep it."""
        wide = self._wide
        np.subtract(observation, self._mean, out=wide)
        np.divide(wide, self._scale, out=wide)
        np.maximum(wide, -self._clip, out=wide)
        np.minimum(wide, self._clip, out=wide)
        x = self._narrow
        x[...] = wide
        *hidden, (matrix, offset, out) = self._layers
        for weight, bias, buffer in hidden:
            np.dot(weight, x, out=buffer)
            np.add(buffer, bias, out=buffer)
            x = np.maximum(buffer, np.float32(0.0), out=buffer)
        np.dot(matrix, x, out=out)
        np.add(out, offset, out=out)
        return np.tanh(out, out=out)


class PolicyStrategy:
    """A policy as a `Strategy`: observes, acts, and turns the action into target weights."""

    def __init__(self, policy: Policy, *, symbols: tuple[str, ...], look_back: int, version: str = "") -> None:
        """`version` names the model; BadInput when the policy's shape is not the universe's."""
        size = observation_size(len(symbols), look_back)
        if policy.observation_size != size or policy.action_size != len(symbols):
            raise BadInput(
                f"policy: maps {policy.observation_size} entries to {policy.action_size} weights; {len(symbols)} "
                f"instruments with look-back {look_back} need {size} and {len(symbols)}"
            )
        self.policy = policy
        self.version = version
        self._symbols = symbols
        self._look_back = look_back

    @property
    def name(self) -> str:
        """Short name, as the command line and the journal show it."""
        return "policy"

    @property
    def symbols(self) -> tuple[str, ...]:
        """The ordered universe."""
        return self._symbols

    @property
    def look_back(self) -> int:
        """Sessions of history beyond the last close."""
        return self._look_back

    def target(self, context: StrategyContext) -> FloatArray | None:
        """Return target weights [n], or None until history suffices. BadInput for a close that is missing."""
        if len(context.closes) <= self._look_back:
            return None
        observation = observe(
            context.closes,
            self._look_back,
            weights=context.weights,
            value_ratio=context.value_ratio,
            cash_weight=context.cash_weight,
            recent_returns=context.recent_returns,
        )
        return weights_from_action(self.policy.act(observation))
