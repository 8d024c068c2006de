"""Tarazu, the balance scale: the uniquely named package with the version, the command line and the start-up guard."""

__version__ = "0.1.0"
