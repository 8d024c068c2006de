"""Which sessions train and which validate."""

from __future__ import annotations

import numpy as np
import pytest

from market.errors import BadInput
from training.splits import split_bars


def test_ninety_percent_train_and_the_latest_ten_validate(random_bars, make_config):
    bars = random_bars(sessions=200)
    split = split_bars(bars, make_config())
    assert (len(split.train.days), len(split.validation.days)) == (180, 20)
    assert split.train.days[-1] < split.validation.days[0] and split.validation.days[-1] == bars.days[-1]


def test_the_first_validation_window_holds_no_training_session(random_bars, make_config):
    bars = random_bars(sessions=200)
    record = split_bars(bars, make_config()).record
    assert record["embargo_sessions"] == 5
    assert record["validation"]["first"] == str(bars.days[180])
    assert record["validation"]["first_decision"] == str(bars.days[185])
    assert record["validation"]["decisions"] == 14 and record["train"]["rows"] == 180


def test_sessions_before_the_configured_start_are_not_used(random_bars, make_config):
    bars = random_bars(sessions=200)
    split = split_bars(bars, make_config(start=str(bars.days[100])))
    assert split.train.days[0] == bars.days[100] and len(split.train.days) == 90


def test_a_test_share_is_held_out_of_both(random_bars, make_config):
    bars = random_bars(sessions=200)
    split = split_bars(bars, make_config(splits={"train": 0.7, "validation": 0.2, "test": 0.1}))
    assert (len(split.train.days), len(split.validation.days)) == (140, 40)
    assert split.validation.days[-1] == bars.days[179] and split.record["held_out_rows"] == 20


def test_too_little_data_names_the_part(random_bars, make_config):
    with pytest.raises(BadInput, match=r"splits\.validation: 6 of 60 sessions"):
        split_bars(random_bars(sessions=60), make_config())
    with pytest.raises(BadInput, match=r"splits\.train: 0 of 0 sessions since 2030"):
        split_bars(random_bars(sessions=60), make_config(start="2030-01-01"))


def test_bars_of_another_universe_are_refused(random_bars, make_config):
    with pytest.raises(BadInput, match="has S0, S1; the portfolio is S0, S1, S2"):
        split_bars(random_bars(n=2), make_config())


def test_parts_are_the_bars_themselves(random_bars, make_config):
    bars = random_bars(sessions=200)
    split = split_bars(bars, make_config())
    np.testing.assert_array_equal(np.vstack([split.train.close, split.validation.close]), bars.close)
