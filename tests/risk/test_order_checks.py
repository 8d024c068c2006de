"""Each order check on both sides of its limit, and how orders of one batch add up."""

from __future__ import annotations

from datetime import date

import pytest
from msgspec.structs import replace

from market.money import Paise, rupees
from risk.approval import ApprovedPlan, ProposedOrder, Side
from risk.gate import Book, Gate, OrderContext
from risk.limits import RiskLimits
from risk.order_checks import Batch, OrderRules
from risk.reasons import Reason, ReasonCode
from risk.schema import Execution, PositionLimits

SYMBOLS = ("HDFCBANK", "ICICIBANK", "SBIN")
LIMITS = RiskLimits()
GATE = Gate(LIMITS)
C = ReasonCode


def book(**changes: object) -> Book:
    """Rs 10,00,000: 200 shares of each at Rs 1,000, and Rs 4,00,000 in cash."""
    values: dict[str, object] = {
        "symbols": SYMBOLS,
        "quantities": (200, 200, 200),
        "prices": (rupees(1_000),) * 3,
        "cash": rupees(400_000),
        "equity": rupees(1_000_000),
        "tradable": (True,) * 3,
        "priced_at_ns": 1_000,
        "at_ns": 2_000,
        "session": date(2025, 6, 2),
    }
    return Book(**{**values, **changes})  # type: ignore[arg-type]


def context(**changes: object) -> OrderContext:
    values: dict[str, object] = {
        "book": book(),
        "available": rupees(400_000),
        "sellable": dict.fromkeys(SYMBOLS, 200),
        "priced_not_before_ns": 500,
        "halted": False,
    }
    return OrderContext(**{**values, **changes})  # type: ignore[arg-type]


_COUNT = iter(range(10**6))


def order(side: Side, quantity: int, price: float, **changes: object) -> ProposedOrder:
    values: dict[str, object] = {
        "tag": f"T{next(_COUNT)}",
        "plan_id": "plan",
        "symbol": "SBIN",
        "side": side,
        "quantity": quantity,
        "limit": rupees(price),
    }
    return ProposedOrder(**{**values, **changes})  # type: ignore[arg-type]


def sell(quantity: int = 10, price: float = 1_000, **changes: object) -> ProposedOrder:
    return order(Side.SELL, quantity, price, **changes)


def buy(quantity: int = 10, price: float = 1_000, **changes: object) -> ProposedOrder:
    return order(Side.BUY, quantity, price, **changes)


def why(
    *orders: ProposedOrder,
    at: OrderContext | None = None,
    plan: ApprovedPlan | None = None,
    limits: RiskLimits = LIMITS,
) -> list[set[ReasonCode]]:
    """Reasons per order, in sequence; an order that passes has none, and counts for those after it."""
    batch = Batch(OrderRules(limits), at or context(), plan)
    found = []
    for one in orders:
        reasons = batch.check(one)
        found.append({reason.code for reason in reasons})
        if not reasons:
            batch.take(one)
    return found


def plan(after: dict[str, int], at: OrderContext, *, leaves: bool = False) -> ApprovedPlan:
    """The plan that takes these symbols to so many shares and leaves the others alone."""
    book = at.book
    wanted = [after.get(symbol, held) for symbol, held in zip(book.symbols, book.quantities, strict=True)]
    made = GATE.approve_plan("plan", book, wanted, leaves=leaves)
    assert isinstance(made, ApprovedPlan), made
    return made


def test_an_ordinary_purchase_and_sale_pass():
    assert why(buy()) == [set()] and why(sell()) == [set()]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (buy(151), C.ORDER_TOO_LARGE),
        (sell(151), C.ORDER_TOO_LARGE),
        (buy(quantity=0), C.ORDER_LOT),
        (sell(quantity=-5), C.ORDER_LOT),
        (buy(price=1_020.1), C.ORDER_PRICE_COLLAR),
        (sell(price=979.9), C.ORDER_PRICE_COLLAR),
        (buy(price=1_000.02), C.ORDER_TICK),
        (buy(tag="with space"), C.ORDER_TAG_INVALID),
        (buy(tag="x" * 21), C.ORDER_TAG_INVALID),
        (buy(tag=""), C.ORDER_TAG_INVALID),
        (buy(symbol="TCS"), C.ORDER_UNKNOWN_SYMBOL),
        (sell(201), C.ORDER_HOLDINGS),
    ],
)
def test_a_bad_order_is_refused_for_its_reason(bad, code):
    assert code in why(bad)[0]


