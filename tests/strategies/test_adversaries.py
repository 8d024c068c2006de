"""Adversaries: each breaks its promise in one way, the same way every time, and nothing that trades knows its name."""

from datetime import date
from itertools import pairwise

import numpy as np
import pytest

from market.errors import BadInput
from strategies.adversaries import ADVERSARIES, Turncoat, make_adversary
from strategies.baselines import make_strategy
from strategies.protocol import StrategyContext

SYMBOLS = ("AAA", "BBB", "CCC", "DDD")


def context(closes):
    return StrategyContext(
        session=date(2024, 1, 2),
        closes=np.asarray(closes, dtype=np.float64).reshape(-1, 4),
        weights=np.zeros(4),
        value_ratio=1.0,
        cash_weight=1.0,
        recent_returns=np.zeros(0),
    )


def target(name, closes=(), look_back=3):
    return make_adversary(name, SYMBOLS, look_back).target(context(closes)).tolist()


def test_all_in_one_wants_the_worst_of_the_look_back_and_nothing_else():
    # BBB fell most of all before the look-back of three sessions, CCC within it.
    closes = [[100, 100, 100, 100], [100, 10, 100, 100], [100, 10, 100, 100], [100, 10, 90, 99], [100, 11, 70, 99]]
    assert target("all_in_one", closes) == [0.0, 0.0, 1.0, 0.0]
    assert target("all_in_one", closes, look_back=30) == [0.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("closes", [(), [[100, 100, 100, 100]]])
def test_all_in_one_without_a_return_to_look_at_wants_the_first(closes):
    assert target("all_in_one", closes) == [1.0, 0.0, 0.0, 0.0]


def test_flip_daily_wants_another_stock_every_session():
    wanted = [target("flip_daily", [[100.0] * 4] * sessions) for sessions in range(6)]
    assert all(before != after for before, after in pairwise(wanted))
    assert all(sorted(weights) == [0.0, 0.0, 0.0, 1.0] for weights in wanted)


def test_not_a_number_hides_one_nan_among_fair_shares():
    first, *others = target("not_a_number")
    assert np.isnan(first) and others == [0.25] * 3


def test_negative_buys_no_more_than_the_account_and_sells_short():
    weights = target("negative")
    assert weights[0] == -1.0 and min(weights[1:]) > 0.0 and sum(weights[1:]) == pytest.approx(1.0)


def test_sum_three_is_three_times_the_account():
    weights = target("sum_three")
    assert sum(weights) == pytest.approx(3.0) and len(set(weights)) == 1


@pytest.mark.parametrize("name", ADVERSARIES)
def test_the_same_context_gives_the_same_answer(name):
    closes = np.exp(np.random.default_rng(1).normal(0, 0.01, (40, 4)).cumsum(axis=0))
    np.testing.assert_array_equal(target(name, closes), target(name, closes))
    assert make_adversary(name, SYMBOLS, 30).name == name


@pytest.mark.parametrize("name", ADVERSARIES)
def test_what_makes_strategies_for_trading_knows_none_of_them(name):
    with pytest.raises(BadInput, match="allowed: equal_weight"):
        make_strategy(name, SYMBOLS, 30)


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(BadInput) as caught:
        make_adversary("equal_weight", SYMBOLS, 30)
    assert all(name in str(caught.value) for name in ADVERSARIES)


def test_a_turncoat_holds_an_even_book_until_its_session_and_then_does_what_the_adversary_does():
    turns = date(2024, 6, 5)
    turncoat = Turncoat(make_adversary("sum_three", SYMBOLS, 30), turns=turns)
    assert (turncoat.name, turncoat.symbols) == ("sum_three", SYMBOLS)
    closes = np.full((3, len(SYMBOLS)), 100.0)

    def on(day):
        none = np.zeros(len(SYMBOLS))
        return turncoat.target(StrategyContext(day, closes, none, 1.0, 1.0, np.array([])))

    assert on(date(2024, 6, 4)).tolist() == [0.95 / len(SYMBOLS)] * len(SYMBOLS)
    assert on(turns).sum() == pytest.approx(3.0) and on(date(2024, 6, 6)).sum() == pytest.approx(3.0)
