"""A model that lost too much is replaced by the one before, whatever a kill or a person does meanwhile."""

import pytest

from daemon.effects import RollBack
from daemon.messages import (
    BreakerApproved,
    BreakerReleased,
    BreakerTripped,
    Lane,
    ModelLoaded,
    RiskAlerted,
    RollbackDecided,
)
from risk.reasons import ReasonCode
from tests.daemon.life import MONDAY, TUESDAY, WEDNESDAY, ask, at, bars, bought, limits, of


def taking(loaded):
    def roll_back(version):
        loaded.append(version)
        return ModelLoaded(version=version, sha256="s", accepted=True)

    return roll_back


def losing(life, loaded, **more):
    """A model that has lost a fifth of what it was given, on a board on which only that counts."""
    quiet = limits(
        circuit_breakers__max_daily_loss_percent=90.0, circuit_breakers__max_weekly_loss_percent=90.0,
        circuit_breakers__max_drawdown_percent=90.0, circuit_breakers__max_single_stock_loss=90.0,
        circuit_breakers__min_portfolio_value_percent=1.0,
    )  # fmt: skip

    return bought(life, limits=quiet, roll_back=taking(loaded), **more)


def test_a_model_that_lost_too_much_is_replaced_by_the_one_before_and_trading_pauses(life):
    loaded = []
    running = losing(life, loaded, version="v1")
    running.core.bus.post(Lane.TIMER, ModelLoaded(version="v2", sha256="s", accepted=True))
    running.play(bars(MONDAY, "10:00"), bars(MONDAY, "10:05", (700.0,) * 5)).to(MONDAY, "10:06")
    state = running.core.state
    assert loaded == ["v1"] and state.guard.model == "v1" and state.guard.board.latched == ("model_loss",)
    (latch,) = state.guard.board.latches
    assert latch.detail == "v2" and latch.used == pytest.approx(0.17, abs=0.01)
    messages = running.kill()
    (decided,) = of(messages, RollbackDecided)
    assert (decided.model, decided.back_to, decided.limit) == ("v2", "v1", 0.15)
    told = [r for a in of(messages, RiskAlerted) for r in a.reasons if r.code is ReasonCode.BREAKER_LATCHED]
    assert told[0].detail == "model_loss"


def test_without_a_model_before_it_nothing_is_taken_back_and_people_are_told(life):
    loaded = []
    running = losing(life, loaded, version="v1").play(bars(MONDAY, "10:05", (700.0,) * 5)).to(MONDAY, "10:06")
    assert loaded == [] and running.core.state.guard.board.latched == ("model_loss",)
    assert "model.no_rollback" in [alert.event for alert in running.told]
    running.kill()
    again = life(at(MONDAY, "10:10"), version="v1", limits=running.core.gate.limits).to(MONDAY, "10:11")
    (decided,) = of(again.kill(), RollbackDecided)
    assert decided.back_to == "", "decided once, whatever starts again"


def test_a_rollback_that_fails_keeps_the_model_and_the_latch(life):
    running = losing(life, [], version="v1")
    running.core.edges.outside.roll_back = lambda version: ModelLoaded(
        version=version, sha256="", accepted=False, detail="expired"
    )
    running.core.bus.post(Lane.TIMER, ModelLoaded(version="v2", sha256="s", accepted=True))
    running.play(bars(MONDAY, "10:00"), bars(MONDAY, "10:05", (700.0,) * 5)).to(MONDAY, "10:06")
    assert running.core.state.guard.model == "v2" and running.core.state.guard.board.latched == ("model_loss",)
    running.kill()


def test_the_models_baseline_survives_a_restart(life):
    running = losing(life, [], version="v1")
    running.play(bars(MONDAY, "10:00", (900.0,) * 5)).to(MONDAY, "10:01")
    before = running.core.state.guard.board.breakers
    running.kill()
    again = life(at(MONDAY, "10:05"), version="v1", limits=running.core.gate.limits)
    assert again.core.state.guard.board.breakers == before and again.core.state.guard.models == ["v1"]
    again.kill()


