"""Two ways to stop that need no program: SIGUSR1, and a file named STOP in the runtime directory.

One thread waits for the signal and looks at the file in between, so that both are heard while the event loop is busy or
hung. The signal must be blocked in every thread (`block_signal`, before any other thread exists): then only this thread
takes it, and it needs no bytecode of the main thread. SIGUSR1 means cancel. The file may name a mode; it is put away
only once the stop is durable, so a crash in between finds it again.
"""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from daemon.latch import FLATTEN, MODES

FILE_NAME: Final = "STOP"
SIGNAL: Final = signal.SIGUSR1
# Without a word, and for any word that is none of the modes: what is open goes, nothing is sold.
DEFAULT_MODE: Final = "cancel"
# How long a file may lie there before it is seen.
LOOK_SECONDS: Final = 0.2
_MOST_BYTES: Final = 64


def block_signal() -> None:
    """Keep SIGUSR1 for the thread that waits for it; threads that are started later inherit this."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {SIGNAL})


@dataclass(frozen=True, slots=True)
class Said:
    """What a stop file says: the mode, who owns it, and which file it was."""

    mode: str
    uid: int
    key: tuple[int, int, int, int]


class StopFile:
    """The file, there or not. `permits(uid, gid)` says who may stop the daemon.

    Who may write in the directory may stop; to sell everything takes an owner who is permitted to.
    """

    def __init__(self, path: Path, permits: Callable[[int, int], bool]) -> None:
        self.path = path
        self._permits = permits
        self._text = str(path)

    def present(self) -> bool:
        """Return whether something of that name is there; a directory that cannot be read has no say."""
        return os.path.lexists(self._text)

    def said(self) -> Said | None:
        """Return what it says, None without a file."""
        try:
            found = os.lstat(self._text)
        except OSError:
            return None
        mode = self._mode(found)
        if mode == FLATTEN and not self._permits(found.st_uid, found.st_gid):
            mode = DEFAULT_MODE
        return Said(mode, found.st_uid, (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size))

    def _mode(self, found: os.stat_result) -> str:
        if not stat.S_ISREG(found.st_mode):
            return DEFAULT_MODE
        try:
            # Neither a link nor a pipe that was put there in between may lead or hold us elsewhere.
            handle = os.open(self._text, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return DEFAULT_MODE
        try:
            word = os.read(handle, _MOST_BYTES).decode("ascii", "replace").strip().lower()
        except OSError:
            return DEFAULT_MODE
        finally:
            os.close(handle)
        return word if word in MODES else DEFAULT_MODE

    def put_away(self) -> None:
        """Rename it, so that a person sees that it was obeyed."""
        self.path.replace(self.path.with_suffix(".obeyed"))


class Stoppable(Protocol):
    """The part of the stop plane that is needed here."""

    def stop(self, *, mode: str, reason: str, uid: int) -> dict[str, Any]:
        """Engage a stop."""
        ...

    def write(self, *, mode: str, reason: str, uid: int) -> bool:
        """Make a stop durable without telling anybody; return whether it is."""
        ...

    def look_at_latch(self) -> None:
        """Hear of a latch that another process wrote."""
        ...


class StopWatch:
    """The thread that waits for both."""

    def __init__(self, plane: Stoppable, file: StopFile) -> None:
        self._plane = plane
        self._file = file
        self._obeyed: Said | None = None
        self._durable = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stop-watch", daemon=True)

    def start(self) -> None:
        """Take in a file that lay there before the start, quietly: a start says what the latch holds. Then watch."""
        said = self._file.said()
        if said is not None and self._plane.write(mode=said.mode, reason=self._reason(), uid=said.uid):
            self._obeyed, self._durable = said, True
        self._thread.start()

    def forget(self) -> None:
        """Obey the file again at the next look, if it is still there."""
        self._obeyed = None

    def look(self) -> None:
        """Obey the file at once, and once. Put it away a look later, when that is durable and it says the same still.

        A shell makes a file first and writes the word into it then: what was seen empty may say flatten a moment later.
        """
        said = self._file.said()
        if said is None:
            self.forget()  # the same file, put there again, is a new word
            return
        if said != self._obeyed:
            self._durable = bool(self._plane.stop(mode=said.mode, reason=self._reason(), uid=said.uid)["durable"])
            self._obeyed = said
            return
        self._durable = self._durable or self._plane.write(mode=said.mode, reason=self._reason(), uid=said.uid)
        if self._durable:
            self._put_away()

    def close(self) -> None:
        """End the thread."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def _watch(self) -> None:
        while not self._over.is_set():
            taken = signal.sigtimedwait({SIGNAL}, LOOK_SECONDS)
            if taken is not None:
                self._plane.stop(mode=DEFAULT_MODE, reason=f"SIGUSR1 from pid {taken.si_pid}", uid=taken.si_uid)
            self.look()
            self._plane.look_at_latch()

    def _reason(self) -> str:
        return f"stop file {self._file.path.name}"

    def _put_away(self) -> None:
        try:
            self._file.put_away()
        except OSError:
            # It stays, and counts once more at the next start: on the safe side, and in plain sight.
            return
        self.forget()  # renamed back before the next look, it is a new word

    def hand_on(self, *_: Any) -> None:
        """Handler for a signal that reached a thread of a library which does not block it: pass it to the right one."""
        if self._thread.ident is not None and self._thread.is_alive():
            signal.pthread_kill(self._thread.ident, SIGNAL)
