"""Every message that crosses the bus: immutable, typed, serialisable; the journal stores them by their class name.

A message carries what happened; its envelope (sequence number, cause, time) is given when it is appended. A field may be
added with a default; a change of meaning is a new class, so that an old journal folds for ever.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Final

import msgspec

from brokers.port import Funds, OrderReport, OrderSnapshot, Position, Trade
from market.bar import BarBatch
from market.corporate_actions import ActionKind
from market.money import Paise
from risk.approval import ProposedOrder
from risk.margins import Margin
from risk.reasons import Reason


class Lane(StrEnum):
    """Lanes of the bus, most urgent first. Control is never starved by data."""

    CONTROL = "control"
    BROKER = "broker"
    TIMER = "timer"
    MARKET = "market"


class _Message(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Base of what the daemon itself says."""


# ---- from the edges --------------------------------------------------------------------------------------------------


class DaemonStarted(_Message, frozen=True, kw_only=True):
    """A process took over this journal. The first one sets the opening cash."""

    mode: str
    version: str
    symbols: tuple[str, ...]
    opening_cash: Paise
    limits_version: str
    strategy: str
    slippage_bps: float = 0.0
    look_back: int = 30
    model: str = ""


class DaemonStopped(_Message, frozen=True, kw_only=True):
    """The process ended in order (a kill leaves no such record)."""

    reason: str


class HistoryLoaded(_Message, frozen=True, kw_only=True):
    """The daily closes that the market view started from; `closes` is row-major [sessions, instruments].

    `end_ns` is when the last of them became known.
    """

    sha256: str
    end_ns: int
    sessions: tuple[date, ...]
    closes: tuple[float, ...]


class CorporateActionApplied(_Message, frozen=True, kw_only=True):
    """A split or a bonus issue: from `ex_date` on, `numerator` shares are what `denominator` were. It moves no money.

    `session` is the first one on the new basis. The same action on record twice counts once.
    """

    session: date
    ex_date: date
    symbol: str
    kind: ActionKind
    numerator: int
    denominator: int


class SessionOpened(_Message, frozen=True, kw_only=True):
    """Continuous trading of a session begins."""

    session: date
    open_ns: int
    close_ns: int


class SessionClosed(_Message, frozen=True, kw_only=True):
    """A session is over and its last bars are in."""

    session: date


class SlotDue(_Message, frozen=True, kw_only=True):
    """A scheduled rebalance is due."""

    session: date
    slot: str


class TargetProposed(_Message, frozen=True, kw_only=True):
    """A strategy's answer. `weights` is None for "hold"; `detail` says why (also: late, failed, invalid)."""

    decision_id: str
    session: date
    slot: str
    strategy: str
    model: str
    weights: tuple[float, ...] | None
    detail: str = ""


class OrderReports(_Message, frozen=True, kw_only=True):
    """What the broker said about orders; `source` is the stream or the reconciler."""

    reports: tuple[OrderReport, ...]
    source: str = "stream"


class AccountRead(_Message, frozen=True, kw_only=True):
    """A complete look at the broker's books; `unknown` names what it did not answer.

    `not_left` are the tags of orders that waited in this process while the books were read: no book can show them.
    `began_seq` is the last record when the reading began: what came later the books may not show. `orders_only`: the
    order book and the trades alone were read.
    """

    purpose: str
    orders: tuple[OrderSnapshot, ...] = ()
    trades: tuple[Trade, ...] = ()
    positions: tuple[Position, ...] = ()
    funds: Funds | None = None
    unknown: str = ""
    not_left: tuple[str, ...] = ()
    began_seq: int = 0
    orders_only: bool = False


class BrokerConnection(_Message, frozen=True, kw_only=True):
    """An adapter lost or has its connection (or its stream of reports) to the broker. What was said meanwhile is not known."""

    connected: bool
    detail: str = ""


class BooksDue(_Message, frozen=True, kw_only=True):
    """It is time to read the broker's books, for this purpose."""

    purpose: str


class DeadlineDue(_Message, frozen=True, kw_only=True):
    """The time for a phase of a plan is up."""

    plan_id: str
    phase: str


class ReadingDue(_Message, frozen=True, kw_only=True):
    """Look at the account now, although no price has come: unknown equity has a deadline."""

    session: date


