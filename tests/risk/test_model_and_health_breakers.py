"""The breakers that are not about the account alone: a model's loss, liquidation, the health of data and model."""

from __future__ import annotations

from datetime import date

import pytest

from market.money import rupees
from risk.breakers.base import Reading
from risk.breakers.board import BreakerBoard
from risk.breakers.health import DATA_HEALTH, FAILURES_IN_A_ROW, MODEL_HEALTH, Health
from risk.breakers.liquidation import Liquidation
from risk.breakers.model_loss import ModelLoss
from risk.schema import CircuitBreakers, Emergency, Monitoring, Recovery, RiskLimits

LAKH = rupees(100_000)
MONDAY = date(2025, 6, 2)
DAY = 24 * 3_600 * 10**9


def reading(equity: float, at_ns: int = 0, *, deposit: float = 0) -> Reading:
    return Reading(at_ns, MONDAY, rupees(equity), rupees(deposit), LAKH)


# ---- model loss


def model_loss() -> ModelLoss:
    breaker = ModelLoss.of(RiskLimits(), LAKH)
    assert breaker is not None
    return breaker


def test_without_a_model_there_is_nothing_to_lose():
    breaker, verdict = model_loss().observe(reading(10_000))
    assert verdict.used == 0.0 and verdict.limit == 0.15 and not verdict.tripped and breaker.baseline is None


def test_a_models_loss_counts_from_its_activation():
    breaker, verdict = model_loss().activate("v1").observe(reading(80_000))
    assert verdict.used == 0.0 and breaker.baseline == rupees(80_000)
    breaker, verdict = breaker.observe(reading(68_001))
    assert not verdict.tripped
    breaker, verdict = breaker.observe(reading(68_000))
    assert verdict.tripped and verdict.detail == "v1" and verdict.used == pytest.approx(0.15)


def test_the_same_model_again_changes_nothing_and_another_starts_afresh():
    breaker, _ = model_loss().activate("v1").observe(reading(100_000))
    assert breaker.activate("v1") == breaker
    other, verdict = breaker.activate("v2").observe(reading(50_000))
    assert verdict.used == 0.0 and other.baseline == rupees(50_000) and verdict.detail == "v2"


def test_a_models_loss_is_no_withdrawal_and_its_gain_no_deposit():
    breaker, _ = model_loss().activate("v1").observe(reading(100_000))
    breaker, verdict = breaker.observe(reading(50_000, deposit=-50_000))
    assert verdict.used == 0.0 and breaker.baseline == rupees(50_000)
    # Down a tenth, then a deposit: still down a tenth.
    breaker, verdict = breaker.observe(reading(145_000, deposit=100_000))
    assert verdict.used == pytest.approx(0.1) and (breaker.model, breaker.limit) == ("v1", 0.15)


def test_after_an_approved_resume_the_model_starts_again():
    breaker = model_loss().activate("v1").restart(reading(80_000, deposit=5_000))
    assert breaker == ModelLoss(0.15, "v1", rupees(75_000))


def test_a_model_that_is_never_taken_back_is_not_on_the_board():
    off = RiskLimits(recovery=Recovery(enable_auto_rollback=False))
    assert ModelLoss.of(off, LAKH) is None
    board = BreakerBoard.start(off, initial_equity=LAKH)
    assert not any(isinstance(b, ModelLoss) for b in board.breakers)
    assert board.activate("v1") == board


def test_the_board_passes_an_activation_on():
    board = BreakerBoard.start(RiskLimits(), initial_equity=LAKH).activate("v1").measure(reading(100_000))
    trips = board.measure(reading(84_000)).due(7)
    assert ("model_loss", 7, "v1") in [(trip.name, trip.at_ns, trip.detail) for trip in trips]


# ---- liquidation


def test_liquidation_is_off_until_both_keys_are_turned():
    assert Liquidation.of(RiskLimits(), LAKH) is None
    with pytest.raises(ValueError, match="must be set together"):
        Emergency(enable_auto_liquidate=True)
    with pytest.raises(ValueError, match="must be set together"):
        Emergency(confirm_auto_liquidate=True)
    on = RiskLimits(emergency=Emergency(enable_auto_liquidate=True, confirm_auto_liquidate=True))
    breaker = Liquidation.of(on, LAKH)
    assert breaker is not None
    breaker, verdict = breaker.observe(reading(70_001))
    assert verdict.name == "liquidation" and not verdict.tripped
    assert breaker.observe(reading(70_000))[1].tripped
    breaker, verdict = breaker.observe(reading(120_000, deposit=50_000))
    assert verdict.used == pytest.approx(0.3), "down three tenths before the deposit and after it"
    assert breaker.restart(reading(60_000, deposit=10_000)).baseline == rupees(50_000)


# ---- health


