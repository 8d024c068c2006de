"""The gate from outside: targets in, approved weights or reasons out; orders in, sealed orders or reasons out."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from market.money import ZERO, Paise, rupees
from risk.approval import ApprovedPlan, ProposedOrder, Side, is_approved, is_approved_plan
from risk.bounds import Bounds
from risk.gate import Book, Gate, OrderContext, Refusal, TargetApproval
from risk.limits import RiskLimits
from risk.reasons import EXPLANATIONS, Reason, ReasonCode, reason_table
from risk.schema import Alerts, PositionLimits
from tests.examples import examples

SYMBOLS = ("HDFCBANK", "ICICIBANK", "SBIN", "KOTAKBANK", "AXISBANK")
GATE = Gate(RiskLimits())
EQUAL = (0.19,) * 5


def book(**changes: object) -> Book:
    """Rs 10,00,000: five positions of Rs 1,90,000 at Rs 1,000 a share, and Rs 50,000 in cash."""
    values: dict[str, object] = {
        "symbols": SYMBOLS,
        "quantities": (190,) * 5,
        "prices": (rupees(1_000),) * 5,
        "cash": rupees(50_000),
        "equity": rupees(1_000_000),
        "tradable": (True,) * 5,
        "priced_at_ns": 1_000,
        "at_ns": 2_000,
        "session": date(2025, 6, 2),
    }
    return Book(**{**values, **changes})  # type: ignore[arg-type]


def approve(target: object, at: Book | None = None) -> TargetApproval:
    result = GATE.review_targets(target, at or book(), latched=())  # type: ignore[arg-type]
    assert isinstance(result, TargetApproval), result
    return result


def codes(result: TargetApproval | Refusal) -> set[ReasonCode]:
    return {reason.code for reason in result.reasons}


def test_a_target_within_all_limits_is_approved_as_it_is():
    target = (0.20, 0.18, 0.19, 0.19, 0.19)
    result = approve(target)
    assert result.weights == result.requested == target
    assert result.active == () and result.reasons == () and result.current == EQUAL


def test_an_intervention_says_which_limit_and_how_far():
    result = approve((0.8, 0.05, 0.05, 0.05, 0.05))
    assert max(result.weights) <= 0.40 and "max_weight" in result.active
    reason = next(r for r in result.reasons if r.code is ReasonCode.LIMIT_MAX_WEIGHT)
    assert reason.value == pytest.approx(0.4)
    assert reason.text == "LIMIT_MAX_WEIGHT: the target was moved: largest weight per stock; value 0.4"


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ((0.2,) * 4, ReasonCode.TARGET_WRONG_LENGTH),
        ((0.1,) * 6, ReasonCode.TARGET_WRONG_LENGTH),
        ((), ReasonCode.TARGET_WRONG_LENGTH),
        ((0.2, 0.2, 0.2, 0.2, float("nan")), ReasonCode.TARGET_NOT_FINITE),
        ((0.2, 0.2, 0.2, 0.2, float("inf")), ReasonCode.TARGET_NOT_FINITE),
        ((0.2, 0.2, 0.2, 0.2, -0.01), ReasonCode.TARGET_NEGATIVE),
        ((0.3, 0.3, 0.3, 0.1, 0.1), ReasonCode.TARGET_ABOVE_ONE),
    ],
)
def test_a_target_that_is_no_portfolio_is_refused(target, code):
    result = GATE.review_targets(target, book(), latched=())
    assert isinstance(result, Refusal) and codes(result) == {code}


def test_a_sum_of_one_with_the_rounding_of_a_float32_policy_is_no_mistake():
    assert approve((0.2000001, 0.2, 0.2, 0.2, 0.2)).active == ("cash_reserve",)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"equity": Paise(0)}, ReasonCode.BOOK_NO_EQUITY),
        ({"equity": Paise(-5)}, ReasonCode.BOOK_NO_EQUITY),
        ({"prices": (Paise(0), *(rupees(1_000),) * 4)}, ReasonCode.BOOK_NO_PRICE),
        (
            {"prices": (Paise(0), *(rupees(1_000),) * 4), "tradable": (False, True, True, True, True)},
            ReasonCode.BOOK_NO_PRICE,
        ),
        ({"quantities": (-1, 190, 190, 190, 190)}, ReasonCode.BOOK_NEGATIVE_QUANTITY),
    ],
)
def test_a_book_that_does_not_say_what_is_held_is_refused(changes, code):
    result = GATE.review_targets(EQUAL, book(**changes), latched=())
    assert isinstance(result, Refusal) and codes(result) == {code}


def test_an_untradable_name_without_price_that_is_not_held_is_no_obstacle():
    at = book(
        quantities=(0, 190, 190, 190, 190),
        prices=(Paise(0), *(rupees(1_000),) * 4),
        tradable=(False, True, True, True, True),
        equity=rupees(810_000),
    )
    assert approve(EQUAL, at).weights[0] == 0.0


def test_a_latched_breaker_refuses_every_target_and_is_named():
    result = GATE.review_targets(EQUAL, book(), latched=("drawdown", "daily_loss"))
    assert isinstance(result, Refusal)
    assert [r.detail for r in result.reasons] == ["drawdown", "daily_loss"]
    assert codes(result) == {ReasonCode.BREAKER_LATCHED}


def test_an_untradable_name_stays_as_it_is():
    result = approve((0.1, 0.2, 0.2, 0.2, 0.2), book(tradable=(False, True, True, True, True)))
    assert result.weights[0] == 0.19 and ReasonCode.LIMIT_UNTRADABLE in codes(result)


def test_what_was_traded_in_this_session_counts_against_the_turnover():
    target = (0.40, 0.05, 0.10, 0.20, 0.20)
    all_day = approve(target)
    late = approve(target, book(traded=rupees(500_000)))  # half-turnover 0.25 of 0.30 is used
    moved = [0.5 * sum(abs(w - c) for w, c in zip(r.weights, r.current, strict=True)) for r in (all_day, late)]
    assert moved[0] == pytest.approx(0.225, abs=0.01) and moved[1] == pytest.approx(0.05)


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.one_of(st.floats(), st.floats(0.0, 0.3)), max_size=7),
    st.lists(st.integers(-1, 500), min_size=5, max_size=5),
    st.integers(-1, 10**9),
)
def test_whatever_is_asked_the_gate_answers_and_never_raises(target, quantities, equity):
    at = book(quantities=tuple(quantities), equity=Paise(equity))
    result = GATE.review_targets(target, at, latched=())
    assert isinstance(result, (TargetApproval, Refusal))
    assert all(reason.text for reason in result.reasons)
    if isinstance(result, TargetApproval):
        assert len(GATE.round_to_shares(result, at).quantities) == 5


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=5, max_size=5), st.lists(st.integers(0, 190), min_size=5, max_size=5))
def test_every_order_of_an_approved_plan_passes_when_sells_come_first(raw, quantities):
    """The two passes agree: what round_to_shares plans, review_orders lets through (in slices, small orders aside)."""
    total = sum(raw) or 1.0
    cash = 1_000_000 - 1_000 * sum(quantities)
    at = book(quantities=tuple(quantities), cash=rupees(cash))
    approval = approve([w / total for w in raw], at)
    shares = GATE.round_to_shares(approval, at).quantities
    sells, buys = [], []
    for symbol, have, want in zip(SYMBOLS, quantities, shares, strict=True):
        left, part = abs(want - have), 0
        while left:
            size = min(left, 150)
            side, orders = (Side.BUY, buys) if want > have else (Side.SELL, sells)
            orders.append(ProposedOrder(f"{symbol}{part}", "plan", symbol, side, size, rupees(1_000)))
            left, part = left - size, part + 1
    held = dict(zip(SYMBOLS, quantities, strict=True))
    context = OrderContext(book=at, available=at.cash, sellable=held, priced_not_before_ns=0, halted=False)
    plan = GATE.approve_plan("plan", at, shares)
    assert isinstance(plan, ApprovedPlan), plan
    approved, refused = GATE.review_orders(sells, context, plan)
    assert refused == []
    sold = sum(order.quantity for order in approved) * rupees(1_000)
    after = [min(h, s) for h, s in zip(quantities, shares, strict=True)]
    then = book(quantities=tuple(after), cash=Paise(at.cash + sold), traded=Paise(sold))
    context = OrderContext(book=then, available=then.cash, sellable={}, priced_not_before_ns=0, halted=False)
    _, refused = GATE.review_orders(buys, context, plan)
    assert refused == []


def test_round_to_shares_leaves_room_for_the_costs_of_the_plan():
    approval = approve((0.2, 0.2, 0.2, 0.2, 0.15), book(quantities=(0,) * 5, cash=rupees(1_000_000)))
    at = book(quantities=(0,) * 5, cash=rupees(1_000_000))
    free, costly = (GATE.round_to_shares(approval, at, expected_costs=costs) for costs in (ZERO, rupees(20_000)))
    assert sum(free.quantities) > sum(costly.quantities)


def test_what_whole_shares_cannot_keep_is_said():
    # One share is 41 % of the account: it may not be kept, and what is left of turnover buys no minimum of the others.
    dear = (rupees(410_000), *(rupees(1_000),) * 4)
    at = book(quantities=(1, 0, 0, 0, 0), cash=rupees(590_000), prices=dear)
    rounded = GATE.round_to_shares(approve((0.4, 0.1, 0.1, 0.1, 0.1), at), at)
    assert rounded.quantities[0] == 0 and rounded.relaxed == {"min_weight": 0.0}
    (reason,) = GATE.relaxed_by_rounding(rounded)
    assert (reason.code, reason.value, reason.detail) == (ReasonCode.RELAXED_MIN_WEIGHT, 0.0, "whole shares")
    plain = GATE.round_to_shares(approve(EQUAL), book())
    assert plain.relaxed == {} and GATE.relaxed_by_rounding(plain) == ()


def selling() -> tuple[ProposedOrder, OrderContext, ApprovedPlan]:
    """A sale of ten shares of SBIN, its situation, and the plan that it belongs to."""
    order = ProposedOrder("A1", "plan", "SBIN", Side.SELL, 10, rupees(1_000))
    context = OrderContext(
        book=book(), available=Paise(0), sellable={"SBIN": 190}, priced_not_before_ns=0, halted=False
    )
    plan = GATE.approve_plan("plan", context.book, (190, 190, 180, 190, 190))
    assert isinstance(plan, ApprovedPlan)
    return order, context, plan


def test_sealed_orders_carry_the_limits_and_the_price_they_rest_on():
    order, context, plan = selling()
    (sealed,), refused = GATE.review_orders([order], context, plan)
    assert refused == [] and is_approved(sealed)
    assert sealed.limits_version == GATE.limits.version and sealed.priced_at_ns == 1_000
    assert GATE.last_look(sealed, priced_not_before_ns=1_000) is None


def test_without_equity_no_order_leaves():
    order, context, plan = selling()
    broke = replace(context, book=book(equity=Paise(0)))
    approved, (refused,) = GATE.review_orders([order], broke, plan)
    assert approved == [] and refused.reasons[0].code is ReasonCode.BOOK_NO_EQUITY
    nothing = GATE.approve_plan("plan", broke.book, (190,) * 5)
    assert codes(nothing) == {ReasonCode.BOOK_NO_EQUITY}


def test_no_orders_are_no_review():
    _, context, plan = selling()
    assert GATE.review_orders([], context, plan) == ([], [])


# ---- whole-share plans


def judged(after: tuple[int, ...], at: Book | None = None, *, leaves: bool = False) -> set[ReasonCode]:
    made = GATE.approve_plan("plan", at or book(), after, leaves=leaves)
    return set() if isinstance(made, ApprovedPlan) else codes(made)


C = ReasonCode
RICH = book(quantities=(100,) * 5, cash=rupees(500_000))


def test_a_plan_is_sealed_as_it_was_judged():
    made = GATE.approve_plan("p1", book(), (190, 190, 180, 190, 190))
    assert isinstance(made, ApprovedPlan) and is_approved_plan(made)
    assert (made.plan_id, made.session, made.symbols) == ("p1", date(2025, 6, 2), SYMBOLS)
    assert (made.before, made.after) == ((190,) * 5, (190, 190, 180, 190, 190))
    assert (made.prices, made.equity, made.exit) == ((rupees(1_000),) * 5, rupees(1_000_000), False)
    assert (made.limits_version, made.priced_at_ns) == (GATE.limits.version, 1_000)


@pytest.mark.parametrize(
    ("after", "at", "code"),
    [
        ((401, 100, 100, 100, 100), RICH, C.PLAN_MAX_WEIGHT),
        ((270, 270, 270, 100, 100), RICH, C.PLAN_CASH_RESERVE),
        ((400, 400, 100, 0, 0), RICH, C.PLAN_TURNOVER),
        ((100, 100, 100, 100, -1), RICH, C.BOOK_NEGATIVE_QUANTITY),
        ((110, 100, 100, 100, 100), book(quantities=(100,) * 5, tradable=(False, *(True,) * 4)), C.PLAN_UNTRADABLE),
        ((90, 100, 100, 100, 100), book(quantities=(100,) * 5, tradable=(False, *(True,) * 4)), C.PLAN_UNTRADABLE),
        ((110, 100, 100, 100, 100), book(quantities=(100,) * 5, prices=(Paise(0), *(rupees(1_000),) * 4)), C.PLAN_UNTRADABLE),
        ((100,) * 4, RICH, C.TARGET_WRONG_LENGTH),
    ],
)  # fmt: skip
def test_a_plan_that_breaks_a_limit_is_refused(after, at, code):
    assert code in judged(after, at)


@pytest.mark.parametrize(
    "after", [(400, 100, 100, 100, 100), (250, 250, 250, 100, 100), (300, 300, 100, 100, 0), (0, 0, 0, 0, 0)]
)
def test_a_plan_at_its_limits_is_approved(after):
    assert judged(after, RICH) == set()


def test_a_sale_is_never_refused_for_where_it_leaves_the_book():
    heavy = book(quantities=(600, 400, 0, 0, 0), cash=Paise(0), traded=rupees(600_000))
    assert judged((590, 400, 0, 0, 0), heavy) == set()
    assert judged((590, 400, 0, 0, 1), heavy) == {C.PLAN_CASH_RESERVE, C.PLAN_TURNOVER}


def test_an_exit_buys_nothing():
    assert judged((0,) * 5, leaves=True) == set()
    assert judged((100, 100, 100, 100, 101), RICH, leaves=True) == {C.PLAN_EXIT_BUYS}
    sells = GATE.approve_plan("p", book(), (0,) * 5, leaves=True)
    assert isinstance(sells, ApprovedPlan) and sells.exit


def test_what_was_traded_today_counts_for_the_plan():
    busy = book(quantities=(100,) * 5, cash=rupees(500_000), traded=rupees(590_000))
    assert judged((110, 100, 100, 100, 100), busy) == set()
    assert judged((111, 100, 100, 100, 100), busy) == {C.PLAN_TURNOVER}
    assert GATE.room_for_purchases(busy) == rupees(10_000)
    assert GATE.room_for_purchases(replace(busy, traded=rupees(700_000))) == 0


def test_purchases_have_the_room_that_turnover_and_budget_both_leave():
    assert GATE.room_for_purchases(RICH) == rupees(450_000)
    assert GATE.room_for_purchases(replace(RICH, traded=rupees(200_000))) == rupees(400_000)
    assert GATE.room_for_purchases(replace(RICH, high=(100, 100, 500, 100, 100))) == rupees(50_000)
    assert GATE.room_for_purchases(book(quantities=(200,) * 5, cash=Paise(0))) == 0


# ---- while an outcome is unknown


def test_a_position_that_may_be_larger_is_judged_at_its_larger_end():
    # 100 shares of SBIN are held, an order for 300 more may have traded: 40 % instead of 10 %.
    unsure = book(
        quantities=(100,) * 5, high=(100, 100, 400, 100, 100), tradable=(True, True, False, True, True),
        cash=rupees(500_000),
    )  # fmt: skip
    approval = approve((0.25, 0.25, 0.1, 0.25, 0.1), unsure)
    assert approval.current[2] == 0.4 and approval.weights[2] == 0.4
    assert sum(approval.weights) <= 0.95 + 1e-12
    after = GATE.round_to_shares(approval, unsure).quantities
    assert after[2] == 100, "nothing is done about it"
    assert sum(after) + 300 <= 950, "and the others leave room for it"
    assert judged(after, unsure) == set()
    assert judged((350, 100, 100, 100, 100), unsure) == {C.PLAN_CASH_RESERVE}
    assert judged((350, 100, 100, 100, 100), RICH) == set()


def test_a_refusal_counts_open_orders_as_filled_in_the_second_pass_too():
    unsure = book(quantities=(100,) * 5, high=(100, 100, 400, 100, 100), tradable=(True, True, False, True, True))
    plan = GATE.approve_plan("plan", unsure, (200, 100, 100, 100, 100))
    assert isinstance(plan, ApprovedPlan)
    context = OrderContext(book=unsure, available=rupees(500_000), sellable={}, priced_not_before_ns=0, halted=False)
    buy = ProposedOrder("B1", "plan", "HDFCBANK", Side.BUY, 100, rupees(1_000))
    assert GATE.review_orders([buy], context, plan)[1] == []
    fuller = replace(context, book=replace(unsure, high=(100, 100, 500, 100, 100)))
    (refused,) = GATE.review_orders([buy], fuller, plan)[1]
    assert {reason.code for reason in refused.reasons} == {C.ORDER_CASH_RESERVE}


def test_every_reason_code_is_explained_and_follows_the_pattern():
    assert set(EXPLANATIONS) == set(ReasonCode)
    categories = {code.split("_")[0] for code in ReasonCode}
    assert categories == {"TARGET", "BOOK", "BREAKER", "LIMIT", "RELAXED", "ALERT", "PLAN", "ORDER"}
    assert all(code.value == code.name for code in ReasonCode)


def test_a_reason_reads_as_one_line():
    reason = Reason(ReasonCode.ORDER_TOO_LARGE, "SBIN", 0.2, 0.15)
    assert reason.text.startswith("ORDER_TOO_LARGE SBIN: the order is too large")
    assert reason.text.endswith("; value 0.2, limit 0.15") and str(reason) == reason.text
    named = Reason(ReasonCode.BREAKER_LATCHED, detail="drawdown")
    assert named.text == "BREAKER_LATCHED: a circuit breaker has tripped and is not cleared (drawdown)"


def test_the_table_for_the_documentation_has_a_row_per_code():
    assert reason_table().count("\n") == len(ReasonCode) + 1


# ---- what the gate says, to the last digit


def fresh(**sections: object) -> Gate:
    return Gate(RiskLimits(**sections))  # type: ignore[arg-type]


def near(value: float) -> object:
    return pytest.approx(value, rel=0.0, abs=1e-12)


def refusals(result: object) -> tuple[Reason, ...]:
    assert isinstance(result, Refusal), result
    return result.reasons


NAN = float("nan")
BROKE = book(equity=Paise(-150))


@pytest.mark.parametrize(
    ("target", "at", "expected"),
    [
        ((0.2,) * 4, book(), Reason(C.TARGET_WRONG_LENGTH, value=4, limit=5)),
        ((0.2, NAN, 0.2, 0.2, 0.2), book(), Reason(C.TARGET_NOT_FINITE, "ICICIBANK")),
        ((0.2, -0.01, 0.2, 0.2, 0.2), book(), Reason(C.TARGET_NEGATIVE, "ICICIBANK", -0.01, 0.0)),
        ((0.5, 0.5, 0.25, 0.0, 0.0), book(), Reason(C.TARGET_ABOVE_ONE, value=1.25, limit=1.0)),
        (EQUAL, BROKE, Reason(C.BOOK_NO_EQUITY, value=-1.5, limit=0.0)),
        (EQUAL, book(prices=(rupees(1), Paise(0), *(rupees(1),) * 3)), Reason(C.BOOK_NO_PRICE, "ICICIBANK")),
        (EQUAL, book(quantities=(1, -7, 1, 1, 1)), Reason(C.BOOK_NEGATIVE_QUANTITY, "ICICIBANK", -7, 0.0)),
    ],
)
def test_a_refused_target_says_what_and_how_much(target, at, expected):
    assert refusals(GATE.review_targets(target, at, latched=())) == (expected,)


def test_a_weight_beyond_the_universe_has_no_name():
    found = refusals(GATE.review_targets((0.1,) * 5 + (NAN,), book(), latched=()))
    assert found == (Reason(C.TARGET_WRONG_LENGTH, value=6, limit=5), Reason(C.TARGET_NOT_FINITE))


def test_a_target_may_exceed_one_by_a_millionth_and_no_more():
    assert isinstance(GATE.review_targets((1.0 + 1e-6, 0, 0, 0, 0), book(), latched=()), TargetApproval)
    assert isinstance(GATE.review_targets((1.0 + 2e-6, 0, 0, 0, 0), book(), latched=()), Refusal)


def test_one_paisa_is_equity_and_one_paisa_is_a_price():
    poor = book(quantities=(0,) * 5, prices=(Paise(1),) * 5, cash=Paise(1), equity=Paise(1))
    assert isinstance(GATE.review_targets(EQUAL, poor, latched=()), TargetApproval)
    assert isinstance(GATE.approve_plan("plan", poor, (0,) * 5), ApprovedPlan)
    _, context, plan = selling()
    sale = ProposedOrder("A1", "plan", "SBIN", Side.SELL, 10, Paise(1))
    _, (refused,) = GATE.review_orders([sale], replace(context, book=poor), plan)
    assert C.BOOK_NO_EQUITY not in {reason.code for reason in refused.reasons}


def test_a_book_whose_parts_do_not_match_is_not_judged():
    with pytest.raises(ValueError, match="shorter"):
        GATE.review_targets(EQUAL, book(tradable=(True,) * 4), latched=())
    approval = approve(EQUAL)
    with pytest.raises(ValueError, match="shorter"):
        GATE.round_to_shares(approval, book(high=(190,) * 5, tradable=(True,) * 4))


def test_what_was_moved_and_what_gave_way_is_there_in_numbers_and_in_reasons():
    heavy = book(quantities=(500, 100, 100, 100, 100), cash=rupees(100_000), tradable=(False, *(True,) * 4))
    result = approve((0.1, 0.1, 0.1, 0.1, 0.1), heavy)
    assert result.moved == {"untradable": near(0.4)} and result.relaxed == {"max_weight": 0.5}
    by_code = {reason.code: reason for reason in result.reasons}
    assert by_code[C.RELAXED_MAX_WEIGHT] == Reason(C.RELAXED_MAX_WEIGHT, value=0.5)
    assert by_code[C.LIMIT_UNTRADABLE] == Reason(C.LIMIT_UNTRADABLE, value=result.moved["untradable"])


def test_a_large_change_that_is_asked_for_and_a_large_trade_are_told_with_their_size():
    flat = book(quantities=(0,) * 5, cash=rupees(1_000_000))
    told = {
        (r.code, r.symbol): r for r in fresh().review_targets((0.3, 0.05, 0.05, 0.05, 0.05), flat, latched=()).reasons
    }
    asked = told[C.ALERT_LARGE_WEIGHT_CHANGE, "HDFCBANK"]
    assert (asked.value, asked.limit) == (near(0.3), near(0.2))
    traded = told[C.ALERT_LARGE_TRADE, "HDFCBANK"]
    assert (traded.value, traded.limit) == (near(0.3), near(0.1))
    less = approve((0.0, 0.19, 0.19, 0.19, 0.19))
    found = {r.code: r for r in less.reasons if r.symbol == "HDFCBANK"}
    assert found[C.ALERT_LARGE_TRADE].value == near(-0.14), "from 19 % down to the minimum"
    sold = {r.code: r for r in approve((0.0, 0.3, 0.2, 0.2, 0.2), book(quantities=(300, 160, 160, 160, 160))).reasons}
    assert sold[C.ALERT_LARGE_WEIGHT_CHANGE].value == near(-0.3)


def test_an_alert_has_a_billionth_for_rounding_and_no_more():
    flat = book(quantities=(0,) * 5, cash=rupees(1_000_000))
    gate = fresh(alerts=Alerts(large_weight_change=0.14, large_trade_threshold=0.14))
    at, beyond = (
        gate.review_targets((w, 0.05, 0.05, 0.05, 0.05), flat, latched=()) for w in (0.14 + 1e-9, 0.14 + 2e-9)
    )
    assert codes(at) == set()
    assert codes(beyond) == {C.ALERT_LARGE_WEIGHT_CHANGE, C.ALERT_LARGE_TRADE}


@pytest.mark.parametrize(
    ("after", "at", "expected"),
    [
        ((100,) * 4, RICH, Reason(C.TARGET_WRONG_LENGTH, value=4, limit=5)),
        ((190,) * 5, BROKE, Reason(C.BOOK_NO_EQUITY, value=-1.5, limit=0.0)),
        ((100, 103, 100, 100, 100), RICH, Reason(C.PLAN_EXIT_BUYS, "ICICIBANK", 3, 0.0)),
    ],
)
def test_a_refused_plan_says_what_and_how_much(after, at, expected):
    assert refusals(GATE.approve_plan("plan", at, after, leaves=True)) == (expected,)


def test_whole_shares_of_a_book_with_unknown_outcomes_trade_what_is_known_and_say_what_gave_way():
    unsure = book(
        quantities=(100,) * 5, high=(100, 100, 400, 100, 100), tradable=(True, True, False, True, True),
        cash=rupees(500_000),
    )  # fmt: skip
    rounded = GATE.round_to_shares(approve((0.15, 0.1, 0.1, 0.05, 0.1), unsure), unsure)
    assert rounded.quantities == (150, 100, 100, 50, 100) and rounded.relaxed == {}
    dear = (rupees(410_000), *(rupees(1_000),) * 4)
    lost = book(
        quantities=(1, 0, 0, 0, 0), high=(1, 0, 0, 0, 0), cash=rupees(590_000), prices=dear,
    )  # fmt: skip
    assert GATE.round_to_shares(approve((0.4, 0.1, 0.1, 0.1, 0.1), lost), lost).relaxed == {"min_weight": 0.0}


def test_a_gate_seals_under_the_limits_that_it_was_made_with():
    limits = RiskLimits(position_limits=PositionLimits(max_daily_turnover=0.2))
    gate = Gate(limits)
    assert gate.limits is limits
    assert gate.bounds == Bounds.of(limits.position_limits)
    assert gate.room_for_purchases(RICH) == rupees(400_000)
    order, context, _ = selling()
    plan = gate.approve_plan("plan", context.book, (190, 190, 180, 190, 190))
    assert isinstance(plan, ApprovedPlan)
    (sealed,), _ = gate.review_orders([order], context, plan)
    assert sealed.limits_version == plan.limits_version == limits.version
    late = gate.review_targets((0.05, 0.05, 0.28, 0.28, 0.29), book(traded=rupees(100_000)), latched=())
    assert isinstance(late, TargetApproval) and late.bounds.turnover == near(0.15)


def test_a_refused_order_is_handed_back_and_the_next_one_is_judged_all_the_same():
    order, context, plan = selling()
    beyond = ProposedOrder("A0", "plan", "SBIN", Side.SELL, 11, rupees(1_000))
    (sealed,), (refused,) = GATE.review_orders([beyond, order], context, plan)
    assert sealed.tag == "A1" and refused.order is beyond
    assert refused.reasons == (Reason(C.ORDER_BEYOND_PLAN, "SBIN", -11, -10),)


def test_orders_without_equity_or_plan_are_handed_back_with_the_reason():
    order, context, plan = selling()
    approved, (refused,) = GATE.review_orders([order], replace(context, book=BROKE), plan)
    assert approved == [] and refused.order is order
    assert refused.reasons == (Reason(C.BOOK_NO_EQUITY, value=-1.5, limit=0.0),)
    _, (refused,) = GATE.review_orders([order], context, replace(plan, equity=Paise(1)))
    assert refused.reasons == (Reason(C.PLAN_NOT_APPROVED),)


def test_a_stale_approval_says_which_limits_or_how_many_seconds():
    order, context, plan = selling()
    (sealed,), _ = GATE.review_orders([order], context, plan)
    deadline = 1_000 + 2 * 10**9
    late = Reason(C.PLAN_PRICE_STALE, "SBIN", 2.0, 0.0, "seconds too old")
    assert GATE.last_look(sealed, priced_not_before_ns=deadline) == late
    _, (refused,) = GATE.review_orders([order], replace(context, priced_not_before_ns=deadline), plan)
    assert refused.reasons == (replace(late, symbol=""),)
    other = fresh(position_limits=PositionLimits(max_leverage=0.9))
    versions = f"approved under {GATE.limits.version}, in force {other.limits.version}"
    assert other.last_look(sealed, priced_not_before_ns=0) == Reason(C.PLAN_LIMITS_CHANGED, "SBIN", detail=versions)
    forged = Reason(C.PLAN_NOT_APPROVED, "SBIN", detail="the order's seal does not verify")
    assert GATE.last_look(replace(sealed, quantity=11), priced_not_before_ns=0) == forged


def test_a_plan_is_good_for_its_own_session_only():
    order, context, plan = selling()
    tomorrow = replace(context, book=book(session=date(2025, 6, 3)))
    approved, (refused,) = GATE.review_orders([order], tomorrow, plan)
    assert approved == []
    assert refused.reasons == (Reason(C.PLAN_SESSION_OVER, detail="of 2025-06-02, this is 2025-06-03"),)
