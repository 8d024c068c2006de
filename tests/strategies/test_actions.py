"""From an action to target weights."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from strategies.actions import weights_from_action, weights_from_actions


def test_all_minus_one_is_all_cash():
    assert weights_from_action(np.full(5, -1.0)).tolist() == [0.0] * 5


def test_all_one_is_equal_weight_fully_invested():
    assert weights_from_action(np.ones(5)).tolist() == [0.2] * 5


def test_a_small_action_leaves_the_rest_in_cash():
    np.testing.assert_allclose(weights_from_action(np.array([-0.8, -0.6, -1.0])), [0.1, 0.2, 0.0])


def test_a_large_action_is_scaled_down():
    np.testing.assert_allclose(weights_from_action(np.array([1.0, 1.0, 0.0])), [0.4, 0.4, 0.2])


@given(arrays(np.float32, (3, 7), elements=st.floats(-1.5, 1.5, width=32)))
def test_weights_are_millionths_that_never_exceed_one(actions):
    weights = weights_from_actions(actions)
    parts = np.rint(weights * 1e6)
    assert (weights >= 0.0).all()
    assert (parts.sum(axis=1) <= 1_000_000).all()
    np.testing.assert_array_equal(parts / 1e6, weights)
    np.testing.assert_array_equal(weights, [[round(w, 6) for w in row] for row in weights.tolist()])


def test_rounding_that_would_exceed_one_is_given_back_by_the_largest():
    # Shares of 1/7 round up to 0.142857 x 7 = 0.999999; six of 1/6 to 1.000002.
    weights = weights_from_action(np.ones(6))
    assert np.rint(weights * 1e6).sum() == 1_000_000
    assert weights[0] == 0.166665 and (weights[1:] == 0.166667).all()


def test_the_last_bit_of_an_action_does_not_change_a_saturated_decision():
    almost = np.nextafter(np.ones(5, dtype=np.float32), np.float32(0.0))
    np.testing.assert_array_equal(weights_from_action(almost), weights_from_action(np.ones(5, dtype=np.float32)))


def test_a_value_that_is_not_a_number_is_not_hidden():
    assert np.isnan(weights_from_action(np.array([np.nan, 0.0]))).any()
