"""The judgement of whole shares as a whole: each reason on both sides of its limit."""

from __future__ import annotations

import pytest

from market.money import rupees
from risk.plan_checks import against_plan
from risk.projection import Bounds
from risk.reasons import Reason, ReasonCode

BOUNDS = Bounds(0.40, 0.05, 0.95, 0.30)
NAMES = ("A", "B")
PRICES = (rupees(1_000), rupees(500))
C = ReasonCode


def judge(before, after, **options) -> list[Reason]:
    values = {"equity": rupees(100_000), "bounds": BOUNDS, **options}
    return against_plan(NAMES, before, after, values.pop("prices", PRICES), **values)


def test_nothing_changed_is_nothing_to_judge():
    assert judge((90, 90), (90, 90), traded=rupees(1_000_000)) == []


def test_each_reason_carries_its_numbers():
    (reason,) = judge((10, 0), (41, 0))
    assert reason == Reason(C.PLAN_MAX_WEIGHT, "A", 0.41, 0.40)
    (reason,) = judge((40, 60), (40, 111), bounds=Bounds(1.0, 0.0, 0.95, 1.0))
    assert reason == Reason(C.PLAN_CASH_RESERVE, "", 0.955, 0.95)
    (reason,) = judge((0, 0), (40, 42))
    assert reason == Reason(C.PLAN_TURNOVER, "", 0.305, 0.30)
    assert judge((0, 0), (-1, 0))[0] == Reason(C.BOOK_NEGATIVE_QUANTITY, "A", -1, 0.0)


def test_at_each_limit_a_plan_passes():
    assert judge((10, 0), (40, 0)) == []
    assert judge((40, 60), (40, 110), bounds=Bounds(1.0, 0.0, 0.95, 1.0)) == []
    assert judge((0, 0), (40, 40)) == []
    assert judge((0, 0), (30, 0), traded=rupees(30_000)) == []
    assert judge((0, 0), (31, 0), traded=rupees(30_000)) == [Reason(C.PLAN_TURNOVER, "", 0.305, 0.30)]


def test_sales_count_as_turnover_when_something_is_bought_and_never_stop_by_themselves():
    assert judge((90, 0), (0, 0)) == []
    assert [r.code for r in judge((50, 0), (1, 24))] == [C.PLAN_TURNOVER]
    assert judge((50, 0), (2, 24)) == []


def test_a_holding_above_its_maximum_may_stay_or_shrink_but_not_grow():
    wide = Bounds(0.40, 0.0, 1.0, 1.0)
    assert judge((60, 0), (60, 10), bounds=wide) == []
    assert judge((60, 0), (59, 10), bounds=wide) == []
    assert [r.code for r in judge((60, 0), (61, 10), bounds=wide)] == [C.PLAN_MAX_WEIGHT]


def test_what_cannot_be_traded_or_has_no_price_does_not_move():
    assert judge((10, 0), (9, 0), tradable=(False, True)) == [Reason(C.PLAN_UNTRADABLE, "A")]
    assert judge((10, 0), (10, 2), tradable=(False, True)) == []
    assert [r.code for r in judge((10, 0), (11, 0), prices=(0, 50))] == [C.PLAN_UNTRADABLE]


def test_a_position_that_may_be_larger_leaves_less_room_for_the_others():
    wide = Bounds(1.0, 0.0, 0.95, 1.0)
    assert judge((50, 0), (50, 80), bounds=wide, worst=(50, 0)) == []
    (reason,) = judge((50, 0), (50, 80), bounds=wide, worst=(60, 0))
    assert reason == Reason(C.PLAN_CASH_RESERVE, "", 1.0, 0.95)


CRORES = 10**11
# A billionth of ten crore rupees is a rupee; at one paisa a share, that is a hundred shares.
SLACK = 100


def judge_paise(before, after, bounds, **options) -> list[ReasonCode]:
    return [r.code for r in judge(before, after, bounds=bounds, prices=(1, 1), equity=CRORES, **options)]


@pytest.mark.parametrize(
    ("before", "bounds", "code"),
    [
        (0, Bounds(0.5, 0.0, 1.0, 1.0), C.PLAN_MAX_WEIGHT),
        (0, Bounds(1.0, 0.0, 0.5, 1.0), C.PLAN_CASH_RESERVE),
        (0, Bounds(1.0, 0.0, 1.0, 0.25), C.PLAN_TURNOVER),
    ],
)
def test_a_limit_has_a_billionth_of_the_equity_for_rounding_and_not_a_paisa_more(before, bounds, code):
    at = CRORES // 2 + SLACK
    assert judge_paise((before, 0), (at, 0), bounds) == []
    assert judge_paise((before, 0), (at + 1, 0), bounds) == [code]


def test_a_book_and_a_plan_of_different_lengths_are_not_judged():
    with pytest.raises(ValueError, match="shorter"):
        judge((0, 0), (1, 1), prices=(rupees(1),))
