"""The limits file: every mistake is one clear line, and the shipped file is complete."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from market.errors import BadInput
from risk.limits import REPLAY_ONLY_FALSE, RiskLimits, allowed, load_limits
from risk.schema import PositionLimits, Section, _key, _percent
from risk.wiring import WIRED

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
    keys = {f"{s}.{k}" for s, values in content.items() for k in values}
    assert keys == WIRED


def test_every_line_of_the_shipped_file_explains_its_key():
    lines = [line for line in SHIPPED.read_text().splitlines() if line.startswith("  ") and ":" in line]
    plain = ("pause_duration_hours", "enable_auto_liquidate", "confirm_auto_liquidate")
    bare = [line for line in lines if "#" not in line and not any(key in line for key in plain)]
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
            "monitoring: {log_all_trades: false}",
            "monitoring.log_all_trades: false: must be true; it cannot be switched off",
        ),
        (
            "emergency: {enable_auto_liquidate: true}",
            "emergency.enable_auto_liquidate: true: must be set together with emergency.confirm_auto_liquidate; "
            "one key alone does nothing",
        ),
        (
            "emergency: {confirm_auto_liquidate: true}",
            "emergency.confirm_auto_liquidate: true: must be set together with emergency.enable_auto_liquidate",
        ),
        (
            "emergency: {contacts: ['tgram://123:token/456']}",
            "emergency.contacts: 'tgram://123:token/456': must be e-mail addresses or telephone numbers",
        ),
        ("emergency: {contacts: [5]}", "emergency.contacts: [5]: must be a list of texts"),
        (
            "alerts: {negative_days_threshold: 2.5}",
            "alerts.negative_days_threshold: 2.5: must be a whole number at least 1 and at most 250",
        ),
        (
            "recovery: {rollback_if_loss_exceeds: 15}",
            "recovery.rollback_if_loss_exceeds: 15: must be a number above 0 and at most 1",
        ),
        (
            "execution: {max_orders_per_second: 0}",
            "execution.max_orders_per_second: 0: must be a whole number at least 1 and at most 1000",
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


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "position_limits: {max_leverage: 2.0}",
            "position_limits.max_leverage: 2: must be a number above 0 and at most 1",
        ),
        (
            "paper: {position_limits: {max_leverage: 7.0}}",
            "paper.position_limits.max_leverage: 7: must be a number above 0 and at most 1",
        ),
        (
            "position_limits: {min_weight_per_stock: 0.5}",
            "position_limits.min_weight_per_stock: 0.5: must be at most max_weight_per_stock (0.4)",
        ),
        (
            "paper: {position_limits: {min_weight_per_stock: 0.5}}",
            "paper.position_limits.min_weight_per_stock: 0.5: must be at most max_weight_per_stock (0.4)",
        ),
        # The overlay moved the largest weight; the rule names the smallest, which is not the overlay's.
        (
            "paper: {position_limits: {max_weight_per_stock: 0.04}}",
            "position_limits.min_weight_per_stock: 0.05: must be at most max_weight_per_stock (0.04)",
        ),
        (
            "position_limits: {minimum_weight: 0.3}",
            "position_limits.minimum_weight: unknown key; did you mean min_weight_per_stock?",
        ),
        (
            "position_limits: {daily: 0.3}",
            "position_limits.daily: unknown key; allowed: max_weight_per_stock, min_weight_per_stock, "
            "max_daily_turnover, min_cash_reserve, max_leverage",
        ),
        (
            "paper: {position_limit: {max_leverage: 1.0}}",
            "paper.position_limit: unknown section; did you mean position_limits?",
        ),
        ("paper: {position_limits: 0.3}", "paper.position_limits: 0.3: must be a section with keys"),
        (
            "paper: {live: {daily_approval_required: true}}",
            "paper.live: unknown section; allowed: position_limits, circuit_breakers, alerts, execution, recovery, "
            "monitoring, emergency",
        ),
        (
            "paper: {emergency: {contacts: ['owner@example.org']}}",
            "paper.emergency.contacts: ('owner@example.org',): is the same in all modes (())",
        ),
        ("emergency: {contacts: owner}", "emergency.contacts: 'owner': must be a list of texts"),
        (
            "- a",
            "content: must be sections with keys (position_limits, circuit_breakers, alerts, execution, recovery, "
            "monitoring, emergency, live, paper)",
        ),
    ],
)  # fmt: skip
def test_one_mistake_is_told_in_exactly_one_line(tmp_path, text, line):
    assert refusal(tmp_path, text) == line


def test_an_overlay_is_read_to_its_end(tmp_path):
    loose = "max_leverage: 1.0, max_daily_turnover: 0.9"
    assert refusal(tmp_path, f"paper: {{position_limits: {{{loose}}}}}").startswith(
        "paper.position_limits.max_daily_turnover: 0.9: may only tighten"
    )
    switched_on = "max_daily_loss_absolute: 5000.0, max_drawdown_percent: 90.0"
    assert refusal(tmp_path, f"paper: {{circuit_breakers: {{{switched_on}}}}}").startswith(
        "paper.circuit_breakers.max_drawdown_percent: 90: may only tighten"
    )


def test_a_section_without_keys_is_the_defaults(tmp_path):
    assert load(tmp_path, "alerts:\nposition_limits: {max_leverage: 1.0}") == RiskLimits()


def sample() -> type[Section]:
    """A section, declared anew, since a key's range is fixed when its section is declared."""

    class Sample(Section):
        loss: float | None = _percent(5.0, "what a day may cost")
        ratio: float = _key(0.5, "a ratio", above=0.0, at_most=1.0, tighter="higher")
        floor: float = _key(7.0, "a floor", at_least=7.0)
        free: float = _key(7.0, "anything")

    return Sample


