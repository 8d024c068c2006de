"""Benchmarks that print ratios: `python -m bench NAME [--json]`. Absolute figures are of one noisy machine; ratios count."""
