"""From approved weights to whole shares, without crossing a limit that the weights kept.

Rounding goes towards what is held, so that it trades less and not more; then the limits are seen to, in the order of
the projection's layers. Judged at the book's prices and the given equity, to 1e-9 of equity:

* **untradable** instruments keep exactly what they have;
* **max weight** is a bound on the grid of shares, floor(max * equity / price): it always holds;
* **budget** always holds (beside pinned holdings that alone are above it). What rounding put above it is given back from
  purchases above their minimum; then shares are sold above their minimum as far as turnover goes; then the minimum
  gives way, and turnover last;
* **turnover** holds whenever giving back purchases, and sales that neither max weight nor budget forces, is enough.
  Beyond it go only forced sales, with nothing bought, each by less than a share;
* **min weight** is a bound on the grid too, ceil(min * equity / price), for each instrument whose weight keeps the minimum;
  one that the projection left below it keeps its weight, rounded up likewise. It gives way only to the limits above.

`relaxed` says what whole shares made impossible, with the bound that was used: the half-turnover traded, the lowest
weight reached. It is certain that one share more of such a position, or one share less of such a sale, breaks a limit
that outranks it. That no other book would do is certain only for up to `_SEARCHED` instruments, where every combination of
the two whole numbers around each weight is tried before anything is relaxed. Above that the repairs are greedy: of 104,368
random books of 11 to 79 instruments 44,341 had something relaxed, and an integer programme over the same neighbours found
none of it needless. Books further from the weights are not searched: of 418 books of three instruments with few, dear
shares that were relaxed, two could have kept everything in a book outside that box.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from risk.bounds import MIN_WEIGHT, TURNOVER, Bounds

# A weight times equity over price that is an integer up to this many shares is that integer.
_WHOLE: Final = 1e-7
# Limits are compared with this slack, as a fraction of equity, for the rounding of floats only (as order checks do).
_ROUNDING: Final = 1e-9
# Up to this many instruments all neighbouring books are searched before a limit is relaxed.
_SEARCHED: Final = 10
# Above this many instruments numpy is faster than plain Python.
_SMALL: Final = 48


class WholeShares(msgspec.Struct, frozen=True, gc=False):
    """Quantities [n], and limit -> the bound that was used, for what whole shares made impossible."""

    quantities: tuple[int, ...]
    relaxed: dict[str, float] = {}


def whole_shares(
    weights: Sequence[float], held: Sequence[int], prices: Sequence[int], equity: float, bounds: Bounds
) -> WholeShares:
    """Return whole-share quantities for projected `weights` [n]; prices and equity in paise.

    `bounds` are those of the projection. An instrument without a price is not traded.
    """
    book = _Rounded(weights, held, prices, equity, bounds)
    if book.gross <= book.budget and book.traded <= book.turnover and not book.short:
        return WholeShares(tuple(book.shares))
    book.keep_budget()
    book.keep_turnover()
    if not book.short:
        return WholeShares(tuple(book.shares))
    book.lift()
    relaxed = book.relaxed()
    if relaxed and len(held) <= _SEARCHED:
        # A book that keeps everything; or else, when turnover is broken, one that gives up the minimum alone.
        if book.search(minimum=True):
            relaxed = {}
        elif TURNOVER in relaxed and book.search(minimum=False):
            book.lift()
            relaxed = book.relaxed()
    return WholeShares(tuple(book.shares), relaxed)


class _Rounded:
    """A book on the grid of shares while its limits are seen to; amounts in paise, limits with their slack.

    `short`: a position may be below its minimum, or turnover above its limit.
    """

    __slots__ = (
        "_equity", "_exact", "_held", "_kept", "_least", "_most", "_prices", "_tradable",
        "budget", "gross", "shares", "short", "traded", "turnover",
    )  # fmt: skip

    def __init__(
        self, weights: Sequence[float], held: Sequence[int], prices: Sequence[int], equity: float, bounds: Bounds
    ) -> None:
        slack = _ROUNDING * equity
        self._held, self._prices, self._equity, self._tradable = held, prices, equity, bounds.tradable
        self.turnover = 2.0 * bounds.turnover * equity + slack
        if len(held) > _SMALL:
            fixed = self._round_many(weights, bounds)
        else:
            fixed = self._round_few(weights, bounds)
        self.budget = max(bounds.budget * equity, fixed) + slack

    def _round_few(self, weights: Sequence[float], bounds: Bounds) -> int:
        """Round towards what is held and then into the grid's bounds; return the value of what is pinned."""
        equity, tradable = self._equity, bounds.tradable
        slack = _ROUNDING * equity
        cap, minimum = bounds.max_weight * equity + slack, bounds.min_weight * equity
        shares: list[int] = []
        least: list[int] = []
        most: list[int] = []
        exact: list[float] = []
        kept: list[float] = []
        gross = traded = fixed = 0
        short = False
        for i, (weight, have, price) in enumerate(zip(weights, self._held, self._prices, strict=True)):
            if price <= 0 or (tradable is not None and not tradable[i]):
                shares.append(have)
                least.append(have)
                most.append(have)
                exact.append(have)
                kept.append(0.0)
                fixed += have * price
                continue
            value = weight * equity
            wanted = value / price
            count = int(wanted + _WHOLE) if wanted >= have else -int((_WHOLE - wanted) // 1)
            # What the weight keeps of the minimum must be kept by the shares.
            floor = (value if value < minimum else minimum) - slack
            bottom, top = -int(-floor // price), int(cap // price)
            if bottom < 0:
                bottom = 0
            if bottom > top:
                bottom, short = top, True
            if count < bottom:
                count = bottom
            elif count > top:
                count = top
            shares.append(count)
            least.append(bottom)
            most.append(top)
            exact.append(wanted)
            kept.append(floor)
            gross += count * price
            traded += (count - have if count > have else have - count) * price
        self.shares, self._least, self._most, self._exact, self._kept = shares, least, most, exact, kept
        self.gross, self.traded, self.short = gross + fixed, traded, short
        return fixed

    def _round_many(self, weights: Sequence[float], bounds: Bounds) -> int:
        """The same with numpy."""
        n, equity = len(self._held), self._equity
        slack = _ROUNDING * equity
        have, price = np.fromiter(self._held, np.int64, n), np.fromiter(self._prices, np.int64, n)
        value = np.fromiter(weights, np.float64, n) * equity
        free = price > 0
        if bounds.tradable is not None:
            free &= np.fromiter(bounds.tradable, np.bool_, n)
        divisor = np.maximum(price, 1)
        wanted = value / divisor
        count = np.where(wanted >= have, np.floor(wanted + _WHOLE), np.ceil(wanted - _WHOLE)).astype(np.int64)
        kept = np.minimum(value, bounds.min_weight * equity) - slack
        least = np.maximum(np.ceil(kept / divisor), 0.0).astype(np.int64)
        most = ((bounds.max_weight * equity + slack) // divisor).astype(np.int64)
        self.short = bool(((least > most) & free).any())
        np.minimum(least, most, out=least)
        np.minimum(np.maximum(count, least, out=count), most, out=count)
        fixed = 0
        if not free.all():
            pinned = ~free
            count[pinned] = least[pinned] = most[pinned] = have[pinned]
            kept[pinned] = 0.0
            wanted[pinned] = have[pinned]
            fixed = int(have[pinned] @ price[pinned])
        self.gross, self.traded = int(count @ price), int(np.abs(count - have) @ price)
        self.shares, self._least, self._most = count.tolist(), least.tolist(), most.tolist()
        self._exact, self._kept = wanted.tolist(), kept.tolist()
        return fixed

    def keep_budget(self) -> None:
        """Bring the book within the budget: what outranks neither the minimum nor turnover gives way first."""
        if self.gross <= self.budget:
            return
        for floors in self._floors():
            self._give_back(floors, self.gross - self.budget)
            self._sell(floors, within_turnover=True)
            if self.gross <= self.budget:
                return
        self._sell(floors, within_turnover=False)

    def keep_turnover(self) -> None:
        """Bring the book within the turnover limit, or down to forced sales and nothing bought."""
        if self.traded <= self.turnover:
            return
        for floors in self._floors():
            self._give_back(floors, self.traded - self.turnover)
            self._undo_sales()
            if self.traded <= self.turnover:
                return

    def _floors(self) -> Iterator[list[int]]:
        """Yield what repairs must leave, from first to last resort: the minimum, a share below it, what is pinned.

        Many positions a share below the minimum are better than one far below.
        """
        yield self._least
        self.short = True
        yield [min(least, int(exact)) for least, exact in zip(self._least, self._exact, strict=True)]
        tradable = self._tradable
        yield [
            0 if price > 0 and (tradable is None or tradable[i]) else self._held[i]
            for i, price in enumerate(self._prices)
        ]

    def lift(self) -> None:
        """Bring positions below their minimum back to it, as far as the limits above it allow."""
        shares, held, prices = self.shares, self._held, self._prices
        for i, bottom in enumerate(self._least):
            lack = bottom - shares[i]
            if lack <= 0:
                continue
            price = prices[i]
            lack = min(lack, int((self.budget - self.gross) // price))
            unsold = min(lack, max(0, held[i] - shares[i]))
            self.traded -= unsold * price
            bought = min(lack - unsold, max(0, int((self.turnover - self.traded) // price)))
            self.traded += bought * price
            self.gross += (unsold + bought) * price
            shares[i] += unsold + bought

    def relaxed(self) -> dict[str, float]:
        """Return what the book does not keep, and how far it is kept."""
        found: dict[str, float] = {}
        if self.traded > self.turnover:
            found[TURNOVER] = 0.5 * self.traded / self._equity
        lowest = min(
            [s * p for s, p, kept in zip(self.shares, self._prices, self._kept, strict=True) if s * p < kept],
            default=None,
        )
        if lowest is not None:
            found[MIN_WEIGHT] = lowest / self._equity
        return found

    def _give_back(self, floors: list[int], need: float) -> None:
        """Take `need` off purchases, none below its floor or what is held."""
        if need <= 0.0:
            return
        shares, prices = self.shares, self._prices
        spare: list[tuple[int, int]] = []
        for i, (count, have, floor) in enumerate(zip(shares, self._held, floors, strict=True)):
            bottom = have if have > floor else floor
            if count > bottom:
                spare.append(((count - bottom) * prices[i], i))
        spare.sort()
        # The largest altogether while one is not enough; then the one whose shares come closest.
        while spare and spare[-1][0] < need:
            value, i = spare.pop()
            self._unbuy(i, value // prices[i])
            need -= value
        enough = [(-int(-need // prices[i]) * prices[i], i) for value, i in spare if value >= need]
        if enough and need > 0.0:
            value, i = min(enough)
            self._unbuy(i, value // prices[i])

    def _unbuy(self, i: int, count: int) -> None:
        value = count * self._prices[i]
        self.shares[i] -= count
        self.gross -= value
        self.traded -= value

    def _sell(self, floors: list[int], *, within_turnover: bool) -> None:
        """Sell what is above the budget: first the shares that rounding kept, one each, then any above the floors."""
        shares, held, prices = self.shares, self._held, self._prices
        if self.gross <= self.budget:
            return
        kept = [
            (prices[i], i) for i, count in enumerate(shares) if floors[i] < count <= held[i] and count > self._exact[i]
        ]
        kept.sort()
        while kept and self.gross > self.budget:
            # The cheapest single share that is enough, or else the dearest.
            at = bisect_left(kept, (self.gross - self.budget, -1))
            price, i = kept.pop(min(at, len(kept) - 1))
            if not within_turnover or self.traded + price <= self.turnover:
                self._take(i, 1, price)
        spare = [((count - floors[i]) * prices[i], i) for i, count in enumerate(shares) if floors[i] < count <= held[i]]
        spare.sort(reverse=True)
        for _, i in spare:
            need = self.gross - self.budget
            if need <= 0.0:
                return
            price = prices[i]
            count = min(shares[i] - floors[i], -int(-need // price))
            if within_turnover:
                count = min(count, max(0, int((self.turnover - self.traded) // price)))
            self._take(i, count, price)

    def _undo_sales(self) -> None:
        """Sell less while turnover is above its limit, where neither max weight nor budget forces the sale."""
        shares, held, prices, most = self.shares, self._held, self._prices, self._most
        if self.traded <= self.turnover:
            return
        sold = [(prices[i], i) for i, count in enumerate(shares) if count < held[i] and count < most[i]]
        sold.sort(reverse=True)
        for price, i in sold:
            excess = self.traded - self.turnover
            if excess <= 0.0:
                return
            room = int((self.budget - self.gross) // price)
            count = min(held[i] - shares[i], most[i] - shares[i], max(room, 0), -int(-excess // price))
            shares[i] += count
            self.gross += count * price
            self.traded -= count * price

    def _take(self, i: int, count: int, price: int) -> None:
        self.shares[i] -= count
        self.gross -= count * price
        self.traded += count * price

    def search(self, *, minimum: bool) -> bool:
        """Take the first book between the neighbours of the weights that keeps all limits; whether there is one."""
        choices: list[list[int]] = []
        for exact, most, price, kept in zip(self._exact, self._most, self._prices, self._kept, strict=True):
            below = int(exact)
            near = (below, below + 1) if exact - below < 0.5 else (below + 1, below)
            choices.append([count for count in near if count <= most and not (minimum and count * price < kept)])
        if not all(choices):
            return False
        n = len(choices)
        held, prices = self._held, self._prices
        # The least that instruments i and later can add, to leave a branch as soon as it cannot fit.
        rest_gross, rest_traded = [0] * (n + 1), [0] * (n + 1)
        for i in reversed(range(n)):
            rest_gross[i] = rest_gross[i + 1] + min(choices[i]) * prices[i]
            rest_traded[i] = rest_traded[i + 1] + min(abs(count - held[i]) for count in choices[i]) * prices[i]
        found: list[int] = []

        def fits(i: int, gross: int, traded: int) -> bool:
            if gross + rest_gross[i] > self.budget or traded + rest_traded[i] > self.turnover:
                return False
            if i == n:
                self.gross, self.traded = gross, traded
                return True
            for count in choices[i]:
                found.append(count)
                if fits(i + 1, gross + count * prices[i], traded + abs(count - held[i]) * prices[i]):
                    return True
                found.pop()
            return False

        if not fits(0, 0, 0):
            return False
        self.shares = found
        return True
