"""The limits file: every mistake is one clear line, and the shipped file is complete."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from market.errors import BadInput
from risk.limits import WIRED, RiskLimits, load_limits
from risk.schema import PositionLimits

SHIPPED = Path(__file__).resolve().parents[2] / "production" / "config" / "risk_limits.yaml"


def load(tmp_path: Path, text: str, mode: str = "replay") -> RiskLimits:
    file = tmp_path / "risk_limits.yaml"
    file.write_text(text)
    return load_limits(file, mode=mode)  # type: ignore[arg-type]


def refusal(tmp_path: Path, text: str, mode: str = "replay") -> str:
    with pytest.raises(BadInput) as caught:
        load(tmp_path, text, mode)
    message = str(caught.value)
    assert "\n" not in message and "risk_limits.yaml" in message
    return message.split("risk_limits.yaml: ", 1)[1]


@pytest.mark.parametrize("mode", ["paper", "live", "replay"])
def test_the_shipped_file_is_the_defaults_in_every_mode(mode):
    assert load_limits(SHIPPED, mode=mode) == RiskLimits()


def test_the_shipped_file_has_every_wired_key_and_no_other():
    content = yaml.safe_load(SHIPPED.read_text())
    keys = {f"{s}.{k}" for s, values in content.items() if s not in ("paper", "live") for k in values}
    assert keys == WIRED


def test_every_line_of_the_shipped_file_explains_its_key():
    lines = [line for line in SHIPPED.read_text().splitlines() if line.startswith("  ") and ":" in line]
    bare = [line for line in lines if "#" not in line and "pause_duration_hours" not in line]
    assert bare == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "position_limits: {max_weight_per_stock: 1.40}",
            "position_limits.max_weight_per_stock: 1.4: must be a number above 0 and at most 1",
        ),
        (
            "position_limits: {max_weight_per_stock: 40}",
            "position_limits.max_weight_per_stock: 40: must be a number above 0 and at most 1",
        ),
        (
            "circuit_breakers: {max_daily_loss_percent: 0.05}",
            "circuit_breakers.max_daily_loss_percent: 0.05: must be a number at least 0.1 and at most 100",
        ),
        (
            "circuit_breakers: {max_daily_loss_percent: .nan}",
            "circuit_breakers.max_daily_loss_percent: nan: must be a number at least 0.1 and at most 100",
        ),
        (
            "circuit_breakers: {max_daily_loss_absolute: 0}",
            "circuit_breakers.max_daily_loss_absolute: 0: must be a number above 0 and at most 1e+12, or null for off",
        ),
        (
            "position_limits: {max_weight_per_stock: '0.4'}",
            "position_limits.max_weight_per_stock: '0.4': must be a number above 0 and at most 1",
        ),
        (
            "position_limits: {max_weight_per_stock: yes}",
            "position_limits.max_weight_per_stock: true: must be a number above 0 and at most 1",
        ),
        (
            "position_limits: {max_leverage: 2.0}",
            "position_limits.max_leverage: 2: must be a number above 0 and at most 1",
        ),
        (
            "emergency: {emergency_stop_enabled: false}",
            "emergency.emergency_stop_enabled: false: must be true; it cannot be switched off",
        ),
        (
            "circuit_breakers: {min_positions_count: 2.5}",
            "circuit_breakers.min_positions_count: 2.5: must be a whole number at least 0 and at most 500",
        ),
        (
            "position_limits: {min_weight_per_stock: 0.5}",
            "position_limits.min_weight_per_stock: 0.5: must be at most max_weight_per_stock (0.4)",
        ),
        (
            "position_limits: {max_weight_per_stock: 0.9, min_weight_per_stock: 0.3, min_cash_reserve: 0.8}",
            "position_limits.min_weight_per_stock: 0.3: must be at most what cash reserve and leverage leave (0.2)",
        ),
        (
            "position_limits: {max_wieght_per_stock: 0.3}",
            "position_limits.max_wieght_per_stock: unknown key; did you mean max_weight_per_stock?",
        ),
        (
            "position_limit: {max_weight_per_stock: 0.3}",
            "position_limit: unknown section; did you mean position_limits?",
        ),
        ("position_limits: 0.3", "position_limits: 0.3: must be a section with keys"),
        (
            "monitoring: {log_all_trades: true}",
            "monitoring.log_all_trades: is not enforced by this version; remove it",
        ),
        (
            "live: {daily_approval_required: true}",
            "live.daily_approval_required: is not enforced by this version; remove it",
        ),
        ("position_limits: {min_cash_reserve: 0.1, min_cash_reserve: 0.0}", "min_cash_reserve: this key is there twice"),
        ("", "content: must be sections with keys"),
        ("- a", "content: must be sections with keys"),
        ("a: [", "line 1: "),
        (
            "paper: {circuit_breakers: {max_daily_loss_percent: 50.0}}",
            "paper.circuit_breakers.max_daily_loss_percent: 50: may only tighten "
            "circuit_breakers.max_daily_loss_percent: at most 5",
        ),
        (
            "live: {position_limits: {min_cash_reserve: 0.01}}",
            "live.position_limits.min_cash_reserve: 0.01: may only tighten position_limits.min_cash_reserve: at least 0.05",
        ),
        (
            "circuit_breakers: {max_daily_loss_absolute: 5000.0}\n"
            "paper: {circuit_breakers: {max_daily_loss_absolute: null}}",
            "paper.circuit_breakers.max_daily_loss_absolute: null: may only tighten",
        ),
        ("paper: {recovery: {require_manual_approval: false}}", "paper.recovery.require_manual_approval: false: may only"),
        ("paper: {position_limits: {max_leverage: 7.0}}", "paper.position_limits.max_leverage: 7: must be a number"),
        ("paper: {position_limits: {max_levrage: 1.0}}", "paper.position_limits.max_levrage: unknown key; did you mean"),
        ("paper: {breakers: {}}", "paper.breakers: unknown section"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_key_value_and_what_is_allowed(tmp_path, text, line):
    assert line in refusal(tmp_path, text)


def test_a_second_mistake_is_counted(tmp_path):
    text = "position_limits: {max_weight_per_stock: 3.0, max_leverage: 4.0}"
    assert refusal(tmp_path, text).endswith("(and 1 more)")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInput, match="nothing is traded without limits"):
        load_limits(tmp_path / "absent.yaml", mode="paper")


@pytest.mark.parametrize("key", ["circuit_breakers.enabled", "recovery.require_manual_approval"])
def test_breakers_and_approval_can_be_switched_off_for_replay_alone(tmp_path, key):
    section, name = key.split(".")
    text = f"{section}: {{{name}: false}}"
    assert getattr(getattr(load(tmp_path, text), section), name) is False
    for mode in ("paper", "live"):
        assert refusal(tmp_path, text, mode) == (
            f"{key}: false: must be true in {mode} trading; false is for replay alone"
        )


def test_an_overlay_tightens_its_own_mode_only(tmp_path):
    text = "live: {position_limits: {max_daily_turnover: 0.2}, circuit_breakers: {max_daily_loss_absolute: 5000.0}}"
    live, paper = load(tmp_path, text, "live"), load(tmp_path, text, "paper")
    assert live.position_limits.max_daily_turnover == 0.2 and live.circuit_breakers.max_daily_loss_absolute == 5000.0
    assert paper == RiskLimits() and live.version != paper.version


def test_the_version_names_the_content(tmp_path):
    same = load(tmp_path, "position_limits: {max_weight_per_stock: 0.40}")
    other = load(tmp_path, "position_limits: {max_weight_per_stock: 0.39}")
    assert same.version == RiskLimits().version != other.version
    assert len(same.version) == 16 and int(same.version, 16) >= 0


def test_limits_that_a_universe_cannot_meet_are_refused_when_it_is_known():
    RiskLimits().check_universe(19)
    with pytest.raises(BadInput, match=r"min_weight_per_stock: 0.05: 20 instruments need 1 of equity.*at most 0.0475"):
        RiskLimits().check_universe(20)


def test_a_key_that_nothing_enforces_has_no_default_that_looks_like_a_limit():
    for section, field in RiskLimits.model_fields.items():
        for key, declared in field.annotation.model_fields.items():
            if f"{section}.{key}" not in WIRED:
                assert declared.default is None, f"{section}.{key}"


def test_the_budget_is_the_smaller_of_cash_reserve_and_leverage():
    assert PositionLimits().budget == 0.95
    assert PositionLimits(max_leverage=0.8).budget == 0.8
