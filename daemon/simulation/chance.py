"""Chance in a simulated world: one seed, and each draw a function of what it is for.

A draw is a hash of (seed, what, day, how many of it before on that day). So a fault that is taken away leaves all other
draws as they were, and a failing run can be made smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T")
_MASK: Final = 2**64 - 1


def _mixed(value: int) -> int:
    """Return the output step of splitmix64 (Steele, Lea, Flood 2014): every bit of the input moves every bit of it."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class Hit(NamedTuple):
    """A fault that struck: which, on which day of the run, and the how-many-th chance of it on that day it was."""

    fault: str
    day: int
    number: int


class Chance:
    """Draws of one run.

    `rates`: how likely each fault is at each of its chances. `only` keeps all others from striking; `always` strike.
    """

    def __init__(
        self,
        seed: int,
        rates: dict[str, float],
        *,
        only: frozenset[Hit] | None = None,
        always: frozenset[Hit] = frozenset(),
    ) -> None:
        self.seed = seed
        self.day = 0
        self.calm = False  # no fault strikes
        self.hits: list[Hit] = []
        self.on_hit: Callable[[Hit], None] = lambda hit: None
        self._rates = rates
        self._only = only
        self._always = always
        self._counts: dict[str, int] = {}
        self._names: dict[str, int] = {}

    def start_day(self, day: int) -> None:
        """Count draws afresh: what one day draws does not hang on how much the day before drew."""
        self.day = day
        self._counts.clear()

    def roll(self, what: str) -> float:
        """Return the next number in [0, 1) for `what`."""
        number = self._counts.get(what, 0)
        self._counts[what] = number + 1
        return self._draw(what, number)

    def _draw(self, what: str, number: int) -> float:
        name = self._names.get(what)
        if name is None:
            name = 0
            for byte in what.encode():
                name = _mixed(name ^ byte)
            name = self._names[what] = _mixed(name ^ self.seed)
        return (_mixed(name ^ (self.day << 24) ^ number) >> 11) / 2**53

    def between(self, low: float, high: float, what: str) -> float:
        """Return the next number in [low, high) for `what`."""
        return low + (high - low) * self.roll(what)

    def pick(self, choices: Sequence[T], what: str) -> T:
        """Return one of the choices."""
        return choices[int(self.roll(what) * len(choices))]

    def strikes(self, fault: str) -> bool:
        """Return whether a fault strikes at this chance of it."""
        rate = self._rates.get(fault, 0.0)
        number = self._counts.get(fault, 0)
        self._counts[fault] = number + 1
        hit = Hit(fault, self.day, number)
        if hit not in self._always:
            if self.calm or rate == 0.0 or self._draw(fault, number) >= rate:
                return False
            if self._only is not None and hit not in self._only:
                return False
        self.hits.append(hit)
        self.on_hit(hit)
        return True
