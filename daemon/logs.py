"""Structured logs: JSON lines for engineers who tail them, named events, one level of meaning each.

DEBUG how; INFO what a person would put in the day's report; WARNING look tomorrow; ERROR look now. The journal is the
record; this is its readable shadow, so a log that cannot be written never stops trading. Secrets never reach it: no
message on the bus carries one, and keys that look like one are replaced.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Final

import structlog

from brokers.port import ReportKind
from daemon.bus import Envelope
from daemon.clock import ist
from daemon.effects import Alert
from daemon.messages import (
    AccountRead,
    BarsRejected,
    BreakerApproved,
    BreakerReleased,
    BreakerTripped,
    BrokerConnection,
    CancelRequested,
    CashMoved,
    ClockMoved,
    ComponentFailed,
    ConditionChanged,
    CorporateActionApplied,
    DaemonStarted,
    DaemonStopped,
    Decided,
    Halted,
    LedgerCorrected,
    ManualTrades,
    ModelLoaded,
    OperatorCommand,
    OrderReports,
    OrdersIntended,
    OrdersRefused,
    PlanApproved,
    PlanClosed,
    Reconciled,
    Resumed,
    ResumePrepared,
    RiskAlerted,
    RollbackDecided,
    SessionClosed,
    SessionOpened,
    StopDrilled,
)
from daemon.sentences import sentence
from market.money import to_rupees
from risk.margins import Margin

# Event name and level of each record that is logged. Bars, timers and strategies' raw answers are in the journal only.
EVENTS: Final[dict[type, tuple[str, str]]] = {
    DaemonStarted: ("daemon.started", "info"),
    DaemonStopped: ("daemon.stopped", "info"),
    SessionOpened: ("session.opened", "info"),
    CorporateActionApplied: ("corporate_action.applied", "info"),
    CashMoved: ("cash.moved", "info"),
    SessionClosed: ("session.closed", "info"),
    Decided: ("decision.made", "info"),
    OrdersIntended: ("orders.intended", "info"),
    OrdersRefused: ("orders.refused", "warning"),
    OrderReports: ("orders.reported", "info"),
    CancelRequested: ("orders.cancel_requested", "warning"),
    PlanClosed: ("plan.closed", "info"),
    BreakerTripped: ("breaker.tripped", "error"),
    BreakerApproved: ("breaker.approved", "warning"),
    BreakerReleased: ("breaker.released", "warning"),
    RiskAlerted: ("risk.alerted", "warning"),
    RollbackDecided: ("model.rolled_back", "error"),
    PlanApproved: ("plan.approved", "warning"),
    Reconciled: ("reconcile.done", "info"),
    ManualTrades: ("ledger.manual_trades", "warning"),
    LedgerCorrected: ("ledger.corrected", "warning"),
    BrokerConnection: ("broker.connection", "warning"),
    AccountRead: ("account.read", "debug"),
    Halted: ("daemon.halted", "error"),
    ResumePrepared: ("resume.prepared", "warning"),
    Resumed: ("daemon.resumed", "warning"),
    ModelLoaded: ("model.loaded", "info"),
    OperatorCommand: ("operator.command", "info"),
    ConditionChanged: ("condition.changed", "warning"),
    ClockMoved: ("clock.moved", "warning"),
    ComponentFailed: ("component.failed", "error"),
    StopDrilled: ("stop.drilled", "warning"),
    BarsRejected: ("bars.rejected", "warning"),
}
# Events that are not a record of their own: what a handler asked to tell people.
ALERT_EVENTS: Final = (
    "breaker.released",
    "breaker.tripped",
    "broker.lost",
    "broker.refused",
    "clock.moved",
    "component.failed",
    "condition.began",
    "condition.ended",
    "corporate_action.late",
    "dispatch.failed",
    "exit.refused",
    "exit.unsold",
    "feed.lost",
    "model.no_rollback",
    "order.alike",
    "order.cancel_unanswered",
    "order.contradiction",
    "order.foreign",
    "order.long_unknown",
    "order.unknown",
    "orders.refused",
    "plan.waits",
    "reconcile.accepted",
    "reconcile.corrected",
    "reconcile.difference",
    "reconcile.foreign_order",
    "reconcile.manual_trade",
    "risk.alerted",
    "stop.engaged",
    "stop.released",
)
_SECRET: Final = ("token", "secret", "password", "api_key", "authorization")


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the value of any key that looks like a secret."""
    for key in event:
        if any(word in key.lower() for word in _SECRET):
            event[key] = "***"
    return event


