"""The strategy of a simulated day: targets from the seed, some of them impossible, and a look at what it is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.clock import Clock
from daemon.inference import DEADLINE_SECONDS, StrategyHost
from daemon.messages import TargetProposed
from daemon.simulation.chance import Chance
from strategies.protocol import StrategyContext

_EXTREMES: Final = ("all in one", "negative", "thrice", "nothing")


class Dice:
    """Targets drawn for each session: the same for the same session, whoever asks and however often."""

    name: Final = "dice"
    look_back: Final = 1

    def __init__(self, symbols: tuple[str, ...], chance: Chance, look: Callable[[StrategyContext], None]) -> None:
        self.symbols = symbols
        self._chance = chance
        self._look = look
        self._targets: dict[date, NDArray[np.float64] | str | None] = {}

    def target(self, context: StrategyContext) -> NDArray[np.float64] | None:
        """Return the session's target; raises where the strategy is to break."""
        self._look(context)
        if context.session not in self._targets:
            self._targets[context.session] = self._drawn()
        drawn = self._targets[context.session]
        if isinstance(drawn, str):
            raise RuntimeError(drawn)
        return drawn

    def _drawn(self) -> NDArray[np.float64] | str | None:
        chance, n = self._chance, len(self.symbols)
        if chance.strikes("strategy_breaks"):
            return "the strategy broke"
        if chance.strikes("target_impossible"):
            wrong = chance.roll("how impossible")
            return np.full(n, np.nan) if wrong < 0.4 else np.zeros(n + 1) if wrong < 0.7 else None
        if chance.strikes("target_extreme"):
            return self._extreme(chance.pick(_EXTREMES, "which extreme"))
        weights = np.array([0.05 + chance.roll("weight") for _ in range(n)])
        return np.asarray(weights / weights.sum() * chance.between(0.5, 0.97, "invested"))

    def _extreme(self, kind: str) -> NDArray[np.float64]:
        n = len(self.symbols)
        weights = np.zeros(n)
        if kind == "all in one":
            weights[int(self._chance.roll("which one") * n)] = 1.0
        elif kind == "negative":
            weights[:] = -0.2
        elif kind == "thrice":
            weights[:] = 3.0 / n
        return weights


class SimulatedHost(StrategyHost):
    """Answers in place, or after the deadline has passed without a thread to wait for."""

    def __init__(self, clock: Clock, strategy: Dice, chance: Chance, *, version: str) -> None:
        super().__init__(clock, strategy, version=version)
        self._chance = chance

    def ask(self, decision_id: str, slot: str, context: StrategyContext) -> None:
        """Ask; a strategy that is late is one that the deadline has given up."""
        if not self._chance.strikes("target_late"):
            super().ask(decision_id, slot, context)
            return
        late = TargetProposed(
            decision_id=decision_id,
            session=context.session,
            slot=slot,
            strategy=self.strategy.name,
            model=self.version,
            weights=None,
            detail=f"STRATEGY_LATE: no answer in {DEADLINE_SECONDS:g} s",
        )
        loop: asyncio.AbstractEventLoop = self.clock.loop
        loop.call_later(DEADLINE_SECONDS, self._post, late)
