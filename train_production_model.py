"""Trains the production model: `python train_production_model.py --timesteps 1000000` is `tarazu train` under its old name."""

from __future__ import annotations

import sys

from tarazu.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
