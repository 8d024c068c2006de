"""The market view: the last complete bars per instrument with their age, and the daily closes that decisions rest on.

A fold of `HistoryLoaded`, bar batches and session ends. Daily closes grow by one row per closed session; an instrument
that did not trade keeps its last close and is *not tradable* until it has a fresh bar again.
"""

from __future__ import annotations

from datetime import date
from math import isfinite
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.messages import BarsRejected, HistoryLoaded
from market.bar import BarBatch
from market.money import Paise

_GROWTH: Final = 1024
# A move of a price, as a fraction of the last one, beyond which a bar is not believed at once (no exchange band is wider).
LARGEST_MOVE: Final = 0.5


def implausible(batch: BarBatch) -> tuple[str, ...]:
    """Return the symbols whose bar cannot be true: a missing or non-positive price, or high and low contradicting it."""
    wrong: list[str] = []
    for symbol, o, h, low, c, v in zip(
        batch.symbols, batch.open, batch.high, batch.low, batch.close, batch.volume, strict=True
    ):
        # Comparisons with NaN are false, so one chain refuses NaN, zero, negative and contradictory values alike.
        if not (0.0 < low <= o <= h and low <= c <= h and v >= 0.0) or not isfinite(h):
            wrong.append(symbol)
    return tuple(wrong)


def screen(batch: BarBatch) -> tuple[BarBatch | None, BarsRejected | None]:
    """Return the bars that may be true (None when there are none), and what to say about the others."""
    wrong = implausible(batch)
    if not wrong:
        return batch, None
    detail = "a price is missing, not positive, or contradicts high and low"
    rejected = BarsRejected(session=batch.session, end_ns=batch.end_ns, symbols=wrong, detail=detail)
    return without(batch, wrong), rejected


def without(batch: BarBatch, wrong: tuple[str, ...]) -> BarBatch | None:
    """Return the batch without the bars of these symbols; None when nothing is left."""
    keep = [i for i, symbol in enumerate(batch.symbols) if symbol not in wrong]

    def pick(column: tuple[float, ...]) -> tuple[float, ...]:
        return tuple([column[i] for i in keep])

    if not keep:
        return None
    return msgspec.structs.replace(
        batch,
        symbols=tuple([batch.symbols[i] for i in keep]),
        open=pick(batch.open),
        high=pick(batch.high),
        low=pick(batch.low),
        close=pick(batch.close),
        volume=pick(batch.volume),
    )


class Doubt(msgspec.Struct, frozen=True, gc=False):
    """A price that is not believed yet: the last of `count` bars, one after the other, that said about the same."""

    price: float
    end_ns: int
    count: int

    def agrees(self, price: float, end_ns: int) -> bool:
        """Whether a later bar says about the same."""
        return end_ns > self.end_ns and not _far(price, self.price)


def _far(price: float, other: float) -> bool:
    return abs(price / other - 1.0) > LARGEST_MOVE


