"""The guardian: a second process that withdraws open orders at the broker when the daemon no longer can.

It acts on two things, each once per event:

* the heartbeat stopped for longer than the limit, in a session, without a word of an orderly stop. When the broker shows
  open orders, or does not answer, the stop latch is engaged (mode cancel), so that a daemon that comes back does not trade
  on, and what is open is cancelled. When the book is known to be empty, nothing is engaged; it is looked at again;
* the stop latch appeared with mode cancel or flatten. A daemon that is alive does this itself and is given time for it; what
  is open after that is cancelled, but the sales of a living daemon's flatten are its own.

A cancel is done when the book says so. A broker that is away is asked again, with back-off, and people are told. Without a
broker process (the broker inside the daemon) there is nothing to cancel at: the latch alone is engaged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from brokers.port import OVER, Broker, Known, OrderSnapshot
from daemon.heartbeat import STOPPED, Beat
from daemon.latch import Identity, Latch
from market.calendar import Calendar
from market.errors import DependencyFailed
from market.sessions import MINUTE_NS, session_date
from risk.approval import Side

LIMIT_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.5
# Orders expire some minutes after the close.
_AFTER_CLOSE_NS: Final = 10 * MINUTE_NS
# What a daemon that is alive gets to carry a stop out by itself.
_GRACE_SECONDS: Final = 5.0
_BACK_OFF: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_Say = Callable[..., None]


@dataclass(slots=True)
class _Withdrawal:
    """Open orders on their way to be cancelled. `buys_only`: sells are a living daemon's exit."""

    cause: str
    buys_only: bool = False
    attempts: int = 0
    next_at: float = 0.0
    asked: int = 0


