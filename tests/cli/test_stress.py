"""`tarazu stress`, and the two things that `tarazu replay` takes for it: adversaries by name, charges by assumption."""

import json
from datetime import date

import pytest

from market.errors import BadInput
from strategies.adversaries import ADVERSARIES
from tarazu.commands.stress import describe
from tarazu.deployment import Deployment
from tests.command_line import SYMBOLS, daily, said

# Covers the window of June 2024 and no other.
SPRING = {"first": date(2024, 3, 1), "last": date(2024, 6, 28)}


def stressed(capsys, root, data, *more):
    return said(capsys, "stress", "--root", root, "--data", data, *more)


def test_the_json_has_every_adversary_in_the_covered_window_and_names_the_others(root, capsys):
    code, out = stressed(capsys, root, daily(root / "bars.csv", **SPRING), "--json")
    report = json.loads(out)
    assert code == 0
    *skipped, played = report["windows"]
    assert all("bars.csv" in window["skipped"] and not window["runs"] for window in skipped)
    assert played["sessions"] == 15 and played["charges_assumed_before"] is None
    assert [run["strategy"] for run in played["runs"]] == list(ADVERSARIES)
    for run in played["runs"]:
        assert set(run) == {"strategy", "with_gate", "without_gate", "gate"}
        assert set(run["with_gate"]) == {"ending", "return", "max_drawdown", "worst_day", "worst_session"}
    (broken,) = [run for run in played["runs"] if run["strategy"] == "not_a_number"]
    assert broken["without_gate"]["ending"] == "not_a_number" and broken["without_gate"]["return"] is None


def test_a_person_gets_a_table_and_who_stopped_what(root, capsys):
    code, out = stressed(capsys, root, daily(root / "bars.csv", **SPRING), "--no-approvals")
    assert code == 0
    assert "2008: the crash (2008-01-01 to 2008-12-31): skipped;" in out
    assert (
        "held before the gate (STRATEGY_INVALID 10)" in out and "refused (TARGET_ABOVE_ONE 10, BREAKER_LATCHED" in out
    )
    assert "nobody approves" in out and "None" not in out


def test_ruin_and_the_assumed_charges_stand_in_the_table():
    from daemon.stress import Ending, GateRecord, Loss, Run, StressReport, TripRecord, WindowResult

    calm = Loss(Ending.SURVIVED, -0.1, 0.2, -0.05, date(2008, 1, 21))
    gone = Loss(Ending.RUIN, -1.2, 1.2, -1.3, date(2008, 1, 22))
    trips = (
        TripRecord("daily_loss", date(2008, 1, 21), 0.05, 0.05, ""),
        TripRecord("daily_loss", date(2008, 3, 3), 0.08, 0.05, ""),
    )
    decisions = {"approved": 2, "clipped": 1, "refused": 1, "hold": 0, "skipped": 0}
    reasons = {"approved": {"LIMIT_TURNOVER": 1, "ALERT_LARGE_TRADE": 2}, "refused": {"BREAKER_LATCHED": 1}}
    gate = GateRecord(decisions, reasons, trips, 4, {"ORDER_FUNDS": 1}, 3, 12.5, 0.4, 0.95, 0.41, 0.95, "ab")
    window = WindowResult(
        "2008", date(2008, 1, 1), date(2008, 12, 31), 246, "", date(2015, 1, 1), (Run("x", calm, gone, gate),)
    )
    text = describe(StressReport(("SBIN",), 100_000.0, True, "v", (window,)))
    assert "charges_assumed_before: 2015-01-01" in text
    assert "-120.0%" in text and "2008-01-22 ruin" in text
    assert "3 decisions: 2 approved, 1 of them clipped (LIMIT_TURNOVER 1); 1 refused (BREAKER_LATCHED 1)" in text
    assert "daily_loss tripped 2x, first 2008-01-21; worst 8.0% of 5.0% on 2008-03-03" in text
    assert "single orders refused: ORDER_FUNDS 1" in text


def test_data_that_covers_no_window_is_one_line_naming_file_and_windows(root, capsys):
    code, out = stressed(capsys, root, daily(root / "bars.csv", first=date(2024, 1, 1), last=date(2024, 2, 29)))
    assert code == 2 and len(out.splitlines()) == 1
    assert "bars.csv: holds 2024-01-01 to 2024-02-29" in out and "2024-05-27 to 2024-06-14" in out


def test_other_slips_are_named(root, capsys):
    code, out = stressed(capsys, root, "none.csv")
    assert code == 2 and "none.csv" in out
    intraday = root / "minutes.csv"
    rows = [f"2024-06-04T09:{minute}:00+05:30,SBIN,1,1,1,1,1" for minute in (15, 20, 25)]
    intraday.write_text("ts,symbol,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    code, out = stressed(capsys, root, intraday)
    assert code == 2 and "minutes.csv" in out and "daily bars" in out
    limits = root / "config" / "risk_limits.yaml"
    limits.write_text(limits.read_text().replace("enabled: true ", "enabled: false ", 1))
    code, out = stressed(capsys, root, daily(root / "bars.csv", **SPRING))
    assert code == 2 and "risk_limits.yaml: circuit_breakers.enabled" in out and "allowed: true" in out


def replayed(capsys, root, strategy, *more, first="2024-03-01", last="2024-03-28"):
    data = root / "data" / "latest_market_data.csv"
    if not data.exists():
        daily(data)
    return said(
        capsys, "replay", "--root", root, "--data", data, "--from", first, "--to", last, "--strategy", strategy, *more
    )


def test_a_replay_takes_an_adversary_by_name(root, capsys):
    code, out = replayed(capsys, root, "sum_three", "--json")
    answer = json.loads(out)
    assert code == 0 and answer["strategy"] == "sum_three" and answer["orders"] == 0
    assert answer["gate_interventions"] == answer["decisions"] > 0


@pytest.mark.parametrize("name", ADVERSARIES)
def test_where_paper_gets_its_strategy_from_they_are_unknown(root, name):
    deployment = Deployment.open(root, mode="paper")
    with pytest.raises(BadInput, match=f"strategy '{name}': .*allowed: equal_weight"):
        deployment.strategy(name=name, model=None, symbols=SYMBOLS, today=date(2024, 3, 1))


def test_assumed_charges_are_asked_for_and_said(root, capsys):
    daily(root / "data" / "latest_market_data.csv", first=date(2014, 10, 1), last=date(2015, 2, 27))
    old = {"first": "2014-12-01", "last": "2015-01-30"}
    assert replayed(capsys, root, "equal_weight", **old)[0] == 2
    code, out = replayed(capsys, root, "equal_weight", "--assume-charges", "--json", **old)
    assert code == 0 and json.loads(out)["charges_assumed_before"] == "2015-01-01"
    code, out = replayed(capsys, root, "equal_weight", "--assume-charges", **old)
    assert code == 0 and "charges_assumed_before: 2015-01-01" in out
    code, out = replayed(
        capsys, root, "equal_weight", "--assume-charges", "--json", first="2015-01-01", last="2015-01-30"
    )
    assert code == 0 and "charges_assumed_before" not in json.loads(out)
