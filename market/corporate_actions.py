"""Corporate actions: splits and bonus issues, which change the number of shares and nothing else.

The table is a CSV with `ex_date,symbol,action,shares_after_per_share_before`; other columns are passed over. A factor is
exact: `2`, `1.1` (11/10) or `4/3`. `action` is `split A:B` or `bonus A:B` in words ("split 10:2 face value", "bonus 1:1"),
and must agree with the factor. Rights issues, demergers and mergers change value as well as number; they are refused.

A price of a session before an ex date is on the old basis. Divided by the factor (and its volume multiplied) it is on the
new one. A split and a bonus issue of one symbol on one day are one action with both factors; anything else that a symbol
has twice on a day is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Final

import msgspec

from market.bar import BarBatch
from market.bar_csv import read_header, read_rows
from market.errors import BadInput
from market.instrument import Instrument

COLUMNS: Final = ("ex_date", "symbol", "action", "shares_after_per_share_before")
ONE: Final = Fraction(1)
# Nothing real comes near; a slip of the pen does.
_LEAST, _MOST = Fraction(1, 1000), Fraction(1000)
_DAY: Final = re.compile(r"^\d{4}-\d{2}-\d{2}$")
_DECIMAL: Final = re.compile(r"^\d{1,6}(\.\d{1,9})?$")
_RATIO: Final = re.compile(r"^[1-9]\d{0,5}/[1-9]\d{0,5}$")
_WORDS: Final = re.compile(r"^(split|bonus)(?:\s+([1-9]\d{0,5}):([1-9]\d{0,5}))?(?:\s+face value)?$")


class ActionKind(StrEnum):
    """What happened to the shares."""

    SPLIT = "split"
    BONUS = "bonus"
    SPLIT_AND_BONUS = "split_and_bonus"


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """From `ex_date` on, `numerator` shares are what `denominator` shares were the day before."""

    ex_date: date
    symbol: str
    kind: ActionKind
    numerator: int
    denominator: int

    @property
    def factor(self) -> Fraction:
        """Return shares after per share before."""
        return Fraction(self.numerator, self.denominator)

    @property
    def key(self) -> tuple[date, str]:
        """Return what tells this action from others: a symbol has at most one a day."""
        return self.ex_date, self.symbol

    @property
    def cause(self) -> str:
        """Return the action in words, for records."""
        return f"{self.kind} {self.numerator}/{self.denominator}, ex {self.ex_date}"


class ActionTable:
    """Actions by ex date, at most one a symbol and day."""

    def __init__(self, actions: Iterable[CorporateAction] = ()) -> None:
        self.actions = tuple(sorted(actions, key=lambda action: action.key))

    def due(self, *, after: date, until: date, symbols: Iterable[str]) -> tuple[CorporateAction, ...]:
        """Return the actions of `symbols` with after < ex date <= until, in order.

        A range and not a day: an ex date on which nobody was here, or that became a holiday, is made up for.
        """
        wanted = frozenset(symbols)
        return tuple(a for a in self.actions if after < a.ex_date <= until and a.symbol in wanted)

    def factor(self, symbol: str, *, after: date, until: date) -> Fraction:
        """Return the shares at `until` that one share at `after` has become."""
        result = ONE
        for action in self.due(after=after, until=until, symbols=(symbol,)):
            result *= action.factor
        return result


def on_new_basis(batch: BarBatch, actions: Sequence[CorporateAction]) -> BarBatch:
    """Return a batch as it reads after those of `actions` whose ex date is later than its session; mostly it is itself."""
    factors: dict[str, Fraction] = {}
    for action in actions:
        if action.ex_date > batch.session and action.symbol in batch.symbols:
            factors[action.symbol] = factors.get(action.symbol, ONE) * action.factor
    if not factors:
        return batch
    scale = [float(factors.get(symbol, ONE)) for symbol in batch.symbols]

    def divided(column: tuple[float, ...]) -> tuple[float, ...]:
        return tuple([value / by for value, by in zip(column, scale, strict=True)])

    return msgspec.structs.replace(
        batch,
        open=divided(batch.open),
        high=divided(batch.high),
        low=divided(batch.low),
        close=divided(batch.close),
        volume=tuple([value * by for value, by in zip(batch.volume, scale, strict=True)]),
    )


# ---- the file --------------------------------------------------------------------------------------------------------


def read_actions(path: Path) -> ActionTable:
    """Read the table. Raises BadInput naming file, line, column, value and what is allowed."""
    header = read_header(path)
    for column in COLUMNS:
        if column not in header:
            raise BadInput(f"{path}: column {column!r} is missing; the columns are {', '.join(header)}")
    at = [header.index(column) for column in COLUMNS]
    found: dict[tuple[date, str], CorporateAction] = {}
    for line, row in read_rows(path):
        action = _action(f"{path}: line {line}", *(row[i].strip() for i in at))
        known = found.get(action.key)
        found[action.key] = action if known is None else _both(known, action, f"{path}: line {line}")
    return ActionTable(found.values())


def _action(where: str, day: str, symbol: str, words: str, ratio: str) -> CorporateAction:
    ex_date = _day(where, day)
    try:
        Instrument(symbol)
    except BadInput:
        allowed = "capitals, digits, & and -, like SBIN"
        raise BadInput(f"{where}: symbol {symbol!r}: not an NSE symbol; allowed: {allowed}") from None
    match = _WORDS.match(words.lower())
    if match is None:
        raise BadInput(
            f"{where}: action {words!r}: not handled yet; allowed: 'split A:B' and 'bonus A:B' "
            "(rights, demergers, mergers and dividends change the value of a holding, not only its number of shares)"
        )
    kind = ActionKind(match[1])
    factor = _factor(where, ratio)
    if match[2] is not None:
        first, second = int(match[2]), int(match[3])
        # Face value 10 becomes 2: five shares for one. A bonus of 1:10 gives one share more for each ten.
        meant = Fraction(first, second) if kind is ActionKind.SPLIT else 1 + Fraction(first, second)
        if meant != factor:
            raise BadInput(f"{where}: shares_after_per_share_before {ratio!r}: {words!r} means {meant}; write that")
    if kind is ActionKind.BONUS and factor < 1:
        raise BadInput(f"{where}: shares_after_per_share_before {ratio!r}: a bonus issue is more than 1")
    return CorporateAction(ex_date, symbol, kind, factor.numerator, factor.denominator)


def _day(where: str, text: str) -> date:
    try:
        if _DAY.match(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise BadInput(f"{where}: ex_date {text!r}: not a date; allowed: YYYY-MM-DD")


def _factor(where: str, text: str) -> Fraction:
    if not (_DECIMAL.match(text) or _RATIO.match(text)):
        raise BadInput(
            f"{where}: shares_after_per_share_before {text!r}: not an exact number; allowed: like 2, 1.1 or 4/3"
        )
    factor = Fraction(text)
    if factor == 1 or not _LEAST <= factor <= _MOST:
        raise BadInput(
            f"{where}: shares_after_per_share_before {text!r}: allowed: {_LEAST} to {_MOST}, not 1 (which changes nothing)"
        )
    return factor


def _both(first: CorporateAction, second: CorporateAction, where: str) -> CorporateAction:
    if {first.kind, second.kind} != {ActionKind.SPLIT, ActionKind.BONUS}:
        raise BadInput(
            f"{where}: {second.symbol} has a {second.kind} on {second.ex_date} twice; "
            "allowed: one action a day, or one split and one bonus"
        )
    factor = first.factor * second.factor
    kind = ActionKind.SPLIT_AND_BONUS
    return CorporateAction(first.ex_date, first.symbol, kind, factor.numerator, factor.denominator)