def test_a_percent_key_refuses_a_fraction_written_by_mistake():
    section = sample()
    for inside in (0.1, 100.0):
        assert section.model_validate({"loss": inside}).model_dump()["loss"] == inside
    for outside in (0.09, 100.1):
        with pytest.raises(ValueError, match="loss"):
            section.model_validate({"loss": outside})


def test_a_key_keeps_its_default_its_range_its_meaning_and_its_direction():
    section = sample()
    assert section().model_dump() == {"loss": 5.0, "ratio": 0.5, "floor": 7.0, "free": 7.0}
    said = {
        key: (field.description, field.json_schema_extra, allowed(field)) for key, field in section.model_fields.items()
    }
    assert said == {
        "loss": ("what a day may cost", {"tighter": "lower"}, "a number at least 0.1 and at most 100, or null for off"),
        "ratio": ("a ratio", {"tighter": "higher"}, "a number above 0 and at most 1"),
        "floor": ("a floor", {"tighter": "fixed"}, "a number at least 7"),
        "free": ("anything", {"tighter": "fixed"}, "a number"),
    }


def test_a_minimum_may_be_the_maximum_and_all_that_the_cash_reserve_leaves():
    fixed = PositionLimits(min_weight_per_stock=0.4, max_weight_per_stock=0.4)
    assert fixed.min_weight_per_stock == fixed.max_weight_per_stock
    whole = PositionLimits(min_weight_per_stock=0.5, max_weight_per_stock=0.5, max_leverage=0.5)
    assert whole.min_weight_per_stock == whole.budget


def test_a_second_mistake_is_counted(tmp_path):
    text = "position_limits: {max_weight_per_stock: 3.0, max_leverage: 4.0}"
    assert refusal(tmp_path, text).endswith("(and 1 more)")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"absent.yaml: cannot be read \(.*\); nothing is traded without limits$"):
        load_limits(tmp_path / "absent.yaml", mode="paper")


@pytest.mark.parametrize("key", REPLAY_ONLY_FALSE)
def test_protections_can_be_switched_off_for_replay_alone(tmp_path, key):
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


def test_a_universe_needs_an_instrument_and_may_use_the_budget_up():
    RiskLimits().check_universe(1)
    with pytest.raises(BadInput, match=r"^universe: 0 instruments: at least 1$"):
        RiskLimits().check_universe(0)
    # Two minima that together are a billionth above the budget: that much is left to the rounding of floats.
    billionth = (0.5 + 1e-9) / 2
    full = PositionLimits(max_leverage=0.5, min_weight_per_stock=billionth)
    RiskLimits(position_limits=full).check_universe(2)
    above = PositionLimits(max_leverage=0.5, min_weight_per_stock=billionth + 1e-12)
    with pytest.raises(BadInput, match="2 instruments need"):
        RiskLimits(position_limits=above).check_universe(2)


def test_every_key_of_the_schema_is_enforced_somewhere_and_says_what_it_does():
    leaves = {
        f"{section}.{key}": declared
        for section, field in RiskLimits.model_fields.items()
        for key, declared in field.annotation.model_fields.items()
    }
    assert set(leaves) == WIRED
    assert [key for key, declared in leaves.items() if not declared.description] == []


def test_liquidation_takes_two_keys(tmp_path):
    both = load(tmp_path, "emergency: {enable_auto_liquidate: true, confirm_auto_liquidate: true}", "paper")
    assert both.emergency.liquidates and both.emergency.liquidate_if_loss_exceeds == 0.30
    assert not RiskLimits().emergency.liquidates


def test_contacts_are_addresses_without_secrets(tmp_path):
    text = "emergency: {contacts: ['owner@example.org', '+91 98 7654 3210']}"
    assert load(tmp_path, text).emergency.contacts == ("owner@example.org", "+91 98 7654 3210")


def test_the_budget_is_the_smaller_of_cash_reserve_and_leverage():
    assert PositionLimits().budget == 0.95
    assert PositionLimits(max_leverage=0.8).budget == 0.8
