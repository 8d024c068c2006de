"""Dead-man rules: what may be wrong around the daemon, what that forbids meanwhile, and how it ends.

A condition begins and ends by a record (`ConditionChanged`); whoever notices it posts that record and nothing more. What
follows is this table alone: the state that the daemon is in, which orders are held, whether it ends by itself or takes a
person, how loud people are told. The strictest condition decides; docs/status.md has the table for people.

Rebalances are whole or not at all: a condition that forbids purchases also lets no decision be made. Half of a rebalance
is a portfolio that nobody has chosen. What was decided before goes on with its sales, and so does a liquidation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from daemon.bus import Envelope
from daemon.clock import ist
from daemon.messages import ConditionChanged, ConditionName
from risk.approval import Side


class Word(StrEnum):
    """The daemon's state in one word; the strictest comes first, and is the one that is told."""

    FAILED = "FAILED"
    HALTED = "HALTED"
    LOGIN_NEEDED = "LOGIN_NEEDED"
    BROKER_LOST = "BROKER_LOST"
    BREAKER_LATCHED = "BREAKER_LATCHED"
    STARTING = "STARTING"
    REDUCING = "REDUCING"
    TRADING = "TRADING"
    WAITING = "WAITING"


def strictest(words: Iterable[Word]) -> Word:
    """Return the strictest of some words."""
    order = list(Word)
    return min(words, key=order.index)


class Forbids(StrEnum):
    """Which orders a condition holds back. Withdrawing orders is always allowed."""

    NOTHING = "nothing"
    PURCHASES = "purchases"  # and decisions; sales pass
    ORDERS = "all orders"  # those of a liquidation among them

    def holds(self, side: Side) -> bool:
        """Return whether an order of this side is held back."""
        return self is Forbids.ORDERS or (self is Forbids.PURCHASES and side is Side.BUY)


class Ends(StrEnum):
    """Who ends a condition. What ends by itself is judged afresh after a restart; the others are still there."""

    ITSELF = "by itself"
    DAY = "with the day"  # or earlier, by a person
    PERSON = "by a person"  # tarazu resume, in two steps


@dataclass(frozen=True, slots=True)
class Rule:
    """What follows from a condition.

    `word` is None where trading goes on as it was. `withdraws`: purchases that are open are cancelled when it begins.
    """

    word: Word | None
    forbids: Forbids
    ends: Ends
    severity: str
    meaning: str
    ending: str
    withdraws: bool = False


_STALE_ENDS: Final = "with the next bar of now, or when continuous trading is over"
_READ_ENDS: Final = "when the broker's books were read and agree with the ledger"
_PERSON_ENDS: Final = "tarazu resume, after a look at the machine's clock"

RULES: Final[dict[ConditionName, Rule]] = {
    ConditionName.STALE_FEED: Rule(
        Word.REDUCING,
        Forbids.PURCHASES,
        Ends.ITSELF,
        "error",
        "no bar has come for too long in continuous trading",
        _STALE_ENDS,
        withdraws=True,
    ),
    ConditionName.FROZEN_FEED: Rule(
        Word.REDUCING,
        Forbids.PURCHASES,
        Ends.ITSELF,
        "error",
        "bars come, but every price and volume stays the same: the feed hangs, or the exchange has stopped trading",
        "with the first bar that differs, or when continuous trading is over",
        withdraws=True,
    ),
    ConditionName.BROKER_LOST: Rule(
        Word.BROKER_LOST,
        Forbids.ORDERS,
        Ends.ITSELF,
        "error",
        "the broker's books cannot be read in a session",
        _READ_ENDS,
    ),
    ConditionName.LOGIN_NEEDED: Rule(
        Word.LOGIN_NEEDED,
        Forbids.ORDERS,
        Ends.ITSELF,
        "error",
        "the broker says that its session has expired; a person has to log in",
        _READ_ENDS,
    ),
    ConditionName.CLOCK_JUMP: Rule(
        Word.HALTED,
        Forbids.ORDERS,
        Ends.PERSON,
        "error",
        "the machine's clock was set to another time in a session; nobody here knows which time is true",
        _PERSON_ENDS,
    ),
    ConditionName.MACHINE_SLEPT: Rule(
        Word.STARTING,
        Forbids.ORDERS,
        Ends.ITSELF,
        "warning",
        "the machine was suspended; what happened at the broker meanwhile is not known",
        _READ_ENDS,
    ),
    ConditionName.DISK_NEARLY_FULL: Rule(
        Word.REDUCING,
        Forbids.PURCHASES,
        Ends.ITSELF,
        "error",
        "the disk of the state directory is nearly full",
        "when a quarter more than the limit is free",
    ),
    ConditionName.DISK_FULL: Rule(
        Word.HALTED,
        Forbids.ORDERS,
        Ends.ITSELF,
        "error",
        "the disk of the state directory has hardly room for the journal",
        "when a quarter more than the limit is free",
    ),
    ConditionName.CALENDAR_CONTRADICTION: Rule(
        Word.HALTED,
        Forbids.ORDERS,
        Ends.DAY,
        "error",
        "calendar and feed disagree about whether the exchange trades today",
        "with the day, or by tarazu resume",
    ),
    ConditionName.CALENDAR_HORIZON: Rule(
        None,
        Forbids.NOTHING,
        Ends.ITSELF,
        "warning",
        "the calendar ends soon; past its end every day counts as closed",
        "with a calendar that reaches further, after a restart",
    ),
}


