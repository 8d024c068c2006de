"""What handlers ask the edges to do. Those marked durable leave only after their record is on disk."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from daemon.bus import Effect
from daemon.messages import Lane
from market.money import Paise
from risk.approval import ApprovedOrder
from strategies.protocol import StrategyContext


class AskStrategy(Effect, frozen=True):
    """Compute target weights; the answer comes back as `TargetProposed`."""

    decision_id: str
    slot: str
    context: StrategyContext


class SendOrders(Effect, frozen=True):
    """Send approved orders, each once, after the last look at the stop latch."""

    durable: ClassVar[bool] = True
    orders: tuple[ApprovedOrder, ...]


class CancelOrders(Effect, frozen=True):
    """Ask the broker to cancel."""

    tags: tuple[str, ...]


class ReadAccount(Effect, frozen=True):
    """Read the broker's books, or the order book and trades alone; the answer comes back as `AccountRead`."""

    purpose: str
    orders_only: bool = False


class RollBack(Effect, frozen=True):
    """Take an earlier model back; the answer comes as `ModelLoaded`. Durable: it changes who decides."""

    durable: ClassVar[bool] = True
    version: str


class SetTimer(Effect, frozen=True):
    """Post a message at an instant, on a lane."""

    name: str
    at_ns: int
    message: msgspec.Struct
    lane: Lane = Lane.TIMER


class DropTimer(Effect, frozen=True):
    """Forget a timer."""

    name: str


class Reply(Effect, frozen=True):
    """Answer the person who is waiting on the control socket."""

    token: int
    status: int
    payload: dict[str, Any]


class Alert(Effect, frozen=True):
    """Tell people. Severity: info, warning, error."""

    severity: str
    event: str
    detail: str


class MoveCash(Effect, frozen=True):
    """Pay in or out at a broker that has no other way to learn of it (paper)."""

    durable: ClassVar[bool] = True
    amount: Paise
    sequence: int
    reason: str


class ReleaseStop(Effect, frozen=True):
    """Remove the stop latch; durable, because a person's approval must be on record before orders can leave again."""

    durable: ClassVar[bool] = True
