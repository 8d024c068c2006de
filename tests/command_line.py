"""What tests of the command line share: a deployment's data, and a command run in this process."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from market.calendar import Calendar
from risk.limits import load_limits
from strategies.production_config import load_production
from tarazu.cli import main
from training.trainer import train

REPO = Path(__file__).resolve().parent.parent
SYMBOLS = ("HDFCBANK", "ICICIBANK", "SBIN", "AXISBANK", "KOTAKBANK")


def daily(path, *, first=date(2024, 1, 1), last=date(2024, 6, 28)):
    """Write daily bars of the five banks."""
    rng = np.random.default_rng(4)
    lines = ["date,symbol,open,high,low,close,volume"]
    price = np.full(5, 1000.0)
    for session in Calendar.load().sessions(first, last):
        price = price * np.exp(rng.normal(0, 0.008, 5))
        for symbol, p in zip(SYMBOLS, price, strict=True):
            lines.append(f"{session.day},{symbol},{p:.2f},{p * 1.01:.2f},{p * 0.99:.2f},{p:.2f},1000000")
    path.write_text("\n".join(lines) + "\n")
    return path


def said(capsys, *arguments):
    """Return exit code and what was said on both streams."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return ended.value.code, captured.out + captured.err


def small_model(bars, root, *, created, seed=1):
    """Train a model of sixty steps on bars [T, 5] into root/models; return its directory."""
    config = load_production(REPO / "production" / "config" / "production.yaml")
    small = config.model.model_copy(update={"learning_starts": 30, "batch_size": 16, "buffer_size": 500})
    return train(
        config.model_copy(update={"model": small}),
        bars.select(config.portfolio.assets),
        load_limits(REPO / "production" / "config" / "risk_limits.yaml", mode="replay"),
        timesteps=60,
        seed=seed,
        created=created,
        out_dir=root / "models",
        log_dir=root / "logs" / "training",
        progress="none",
    )
