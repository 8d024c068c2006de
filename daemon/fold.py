"""Folds a finished or running journal into a state, outside the daemon: for reports and for `doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import strategies.performance as performance
from brokers.charges import DeliveryCharges
from daemon.agenda import Agenda
from daemon.bus import Envelope, Reducer
from daemon.journal import read_journal
from daemon.settings import DaemonSettings
from daemon.state import State
from daemon.tally import Tally
from market.money import to_rupees
from risk.limits import RiskLimits


class _Fold:
    """Stands in for the bus: keeps fold steps, runs them, handles nothing."""

    def __init__(self) -> None:
        self.reducers: dict[type, list[Reducer]] = {}

    def reduce(self, kind: type, reducer: Reducer) -> None:
        self.reducers.setdefault(kind, []).append(reducer)


@dataclass(frozen=True, slots=True)
class Folded:
    """A journal's end state and what happened on the way."""

    state: State
    tally: Tally
    sessions: list[date]
    equity: list[float]
    initial_equity: float
    strategy: str

    def figures(self) -> dict[str, Any]:
        """Return the figures of the comparison table: ratios as fractions, rupees as numbers."""
        return summarise(self.state, self.tally, self.equity, self.initial_equity, self.strategy)


def summarise(state: State, tally: Tally, equity: list[float], initial_equity: float, strategy: str) -> dict[str, Any]:
    """Return the performance figures of a run; replay and report use the same ones.

    Ratios are of the value of a unit: what was paid in or out is neither gain nor loss (time-weighted).
    """
    measures = performance.measure(np.array([initial_equity, *unit_line(state)]))
    mean_equity = float(np.mean(equity)) if equity else initial_equity
    return {
        "strategy": strategy,
        "initial_equity": initial_equity,
        "final_equity": equity[-1] if equity else initial_equity,
        "net_deposits": to_rupees(state.history.net_deposits),
        "return": measures.total_return,
        "volatility": measures.volatility,
        "sharpe": measures.sharpe,
        "max_drawdown": measures.max_drawdown,
        "turnover": performance.annual_turnover(
            traded=to_rupees(tally.traded), mean_equity=mean_equity, sessions=len(equity)
        ),
        "charges": to_rupees(state.account.charges_paid),
        "orders": tally.orders,
        "fills": tally.fills,
        "gate_interventions": tally.interventions,
        "breaker_trips": tally.trips,
        "bars": tally.bars,
        "decisions": tally.decisions,
    }


def unit_line(state: State) -> list[float]:
    """Return equity in rupees per closed session as it would be without deposits and withdrawals."""
    return [value / 100.0 for value in state.history.units]


def fold_journal(path: Path, *, settings: DaemonSettings, limits: RiskLimits) -> Folded:
    """Return the state that a journal leads to. Raises OperatorError when its chain does not hold."""
    state = State(
        symbols=settings.symbols,
        charges=DeliveryCharges.default(),
        agenda=Agenda(settings.slots),
        limits=limits,
    )
    fold, tally = _Fold(), Tally()
    state.wire(fold)
    strategy = ""
    for record in read_journal(path):
        envelope = Envelope(record.seq, record.cause, record.at_ns)
        for reducer in fold.reducers.get(type(record.message), ()):
            reducer(record.message, envelope)
        tally.record(record.message, envelope)
        if record.kind == "DaemonStarted":
            strategy = record.message.strategy
    history = state.history.equity
    return Folded(
        state=state,
        tally=tally,
        sessions=[day for day, _ in history],
        equity=[to_rupees(equity) for _, equity in history],
        initial_equity=to_rupees(state.opening_cash or 0),
        strategy=strategy,
    )
