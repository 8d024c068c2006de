"""The journal: every message in order, hash-chained, in one SQLite file. It is the truth; state is a fold of it.

Each record's hash covers the hash before it, so a missing, edited or reordered record shows. A record of an edge is
appended before it is handled. What moves money or permissions waits for `durable_seq` to pass it before its effect runs.

Two ways to write, one format:

* `durable=True` (paper, live): a writer thread commits with `synchronous=FULL`, taking whatever has gathered as one
  transaction (group commit). The loop never waits for the disk; the bus holds effects back instead.
* `durable=False` (replay, simulation): the loop's own thread commits every few thousand records. A replay can be run
  again, so nothing waits for the disk; records, order and hashes are the same.

A write that fails is final for this process: no retry on the same handle, because pages may be gone although the next
call succeeds. The bus then stops handling messages and the daemon stays up only to say so.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from daemon.clock import stopwatch
from daemon.messages import TYPES
from market.errors import OperatorError

APPLICATION_ID: Final = 0x7A7A_0001
SCHEMA_VERSION: Final = 1
GENESIS: Final = bytes(32)
_GROUP: Final = 4096
_REPLAY_PAGE: Final = 16_384
# More than this many records waiting for the disk means that the disk has stopped; trading halts, nothing is dropped.
_BACKLOG_LIMIT: Final = 100_000

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS record (
    seq INTEGER PRIMARY KEY,
    cause INTEGER NOT NULL,
    at_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    hash BLOB NOT NULL
) STRICT;
"""
_SELECT: Final = "SELECT seq, cause, at_ns, kind, body, hash FROM record ORDER BY seq"
_INSERT: Final = "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?)"
_ENCODER: Final = msgspec.json.Encoder()
_NAMES: Final = {kind: (name, name.encode()) for name, kind in TYPES.items()}
_DECODERS: Final = {name: msgspec.json.Decoder(kind) for name, kind in TYPES.items()}


Row = tuple[int, int, int, str, str, bytearray]


class Record(NamedTuple):
    """One journal entry. `cause` is the sequence number of the record that led to it, 0 for none."""

    seq: int
    cause: int
    at_ns: int
    kind: str
    message: Any


class JournalBroken(OperatorError):
    """The chain does not hold: a record is missing, edited or torn in the middle."""


def _link(previous: bytes, seq: int, cause: int, at_ns: int, kind: bytes, body: bytes) -> bytes:
    """Return the hash of a record: the chain's one formula."""
    return sha256(b"%b%d|%d|%d|%b|%b" % (previous, seq, cause, at_ns, kind, body)).digest()


def verified(rows: Iterable[Row], path: Path | str) -> Iterator[tuple[Record, bytes]]:
    """Yield each record with its hash, in order. Raises JournalBroken where the chain does not hold."""
    head = GENESIS
    for expected, (seq, cause, at_ns, kind, text, digest) in enumerate(rows, 1):
        if seq != expected:
            raise JournalBroken(f"journal {path}: record {expected} is missing")
        body = text.encode()
        head = _link(head, seq, cause, at_ns, kind.encode(), body)
        if head != digest:
            raise JournalBroken(f"journal {path}: record {seq} ({kind}) does not match its hash")
        yield Record(seq, cause, at_ns, kind, _DECODERS[kind].decode(body)), head


