"""Offline: environment, SAC trainer, validation, model registry. Never imported by the daemon."""