class Guardian:
    """Looks twice a second. Times are the loop's; `market_ns` is the exchange's, for the calendar.

    `connect` opens a session with the broker process, or raises DependencyFailed; None: the broker is inside the daemon.
    """

    def __init__(
        self,
        *,
        read: Callable[[], Beat | None],
        latch: Latch,
        connect: Callable[[], Awaitable[Broker]] | None,
        calendar: Calendar,
        market_ns: Callable[[], int],
        now_text: Callable[[], str],
        uid: int,
        say: _Say,
        limit: float = LIMIT_SECONDS,
    ) -> None:
        self._read = read
        self._latch = latch
        self._connect = connect
        self._calendar = calendar
        self._market_ns = market_ns
        self._now_text = now_text
        self._uid = uid
        self._say = say
        self._limit = limit
        self._broker: Broker | None = None
        self._beat: Beat | None = None
        self._changed = asyncio.get_running_loop().time()
        self._withdrawal: _Withdrawal | None = None
        self._engaged = False  # for the silence that lasts
        self._told_silent = False
        self._look_again = 0.0
        self._latch_seen: Identity | None = None
        self._latch_due: float | None = None

    async def reach(self) -> None:
        """Open the session with the broker, so that its clock is known; one that is away is reached when it is needed."""
        if self._connect is not None and await self._open_orders() is None:
            self._say("error", "guardian.broker_away", text="the broker does not answer; it is asked again when needed")

    async def run(self, after_look: Callable[[], None] = lambda: None) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            after_look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def close(self) -> None:
        """End the session with the broker."""
        if self._broker is not None:
            await self._broker.close()
            self._broker = None

    @property
    def silent_seconds(self) -> float:
        """How long the heartbeat has not changed."""
        return asyncio.get_running_loop().time() - self._changed

    async def look(self) -> None:
        """Look once at heartbeat, latch and what is being withdrawn."""
        self._look_at_heartbeat()
        self._look_at_latch()
        if self._is_silent():
            await self._on_silence()
        if self._latch_due is not None and asyncio.get_running_loop().time() >= self._latch_due:
            self._latch_due = None
            self._on_stop()
        if self._withdrawal is not None:
            await self._withdraw(self._withdrawal)

    # ---- the heartbeat -----------------------------------------------------------------------------------------------

    def _look_at_heartbeat(self) -> None:
        beat = self._read()
        if beat is None or beat == self._beat:
            return
        if self._engaged or self._told_silent:
            self._say("info", "guardian.alive", text=f"the daemon's heartbeat is back (pid {beat.pid}, {beat.state})")
        self._beat, self._changed = beat, asyncio.get_running_loop().time()
        self._engaged = self._told_silent = False
        self._look_again = 0.0

    def _is_silent(self) -> bool:
        """Return whether a beat is missing: none is expected outside sessions, after a stop, or before the first one."""
        if self._beat is None or self._beat.state == STOPPED or self.silent_seconds <= self._limit:
            return False
        now = self._market_ns()
        session = self._calendar.session(session_date(now))
        return session is not None and session.open_ns <= now < session.close_ns + _AFTER_CLOSE_NS

    async def _on_silence(self) -> None:
        now = asyncio.get_running_loop().time()
        beat = self._beat
        assert beat is not None
        if self._withdrawal is not None or now < self._look_again:
            return
        self._look_again = now + self._limit / 2  # an order that was on its way may show later
        cause = f"no heartbeat for {self.silent_seconds:.0f} s"
        if self._connect is None:
            day = self._calendar.session(session_date(self._market_ns()))
            if not self._engaged and day is not None and beat.session == day.day.isoformat():
                text = f"{cause}; {beat.open_orders} orders were open; the broker is inside the daemon: only latched"
                self._engage(cause, text)
            return
        orders = await self._open_orders()
        if orders == []:
            if not self._told_silent and not self._engaged:
                self._told_silent = True
                self._say("warning", "guardian.silent", text=f"{cause}; the broker has no open orders; nothing done")
            return
        if not self._engaged:
            known = "unknown" if orders is None else str(len(orders))
            self._engage(cause, f"{cause}; open orders at the broker: {known}; latched, cancelling")
        self._withdrawal = _Withdrawal(cause)

    def _engage(self, cause: str, text: str) -> None:
        self._engaged = True
        try:
            self._latch.engage(mode="cancel", reason=f"guardian: {cause}", uid=self._uid, at=self._now_text())
        except OSError as error:
            # Cancelling does not need the disk; what comes back is then not held by the latch, and people must know.
            text += f"; THE LATCH CANNOT BE WRITTEN: {error}"
        self._latch_seen = self._latch.identity()
        self._say("error", "guardian.engaged", text=text)

    # ---- the latch ---------------------------------------------------------------------------------------------------

    def _look_at_latch(self) -> None:
        identity = self._latch.identity()
        if identity == self._latch_seen:
            return
        self._latch_seen = identity
        self._latch_due = None
        if identity is not None and self._latch.read().get("mode") in ("cancel", "flatten"):
            wait = _GRACE_SECONDS if self._is_alive() else 0.0
            self._latch_due = asyncio.get_running_loop().time() + wait

    def _is_alive(self) -> bool:
        return self._beat is not None and self._beat.state != STOPPED and self.silent_seconds <= _GRACE_SECONDS

    def _on_stop(self) -> None:
        said = self._latch.read()
        cause = f"stop latch, mode {said.get('mode')}: {said.get('reason', '')}"
        if self._connect is None:
            self._say("warning", "guardian.silent", text=f"{cause}; the broker is inside the daemon: nothing done")
        elif self._withdrawal is None:
            self._withdrawal = _Withdrawal(cause, buys_only=said.get("mode") == "flatten" and self._is_alive())

    # ---- the broker --------------------------------------------------------------------------------------------------

    async def _open_orders(self) -> list[OrderSnapshot] | None:
        """Return what is open at the broker; None when it does not say."""
        assert self._connect is not None
        if self._broker is None:
            try:
                self._broker = await self._connect()
            except DependencyFailed:
                return None
        read = await self._broker.orders()
        if not isinstance(read, Known):
            return None
        return [order for order in read.value if order.status not in OVER]

    async def _withdraw(self, work: _Withdrawal) -> None:
        now = asyncio.get_running_loop().time()
        if now < work.next_at:
            return
        orders = await self._open_orders()
        work.next_at = now + _BACK_OFF[min(work.attempts, len(_BACK_OFF) - 1)]
        work.attempts += 1
        if orders is None:
            if work.attempts & (work.attempts - 1) == 0:  # at the first, second, fourth, ... attempt
                text = f"{work.cause}: the broker does not answer (attempt {work.attempts}); trying again"
                self._say("error", "guardian.broker_away", text=text)
            return
        work.attempts, work.next_at = 0, now + _BACK_OFF[0]
        wanted = [order for order in orders if not (work.buys_only and order.side is Side.SELL)]
        if not wanted:
            self._withdrawal = None
            if work.asked:
                self._say(
                    "warning", "guardian.withdrawn", text=f"{work.cause}: no order is open at the broker any more"
                )
            return
        if not work.asked:
            lines = [f"{o.side} {o.quantity - o.filled} {o.symbol} [{o.tag}]" for o in wanted]
            self._say("warning", "guardian.cancelled", text=f"{work.cause}: cancelling {len(wanted)}", orders=lines)
        work.asked += len(wanted)
        assert self._broker is not None
        self._broker.cancel([order.tag for order in wanted])


def line(level: str, event: str, at: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return a log line's fields in the order of the daemon's own log."""
    return {"event": event, "at": at, "level": level, "mode": "guardian", "alert": level == "error", **fields}
