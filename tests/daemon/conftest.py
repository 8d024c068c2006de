"""Fixtures of the daemon's tests."""

from functools import partial

import pytest

from tests.daemon.life import Life


@pytest.fixture
def life(tmp_path):
    """Make lives on one folder: each is a process that may be killed and started again."""
    return partial(Life, tmp_path)