def test_a_model_that_was_thrown_out_does_not_come_back_by_a_second_rollback(life):
    loaded = []
    running = losing(life, loaded, version="v1")
    running.core.bus.post(Lane.TIMER, ModelLoaded(version="v2", sha256="s", accepted=True))
    running.play(bars(MONDAY, "10:00"), bars(MONDAY, "10:05", (700.0,) * 5)).to(MONDAY, "10:06")
    assert loaded == ["v1"]
    ask(running, "approve", uid=1, reason="go on")
    running.play(bars(MONDAY, "15:30", (700.0,) * 5), bars(TUESDAY, "10:10", (700.0,) * 5))
    running.play(bars(TUESDAY, "10:20", (400.0,) * 5)).to(TUESDAY, "10:30")
    assert running.core.state.guard.board.latched == ("model_loss",)
    assert loaded == ["v1"] and running.core.state.guard.model == "v1", "v2 was thrown out, and there is no other"
    decided = of(running.kill(), RollbackDecided)
    assert [(d.model, d.back_to) for d in decided] == [("v2", "v1"), ("v1", "")]


def test_a_rollback_that_a_kill_prevented_happens_at_the_next_start(life):
    running = losing(life, [], version="v1")
    running.core.edges._run[RollBack] = lambda effect: None  # dies before it
    running.core.bus.post(Lane.TIMER, ModelLoaded(version="v2", sha256="s", accepted=True))
    running.play(bars(MONDAY, "10:00"), bars(MONDAY, "10:05", (700.0,) * 5)).to(MONDAY, "10:06")
    assert running.core.state.guard.rollback_due == "v1"
    running.kill()
    loaded = []

    again = life(at(MONDAY, "10:10"), version="v2", limits=running.core.gate.limits, roll_back=taking(loaded))
    again.to(MONDAY, "10:11")
    assert loaded == ["v1"] and again.core.state.guard.model == "v1" and again.core.state.guard.rollback_due == ""
    again.kill()


def test_another_model_starts_with_a_clean_bill_of_health(life):
    running = bought(life)
    guard = running.core.state.guard
    guard.model_health = guard.model_health.bad("failed").bad("failed")
    running.core.bus.post(Lane.TIMER, ModelLoaded(version="v2", sha256="s", accepted=True))
    running.to(MONDAY, "09:41")
    assert guard.model_health.count == 0
    running.kill()


def killed_between_trip_and_rollback(life):
    """Dies with the trip of v2 on disk and what it decided about it not; return its limits."""
    running = losing(life, [], version="v1")
    running.core.bus.post(Lane.TIMER, ModelLoaded(version="v2", sha256="s", accepted=True))
    running.play(bars(MONDAY, "10:00")).to(MONDAY, "10:01")
    at_ns, journal = at(MONDAY, "10:05"), running.core.journal
    cause = journal.append(bars(MONDAY, "10:05", (700.0,) * 5), cause=0, at_ns=at_ns)
    trip = BreakerTripped(name="model_loss", used=0.17, limit=0.15, detail="v2", until_ns=at(TUESDAY, "10:05"))
    journal.append(trip, cause=cause, at_ns=at_ns)
    running.kill()
    return running.core.gate.limits


def test_a_rollback_that_a_kill_kept_from_being_decided_is_decided_at_the_next_start(life):
    kept, loaded = killed_between_trip_and_rollback(life), []
    again = life(at(MONDAY, "10:10"), version="v2", limits=kept, roll_back=taking(loaded)).to(MONDAY, "10:11")
    assert loaded == ["v1"] and again.core.state.guard.model == "v1"
    assert "breaker.tripped" in [alert.event for alert in again.told], "nobody had been told"
    messages = again.kill()
    (decided,) = of(messages, RollbackDecided)
    assert (decided.model, decided.back_to, decided.used) == ("v2", "v1", 0.17)
    assert ReasonCode.BREAKER_LATCHED in [r.code for told in of(messages, RiskAlerted) for r in told.reasons]
    # Once: the next start has nothing to make up for.
    third = life(at(MONDAY, "10:20"), version="v1", limits=kept, roll_back=taking(loaded)).to(MONDAY, "10:21")
    assert loaded == ["v1"] and third.core.state.guard.board.latched == ("model_loss",)
    assert len(of(third.kill(), RollbackDecided)) == 1