def _connect(path: Path | str, *, durable: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    if not durable:
        # Thousands of records a transaction: fewer, larger pages. (A durable commit writes whole pages for few records.)
        connection.execute(f"PRAGMA page_size={_REPLAY_PAGE}")
    connection.execute("PRAGMA journal_mode=WAL" if durable or path != ":memory:" else "PRAGMA journal_mode=MEMORY")
    connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
    found = connection.execute("PRAGMA application_id").fetchone()[0]
    if found not in (0, APPLICATION_ID):
        raise OperatorError(f"journal {path}: not a Tarazu journal (application id {found:#x})")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise OperatorError(f"journal {path}: schema {version} is newer than this program's {SCHEMA_VERSION}")
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.executescript(_SCHEMA)
    return connection


class Chain:
    """Append-only, hash-chained record of messages, before it says where they are kept. One writer: the dispatch."""

    def __init__(self, path: Path | str, *, durable: bool) -> None:
        self.path = path
        self.durable = durable
        self.seq = 0
        self.head = GENESIS
        self.durable_seq = 0
        self.failure: str | None = None
        self.last_commit_seconds = 0.0
        # A deque: the loop appends at one end while the writer takes from the other.
        self._pending: deque[Row] = deque()

    def _rows(self) -> Iterable[Row]:
        """Return what is kept, in order."""
        raise NotImplementedError

    def start(self, notify: Callable[[], None]) -> None:
        """Start to write; `notify` is called whenever `durable_seq` or `failure` has changed."""
        raise NotImplementedError

    def request_commit(self) -> None:
        """Wake the writer: something waits for what was appended."""
        raise NotImplementedError

    def flush(self) -> None:
        """Keep what is pending, now."""
        raise NotImplementedError

    def close(self) -> None:
        """Keep what is pending, and end."""
        raise NotImplementedError

    def read(self) -> Iterator[Record]:
        """Yield every record in order, verifying the chain; afterwards new records continue it."""
        seq, head = 0, GENESIS
        for record, digest in verified(self._rows(), self.path):
            seq, head = record.seq, digest
            yield record
        self.seq = self.durable_seq = seq
        self.head = head

    def append(self, message: msgspec.Struct, *, cause: int, at_ns: int) -> int:
        """Append one message and return its sequence number. Raises OperatorError after a failed write."""
        if self.failure is not None:
            raise OperatorError(f"journal: {self.failure}")
        kind, kind_bytes = _NAMES[type(message)]
        body = _ENCODER.encode(message)
        seq = self.seq = self.seq + 1
        head = self.head = _link(self.head, seq, cause, at_ns, kind_bytes, body)
        # The two types that sqlite3 binds as they are: bytes would be looked up in its table of adapters, each time.
        self._pending.append((seq, cause, at_ns, kind, body.decode(), bytearray(head)))
        if not self.durable:
            self.durable_seq = seq
            if len(self._pending) >= _GROUP:
                self.flush()
        elif len(self._pending) > _BACKLOG_LIMIT:
            self.failure = "the disk does not keep up; nothing was dropped, trading stops"
            raise OperatorError(f"journal: {self.failure}")
        return seq

    def _take(self) -> list[Row]:
        pending = self._pending
        return [pending.popleft() for _ in range(len(pending))]


class Journal(Chain):
    """The journal in one SQLite file."""

    def __init__(self, path: Path | str, *, durable: bool) -> None:
        super().__init__(path, durable=durable)
        try:
            self._connection = _connect(path, durable=durable)
        except sqlite3.Error as error:
            raise OperatorError(f"journal {path}: cannot be opened: {error}") from error
        self._closing = False
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._notify: Callable[[], None] = lambda: None

    def _rows(self) -> Iterable[Row]:
        return self._connection.execute(_SELECT)

    def start(self, notify: Callable[[], None]) -> None:
        """Start the writer thread; `notify` is called from it whenever `durable_seq` or `failure` has changed."""
        self._notify = notify
        if self.durable:
            self._thread = threading.Thread(target=self._write_loop, name="journal", daemon=True)
            self._thread.start()

    def request_commit(self) -> None:
        """Wake the writer: something waits for what was appended."""
        if self.durable:
            with self._wake:
                self._wake.notify()

    def flush(self) -> None:
        """Commit what is pending in this thread (replay)."""
        batch = self._take()
        if batch:
            self._commit(batch)

    def _commit(self, batch: list[Row]) -> None:
        began = stopwatch()
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(_INSERT, batch)
            self._connection.execute("COMMIT")
            self.last_commit_seconds = stopwatch() - began
        except sqlite3.Error:
            # The transaction may be gone already (a full disk rolls back by itself).
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _write_loop(self) -> None:
        while True:
            with self._wake:
                while not self._pending and not self._closing:
                    self._wake.wait(timeout=0.2)
                batch = self._take()
                closing = self._closing
            if batch:
                try:
                    self._commit(batch)
                except Exception as error:  # noqa: BLE001 - a writer that died in silence would hold all orders for ever
                    self.failure = f"{self.path}: write failed: {error}"
                    self._notify()
                    return
                self.durable_seq = batch[-1][0]
                self._notify()
            if closing and not self._pending:
                return

    def close(self) -> None:
        """Write what is pending and close the file."""
        if self._thread is not None:
            with self._wake:
                self._closing = True
                self._wake.notify()
            self._thread.join(timeout=10.0)
        elif self.failure is None:
            self.flush()
        self._connection.close()


def read_journal(path: Path) -> Iterator[Record]:
    """Yield the records of a journal file that may be in use, verifying the chain. Raises OperatorError when there is none."""
    if not path.exists():
        raise OperatorError(f"journal {path}: there is none yet")
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)
    try:
        for record, _ in verified(connection.execute(_SELECT), path):
            yield record
    finally:
        connection.close()
