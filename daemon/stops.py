"""What an emergency stop is in the journal: the causes of the halts that a person's stop makes, and what they hold back.

Halts add up until a person resumes, with one exception: flatten sells, so it stands only while it is the last word. A halt
or cancel after it takes it away; a flatten after them is what lets sales go again, and only sealed sales of an exit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STOP_HALT: Final = "STOP_HALT"
STOP_CANCEL: Final = "STOP_CANCEL"
STOP_FLATTEN: Final = "STOP_FLATTEN"
# The verb of a command -> the cause of its halt.
STOP_CAUSES: Final = {"halt": STOP_HALT, "cancel": STOP_CANCEL, "flatten": STOP_FLATTEN}
_BY_A_PERSON: Final = frozenset(STOP_CAUSES.values())


def with_halt(halts: Mapping[str, str], cause: str, detail: str) -> dict[str, str]:
    """Return the halts in force once `cause` has been added to `halts`."""
    left = {name: why for name, why in halts.items() if name != STOP_FLATTEN or cause not in _BY_A_PERSON}
    return {**left, cause: detail}


def flattening(halts: Mapping[str, str]) -> bool:
    """Return whether a person's last word is to sell everything."""
    return STOP_FLATTEN in halts


def hold_exits(halts: Mapping[str, str]) -> tuple[str, ...]:
    """Return the causes that keep even the sales of an exit from leaving.

    A flatten overrules the milder stops before it. It does not overrule what no person said: books that differ, a broker
    that contradicts itself, a part that broke. Sales on what may be false could sell what is not held.
    """
    persons = _BY_A_PERSON if flattening(halts) else frozenset[str]()
    return tuple(sorted(cause for cause in halts if cause not in persons))
