"""When the broker's books are read: at every moment at which they may say what nobody told us.

At start and by a person's word the operator asks, at a session's end the executor, before planning the decider. Here are
the others: after a reconnect, after a plan, by the timer, while an order is unknown (at growing intervals, never by sending
again), and, with a broker that does not tell of fills by itself, as long as orders are open.
"""

from __future__ import annotations

from typing import Final

from brokers.port import Capabilities, ReportKind
from daemon.bus import Bus, Envelope, Output
from daemon.effects import Alert, ReadAccount, SetTimer
from daemon.messages import (
    BooksDue,
    BrokerConnection,
    OrderReports,
    OrdersIntended,
    PlanClosed,
    SessionOpened,
)
from daemon.settings import ReconcileSettings
from daemon.state import State

SECOND_NS: Final = 10**9
# After the first look at once: seconds until the next one while an order is unknown; the last one repeats.
LOOKS_NS: Final = tuple(seconds * SECOND_NS for seconds in (10, 30, 60, 300, 300, 900))
LONG_UNKNOWN_NS: Final = 600 * SECOND_NS

TIMER: Final = "timer"
UNKNOWN: Final = "unknown"
POLL: Final = "poll"


class Moments:
    """Asks for the books in time."""

    def __init__(self, state: State, settings: ReconcileSettings, capabilities: Capabilities) -> None:
        self.state = state
        self.settings = settings
        self._updates = capabilities.order_updates
        self._looks = 0  # at the orders that are unknown, since the last of them became so
        self._told: set[str] = set()
        self._polling = False

    def wire(self, bus: Bus) -> None:
        """Register the handlers."""
        bus.handle(BrokerConnection, self.on_connection)
        bus.handle(SessionOpened, self.on_session_opened)
        bus.handle(OrdersIntended, self.on_intended)
        bus.handle(OrderReports, self.on_reports)
        bus.handle(BooksDue, self.on_due)
        if self.settings.after_execution:
            bus.handle(PlanClosed, self.on_plan_closed)

    def on_connection(self, message: BrokerConnection, envelope: Envelope) -> list[Output] | None:
        """Read the books after a reconnect; while nothing is heard, poll."""
        if message.connected:
            return [ReadAccount("reconnect")]
        alert = Alert("warning", "broker.lost", message.detail or "the broker's connection is gone")
        return [alert, *self._poll(envelope)]

    def on_session_opened(self, _: SessionOpened, envelope: Envelope) -> list[Output] | None:
        """Begin the day's looks; a restart inside the session begins them anew."""
        self._looks = 0
        return [*self._timer(envelope), *self._poll(envelope), *self._next_look(envelope)] or None

    def on_intended(self, _: OrdersIntended, envelope: Envelope) -> list[Output] | None:
        """Poll for what becomes of orders, where nobody tells."""
        return self._poll(envelope) or None

    def on_reports(self, message: OrderReports, envelope: Envelope) -> list[Output] | None:
        """Look for evidence at once when an order is unknown, and again later."""
        orders, unknown = self.state.orders, ReportKind.UNKNOWN
        if not any(report.kind is unknown and report.tag in orders for report in message.reports):
            return None
        self._looks = 0
        return [ReadAccount(UNKNOWN), *self._next_look(envelope)]

    def on_plan_closed(self, _: PlanClosed, envelope: Envelope) -> list[Output] | None:
        """Compare after execution."""
        return [ReadAccount("executed")] if self.state.session_open else None

    def on_due(self, message: BooksDue, envelope: Envelope) -> list[Output] | None:
        """Read, and set the timer for the next time."""
        purpose, open_now = message.purpose, self.state.session_open
        if purpose == UNKNOWN:
            self._looks += 1
            return [*self._long_unknown(envelope), ReadAccount(UNKNOWN), *self._next_look(envelope)]
        if purpose == POLL:
            self._polling = False
            again = self._poll(envelope)
            return [ReadAccount(POLL, orders_only=True), *again] if again else None
        if purpose == TIMER:
            return [ReadAccount(TIMER), *self._timer(envelope)] if open_now else None
        return [ReadAccount(purpose)]

    # ---- what comes next ---------------------------------------------------------------------------------------------

    def _timer(self, envelope: Envelope) -> list[Output]:
        every_ns = int(self.settings.every_minutes * 60 * SECOND_NS)
        return [_at(envelope.at_ns + every_ns, TIMER)] if every_ns > 0 else []

    def _poll(self, envelope: Envelope) -> list[Output]:
        heard = self._updates and self.state.evidence.connected
        if heard or self._polling or not self.state.live or not self.state.session_open:
            return []
        self._polling = True
        return [_at(envelope.at_ns + int(self.settings.poll_seconds * SECOND_NS), POLL)]

    def _next_look(self, envelope: Envelope) -> list[Output]:
        """Set the timer of the next look at unknown orders; one falls on the moment at which people must be told."""
        unknown = self.state.unknown_orders()
        if not unknown or not self.state.session_open:
            return []
        since = self.state.evidence.unknown_since
        marks = [since.get(order.tag, envelope.at_ns) + LONG_UNKNOWN_NS for order in unknown]
        at_ns = envelope.at_ns + LOOKS_NS[min(self._looks, len(LOOKS_NS) - 1)]
        return [_at(min([at_ns, *(mark for mark in marks if mark > envelope.at_ns)]), UNKNOWN)]

    def _long_unknown(self, envelope: Envelope) -> list[Output]:
        since = self.state.evidence.unknown_since
        old = [
            order
            for order in self.state.unknown_orders()
            if order.tag not in self._told and envelope.at_ns - since.get(order.tag, envelope.at_ns) >= LONG_UNKNOWN_NS
        ]
        self._told |= {order.tag for order in old}
        return [
            Alert("error", "order.long_unknown", f"{order.symbol} {order.tag}: nobody has told for ten minutes")
            for order in old
        ]


def _at(at_ns: int, purpose: str) -> SetTimer:
    return SetTimer(f"books:{purpose}", at_ns, BooksDue(purpose=purpose))
