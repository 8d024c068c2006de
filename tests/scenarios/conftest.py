"""Fixtures of the scenarios."""

from functools import partial

import pytest

from tests.daemon.life import Life
from tests.e2e.conftest import Deployment


@pytest.fixture
def life(tmp_path):
    """Make lives on one folder: each is a process that may be killed and started again."""
    return partial(Life, tmp_path)


@pytest.fixture
def deployment(tmp_path):
    """A deployment in a directory, with real processes on it."""
    made = Deployment.make(tmp_path / "production")
    yield made
    made.close()
