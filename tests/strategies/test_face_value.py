"""Weights at face value: small cases that a person works out by hand."""

from datetime import date

import numpy as np
import pytest

from market.errors import BadInput
from market.store import daily_bars
from strategies.face_value import at_face_value

DAYS = [date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)]


class Says:
    """Wants, session by session, what it was told; after that it holds."""

    name = "says"
    symbols = ("AAA", "BBB")
    look_back = 0

    def __init__(self, *targets):
        self.targets = targets
        self.seen = []

    def target(self, context):
        self.seen.append(context)
        at = len(self.seen) - 1
        wanted = self.targets[at] if at < len(self.targets) else None
        return None if wanted is None else np.array(wanted)


def bars(opens, closes):
    opens, closes = np.array(opens, dtype=float), np.array(closes, dtype=float)
    columns = {"open": opens, "close": closes, "high": np.maximum(opens, closes), "low": np.minimum(opens, closes)}
    days = np.array(DAYS[: len(opens)], dtype="datetime64[D]")
    return daily_bars(("AAA", "BBB"), days, columns | {"volume": np.ones(opens.shape)})


def run(strategy, opens, closes, *, start=DAYS[0], history_rows=10):
    return at_face_value(
        strategy, bars(opens, closes), start=start, end=DAYS[-1], history_rows=history_rows, initial_equity=1000.0
    )


def test_it_trades_at_the_open_and_is_valued_at_the_close():
    result = run(Says([0.5, 0.0]), [[100, 50], [110, 50]], [[120, 50], [100, 50]])
    assert result.equity == pytest.approx((1100.0, 1000.0))
    assert result.sessions == tuple(DAYS[:2])


def test_a_night_is_borne_by_what_was_held_before_it():
    # All in AAA, then all in BBB: the gap of AAA from 100 to 90 is suffered, the rise of BBB by a tenth earned.
    result = run(Says([1, 0], [0, 1]), [[100, 50], [90, 50]], [[100, 50], [200, 55]])
    assert result.equity == pytest.approx((1000.0, 990.0))


def test_leverage_of_three_and_a_day_of_minus_forty_percent_is_ruin():
    result = run(Says([3, 0]), [[100, 50], [60, 50]], [[60, 50], [600, 50]])
    assert result.equity == pytest.approx((-200.0,))
    assert result.sessions == (DAYS[0],)


def test_ruin_may_come_overnight():
    result = run(Says([3, 0], [0, 0]), [[100, 50], [60, 50]], [[100, 50], [600, 50]])
    assert result.equity == pytest.approx((1000.0, -200.0))


def test_a_negative_weight_is_a_short_sale():
    result = run(Says([-1, 1]), [[100, 50]], [[110, 50]])
    assert result.equity == pytest.approx((900.0,))


def test_a_weight_that_is_not_a_number_makes_the_account_one_for_ever():
    result = run(Says([np.nan, 0.5], [0.0, 0.0]), [[100, 50]] * 3, [[100, 50]] * 3)
    assert len(result.equity) == 3 and np.isnan(result.equity).all()


def test_the_strategy_sees_what_a_decision_may_see():
    strategy = Says(None, [0.5, 0.0])
    run(strategy, [[100, 50], [101, 51], [102, 52]], [[100, 50], [101, 51], [102, 52]], start=DAYS[1], history_rows=1)
    first, second = strategy.seen
    assert first.session == DAYS[1] and first.closes.tolist() == [[100, 50]] and first.cash_weight == 1.0
    assert second.closes.tolist() == [[100, 50], [101, 51]] and second.recent_returns.tolist() == [0.0]


def test_a_session_without_every_price_is_left_out():
    result = run(Says([1, 0]), [[100, 50], [np.nan, 50], [110, 50]], [[100, 50], [500, 50], [110, 50]])
    assert result.sessions == (DAYS[0], DAYS[2]) and result.equity[-1] == pytest.approx(1100.0)


def test_another_number_of_weights_and_no_session_at_all_are_named():
    with pytest.raises(BadInput, match="3 weights for 2 instruments"):
        run(Says([1, 0, 0]), [[100, 50]], [[100, 50]])
    with pytest.raises(BadInput, match="no session"):
        run(Says(), [[100, 50]], [[100, 50]], start=DAYS[1])
