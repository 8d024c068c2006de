"""Start-up guard: proves that `daemon`, `risk`, ... are our packages and not another distribution's.

The rooms have plain names at the top level, and so does at least one foreign package (python-daemon installs `daemon`).
In a shared environment the wrong one would be imported, or half of each. So the command checks where each name would
come from before anything of it is imported.
"""

from __future__ import annotations

from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

ROOMS: Final = ("market", "strategies", "risk", "brokers", "training", "daemon")


def foreign_rooms() -> list[str]:
    """Return one sentence per room name that would be imported from somewhere else than beside this package."""
    home = Path(__file__).resolve().parent.parent
    found = []
    for room in ROOMS:
        # PathFinder only: nothing is imported, and the answer is what an import statement would take.
        spec = PathFinder.find_spec(room)
        origin = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
        if origin != home / room / "__init__.py":
            where = origin.parent if origin is not None else "nowhere"
            found.append(f"package {room!r} would come from {where}, not from {home / room}")
    return found
