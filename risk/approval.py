"""Approval as a type: what a broker accepts, and what only the gate can make.

A broker adapter takes `ApprovedOrder` and nothing else. The seal is a keyed digest of the order's own fields with a key
that lives in this process alone: an order that was built by hand, or copied with another quantity, does not verify.
This guards against mistakes in our own code, not against an attacker inside the process.
"""

from __future__ import annotations

import secrets
from enum import StrEnum
from typing import Final

import msgspec

from market.money import Paise

_KEY: Final = secrets.token_bytes(16)


class Side(StrEnum):
    """Direction of an order."""

    BUY = "buy"
    SELL = "sell"


class ProposedOrder(msgspec.Struct, frozen=True, gc=False):
    """What the planner asks for: a whole-share, tick-rounded day limit order. Prices in paise per share."""

    tag: str
    plan_id: str
    symbol: str
    side: Side
    quantity: int
    limit: Paise


class ApprovedOrder(msgspec.Struct, frozen=True, gc=False):
    """An order that the gate approved. Mint it with `risk.gate`; nothing else can make one that verifies.

    `limits_version` is the hash of the limits and `priced_at_ns` the end of the bar that its checks rest on, so that an
    approval is stale when either has moved on.
    """

    tag: str
    plan_id: str
    symbol: str
    side: Side
    quantity: int
    limit: Paise
    limits_version: str
    priced_at_ns: int
    seal: int


def _digest(order: ProposedOrder | ApprovedOrder, limits_version: str, priced_at_ns: int) -> int:
    return hash(
        (
            _KEY,
            order.tag,
            order.plan_id,
            order.symbol,
            order.side,
            order.quantity,
            order.limit,
            limits_version,
            priced_at_ns,
        )
    )


def _seal(order: ProposedOrder, *, limits_version: str, priced_at_ns: int) -> ApprovedOrder:
    """Turn a proposal into an approval. Called by `risk.gate` alone; an architecture test holds that."""
    return ApprovedOrder(
        order.tag,
        order.plan_id,
        order.symbol,
        order.side,
        order.quantity,
        order.limit,
        limits_version,
        priced_at_ns,
        _digest(order, limits_version, priced_at_ns),
    )


def is_approved(order: object) -> bool:
    """Return whether `order` is an approval that the gate of this process sealed and nobody altered."""
    return isinstance(order, ApprovedOrder) and order.seal == _digest(order, order.limits_version, order.priced_at_ns)
