"""A short month of kills; the long one is `make soak-kill`."""

import pytest

from tests.e2e.kill_month import Month

pytestmark = pytest.mark.slow


@pytest.mark.timeout(150)
def test_ledger_and_books_agree_to_the_paisa_after_each_kill(tmp_path):
    figures = Month(tmp_path, seed=7, kills=8, sessions=1, speed=600.0, quiet=True).run()
    assert figures.kills == figures.integrity_checks == 8
    assert figures.compared >= 5 and figures.orders > 0 and figures.fills > 0
