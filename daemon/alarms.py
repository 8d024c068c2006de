"""Alarms: what the risk room wants people to hear, put on record and passed on. Nothing is blocked by them.

An error names whom to call (`emergency.contacts`); how it reaches them is the alert edge's business.
"""

from __future__ import annotations

from collections.abc import Sequence

from brokers.port import ReportKind
from daemon.bus import Bus, Envelope, Output
from daemon.effects import Alert
from daemon.messages import OrderReports, OrdersRefused, RiskAlerted, SessionClosed
from daemon.state import State
from risk import alerts
from risk.reasons import Reason, ReasonCode
from risk.schema import RiskLimits


def alarm(severity: str, reasons: Sequence[Reason], limits: RiskLimits) -> RiskAlerted:
    """Return the record of an alarm; an error carries the contacts."""
    contacts = limits.emergency.contacts if severity == "error" else ()
    return RiskAlerted(severity=severity, reasons=tuple(reasons), contacts=contacts)


def warning(reasons: Sequence[Reason], limits: RiskLimits) -> list[Output]:
    """Return what tells people of these reasons; nothing when there is none."""
    if not reasons:
        return []
    detail = "; ".join([reason.text for reason in reasons])
    return [alarm("warning", reasons, limits), Alert("warning", "risk.alerted", detail)]


class Alarms:
    """Watches fills and ends of sessions."""

    def __init__(self, state: State, limits: RiskLimits) -> None:
        self.state = state
        self.limits = limits

    def wire(self, bus: Bus) -> None:
        """Register the handlers."""
        bus.handle(OrderReports, self.on_reports)
        bus.handle(SessionClosed, self.on_session_closed)
        bus.handle(OrdersRefused, self.on_refused)

    def on_reports(self, message: OrderReports, _: Envelope) -> list[Output] | None:
        """Tell of fills that slipped too far."""
        found: list[Reason] = []
        orders = self.state.orders
        for report in message.reports:
            order = orders.get(report.tag)
            if report.kind is not ReportKind.FILL or order is None or report.price <= 0:
                continue
            reference = self.state.reference(order)
            found += alerts.slipped(
                order.symbol, order.side, price=report.price, reference=reference, limits=self.limits
            )
        return warning(found, self.limits) or None

    def on_refused(self, message: OrdersRefused, _: Envelope) -> list[Output] | None:
        """Tell of refused orders: their plan was approved, so something does not fit. Orders that are only small do."""
        lines = [f"{symbol} {why}" for symbol, why in message.refusals if not _only_small(why)]
        return [Alert("warning", "orders.refused", f"{message.plan_id}: {'; '.join(lines)}")] if lines else None

    def on_session_closed(self, message: SessionClosed, _: Envelope) -> list[Output] | None:
        """Tell what the session adds: a streak of losses, a poor month, instruments that did not trade."""
        state = self.state
        closes = state.history.equity
        found: list[Reason] = []
        if closes and closes[-1][0] == message.session:
            history = state.history
            found += alerts.after_session(history.returns, history.losing_streak, self.limits)
            found += alerts.news(state.concerns, state.told)
        found += alerts.without_volume(state.volume.shares(), self.limits)
        return warning(found, self.limits) or None


def _only_small(why: str) -> bool:
    return why.startswith(ReasonCode.ORDER_TOO_SMALL) and "; ORDER_" not in why