def _make_logger(sink: _Tee) -> Any:
    return structlog.wrap_logger(
        structlog.WriteLogger(sink),  # type: ignore[arg-type]
        processors=[
            redact,
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(sort_keys=False, default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


class _Tee:
    """A text stream that writes to several; a full disk or a closed pipe silences that one, never the daemon."""

    def __init__(self, streams: list[Any]) -> None:
        self._streams = streams

    def write(self, text: str) -> None:
        for stream in self._streams:
            try:
                stream.write(text)
            except (OSError, ValueError):
                continue

    def flush(self) -> None:
        for stream in self._streams:
            try:
                stream.flush()
            except (OSError, ValueError):
                continue


class RecordLog:
    """Observer of the bus: one line per record that a person would read.

    Writes JSON lines to `file`, and to standard error when asked (systemd collects that).
    """

    def __init__(self, file: Path | None, *, console: bool, mode: str) -> None:
        self._file: Any = None
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._file = file.open("a", buffering=1)
        streams = [stream for stream in (self._file, sys.stderr if console else None) if stream is not None]
        self.logger = _make_logger(_Tee(streams))
        self._logger = self.logger.bind(mode=mode)

    def close(self) -> None:
        """Close the file; lines that come later go nowhere."""
        if self._file is not None:
            self._file.close()

    def record(self, message: Any, envelope: Envelope) -> None:
        """Log one record."""
        named = EVENTS.get(type(message))
        if named is None:
            return
        event, level = named
        if isinstance(message, RiskAlerted) and message.severity == "error":
            level = "error"
        fields = _fields(message)
        text = sentence(message)
        if text:
            fields["text"] = text
        getattr(self._logger, level)(
            event, at=ist(envelope.at_ns).isoformat(), level=level, seq=envelope.seq, cause=envelope.cause, **fields
        )

    def alert(self, alert: Alert, at_ns: int) -> None:
        """Log what people must be told."""
        say = getattr(self._logger, alert.severity if alert.severity in ("info", "warning") else "error")
        say(
            alert.event,
            at=ist(at_ns).isoformat(),
            level=alert.severity,
            alert=True,
            detail=alert.detail,
        )


def _fields(message: Any) -> dict[str, Any]:
    if isinstance(message, Decided):
        return {
            "decision_id": message.decision_id,
            "outcome": message.outcome,
            "strategy": message.strategy,
            "model": message.model,
            "equity": to_rupees(message.equity),
            "requested": message.requested,
            "approved": message.approved,
            "moves": {move.symbol: move.after - move.before for move in message.moves},
            "reasons": message.reasons,
            "relaxed": message.relaxed,
            "margins": _margins(message.margins),
            "breakers": _margins(message.breakers),
        }
    if isinstance(message, RiskAlerted):
        codes = [" ".join(filter(None, (reason.code, reason.symbol))) for reason in message.reasons]
        return {"codes": codes, "contacts": message.contacts}
    if isinstance(message, OrdersIntended):
        orders = [f"{o.side} {o.quantity} {o.symbol} @ {to_rupees(o.limit):.2f} [{o.tag}]" for o in message.orders]
        return {"decision_id": message.plan_id, "phase": message.phase, "orders": orders}
    if isinstance(message, OrderReports):
        lines = []
        for report in message.reports:
            priced = f" {report.quantity} @ {to_rupees(report.price):.2f}" if report.kind is ReportKind.FILL else ""
            lines.append(f"{report.kind} {report.side} {report.symbol}{priced} [{report.tag}] {report.detail}".rstrip())
        return {"source": message.source, "reports": lines}
    if isinstance(message, PlanClosed):
        return {
            "decision_id": message.plan_id,
            "residuals": message.residuals,
            "charges": to_rupees(message.charges),
            "slippage": to_rupees(message.slippage),
            "traded": to_rupees(message.traded),
            "tracking_error": message.tracking_error,
            "why": message.why,
        }
    if isinstance(message, AccountRead):
        return {"purpose": message.purpose, "unknown": message.unknown}
    if isinstance(message, OperatorCommand):
        return {"verb": message.verb, "uid": message.uid, "reason": message.reason}
    if isinstance(message, CashMoved):
        return {"rupees": to_rupees(message.amount), "uid": message.uid, "reason": message.reason}
    if isinstance(message, Reconciled):
        return {"purpose": message.purpose, "clean": message.clean, "detail": message.detail}
    if isinstance(message, ManualTrades):
        return {
            "session": message.session,
            "trades": [trade.trade_id for trade in message.trades],
            "detail": message.detail,
        }
    if isinstance(message, LedgerCorrected):
        what, why = message.symbol or "cash", message.cause  # a line's own "cause" is the record that led to it
        return {"what": what, "old": message.old, "new": message.new, "why": why, "trades": message.trade_ids}
    if isinstance(message, Halted):
        return {"halt": message.cause, "detail": message.detail, "uid": message.uid}
    names = message.__struct_fields__
    return {name: getattr(message, name) for name in names if name not in ("token", "nonce")}


def _margins(margins: tuple[Margin, ...]) -> dict[str, list[float]]:
    return {margin.name: [margin.used, margin.limit] for margin in margins}
