"""Stress: adversaries through the worst days there were, with the gate and without anything.

With: the daemon's own replay, under the limits that it is given; nothing here can switch the gate off. Without: the same
weights at face value (strategies/face_value.py). What the gate did is read from the records alone, as an auditor would.
The figures are documented in docs/stress.md.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Final

import msgspec
import numpy as np

from brokers.charges import DeliveryCharges
from daemon.bus import Envelope
from daemon.clock import session_day
from daemon.core import Core
from daemon.messages import BreakerTripped, Decided, OrdersRefused, Outcome, SessionClosed
from daemon.replay import history_message, replay
from daemon.settings import DaemonSettings
from daemon.tally import INTERVENTION
from market.calendar import Calendar
from market.errors import BadInput
from market.money import to_rupees
from market.store import DailyBars
from risk.limits import RiskLimits
from strategies.adversaries import ADVERSARIES, Turncoat, make_adversary
from strategies.face_value import at_face_value
from strategies.performance import max_drawdown
from strategies.protocol import Strategy

# A reason begins with its code; several stand in one text with semicolons between them, as do a reason's own parts.
_CODE: Final = re.compile(r"(?:^|; )([A-Z]+(?:_[A-Z]+)+)(?=[ :]|$)")


@dataclass(frozen=True, slots=True)
class Window:
    """Days to go through, both ends included, and what happened in them."""

    name: str
    start: date
    end: date


# Sessions of a window in which every strategy builds an even book, before it turns.
CALM_SESSIONS: Final = 5

WINDOWS: Final = (
    Window("2008: the crash", date(2008, 1, 1), date(2008, 12, 31)),
    Window("2009-05-18: upper circuit", date(2009, 5, 11), date(2009, 5, 29)),
    Window("2020-03: the pandemic", date(2020, 2, 15), date(2020, 4, 30)),
    Window("2024-06-04: the election", date(2024, 5, 27), date(2024, 6, 14)),
)


@dataclass(frozen=True, slots=True)
class Setup:
    """What every run shares. `bars` hold the universe in its order, `source` names them; `approvals` as in `replay`."""

    settings: DaemonSettings
    bars: DailyBars
    calendar: Calendar
    limits: RiskLimits
    history_rows: int
    approvals: bool = True
    source: str = "the data"


class Ending(StrEnum):
    """How an account came out."""

    SURVIVED = "survived"
    RUIN = "ruin"  # equity reached zero or less
    NOT_A_NUMBER = "not_a_number"


class Loss(msgspec.Struct, frozen=True):
    """What became of the money; fractions, all None once the equity is not a number.

    `worst_day` is the smallest return of a session, `worst_session` that session; None when none lost anything.
    """

    ending: Ending
    total_return: float | None = msgspec.field(name="return", default=None)
    max_drawdown: float | None = None
    worst_day: float | None = None
    worst_session: date | None = None

    @classmethod
    def of(cls, sessions: Sequence[date], equity: Sequence[float], *, initial: float) -> Loss:
        """Return the losses of a line of equity, one entry per session."""
        line = np.array([initial, *equity])
        if not np.isfinite(line).all():
            return cls(Ending.NOT_A_NUMBER)
        returns = line[1:] / line[:-1] - 1.0
        worst = int(np.argmin(returns))
        return cls(
            Ending.RUIN if line[-1] <= 0.0 else Ending.SURVIVED,
            float(line[-1] / line[0] - 1.0),
            max_drawdown(line),
            float(returns[worst]),
            sessions[worst] if returns[worst] < 0.0 else None,
        )


class TripRecord(msgspec.Struct, frozen=True):
    """One breaker that tripped: `used` is the loss that it saw, fractions as in `limit`."""

    name: str
    session: date
    used: float
    limit: float
    detail: str


class GateRecord(msgspec.Struct, frozen=True):
    """What the gate and the layers before it did in one run. `clipped` decisions are among the `approved`.

    `reasons` counts the codes by what became of the decision; `orders_refused` those of single orders. Approved is what
    the gate allowed, held what the account had at a session's close: orders that did not fill and prices lie between them.
    """

    decisions: dict[str, int]
    reasons: dict[str, dict[str, int]]
    breaker_trips: tuple[TripRecord, ...]
    orders: int
    orders_refused: dict[str, int]
    fills: int
    charges: float
    largest_approved_weight: float | None
    largest_approved_sum: float | None
    largest_held_weight: float
    largest_held_sum: float
    journal_sha256: str


class Run(msgspec.Struct, frozen=True):
    """One adversary through one window."""

    strategy: str
    with_gate: Loss
    without_gate: Loss
    gate: GateRecord


class WindowResult(msgspec.Struct, frozen=True):
    """One window's runs; `skipped` says why there are none."""

    name: str
    start: date
    end: date
    sessions: int = 0
    skipped: str = ""
    charges_assumed_before: date | None = None
    runs: tuple[Run, ...] = ()