@pytest.mark.parametrize("good", [buy(150), sell(150), buy(price=1_020), sell(price=980), buy(tag="x" * 20)])
def test_at_the_limit_is_allowed(good):
    assert why(good) == [set()]


def test_all_reasons_are_reported_not_the_first():
    reasons = why(buy(500, 1_500.01, tag="?"), at=context(halted=True, blocked={"SBIN"}, priced_not_before_ns=1_500))[0]
    assert reasons >= {
        C.ORDER_HALTED, C.ORDER_TAG_INVALID, C.ORDER_SYMBOL_BLOCKED, C.ORDER_PRICE_STALE, C.ORDER_PRICE_COLLAR,
        C.ORDER_TICK, C.ORDER_TOO_LARGE, C.ORDER_FUNDS, C.ORDER_MAX_WEIGHT,
    }  # fmt: skip


def test_a_halt_stops_every_order_and_an_exit_lets_sales_out():
    assert why(buy(), sell(), at=context(halted=True))[0] == {C.ORDER_HALTED}
    assert C.ORDER_HALTED in why(sell(), at=context(halted=True))[0]
    halted = context(halted=True)
    leaving = plan({"SBIN": 0}, halted, leaves=True)
    assert why(sell(), at=halted, plan=leaving) == [set()]
    assert why(buy(), at=halted, plan=leaving) == [{C.ORDER_HALTED, C.ORDER_BEYOND_PLAN}]


def test_reducing_lets_every_sale_out_and_no_purchase():
    assert why(sell(), at=context(reducing=True)) == [set()]
    assert why(buy(), at=context(reducing=True)) == [{C.ORDER_REDUCING}]
    assert why(buy(), at=context(reducing=True, halted=True)) == [{C.ORDER_HALTED}], "the stricter one is told"


def test_small_orders_are_refused_except_for_safety():
    cheap = book(quantities=(200, 200, 5), prices=(rupees(1_000), rupees(1_000), rupees(100)))
    at = context(book=cheap, sellable={"SBIN": 5})
    assert why(buy(9, 100), at=at) == [{C.ORDER_TOO_SMALL}]
    assert why(sell(4, 100), at=at) == [{C.ORDER_TOO_SMALL}]
    assert why(sell(5, 100), at=at) == [set()], "all that is held"
    leaving = plan({"SBIN": 0}, at, leaves=True)
    assert why(sell(4, 100), at=at, plan=leaving) == [set()], "part of an exit"
    heavy = book(quantities=(200, 200, 5_000), prices=(rupees(1_000), rupees(1_000), rupees(100)))
    assert why(sell(4, 100), at=context(book=heavy, sellable={"SBIN": 5_000})) == [set()], "an excess position"
    full = book(quantities=(380, 380, 2_000), prices=(rupees(1_000), rupees(1_000), rupees(100)))
    assert why(sell(4, 100), at=context(book=full, sellable={"SBIN": 2_000})) == [set()], "no cash reserve left"


def test_a_single_share_that_is_too_large_cannot_be_sliced_so_only_the_largest_weight_bounds_it():
    dear = book(quantities=(0, 0, 2), prices=(rupees(1_000), rupees(1_000), rupees(200_000)))
    at = context(book=dear, sellable={"SBIN": 2})
    assert why(sell(1, 200_000), at=at) == [set()]
    assert why(sell(2, 200_000), at=at) == [{C.ORDER_TOO_LARGE}]
    assert why(buy(1, 200_000), at=at) == [{C.ORDER_MAX_WEIGHT}]
    none = book(quantities=(0, 0, 0), prices=(rupees(1_000), rupees(1_000), rupees(200_000)))
    assert why(buy(1, 200_000), at=context(book=none)) == [set()]


