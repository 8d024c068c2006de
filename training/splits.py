"""Which sessions train and which validate: a cut in time, with an embargo.

The first `train` share of the sessions trains. Validation is built from the sessions after the cut alone: its first
`look_back` sessions only fill the windows of its first observation. So no validation observation contains a return that
training has seen, and the embargo between the last traded training session and the first validation decision is
`look_back` sessions. A `test` share is cut off at the end and read by nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from market.errors import BadInput
from market.store import DailyBars
from strategies.production_config import ProductionConfig


@dataclass(frozen=True, slots=True)
class Split:
    """Training and validation bars, and what they are for the record."""

    train: DailyBars
    validation: DailyBars
    record: dict[str, object]


def split_bars(bars: DailyBars, config: ProductionConfig) -> Split:
    """Return the split of the sessions from `data.start` on. Raises BadInput when a part is too short to be used."""
    if tuple(bars.symbols) != config.portfolio.assets:
        raise BadInput(f"data: has {', '.join(bars.symbols)}; the portfolio is {', '.join(config.portfolio.assets)}")
    days = bars.days.astype("datetime64[D]")
    first = int(np.searchsorted(days, np.datetime64(config.data.start)))
    count, look_back = len(days) - first, config.environment.look_back
    cut = first + int(config.splits.train * count + 1e-9)
    end = first + int((config.splits.train + config.splits.validation) * count + 1e-9)
    least = look_back + 2
    for name, rows in (("train", cut - first), ("validation", end - cut)):
        if rows < least:
            raise BadInput(
                f"splits.{name}: {max(rows, 0)} of {max(count, 0)} sessions since {config.data.start}; allowed: at "
                f"least {least} (look_back {look_back} + 2); import more data"
            )

    def part(begin: int, stop: int) -> tuple[DailyBars, dict[str, object]]:
        low, high, decides = (_day(days[i]) for i in (begin, stop - 1, begin + look_back))
        facts: dict[str, object] = {
            "rows": stop - begin,
            "first": low.isoformat(),
            "last": high.isoformat(),
            "first_decision": decides.isoformat(),
            "decisions": stop - begin - look_back - 1,
        }
        return bars.slice(low, high), facts

    train, train_facts = part(first, cut)
    validation, validation_facts = part(cut, end)
    record: dict[str, object] = {
        "train": train_facts,
        "validation": validation_facts,
        "embargo_sessions": look_back,
        "held_out_rows": len(days) - end,
    }
    return Split(train, validation, record)


def _day(value: np.datetime64) -> date:
    return date.fromisoformat(str(value))
