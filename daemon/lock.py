"""One daemon, and one keeper of the paper broker's books, per directory: an advisory lock that the kernel drops when the
process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from market.errors import BadInput


class InstanceLock:
    """Holds the lock file while open. Raises BadInput naming the other process when it is taken."""

    def __init__(self, path: Path, what: str = "daemon") -> None:
        self.path = path
        self.what = what
        self._handle: int | None = None

    def __enter__(self) -> InstanceLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(handle, 64).decode(errors="replace").strip() or "unknown"
            os.close(handle)
            raise BadInput(
                f"{self.path}: another {self.what} (pid {owner}) runs on this directory; stop it first"
            ) from None
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        self._handle = handle
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
