"""What the paper broker knows of the market, and at what price and size it lets an order trade.

The model is stated in docs/decisions/0003-paper-fill-model.md. Market data come in rupees (floats), prices of trades
are paise. Nothing here knows orders' lives, money or reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from math import isnan

import msgspec

from brokers.sizing import slipped_price
from market.bar import BarBatch, Interval
from market.errors import BadInput
from market.money import Paise, rupees
from risk.approval import Side


@dataclass(frozen=True, slots=True)
class FillModel:
    """How the paper market treats orders.

    `slippage_bps` worsens every price; `participation` is the share of a bar's volume that our fills may be; `band` is
    the price band as a fraction of the previous close; `latency_seconds` delays reports, not fills. The rest is for
    tests of unknown outcomes: by tag, or for a fraction of orders chosen by the hash of `seed` and tag, the answer is
    lost while the order lives (`lost_answer...`), or the request never arrives (`lost_request...`).
    """

    slippage_bps: float = 0.0
    participation: float = 0.10
    band: float = 0.20
    latency_seconds: float = 0.0
    lost_answer_tags: frozenset[str] = frozenset()
    lost_answer_fraction: float = 0.0
    lost_request_tags: frozenset[str] = frozenset()
    lost_request_fraction: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {"slippage_bps": 10_000.0, "participation": 1.0, "band": 1.0, "latency_seconds": 3_600.0}
        limits |= {"lost_answer_fraction": 1.0, "lost_request_fraction": 1.0}
        for key, most in limits.items():
            value = getattr(self, key)
            if not 0.0 <= value <= most:
                raise BadInput(f"fill model: {key} is {value}, allowed: 0 to {most:g}")

    def loses(self, tag: str) -> str:
        """Return what is lost of this order: "", "answer" or "request". The same for the same tag and seed."""
        if tag in self.lost_answer_tags:
            return "answer"
        if tag in self.lost_request_tags:
            return "request"
        if not self.lost_answer_fraction and not self.lost_request_fraction:
            return ""
        digest = blake2b(f"{self.seed}|{tag}".encode(), digest_size=8).digest()
        chance = int.from_bytes(digest) / 2**64
        if chance < self.lost_answer_fraction:
            return "answer"
        return "request" if chance < self.lost_answer_fraction + self.lost_request_fraction else ""

    def open_price(self, side: Side, limit: Paise, opened: Paise) -> Paise | None:
        """Return what an order trades at when the market opens at `opened`; None when its limit does not allow it."""
        if opened > limit if side is Side.BUY else opened < limit:
            return None
        if not self.slippage_bps:
            return opened
        price = slipped_price(side, opened, slippage_bps=self.slippage_bps)
        return min(price, limit) if side is Side.BUY else max(price, limit)

    def bar_price(self, side: Side, limit: Paise, *, opened: Paise, high: Paise, low: Paise) -> Paise | None:
        """Return what a resting order trades at in a bar; None when the range does not reach its limit.

        The open when that is better than the limit, else the limit; worsened by slippage, never beyond the limit or
        outside the range.
        """
        if side is Side.BUY:
            if low > limit:
                return None
            price = slipped_price(side, min(limit, opened), slippage_bps=self.slippage_bps)
            return max(low, min(price, limit, high))
        if high < limit:
            return None
        price = slipped_price(side, max(limit, opened), slippage_bps=self.slippage_bps)
        return min(high, max(price, limit, low))


class PaperMarket(msgspec.Struct):
    """Prices in rupees and volumes in shares, by symbol. `opens` lives from the opening print to the first bar."""

    last: dict[str, float] = {}  # msgspec copies an empty dict default
    previous_close: dict[str, float] = {}
    volume: dict[str, float] = {}
    previous_volume: dict[str, float] = {}
    opens: dict[str, float] = {}
    filled_at_open: dict[str, int] = {}

    def start_session(self) -> None:
        """Turn what was last seen into the previous session's close and volume."""
        self.previous_close.update(self.last)
        self.previous_volume.update(self.volume)
        self.volume.clear()
        self.opens.clear()
        self.filled_at_open.clear()

    def apply_action(self, symbol: str, factor: float) -> None:
        """Put what was seen of a symbol before its ex date on the new basis: more shares, each worth less."""
        for prices in (self.last, self.previous_close):
            if symbol in prices:
                prices[symbol] /= factor
        for volumes in (self.volume, self.previous_volume):
            if symbol in volumes:
                volumes[symbol] *= factor

    def print_open(self, prices: Mapping[str, float]) -> None:
        """Take the opening prices; a price that is missing, zero or not a number is no print."""
        self.opens = {symbol: price for symbol, price in prices.items() if price > 0}

    def room_at_open(self, symbol: str, participation: float) -> int | None:
        """Return how many shares may still trade at the open; None when no earlier volume is known (no cap)."""
        volume = self.previous_volume.get(symbol)
        if volume is None:
            return None
        return max(0, int(volume * participation) - self.filled_at_open.get(symbol, 0))

    def remember(self, batch: BarBatch) -> None:
        """Take closes and volumes of complete bars; the opening print is over."""
        if self.opens:
            self.opens = {}
        if isnan(sum(batch.close)):
            pairs = zip(batch.symbols, batch.close, strict=True)
            self.last.update({symbol: price for symbol, price in pairs if price == price})
        else:
            self.last.update(zip(batch.symbols, batch.close, strict=True))
        volume = self.volume
        if batch.interval is Interval.DAY:
            volume.update(zip(batch.symbols, batch.volume, strict=True))
        else:
            for symbol, traded in zip(batch.symbols, batch.volume, strict=True):
                volume[symbol] = volume.get(symbol, 0.0) + traded


class BarMatch:
    """One batch of bars while resting orders are matched against it: prices by the model, volume shared in turn."""

    __slots__ = ("_batch", "_index", "_market", "_model", "_room")

    def __init__(self, batch: BarBatch, model: FillModel, market: PaperMarket) -> None:
        self._batch = batch
        self._model = model
        self._market = market
        self._index = {symbol: i for i, symbol in enumerate(batch.symbols)}
        self._room: dict[str, int] = {}

    def quote(self, symbol: str, side: Side, limit: Paise, *, since_ns: int) -> tuple[int, Paise] | None:
        """Return how many shares an order that came at `since_ns` may trade in this bar, and at what price.

        A bar that ended before the order came cannot fill it. An intraday bar that began before it fills it at the
        close or not at all, since its range may be older than the order.
        """
        batch = self._batch
        i = self._index.get(symbol)
        if i is None or since_ns >= batch.end_ns or batch.close[i] != batch.close[i]:
            return None
        daily = batch.interval is Interval.DAY
        if daily or since_ns <= batch.start_ns:
            opened, high, low = rupees(batch.open[i]), rupees(batch.high[i]), rupees(batch.low[i])
        else:
            opened = high = low = rupees(batch.close[i])
        price = self._model.bar_price(side, limit, opened=opened, high=high, low=low)
        if price is None:
            return None
        room = self._room.get(symbol)
        if room is None:
            spent = self._market.filled_at_open.get(symbol, 0) if daily else 0
            room = self._room[symbol] = max(0, int(batch.volume[i] * self._model.participation) - spent)
        return (room, price) if room else None

    def take(self, symbol: str, quantity: int) -> None:
        """Count shares that traded against the bar's volume."""
        self._room[symbol] -= quantity
