"""Data quality: is a panel of daily bars fit to train on and to trade on?

An ERROR makes the bars unfit: a number that is missing, impossible or contradictory, a session without bars, a bar on a
day without a session, too little history, an end that is too old. A WARNING is worth a look and has honest causes:

* a short or weekend session without bars (many sources leave out Muhurat and special sessions);
* fractional volume (volumes scaled by a bonus factor);
* bars whose open, high, low and close are all one price on many days (made from closes alone, or hardly traded);
* bars outside the calendar's coverage, which nobody can judge.

A zero volume is an ERROR: the exchange has no bar for a day without a trade, so such a bar is a source's filler. A
move of more than 50 % in a day is an ERROR although a demerger can do it: a model must not learn from it, nor a breaker see it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from market.calendar import Calendar, SessionKind
from market.store import DailyBars

MAX_DAILY_RETURN: Final = 0.5
# The observation's look-back of 30 returns needs 31 closes.
MIN_SESSIONS: Final = 31
_FLAT_SHARE: Final = 0.2
_SHOWN: Final = 5

Mask = NDArray[np.bool_]


class Severity(StrEnum):
    """ERROR: the bars are unfit. WARNING: look at it."""

    ERROR = "error"
    WARNING = "warning"


class Code(StrEnum):
    """What was found."""

    NO_BARS = "no_bars"
    MISSING_VALUE = "missing_value"
    MISSING_COLUMN = "missing_column"
    INFINITE_VALUE = "infinite_value"
    NON_POSITIVE_PRICE = "non_positive_price"
    EXTREME_RETURN = "extreme_return"
    NEGATIVE_VOLUME = "negative_volume"
    ZERO_VOLUME = "zero_volume"
    FRACTIONAL_VOLUME = "fractional_volume"
    HIGH_LOW_CONTRADICTION = "high_low_contradiction"
    FLAT_BARS = "flat_bars"
    DUPLICATE_DAY = "duplicate_day"
    MISSING_SESSION = "missing_session"
    SYMBOL_GAP = "symbol_gap"
    BAR_ON_CLOSED_DAY = "bar_on_closed_day"
    OUTSIDE_COVERAGE = "outside_coverage"
    SHORT_HISTORY = "short_history"
    STALE_END = "stale_end"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; `symbol` and `day` are None where it is not about one."""

    code: Code
    severity: Severity
    symbol: str | None
    day: date | None
    detail: str


