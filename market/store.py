"""The bar store: daily and intraday bars as typed panels, from long CSV files and back.

A panel holds one row per time and one column per symbol; NaN where a symbol has no bar. The symbols of a file are sorted,
so that the same bars in any order of lines have the same `sha256`. A panel is read-only: everyone may hold on to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from market.bar import BarBatch, Interval
from market.bar_cache import content_sha256, load_panel
from market.bar_csv import DATE, TIMESTAMP, Panel, read_header, write_panel
from market.calendar import Calendar, Session
from market.errors import BadInput
from market.sessions import DAY_NS, MINUTE_NS, midnight_ns, session_date

_Scalar = TypeVar("_Scalar", bound=np.generic)
Days = NDArray[np.datetime64]
Floats = NDArray[np.float64]

INTERVALS: Final = {MINUTE_NS: Interval.MINUTE, 5 * MINUTE_NS: Interval.FIVE_MINUTES}
# Rows turned into Python numbers at a time: keeps a wide replay's memory flat.
_CHUNK: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class DailyBars:
    """Daily bars of n symbols over T days. Columns are [T, n]; prices in rupees, volume in shares; NaN is unknown.

    `days` ascends without gaps in meaning: a day that is not there is a day on which the file has nothing.
    `sha256` is the hash of the content, the same on every machine.
    """

    symbols: tuple[str, ...]
    days: Days
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    sha256: str

    @property
    def close_only(self) -> tuple[str, ...]:
        """Return the symbols that have closes but neither opens, highs nor lows: fit for features, not for trading."""
        closes = ~np.isnan(self.close).all(axis=0)
        rest = [np.isnan(column).all(axis=0) for column in (self.open, self.high, self.low)]
        return tuple(np.array(self.symbols)[closes & np.logical_and.reduce(rest)].tolist())

    def slice(self, start: date, end: date) -> DailyBars:
        """Return the bars from `start` to `end`, both included."""
        rows = _between(self.days, np.datetime64(start, "D"), np.datetime64(end, "D"))
        return daily_bars(self.symbols, self.days[rows], {name: column[rows] for name, column in _columns(self)})

    def select(self, symbols: Sequence[str]) -> DailyBars:
        """Return the bars of these symbols, in this order. Raises BadInput naming those that are missing."""
        at = _positions(self.symbols, symbols)
        return daily_bars(tuple(symbols), self.days, {name: column[:, at] for name, column in _columns(self)})

    def iter_batches(self, calendar: Calendar) -> Iterator[BarBatch]:
        """Yield one batch per day, oldest first, from the session's open to its close.

        A symbol of which any number is unknown that day is left out; a day without symbols yields nothing. Raises
        BadInput, before the first batch, for a day that is not a session.
        """
        sessions = _sessions(calendar, self.days.astype("datetime64[D]").tolist())
        times = [(session.day, session.open_ns, session.close_ns) for session in sessions]
        return _batches(self, Interval.DAY, times)


@dataclass(frozen=True, slots=True, eq=False)
class IntradayBars:
    """Intraday bars: like DailyBars, but `starts` [T] are the bars' starts in ns since 1970 UTC, all of one length."""

    symbols: tuple[str, ...]
    starts: NDArray[np.int64]
    interval: Interval
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    sha256: str

    @property
    def interval_ns(self) -> int:
        """Return the length of a bar in ns."""
        return next(length for length, known in INTERVALS.items() if known is self.interval)

    def slice(self, start: date, end: date) -> IntradayBars:
        """Return the bars that start on a day from `start` to `end`, both included."""
        rows = _between(self.starts, midnight_ns(start), midnight_ns(end) + DAY_NS - 1)
        columns = {name: column[rows] for name, column in _columns(self)}
        return intraday_bars(self.symbols, self.starts[rows], self.interval, columns)

    def select(self, symbols: Sequence[str]) -> IntradayBars:
        """Return the bars of these symbols, in this order. Raises BadInput naming those that are missing."""
        at = _positions(self.symbols, symbols)
        columns = {name: column[:, at] for name, column in _columns(self)}
        return intraday_bars(tuple(symbols), self.starts, self.interval, columns)

    def iter_batches(self, calendar: Calendar) -> Iterator[BarBatch]:
        """Yield one batch per moment, oldest first; rules and errors as for daily bars."""
        starts = self.starts.tolist()
        days = [session_date(start) for start in starts]
        _sessions(calendar, sorted(set(days)))
        length = self.interval_ns
        times = [(day, start, start + length) for day, start in zip(days, starts, strict=True)]
        return _batches(self, self.interval, times)


def daily_bars(symbols: tuple[str, ...], days: Days, columns: dict[str, Floats]) -> DailyBars:
    """Return daily bars with their content hash. `columns` holds open, high, low, close, volume, each [T, n]."""
    days = days.astype("datetime64[D]")
    return _daily(Panel(days.astype(np.int64), symbols, columns), None)


