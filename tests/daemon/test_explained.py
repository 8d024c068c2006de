"""What the gate says of itself: numbers in the journal, a table in status, one line in the log that a person understands."""

import json

import pytest
from typer.testing import CliRunner

from daemon.logs import RecordLog
from daemon.messages import BreakerReleased, BreakerTripped, Decided, OrdersRefused, RiskAlerted, RollbackDecided
from daemon.sentences import sentence, tightest
from risk.margins import Margin, at_most
from risk.reasons import Reason, ReasonCode
from tests.daemon.life import MONDAY, TUESDAY, at, bars, history, limits, of

LIMIT_ROWS = {
    "max_weight_per_stock", "min_weight_per_stock", "max_daily_turnover", "min_cash_reserve", "max_leverage",
    "max_order_size", "max_acceptable_slippage", "max_orders_per_day", "negative_days", "zero_volume", "monthly_sharpe",
}  # fmt: skip
BREAKER_ROWS = {
    "daily_loss", "weekly_loss", "drawdown", "single_stock_loss", "portfolio_value", "model_loss", "liquidation",
    "data_health", "model_health",
}  # fmt: skip


def bought(life, **more):
    return life(at(MONDAY, "09:00"), past=history(), **more).play(bars(MONDAY, "09:25")).to(MONDAY, "09:40")


def test_the_record_of_a_decision_has_all_that_the_verdict_rests_on(life):
    running = bought(life)
    (decided,) = of(running.kill(), Decided)
    assert decided.requested == (0.19,) * 5 and decided.approved == pytest.approx((0.12,) * 5)
    assert set(decided.moved) == {"turnover"} and decided.relaxed == {}
    assert decided.limits_version == limits().version
    margins = {margin.name: margin for margin in decided.margins}
    assert set(margins) == {
        name for name in LIMIT_ROWS if "_" in name and name.startswith(("max_w", "min_", "max_d", "max_l"))
    }
    assert margins["max_daily_turnover"].used == pytest.approx(0.30, abs=0.003)
    assert margins["max_weight_per_stock"].left == pytest.approx(0.28, abs=0.002)
    assert {margin.name for margin in decided.breakers} == BREAKER_ROWS - {"liquidation", "data_health", "model_health"}
    assert any(reason.startswith("LIMIT_TURNOVER: the target was moved") for reason in decided.reasons)


def test_a_refusal_too_has_its_margins_and_headroom(life):
    running = bought(life, limits=limits(circuit_breakers__max_daily_loss_percent=1.0))
    running.play(bars(MONDAY, "10:00", (900.0,) * 5), bars(MONDAY, "15:30", (900.0,) * 5), bars(TUESDAY, "09:18"))
    running.to(TUESDAY, "09:30")
    refused = of(running.kill(), Decided)[-1]
    assert refused.outcome == "refused" and refused.margins and refused.breakers
    assert {margin.name for margin in refused.margins} >= {"max_weight_per_stock", "min_cash_reserve"}


def test_status_shows_used_and_limit_of_every_limit_and_breaker(life):
    running = bought(life)
    status = running.core.status()
    rows = {row["name"]: row for row in status["limits"]}
    assert set(rows) == LIMIT_ROWS
    assert rows["max_orders_per_day"]["used"] == 5 and rows["max_orders_per_day"]["left"] == 995
    assert rows["max_order_size"]["used"] == pytest.approx(0.12, abs=0.002)
    assert rows["monthly_sharpe"]["used"] is None and rows["monthly_sharpe"]["limit"] == 0.5
    breakers = {row["name"]: row for row in status["breakers"]}
    assert set(breakers) == BREAKER_ROWS
    assert breakers["liquidation"]["state"] == "off" and breakers["daily_loss"]["state"] == "ready"
    assert json.loads(json.dumps(status)) == status
    running.play(bars(MONDAY, "10:00", (800.0,) * 5)).to(MONDAY, "10:01")
    latched = {row["name"]: row for row in running.core.status()["breakers"]}["daily_loss"]
    assert latched["state"] == "latched" and latched["until"].startswith("2024-06-11T10:00")
    assert "pause ends in 24.0 h; waits for: tarazu approve" in latched["detail"]
    running.kill()


def test_the_status_command_is_a_table_for_people(life, monkeypatch):
    from tarazu.cli import app
    from tarazu.commands import operate

    running = bought(life, mode="live", limits=limits(live__daily_approval_required=True))
    monkeypatch.setattr(operate, "_ask", lambda *_: running.core.status())
    answer = CliRunner().invoke(app, ["status"])
    assert answer.exit_code == 0
    for name in (LIMIT_ROWS - {"max_order_size"}) | BREAKER_ROWS:
        assert name in answer.output, name
    assert "waits for: tarazu approve" in answer.output and "None" not in answer.output
    running.kill()


def test_a_decision_reads_as_one_line(life):
    running = bought(life)
    (decided,) = of(running.kill(), Decided)
    line = sentence(decided)
    assert line.startswith("20240610-rebalance-") and "approved: AXISBANK +119, HDFCBANK +119" in line
    assert "the gate changed the target (turnover moved 35.0%)" in line
    assert "nearest limit: max_daily_turnover" in line and "nearest breaker: " in line and "\n" not in line


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (BreakerTripped(name="daily_loss", used=0.06, limit=0.05), "daily_loss tripped: 6.00% of 5.00% used; trading is paused"),
        (BreakerTripped(name="x", used=1.0, limit=1.0, detail="SBIN"), "x tripped (SBIN)"),
        (BreakerReleased(names=("a", "b"), approved_by=("1",)), "a, b released"),
        (RollbackDecided(model="v2", back_to="", used=0.2, limit=0.15), "back to: no earlier model"),
        (
            RiskAlerted(severity="error", reasons=(Reason(ReasonCode.ALERT_SLIPPAGE, "SBIN"),), contacts=("a@b.org",)),
            "ALERT_SLIPPAGE SBIN: an order was filled further from its reference price than acceptable; call a@b.org",
        ),
        (OrdersRefused(plan_id="p", phase="buys", refusals=(("SBIN", "ORDER_FUNDS"),)), "1 orders refused: SBIN ORDER_FUNDS"),
    ],
)  # fmt: skip
def test_every_verdict_has_words(message, words):
    assert words in sentence(message)


def test_the_words_are_in_the_log(tmp_path, life):
    running = bought(life)
    (decided,) = of(running.kill(), Decided)
    log = RecordLog(tmp_path / "log.jsonl", console=False, mode="paper")
    log.record(decided, type("E", (), {"seq": 1, "cause": 0, "at_ns": at(MONDAY, "09:20")})())
    log.close()
    line = json.loads((tmp_path / "log.jsonl").read_text())
    assert line["text"] == sentence(decided) and line["margins"]["max_daily_turnover"][1] == 0.3


def test_the_nearest_limit_is_the_one_with_the_least_left_of_it():
    near, far = at_most("near", 0.9, 1.0), at_most("far", 0.02, 0.1)
    assert tightest((far, near)) == near and tightest(()) is None
    assert tightest((Margin("zero", 0.0, 0.0, 0.0), far)) == far
