"""The daemon's heartbeat: one line in a file, written from its loop every second, so that a loop that hangs stops it.

Whoever reads it compares contents, not times: a clock that jumps is no beat. Written in place, without a sync: it says that
a process lives now, and nothing after a loss of power. Standard library only, since the guardian reads it.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

SECONDS: Final = 1.0
ALIVE, STOPPED = "alive", "stopped"
_WIDTH: Final = 160


class Beat(NamedTuple):
    """One beat. `session` is the open session's date, or empty; `open_orders` what the daemon knew to be open."""

    pid: int
    number: int
    state: str
    session: str
    open_orders: int


class Heartbeat:
    """Writes the file. A disk that refuses is left alone: the silence that follows is the right thing to hear."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        self._count = 0

    def beat(self, *, session: str, open_orders: int) -> None:
        """Say that the loop turns."""
        self._write(ALIVE, session, open_orders)

    def stopped(self) -> None:
        """Say that this process ended in order, and forget the file; nothing is said by one that never beat."""
        if self._handle is not None:
            self._write(STOPPED, "", 0)
            os.close(self._handle)
            self._handle = None

    def _write(self, state: str, session: str, open_orders: int) -> None:
        self._count += 1
        line = json.dumps(Beat(os.getpid(), self._count, state, session, open_orders)._asdict())
        with suppress(OSError):
            if self._handle is None:
                self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            os.pwrite(self._handle, line.ljust(_WIDTH - 1).encode() + b"\n", 0)


def read_beat(path: Path) -> Beat | None:
    """Return the last beat; None when there is none, or when it cannot be read just now."""
    try:
        said = json.loads(path.read_bytes())
        return Beat(**said)
    except (OSError, ValueError, TypeError):
        return None
