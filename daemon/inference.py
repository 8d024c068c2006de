"""Inference: runs the strategy outside the dispatch and hot-loads model artifacts between decisions.

The numpy policy and the baselines answer in microseconds and run in place; a strategy that declares itself slow runs in a
thread with a deadline. Late, failed or invalid answers are recorded as "hold". A new artifact is verified beside the
running one (hashes, schema, universe, expiry, golden vectors); anything wrong keeps the last good one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from typing import Final

import msgspec

from daemon.clock import Clock
from daemon.messages import ModelLoaded, TargetProposed
from strategies.protocol import Strategy, StrategyContext

DEADLINE_SECONDS: Final = 5.0


class StrategyHost:
    """Holds the strategy in use and the one that takes over at the next decision."""

    def __init__(
        self, clock: Clock, strategy: Strategy, *, version: str = "", deadline: float = DEADLINE_SECONDS
    ) -> None:
        self.clock = clock
        self.strategy = strategy
        self.version = version
        self.deadline = deadline
        self._post: Callable[[msgspec.Struct], None] = lambda message: None
        self._tasks: set[asyncio.Task[None]] = set()

    def attach(self, post: Callable[[msgspec.Struct], None]) -> None:
        """Set where answers go."""
        self._post = post

    def ask(self, decision_id: str, slot: str, context: StrategyContext) -> None:
        """Ask for target weights; the answer is posted."""
        if getattr(self.strategy, "slow", False):
            task = self.clock.loop.create_task(self._ask_slow(decision_id, slot, context), name="strategy")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        self._post(self._answer(decision_id, slot, context, self.strategy, self.version))

    async def _ask_slow(self, decision_id: str, slot: str, context: StrategyContext) -> None:
        strategy, version = self.strategy, self.version
        # Closed sessions' rows are never written again, but the array may be replaced as it grows: hand over a copy.
        copy = replace(context, closes=context.closes.copy())
        work = asyncio.to_thread(self._answer, decision_id, slot, copy, strategy, version)
        try:
            self._post(await asyncio.wait_for(work, self.deadline))
        except TimeoutError:
            self._post(
                TargetProposed(
                    decision_id=decision_id,
                    session=context.session,
                    slot=slot,
                    strategy=strategy.name,
                    model=version,
                    weights=None,
                    detail=f"STRATEGY_LATE: no answer in {self.deadline:g} s",
                )
            )

    @staticmethod
    def _answer(
        decision_id: str, slot: str, context: StrategyContext, strategy: Strategy, version: str
    ) -> TargetProposed:
        weights: tuple[float, ...] | None = None
        detail = ""
        try:
            target = strategy.target(context)
            if target is None:
                detail = "STRATEGY_HOLD: the strategy holds"
            elif len(target) != len(context.weights):
                detail = f"STRATEGY_INVALID: {len(target)} weights for {len(context.weights)} instruments"
            elif not all(map(isfinite, values := target.tolist())):
                detail = "STRATEGY_INVALID: a weight is not a number"
            else:
                # Six decimals: a decision must not hang on the last bit of one machine's arithmetic.
                weights = tuple([round(weight, 6) + 0.0 for weight in values])
        except Exception as error:  # noqa: BLE001 - whatever a strategy raises means "hold", and is recorded
            detail = f"STRATEGY_FAILED: {type(error).__name__}: {error}"
        return TargetProposed(
            decision_id=decision_id,
            session=context.session,
            slot=slot,
            strategy=strategy.name,
            model=version,
            weights=weights,
            detail=detail,
        )

    def take(self, strategy: Strategy, version: str, digest: str) -> ModelLoaded:
        """Use a verified strategy from the next decision on; returns what to post."""
        if strategy.symbols != self.strategy.symbols:
            detail = f"universe {', '.join(strategy.symbols)} is not {', '.join(self.strategy.symbols)}"
            return ModelLoaded(version=version, sha256=digest, accepted=False, detail=detail)
        self.strategy, self.version = strategy, version
        return ModelLoaded(version=version, sha256=digest, accepted=True)
