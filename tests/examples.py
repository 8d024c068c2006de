"""How many examples a property is tried with."""

from hypothesis import settings

_ORDINARY = 100


def examples(count: int) -> int:
    """Return `count` in an ordinary run, and the same part of it in a profile with fewer examples than usual."""
    return max(1, count * settings().max_examples // _ORDINARY)
