"""What a process drives on the paper broker's side: a real broker has a market, a depository and a bank of its own."""

from __future__ import annotations

from datetime import date
from typing import Protocol

from brokers.account import Correction
from market.bar import BarBatch
from market.corporate_actions import CorporateAction
from market.money import Paise


class PaperSide(Protocol):
    """What the paper broker must be told. `brokers.paper.PaperBroker` is one; `NoPaperSide` is for all others."""

    def on_bars(self, batch: BarBatch) -> None:
        """Match against complete bars."""
        ...

    def start_session(self, session: date, *, elapsed: int = 1) -> None:
        """Open the market of a session."""
        ...

    def end_session(self) -> None:
        """Close the market."""
        ...

    def apply_action(self, action: CorporateAction) -> Correction | None:
        """Credit the shares of a split or a bonus issue."""
        ...

    def move_cash(self, *, amount: Paise, sequence: int, cause: str) -> None:
        """Pay cash in or out."""
        ...


class NoPaperSide:
    """The side of a broker that needs no telling."""

    def on_bars(self, batch: BarBatch) -> None:
        """Its market has its own prices."""

    def start_session(self, session: date, *, elapsed: int = 1) -> None:
        """Its market opens by itself."""

    def end_session(self) -> None:
        """Its market closes by itself."""

    def apply_action(self, action: CorporateAction) -> Correction | None:
        """Its depository credits shares by itself."""
        return None

    def move_cash(self, *, amount: Paise, sequence: int, cause: str) -> None:
        """Its bank moves cash by itself."""
