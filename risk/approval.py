"""Approval as a type: what the executor may carry out and a broker accepts, and what only the gate can make.

An executor works under an `ApprovedPlan`, a broker adapter takes `ApprovedOrder` and nothing else. The seal is a keyed
digest of the fields with a key that lives in this process alone: what was built by hand, or copied with another quantity,
does not verify. This guards against mistakes in our own code, not against an attacker inside the process. Seals are
never journaled: after a restart the gate judges a recorded plan anew.
"""

from __future__ import annotations

import secrets
from datetime import date
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
    approval is stale when either has moved on. `leaves`: it belongs to an exit and may go out despite a latched breaker.
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
    leaves: bool = False


class ApprovedPlan(msgspec.Struct, frozen=True):
    """Whole-share quantities that the gate approved, from `before` to `after`; tuples run parallel to `symbols`.

    `prices` (paise) and `equity` are what it was judged on. An `exit` sells and buys nothing; it may leave despite a
    latched breaker. Orders are reviewed under a plan and never beyond it, in its session only.
    """

    plan_id: str
    session: date
    symbols: tuple[str, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    prices: tuple[Paise, ...]
    equity: Paise
    exit: bool
    limits_version: str
    priced_at_ns: int
    seal: int


def _digest(approved: ProposedOrder | ApprovedOrder, limits_version: str, priced_at_ns: int, leaves: bool) -> int:
    return hash(
        (
            _KEY,
            approved.tag,
            approved.plan_id,
            approved.symbol,
            approved.side,
            approved.quantity,
            approved.limit,
            limits_version,
            priced_at_ns,
            leaves,
        )
    )


def _seal(order: ProposedOrder, *, limits_version: str, priced_at_ns: int, leaves: bool = False) -> ApprovedOrder:
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
        _digest(order, limits_version, priced_at_ns, leaves),
        leaves,
    )


def _plan_digest(plan: ApprovedPlan) -> int:
    return hash(
        (
            _KEY,
            plan.plan_id,
            plan.session,
            plan.symbols,
            plan.before,
            plan.after,
            plan.prices,
            plan.equity,
            plan.exit,
            plan.limits_version,
            plan.priced_at_ns,
        )
    )


def _seal_plan(plan: ApprovedPlan) -> ApprovedPlan:
    """Return the plan with its seal. Called by `risk.gate` alone; an architecture test holds that."""
    return msgspec.structs.replace(plan, seal=_plan_digest(plan))


def is_approved(order: object) -> bool:
    """Return whether `order` is an approval that the gate of this process sealed and nobody altered."""
    return isinstance(order, ApprovedOrder) and order.seal == _digest(
        order, order.limits_version, order.priced_at_ns, order.leaves
    )


def is_approved_plan(plan: object) -> bool:
    """Return whether `plan` is a plan that the gate of this process sealed and nobody altered."""
    return isinstance(plan, ApprovedPlan) and plan.seal == _plan_digest(plan)
