"""Validation: what is judged, against whom, and what it admits."""

from __future__ import annotations

import json

import numpy as np
import pytest

from brokers.charges import DeliveryCharges
from strategies.baselines import make_strategy
from training.portfolio_market import PortfolioMarket, build_tables
from training.validation import run_strategy, validation_report

SYMBOLS = ("S0", "S1", "S2")


class Always:
    """A strategy that always wants the same."""

    name = "always"
    symbols = SYMBOLS
    look_back = 0

    def __init__(self, *weights):
        self._weights = np.array(weights)

    def target(self, context):
        return self._weights.copy()


class Growing(Always):
    """Not deterministic: wants less with every question that it was ever asked."""

    asked = 0

    def target(self, context):
        self.asked += 1
        return self._weights / (1.0 + 0.05 * self.asked)


def report_of(strategy, bars, config, limits):
    tables = build_tables(bars, config, limits, DeliveryCharges.default())
    return validation_report(strategy, bars, config, limits, tables)


def criteria(report):
    return {criterion["name"]: criterion["passed"] for criterion in report["criteria"]}


@pytest.fixture
def trending(make_bars):
    """The first stock gains about 0.6 % a day, the others stand still."""
    closes = np.column_stack([400.0 * 1.006 ** np.arange(80), np.full(80, 400.0), np.full(80, 300.0)])
    return make_bars(np.round(closes, 2))


def test_a_run_is_the_market_driven_by_hand(random_bars, make_config, make_limits):
    bars, config, limits = random_bars(), make_config(), make_limits()
    run = run_strategy(Always(0.3, 0.3, 0.2), bars, config, limits)
    market = PortfolioMarket(bars, config, limits)
    line = [market.opening / 100.0]
    while market.t[0] < market.last:
        market.step(np.array([[0.3, 0.3, 0.2]]))
        line.append(int(market.equity[0]) / 100.0)
    np.testing.assert_array_equal(run.equity, line)
    assert run.charges == int(market.charges[0]) / 100.0 > 0.0 and run.holds == 0


def test_who_is_in_the_stock_that_rises_beats_equal_weight(trending, make_config, make_limits):
    report = report_of(Always(0.9, 0.05, 0.05), trending, make_config(), make_limits(max_weight_per_stock=0.9))
    assert criteria(report) == {"return": True, "beats_equal_weight": True, "deterministic": True}
    assert report["passed"] and report["uncertainty"]["distinguishable_from_equal_weight"]
    assert report["uncertainty"]["interval_95"][0] > 0.0


def test_who_avoids_it_does_not(trending, make_config, make_limits):
    report = report_of(Always(0.05, 0.45, 0.45), trending, make_config(), make_limits(max_weight_per_stock=0.9))
    assert criteria(report) == {"return": False, "beats_equal_weight": False, "deterministic": True}
    assert not report["passed"]


def test_equal_weight_does_not_beat_itself(random_bars, make_config, make_limits):
    report = report_of(make_strategy("equal_weight", SYMBOLS, 5), random_bars(), make_config(), make_limits())
    assert not criteria(report)["beats_equal_weight"]
    assert report["policy"] == report["equal_weight"] | {"holds": 0}
    assert report["uncertainty"]["interval_95"] == [0.0, 0.0]
    assert not report["uncertainty"]["distinguishable_from_equal_weight"]


def test_a_policy_that_is_not_a_function_is_found(random_bars, make_config, make_limits):
    report = report_of(
        Growing(0.33, 0.33, 0.33), random_bars(drift=0.01), make_config(), make_limits(min_weight_per_stock=0.0)
    )
    assert not criteria(report)["deterministic"] and report["determinism"]["std"] > 0.02


def test_the_report_says_that_determinism_is_by_construction_and_shows_other_starts(
    random_bars, make_config, make_limits
):
    report = report_of(Always(0.4, 0.3, 0.2), random_bars(), make_config(), make_limits())
    assert report["determinism"]["std"] == 0.0
    assert any("by construction" in note for note in report["notes"])
    assert report["perturbed_starts"]["starts"] == 10 and report["perturbed_starts"]["std_annual_return"] > 0.0
    json.dumps(report, allow_nan=False)


def test_buy_and_hold_holds_after_its_purchase_and_pays_less(random_bars, make_config, make_limits):
    bars, config, limits = random_bars(), make_config(), make_limits()
    hold = run_strategy(make_strategy("buy_and_hold", SYMBOLS, 5), bars, config, limits)
    equal = run_strategy(make_strategy("equal_weight", SYMBOLS, 5), bars, config, limits)
    assert hold.holds > 100 and hold.charges < equal.charges
