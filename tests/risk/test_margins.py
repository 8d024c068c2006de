"""Margins: how much of each limit is used, and how far it is, in its own unit."""

from __future__ import annotations

import pytest

from market.money import Paise, rupees
from risk.margins import Margin, at_least, at_most, position_margins
from risk.schema import RiskLimits


def test_what_is_left_of_a_maximum_and_of_a_minimum():
    assert at_most("m", 0.3, 0.4) == Margin("m", 0.3, 0.4, 0.1)
    assert at_most("m", 0.5, 0.4, "SBIN") == Margin("m", 0.5, 0.4, -0.1, "SBIN")
    assert at_least("m", 0.3, 0.05) == Margin("m", 0.3, 0.05, 0.25)
    assert at_least("m", 0.01, 0.05, "SBIN") == Margin("m", 0.01, 0.05, -0.04, "SBIN")


def test_margins_are_rounded_so_that_the_journal_is_the_same_on_every_machine():
    assert at_most("m", 1 / 3, 0.4) == Margin("m", 0.333333333, 0.4, 0.066666667)
    assert at_least("m", 1 / 3, 0.1) == Margin("m", 0.333333333, 0.1, 0.233333333)


def test_the_margins_of_a_book():
    found = position_margins(
        ("HDFCBANK", "SBIN", "TCS"),
        (30, 10, 0),
        (rupees(1_000), rupees(500), Paise(0)),
        equity=rupees(100_000),
        traded=rupees(40_000),
        limits=RiskLimits(),
    )
    assert found == (
        Margin("max_weight_per_stock", 0.3, 0.4, 0.1, "HDFCBANK"),
        Margin("min_weight_per_stock", 0.0, 0.05, -0.05, "TCS"),
        Margin("max_daily_turnover", 0.2, 0.3, 0.1),
        Margin("min_cash_reserve", 0.65, 0.05, 0.6),
        Margin("max_leverage", 0.35, 1.0, 0.65),
    )


def test_the_smallest_weight_is_a_fraction_of_the_equity_too():
    found = position_margins(
        ("HDFCBANK", "SBIN"),
        (30, 10),
        (rupees(1_000), rupees(500)),
        equity=rupees(100_000),
        traded=0,
        limits=RiskLimits(),
    )
    assert found[1] == Margin("min_weight_per_stock", 0.05, 0.05, 0.0, "SBIN")


def test_a_book_with_a_price_missing_has_no_margins():
    with pytest.raises(ValueError, match="shorter"):
        position_margins(("SBIN", "TCS"), (1, 1), (rupees(1),), equity=rupees(10), traded=0, limits=RiskLimits())