def test_purchases_are_paid_from_available_cash_with_charges():
    assert why(buy(100), at=context(available=rupees(100_000))) == [{C.ORDER_FUNDS}]
    assert why(buy(100), at=context(available=rupees(100_151))) == [set()]


def test_cash_spent_by_earlier_orders_is_gone_and_a_refused_order_spends_none():
    at = context(available=rupees(101_000))
    assert why(buy(100), buy(50, symbol="HDFCBANK"), at=at) == [set(), {C.ORDER_FUNDS}]
    assert why(buy(160), buy(100, symbol="HDFCBANK"), at=at)[1] == set()


def test_shares_sold_by_earlier_orders_are_gone():
    assert why(sell(150), sell(50), sell(1)) == [set(), set(), {C.ORDER_HOLDINGS}]


def test_proceeds_of_a_sale_in_the_same_batch_buy_nothing_yet():
    at = context(available=Paise(0))
    assert why(sell(150), buy(10, symbol="HDFCBANK"), at=at) == [set(), {C.ORDER_FUNDS}]


def test_a_position_is_judged_with_open_orders_and_the_batch_all_filled():
    assert why(buy(150), buy(50), buy(1)) == [set(), set(), {C.ORDER_MAX_WEIGHT}]
    assert why(buy(101), at=context(open_buys={"SBIN": 100})) == [{C.ORDER_MAX_WEIGHT}]


def test_purchases_never_use_up_the_cash_reserve():
    full = book(quantities=(300, 300, 340), cash=rupees(60_000))
    at = context(book=full, available=rupees(60_000))
    assert why(buy(11), at=at) == [{C.ORDER_CASH_RESERVE}]
    assert why(buy(10), at=at) == [set()]


def test_turnover_of_the_day_stops_purchases_but_never_sales():
    busy = book(traded=rupees(590_000))
    at = context(book=busy)
    assert why(buy(11), at=at) == [{C.ORDER_TURNOVER}]
    assert why(buy(10), at=at) == [set()]
    assert why(sell(150), buy(10, symbol="HDFCBANK"), at=at) == [set(), {C.ORDER_TURNOVER}]


def test_a_tag_is_used_once():
    assert why(buy(tag="A1"), at=context(tags_used={"A1"})) == [{C.ORDER_TAG_USED}]
    assert why(buy(tag="B1"), buy(tag="B1")) == [set(), {C.ORDER_TAG_USED}]


def test_one_plan_does_not_buy_and_sell_the_same_name():
    assert why(sell(), buy()) == [set(), {C.ORDER_BOTH_SIDES}]


def test_orders_beyond_the_approved_plan_are_refused_slices_of_it_are_not():
    at = context()
    mine = plan({"SBIN": 300, "HDFCBANK": 180}, at)
    assert why(buy(60), buy(40), buy(1), at=at, plan=mine) == [set(), set(), {C.ORDER_BEYOND_PLAN}]
    assert why(sell(21, symbol="HDFCBANK"), at=at, plan=mine) == [{C.ORDER_BEYOND_PLAN}]
    assert why(sell(20, symbol="HDFCBANK"), at=at, plan=mine) == [set()]
    assert C.ORDER_BEYOND_PLAN in why(sell(10), at=at, plan=mine)[0], "the plan buys this one"
    assert why(buy(10, symbol="ICICIBANK"), at=at, plan=mine) == [{C.ORDER_BEYOND_PLAN}], "not in the plan at all"


def test_what_is_on_its_way_is_no_longer_left_of_the_plan():
    at = context(open_buys={"SBIN": 60})
    mine = plan({"SBIN": 300}, at)
    assert why(buy(41), at=at, plan=mine) == [{C.ORDER_BEYOND_PLAN}] and why(buy(40), at=at, plan=mine) == [set()]


def test_an_order_of_another_plan_is_refused():
    at = context()
    mine = plan({"SBIN": 300}, at)
    assert why(buy(plan_id="other"), at=at, plan=mine) == [{C.PLAN_OTHER}]


