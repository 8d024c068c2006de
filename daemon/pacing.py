"""Pacing: orders leave no faster than `execution.max_orders_per_second`; the rest waits its turn, none is dropped.

A sliding second, kept by the edge that sends. Each group passes the last look when its turn comes, so a stop also holds
back what was waiting. What is cancelled while it waits, and what still waits when sending breaks or the process ends, has
provably not left: it comes back as such.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Final

from daemon.clock import Clock
from risk.approval import ApprovedOrder
from risk.schema import RiskLimits

Orders = tuple[ApprovedOrder, ...]
# A hair later than the second: floats must not let one order too many share it.
_SECOND: Final = 1.000001


class Pacer:
    """A queue in front of the broker. `send` sends a group now; `broken` hears (its group, what waited) when it raises."""

    def __init__(
        self,
        clock: Clock,
        limits: RiskLimits,
        send: Callable[[Orders], None],
        broken: Callable[[Orders, Orders], None],
    ) -> None:
        self._clock = clock
        self._per_second = limits.execution.max_orders_per_second
        self._send = send
        self._broken = broken
        self._sent: deque[float] = deque()
        self._waiting: deque[ApprovedOrder] = deque()
        self._timer: Callable[[], None] | None = None  # cancels it

    @property
    def waiting(self) -> int:
        """How many approved orders wait for their turn."""
        return len(self._waiting)

    @property
    def queue(self) -> Orders:
        """The approved orders that wait for their turn."""
        return tuple(self._waiting)

    def add(self, orders: Sequence[ApprovedOrder]) -> None:
        """Send what may leave now, in order, and let the rest follow."""
        self._waiting.extend(orders)
        if self._timer is None:
            self._turn()

    def withdraw(self, tags: Collection[str]) -> Orders:
        """Take orders out of the queue; return those that were in it."""
        found = tuple([order for order in self._waiting if order.tag in tags])
        if found:
            self._waiting = deque([order for order in self._waiting if order.tag not in tags])
        return found

    def _turn(self) -> None:
        self._timer = None
        now = self._clock.loop.time()
        while self._sent and self._sent[0] <= now - 1.0:
            self._sent.popleft()
        count = min(self._per_second - len(self._sent), len(self._waiting))
        if count > 0:
            group = tuple([self._waiting.popleft() for _ in range(count)])
            self._sent.extend([now] * count)
            try:
                self._send(group)
            except Exception:
                self._broken(group, self.close())
                raise
        if self._waiting:
            self._timer = self._clock.loop.call_at(self._sent[0] + _SECOND, self._turn).cancel

    def close(self) -> Orders:
        """Forget what waits, and return it: it was never sent."""
        if self._timer is not None:
            self._timer()
            self._timer = None
        left = tuple(self._waiting)
        self._waiting.clear()
        return left
