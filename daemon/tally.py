"""Counts what a run did, from its records: for replay's summary, the demo and status. An observer; decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from brokers.port import ReportKind
from daemon.bus import Envelope
from daemon.messages import (
    BreakerTripped,
    Decided,
    OrderReports,
    OrdersIntended,
    Outcome,
    PlanClosed,
)
from market.bar import BarBatch

# A target that moved by less than this (in L1 weight) was not changed by the gate but by rounding to six decimals.
INTERVENTION: Final = 1e-5


class Tally:
    """Counters of one run. Register `record` as the bus's observer."""

    def __init__(self) -> None:
        self.bars = 0
        self.decisions = 0
        self.outcomes: Counter[str] = Counter()
        self.interventions = 0
        self.moved: Counter[str] = Counter()
        self.orders = 0
        self.fills = 0
        self.trips: list[str] = []
        self.traded = 0
        self.charges = 0
        self.slippage = 0
        self.plans: list[PlanClosed] = []
        self._by_type: dict[type, Callable[[Any], None]] = {
            BarBatch: self._bars,
            Decided: self._decided,
            OrdersIntended: self._intended,
            OrderReports: self._reports,
            PlanClosed: self._closed,
            BreakerTripped: lambda message: self.trips.append(message.name),
        }

    def record(self, message: Any, _: Envelope) -> None:
        """Count one record."""
        count = self._by_type.get(type(message))
        if count is not None:
            count(message)

    def _bars(self, message: BarBatch) -> None:
        self.bars += len(message.symbols)

    def _decided(self, message: Decided) -> None:
        self.decisions += 1
        self.outcomes[message.outcome] += 1
        if message.outcome is Outcome.REFUSED:
            self.interventions += 1
        elif sum(message.moved.values()) > INTERVENTION:
            self.interventions += 1
            for name, amount in message.moved.items():
                self.moved[name] += amount  # type: ignore[assignment]

    def _intended(self, message: OrdersIntended) -> None:
        self.orders += len(message.orders)

    def _reports(self, message: OrderReports) -> None:
        for report in message.reports:
            if report.kind is ReportKind.FILL:
                self.fills += 1

    def _closed(self, message: PlanClosed) -> None:
        self.plans.append(message)
        self.traded += message.traded
        self.charges += message.charges
        self.slippage += message.slippage