def test_a_session_has_only_so_many_orders():
    few = RiskLimits(execution=Execution(max_orders_per_day=3))
    assert why(buy(), buy(), at=context(orders_today=1), limits=few) == [set(), set()]
    assert why(buy(), buy(), at=context(orders_today=2), limits=few) == [set(), {C.ORDER_DAILY_COUNT}]
    assert why(sell(), at=context(orders_today=3), limits=few) == [{C.ORDER_DAILY_COUNT}]


def test_a_limit_outside_the_exchanges_band_is_refused():
    band = {"SBIN": (rupees(990), rupees(1_010))}
    assert why(buy(price=1_010), sell(price=990), at=context(bands=band)) == [set(), {C.ORDER_BOTH_SIDES}]
    assert why(buy(price=1_010.1), at=context(bands=band)) == [{C.ORDER_PRICE_BAND}]
    assert why(sell(price=989.9), at=context(bands=band)) == [{C.ORDER_PRICE_BAND}]


def test_outside_continuous_trading_nothing_is_sent():
    assert why(buy(), buy(symbol="HDFCBANK"), at=context(closed={"SBIN"})) == [{C.ORDER_SESSION_CLOSED}, set()]


def test_an_unknown_outcome_blocks_its_symbol_only():
    at = context(blocked={"SBIN"})
    assert why(buy(), sell(symbol="HDFCBANK"), at=at) == [{C.ORDER_SYMBOL_BLOCKED}, set()]


def test_an_untradable_instrument_is_not_traded():
    assert why(sell(), at=context(book=book(tradable=(True, True, False)))) == [{C.ORDER_UNTRADABLE}]
    assert why(sell(), at=context(book=book(prices=(rupees(1), rupees(1), Paise(0))))) == [{C.ORDER_UNTRADABLE}]


def test_prices_from_too_long_ago_or_from_the_future_approve_nothing():
    assert why(buy(), at=context(priced_not_before_ns=1_001)) == [{C.ORDER_PRICE_STALE}]
    assert why(buy(), at=context(book=book(priced_at_ns=2_001))) == [{C.ORDER_PRICE_STALE}]


def test_the_brokers_price_step_and_lot_rule_over_the_table():
    assert why(buy(price=1_000.05), at=context(ticks={"SBIN": 5})) == [set()]
    assert why(buy(price=1_000.05), at=context(ticks={"SBIN": 10})) == [{C.ORDER_TICK}]
    assert why(buy(12), at=context(lots={"SBIN": 5})) == [{C.ORDER_LOT}]
    assert why(buy(15), at=context(lots={"SBIN": 5})) == [set()]


# ---- what a reason says


def reasons(
    one: ProposedOrder, *, at: OrderContext | None = None, plan: ApprovedPlan | None = None, limits: RiskLimits = LIMITS
) -> list[Reason]:
    return Batch(OrderRules(limits), at or context(), plan).check(one)


CHEAP = book(quantities=(200, 200, 5), prices=(rupees(1_000), rupees(1_000), rupees(100)))
FULL = book(quantities=(300, 300, 340), cash=rupees(60_000))
BAND = {"SBIN": (rupees(990), rupees(1_010))}


