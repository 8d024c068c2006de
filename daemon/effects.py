"""What handlers ask the edges to do. Those marked durable leave only after their record is on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from daemon.bus import Effect
from daemon.messages import Lane
from risk.approval import ApprovedOrder
from strategies.protocol import StrategyContext


@dataclass(frozen=True, slots=True)
class AskStrategy(Effect):
    """Compute target weights; the answer comes back as `TargetProposed`."""

    decision_id: str
    slot: str
    context: StrategyContext


@dataclass(frozen=True, slots=True)
class SendOrders(Effect):
    """Send approved orders, each once, after the last look at the stop latch."""

    durable = True
    orders: tuple[ApprovedOrder, ...]


@dataclass(frozen=True, slots=True)
class CancelOrders(Effect):
    """Ask the broker to cancel."""

    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadAccount(Effect):
    """Read the broker's books; the answer comes back as `AccountRead`."""

    purpose: str


@dataclass(frozen=True, slots=True)
class SetTimer(Effect):
    """Post a message at an instant, on a lane."""

    name: str
    at_ns: int
    message: msgspec.Struct
    lane: Lane = Lane.TIMER


@dataclass(frozen=True, slots=True)
class DropTimer(Effect):
    """Forget a timer."""

    name: str


@dataclass(frozen=True, slots=True)
class Reply(Effect):
    """Answer the person who is waiting on the control socket."""

    token: int
    status: int
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Alert(Effect):
    """Tell people. Severity: info, warning, error."""

    severity: str
    event: str
    detail: str


@dataclass(frozen=True, slots=True)
class ReleaseStop(Effect):
    """Remove the stop latch; durable, because a person's approval must be on record before orders can leave again."""

    durable = True
