"""The simulated world's event loop: virtual time, seeded order of what is ready, and processes that can die.

Killing is not cancelling: a task that is cancelled, or collected, runs its `finally` blocks; a process that is killed runs
nothing more. So each process is a `Life`, carried by the context of everything it schedules, and the loop runs nothing of
a life that is over.
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from daemon.clock import VirtualTimeLoop


class Killed(BaseException):
    """The process died here. Not an Exception: nothing in the daemon may catch it and go on."""


class Life:
    """One process: alive, frozen for a while, or dead. `touch` is called at each of its contacts with the world."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.alive = True
        self.frozen_until = 0.0
        self.steps = 0  # callbacks of it that the loop has run
        self.contacts = 0
        self.on_contact: Callable[[Life, str], None] = lambda life, name: None
        self._context = contextvars.copy_context()
        self._context.run(LIFE.set, self)

    def touch(self, name: str) -> None:
        """Note a contact with the world, at which the process may die. Raises Killed when it does or did."""
        if self.alive:
            self.contacts += 1
            self.on_contact(self, name)
        if not self.alive:
            raise Killed

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Run a function as part of this process; nothing when it is dead."""
        if self.alive:
            # A copy each time: a context cannot be entered while it is entered.
            try:
                self._context.copy().run(function, *args)
            except Killed:
                return


LIFE: Final[contextvars.ContextVar[Life | None]] = contextvars.ContextVar("life", default=None)


class SimulationLoop(VirtualTimeLoop):
    """`order(count)` returns a permutation of what is ready, or None to keep the order in which it became ready."""

    def __init__(self, order: Callable[[int], list[int] | None]) -> None:
        super().__init__()
        self.on_step: Callable[[Life], None] | None = None
        self._order = order

    def _run_ready(self, ready: deque[Any]) -> None:
        count = len(ready)
        if count > 1:
            order = self._order(count)
            if order is not None:
                handles = [ready.popleft() for _ in range(count)]
                ready.extendleft([handles[i] for i in reversed(order)])
        for _ in range(count):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            life = handle._context.get(LIFE)
            if life is not None:
                if not life.alive:
                    continue
                if life.frozen_until > self._virtual_now:
                    self.call_at(life.frozen_until, handle._callback, *handle._args, context=handle._context)
                    continue
                life.steps += 1
                if self.on_step is not None:
                    self.on_step(life)
                    if not life.alive:
                        continue
            handle._run()