@pytest.mark.parametrize(
    ("one", "at", "code", "value", "limit"),
    [
        (buy(), context(orders_today=1_000), C.ORDER_DAILY_COUNT, 1_001, 1_000),
        (buy(12), context(lots={"SBIN": 5}), C.ORDER_LOT, 12, 5),
        (buy(11), context(lots={"SBIN": 2}), C.ORDER_LOT, 11, 2),
        (buy(price=1_020.1), context(), C.ORDER_PRICE_COLLAR, 0.0201, 0.02),
        (sell(price=979.9), context(), C.ORDER_PRICE_COLLAR, 0.0201, 0.02),
        (buy(price=1_010.1), context(bands=BAND), C.ORDER_PRICE_BAND, 1_010.1, 1_010),
        (sell(price=989.9), context(bands=BAND), C.ORDER_PRICE_BAND, 989.9, 990),
        (buy(price=1_000.05), context(ticks={"SBIN": 10}), C.ORDER_TICK, 1_000.05, 0.1),
        (buy(151), context(), C.ORDER_TOO_LARGE, 0.151, 0.15),
        (buy(9, 100), context(book=CHEAP), C.ORDER_TOO_SMALL, 900, 1_000),
        (buy(100), context(available=rupees(100_000)), C.ORDER_FUNDS, 100_150, 100_000),
        (buy(101), context(open_buys={"SBIN": 100}), C.ORDER_MAX_WEIGHT, 0.401, 0.40),
        (buy(11), context(book=FULL), C.ORDER_CASH_RESERVE, 0.951, 0.95),
        (buy(11), context(book=book(traded=rupees(590_000))), C.ORDER_TURNOVER, 0.3005, 0.30),
        (sell(11), context(sellable={"SBIN": 10}), C.ORDER_HOLDINGS, 11, 10),
        (sell(1), context(sellable={"TCS": 7}), C.ORDER_HOLDINGS, 1, 0),
    ],
)
def test_a_reason_names_the_instrument_what_was_found_and_what_is_allowed(one, at, code, value, limit):
    (found,) = reasons(one, at=at)
    assert (found.code, found.symbol, found.value, found.limit) == (
        code, "SBIN", pytest.approx(value), pytest.approx(limit),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "at", "expected"),
    [
        (sell(), context(halted=True), Reason(C.ORDER_HALTED, "SBIN")),
        (buy(), context(reducing=True), Reason(C.ORDER_REDUCING, "SBIN")),
        (buy(tag="?" * 41), context(), Reason(C.ORDER_TAG_INVALID, "SBIN", detail="?" * 40)),
        (buy(tag="A1"), context(tags_used={"A1"}), Reason(C.ORDER_TAG_USED, "SBIN", detail="A1")),
        (buy(), context(blocked={"SBIN"}), Reason(C.ORDER_SYMBOL_BLOCKED, "SBIN")),
        (buy(), context(closed={"SBIN"}), Reason(C.ORDER_SESSION_CLOSED, "SBIN")),
        (buy(), context(priced_not_before_ns=1_001), Reason(C.ORDER_PRICE_STALE, "SBIN")),
        (buy(symbol="TCS"), context(), Reason(C.ORDER_UNKNOWN_SYMBOL, "TCS")),
        (sell(), context(book=book(tradable=(True, True, False))), Reason(C.ORDER_UNTRADABLE, "SBIN")),
    ],
)
def test_a_reason_without_numbers_names_the_instrument_and_what_was_wrong(one, at, expected):
    assert reasons(one, at=at) == [expected]


def test_a_tag_is_quoted_in_part_when_it_is_very_long():
    found = reasons(buy(tag="x" * 41), at=context(tags_used={"x" * 41}))
    assert [reason.detail for reason in found] == ["x" * 40, "x" * 40]


def test_a_reason_against_the_side_names_the_instrument():
    batch = Batch(OrderRules(LIMITS), context())
    batch.take(sell())
    assert batch.check(buy()) == [Reason(C.ORDER_BOTH_SIDES, "SBIN")]


def test_a_reason_against_the_plan_says_what_is_left_of_it_with_its_sign():
    at = context()
    mine = plan({"SBIN": 300, "HDFCBANK": 180}, at)
    assert reasons(buy(101), at=at, plan=mine) == [Reason(C.ORDER_BEYOND_PLAN, "SBIN", 101, 100)]
    (found,) = reasons(sell(21, symbol="HDFCBANK"), at=at, plan=mine)
    assert found == Reason(C.ORDER_BEYOND_PLAN, "HDFCBANK", -21, -20)
    assert reasons(sell(10), at=at, plan=mine) == [Reason(C.ORDER_BEYOND_PLAN, "SBIN", -10, 100)]
    assert reasons(buy(1, symbol="ICICIBANK"), at=at, plan=mine) == [Reason(C.ORDER_BEYOND_PLAN, "ICICIBANK", 1, 0)]
    other = reasons(buy(plan_id="p" * 61), at=at, plan=mine)
    assert other == [Reason(C.PLAN_OTHER, "SBIN", detail="p" * 60)]


# ---- to the paisa

