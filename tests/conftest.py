"""What every room's tests share: the way to the real market data, which is never part of the repository, and how
Hypothesis looks for counterexamples while the code is mutated."""

import os
from pathlib import Path

import pytest
from hypothesis import Phase, settings

# `make mutants` runs the tests thousands of times: few examples (see tests/examples.py), always the same, none shrunk.
settings.register_profile(
    "mutants",
    max_examples=8,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
)

BESIDE_THE_REPOSITORY = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory of real NSE data: TARAZU_REAL_DATA, or ../shared/data beside the repository. Skips without it."""
    named = os.environ.get("TARAZU_REAL_DATA")
    directory = Path(named) if named else BESIDE_THE_REPOSITORY
    if not (directory / "nse_banks_daily.csv").exists():
        pytest.skip(f"no real market data at {directory} (set TARAZU_REAL_DATA to the directory that has it)")
    return directory
