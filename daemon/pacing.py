"""Pacing: orders leave no faster than `execution.max_orders_per_second`; the rest waits its turn, none is dropped.

A sliding second, kept by the edge that sends. Each group passes the last look when its turn comes, so a stop also holds
back what was waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from daemon.clock import Clock
from risk.approval import ApprovedOrder
from risk.schema import RiskLimits


class Send(Protocol):
    """Sends orders now, or says why they may not leave."""

    def __call__(self, orders: tuple[ApprovedOrder, ...]) -> None: ...


class Pacer:
    """A queue in front of the broker."""

    def __init__(self, clock: Clock, limits: RiskLimits, send: Send) -> None:
        self._clock = clock
        self._per_second = limits.execution.max_orders_per_second
        self._send = send
        self._sent: deque[float] = deque()
        self._waiting: deque[ApprovedOrder] = deque()
        self._timer: object | None = None
        self._cancel: Callable[[], None] = lambda: None

    @property
    def waiting(self) -> int:
        """How many approved orders wait for their turn."""
        return len(self._waiting)

    def add(self, orders: Sequence[ApprovedOrder]) -> None:
        """Send what may leave now, in order, and let the rest follow."""
        self._waiting.extend(orders)
        if self._timer is None:
            self._turn()

    def _turn(self) -> None:
        self._timer = None
        now = self._clock.loop.time()
        while self._sent and self._sent[0] <= now - 1.0:
            self._sent.popleft()
        count = min(self._per_second - len(self._sent), len(self._waiting))
        if count > 0:
            group = tuple([self._waiting.popleft() for _ in range(count)])
            self._sent.extend([now] * count)
            self._send(group)
        if self._waiting:
            # A hair later than the second: floats must not let the eleventh order share it.
            timer = self._clock.loop.call_at(self._sent[0] + 1.000001, self._turn)
            self._timer, self._cancel = timer, timer.cancel

    def close(self) -> None:
        """Forget what waits; it was never sent."""
        self._cancel()
        self._timer = None
        self._waiting.clear()
