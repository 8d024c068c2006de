"""Sessions and phases: what a trading day is made of.

A session is a day on which the exchange trades; a phase is what may be done at a moment of it. Times are integer
nanoseconds since 1970-01-01 UTC; the exchange's clock is IST, UTC+05:30 all year round.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date, timedelta, timezone
from enum import StrEnum
from typing import Final

import msgspec

SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS
DAY_NS: Final = 86_400 * SECOND_NS
IST: Final = timezone(timedelta(hours=5, minutes=30), "IST")
IST_OFFSET_NS: Final = 19_800 * SECOND_NS
_EPOCH: Final = date(1970, 1, 1).toordinal()


class Phase(StrEnum):
    """What the exchange does at a moment. Only in CONTINUOUS does an order trade as soon as it finds a counterpart."""

    CLOSED = "closed"
    PRE_OPEN = "pre_open"
    PRE_OPEN_LIMIT_ONLY = "pre_open_limit_only"
    PRE_OPEN_MATCHING = "pre_open_matching"
    CONTINUOUS = "continuous"
    CLOSING_REFERENCE = "closing_reference"
    CLOSING_AUCTION = "closing_auction"
    CLOSING_AUCTION_LIMIT_ONLY = "closing_auction_limit_only"
    CLOSING_MATCHING = "closing_matching"
    POST_CLOSE = "post_close"


class SessionKind(StrEnum):
    """REGULAR: an ordinary weekday. SPECIAL: budget days, recovery tests. MUHURAT: about an hour on Diwali."""

    REGULAR = "regular"
    SPECIAL = "special"
    MUHURAT = "muhurat"


class Session(msgspec.Struct, frozen=True, gc=False):
    """One day of trading, from the first to the last moment of continuous trading of any security.

    `short` is true when the hours are not those of an ordinary day; a special session on ordinary hours is a normal day.
    `hours_known` is false where no source gave the hours: then open and close are placeholders that only order the
    day's bars in time, and every phase of the day is CLOSED.
    """

    day: date
    kind: SessionKind
    open_ns: int
    close_ns: int
    name: str = ""
    short: bool = False
    hours_known: bool = True

    @property
    def rebalances(self) -> bool:
        """Whether an unattended rebalance belongs into this session: Muhurat and other short ones are for a person."""
        return not self.short and self.hours_known and self.kind is not SessionKind.MUHURAT


@dataclass(frozen=True, slots=True)
class Timeline:
    """Phases of a day for one class of securities.

    `starts` are offsets from midnight IST in nanoseconds, ascending; `phases[i]` holds from `starts[i]` on, CLOSED
    before the first. The last entry is always CLOSED.
    """

    starts: tuple[int, ...]
    phases: tuple[Phase, ...]

    @classmethod
    def of(cls, spans: list[tuple[int, int, Phase]]) -> Timeline:
        """Build from (start, end, phase) spans; end excluded. Raises ValueError when they overlap or run backwards."""
        starts: list[int] = []
        phases: list[Phase] = []
        at = 0
        for start, end, phase in sorted(spans):
            if start < at or end <= start:
                raise ValueError(f"{phase} from {clock_text(start)} to {clock_text(end)} overlaps or runs backwards")
            if starts and start > at:
                starts.append(at)
                phases.append(Phase.CLOSED)
            starts.append(start)
            phases.append(phase)
            at = end
        if starts:
            starts.append(at)
            phases.append(Phase.CLOSED)
        return cls(tuple(starts), tuple(phases))

    def at(self, offset_ns: int) -> Phase:
        """Return the phase at an offset from midnight IST."""
        index = bisect_right(self.starts, offset_ns)
        return Phase.CLOSED if index == 0 else self.phases[index - 1]

    def continuous(self) -> tuple[tuple[int, int], ...]:
        """Return the spans of continuous trading as (start, end) offsets."""
        return tuple(
            (start, self.starts[index + 1])
            for index, (start, phase) in enumerate(zip(self.starts, self.phases, strict=True))
            if phase is Phase.CONTINUOUS
        )


@dataclass(frozen=True, slots=True)
class DayPlan:
    """Timelines of a day: securities with derivatives, and the others."""

    derivatives: Timeline
    others: Timeline

    def timeline(self, *, derivatives: bool) -> Timeline:
        """Return the timeline of one class of securities."""
        return self.derivatives if derivatives else self.others

    def bounds(self) -> tuple[int, int]:
        """Return the first and the last offset of continuous trading of any security."""
        spans = self.derivatives.continuous() + self.others.continuous()
        return min(start for start, _ in spans), max(end for _, end in spans)


def midnight_ns(day: date) -> int:
    """Return the moment at which a day begins in IST."""
    return (day.toordinal() - _EPOCH) * DAY_NS - IST_OFFSET_NS


def session_date(at_ns: int) -> date:
    """Return the IST date of a moment."""
    return date.fromordinal(day_ordinal(at_ns))


def day_ordinal(at_ns: int) -> int:
    """Return the proleptic ordinal (`date.toordinal`) of a moment's IST date."""
    return (at_ns + IST_OFFSET_NS) // DAY_NS + _EPOCH


def clock_text(offset_ns: int) -> str:
    """Return an offset from midnight as HH:MM."""
    hours, minutes = divmod(offset_ns // MINUTE_NS, 60)
    return f"{hours:02d}:{minutes:02d}"
