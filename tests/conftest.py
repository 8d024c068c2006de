"""What every room's tests share: the way to the real market data, which is never part of the repository."""

import os
from pathlib import Path

import pytest

BESIDE_THE_REPOSITORY = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory of real NSE data: TARAZU_REAL_DATA, or ../shared/data beside the repository. Skips without it."""
    named = os.environ.get("TARAZU_REAL_DATA")
    directory = Path(named) if named else BESIDE_THE_REPOSITORY
    if not (directory / "nse_banks_daily.csv").exists():
        pytest.skip(f"no real market data at {directory} (set TARAZU_REAL_DATA to the directory that has it)")
    return directory
