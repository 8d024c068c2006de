"""The baseline of the replay benchmark: a bare asyncio queue loop that trades the same target weights.

Feed task -> queue -> numpy clip and gross gate -> whole-share orders, sells first -> fills at the next open -> cash in
floats. No journal, no charges, no limits beyond the clip, no messages, no recovery: what a plain loop costs in Python.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class BareOrder:
    """A market order of the bare loop."""

    symbol: int
    quantity: int


class BareLoop:
    """One run over columns of shape [bars, instruments]; decides every `every` bars with `weights[decision]`."""

    def __init__(
        self,
        opens: NDArray[np.float64],
        closes: NDArray[np.float64],
        weights: NDArray[np.float64],
        *,
        every: int,
        cash: float,
    ) -> None:
        self.opens = opens
        self.closes = closes
        self.weights = weights
        self.every = every
        self.cash = cash
        self.orders = 0
        self.held = [0] * closes.shape[1]

    async def _feed(self, queue: asyncio.Queue[tuple[int, int, float, float] | None]) -> None:
        for row, (opened, closed) in enumerate(zip(self.opens.tolist(), self.closes.tolist(), strict=True)):
            for symbol in range(len(closed)):
                # One event a bar, as engines do it; the last of a moment triggers the decision.
                await queue.put((row, symbol, opened[symbol], closed[symbol]))
        await queue.put(None)

    async def run(self) -> float:
        """Trade to the end and return the equity."""
        queue: asyncio.Queue[tuple[int, int, float, float] | None] = asyncio.Queue(maxsize=64)
        feed = asyncio.create_task(self._feed(queue))
        n = self.closes.shape[1]
        last = [0.0] * n
        pending: list[BareOrder] = []
        decision = 0
        while (item := await queue.get()) is not None:
            row, symbol, opened, closed = item
            if pending:
                for order in [order for order in pending if order.symbol == symbol]:
                    self.held[symbol] += order.quantity
                    self.cash -= order.quantity * opened
                    pending.remove(order)
            last[symbol] = closed
            if symbol == n - 1 and row % self.every == 0:
                pending = self._decide(last, decision)
                decision += 1
        await feed
        return self.cash + sum(quantity * price for quantity, price in zip(self.held, last, strict=True))

    def _decide(self, last: list[float], decision: int) -> list[BareOrder]:
        prices = np.array(last)
        held = np.array(self.held)
        equity = self.cash + float(held @ prices)
        target = np.clip(self.weights[decision % len(self.weights)], 0.0, 0.40)
        total = target.sum()
        if total > 0.95:
            target = target * (0.95 / total)
        wanted = np.floor(target * equity / prices).astype(np.int64) - held
        orders = [BareOrder(i, int(quantity)) for i, quantity in enumerate(wanted.tolist()) if quantity]
        orders.sort(key=lambda order: order.quantity)
        self.orders += len(orders)
        return orders
