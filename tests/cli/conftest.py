"""A deployment's directory with the shipped configuration."""

import shutil

import pytest

from tests.command_line import REPO


@pytest.fixture
def root(tmp_path):
    made = tmp_path / "production"
    shutil.copytree(REPO / "production" / "config", made / "config")
    for folder in ("data", "models", "logs"):
        (made / folder).mkdir()
    return made
