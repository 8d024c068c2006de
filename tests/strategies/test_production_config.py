"""production.yaml: the shipped file, and the line for each mistake."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from market.errors import BadInput
from strategies.production_config import ProductionConfig, load_production

SHIPPED = Path(__file__).parents[2] / "production" / "config" / "production.yaml"


def refusal(tmp_path, old, new):
    text = SHIPPED.read_text()
    assert old in text, "the test no longer fits the file"
    path = tmp_path / "production.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BadInput) as caught:
        load_production(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ") and "\n" not in line
    return line.removeprefix(f"{path}: ")


def test_the_shipped_file_is_the_product_documents():
    config = load_production(SHIPPED)
    assert config.portfolio.assets == ("HDFCBANK", "ICICIBANK", "SBIN", "AXISBANK", "KOTAKBANK")
    assert config.portfolio.rebalance.threshold == 0.01
    assert config.data.start == date(2015, 1, 1)
    assert (config.splits.train, config.splits.validation, config.splits.test) == (0.90, 0.10, 0.00)
    model = config.model
    assert (model.features, model.network, model.batch_size, model.buffer_size) == (173, (256, 256), 256, 100_000)
    assert (model.learning_rate, model.tau, model.gamma, model.ent_coef) == (1e-4, 0.01, 0.99, "auto_0.1")
    assert (model.gradient_steps, model.total_timesteps, model.eval_every) == (1, 1_000_000, 10_000)
    reward = config.environment.reward
    assert (reward.scale, reward.clip, reward.sharpe_weight) == (100.0, 20.0, 0.1)
    assert (reward.turnover_penalty, reward.turnover_free) == (0.1, 0.5)
    deployment = config.deployment
    assert (deployment.trade_time, deployment.order_type, deployment.limit_offset) == ("09:20", "limit", 0.005)
    assert (deployment.cancel_after_minutes, deployment.capital.scaled) == (30, 500_000)


def test_a_key_left_out_takes_the_value_that_the_file_shows():
    shipped = load_production(SHIPPED)
    bare = ProductionConfig.model_validate(
        {"portfolio": {"name": "nse_banks", "assets": list(shipped.portfolio.assets)}}
    )
    assert bare == shipped


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("learning_rate: 0.0001", "learning_rate: 1e-4", "model.learning_rate: '1e-4': must be a number"),
        ("learning_rate: 0.0001", "learning_rate: 1e-4", "write 0.0001"),
        ('"09:20"', "10:20", "deployment.trade_time: 620: must be a time in quotes"),
        ('"09:20"', '"15:45"', "deployment.trade_time: '15:45': must be a time from"),
        ("features: 173", "features: 170", "model.features: 170: 5 assets with look_back 30 make 173"),
        ("look_back: 30", "look_back: 20", "model.features: 173: 5 assets with look_back 20 make 123"),
        ("gamma: 0.99", "gama: 0.99", "model.gama: unknown key; did you mean gamma?"),
        ("gamma: 0.99", "gamma: 1.5", "model.gamma: 1.5: must be less than or equal to 1"),
        ("train: 0.90", "train: 0.80", "splits: train + validation + test is 0.9: must be 1"),
        ("ent_coef: auto_0.1", "ent_coef: automatic", "model.ent_coef: 'automatic': must be auto"),
        ("algorithm: SAC", "algorithm: PPO", "model.algorithm: 'PPO': must be 'SAC'"),
        ("SBIN", "sbin", "'sbin' is not an NSE symbol"),
        ("SBIN", "HDFCBANK", "HDFCBANK is there twice"),
        ("network: [256, 256]", "network: []", "model.network"),
        ("start: 2015-01-01", "start: soon", "data.start: 'soon': must be a date"),
        ("scaled: 500000", "scaled: 5000", "scaled: 5000: must be at least initial (100000)"),
        ("status: development", "status: production", "deployment.status: 'production': must be 'development'"),
        ("long_only: true", "long_only: false", "portfolio.constraints.long_only: False: must be True"),
        ("limit_offset: 0.005", "limit_offset: 0.5", "deployment.limit_offset: 0.5: must be less than"),
        ("limit_offset: 0.005", "limit_offset: .nan", "deployment.limit_offset"),
        ("name: nse_banks", "name: nse banks", "portfolio.name: 'nse banks'"),
        ("batch_size: 256", "batch_size: 256\n  batch_size: 64", "this key is there twice"),
        ("observation_bound: 10.0", "observation_bound: 5.0", "environment.observation_bound: 5.0"),
        ("tau: 0.01", 'tau: "0.01"', "model.tau: '0.01': must be a number (without quotes)"),
    ],
)
def test_a_mistake_is_one_line_with_key_value_and_what_is_allowed(tmp_path, old, new, expected):
    assert expected in refusal(tmp_path, old, new)


def test_a_file_that_is_no_configuration_says_so(tmp_path):
    path = tmp_path / "production.yaml"
    with pytest.raises(BadInput, match="cannot be read"):
        load_production(path)
    for text, complaint in (("- 1\n", "must be sections"), ("a: [", "line 1"), ("data: {}\n", "portfolio: is missing")):
        path.write_text(text)
        with pytest.raises(BadInput, match=complaint):
            load_production(path)