CRORES = 10**11
# A billionth of ten crore rupees is a rupee: a hundred shares at one paisa each.
SLACK = 100
PAISE = book(quantities=(0,) * 3, prices=(Paise(1),) * 3, cash=Paise(CRORES), equity=Paise(CRORES))
HALF = CRORES // 2


def paise(**changes: object) -> OrderContext:
    values: dict[str, object] = {"book": PAISE, "available": 2 * CRORES, "ticks": {"SBIN": 1, "HDFCBANK": 1}}
    return context(**{**values, **changes})


def wide(
    *, max_order: float = 1.0, max_weight: float = 1.0, leverage: float = 1.0, turnover: float = 1.0
) -> RiskLimits:
    return RiskLimits(
        execution=Execution(max_order_size_percent=max_order),
        position_limits=PositionLimits(
            max_weight_per_stock=max_weight,
            min_weight_per_stock=0.0,
            min_cash_reserve=0.0,
            max_leverage=leverage,
            max_daily_turnover=turnover,
        ),
    )


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (wide(max_order=0.5), C.ORDER_TOO_LARGE),
        (wide(max_weight=0.5), C.ORDER_MAX_WEIGHT),
        (wide(leverage=0.5), C.ORDER_CASH_RESERVE),
        (wide(turnover=0.25), C.ORDER_TURNOVER),
    ],
)
def test_a_limit_has_a_billionth_of_the_equity_for_rounding_and_not_a_paisa_more(limits, code):
    assert why(buy(HALF + SLACK, 0.01), at=paise(), limits=limits) == [set()]
    assert why(buy(HALF + SLACK + 1, 0.01), at=paise(), limits=limits) == [{code}]


@pytest.mark.parametrize(("limits", "heavy"), [(wide(max_weight=0.5), "SBIN"), (wide(leverage=0.5), "HDFCBANK")])
def test_a_small_sale_is_for_safety_only_beyond_a_limit(limits, heavy):
    for shares, expected in ((HALF + SLACK, {C.ORDER_TOO_SMALL}), (HALF + SLACK + 1, set())):
        # Enough of SBIN that the sale is not all of it.
        held = {"SBIN": 9, heavy: shares if heavy == "SBIN" else shares - 9}
        at = paise(book=replace(PAISE, quantities=tuple(held.get(s, 0) for s in SYMBOLS)), sellable=held)
        assert why(sell(1, 0.01), at=at, limits=limits) == [expected]


def test_a_small_sale_of_all_that_is_held_or_of_all_that_may_be_sold_is_allowed():
    assert why(sell(4, 100), at=context(book=CHEAP, sellable={"SBIN": 4})) == [set()]
    assert why(sell(5, 100), at=context(book=CHEAP, sellable={"SBIN": 6})) == [set()]
    assert why(sell(1, 100), at=context(book=CHEAP, sellable={})) == [{C.ORDER_HOLDINGS}]


def test_cash_is_spent_to_the_paisa():
    # A hundred shares cost Rs 1,00,150 with charges, and one paisa is kept for rounding when the next order comes.
    at = Paise(rupees(100_150))
    assert why(buy(100), at=context(available=at)) == [set()]
    assert why(buy(100), at=context(available=Paise(at - 1))) == [{C.ORDER_FUNDS}]
    two = buy(100), buy(100, symbol="HDFCBANK")
    assert why(*two, at=context(available=Paise(2 * at + 1))) == [set(), set()]
    assert why(*two, at=context(available=Paise(2 * at))) == [set(), {C.ORDER_FUNDS}]


def test_a_price_of_one_paisa_is_a_price_and_none_is_not():
    assert why(buy(100_000, 0.01), at=paise()) == [set()]
    assert C.ORDER_TICK in why(buy(100_000, 0.0), at=paise())[0]


def test_lots_of_other_instruments_are_theirs():
    assert why(buy(11), at=context(lots={"HDFCBANK": 5})) == [set()]


def test_prices_are_fresh_from_the_deadline_to_this_moment():
    assert why(buy(), at=context(priced_not_before_ns=1_000)) == [set()]
    assert why(buy(), at=context(book=book(priced_at_ns=2_000))) == [set()]


# ---- how orders add up