@dataclass(frozen=True, slots=True)
class QualityReport:
    """What `check` found, errors first, then by code, symbol and day."""

    symbols: int
    sessions: int
    first: date | None
    last: date | None
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Return whether there is no error; warnings are allowed."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)

    def count(self, severity: Severity) -> int:
        """Return how many findings have a severity."""
        return sum(finding.severity is severity for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for `json.dumps`; dates as ISO text."""
        return {
            "ok": self.ok,
            "symbols": self.symbols,
            "sessions": self.sessions,
            "first": None if self.first is None else self.first.isoformat(),
            "last": None if self.last is None else self.last.isoformat(),
            "errors": self.count(Severity.ERROR),
            "warnings": self.count(Severity.WARNING),
            "findings": [
                {
                    "code": finding.code.value,
                    "severity": finding.severity.value,
                    "symbol": finding.symbol,
                    "day": None if finding.day is None else finding.day.isoformat(),
                    "detail": finding.detail,
                }
                for finding in self.findings
            ],
        }

    def lines(self) -> list[str]:
        """Return a summary line, then the findings, at most five of each code, for a person to read."""
        verdict = "fit" if self.ok else "NOT fit"
        lines = [
            f"{verdict} for use: {self.symbols} symbols, {self.sessions} sessions, {self.first} to {self.last}; "
            f"{self.count(Severity.ERROR)} errors, {self.count(Severity.WARNING)} warnings"
        ]
        totals = Counter((finding.severity, finding.code) for finding in self.findings)
        shown: Counter[tuple[Severity, Code]] = Counter()
        for finding in self.findings:
            kind = (finding.severity, finding.code)
            shown[kind] += 1
            if shown[kind] <= _SHOWN:
                about = " ".join(str(part) for part in (finding.symbol, finding.day) if part is not None)
                lines.append(
                    f"{finding.severity.upper():7} {finding.code}: {about + ': ' if about else ''}{finding.detail}"
                )
            if shown[kind] == totals[kind] > _SHOWN:
                lines.append(f"{finding.severity.upper():7} {finding.code}: and {totals[kind] - _SHOWN} more")
        return lines


def check(
    bars: DailyBars,
    calendar: Calendar,
    *,
    as_of: date | None = None,
    min_sessions: int = MIN_SESSIONS,
    max_daily_return: float = MAX_DAILY_RETURN,
) -> QualityReport:
    """Check daily bars against themselves and against the calendar.

    `as_of`: the last day whose bars should be in; without it the age of the end is not judged.
    `max_daily_return`: largest |close / close before - 1| that passes, a fraction. Never raises on bad data.
    """
    days: list[date] = bars.days.astype("datetime64[D]").tolist()
    present = ~_all_unknown(bars)
    findings = [
        *_values(bars, days, present),
        *_returns(bars, days, max_daily_return),
        *_sessions(bars, days, present, calendar),
        *_history(bars, days, present, calendar, as_of, min_sessions),
    ]
    order = {code: number for number, code in enumerate(Code)}
    findings.sort(key=lambda f: (f.severity, order[f.code], f.symbol or "", f.day or date.min))
    return QualityReport(
        symbols=len(bars.symbols),
        sessions=len(days),
        first=days[0] if days else None,
        last=days[-1] if days else None,
        findings=tuple(findings),
    )


def _columns(bars: DailyBars) -> dict[str, NDArray[np.float64]]:
    return {"open": bars.open, "high": bars.high, "low": bars.low, "close": bars.close, "volume": bars.volume}


def _all_unknown(bars: DailyBars) -> Mask:
    result: Mask = np.logical_and.reduce([np.isnan(column) for column in _columns(bars).values()])
    return result


def _values(bars: DailyBars, days: list[date], present: Mask) -> Iterator[Finding]:
    """Judge each number by itself, and the numbers of a bar against each other."""
    columns = _columns(bars)
    for at, symbol in enumerate(bars.symbols):
        whole = [name for name, column in columns.items() if np.isnan(column[:, at]).all()]
        if whole and present[:, at].any():
            yield Finding(Code.MISSING_COLUMN, Severity.ERROR, symbol, None, f"no bar has {', '.join(whole)}")
    for name, column in columns.items():
        unknown = np.isnan(column)
        yield from _each(
            bars, days, present & unknown & ~unknown.all(axis=0), Code.MISSING_VALUE, column, f"{name} is missing"
        )
        yield from _each(bars, days, np.isinf(column), Code.INFINITE_VALUE, column, f"{name} is {{}}")
        if name != "volume":
            yield from _each(bars, days, column <= 0, Code.NON_POSITIVE_PRICE, column, f"{name} is {{}}")
    volume = bars.volume
    yield from _each(bars, days, volume < 0, Code.NEGATIVE_VOLUME, volume, "volume is {}")
    yield from _each(bars, days, volume == 0, Code.ZERO_VOLUME, volume, "volume is 0: a day without a trade has no bar")
    fractional = np.isfinite(volume) & (volume != np.floor(np.where(np.isfinite(volume), volume, 0.0)))
    for at in np.flatnonzero(fractional.any(axis=0)).tolist():
        detail = f"{int(fractional[:, at].sum())} volumes are not whole numbers of shares"
        yield Finding(Code.FRACTIONAL_VOLUME, Severity.WARNING, bars.symbols[at], None, detail)
    # A comparison with an unknown number is false: what is missing is reported above, not here.
    wrong_high = (bars.high < bars.open) | (bars.high < bars.close) | (bars.high < bars.low)
    wrong_low = (bars.low > bars.open) | (bars.low > bars.close)
    yield from _each(
        bars, days, wrong_high, Code.HIGH_LOW_CONTRADICTION, bars.high, "high {} is below open, low or close"
    )
    yield from _each(
        bars, days, wrong_low & ~wrong_high, Code.HIGH_LOW_CONTRADICTION, bars.low, "low {} is above open or close"
    )
    flat = (bars.high == bars.low) & (bars.open == bars.close) & (bars.open == bars.high)
    for at, symbol in enumerate(bars.symbols):
        count, total = int(flat[:, at].sum()), int(present[:, at].sum())
        if count > _FLAT_SHARE * total:
            detail = f"open, high, low and close are one price on {count} of {total} days: made from closes alone?"
            yield Finding(Code.FLAT_BARS, Severity.WARNING, symbol, None, detail)


def _each(
    bars: DailyBars, days: list[date], mask: Mask, code: Code, column: NDArray[np.float64], detail: str
) -> Iterator[Finding]:
    for row, at in np.argwhere(mask).tolist():
        text = detail.format(repr(float(column[row, at])))
        yield Finding(code, Severity.ERROR, bars.symbols[at], days[row], text)


def _returns(bars: DailyBars, days: list[date], limit: float) -> Iterator[Finding]:
    """Judge each close against the symbol's close before it, however long ago that was."""
    for at, symbol in enumerate(bars.symbols):
        close = bars.close[:, at]
        rows = np.flatnonzero(np.isfinite(close) & (close > 0))
        returns = close[rows[1:]] / close[rows[:-1]] - 1.0
        for index in np.flatnonzero(np.abs(returns) > limit).tolist():
            detail = f"the close moved {returns[index]:+.1%} in a day, from {close[rows[index]]:g} (limit {limit:.0%})"
            yield Finding(Code.EXTREME_RETURN, Severity.ERROR, symbol, days[int(rows[index + 1])], detail)


def _sessions(bars: DailyBars, days: list[date], present: Mask, calendar: Calendar) -> Iterator[Finding]:
    """Compare the days with the calendar's sessions, as a whole and per symbol."""
    for before, day in pairwise(days):
        if day <= before:
            yield Finding(Code.DUPLICATE_DAY, Severity.ERROR, None, day, f"comes after {before}: days must ascend")
    for row, day in enumerate(days):
        if calendar.covers(day) and not calendar.is_session(day) and present[row].any():
            detail = f"bars on a day without a session: {calendar.closed_because(day)}"
            yield Finding(Code.BAR_ON_CLOSED_DAY, Severity.ERROR, None, day, detail)
    outside = [day for day in days if not calendar.covers(day)]
    if outside:
        detail = f"{len(outside)} days from {outside[0]} on: {calendar.closed_because(outside[0])}"
        yield Finding(Code.OUTSIDE_COVERAGE, Severity.WARNING, None, outside[0], detail)
    rows_of = {day: row for row, day in enumerate(days) if present[row].any()}
    if not rows_of:
        return
    held: list[int] = []
    for session in calendar.sessions(min(rows_of), max(rows_of)):
        if session.day in rows_of:
            held.append(rows_of[session.day])
            continue
        ordinary = session.kind is SessionKind.REGULAR
        what = "an ordinary session" if ordinary else f"a {session.kind} session ({session.name})"
        severity = Severity.ERROR if ordinary else Severity.WARNING
        yield Finding(Code.MISSING_SESSION, severity, None, session.day, f"no bars on {what}")
    for at, symbol in enumerate(bars.symbols):
        seen = present[held, at]
        if seen.any():
            first, last = int(np.argmax(seen)), len(seen) - 1 - int(np.argmax(seen[::-1]))
            gaps = [days[held[index]] for index in range(first, last) if not seen[index]]
            if gaps:
                detail = f"no bar on {len(gaps)} sessions on which others have one, from {gaps[0]} to {gaps[-1]}"
                yield Finding(Code.SYMBOL_GAP, Severity.ERROR, symbol, gaps[0], detail)


def _history(
    bars: DailyBars, days: list[date], present: Mask, calendar: Calendar, as_of: date | None, min_sessions: int
) -> Iterator[Finding]:
    """Judge how much history there is, and how old its end is."""
    if not present.any():
        yield Finding(Code.NO_BARS, Severity.ERROR, None, None, "there are no bars")
        return
    end = days[int(np.flatnonzero(present.any(axis=1))[-1])]
    if as_of is not None:
        due = [session.day for session in calendar.sessions(end, as_of) if session.day > end]
        if due:
            detail = f"the bars end on {end}; {len(due)} sessions up to {as_of} are missing"
            yield Finding(Code.STALE_END, Severity.ERROR, None, end, detail)
        elif not calendar.covers(as_of):
            detail = f"{as_of} cannot be judged: {calendar.closed_because(as_of)}"
            yield Finding(Code.STALE_END, Severity.ERROR, None, end, detail)
    for at, symbol in enumerate(bars.symbols):
        rows = np.flatnonzero(present[:, at])
        if len(rows) < min_sessions:
            detail = f"{len(rows)} sessions, at least {min_sessions} are needed"
            yield Finding(Code.SHORT_HISTORY, Severity.ERROR, symbol, None, detail)
        if len(rows) and days[int(rows[-1])] < end:
            detail = f"ends on {days[int(rows[-1])]}, others on {end}"
            yield Finding(Code.STALE_END, Severity.ERROR, symbol, days[int(rows[-1])], detail)
