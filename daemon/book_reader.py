"""The edge that reads the broker's books: one reading at a time, each question with a deadline, the answer a message.

Readings do not overlap, and the same one is not asked for twice while it waits: what comes of it is judged once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from brokers.port import Broker, Known, Read, Unknown
from daemon.effects import ReadAccount
from daemon.messages import AccountRead

READ_SECONDS: Final = 20.0


class BookReader:
    """Reads order book, trades, positions and funds. A question waits for READ_SECONDS of the machine's: `pace` of the
    loop's seconds are one of those.

    `not_left` names the orders that wait in this process, `sequence` is the journal's last record, `post` takes the answer,
    `spawn` runs the work.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        not_left: Callable[[], set[str]],
        sequence: Callable[[], int],
        post: Callable[[AccountRead], None],
        spawn: Callable[[str, Coroutine[Any, Any, None]], object],
        pace: float = 1.0,
    ) -> None:
        self._broker = broker
        self._not_left = not_left
        self._sequence = sequence
        self._post = post
        self._spawn = spawn
        self._seconds = READ_SECONDS * pace
        self._waiting: deque[ReadAccount] = deque()
        self._reading = False

    def read(self, effect: ReadAccount) -> None:
        """Queue a reading."""
        if effect not in self._waiting:
            self._waiting.append(effect)
        if not self._reading:
            self._reading = True
            self._spawn("read-account", self._work())

    async def _work(self) -> None:
        try:
            while self._waiting:
                self._post(await self._one(self._waiting.popleft()))
        finally:
            self._reading = False

    async def _one(self, effect: ReadAccount) -> AccountRead:
        broker, began, not_left = self._broker, self._sequence(), self._not_left()
        unknown: dict[str, Unknown] = {}
        books: dict[str, Any] = {"orders": await _ask("orders", broker.orders, unknown, self._seconds)}
        books["trades"] = await _ask("trades", broker.trades, unknown, self._seconds)
        if not effect.orders_only:
            books["positions"] = await _ask("positions", broker.positions, unknown, self._seconds)
            books["funds"] = await _ask("funds", broker.funds, unknown, self._seconds)
        return AccountRead(
            purpose=effect.purpose,
            unknown="; ".join([f"{name}: {answer.reason}" for name, answer in unknown.items()]),
            login_needed=any(answer.login_needed for answer in unknown.values()),
            not_left=tuple(sorted(not_left | self._not_left())),
            began_seq=began,
            orders_only=effect.orders_only,
            **({} if unknown else books),
        )


async def _ask(name: str, read: Callable[[], Awaitable[Read[Any]]], unknown: dict[str, Unknown], seconds: float) -> Any:
    """Return what the broker answered; note what it did not."""
    try:
        async with asyncio.timeout(seconds):
            answer = await read()
    except TimeoutError:
        answer = Unknown(f"no answer in {READ_SECONDS:.0f} s")
    except Exception as error:  # noqa: BLE001 - an adapter that breaks has not answered; whoever waits must hear of it
        answer = Unknown(f"{type(error).__name__}: {error}")
    if isinstance(answer, Known):
        return answer.value
    unknown[name] = answer
    return None
