"""The report: what a run did, folded from its journal alone, beside baselines on the very same bars.

The journal holds every bar that the daemon saw and the history it started from, so the baselines are not a table from
elsewhere: they are the same daemon, gate, charges and paper broker, run over those bars with another strategy.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np

from daemon.journal import read_journal
from daemon.messages import (
    BreakerTripped,
    CorporateActionApplied,
    DaemonStarted,
    Decided,
    Halted,
    HistoryLoaded,
    OrderReports,
    OrdersRefused,
    Outcome,
    PlanClosed,
    SessionClosed,
)
from daemon.replay import ReplayResult, replay
from daemon.settings import DaemonSettings
from daemon.tally import INTERVENTION
from market.bar import BarBatch, Interval
from market.calendar import Calendar
from market.corporate_actions import ActionTable, CorporateAction
from market.errors import OperatorError
from market.money import format_rupees
from market.store import DailyBars
from risk.limits import RiskLimits
from strategies.baselines import make_strategy

BASELINES: Final = ("equal_weight", "buy_and_hold")


@dataclass(slots=True)
class JournalBars:
    """The bars of a journal as a source for replay."""

    batches: list[BarBatch]

    def iter_batches(self, calendar: Calendar) -> Iterator[BarBatch]:
        """Yield the recorded batches."""
        return iter(self.batches)

    def opens(self) -> DailyBars | None:
        """Return opening prints when the bars are daily; an intraday journal has none apart from its bars."""
        daily = [batch for batch in self.batches if batch.interval is Interval.DAY]
        if not daily:
            return None
        symbols = daily[0].symbols
        whole = [batch for batch in daily if batch.symbols == symbols]

        def column(name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
            return np.array([getattr(batch, name) for batch in whole], dtype=np.float64)

        return DailyBars(
            symbols=symbols,
            days=np.array([batch.session for batch in whole], dtype="datetime64[D]"),
            open=column("open"),
            high=column("high"),
            low=column("low"),
            close=column("close"),
            volume=column("volume"),
            sha256="",
        )


@dataclass(slots=True)
class Story:
    """What the journal says happened."""

    started: DaemonStarted | None = None
    history: HistoryLoaded | None = None
    bars: JournalBars = field(default_factory=lambda: JournalBars([]))
    decisions: list[Decided] = field(default_factory=list)
    plans: list[PlanClosed] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    trips: list[BreakerTripped] = field(default_factory=list)
    halts: list[Halted] = field(default_factory=list)
    actions: dict[tuple[date, str], CorporateAction] = field(default_factory=dict)
    fills: int = 0
    records: int = 0
    starts: int = 0
    closed: date | None = None

    @classmethod
    def read(cls, path: Path) -> Story:
        """Read and verify a journal. Raises OperatorError when there is none or its chain does not hold."""
        story = cls()
        for record in read_journal(path):
            story.records += 1
            story._take(record.message)
        closed = story.closed
        # A day that is not over has no close to be judged by, on either side.
        story.bars.batches = [b for b in story.bars.batches if closed is not None and b.session <= closed]
        if story.started is None or not story.bars.batches:
            raise OperatorError(f"journal {path}: no closed session with bars yet; nothing to report on")
        return story

    def _take(self, message: Any) -> None:
        if isinstance(message, BarBatch):
            self.bars.batches.append(message)
        elif isinstance(message, Decided):
            self.decisions.append(message)
        elif isinstance(message, PlanClosed):
            self.plans.append(message)
        elif isinstance(message, OrderReports):
            self.fills += sum(1 for report in message.reports if report.trade_id)
        elif isinstance(message, OrdersRefused):
            self.refusals.update(why.split(":")[0].split(" ")[0] for _, why in message.refusals)
        elif isinstance(message, BreakerTripped):
            self.trips.append(message)
        elif isinstance(message, Halted):
            self.halts.append(message)
        elif isinstance(message, CorporateActionApplied):
            action = CorporateAction(
                message.ex_date, message.symbol, message.kind, message.numerator, message.denominator
            )
            self.actions[action.key] = action
        elif isinstance(message, HistoryLoaded) and self.history is None:
            self.history = message
        elif isinstance(message, SessionClosed):
            self.closed = message.session
        elif isinstance(message, DaemonStarted):
            self.starts += 1
            self.started = self.started or message

    def gate_lines(self) -> list[str]:
        """Return what the gate changed and why, one line a reason, the largest first."""
        approved = [decision for decision in self.decisions if decision.outcome is Outcome.APPROVED]
        changed = [decision for decision in approved if sum(decision.moved.values()) > INTERVENTION]
        by_name: dict[str, list[float]] = {}
        for decision in changed:
            for name, amount in decision.moved.items():
                by_name.setdefault(name, []).append(amount)
        lines = [f"{len(changed)} of {len(approved)} approved targets were moved by the gate"]
        for name, amounts in sorted(by_name.items(), key=lambda item: -sum(item[1])):
            lines.append(
                f"{name}: {len(amounts)} decisions, {sum(amounts) / len(amounts):.1%} of equity moved on average,"
                f" {max(amounts):.1%} at most"
            )
        for outcome in (Outcome.REFUSED, Outcome.SKIPPED, Outcome.HOLD):
            some = [decision for decision in self.decisions if decision.outcome is outcome]
            if some:
                reasons = Counter(
                    reason.split(":")[0].split(" ")[0] for decision in some for reason in decision.reasons
                )
                why = ", ".join(f"{name} {count}" for name, count in reasons.most_common(4))
                lines.append(f"{len(some)} decisions {outcome}: {why}")
        for code, count in self.refusals.most_common(6):
            lines.append(f"{count} orders refused by {code}")
        lines += [f"breaker {trip.name} tripped at {trip.used:.2%} of {trip.limit:.2%}" for trip in self.trips]
        return lines


def baseline_results(
    story: Story, settings: DaemonSettings, calendar: Calendar, limits: RiskLimits, names: tuple[str, ...] = BASELINES
) -> list[ReplayResult]:
    """Run each baseline over the journal's bars with the same capital, gate, charges and fills."""
    first, last = story.bars.batches[0].session, story.bars.batches[-1].session
    assert story.started is not None
    results = []
    for name in names:
        results.append(
            replay(
                settings=settings,
                bars=story.bars,
                calendar=calendar,
                limits=limits,
                strategy=make_strategy(name, settings.symbols, story.started.look_back),
                start=first,
                end=last,
                opens=story.bars.opens(),
                history=story.history,
                actions=ActionTable(story.actions.values()),
            )
        )
    return results