def intraday_bars(
    symbols: tuple[str, ...], starts: NDArray[np.int64], interval: Interval, columns: dict[str, Floats]
) -> IntradayBars:
    """Return intraday bars with their content hash; `starts` in ns since 1970 UTC."""
    return _intraday(Panel(starts, symbols, columns), None, interval)


def read_bars(path: Path) -> DailyBars | IntradayBars:
    """Read a long CSV of either kind: a column `ts` makes it intraday. Raises BadInput naming file, line and value."""
    return read_intraday_csv(path) if TIMESTAMP in read_header(path) else read_csv(path)


def read_csv(path: Path) -> DailyBars:
    """Read daily bars from `date,symbol,open,high,low,close,volume` (.csv or .csv.gz), through the cache.

    Raises BadInput naming file, line and value.
    """
    panel, digest = load_panel(path, DATE)
    return _daily(panel, digest)


def read_intraday_csv(path: Path) -> IntradayBars:
    """Read bars from `ts,symbol,open,high,low,close,volume`; `ts` is the start of a bar, ISO with its offset.

    The length of the bars is the shortest step between two of them; it must be one that `Interval` knows. Raises BadInput
    naming file, line and value.
    """
    panel, digest = load_panel(path, TIMESTAMP)
    steps = np.diff(panel.times)
    step = int(steps.min()) if len(steps) else 0
    if step not in INTERVALS or (panel.times % step).any():
        allowed = ", ".join(INTERVALS.values())
        raise BadInput(f"{path}: bars are {step / MINUTE_NS:g} minutes apart; allowed: {allowed}, on whole steps")
    return _intraday(panel, digest, INTERVALS[step])


def write_csv(bars: DailyBars, path: Path) -> None:
    """Write daily bars as a long CSV, replacing the file in one step (a temporary file, synced, renamed)."""
    days = bars.days.astype("datetime64[D]").astype(np.int64)
    panel = Panel(days, bars.symbols, dict(_columns(bars)))
    try:
        write_panel(path, panel)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror}") from None


def _daily(panel: Panel, digest: str | None) -> DailyBars:
    return DailyBars(
        symbols=panel.symbols,
        days=_frozen(panel.times.astype("datetime64[D]")),
        **{name: _frozen(column) for name, column in panel.columns.items()},
        sha256=content_sha256(panel) if digest is None else digest,
    )


def _intraday(panel: Panel, digest: str | None, interval: Interval) -> IntradayBars:
    return IntradayBars(
        symbols=panel.symbols,
        starts=_frozen(panel.times),
        interval=interval,
        **{name: _frozen(column) for name, column in panel.columns.items()},
        sha256=content_sha256(panel) if digest is None else digest,
    )


def _frozen(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    array = array.view()
    array.flags.writeable = False
    return array


def _columns(bars: DailyBars | IntradayBars) -> Iterable[tuple[str, Floats]]:
    return (
        ("open", bars.open),
        ("high", bars.high),
        ("low", bars.low),
        ("close", bars.close),
        ("volume", bars.volume),
    )


def _between(values: NDArray[Any], first: Any, last: Any) -> slice:
    return slice(int(np.searchsorted(values, first)), int(np.searchsorted(values, last, side="right")))


def _positions(have: tuple[str, ...], wanted: Sequence[str]) -> list[int]:
    at = {symbol: index for index, symbol in enumerate(have)}
    missing = [symbol for symbol in wanted if symbol not in at]
    if missing:
        raise BadInput(
            f"bars: no {', '.join(missing)}; the bars hold {', '.join(have[:20])}{' ...' * (len(have) > 20)}"
        )
    return [at[symbol] for symbol in wanted]


def _sessions(calendar: Calendar, days: Sequence[date]) -> list[Session]:
    result: list[Session] = []
    for day in days:
        session = calendar.session(day)
        if session is None:
            raise BadInput(f"bars: there are bars on {day}, which is not a session: {calendar.closed_because(day)}")
        result.append(session)
    return result


def _batches(
    bars: DailyBars | IntradayBars, interval: Interval, times: list[tuple[date, int, int]]
) -> Iterator[BarBatch]:
    columns = [column for _, column in _columns(bars)]
    symbols = bars.symbols
    for first in range(0, len(times), _CHUNK):
        block = [column[first : first + _CHUNK] for column in columns]
        known = ~np.isnan(np.sum(block, axis=0))
        whole = known.all(axis=1).tolist()
        rows = zip(*(part.tolist() for part in block), strict=True)
        for index, row in enumerate(rows):
            day, start_ns, end_ns = times[first + index]
            if whole[index]:
                yield BarBatch(day, interval, start_ns, end_ns, symbols, *map(tuple, row))
            elif known[index].any():
                keep = np.flatnonzero(known[index]).tolist()
                yield BarBatch(
                    day,
                    interval,
                    start_ns,
                    end_ns,
                    tuple([symbols[i] for i in keep]),
                    *(tuple([values[i] for i in keep]) for values in row),
                )