def test_purchases_of_one_batch_use_up_the_cash_reserve_together():
    at = context(book=book(quantities=(300, 300, 320), cash=rupees(80_000)), available=rupees(80_000))
    two = buy(20), buy(11, symbol="HDFCBANK")
    assert why(*two, at=at) == [set(), {C.ORDER_CASH_RESERVE}]
    assert why(two[0], buy(10, symbol="HDFCBANK"), at=at) == [set(), set()]


def test_sales_of_one_plan_are_taken_off_it_one_by_one():
    at = context()
    mine = plan({"HDFCBANK": 180}, at)
    sales = [sell(quantity, symbol="HDFCBANK") for quantity in (15, 5, 1)]
    assert why(*sales, at=at, plan=mine) == [set(), set(), {C.ORDER_BEYOND_PLAN}]


def test_an_open_purchase_counts_for_its_own_instrument_alone():
    at = context(book=FULL, open_buys={"HDFCBANK": 5}, available=rupees(60_000))
    assert why(buy(5), at=at) == [set()] and why(buy(6), at=at) == [{C.ORDER_CASH_RESERVE}]


def test_a_position_that_may_be_larger_and_one_with_an_open_purchase_are_both_taken_at_their_larger_end():
    at = context(book=book(high=(200, 200, 300)), open_buys={"HDFCBANK": 110})
    assert why(buy(100), at=at) == [set()] and why(buy(101), at=at) == [{C.ORDER_MAX_WEIGHT}]
    assert why(buy(90, symbol="HDFCBANK"), at=at) == [set()]
    assert why(buy(91, symbol="HDFCBANK"), at=at) == [{C.ORDER_MAX_WEIGHT}]


def test_a_plan_for_an_instrument_that_has_left_the_universe_says_nothing_of_the_others():
    before = book(symbols=(*SYMBOLS, "TCS"), quantities=(200,) * 4, prices=(rupees(1_000),) * 4, tradable=(True,) * 4)
    mine = GATE.approve_plan("plan", before, (200, 200, 190, 190))
    assert isinstance(mine, ApprovedPlan)
    assert why(sell(10), sell(10, symbol="TCS"), at=context(), plan=mine) == [set(), {C.ORDER_UNKNOWN_SYMBOL}]


def test_a_book_or_a_plan_whose_parts_do_not_match_is_not_judged():
    at = context()
    mine = plan({"SBIN": 300}, at)
    for broken in (book(prices=(rupees(1_000),) * 2), book(symbols=(*SYMBOLS, "TCS"))):
        with pytest.raises(ValueError, match="shorter"):
            Batch(OrderRules(LIMITS), context(book=broken), mine)
    with pytest.raises(ValueError, match="shorter"):
        Batch(OrderRules(LIMITS), at, replace(mine, after=(200, 200)))


def test_a_sale_on_its_way_is_no_longer_left_of_the_plan():
    at = context(open_sells={"SBIN": 40}, sellable={**dict.fromkeys(SYMBOLS, 200), "SBIN": 160})
    mine = plan({"SBIN": 140, "HDFCBANK": 190}, at)
    assert why(sell(21), at=at, plan=mine) == [{C.ORDER_BEYOND_PLAN}] and why(sell(20), at=at, plan=mine) == [set()]
    assert why(sell(11, symbol="HDFCBANK"), at=at, plan=mine) == [{C.ORDER_BEYOND_PLAN}]


def test_a_price_outside_the_band_is_measured_from_its_nearer_end():
    band = {"SBIN": (rupees(990), rupees(1_010))}
    for price, nearest in ((1_015, 1_010.0), (985, 990.0)):
        (reason,) = [
            found
            for found in Batch(OrderRules(LIMITS), context(bands=band)).check(buy(price=price))
            if found.code is C.ORDER_PRICE_BAND
        ]
        assert (reason.value, reason.limit) == (price, nearest)


def test_the_count_of_orders_does_not_keep_an_exit():
    few = RiskLimits(execution=Execution(max_orders_per_day=1))
    at = context(orders_today=1)
    leaving = plan({"SBIN": 0}, at, leaves=True)
    assert why(sell(), at=at, plan=leaving, limits=few) == [set()]
