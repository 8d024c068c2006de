"""Alerts: each speaks at its threshold, once, and only of what is news."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.money import Paise, rupees
from risk.alerts import MONTH, after_session, concerns, monthly_sharpe, news, slippage, slipped, without_volume
from risk.approval import Side
from risk.reasons import Reason, ReasonCode
from risk.schema import Alerts, CircuitBreakers, Execution, RiskLimits


def limits(**keys: object) -> RiskLimits:
    return RiskLimits(alerts=Alerts(**keys))  # type: ignore[arg-type]


def codes(reasons: tuple[Reason, ...]) -> list[ReasonCode]:
    return [reason.code for reason in reasons]


# ---- losing streaks


def test_a_streak_is_told_when_it_reaches_the_threshold_and_at_each_multiple():
    told = [bool(after_session([-0.01], days, limits(negative_days_threshold=3))) for days in range(8)]
    assert told == [False, False, False, True, False, False, True, False]
    (reason,) = after_session([-0.01] * 3, 3, limits(negative_days_threshold=3))
    assert (reason.code, reason.value, reason.limit) == (ReasonCode.ALERT_NEGATIVE_DAYS, 3, 3)
    assert after_session([-0.01] * 30, 40, limits(negative_days_threshold=40)), "longer than the returns that are kept"


# ---- the book at the close


def test_positions_that_are_too_large_and_too_few_are_concerns():
    under = RiskLimits(circuit_breakers=CircuitBreakers(max_single_position_percent=50.0, min_positions_count=2))
    assert concerns(("SBIN", "TCS"), (0.5, 0.1), under) == ()
    large, few = concerns(("SBIN", "TCS"), (0.51, 0.0), under)
    assert (large.code, large.symbol, large.value, large.limit) == (ReasonCode.ALERT_SINGLE_POSITION, "SBIN", 0.51, 0.5)
    assert (few.code, few.value, few.limit) == (ReasonCode.ALERT_FEW_POSITIONS, 1, 2)


def test_a_position_has_a_billionth_for_rounding_and_no_more():
    under = RiskLimits(circuit_breakers=CircuitBreakers(max_single_position_percent=50.0, min_positions_count=0))
    assert concerns(("SBIN",), (0.5 + 0.9e-9,), under) == () and concerns(("SBIN",), (0.5 + 1.1e-9,), under) != ()


def test_only_what_was_no_concern_before_is_news():
    old = Reason(ReasonCode.ALERT_SINGLE_POSITION, "SBIN", 0.51, 0.5)
    grown = Reason(ReasonCode.ALERT_SINGLE_POSITION, "SBIN", 0.6, 0.5)
    other = Reason(ReasonCode.ALERT_SINGLE_POSITION, "TCS", 0.6, 0.5)
    few = Reason(ReasonCode.ALERT_FEW_POSITIONS, value=1, limit=3)
    assert news((grown, other, few), (old,)) == (other, few)
    assert news((), (old,)) == () and news((old,), ()) == (old,)


# ---- Sharpe


def test_the_monthly_sharpe_needs_a_month_and_something_that_varies():
    assert monthly_sharpe([0.01, -0.01] * 10) is None, "twenty sessions are not a month"
    assert monthly_sharpe([0.0] * 30) is None and monthly_sharpe([0.01] * 30) is None
    assert monthly_sharpe([0.01, -0.01] * 10 + [0.0]) == pytest.approx(0.0, abs=1e-12)


def test_the_monthly_sharpe_is_mean_over_deviation_of_the_last_month_a_year():
    month = [0.02, 0.0, 0.01] * 7
    mean, deviation = 0.01, (sum((x - 0.01) ** 2 for x in month) / 20) ** 0.5
    assert monthly_sharpe([9.0, *month]) == pytest.approx(mean / deviation * 252**0.5)
    assert MONTH == 21


def test_a_poor_month_is_told_when_it_begins_and_not_while_it_lasts():
    good, bad = [0.002, 0.001] * 11, [-0.004, 0.001]
    line = good + bad * 10
    told = [
        end
        for end in range(1, len(line) + 1)
        if ReasonCode.ALERT_LOW_SHARPE in codes(after_session(line[:end], 0, limits()))
    ]
    assert len(told) == 1
    first = line[: told[0]]
    (reason,) = [r for r in after_session(first, 0, limits()) if r.code is ReasonCode.ALERT_LOW_SHARPE]
    assert reason.value == monthly_sharpe(first) < 0.5 == reason.limit <= (monthly_sharpe(first[:-1]) or 0.0)


def test_a_first_month_that_is_poor_is_told():
    assert ReasonCode.ALERT_LOW_SHARPE in codes(after_session([-0.001, 0.0005] * 10 + [-0.001], 1, limits()))


def test_a_month_at_the_threshold_is_not_below_it():
    line = [0.01, -0.01] * 10 + [0.0]
    exact = monthly_sharpe(line)
    assert exact is not None
    assert after_session(line, 0, limits(low_sharpe_threshold=exact)) == ()


def test_a_month_that_falls_from_exactly_the_threshold_is_told():
    line = [0.01, -0.01] * 10 + [0.0]
    exact = monthly_sharpe(line)
    assert exact is not None
    assert ReasonCode.ALERT_LOW_SHARPE in codes(after_session([*line, -0.05], 1, limits(low_sharpe_threshold=exact)))


@given(st.lists(st.floats(-0.2, 0.2), max_size=40))
def test_whatever_the_returns_the_answer_is_about_them(returns):
    assert set(codes(after_session(returns, len(returns), RiskLimits()))) <= {
        ReasonCode.ALERT_NEGATIVE_DAYS, ReasonCode.ALERT_LOW_SHARPE,
    }  # fmt: skip


# ---- volume


def test_bars_without_volume_are_told_beyond_their_share():
    found = without_volume({"SBIN": (100, 5), "TCS": (100, 6), "INFY": (1, 1), "NONE": (0, 0)}, limits())
    assert [(r.code, r.symbol, r.value, r.limit) for r in found] == [
        (ReasonCode.ALERT_ZERO_VOLUME, "TCS", 0.06, 0.05),
        (ReasonCode.ALERT_ZERO_VOLUME, "INFY", 1.0, 0.05),
    ]


# ---- slippage


def test_slippage_is_what_a_price_costs_us_against_the_reference():
    hundred = rupees(100)
    assert slippage(Side.BUY, price=rupees(101), reference=hundred) == pytest.approx(0.01)
    assert slippage(Side.BUY, price=rupees(99), reference=hundred) == pytest.approx(-0.01)
    assert slippage(Side.SELL, price=rupees(99), reference=hundred) == pytest.approx(0.01)
    assert slippage(Side.SELL, price=rupees(101), reference=hundred) == pytest.approx(-0.01)


def test_a_fill_is_told_beyond_the_acceptable_slippage_and_not_at_it():
    under = RiskLimits(execution=Execution(max_acceptable_slippage=0.005))
    at = {"reference": rupees(1_000), "limits": under}
    assert slipped("SBIN", Side.BUY, price=rupees(1_005), **at) == ()
    assert slipped("SBIN", Side.SELL, price=rupees(1_100), **at) == ()
    (reason,) = slipped("SBIN", Side.BUY, price=Paise(rupees(1_005) + 1), **at)
    assert (reason.code, reason.symbol, reason.limit) == (ReasonCode.ALERT_SLIPPAGE, "SBIN", 0.005)
    assert reason.value == pytest.approx(0.00501)
    assert slipped("SBIN", Side.SELL, price=Paise(rupees(995) - 1), **at)
