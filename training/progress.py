"""Progress of a training run: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Literal, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Mode = Literal["auto", "plain", "none"]

_LINES: Final = 20


class TrainingProgress:
    """Shows timesteps done, the last evaluation and the time left. Writes to standard error; standard output is for answers."""

    def __init__(self, mode: Mode, *, total: int, done: int = 0, console: Console | None = None) -> None:
        """`auto` is a bar on a terminal and plain lines elsewhere. `done` timesteps were made before (a resumed run)."""
        self._console = console or Console(stderr=True)
        self._bar = mode == "auto" and self._console.is_terminal
        self._plain = mode == "plain" or (mode == "auto" and not self._bar)
        self._total = done + total
        self._every = max(1, total // _LINES)
        self._next_line = done + self._every
        self._last = ""
        # Rich keeps the clock in both modes; without a terminal only its bar is off.
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[last]}"),
            console=self._console,
            disable=not self._bar,
        )
        self._task = self._progress.add_task("training", total=self._total, completed=done, last="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def advance(self, done: int) -> None:
        """Show that `done` timesteps are done."""
        self._progress.update(self._task, completed=done)
        if self._plain and done >= self._next_line:
            self._next_line += self._every
            left = self._progress.tasks[0].time_remaining
            eta = "" if left is None else f", {left:.0f} s left"
            self._console.print(f"{done} of {self._total} timesteps{eta}{self._last}", highlight=False, soft_wrap=True)

    def report(self, record: dict[str, Any]) -> None:
        """Show an evaluation."""
        reward = record["episode_reward"]
        shown = "" if reward is None else f", episode reward {reward:.2f}"
        self._last = f", validation return {record['validation_return']:+.2%}{shown}"
        self._progress.update(self._task, last=self._last.removeprefix(", "))
