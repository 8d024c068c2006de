"""The account's record, session by session, in rupees and in units: what it earned, whatever was paid in or taken out.

A unit is counted as a fund counts it: money paid in or out changes the number of units, not their value. So returns,
drawdown and Sharpe are time-weighted, and no deposit is a gain. Part of the state: a fold, it decides nothing.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from daemon.messages import CashMoved
from market.money import Paise
from risk.breakers.base import KnownReading, after_cash

_RETURNS: Final = 30


class UnitHistory:
    """Equity and unit values at the closes, the last daily returns, and the cash that was moved."""

    def __init__(self) -> None:
        self.opening: Paise | None = None
        # The last close (or the opening) with the cash that breakers have seen since: in proportion, and rupee by rupee.
        self.close_before: Paise | None = None
        self.close_before_rupees: Paise | None = None
        self.equity: list[tuple[date, Paise]] = []
        self.units: list[float] = []
        self.returns: list[float] = []
        self.losing_streak = 0  # sessions in a row, to the last one, that ended with a loss
        self.net_deposits: Paise = Paise(0)
        self.moves: list[CashMoved] = []
        self._factor = 1.0  # value of a unit / equity
        self.unread = Paise(0)  # paid in, and no breaker has seen it yet

    def start(self, opening: Paise) -> None:
        """Begin with an opening balance."""
        self.opening = self.close_before = self.close_before_rupees = opening

    def value_ratio(self, equity: Paise) -> float:
        """Return what a unit is worth now against its start: equity without deposits' help."""
        return equity * self._factor / (self.opening or equity)

    def move(self, message: CashMoved, equity: Paise | None) -> None:
        """Take in cash that was moved; `equity` is that of before (None: not known, the last close stands in)."""
        before = (self.close_before_rupees or 0) + self.unread if equity is None else equity
        self.moves.append(message)
        self.net_deposits = Paise(self.net_deposits + message.amount)
        if before > 0 and before + message.amount > 0:
            self._factor *= before / (before + message.amount)
        self.unread = Paise(self.unread + message.amount)

    def read(self, reading: KnownReading) -> None:
        """Note that the breakers have heard of the cash in this reading: with one known equity, once."""
        if self.close_before is not None and self.close_before_rupees is not None:
            self.close_before = after_cash(self.close_before, reading)
            self.close_before_rupees = Paise(self.close_before_rupees + reading.net_deposit)
        self.unread = Paise(self.unread - reading.net_deposit)

    def close(self, session: date, equity: Paise) -> None:
        """Add a session's close."""
        before = self.units[-1] if self.units else self.opening
        self.equity.append((session, equity))
        self.units.append(equity * self._factor)
        self.close_before = self.close_before_rupees = equity
        if before:
            earned = self.units[-1] / before - 1.0
            self.losing_streak = self.losing_streak + 1 if earned < 0.0 else 0
            self.returns.append(earned)
            del self.returns[:-_RETURNS]