class Held(NamedTuple):
    """Since when a condition has held, what was seen, and the record that says so."""

    since_ns: int
    detail: str
    seq: int


class Conditions:
    """Which conditions hold; a fold."""

    def __init__(self) -> None:
        self.held: dict[ConditionName, Held] = {}
        # Sequence of the last record that began or ended one: a repeated word changes nothing, and is not told again.
        self.changed_by = 0

    # ---- fold steps --------------------------------------------------------------------------------------------------

    def on_changed(self, message: ConditionChanged, envelope: Envelope) -> None:
        """Begin or end one."""
        if message.holds == (message.name in self.held):
            return
        self.changed_by = envelope.seq
        if message.holds:
            self.held[message.name] = Held(envelope.at_ns, message.detail, envelope.seq)
        else:
            del self.held[message.name]

    def on_started(self) -> None:
        """A process has started: what ends by itself is for it to judge."""
        self._keep(lambda rule: rule.ends is not Ends.ITSELF)

    def on_resumed(self) -> None:
        """A person has looked: what waits for one is over."""
        self._keep(lambda rule: rule.ends is Ends.ITSELF)

    def _keep(self, wanted: Any) -> None:
        self.held = {name: held for name, held in self.held.items() if wanted(RULES[name])}

    # ---- what follows ------------------------------------------------------------------------------------------------

    def against(self, side: Side) -> tuple[str, ...]:
        """Return the reasons against an order of this side, in words; none when it may leave."""
        if not self.held:
            return ()
        return tuple([reason(name, self.held[name]) for name in self.held if RULES[name].forbids.holds(side)])

    @property
    def lasting(self) -> bool:
        """Whether one that forbids something lasts until the day is over or a person comes."""
        return any(
            RULES[name].ends is not Ends.ITSELF and RULES[name].forbids is not Forbids.NOTHING for name in self.held
        )

    def words(self) -> list[Word]:
        """Return the states that the conditions put the daemon in."""
        return [word for name in self.held if (word := RULES[name].word) is not None]

    def rows(self) -> list[dict[str, Any]]:
        """Return what `status` shows of them: the table's words for each that holds."""
        return [
            {
                "name": name.value,
                "state": None if (rule := RULES[name]).word is None else rule.word.value,
                "since": ist(held.since_ns).isoformat(timespec="seconds"),
                "detail": held.detail,
                "meaning": rule.meaning,
                "forbids": rule.forbids.value,
                "ends": rule.ends.value,
                "ending": rule.ending,
            }
            for name, held in self.held.items()
        ]


def reason(name: ConditionName, held: Held) -> str:
    """Return a condition as the reason of a decision or an order that it holds back."""
    return f"CONDITION_{name.value.upper()}: {RULES[name].meaning} ({held.detail})"