class ExitDue(_Message, frozen=True, kw_only=True):
    """Sell what is held, now: a liquidation is latched."""

    session: date
    why: str


class BarsRejected(_Message, frozen=True, kw_only=True):
    """A feed delivered bars that cannot be true; they go no further.

    `prices`: those of bars that may be true and are not believed yet, parallel to `symbols`.
    """

    session: date
    end_ns: int
    symbols: tuple[str, ...]
    detail: str
    prices: tuple[float, ...] = ()


class OperatorCommand(_Message, frozen=True, kw_only=True):
    """A person asked for something; `uid` is the kernel's word for who it was (-1: this process)."""

    verb: str
    uid: int
    reason: str = ""
    nonce: str = ""
    token: int = 0
    amount: Paise = Paise(0)


class ModelLoaded(_Message, frozen=True, kw_only=True):
    """A model artifact was verified and will be used from the next decision on, or was refused."""

    version: str
    sha256: str
    accepted: bool
    detail: str = ""


class ComponentFailed(_Message, frozen=True, kw_only=True):
    """Part of the daemon ended with an error; trading halts, control stays."""

    component: str
    error: str


# ---- derived by handlers ---------------------------------------------------------------------------------------------


class Outcome(StrEnum):
    """What became of a decision."""

    APPROVED = "approved"
    REFUSED = "refused"
    HOLD = "hold"
    SKIPPED = "skipped"


class Move(_Message, frozen=True, kw_only=True):
    """The planned change of one holding: whole shares before and after, at a reference price in paise."""

    symbol: str
    before: int
    after: int
    reference: Paise


class Decided(_Message, frozen=True, kw_only=True):
    """A decision and, when approved, its frozen plan. At most one per slot and session.

    `moved`: limit -> how far it moved the target; `relaxed`: limit -> the bound that was used instead. `margins` are
    those of the position limits after the plan (before it, when there is none), `breakers` those of the circuit
    breakers. `exit`: a plan that only sells and may be carried out despite a latched breaker.
    """

    decision_id: str
    session: date
    slot: str
    outcome: Outcome
    strategy: str
    model: str
    equity: Paise
    cash: Paise
    requested: tuple[float, ...] = ()
    approved: tuple[float, ...] = ()
    current: tuple[float, ...] = ()
    moves: tuple[Move, ...] = ()
    reasons: tuple[str, ...] = ()
    moved: dict[str, float] = {}
    relaxed: dict[str, float] = {}
    margins: tuple[Margin, ...] = ()
    breakers: tuple[Margin, ...] = ()
    limits_version: str = ""
    priced_at_ns: int = 0
    exit: bool = False


class Phase(StrEnum):
    """Phases of a plan, in order."""

    SELLS = "sells"
    BUYS = "buys"
    CLOSED = "closed"


class OrdersIntended(_Message, frozen=True, kw_only=True):
    """Orders that are about to be sent, each at most once. Durable before the first byte leaves."""

    plan_id: str
    phase: Phase
    limits_version: str
    orders: tuple[ProposedOrder, ...]
    deadline_ns: int


class OrdersRefused(_Message, frozen=True, kw_only=True):
    """Orders that the gate refused, with its reasons; they were not sent."""

    plan_id: str
    phase: Phase
    refusals: tuple[tuple[str, str], ...]


class CancelRequested(_Message, frozen=True, kw_only=True):
    """Open orders are being cancelled."""

    tags: tuple[str, ...]
    why: str


class PlanClosed(_Message, frozen=True, kw_only=True):
    """The end of a decision: what was not done, and what it cost."""

    plan_id: str
    session: date
    residuals: dict[str, int]
    charges: Paise
    slippage: Paise
    traded: Paise
    tracking_error: float
    why: str = ""


class BreakerTripped(_Message, frozen=True, kw_only=True):
    """A circuit breaker latched; only pause time and a human approval together clear it. `until_ns` ends the pause."""

    name: str
    used: float
    limit: float
    detail: str = ""
    until_ns: int = 0


class BreakerApproved(_Message, frozen=True, kw_only=True):
    """A person approved going on after a trip. The pause must have passed as well."""

    uid: int
    reason: str


