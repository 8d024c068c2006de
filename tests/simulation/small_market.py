"""A small market whose prices a test writes down, and the whole daemon over it on the virtual-time loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np

from daemon.bus import Envelope
from daemon.messages import Decided, OrdersIntended, OrdersRefused, Outcome
from daemon.replay import ReplayResult, replay
from daemon.settings import DaemonSettings, ExecutionSettings
from market.bar import Interval
from market.calendar import Calendar
from market.instrument import Instrument
from market.money import rupees
from market.sessions import midnight_ns
from market.store import DailyBars, daily_bars, intraday_bars
from risk.schema import RiskLimits

SYMBOLS = ("HDFCBANK", "ICICIBANK", "SBIN", "AXISBANK", "KOTAKBANK")
START = date(2024, 1, 15)
MINUTE_NS = 60 * 10**9
EVEN = (0.15,) * 5


def limits(**keys: Any) -> RiskLimits:
    """The shipped limits with some keys changed, written as section__key."""
    content: dict[str, dict[str, Any]] = {}
    for dotted, value in keys.items():
        section, key = dotted.split("__")
        content.setdefault(section, {})[key] = value
    return RiskLimits.model_validate(content)


@dataclass
class Wish:
    """A strategy that wants what it is told: weights, None to hold, or an exception to raise."""

    wants: Callable[[int], Any]
    name: str = "wish"
    symbols: tuple[str, ...] = SYMBOLS
    look_back: int = 0
    asked: int = 0

    def target(self, context: Any) -> Any:
        wanted = self.wants(self.asked)
        self.asked += 1
        if isinstance(wanted, Exception):
            raise wanted
        return None if wanted is None else np.array(wanted, dtype=np.float64)


@dataclass
class Run:
    """What the journal of a run holds."""

    records: list[tuple[Any, Envelope]] = field(default_factory=list)
    result: ReplayResult | None = None

    def of(self, kind: type) -> list[Any]:
        return [message for message, _ in self.records if isinstance(message, kind)]

    def times(self, kind: type) -> list[int]:
        return [envelope.at_ns for message, envelope in self.records if isinstance(message, kind)]

    def approved(self) -> list[Decided]:
        return [message for message in self.of(Decided) if message.outcome is Outcome.APPROVED]

    def orders(self) -> list[Any]:
        return [order for intended in self.of(OrdersIntended) for order in intended.orders]

    def refusals(self) -> str:
        return "; ".join(why for refused in self.of(OrdersRefused) for _, why in refused.refusals)


def sessions(count: int) -> list[date]:
    found = Calendar.load().sessions(START, date(2024, 12, 31))
    return [session.day for session in found][:count]


def daily(closes: Sequence[Sequence[float]], *, volume: float | Sequence[Sequence[float]] = 1e9) -> DailyBars:
    """Daily bars [T, 5] of these closes; each day opens where the one before closed."""
    close = np.array(closes, dtype=np.float64)
    opened = np.vstack([close[:1], close[:-1]])
    columns = {
        "open": opened,
        "high": np.maximum(opened, close),
        "low": np.minimum(opened, close),
        "close": close,
        "volume": np.broadcast_to(np.asarray(volume, dtype=np.float64), close.shape).copy(),
    }
    return daily_bars(SYMBOLS, np.array(sessions(len(close)), dtype="datetime64[D]"), columns)


def path(*moves: float, start: float = 1_000.0) -> list[list[float]]:
    """Closes of five names that all move alike: the first at `start`, then one row per move (0.01 is +1 %)."""
    rows = [start]
    for move in moves:
        rows.append(round(rows[-1] * (1.0 + move), 2))
    return [[value] * 5 for value in rows]


def five_minutes(day: date, closes: Sequence[float], *, first: float) -> Any:
    """Five-minute bars from 09:15 of one day, all names alike; each opens where the one before closed."""
    close = np.array([[value] * 5 for value in closes], dtype=np.float64)
    opened = np.vstack([np.full((1, 5), first), close[:-1]])
    starts = midnight_ns(day) + (9 * 60 + 15) * MINUTE_NS + np.arange(len(close)) * 5 * MINUTE_NS
    columns = {
        "open": opened,
        "high": np.maximum(opened, close),
        "low": np.minimum(opened, close),
        "close": close,
        "volume": np.full(close.shape, 1e9),
    }
    return intraday_bars(SYMBOLS, starts.astype(np.int64), Interval.FIVE_MINUTES, columns)


def simulate(
    bars: Any,
    under: RiskLimits,
    wants: Sequence[float] | Callable[[int], Any] = EVEN,
    *,
    mode: str = "replay",
    approvals: bool = True,
    model: str = "",
    slippage_bps: float = 0.0,
    cash: float = 1_000_000,
    observer: Callable[[Any, Any, Envelope], None] | None = None,
    opens: DailyBars | None = None,
    history: Any = None,
) -> Run:
    """Run the whole daemon over the bars under these limits and return its records."""
    run = Run()
    calendar = Calendar.load()
    is_daily = isinstance(bars, DailyBars)
    days = (
        bars.days.astype("datetime64[D]").tolist()
        if is_daily
        else sorted({batch.session for batch in bars.iter_batches(calendar)})
    )

    def record(core: Any, message: Any, envelope: Envelope) -> None:
        run.records.append((message, envelope))
        if observer is not None:
            observer(core, message, envelope)

    settings = DaemonSettings(
        portfolio="test",
        mode=mode,
        instruments=tuple(Instrument(symbol) for symbol in SYMBOLS),
        opening_cash=rupees(cash),
        execution=replace(ExecutionSettings(), band=0.0),
        slippage_bps=slippage_bps,
    )
    run.result = replay(
        settings=settings,
        bars=bars,
        calendar=calendar,
        limits=under,
        strategy=Wish(wants if callable(wants) else lambda _: wants),
        start=days[0],
        end=days[-1],
        model=model,
        opens=bars if is_daily else opens,
        history=history,
        approvals=approvals,
        observer=record,
    )
    return run
