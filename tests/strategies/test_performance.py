"""Measures of a line of equity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.errors import BadInput
from strategies.performance import annual_turnover, max_drawdown, measure


def test_measures_of_a_short_line_by_hand():
    result = measure(np.array([100.0, 110.0, 99.0, 108.9]))
    assert result.total_return == pytest.approx(0.089)
    assert result.max_drawdown == pytest.approx(0.10)
    returns = [0.10, -0.10, 0.10]
    deviation = (sum((r - 0.1 / 3) ** 2 for r in returns) / 2) ** 0.5
    assert result.volatility == pytest.approx(deviation * 252**0.5)
    assert result.sharpe == pytest.approx(0.1 / 3 / deviation * 252**0.5)
    assert result.annual_return == pytest.approx(1.089 ** (252 / 3) - 1.0)
    assert result.sessions == 3


@pytest.mark.parametrize("line", [[100.0], [100.0, 105.0], [100.0, 100.0, 100.0]])
def test_what_is_not_defined_is_zero(line):
    assert measure(np.array(line)).sharpe == 0.0
    assert measure(np.array(line)).max_drawdown == 0.0


def test_drawdown_counts_from_the_peak_before_it():
    assert max_drawdown(np.array([100.0, 50.0, 200.0, 150.0])) == 0.5


@given(st.lists(st.floats(1.0, 1e6), min_size=2, max_size=40), st.floats(0.01, 100.0))
def test_measures_do_not_depend_on_the_size_of_the_account(line, factor):
    one, other = measure(np.array(line)), measure(np.array(line) * factor)
    assert one.total_return == pytest.approx(other.total_return, rel=1e-9, abs=1e-9)
    assert one.max_drawdown == pytest.approx(other.max_drawdown, abs=1e-9)
    assert 0.0 <= one.max_drawdown < 1.0


def test_turnover_is_one_way_and_per_year():
    assert annual_turnover(traded=200.0, mean_equity=100.0, sessions=126) == pytest.approx(2.0)


@pytest.mark.parametrize("line", [[], [100.0, 0.0], [100.0, float("nan")], [100.0, -5.0]])
def test_a_line_that_is_not_positive_is_refused(line):
    with pytest.raises(BadInput, match="positive"):
        measure(np.array(line))
