"""The paper broker's own durable state: it survives the daemon's death, as a real broker does.

One SQLite file (WAL, synchronous FULL) with one row: the state as JSON. It is written before any report leaves, so that
what the daemon was told is on disk, and what is on disk may be more than the daemon was told.
"""

from __future__ import annotations

import sqlite3
from datetime import date
from pathlib import Path
from typing import Final

import msgspec

from brokers.account import AccountState
from brokers.paper_market import PaperMarket
from brokers.port import Trade
from market.corporate_actions import CorporateAction
from market.errors import OperatorError
from market.money import Paise
from risk.approval import Side

VERSION: Final = 1
# Marks the file as ours ("TzPB"), so that a foreign database is refused instead of overwritten.
_APPLICATION_ID: Final = 0x547A5042


class PaperOrder(msgspec.Struct, gc=False):
    """An order as the paper broker keeps it. `blocked` is the cash that an open purchase holds, in paise."""

    tag: str
    broker_order_id: str
    symbol: str
    side: Side
    quantity: int
    limit: Paise
    at_ns: int
    filled: int = 0
    status: str = "open"  # open, complete, cancelled, expired, rejected
    blocked: int = 0
    detail: str = ""

    @property
    def key(self) -> str:
        """Return what the book finds it by: our tag, or the broker's id for an order that its owner gave by hand."""
        return self.tag or self.broker_order_id


class PaperState(msgspec.Struct):
    """Everything the paper broker is between two messages."""

    version: int
    account: AccountState
    session: date | None
    is_open: bool
    orders: list[PaperOrder]
    trades: list[Trade]
    order_count: int
    trade_count: int
    market: PaperMarket
    silenced: list[str]
    # What was applied, so that nothing is applied twice: corporate actions, and the last movement of cash.
    actions: list[CorporateAction] = []  # msgspec copies an empty list default
    cash_sequence: int = 0
    last_end_ns: int = 0


class PaperStore:
    """One file. Raises OperatorError when it cannot be read or written: a person must look at it."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, isolation_level=None, timeout=5.0)
        except (OSError, sqlite3.Error) as error:
            raise OperatorError(f"paper broker: {self.path}: {error}") from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._db.close()
            raise OperatorError(f"paper broker: {self.path}: {error}") from error
        except OperatorError:
            self._db.close()
            raise

    def _prepare(self) -> None:
        (found,) = self._db.execute("PRAGMA application_id").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if found != _APPLICATION_ID and tables:
            raise OperatorError(f"paper broker: {self.path} is another program's database")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        if not tables:
            self._db.execute(f"PRAGMA application_id={_APPLICATION_ID}")
            self._db.execute("CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL) STRICT")

    def load(self) -> PaperState | None:
        """Return the saved state, None for a new file."""
        try:
            row = self._db.execute("SELECT body FROM state WHERE id = 1").fetchone()
            if row is None:
                return None
            state = msgspec.json.decode(row[0], type=PaperState)
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise OperatorError(f"paper broker: {self.path}: {error}") from error
        if state.version != VERSION:
            raise OperatorError(f"paper broker: {self.path} has version {state.version}, allowed: {VERSION}")
        return state

    def save(self, state: PaperState) -> None:
        """Write the state; on return it is on disk."""
        try:
            self._db.execute("INSERT OR REPLACE INTO state (id, body) VALUES (1, ?)", (msgspec.json.encode(state),))
        except sqlite3.Error as error:
            raise OperatorError(f"paper broker: {self.path}: {error}") from error

    def close(self) -> None:
        """Close the file; what was saved stays."""
        self._db.close()