class StressReport(msgspec.Struct, frozen=True):
    """All windows."""

    symbols: tuple[str, ...]
    initial_equity: float
    approvals: bool
    limits_version: str
    windows: tuple[WindowResult, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the documented object (docs/stress.md)."""
        content: dict[str, Any] = msgspec.to_builtins(self)
        return content


def stress(
    setup: Setup, windows: Sequence[Window] = WINDOWS, *, progress: Callable[[int, int], None] = lambda done, of: None
) -> StressReport:
    """Run every adversary through every window that the bars cover; `progress` hears (runs done, runs in all).

    Raises BadInput when the bars cover no window.
    """
    gaps = {window: uncovered(window, setup) for window in windows}
    total = sum(not gap for gap in gaps.values()) * len(ADVERSARIES)
    if not total:
        allowed = ", ".join(f"{window.start} to {window.end}" for window in windows)
        raise BadInput(f"{setup.source}: holds {_range(setup.bars)} and covers no window; allowed: {allowed}")
    results: list[WindowResult] = []
    done = 0
    for window in windows:
        if gaps[window]:
            results.append(WindowResult(window.name, window.start, window.end, skipped=gaps[window]))
            continue
        charges = DeliveryCharges(assume_earliest=True)
        runs: list[Run] = []
        for name in ADVERSARIES:
            runs.append(_run(name, window, setup, charges))
            done += 1
            progress(done, total)
        sessions = setup.calendar.sessions(window.start, window.end)
        assumed = charges.assumed_before(sessions[0].day)
        results.append(WindowResult(window.name, window.start, window.end, len(sessions), "", assumed, tuple(runs)))
    return StressReport(
        setup.settings.symbols,
        to_rupees(setup.settings.opening_cash),
        setup.approvals,
        setup.limits.version,
        tuple(results),
    )


def uncovered(window: Window, setup: Setup) -> str:
    """Return why a window cannot be run over these bars; empty when it can.

    Its first and its last session have to be there with every price; days missing in between are the daemon's business.
    """
    bars, calendar = setup.bars, setup.calendar
    sessions = calendar.sessions(window.start, window.end)
    if not sessions:
        return f"the calendar covers {calendar.coverage_from} to {calendar.coverage_until}"
    whole = np.isfinite(bars.open + bars.high + bars.low + bars.close + bars.volume).all(axis=1)
    days = bars.days[whole].astype("datetime64[D]")
    for session in (sessions[0], sessions[-1]):
        if np.datetime64(session.day) not in days:
            return f"{setup.source} holds {_range(bars)}, with no complete bars on {session.day}"
    return ""


def _range(bars: DailyBars) -> str:
    days = bars.days.astype("datetime64[D]")
    return f"{days[0]} to {days[-1]}" if len(days) else "empty"


class _Witness:
    """Collects what the records of a run say about its gate; an observer, it decides nothing."""

    def __init__(self) -> None:
        self.decisions: Counter[str] = Counter(dict.fromkeys((*Outcome, "clipped"), 0))
        self.reasons: dict[str, Counter[str]] = {}
        self.trips: list[TripRecord] = []
        self.refused: Counter[str] = Counter()
        self.approved: list[tuple[float, ...]] = []
        self.held: list[list[float]] = []

    def __call__(self, core: Core, message: Any, envelope: Envelope) -> None:
        if isinstance(message, Decided):
            self._decided(message)
        elif isinstance(message, BreakerTripped):
            day = session_day(envelope.at_ns)
            self.trips.append(TripRecord(message.name, day, message.used, message.limit, message.detail))
        elif isinstance(message, OrdersRefused):
            for _, why in message.refusals:
                self.refused.update(_CODE.findall(why))
        elif isinstance(message, SessionClosed):
            self.held.append(core.state.weights())

    def _decided(self, message: Decided) -> None:
        self.decisions[message.outcome] += 1
        if message.outcome is Outcome.APPROVED:
            self.approved.append(message.approved)
            self.decisions["clipped"] += sum(message.moved.values()) > INTERVENTION
        codes = self.reasons.setdefault(message.outcome, Counter())
        for reason in message.reasons:
            codes.update(_CODE.findall(reason))


def _run(name: str, window: Window, setup: Setup, charges: DeliveryCharges) -> Run:
    settings = setup.settings
    witness = _Witness()
    sessions = setup.calendar.sessions(window.start, window.end)
    turns = sessions[min(CALM_SESSIONS, len(sessions) - 1)].day

    def strategy() -> Strategy:
        return Turncoat(make_adversary(name, settings.symbols, settings.look_back), turns=turns)

    result = replay(
        settings=settings,
        bars=setup.bars.slice(window.start, window.end),
        calendar=setup.calendar,
        limits=setup.limits,
        strategy=strategy(),
        start=window.start,
        end=window.end,
        opens=setup.bars,
        history=history_message(setup.bars, window.start, setup.history_rows),
        charges=charges,
        approvals=setup.approvals,
        observer=witness,
    )
    bare = at_face_value(
        strategy(),
        setup.bars,
        start=window.start,
        end=window.end,
        history_rows=setup.history_rows,
        initial_equity=result.initial_equity,
    )
    return Run(
        name,
        Loss.of(result.sessions, result.equity, initial=result.initial_equity),
        Loss.of(bare.sessions, bare.equity, initial=result.initial_equity),
        GateRecord(
            decisions={str(outcome): count for outcome, count in witness.decisions.items()},
            reasons={str(outcome): dict(codes) for outcome, codes in witness.reasons.items() if codes},
            breaker_trips=tuple(witness.trips),
            orders=result.tally.orders,
            orders_refused=dict(witness.refused),
            fills=result.tally.fills,
            charges=to_rupees(result.core_state.account.charges_paid),
            largest_approved_weight=max((max(weights) for weights in witness.approved), default=None),
            largest_approved_sum=max((sum(weights) for weights in witness.approved), default=None),
            largest_held_weight=max((max(weights) for weights in witness.held), default=0.0),
            largest_held_sum=max((sum(weights) for weights in witness.held), default=0.0),
            journal_sha256=result.journal_sha256,
        ),
    )
