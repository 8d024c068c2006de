"""The simulated market: prices of a few instruments, day by day, as they trade, from a seed."""

from __future__ import annotations

from datetime import date
from typing import Final

from daemon.clock import NS, ist_ns
from daemon.messages import HistoryLoaded
from daemon.simulation.chance import Chance
from market.bar import BarBatch, Interval
from market.corporate_actions import ActionKind, ActionTable, CorporateAction

# When the day's bars end. Few: a simulated day is its events, not its minutes.
# One lies just behind the deadline of the sales, where a late cancel meets a fill.
BAR_TIMES: Final = ((9, 25), (9, 35), (9, 51), (11, 0), (13, 30), (15, 30))
_OPENING: Final = (250.0, 1650.0, 1180.0, 1790.0, 830.0)
_HISTORY: Final = 5
_VOLUME: Final = 400_000.0
_THIN: Final = 900.0


class Day:
    """One session as it will trade."""

    def __init__(self, session: date, opens: tuple[float, ...], bars: list[BarBatch]) -> None:
        self.session = session
        self.opens = opens
        self.bars = bars


class SimulatedMarket:
    """Makes each day when it is asked for, in order."""

    def __init__(
        self,
        symbols: tuple[str, ...],
        chance: Chance,
        before: list[date],
        times: tuple[tuple[int, int], ...] = BAR_TIMES,
    ) -> None:
        self.symbols = symbols
        self._times = times
        # However many bars a day has, its prices walk as far.
        self._step = 0.003 * (len(BAR_TIMES) / len(times)) ** 0.5
        self.actions: list[CorporateAction] = []
        self._chance = chance
        self._prices = list(_OPENING[: len(symbols)])
        # Closes as traded.
        self.closes: list[tuple[date, tuple[float, ...]]] = []
        for session in before[-_HISTORY:]:
            self._walk(0.01)
            self.closes.append((session, tuple(self._prices)))

    def _walk(self, size: float, drift: float = 0.0) -> None:
        for i, price in enumerate(self._prices):
            # Three draws are near enough to a bell curve.
            noise = sum(self._chance.roll("price") for _ in range(3)) - 1.5
            self._prices[i] = max(5.0, round(price * (1.0 + drift + 2.0 * size * noise) * 20.0) / 20.0)

    def make_day(self, session: date) -> Day:
        """Return the session's bars; what happens overnight happens now."""
        chance = self._chance
        if chance.strikes("corporate_action"):
            self._split(session)
        self._walk(0.004)
        opens = tuple(self._prices)
        falls = chance.strikes("crash")
        volume = _THIN if chance.strikes("thin_market") else _VOLUME
        bars = []
        fallen = False
        for hour, minute in self._times:
            opened = tuple(self._prices)
            # A fall of a tenth in the middle of the day, which no single bar calls beyond belief.
            falling = falls and hour == 11 and not fallen
            self._walk(self._step, drift=-0.11 if falling else 0.0)
            fallen = fallen or falling
            closed = tuple(self._prices)
            end_ns = ist_ns(session, hour=hour, minute=minute)
            bars.append(
                BarBatch(
                    session=session,
                    interval=Interval.FIVE_MINUTES,
                    start_ns=end_ns - 300 * NS,
                    end_ns=end_ns,
                    symbols=self.symbols,
                    open=opened,
                    high=tuple([max(pair) * 1.001 for pair in zip(opened, closed, strict=True)]),
                    low=tuple([min(pair) * 0.999 for pair in zip(opened, closed, strict=True)]),
                    close=closed,
                    volume=(volume,) * len(self.symbols),
                )
            )
        return Day(session, opens, bars)

    def end_day(self, session: date) -> None:
        """The day's last prices are its closes."""
        self.closes.append((session, tuple(self._prices)))

    def _split(self, session: date) -> None:
        i = int(self._chance.roll("which share") * len(self.symbols))
        numerator, denominator = self._chance.pick(((2, 1), (5, 1), (3, 2)), "ratio")
        kind = ActionKind.BONUS if numerator < 5 else ActionKind.SPLIT
        self.actions.append(CorporateAction(session, self.symbols[i], kind, numerator, denominator))
        self._prices[i] = round(self._prices[i] * denominator / numerator * 20.0) / 20.0

    def table(self) -> ActionTable:
        """Return the corporate actions that are known by now."""
        return ActionTable(self.actions)

    def history(self, before: date) -> HistoryLoaded | None:
        """Return the closes of the last sessions before a day, on the basis of the last of them."""
        rows = [(session, closes) for session, closes in self.closes if session < before][-_HISTORY:]
        if not rows:
            return None
        last = rows[-1][0]
        return HistoryLoaded(
            sha256="simulated",
            end_ns=ist_ns(last, hour=15, minute=30),
            sessions=tuple([session for session, _ in rows]),
            closes=tuple([price for session, closes in rows for price in self.on_basis(session, closes, last)]),
        )

    def on_basis(self, session: date, closes: tuple[float, ...], basis: date) -> list[float]:
        """Return closes of a session as they would be on the basis of a later one."""
        result = list(closes)
        for action in self.actions:
            if session < action.ex_date <= basis:
                i = self.symbols.index(action.symbol)
                result[i] /= float(action.factor)
        return result
