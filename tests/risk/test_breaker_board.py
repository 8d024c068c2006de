"""Latches: durable, fail closed, and released only by time and a person together."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.errors import BadInput
from market.money import rupees
from risk.breakers.board import (
    UNKNOWN_EQUITY,
    UNKNOWN_EQUITY_DEADLINE_NS,
    BreakerBoard,
    PositionReading,
    Reading,
    Trip,
)
from risk.breakers.single_stock import SingleStockLoss
from risk.limits import RiskLimits
from risk.schema import Recovery
from tests.examples import examples
from tests.risk.board_steps import observe

MONDAY = date(2025, 6, 2)
LAKH = rupees(100_000)
HOUR = 3_600_000_000_000
DAY = 24 * HOUR


def reading(equity: float | None, at_ns: int = 0, **changes: object) -> Reading:
    values: dict[str, object] = {
        "at_ns": at_ns,
        "session": MONDAY + timedelta(days=at_ns // DAY),
        "equity": None if equity is None else rupees(equity),
        "previous_close_equity": LAKH,
    }
    return Reading(**{**values, **changes})  # type: ignore[arg-type]


def board(limits: RiskLimits | None = None) -> BreakerBoard:
    return BreakerBoard.start(limits or RiskLimits(), initial_equity=LAKH)


def tripped_board() -> BreakerBoard:
    after, trips = observe(board(), reading(94_000))
    assert [t.name for t in trips] == ["daily_loss"]
    return after


def test_a_quiet_day_trips_nothing_and_shows_headroom():
    after, trips = observe(board(), reading(99_000))
    assert trips == () and after.latched == ()
    assert {v.name for v in after.verdicts} == {
        "daily_loss", "weekly_loss", "drawdown", "single_stock_loss", "portfolio_value", "model_loss",
    }  # fmt: skip
    assert all(v.headroom > 0 for v in after.verdicts)


def test_a_trip_is_told_once_and_stays_when_the_loss_is_gone():
    latched = tripped_board()
    again, trips = observe(latched, reading(93_000, HOUR))
    assert trips == () and again.latched == ("daily_loss",)
    recovered, _ = observe(again, reading(120_000, DAY * 3))
    assert recovered.latched == ("daily_loss",)


def test_several_breakers_may_trip_at_once():
    after, trips = observe(board(), reading(80_000))
    assert {t.name for t in trips} == {"daily_loss", "weekly_loss", "drawdown", "portfolio_value"}
    assert set(after.latched) == {t.name for t in trips}


def test_a_peak_is_remembered_over_sessions():
    high, _ = observe(board(), reading(120_000))
    low, trips = observe(high, reading(101_000, DAY, previous_close_equity=rupees(101_500)))
    assert "drawdown" in [t.name for t in trips] and "drawdown" in low.latched


def test_time_alone_releases_nothing():
    after, _ = observe(tripped_board(), reading(99_000, 100 * DAY))
    assert after.latched == ("daily_loss",)


def test_approval_alone_releases_nothing():
    approved = tripped_board().approve("asha", "checked the fills", HOUR)
    after, _ = observe(approved, reading(99_000, DAY - 1))
    assert after.latched == ("daily_loss",)


def test_pause_and_approval_together_release_and_the_breaker_measures_afresh():
    approved = tripped_board().approve("asha", "checked the fills", HOUR)
    assert approved.latches[0].approved_by == "asha" and approved.latches[0].approved_at_ns == HOUR
    after, trips = observe(approved, reading(94_000, DAY, session=MONDAY))
    assert after.latched == () and trips == ()
    after, trips = observe(after, reading(89_300, DAY + HOUR, session=MONDAY))
    assert [t.name for t in trips] == ["daily_loss", "weekly_loss"]


def test_an_unknown_reading_releases_nothing():
    approved = tripped_board().approve("asha", "checked the fills", HOUR)
    after, _ = observe(approved, reading(None, DAY))
    assert after.latched == ("daily_loss",)


@pytest.mark.parametrize(("who", "reason"), [("", "why"), ("asha", ""), ("asha", "  ")])
def test_an_approval_needs_a_name_and_a_reason(who, reason):
    with pytest.raises(BadInput, match="a name and a reason"):
        tripped_board().approve(who, reason, HOUR)


def test_there_is_nothing_to_approve_twice_or_in_peace():
    with pytest.raises(BadInput, match="no circuit breaker waits"):
        board().approve("asha", "just in case", HOUR)
    with pytest.raises(BadInput, match="no circuit breaker waits"):
        tripped_board().approve("asha", "seen", HOUR).approve("ravi", "seen too", HOUR)


def test_a_later_trip_needs_an_approval_of_its_own():
    approved = tripped_board().approve("asha", "daily loss seen", HOUR)
    worse, trips = observe(approved, reading(84_000, 2 * HOUR))
    assert {t.name for t in trips} == {"weekly_loss", "drawdown"}
    released, _ = observe(worse, reading(84_000, 2 * DAY))
    assert set(released.latched) == {"weekly_loss", "drawdown"}


def test_unknown_equity_is_a_breach_after_its_deadline_and_not_before():
    after, trips = observe(board(), reading(None, HOUR))
    after, trips = observe(after, reading(None, HOUR + UNKNOWN_EQUITY_DEADLINE_NS - 1))
    assert trips == ()
    after, trips = observe(after, reading(None, HOUR + UNKNOWN_EQUITY_DEADLINE_NS))
    assert [t.name for t in trips] == [UNKNOWN_EQUITY] and after.latched == (UNKNOWN_EQUITY,)
    known, _ = observe(after, reading(100_000, 3 * HOUR))
    assert known.latched == (UNKNOWN_EQUITY,)


def test_a_known_equity_in_between_starts_the_deadline_again():
    after, _ = observe(board(), reading(None, HOUR))
    after, _ = observe(after, reading(100_000, HOUR + 1))
    _, trips = observe(after, reading(None, HOUR + UNKNOWN_EQUITY_DEADLINE_NS))
    assert trips == ()


def test_ill_health_latches_once_like_a_loss():
    sick = board().latch(Trip("data_health", HOUR, 3.0, 3.0, "no price"))
    assert sick.latched == ("data_health",) and sick.latch(Trip("data_health", 2 * HOUR, 4.0, 3.0, "again")) == sick
    after, _ = observe(sick.approve("asha", "feed is back", 2 * HOUR), reading(100_000, 26 * HOUR))
    assert after.latched == ()


def test_without_manual_approval_the_pause_is_enough():
    limits = RiskLimits(recovery=Recovery(require_manual_approval=False))
    after, _ = observe(board(limits), reading(94_000))
    assert after.latched == ("daily_loss",)
    assert observe(after, reading(94_000, DAY - 1))[0].latched == ("daily_loss",)
    assert observe(after, reading(94_000, DAY))[0].latched == ()


def test_a_latch_keeps_what_tripped_it_and_who_approved_it_why():
    holding = PositionReading("SBIN", 10, rupees(100), rupees(80))
    after, _ = observe(board(), reading(99_000, 5, positions=(holding,)))
    (latch,) = after.latches
    assert (latch.name, latch.tripped_at_ns, latch.detail) == ("single_stock_loss", 5, "SBIN")
    assert (latch.used, latch.limit) == (pytest.approx(0.2), 0.08)
    (latch,) = after.approve(" asha ", " seen ", HOUR).latches
    assert (latch.approved_by, latch.approved_reason, latch.approved_at_ns) == ("asha", "seen", HOUR)


def test_a_second_approval_is_for_the_later_trip_alone():
    approved = tripped_board().approve("asha", "daily loss seen", HOUR)
    worse, _ = observe(approved, reading(84_000, 2 * HOUR))
    names = {latch.name: latch.approved_by for latch in worse.approve("ravi", "the rest", 3 * HOUR).latches}
    assert names == {"daily_loss": "asha", "weekly_loss": "ravi", "drawdown": "ravi"}


def test_what_a_release_measures_afresh_it_remembers():
    released, _ = observe(tripped_board().approve("asha", "seen", HOUR), reading(94_000, DAY, session=MONDAY))
    assert released.latched == ()
    later, trips = observe(released, reading(93_000, DAY + HOUR, session=MONDAY))
    assert trips == () and {v.name: v.used for v in later.verdicts}["daily_loss"] == pytest.approx(1 / 94)


def test_a_refused_approval_says_why_in_one_line():
    with pytest.raises(
        BadInput, match=r"^approve: a name and a reason are needed; an approval without a reason is not one$"
    ):
        tripped_board().approve("asha", "", HOUR)
    with pytest.raises(BadInput, match=r"^approve: no circuit breaker waits for an approval$"):
        board().approve("asha", "just in case", HOUR)


def test_a_split_reaches_the_breaker_of_single_stocks_alone_and_nothing_is_released_on_the_old_basis():
    holding = PositionReading("SBIN", 10, rupees(100), rupees(80))
    latched, _ = observe(board(), reading(99_000, positions=(holding,)))
    released = latched.approve("asha", "seen", HOUR).release(("single_stock_loss",))
    after = released.apply_action("SBIN", 2, 1, before=rupees(100), after=rupees(50))
    assert SingleStockLoss(0.08, {"SBIN": (rupees(50), rupees(40))}) in after.breakers
    assert [type(b) for b in after.breakers] == [type(b) for b in released.breakers]
    assert [b for b in after.breakers if not isinstance(b, SingleStockLoss)] == [
        b for b in released.breakers if not isinstance(b, SingleStockLoss)
    ]
    approved = latched.approve("asha", "seen", HOUR)
    assert approved.releasable(DAY) == ("single_stock_loss",)
    assert approved.apply_action("SBIN", 2, 1, before=rupees(100), after=rupees(50)).releasable(DAY) == ()


STEPS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(1, 200_000)), st.integers(0, 30), st.integers(-5_000, 5_000), st.booleans()
    ),
    max_size=30,
)


@settings(max_examples=examples(150), deadline=None)
@given(STEPS)
def test_no_latch_ever_goes_without_pause_and_approval(steps):
    warm = board()
    at_ns = 0
    for equity, hours, deposit, approve in steps:
        at_ns += hours * HOUR
        before = {latch.name: latch for latch in warm.latches}
        now = reading(equity, at_ns, net_deposit=rupees(deposit), positions=(PositionReading("SBIN", 5, LAKH, LAKH),))
        warm, trips = observe(warm, now)
        for name, latch in before.items():
            # A breaker may be released and trip again in one reading only as news.
            if name not in warm.latched or any(t.name == name for t in trips):
                assert latch.approved and at_ns >= latch.tripped_at_ns + DAY
        if approve and any(not latch.approved for latch in warm.latches):
            warm = warm.approve("asha", "seen", at_ns)


# ---- how long a pause lasts


def test_a_trip_says_when_its_pause_ends_and_its_latch_keeps_it():
    day = board().measure(reading(94_000, HOUR))
    (trip,) = day.due(2 * HOUR)
    assert trip.until_ns == 2 * HOUR + DAY
    assert day.latch(trip).latches[0].until_ns == 2 * HOUR + DAY
    dark = board().measure(reading(None, 0))
    (trip,) = dark.due(UNKNOWN_EQUITY_DEADLINE_NS)
    assert trip.until_ns == UNKNOWN_EQUITY_DEADLINE_NS + DAY


@pytest.mark.parametrize(("recorded", "hours", "until"), [(30, 24, 30), (12, 24, 24), (24, 24, 24), (0, 24, 24)])
def test_a_pause_of_later_limits_may_be_longer_and_not_shorter(recorded, hours, until):
    later = board(RiskLimits(recovery=Recovery(pause_duration_hours=float(hours))))
    latched = later.latch(Trip("daily_loss", 0, 0.06, 0.05, "", recorded * HOUR))
    assert latched.paused_until(latched.latches[0]) == until * HOUR


def test_nobody_waited_for_a_known_equity_while_there_was_no_process():
    quiet = board()
    assert quiet.forget_waiting(7) is quiet
    waited = quiet.measure(reading(None, 0)).forget_waiting(HOUR)
    assert waited.unknown_since_ns == HOUR
    assert waited.due(HOUR + UNKNOWN_EQUITY_DEADLINE_NS - 1) == () != waited.due(HOUR + UNKNOWN_EQUITY_DEADLINE_NS)
