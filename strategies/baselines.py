"""Classical strategies: what a model must beat, and what runs when there is no model.

A new one is a class and a line in `BASELINES`. Weights are multiples of 0.000001, as a policy's are (strategies/actions.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from market.errors import BadInput
from strategies.actions import rounded
from strategies.protocol import Strategy, StrategyContext

FloatArray = NDArray[np.float64]


class EqualWeight:
    """The same weight for every instrument, every day."""

    name: Final = "equal_weight"

    def __init__(self, symbols: tuple[str, ...], look_back: int) -> None:
        self.symbols = symbols
        self.look_back = 0
        self._weights = rounded(np.full((1, len(symbols)), 1.0 / len(symbols))).reshape(-1)

    def target(self, context: StrategyContext) -> FloatArray | None:
        """Return 1 / n each."""
        return self._weights.copy()


class BuyAndHold:
    """Buy equal weights, then hold.

    A turnover limit may spread the purchase over days, so it asks for what each instrument lacks of 1 / n until positions
    reach `INVESTED` of the account, never sells, and then holds. Pure: it looks at the portfolio alone and so survives a
    restart. (Limits that keep more than 10 % in cash leave it asking every day for what it cannot have.)
    """

    name: Final = "buy_and_hold"
    INVESTED: Final = 0.90

    def __init__(self, symbols: tuple[str, ...], look_back: int) -> None:
        self.symbols = symbols
        self.look_back = 0
        self._share = 1.0 / len(symbols)

    def target(self, context: StrategyContext) -> FloatArray | None:
        """Return the weights to buy, or None once they are bought."""
        held = context.weights
        invested = float(held.sum())
        if invested >= self.INVESTED:
            return None
        missing = np.maximum(self._share - held, 0.0)
        lacking = float(missing.sum())
        return rounded((held + missing * min(1.0, (1.0 - invested) / lacking))[None]).reshape(-1)


class InverseVolatility:
    """Weights in proportion to 1 / standard deviation of the last L daily returns."""

    name: Final = "inverse_volatility"
    # A price that does not move (halted, stale) must not attract everything: 0.1 % a day is the least that counts.
    LEAST_DEVIATION: Final = 0.001

    def __init__(self, symbols: tuple[str, ...], look_back: int) -> None:
        self.symbols = symbols
        self.look_back = look_back

    def target(self, context: StrategyContext) -> FloatArray | None:
        """Return the weights, or None until history suffices."""
        closes = context.closes
        if len(closes) <= self.look_back:
            return None
        recent = closes[-(self.look_back + 1) :]
        deviation = np.maximum(np.std(recent[1:] / recent[:-1] - 1.0, axis=0, ddof=1), self.LEAST_DEVIATION)
        inverse = 1.0 / deviation
        return rounded(inverse[None] / inverse.sum()).reshape(-1)


BASELINES: Final = {kind.name: kind for kind in (EqualWeight, BuyAndHold, InverseVolatility)}


def make_strategy(name: str, symbols: tuple[str, ...], look_back: int) -> Strategy:
    """Return a baseline by name. Raises BadInput with the names that exist."""
    return make_of(BASELINES, "strategy", name, symbols, look_back)


def make_of(
    kinds: Mapping[str, Callable[[tuple[str, ...], int], Strategy]],
    what: str,
    name: str,
    symbols: tuple[str, ...],
    look_back: int,
) -> Strategy:
    """Return one of `kinds`; `what` they are called in errors. Raises BadInput with the names that exist."""
    kind = kinds.get(name)
    if kind is None:
        raise BadInput(f"{what} {name!r}: there is none of that name; allowed: {', '.join(kinds)}")
    if not symbols or look_back < 2:
        raise BadInput(
            f"{what} {name}: {len(symbols)} instruments, look-back {look_back}; allowed: 1 or more, 2 or more"
        )
    return kind(symbols, look_back)
