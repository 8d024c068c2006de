"""Adversaries: strategies that ask for what must not be done. For stress runs and tests, never for paper or live.

They are not among the baselines, so no command that trades knows their names (`make_strategy` refuses them); `tarazu
stress` and `tarazu replay` ask for them here. Each follows the Strategy protocol and breaks its promise in one way.
"""

from __future__ import annotations

from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from strategies.baselines import make_of
from strategies.protocol import Strategy, StrategyContext

FloatArray = NDArray[np.float64]


class AllInOne:
    """Everything in the stock with the worst return over the look-back: catches the falling knife, again and again.

    With less history it looks at what there is; with none, at the first stock.
    """

    name: Final = "all_in_one"

    def __init__(self, symbols: tuple[str, ...], look_back: int) -> None:
        self.symbols = symbols
        self.look_back = look_back

    def target(self, context: StrategyContext) -> FloatArray | None:
        """Return 1 in one stock."""
        recent = context.closes[-(self.look_back + 1) :]
        worst = int(np.argmin(recent[-1] / recent[0])) if len(recent) > 1 else 0
        return _only(worst, len(self.symbols))


class FlipDaily:
    """Everything in one stock, and in the next one of the universe a session later: the most turnover there is.

    The number of closed sessions chooses, so it is pure and a restart does not change its mind.
    """

    name: Final = "flip_daily"

    def __init__(self, symbols: tuple[str, ...], look_back: int) -> None:
        self.symbols = symbols
        self.look_back = 0

    def target(self, context: StrategyContext) -> FloatArray | None:
        """Return 1 in one stock."""
        return _only(len(context.closes) % len(self.symbols), len(self.symbols))


class NotANumber:
    """NaN for the first stock and a fair share for each other one: only the one entry gives it away."""

    name: Final = "not_a_number"

    def __init__(self, symbols: tuple[str, ...], look_back: int) -> None:
        self.symbols = symbols
        self.look_back = 0

    def target(self, context: StrategyContext) -> FloatArray | None:
        """Return weights of which the first is not a number."""
        weights = np.full(len(self.symbols), 1.0 / len(self.symbols))
        weights[0] = np.nan
        return weights


class Negative:
    """Sells the first stock short for all that the account is worth and shares that much among the others.

    What it buys adds up to 1, so only the sign gives it away.
    """

    name: Final = "negative"

    def __init__(self, symbols: tuple[str, ...], look_back: int) -> None:
        self.symbols = symbols
        self.look_back = 0

    def target(self, context: StrategyContext) -> FloatArray | None:
        """Return -1 in the first stock, 1 / (n - 1) in each other."""
        weights = np.full(len(self.symbols), 1.0 / max(1, len(self.symbols) - 1))
        weights[0] = -1.0
        return weights


class SumThree:
    """The same weight for every stock, three times what the account has: each is modest, the sum is 3."""

    name: Final = "sum_three"

    def __init__(self, symbols: tuple[str, ...], look_back: int) -> None:
        self.symbols = symbols
        self.look_back = 0

    def target(self, context: StrategyContext) -> FloatArray | None:
        """Return 3 / n each."""
        return np.full(len(self.symbols), 3.0 / len(self.symbols))


class Turncoat:
    """An even book until a session, and from that session on an adversary: what it does meets an account that is invested."""

    def __init__(self, adversary: Strategy, *, turns: date) -> None:
        self.name = adversary.name
        self.symbols = adversary.symbols
        self.look_back = adversary.look_back
        self._adversary = adversary
        self._turns = turns

    def target(self, context: StrategyContext) -> FloatArray | None:
        """Return the same share of 95 % for each stock, or what the adversary wants."""
        if context.session < self._turns:
            return np.full(len(self.symbols), 0.95 / len(self.symbols))
        return self._adversary.target(context)


ADVERSARIES: Final = {kind.name: kind for kind in (AllInOne, FlipDaily, NotANumber, Negative, SumThree)}


def make_adversary(name: str, symbols: tuple[str, ...], look_back: int) -> Strategy:
    """Return an adversary by name. Raises BadInput with the names that exist."""
    return make_of(ADVERSARIES, "adversary", name, symbols, look_back)


def _only(index: int, count: int) -> FloatArray:
    weights = np.zeros(count)
    weights[index] = 1.0
    return weights