ROWS: Final = (
    ("return", "{:+.2%}"),
    ("volatility", "{:.2%}"),
    ("sharpe", "{:.2f}"),
    ("max_drawdown", "{:.2%}"),
    ("turnover", "{:.2f}"),
    ("charges", "{:,.2f}"),
    ("fills", "{}"),
)


def table(columns: list[dict[str, Any]]) -> list[list[str]]:
    """Return the comparison as rows of text; the first row is the header."""
    rows = [["", *(str(column["strategy"]) for column in columns)]]
    for key, form in ROWS:
        rows.append([key.replace("_", " "), *(form.format(column[key]) for column in columns)])
    return rows


_STYLE: Final = """
:root{color-scheme:light dark;--c0:#0a7d55;--c1:#b4560a;--c2:#4a55bd;--c3:#a3307f}
@media (prefers-color-scheme:dark){:root{--c0:#4cc49a;--c1:#f0a04b;--c2:#a3abff;--c3:#f08fd0}}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{padding:.35rem .7rem;text-align:right;border-bottom:1px solid #8884}
th:first-child{text-align:left}h1,h2{line-height:1.2}svg{width:100%;height:auto}.note{opacity:.8}
polyline.c0{stroke:var(--c0)}polyline.c1{stroke:var(--c1)}polyline.c2{stroke:var(--c2)}polyline.c3{stroke:var(--c3)}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;list-style:none;padding:0}
.legend span{display:inline-block;width:1.2rem;height:.25rem;margin-right:.5rem;vertical-align:middle}
span.c0{background:var(--c0)}span.c1{background:var(--c1)}span.c2{background:var(--c2)}span.c3{background:var(--c3)}
"""


def page(title: str, columns: list[dict[str, Any]], curves: dict[str, list[float]], lines: list[str], note: str) -> str:
    """Return a self-contained HTML page: the comparison, the equity curves, what the gate changed."""
    rows = table(columns)
    head = "".join(f"<th scope=col>{html.escape(cell)}</th>" for cell in rows[0])
    body = "".join(
        f"<tr><th scope=row>{html.escape(row[0])}</th>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows[1:]
    )
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<meta name=viewport content='width=device-width,initial-scale=1'><style>{_STYLE}</style></head><body>"
        f"<h1>{html.escape(title)}</h1><div class=wide tabindex=0>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f"<h2>Equity</h2>{_chart(curves)}<h2>What the gate changed, and why</h2><ul>{items}</ul>"
        f"<p class=note>{html.escape(note)}</p></body></html>\n"
    )


_LINES: Final = 4


def _chart(curves: dict[str, list[float]]) -> str:
    """Return an inline SVG of equity curves, each from its first value as 1."""
    width, height, pad = 900, 300, 34
    scaled = {name: [value / values[0] for value in values] for name, values in curves.items() if values}
    if not scaled:
        return "<p>no closed session yet</p>"
    low = min(min(values) for values in scaled.values())
    high = max(max(values) for values in scaled.values())
    span = (high - low) or 1.0
    parts = [f"<svg viewBox='0 0 {width} {height}' role=img aria-label='Equity, start = 1'>"]
    for level in (low, (low + high) / 2, high):
        y = pad + (high - level) / span * (height - 2 * pad)
        parts.append(f"<line x1=60 x2={width} y1={y:.1f} y2={y:.1f} stroke='#8886'/>")
        parts.append(f"<text x=0 y={y + 4:.1f} font-size=13 fill=currentColor>{level:.3f}</text>")
    for number, values in enumerate(scaled.values()):
        step = (width - 70) / max(len(values) - 1, 1)
        points = " ".join(
            f"{60 + i * step:.1f},{pad + (high - value) / span * (height - 2 * pad):.1f}"
            for i, value in enumerate(values)
        )
        parts.append(f"<polyline class=c{number % _LINES} points='{points}' fill=none stroke-width=2 />")
    parts.append("</svg>")
    # The legend is HTML: text inside a picture shrinks with it on a phone.
    legend = "".join(
        f"<li><span class=c{number % _LINES}></span>{html.escape(name)} {values[-1] - 1.0:+.2%}</li>"
        for number, (name, values) in enumerate(scaled.items())
    )
    return f"{''.join(parts)}<ul class=legend>{legend}</ul>"


def range_note(first: date, last: date, opening: int) -> str:
    """Return the line that says what the figures rest on."""
    return f"{first} to {last}, opening cash {format_rupees(opening, paise=False)}; all columns: same bars, gate and charges."
