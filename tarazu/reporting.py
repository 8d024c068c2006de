"""Builds the report of a run: its own figures from its journal, the baselines on the same bars."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from daemon.fold import fold_journal, unit_line
from daemon.report import Story, baseline_results, page, range_note
from market.errors import BadInput
from tarazu.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Report:
    """Columns of figures (the run first), equity curves by name, and what the gate changed."""

    columns: list[dict[str, Any]]
    curves: dict[str, list[float]]
    lines: list[str]
    title: str
    note: str

    def html(self) -> str:
        """Return the self-contained page."""
        return page(self.title, self.columns, self.curves, self.lines, self.note)

    def to_json(self) -> dict[str, Any]:
        """Return the machine-readable report (docs/report.md)."""
        return {"title": self.title, "note": self.note, "columns": self.columns, "gate": self.lines}


def build_report(root: Path, journal: Path | None = None) -> Report:
    """Fold the journal, run the baselines over its bars. Raises OperatorError when there is nothing to report on."""
    deployment = Deployment.open(root, mode="paper")
    path = journal or deployment.paths.journal
    try:
        story = Story.read(path)
    except sqlite3.Error as error:
        raise BadInput(f"journal {path}: cannot be read as one ({error})") from error
    assert story.started is not None
    settings = deployment.settings(
        mode="replay", symbols=story.started.symbols, opening_cash=story.started.opening_cash
    )
    settings = replace(settings, slippage_bps=story.started.slippage_bps)
    own = fold_journal(path, settings=settings, limits=deployment.limits)
    baselines = baseline_results(story, settings, deployment.calendar, deployment.limits)
    curves = {own.strategy: [own.initial_equity, *unit_line(own.state)]}
    for result in baselines:
        if result.strategy == own.strategy:
            result.strategy = f"{result.strategy} (baseline)"
        curves[result.strategy] = [result.initial_equity, *result.equity]
    first, last = story.bars.batches[0].session, story.bars.batches[-1].session
    return Report(
        columns=[own.figures(), *(result.to_json() for result in baselines)],
        curves=curves,
        lines=story.gate_lines(),
        title=f"Tarazu, {story.started.mode}: {own.strategy}",
        note=range_note(first, last, int(story.started.opening_cash)),
    )
