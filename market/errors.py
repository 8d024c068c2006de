"""Errors whose class is the policy: what may be done next (style guide, "Habits")."""

from __future__ import annotations


class TarazuError(Exception):
    """Root of every error that the product raises on purpose."""


class BadInput(TarazuError):
    """A file, key or argument is wrong: one clear line, exit code 2, nothing was changed."""


class OperatorError(TarazuError):
    """Stop: a person must act before this can go on."""


class DependencyFailed(TarazuError):
    """A broker or the network failed: exit code 3."""