def test_a_model_that_a_person_chose_meanwhile_is_not_rolled_back_for_the_loss_of_another(life):
    kept, loaded = killed_between_trip_and_rollback(life), []
    again = life(at(TUESDAY, "09:00"), version="v3", limits=kept, roll_back=taking(loaded)).to(TUESDAY, "09:01")
    assert loaded == [] and again.core.state.guard.model == "v3"
    # The loser stays thrown out: when the one that a person chose loses too, the one before both comes back.
    ask(again, "approve", uid=1, reason="go on")
    fell, more = (700.0,) * 5, (400.0,) * 5
    again.play(bars(TUESDAY, "10:10", fell), bars(TUESDAY, "10:20", fell), bars(TUESDAY, "10:30", more))
    again.to(TUESDAY, "10:40")
    assert loaded == ["v1"]
    assert [(d.model, d.back_to) for d in of(again.kill(), RollbackDecided)] == [("v3", "v1")]


@pytest.mark.parametrize("version", ["v3", ""])
def test_a_loss_whose_trip_a_kill_prevented_is_not_that_of_the_model_chosen_meanwhile(life, version):
    running = losing(life, [], version="v1")
    running.core.bus.post(Lane.TIMER, ModelLoaded(version="v2", sha256="s", accepted=True))
    running.play(bars(MONDAY, "10:00")).to(MONDAY, "10:01")
    running.core.journal.append(bars(MONDAY, "10:05", (700.0,) * 5), cause=0, at_ns=at(MONDAY, "10:05"))
    running.kill()
    kept, loaded = running.core.gate.limits, []
    again = life(at(MONDAY, "10:10"), version=version, limits=kept, roll_back=taking(loaded)).to(MONDAY, "10:11")
    assert loaded == [] and again.core.state.guard.board.latched == ()
    again.kill()


def test_what_was_approved_and_released_or_is_switched_off_is_not_rolled_back_at_a_start(life):
    kept, loaded = killed_between_trip_and_rollback(life), []
    off = limits(recovery__enable_auto_rollback=False)
    again = life(at(MONDAY, "10:10"), version="v2", limits=off, roll_back=taking(loaded)).to(MONDAY, "10:11")
    journal = again.core.journal
    journal.append(BreakerApproved(uid=1, reason="keep it"), cause=0, at_ns=at(MONDAY, "11:00"))
    journal.append(BreakerReleased(names=("model_loss",), approved_by=("1",)), cause=0, at_ns=at(TUESDAY, "11:00"))
    again.kill()
    third = life(at(WEDNESDAY, "09:00"), version="v2", limits=kept, roll_back=taking(loaded)).to(WEDNESDAY, "09:01")
    assert loaded == [] and third.core.state.guard.model == "v2"
    third.kill()


def test_a_rollback_that_is_due_does_not_override_a_model_that_a_person_chose_meanwhile(life):
    running = losing(life, [], version="v1")
    running.core.edges._run[RollBack] = lambda effect: None  # dies before it
    running.core.bus.post(Lane.TIMER, ModelLoaded(version="v2", sha256="s", accepted=True))
    running.play(bars(MONDAY, "10:00"), bars(MONDAY, "10:05", (700.0,) * 5)).to(MONDAY, "10:06")
    assert running.core.state.guard.rollback_due == "v1"
    running.kill()
    loaded = []
    kept = running.core.gate.limits
    again = life(at(TUESDAY, "09:00"), version="v3", limits=kept, roll_back=taking(loaded)).to(TUESDAY, "09:01")
    assert loaded == [] and again.core.state.guard.model == "v3"
    again.kill()
    # Its owner takes the one that was thrown out once more, knowingly: it is kept, and may be gone back to again.
    third = life(at(TUESDAY, "09:05"), version="v2", limits=kept, roll_back=taking(loaded)).to(TUESDAY, "09:06")
    assert loaded == [] and third.core.state.guard.model == "v2" and "v2" not in third.core.state.guard.thrown_out
    third.kill()