def test_three_failures_in_a_row_are_a_breach_and_one_good_answer_starts_again():
    data, model = Health.of(RiskLimits())
    assert (data.name, model.name) == (DATA_HEALTH, MODEL_HEALTH)
    for count in range(1, FAILURES_IN_A_ROW + 1):
        model = model.bad(f"failure {count}")
        assert model.verdict.tripped == (count == FAILURES_IN_A_ROW)
        assert model.verdict.used == pytest.approx(count / 3) and model.verdict.limit == 1.0
    assert model.verdict.name == MODEL_HEALTH and model.verdict.detail == "failure 3"
    assert model.good().verdict.used == 0.0 and model.good().watched
    assert data.good() is data and model.good() == Health(MODEL_HEALTH, True)


def test_somebody_else_may_have_counted():
    data, _ = Health.of(RiskLimits())
    assert data.bad("refused", count=2).bad("refused", count=3).verdict.tripped
    assert not data.bad("refused", count=2).bad("refused", count=1).verdict.tripped


def test_what_nobody_watches_never_trips():
    off = RiskLimits(monitoring=Monitoring(check_data_quality=False, check_model_health=False))
    for health in Health.of(off):
        for _ in range(9):
            health = health.bad("failed")
        assert health.verdict.used == 0.0 and not health.verdict.tripped
    only_data = RiskLimits(monitoring=Monitoring(check_model_health=False))
    data, model = Health.of(only_data)
    assert data.watched and not model.watched


# ---- the board's steps


def test_measuring_latches_nothing_and_a_fold_of_records_latches_the_same():
    board = BreakerBoard.start(RiskLimits(), initial_equity=LAKH)
    measured = board.measure(reading(94_000, 5))
    assert measured.latched == () and measured.last.equity == rupees(94_000)
    (trip,) = measured.due(6)
    assert (trip.name, trip.at_ns, trip.limit) == ("daily_loss", 6, 0.05)
    latched = measured.latch(trip)
    assert latched.latched == ("daily_loss",) and latched.due(7) == ()
    assert latched.latch(trip) == latched


def test_under_other_limits_a_recorded_trip_stays_latched_and_an_unrecorded_one_is_not_invented():
    loose = BreakerBoard.start(
        RiskLimits(circuit_breakers=CircuitBreakers(max_daily_loss_percent=50.0)), initial_equity=LAKH
    )
    tight = BreakerBoard.start(
        RiskLimits(circuit_breakers=CircuitBreakers(max_daily_loss_percent=1.0)), initial_equity=LAKH
    )
    (trip,) = BreakerBoard.start(RiskLimits(), initial_equity=LAKH).measure(reading(94_000)).due(0)
    assert loose.measure(reading(94_000)).latch(trip).latched == ("daily_loss",)
    assert tight.measure(reading(98_000)).latched == ()


def test_a_release_needs_a_known_equity_time_and_a_person():
    board = BreakerBoard.start(RiskLimits(), initial_equity=LAKH)
    (trip,) = board.measure(reading(94_000)).due(0)
    latched = board.measure(reading(94_000)).latch(trip)
    assert latched.releasable(2 * DAY) == ()
    approved = latched.approve("asha", "seen", 1)
    assert approved.releasable(DAY - 1) == () and approved.releasable(DAY) == ("daily_loss",)
    unknown = approved.measure(Reading(DAY, MONDAY, None))
    assert unknown.releasable(2 * DAY) == ()
    free = approved.release(("daily_loss",))
    assert free.latched == () and free.due(DAY) == ()
    named = {verdict.name: verdict for verdict in free.verdicts}
    assert named["daily_loss"].used == 0.0 and named["drawdown"].used == pytest.approx(0.06)


def test_releasing_one_latch_keeps_the_others():
    board = BreakerBoard.start(RiskLimits(), initial_equity=LAKH).measure(reading(80_000))
    for trip in board.due(0):
        board = board.latch(trip)
    assert set(board.latched) == {"daily_loss", "weekly_loss", "drawdown", "portfolio_value"}
    left = board.release(("drawdown",))
    assert set(left.latched) == {"daily_loss", "weekly_loss", "portfolio_value"}
    assert {v.name: v.used for v in left.verdicts}["drawdown"] == 0.0


def test_unknown_equity_says_how_long():
    board = BreakerBoard.start(RiskLimits(), initial_equity=LAKH).measure(Reading(0, MONDAY, None))
    assert board.due(600 * 10**9 - 1) == ()
    (trip,) = board.due(900 * 10**9)
    assert (trip.name, trip.used, trip.limit) == ("unknown_equity", 1.5, 1.0)
    assert trip.detail == "900 seconds without a known equity"
    assert board.latch(trip).due(901 * 10**9) == ()
    off = RiskLimits(circuit_breakers=CircuitBreakers(enabled=False))
    assert BreakerBoard.start(off, initial_equity=LAKH).measure(Reading(0, MONDAY, None)).due(10**15) == ()
