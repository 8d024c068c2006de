"""Each breaker: its baseline, its scope, and that it trips at its limit."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.money import Paise, rupees
from risk.breakers.base import PositionReading, Reading, Verdict, after_cash, fraction_lost
from risk.breakers.daily_loss import DailyLoss
from risk.breakers.drawdown import Drawdown
from risk.breakers.portfolio_value import PortfolioValue
from risk.breakers.single_stock import SingleStockLoss
from risk.breakers.weekly_loss import WeeklyLoss
from risk.limits import RiskLimits
from risk.schema import CircuitBreakers

MONDAY = date(2025, 6, 2)
LAKH = rupees(100_000)


def reading(equity: float, **changes: object) -> Reading:
    values: dict[str, object] = {"at_ns": 0, "session": MONDAY, "equity": rupees(equity)}
    return Reading(**{**values, **changes})  # type: ignore[arg-type]


def limits(**keys: object) -> RiskLimits:
    return RiskLimits(circuit_breakers=CircuitBreakers(**keys))  # type: ignore[arg-type]


def holding(symbol: str, entry: float, last: float, quantity: int = 10) -> PositionReading:
    return PositionReading(symbol, quantity, rupees(entry), rupees(last))


# ---- drawdown


def test_drawdown_trips_at_the_limit_and_counts_deposits_as_neither_gain_nor_loss():
    breaker = Drawdown(limit=0.15, peak=LAKH)
    breaker, verdict = breaker.observe(reading(86_000))
    assert not verdict.tripped and verdict.headroom == pytest.approx(0.01)
    breaker, verdict = breaker.observe(reading(136_000, net_deposit=rupees(50_000)))
    assert not verdict.tripped
    breaker, verdict = breaker.observe(reading(127_500))
    assert verdict.tripped


def test_drawdown_counts_a_withdrawal_as_no_loss():
    breaker, verdict = Drawdown(limit=0.15, peak=LAKH).observe(reading(60_000, net_deposit=rupees(-40_000)))
    assert verdict.used == 0.0 and breaker.peak == rupees(60_000)


@given(st.lists(st.integers(100, 10**9), min_size=2, max_size=30))
def test_headroom_never_improves_while_equity_falls(path):
    breaker = Drawdown(limit=0.15, peak=Paise(1))
    last = None
    for equity in path:
        breaker, verdict = breaker.observe(reading(equity / 100.0))
        if last is not None and equity < last[0]:
            assert verdict.headroom <= last[1].headroom
        last = (equity, verdict)


# ---- daily loss


def test_daily_loss_is_measured_from_the_last_sessions_close():
    breaker = DailyLoss.of(RiskLimits(), LAKH)
    breaker, verdict = breaker.observe(reading(97_000, previous_close_equity=rupees(100_000)))
    assert verdict.used == pytest.approx(0.03) and not verdict.tripped
    breaker, verdict = breaker.observe(reading(95_000, previous_close_equity=rupees(100_000)))
    assert verdict.tripped
    tomorrow = reading(95_000, session=MONDAY + timedelta(days=1), previous_close_equity=rupees(95_000))
    assert breaker.observe(tomorrow)[1].used == 0.0


def test_daily_loss_counts_an_overnight_gap():
    breaker = DailyLoss.of(RiskLimits(), LAKH)
    assert breaker.observe(reading(94_000, previous_close_equity=rupees(100_000)))[1].tripped


def test_daily_loss_does_not_take_a_deposit_for_a_gain_or_a_withdrawal_for_a_loss():
    breaker = DailyLoss.of(RiskLimits(), LAKH)
    breaker, verdict = breaker.observe(
        reading(146_000, previous_close_equity=rupees(100_000), net_deposit=rupees(50_000))
    )
    assert verdict.used == pytest.approx(0.04, abs=1e-6), "down 4 % before the deposit, and after it"
    breaker, verdict = breaker.observe(reading(46_000, net_deposit=rupees(-100_000)))
    assert verdict.used == pytest.approx(0.04, abs=1e-6) and not verdict.tripped


@pytest.mark.parametrize("kind", [DailyLoss, WeeklyLoss])
def test_a_loss_in_rupees_stays_that_many_rupees_whatever_is_paid_in_or_out(kind):
    keys = {"max_daily_loss_absolute": 3_000.0, "max_weekly_loss_absolute": 3_000.0}
    breaker, verdict = kind.of(limits(**keys), LAKH).observe(reading(97_100, previous_close_equity=LAKH))
    assert not verdict.tripped and verdict.headroom * 100_000 == pytest.approx(100)
    breaker, verdict = breaker.observe(reading(1_097_100, net_deposit=rupees(1_000_000)))
    assert not verdict.tripped and verdict.used * 1_100_000 == pytest.approx(2_900)
    breaker, verdict = breaker.observe(reading(1_096_999))
    assert verdict.tripped and verdict.used < 0.05, "a small part of the account by now"
    _, verdict = breaker.observe(reading(40_000, net_deposit=rupees(-1_056_999)))
    assert verdict.tripped


def test_an_account_that_had_nothing_before_a_deposit_starts_with_it():
    breaker, _ = Drawdown(0.15, rupees(0)).observe(reading(50_000, net_deposit=rupees(50_000)))
    assert breaker.peak == rupees(50_000)
    assert after_cash(rupees(10), reading(40, net_deposit=rupees(40))) == rupees(50)
    assert after_cash(rupees(10), reading(40)) == rupees(10)
    assert after_cash(Paise(3), Reading(0, MONDAY, Paise(10), Paise(5))) == Paise(6)


def test_daily_loss_on_the_first_session_ever_starts_from_the_first_reading():
    breaker, verdict = DailyLoss.of(RiskLimits(), LAKH).observe(reading(80_000))
    assert verdict.used == 0.0 and breaker.baseline == rupees(80_000)


def test_daily_loss_in_rupees_counts_when_it_is_the_tighter_one():
    breaker = DailyLoss.of(limits(max_daily_loss_absolute=2_000.0), LAKH)
    assert not breaker.observe(reading(98_001, previous_close_equity=LAKH))[1].tripped
    _, verdict = breaker.observe(reading(98_000, previous_close_equity=LAKH))
    assert verdict.tripped and verdict.limit == pytest.approx(0.02)


# ---- weekly loss


def test_weekly_loss_adds_up_over_the_sessions_of_a_week_and_starts_again_on_monday():
    breaker = WeeklyLoss.of(RiskLimits(), LAKH)
    close = 100_000.0
    for day, equity in enumerate((97_000, 94_000, 91_000)):
        now = reading(equity, session=MONDAY + timedelta(days=day), previous_close_equity=rupees(close))
        breaker, verdict = breaker.observe(now)
        assert not verdict.tripped
        close = equity
    breaker, verdict = breaker.observe(reading(90_000, session=MONDAY + timedelta(days=3)))
    assert verdict.tripped
    next_week = reading(89_000, session=MONDAY + timedelta(days=7), previous_close_equity=rupees(90_000))
    assert breaker.observe(next_week)[1].used == pytest.approx(1 / 90)


def test_weekly_loss_knows_the_turn_of_the_year_as_one_week():
    breaker, _ = WeeklyLoss.of(RiskLimits(), LAKH).observe(reading(100_000, session=date(2025, 12, 31)))
    breaker, verdict = breaker.observe(reading(89_000, session=date(2026, 1, 1), previous_close_equity=LAKH))
    assert verdict.tripped


# ---- single stock, portfolio value


def test_single_stock_loss_is_measured_from_the_price_paid_and_names_the_worst():
    breaker = SingleStockLoss.of(RiskLimits(), LAKH)
    now = reading(100_000, positions=(holding("SBIN", 100, 95), holding("AXISBANK", 100, 92), holding("TCS", 10, 30)))
    _, verdict = breaker.observe(now)
    assert verdict.tripped and verdict.detail == "AXISBANK" and verdict.used == pytest.approx(0.08)


def test_single_stock_loss_ignores_what_is_no_longer_held():
    _, verdict = SingleStockLoss.of(RiskLimits(), LAKH).observe(
        reading(100_000, positions=(holding("SBIN", 100, 50, quantity=0),))
    )
    assert verdict.used == 0.0


def test_single_stock_loss_after_an_approved_resume_counts_what_comes_on_top():
    breaker = SingleStockLoss.of(RiskLimits(), LAKH)
    breaker = breaker.restart(reading(100_000, positions=(holding("SBIN", 100, 90),)))
    assert not breaker.observe(reading(1, positions=(holding("SBIN", 100, 89),)))[1].tripped
    assert breaker.observe(reading(1, positions=(holding("SBIN", 100, 82),)))[1].tripped
    # Bought again: the average price is another one, and the acceptance is void.
    assert breaker.observe(reading(1, positions=(holding("SBIN", 98, 89),)))[1].tripped


def test_portfolio_value_is_measured_against_what_was_put_in():
    breaker = PortfolioValue.of(RiskLimits(), LAKH)
    breaker, verdict = breaker.observe(reading(150_000, net_deposit=rupees(50_000)))
    assert verdict.used == 0.0
    assert breaker.observe(reading(120_001))[1].tripped is False
    assert breaker.observe(reading(120_000))[1].tripped


@pytest.mark.parametrize("kind", [DailyLoss, WeeklyLoss, Drawdown, PortfolioValue])
def test_an_account_with_nothing_left_has_lost_everything(kind):
    breaker = kind.of(RiskLimits(), Paise(0))
    _, verdict = breaker.observe(reading(-1, previous_close_equity=Paise(0)))
    assert verdict.tripped


@pytest.mark.parametrize("kind", [DailyLoss, WeeklyLoss, Drawdown, PortfolioValue])
def test_a_restarted_breaker_measures_from_the_reading_and_does_not_count_its_deposit_twice(kind):
    now = reading(70_000, net_deposit=rupees(10_000), previous_close_equity=LAKH)
    breaker = kind.of(RiskLimits(), LAKH)
    breaker, verdict = breaker.observe(reading(60_000, previous_close_equity=LAKH))
    assert verdict.tripped
    _, verdict = breaker.restart(now).observe(now)
    assert verdict.used == pytest.approx(0.0)


def test_each_breaker_takes_its_limit_from_the_file():
    shared = limits(max_daily_loss_absolute=2_000.0, max_weekly_loss_absolute=3_000.0)
    assert DailyLoss.of(shared, LAKH) == DailyLoss(5.0, 2_000.0, None, LAKH, LAKH)
    assert WeeklyLoss.of(shared, LAKH) == WeeklyLoss(10.0, 3_000.0, None, LAKH, LAKH)
    assert Drawdown.of(RiskLimits(), LAKH) == Drawdown(0.15, LAKH)
    assert SingleStockLoss.of(RiskLimits(), LAKH) == SingleStockLoss(0.08, {})


# ---- deposits within a session, and limits in rupees after them


@pytest.mark.parametrize("kind", [DailyLoss, WeeklyLoss])
def test_a_deposit_in_the_middle_of_a_session_stays_in_the_baseline(kind):
    breaker, _ = kind.of(RiskLimits(), LAKH).observe(reading(100_000, previous_close_equity=LAKH))
    breaker, _ = breaker.observe(reading(150_000, net_deposit=rupees(50_000), previous_close_equity=LAKH))
    breaker, verdict = breaker.observe(reading(147_000, previous_close_equity=LAKH))
    assert verdict.used == pytest.approx(3 / 150) and breaker.session == MONDAY


@pytest.mark.parametrize(
    ("kind", "key"), [(DailyLoss, "max_daily_loss_absolute"), (WeeklyLoss, "max_weekly_loss_absolute")]
)
def test_a_limit_in_rupees_is_a_smaller_part_of_a_larger_account(kind, key):
    breaker, verdict = kind.of(limits(**{key: 2_000.0}), LAKH).observe(reading(100_000, previous_close_equity=LAKH))
    assert verdict.limit == pytest.approx(0.02)
    breaker, verdict = breaker.observe(reading(200_000, net_deposit=rupees(100_000), previous_close_equity=LAKH))
    assert verdict.limit == pytest.approx(0.01)
    _, verdict = breaker.observe(reading(199_900))
    assert (verdict.used, verdict.limit) == (pytest.approx(0.0005), pytest.approx(0.01))
    _, verdict = kind.of(limits(**{key: 50_000.0}), LAKH).observe(reading(99_000, previous_close_equity=LAKH))
    assert verdict.used == pytest.approx(0.01) and verdict.limit < 0.11, "the percentage is the tighter one"


def test_weekly_loss_takes_a_deposit_before_the_week_or_before_a_session_into_the_baseline():
    monday = reading(150_000, net_deposit=rupees(50_000), previous_close_equity=LAKH)
    breaker, verdict = WeeklyLoss.of(RiskLimits(), LAKH).observe(monday)
    assert verdict.used == 0.0 and breaker.baseline == rupees(150_000)
    tuesday = reading(
        160_000, session=MONDAY + timedelta(days=1), net_deposit=rupees(10_000), previous_close_equity=rupees(150_000)
    )
    breaker, verdict = breaker.observe(tuesday)
    assert verdict.used == 0.0 and breaker.baseline == rupees(160_000)


# ---- a single stock, share by share


def worst(breaker: SingleStockLoss, *positions: PositionReading) -> tuple[str, float]:
    _, verdict = breaker.observe(reading(100_000, positions=positions))
    return verdict.detail, verdict.used


def test_without_a_loss_no_stock_is_named_and_of_equal_losses_the_first_is():
    breaker = SingleStockLoss.of(RiskLimits(), LAKH)
    assert worst(breaker) == ("", 0.0)
    assert worst(breaker, holding("SBIN", 100, 100), holding("TCS", 100, 110)) == ("", 0.0)
    assert worst(breaker, holding("SBIN", 100, 95), holding("TCS", 100, 95))[0] == "SBIN"


def test_a_holding_that_says_nothing_hides_none_that_does():
    breaker = SingleStockLoss.of(RiskLimits(), LAKH)
    gone = holding("SBIN", 100, 50, quantity=0)
    unpaid = PositionReading("BONUS", 10, Paise(0), rupees(10))
    assert worst(breaker, gone, unpaid, holding("TCS", 100, 95)) == ("TCS", pytest.approx(0.05))


def test_one_share_and_a_price_of_one_paisa_count():
    breaker = SingleStockLoss.of(RiskLimits(), LAKH)
    assert worst(breaker, holding("SBIN", 100, 90, quantity=1)) == ("SBIN", pytest.approx(0.1))
    assert worst(breaker, PositionReading("PENNY", 10, Paise(1), Paise(0))) == ("PENNY", 1.0)


def test_what_is_accepted_is_what_is_held_at_a_known_price():
    breaker = SingleStockLoss.of(RiskLimits(), LAKH).restart(
        reading(
            100_000,
            positions=(
                holding("SBIN", 100, 90, quantity=1),
                holding("GONE", 100, 90, quantity=0),
                PositionReading("DARK", 10, rupees(100), Paise(0)),
                PositionReading("PENNY", 10, Paise(2), Paise(1)),
            ),
        )
    )
    assert breaker == SingleStockLoss(0.08, {"SBIN": (rupees(100), rupees(90)), "PENNY": (Paise(2), Paise(1))})
    # Those that were not accepted are judged as ever.
    assert worst(breaker, holding("TCS", 100, 91), holding("SBIN", 100, 90)) == ("TCS", pytest.approx(0.09))


# ---- splits and bonus issues


def accepted(**pairs: tuple[int, int]) -> SingleStockLoss:
    return SingleStockLoss(0.08, {symbol: (Paise(entry), Paise(price)) for symbol, (entry, price) in pairs.items()})


def test_a_split_moves_an_accepted_price_to_the_new_basis_and_leaves_the_others():
    before = accepted(SBIN=(10_000, 9_000), TCS=(50_000, 45_000))
    after = before.apply_action("SBIN", 2, 1, before=Paise(10_000), after=Paise(5_000))
    assert after == accepted(SBIN=(5_000, 4_500), TCS=(50_000, 45_000))
    assert not after.observe(reading(1, positions=(holding("SBIN", 50, 44.9),)))[1].tripped


def test_an_accepted_price_is_rounded_to_the_nearest_paisa():
    # Three new shares for two: 9,001 * 2 / 3 = 6,000.67; 9,002 * 2 / 3 = 6,001.33; a half goes up.
    for price, new in ((9_001, 6_001), (9_002, 6_001)):
        moved = accepted(SBIN=(10_000, price)).apply_action("SBIN", 3, 2, before=Paise(10_000), after=Paise(6_667))
        assert moved == accepted(SBIN=(6_667, new))
    half = accepted(SBIN=(10_000, 9_001)).apply_action("SBIN", 2, 1, before=Paise(10_000), after=Paise(5_000))
    assert half == accepted(SBIN=(5_000, 4_501))


def test_an_action_on_another_entry_voids_the_acceptance_and_on_another_stock_changes_nothing():
    before = accepted(SBIN=(10_000, 9_000), TCS=(50_000, 45_000))
    assert before.apply_action("INFY", 2, 1, before=Paise(1), after=Paise(1)) is before
    void = accepted(TCS=(50_000, 45_000))
    assert before.apply_action("SBIN", 2, 1, before=Paise(9_999), after=Paise(5_000)) == void
    assert before.apply_action("SBIN", 20_000, 1, before=Paise(10_000), after=Paise(0)) == void
    assert before.apply_action("SBIN", 10_000, 1, before=Paise(10_000), after=Paise(1)) == accepted(
        SBIN=(1, 1), TCS=(50_000, 45_000)
    )


# ---- what is lost, and which of two limits counts


@pytest.mark.parametrize(
    ("now", "baseline", "lost"),
    [(-1, 1, 2.0), (0, 1, 1.0), (1, 1, 0.0), (95, 100, 0.05), (1, 0, 0.0), (0, 0, 1.0), (-1, -5, 1.0)],
)
def test_the_part_that_is_lost_of_nothing_is_all_of_it_unless_something_is_there(now, baseline, lost):
    assert fraction_lost(now=now, baseline=baseline) == pytest.approx(lost)


def test_reaching_the_limit_but_for_the_rounding_of_floats_is_a_trip():
    assert Verdict("drawdown", 0.15 - 1e-12, 0.15).tripped
    assert not Verdict("drawdown", 0.15 - 2e-12, 0.15).tripped


# ---- a period's loss, to the paisa


def test_a_period_remembers_its_session_and_what_it_started_from():
    first = DailyLoss.of(RiskLimits(), LAKH)
    begun, _ = first.observe(reading(90_000))
    assert begun == DailyLoss(5.0, None, MONDAY, rupees(90_000), rupees(90_000))
    paid_in, _ = first.observe(reading(150_000, previous_close_equity=LAKH, net_deposit=rupees(50_000)))
    assert paid_in == DailyLoss(5.0, None, MONDAY, rupees(150_000), rupees(150_000))
    taken_out, _ = first.observe(reading(40_000, previous_close_equity=LAKH, net_deposit=rupees(-50_000)))
    assert taken_out == DailyLoss(5.0, None, MONDAY, rupees(44_444.44), rupees(50_000)), "down a tenth before and after"


def test_a_week_goes_on_in_its_next_session_and_knows_it():
    monday, _ = WeeklyLoss.of(RiskLimits(), LAKH).observe(reading(100_000, previous_close_equity=LAKH))
    tuesday, _ = monday.observe(
        reading(99_000, session=MONDAY + timedelta(days=1), previous_close_equity=rupees(98_000))
    )
    assert tuesday == WeeklyLoss(10.0, None, MONDAY + timedelta(days=1), LAKH, LAKH)
    assert monday.observe(reading(99_000))[0] is monday, "within a session nothing moves"


def period(absolute: float, *, rupees_from: int, baseline: int = 10_000) -> DailyLoss:
    return DailyLoss(5.0, absolute, MONDAY, Paise(baseline), Paise(rupees_from))


def test_which_of_two_limits_is_told():
    # Rs 1 of Rs 100 (1 %) against 5 %.
    assert period(1.0, rupees_from=10_000).verdict(Paise(10_000)).limit == pytest.approx(0.01), "no loss: the smaller"
    assert period(5.0, rupees_from=10_000).verdict(Paise(10_000)).limit == 0.05
    assert period(5.0, rupees_from=10_000).verdict(Paise(9_900)).limit == 0.05, "equally far: the percentage"
    # Up in rupees and down in percent, or the reverse: what is lost counts.
    down = period(10.0, rupees_from=9_000, baseline=10_000).verdict(Paise(9_900))
    assert (down.used, down.limit) == (pytest.approx(0.01), 0.05)
    down = period(10.0, rupees_from=10_001, baseline=10_000).verdict(Paise(10_000))
    assert (down.used, down.limit) == (pytest.approx(1 / 10_001), pytest.approx(1_000 / 10_001))
    assert period(1.0, rupees_from=0).verdict(Paise(-1)).limit == 0.05, "of nothing there is no part"


def test_the_last_paisa_before_a_deposit_counts():
    assert after_cash(Paise(4), Reading(0, MONDAY, Paise(101), Paise(100))) == Paise(404)


@pytest.mark.parametrize(
    ("kind", "key"), [(DailyLoss, "max_daily_loss_absolute"), (WeeklyLoss, "max_weekly_loss_absolute")]
)
def test_cash_moved_since_a_close_counts_in_proportion_and_rupee_by_rupee(kind, key):
    # 100,000 at the last close, 80,000 when 40,000 were taken out: half is there of what remained.
    breaker = kind.of(limits(**{key: 30_000.0}), LAKH)
    now = reading(40_000, previous_close_equity=rupees(50_000), previous_close_rupees=rupees(60_000))
    breaker, _ = breaker.observe(now)
    assert (breaker.baseline, breaker.rupees) == (rupees(50_000), rupees(60_000))


def test_a_loss_in_percent_that_is_none_in_rupees_is_still_judged_as_a_loss():
    # In proportion 2 % are gone; rupee by rupee nothing is.
    breaker = DailyLoss.of(limits(max_daily_loss_absolute=900.0), LAKH)
    now = reading(98_000, previous_close_equity=LAKH, previous_close_rupees=rupees(98_000))
    _, verdict = breaker.observe(now)
    assert (verdict.used, verdict.limit) == (pytest.approx(0.02), pytest.approx(0.05))
