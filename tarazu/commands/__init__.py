"""The commands, one file per group. They import what they need when they run: `tarazu stop` must not wait for a model."""
