"""What is known of the broker's side, and since when: a fold of the journal beside the ledger.

It answers what the reconciler must know before it calls something a difference: when a symbol last moved, which orders
were on record when the books were read, how long an order has been unknown, what a person was shown.
"""

from __future__ import annotations

from brokers.port import ReportKind
from daemon.bus import Envelope
from daemon.messages import (
    BrokerConnection,
    DaemonStarted,
    Difference,
    LedgerCorrected,
    ManualTrades,
    OrderReports,
    OrdersIntended,
    Reconciled,
)


class Evidence:
    """Facts about orders and books that are not in the ledger. Changed by fold steps alone."""

    def __init__(self) -> None:
        self.started_seq = 0  # of the record with which this process began
        self.connected = True
        # Tag -> the record that intended it; symbol -> when one of its orders was last sent or heard of.
        self.intents: dict[str, Envelope] = {}
        self.moved_ns: dict[str, int] = {}
        # Tag -> when its outcome was first said to be unknown. It may be known by now: the order's state says.
        self.unknown_since: dict[str, int] = {}
        # Symbols with an open order at the broker that is not ours: none of ours goes there.
        self.blocked: frozenset[str] = frozenset()
        # What the last comparison found and nothing explained: what a person may accept.
        self.differences: tuple[Difference, ...] = ()
        # Trades that are not ours and are in the ledger, one by one or within an accepted correction.
        self.settled_trades: set[str] = set()

    def keep(self, tags: frozenset[str]) -> None:
        """Forget all orders but these: a new session begins."""
        self.intents = {tag: envelope for tag, envelope in self.intents.items() if tag in tags}
        self.unknown_since = {tag: at_ns for tag, at_ns in self.unknown_since.items() if tag in tags}

    # ---- fold steps --------------------------------------------------------------------------------------------------

    def on_started(self, _: DaemonStarted, envelope: Envelope) -> None:
        """A new process: what an earlier one had on its way to the broker is no longer on its way."""
        self.started_seq = envelope.seq
        self.connected = True

    def on_connection(self, message: BrokerConnection, _: Envelope) -> None:
        """Note whether the broker can be heard."""
        self.connected = message.connected

    def on_intended(self, message: OrdersIntended, envelope: Envelope) -> None:
        """Note when orders went on record."""
        for order in message.orders:
            self.intents[order.tag] = envelope
            self.moved_ns[order.symbol] = envelope.at_ns

    def on_reports(self, message: OrderReports, envelope: Envelope) -> None:
        """Note that a symbol moved, and since when an order is unknown."""
        for report in message.reports:
            self.moved_ns[report.symbol] = envelope.at_ns
            if report.kind is ReportKind.UNKNOWN:
                self.unknown_since.setdefault(report.tag, envelope.at_ns)

    def on_reconciled(self, message: Reconciled, _: Envelope) -> None:
        """Take over what a complete comparison found; one that could not be made says nothing."""
        if message.blocked is not None:
            self.blocked = frozenset(message.blocked)
            self.differences = message.differences

    def on_manual(self, message: ManualTrades, _: Envelope) -> None:
        """Note trades that are in the ledger now."""
        self.settled_trades.update([trade.trade_id for trade in message.trades])

    def on_corrected(self, message: LedgerCorrected, _: Envelope) -> None:
        """Note trades that a correction covers."""
        self.settled_trades.update(message.trade_ids)