class MarketView:
    """Last prices and daily closes of the universe, in its order."""

    def __init__(self, symbols: tuple[str, ...]) -> None:
        n = len(symbols)
        self.symbols = symbols
        self.index = {symbol: i for i, symbol in enumerate(symbols)}
        self.last: list[float] = [0.0] * n
        self.last_session: list[date] = [date.min] * n
        self.last_end_ns = 0
        # Symbol -> how many of its last bars, without a break, were refused; and what is said of a price in doubt.
        self.refused: dict[str, int] = {}
        self.suspect: dict[str, Doubt] = {}
        self._prices: list[Paise] | None = None
        self._closes: NDArray[np.float64] = np.empty((_GROWTH, n))
        self._rows = 0
        self.closed_to = date.min  # the newest session that has its row

    @property
    def closes(self) -> NDArray[np.float64]:
        """Daily closes [sessions, instruments], oldest first; a view, not to be written to."""
        return self._closes[: self._rows]

    @property
    def complete(self) -> bool:
        """Return whether every instrument has a price."""
        return all(price > 0.0 for price in self.last)

    def prices(self) -> list[Paise]:
        """Return last prices in paise (0 where there is none yet: such an instrument is never tradable)."""
        if self._prices is None:
            self._prices = [Paise(int(price * 100.0 + 0.5)) for price in self.last]
        return self._prices

    def tradable(self, previous_session: date, session: date) -> tuple[bool, ...]:
        """Return, per instrument, whether its last bar is from this session or the one before."""
        fresh = (session, previous_session)
        if not self.suspect:
            return tuple([seen in fresh for seen in self.last_session])
        return tuple(
            [
                seen in fresh and symbol not in self.suspect
                for symbol, seen in zip(self.symbols, self.last_session, strict=True)
            ]
        )

    def doubtful(self, batch: BarBatch, *, believed_after: int) -> tuple[str, ...]:
        """Return the symbols whose price has moved by more than half since the last one and is not believed yet.

        Such a move is a wrong bar far more often than news. It is news when `believed_after` bars, one after the other
        and close to each other, have said the same.
        """
        found: list[str] = []
        if batch.end_ns < self.last_end_ns:
            return ()  # it is late and changes no price, and may be on the basis of before a corporate action
        for symbol, close in zip(batch.symbols, batch.close, strict=True):
            i = self.index.get(symbol)
            if i is None or not (last := self.last[i]) or not _far(close, last):
                continue
            doubt = self.suspect.get(symbol)
            agreed = doubt is not None and doubt.count >= believed_after and doubt.agrees(close, batch.end_ns)
            if not agreed:
                found.append(symbol)
        return tuple(found)

    def refuse(self, symbols: tuple[str, ...], prices: tuple[float, ...], end_ns: int) -> None:
        """Count refused bars; with `prices` they are in doubt, until a bar of the symbol is taken."""
        for i, symbol in enumerate(symbols):
            if symbol not in self.index:
                continue
            doubt = self.suspect.get(symbol)
            if prices and doubt is not None and end_ns <= doubt.end_ns:
                continue  # the same bar again says nothing new
            self.refused[symbol] = self.refused.get(symbol, 0) + 1
            if prices:
                count = doubt.count + 1 if doubt is not None and doubt.agrees(prices[i], end_ns) else 1
                self.suspect[symbol] = Doubt(prices[i], end_ns, count)
                self._prices = None  # what was valued at the last prices is not known any more

    def believe(self, symbols: tuple[str, ...]) -> None:
        """Forget what was refused of these symbols: a bar of them was taken."""
        for symbol in symbols:
            self.refused.pop(symbol, None)
            self.suspect.pop(symbol, None)
        self._prices = None

    def load(self, message: HistoryLoaded) -> None:
        """Start from daily closes."""
        n = len(self.symbols)
        rows = np.array(message.closes, dtype=np.float64).reshape(-1, n)
        for row in rows:
            self._append(row)
        if not len(rows):
            return
        self.closed_to = message.sessions[-1]
        if message.end_ns >= self.last_end_ns:  # after a gap, today's bars may have come first: they stay
            self.last = rows[-1].tolist()
            self.last_session = [message.sessions[-1]] * n
            self.last_end_ns = message.end_ns
            self._prices = None

    def observe(self, batch: BarBatch) -> bool:
        """Take a batch of complete bars; an older batch than the last is ignored (late data never rewrites a price).

        Return whether it was taken.
        """
        if batch.end_ns < self.last_end_ns:
            return False
        self.last_end_ns = batch.end_ns
        self._prices = None
        if batch.session == self.closed_to and self._rows:
            self._amend(batch)
        if batch.symbols == self.symbols:
            self.last = list(batch.close)
            self.last_session = [batch.session] * len(self.symbols)
            return True
        for symbol, close in zip(batch.symbols, batch.close, strict=True):
            i = self.index.get(symbol)
            if i is not None:
                self.last[i] = close
                self.last_session[i] = batch.session
        return True

    def _amend(self, batch: BarBatch) -> None:
        """Take over closes that came after their session was summed up: the next decision must not rest on older prices."""
        self._closes = self._closes.copy()  # what was handed out stays as it was
        for symbol, close in zip(batch.symbols, batch.close, strict=True):
            i = self.index.get(symbol)
            if i is not None:
                self._closes[self._rows - 1, i] = close

    def apply_action(self, symbol: str, factor: float) -> None:
        """Put a symbol's prices on the basis after a split or a bonus issue: no return is made or lost by it."""
        i = self.index.get(symbol)
        if i is None:
            return
        # A copy: what was handed out as `closes` (to a strategy that still computes) stays as it was.
        self._closes = self._closes.copy()
        self._closes[: self._rows, i] /= factor
        self.last = list(self.last)
        self.last[i] /= factor
        self._prices = None

    def end_session(self, session: date) -> None:
        """Add the session's closing row, once every instrument has had a price; a session without any bar adds none."""
        if session > self.closed_to and session in self.last_session and self.complete:
            self._append(np.array(self.last))
            self.closed_to = session

    def _append(self, row: NDArray[np.float64]) -> None:
        if self._rows == len(self._closes):
            self._closes = np.concatenate([self._closes, np.empty_like(self._closes)])
        self._closes[self._rows] = row
        self._rows += 1


class VolumeCount:
    """How many bars of the session each instrument had, and how many of them without volume."""

    __slots__ = ("_batches", "_empty")

    def __init__(self) -> None:
        self._batches: dict[tuple[str, ...], int] = {}
        self._empty: dict[str, int] = {}

    def count(self, batch: BarBatch) -> None:
        """Count a batch; most batches have the same symbols and volume throughout, so that is all the work there is."""
        self._batches[batch.symbols] = self._batches.get(batch.symbols, 0) + 1
        if 0.0 in batch.volume:
            for symbol, volume in zip(batch.symbols, batch.volume, strict=True):
                if not volume:
                    self._empty[symbol] = self._empty.get(symbol, 0) + 1

    def shares(self) -> dict[str, tuple[int, int]]:
        """Return symbol -> (bars, bars without volume) for every instrument that had one without."""
        return {
            symbol: (sum(count for symbols, count in self._batches.items() if symbol in symbols), empty)
            for symbol, empty in self._empty.items()
        }
