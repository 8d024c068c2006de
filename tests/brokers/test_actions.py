"""Splits and bonus issues in the account and at the paper broker, and cash that is moved there."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.account import Account
from brokers.charges import DeliveryCharges
from brokers.paper import PaperBroker
from brokers.paper_store import PaperStore
from brokers.port import Position
from market.bar import BarBatch, Interval
from market.corporate_actions import ActionKind, CorporateAction
from market.errors import BadInput
from market.money import Paise, rupees
from risk.approval import ApprovedOrder, ProposedOrder, Side, _seal

FRIDAY, MONDAY = date(2026, 11, 20), date(2026, 11, 23)
NOON_NS = 1_795_156_200 * 10**9  # 2026-11-20 12:00 IST
CHARGES = DeliveryCharges.default()
SPLIT = CorporateAction(MONDAY, "SBIN", ActionKind.SPLIT, 10, 1)


def held(*bought: int, day: date = date(2022, 3, 1)) -> Account:
    """An account that bought so many shares on successive sessions, two of which are on their way."""
    it = Account(rupees(10_000_000), CHARGES)
    for number, quantity in enumerate(bought):
        session = day + timedelta(number)
        it.start_session(session)
        it.apply_fill(
            symbol="SBIN", side=Side.BUY, quantity=quantity, price=rupees(100.0), session=session, trade_id="t"
        )
    return it


def test_shares_delivered_and_on_their_way_change_alike_and_their_cost_stays() -> None:
    it = held(10, 20, 30)
    assert it.positions() == (Position("SBIN", 10, 50),)
    cash, cost = it.cash, it.average_cost("SBIN")
    it.apply_action("SBIN", 5, 1)
    assert it.positions() == (Position("SBIN", 50, 250),)
    assert it.cash == cash and it.average_cost("SBIN") == pytest.approx(cost / 5)
    it.start_session(date(2022, 3, 4))
    it.start_session(date(2022, 3, 5))
    assert it.positions() == (Position("SBIN", 300, 0),)


def test_a_fraction_is_left_out_once_for_the_whole_holding_and_stated() -> None:
    it = held(5, 5, 5)
    correction = it.apply_action("SBIN", 11, 10, cause="bonus 11/10")
    assert it.quantity("SBIN") == 16 == sum(position.quantity for position in it.positions())
    assert correction is not None and correction.delta == 1
    assert correction.cause == "bonus 11/10; 5/10 of a share is left over, to be paid out by the company"
    assert it.corrections == [correction]
    # The cost of what is left over leaves with it: a share costs 100 / 1.1, not more.
    assert it.average_cost("SBIN") == pytest.approx(rupees(100) / 1.1, abs=0.1)
    assert it.realised == -rupees(1500) + round(rupees(1500) * 16 / 16.5)


def test_nothing_held_changes_nothing_and_a_factor_of_nothing_is_refused() -> None:
    it = held(10)
    before = it.changes
    assert it.apply_action("AXISBANK", 2, 1) is None and it.changes == before
    for numerator, denominator in ((0, 1), (1, 0), (-2, 1)):
        with pytest.raises(BadInput):
            it.apply_action("SBIN", numerator, denominator)


def test_a_consolidation_may_leave_nothing_and_repeating_is_the_callers_business() -> None:
    it = held(9)
    it.apply_action("SBIN", 1, 10)
    assert it.positions() == () and it.average_cost("SBIN") is None
    it = held(9)
    it.apply_action("SBIN", 2, 1)
    it.apply_action("SBIN", 2, 1)
    assert it.quantity("SBIN") == 36


@given(
    bought=st.lists(st.integers(1, 500), min_size=1, max_size=4),
    sold=st.integers(0, 2000),
    numerator=st.integers(1, 20),
    denominator=st.integers(1, 20),
    price=st.integers(1_000, 500_000),
)
def test_any_factor_leaves_the_value_within_a_share_and_the_cost_of_a_share_in_proportion(
    bought: list[int], sold: int, numerator: int, denominator: int, price: int
) -> None:
    it = held(*bought)
    sold = min(sold, sum(bought) - 1)
    if sold:
        assert it.session is not None
        it.apply_fill(
            symbol="SBIN", side=Side.SELL, quantity=sold, price=Paise(price), session=it.session, trade_id="s"
        )
    before, cost, cash = it.quantity("SBIN"), it.average_cost("SBIN"), it.cash
    assert cost is not None
    it.apply_action("SBIN", numerator, denominator)
    after = it.quantity("SBIN")
    lost = before * numerator - after * denominator
    assert 0 <= lost < denominator and it.cash == cash
    (position,) = it.positions() or (Position("SBIN", 0, 0),)
    assert position.quantity == after and position.settled >= 0 and position.unsettled >= 0
    if after:
        assert it.average_cost("SBIN") == pytest.approx(cost * denominator / numerator, abs=0.5 / after + 1e-9)


# ---- the paper broker ------------------------------------------------------------------------------------------------


def broker(path: Path | None, *, now_ns: int = NOON_NS) -> PaperBroker:
    return PaperBroker(
        symbols=("SBIN",),
        opening_cash=rupees(100_000),
        charges=CHARGES,
        now_ns=lambda: now_ns,
        store=PaperStore(path) if path is not None else None,
    )


def order(tag: str, side: Side, quantity: int, limit: float) -> ApprovedOrder:
    return _seal(ProposedOrder(tag, "plan", "SBIN", side, quantity, rupees(limit)), limits_version="v1", priced_at_ns=0)


def bar(session: date, start: int, close: float, volume: float = 1_000) -> BarBatch:
    row = ((close,), (close,), (close,), (close,), (volume,))
    return BarBatch(session, Interval.MINUTE, start, start + 60 * 10**9, ("SBIN",), *row)


def with_shares(path: Path | None) -> PaperBroker:
    it = broker(path)
    it.prime(closes={"SBIN": 800.0}, volumes={"SBIN": 5_000.0})
    it.start_session(FRIDAY)
    it.on_open({"SBIN": 800.0})
    it.submit([order("a", Side.BUY, 10, 801.0)])
    it.on_bars(bar(FRIDAY, NOON_NS, 810.0, 700.0))
    return it


def test_the_broker_applies_an_action_once_over_restarts_and_knows_its_prices_anew(tmp_path: Path) -> None:
    path = tmp_path / "paper.sqlite"
    with_shares(path).apply_action(SPLIT)
    again = broker(path, now_ns=NOON_NS + 3 * 86_400 * 10**9)
    assert again.apply_action(SPLIT) is None
    again.start_session(MONDAY)
    assert again.account.quantity("SBIN") == 100
    assert again._market.previous_close["SBIN"] == 81.0 and again._market.previous_volume["SBIN"] == 7_000.0
    # In the band around 81, far outside of the one around 810.
    heard: list[object] = []
    again.attach(heard.extend)
    again.submit([order("b", Side.SELL, 100, 82.0)])
    assert heard[-1].kind == "acknowledged"  # type: ignore[attr-defined]


def test_late_bars_of_the_session_before_do_not_bring_the_old_price_back() -> None:
    it = with_shares(None)
    it.apply_action(SPLIT)
    it.start_session(MONDAY)
    it.on_bars(bar(FRIDAY, NOON_NS + 60 * 10**9, 820.0))
    assert it._market.last["SBIN"] == 82.0


def test_an_order_that_was_left_open_ends_with_the_action() -> None:
    it = with_shares(None)
    heard: list[object] = []
    it.attach(heard.extend)
    it.submit([order("rest", Side.BUY, 5, 790.0)])
    it.apply_action(SPLIT)
    assert heard[-1].kind == "expired"  # type: ignore[attr-defined]
    assert it._blocked == 0


def test_another_action_of_the_same_symbol_applies() -> None:
    it = with_shares(None)
    it.apply_action(SPLIT)
    it.apply_action(replace(SPLIT, ex_date=date(2026, 11, 24), numerator=2))
    assert it.account.quantity("SBIN") == 200


def test_cash_moves_once_a_sequence_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "paper.sqlite"
    it = broker(path)
    it.move_cash(amount=rupees(5_000), sequence=12, cause="savings")
    again = broker(path)
    again.move_cash(amount=rupees(5_000), sequence=12, cause="savings")
    again.move_cash(amount=Paise(-rupees(1_000.5)), sequence=15, cause="fees")
    assert again.account.cash == rupees(103_999.5)
    assert sum(correction.delta for correction in again.account.corrections) == rupees(3_999.5)
