"""The stop latch: one small file that says "no new orders", durable, and writable by anyone permitted.

It works with the daemon dead, hung or restarting, so it imports the standard library alone: `tarazu stop` must not wait
for a model to load. The gate's last look before each send is `Latch.engaged()`. An absent directory counts as engaged:
a directory that was never made, or a disk that went away, must not read as permission. A latch of mode flatten lets
the sealed sales of an exit pass and nothing else (docs/stop.md).
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any, Final

FILE_NAME: Final = "stop.latch"
# From the mildest to the strictest.
MODES: Final = ("halt", "cancel", "flatten")
FLATTEN: Final = "flatten"

# Inode, time of the last write, and content: any one of them alone can come again.
Identity = tuple[int, int, bytes]


def merged(before: str, said: str) -> str:
    """Return the mode in force when `said` comes after `before` (empty: nothing was in force).

    What was to be cancelled stays to be cancelled. Flatten is the one mode in which something is still sent, so it is
    in force only while it is the last word: whoever says halt or cancel after it wants the sending to end.
    """
    return "cancel" if said == "halt" and before in ("cancel", FLATTEN) else said


class Latch:
    """A directory, and in it the latch file or not."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / FILE_NAME
        self._directory_text = str(directory)
        self._path_text = str(self.path)
        # The file that this object wrote last, or that was taken note of; None: none.
        self.known: Identity | None = None

    def prepare(self) -> None:
        """Make the directory (start-up only; a running daemon never makes it, so that its absence stays visible)."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o770)

    def engaged(self) -> bool:
        """Return whether new orders are forbidden; anything but a clear "no" is a yes."""
        try:
            os.stat(self._path_text)  # noqa: PTH116 - a bare stat: this is on the way of every order
        except FileNotFoundError:
            return not os.path.isdir(self._directory_text)  # noqa: PTH112
        except OSError:
            return True
        return True

    def engage(self, *, mode: str, reason: str, uid: int, at: str) -> None:
        """Write the latch durably, with what `mode` makes of the mode before (see `merged`) and the latest reason."""
        self.directory.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"mode": merged(self.mode(), mode), "reason": reason, "uid": uid, "at": at}) + "\n"
        temporary = self.path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
        with temporary.open("w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            written = os.fstat(file.fileno())
        temporary.replace(self.path)
        # From the file before it got its name: what has the name by now may be another process's.
        self.known = (written.st_ino, written.st_mtime_ns, content.encode())
        self._sync_directory()

    def identity(self) -> Identity | None:
        """Return which file is there, None without one."""
        try:
            found = os.stat(self._path_text)  # noqa: PTH116 - as in `engaged`
        except OSError:
            return None
        try:
            content = self.path.read_bytes()
        except OSError:
            content = b""
        return found.st_ino, found.st_mtime_ns, content

    def read(self) -> dict[str, Any]:
        """Return what the latch says; an unreadable one is still a halt."""
        try:
            content = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {"mode": "halt", "reason": "the latch file cannot be read"}
        return content if isinstance(content, dict) else {"mode": "halt", "reason": "the latch file cannot be read"}

    def mode(self) -> str:
        """Return the mode in force; empty without a latch, halt for one that cannot be understood."""
        if not self.engaged():
            return ""
        mode = self.read().get("mode")
        return mode if mode in MODES else "halt"

    def release(self) -> None:
        """Remove the latch. Only the daemon does this, at the second step of a resume."""
        self.path.unlink(missing_ok=True)
        self.known = None
        self._sync_directory()

    def _sync_directory(self) -> None:
        handle = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