class BreakerReleased(_Message, frozen=True, kw_only=True):
    """The pause has passed and a person has approved: these breakers measure afresh from here."""

    names: tuple[str, ...]
    approved_by: tuple[str, ...]


class RiskAlerted(_Message, frozen=True, kw_only=True):
    """What people must hear of; nothing is blocked by it. Severity: warning or error; errors name whom to call."""

    severity: str
    reasons: tuple[Reason, ...]
    contacts: tuple[str, ...] = ()


class PlanApproved(_Message, frozen=True, kw_only=True):
    """A person let the day's plan go ahead (live trading with daily approval)."""

    plan_id: str
    uid: int
    reason: str


class RollbackDecided(_Message, frozen=True, kw_only=True):
    """The active model lost too much; the one before is taken back (`back_to` is empty when there is none)."""

    model: str
    back_to: str
    used: float
    limit: float


class Difference(msgspec.Struct, frozen=True, gc=False):
    """What ledger and books say and do not agree on: shares of a symbol, or paise of cash (no symbol)."""

    symbol: str
    ledger: int
    broker: int

    @property
    def text(self) -> str:
        """Return it in words."""
        unit = "" if self.symbol else " paise"
        return f"{self.symbol or 'cash'}: ledger {self.ledger}{unit}, broker {self.broker}{unit}"


class Reconciled(_Message, frozen=True, kw_only=True):
    """The broker's books and the ledger were compared.

    `differences` are those that nothing explains. `blocked` are symbols with an open order that is not ours; None when the
    books could not be read.
    """

    purpose: str
    clean: bool
    detail: str = ""
    differences: tuple[Difference, ...] = ()
    blocked: tuple[str, ...] | None = None


class ManualTrades(_Message, frozen=True, kw_only=True):
    """Trades of the account that are not ours explain a difference: its owner traded by hand. Each counts once, by its id."""

    session: date
    trades: tuple[Trade, ...]
    detail: str = ""


class LedgerCorrected(_Message, frozen=True, kw_only=True):
    """Shares of a symbol, or cash in paise (no symbol), are `new` from here on instead of `old`, for this cause.

    Added shares are taken to have cost `price` each. `trade_ids` are foreign trades that the correction covers.
    """

    symbol: str = ""
    old: int
    new: int
    cause: str
    price: Paise = Paise(0)
    trade_ids: tuple[str, ...] = ()


class Halted(_Message, frozen=True, kw_only=True):
    """No new orders from here on, until the cause is cleared."""

    cause: str
    detail: str
    uid: int = -1


class Resumed(_Message, frozen=True, kw_only=True):
    """A person cleared the halt, with a reason."""

    uid: int
    reason: str


class ResumePrepared(_Message, frozen=True, kw_only=True):
    """First step of going on: a summary was shown with this nonce."""

    uid: int
    nonce: str
    expires_ns: int


class CashMoved(_Message, frozen=True, kw_only=True):
    """Money came in (or went out, below zero) by a person's word: neither profit nor loss.

    `sequence` is that of the command's record; the paper broker knows by it what it has booked.
    """

    amount: Paise
    uid: int
    reason: str
    sequence: int


EDGE_TYPES: Final = (
    DaemonStarted,
    DaemonStopped,
    HistoryLoaded,
    CorporateActionApplied,
    SessionOpened,
    SessionClosed,
    SlotDue,
    TargetProposed,
    OrderReports,
    AccountRead,
    BrokerConnection,
    BooksDue,
    DeadlineDue,
    ReadingDue,
    ExitDue,
    BarsRejected,
    OperatorCommand,
    ModelLoaded,
    ComponentFailed,
    BarBatch,
)
DERIVED_TYPES: Final = (
    Decided,
    OrdersIntended,
    OrdersRefused,
    CancelRequested,
    PlanClosed,
    BreakerTripped,
    BreakerApproved,
    BreakerReleased,
    RiskAlerted,
    PlanApproved,
    RollbackDecided,
    Reconciled,
    ManualTrades,
    LedgerCorrected,
    Halted,
    Resumed,
    ResumePrepared,
    CashMoved,
)
TYPES: Final[dict[str, type[msgspec.Struct]]] = {kind.__name__: kind for kind in (*EDGE_TYPES, *DERIVED_TYPES)}
