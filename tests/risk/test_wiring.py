"""Keys of the limits in the risk room alone: crossing one changes what its own code answers.

The whole daemon under every key is in tests/simulation/test_every_limit_is_wired.py; here a mistake shows in the module
that made it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from market.errors import BadInput
from market.money import rupees
from risk.approval import ProposedOrder, Side
from risk.breakers.board import BreakerBoard, PositionReading, Reading
from risk.gate import Book, Gate, OrderContext, TargetApproval
from risk.limits import RiskLimits, load_limits
from risk.order_checks import Batch, OrderRules
from risk.reasons import ReasonCode
from risk.wiring import ALWAYS_ON, EXTERNALLY_ENFORCED, WIRED, enforced_by
from tests.risk.board_steps import observe

ROOT = Path(__file__).resolve().parents[2]
SYMBOLS = ("HDFCBANK", "ICICIBANK", "SBIN", "KOTAKBANK", "AXISBANK")
MONDAY = date(2025, 6, 2)
HOUR = 3_600_000_000_000
DAY = 24 * HOUR


def with_key(key: str, value: Any) -> RiskLimits:
    section, name = key.split(".")
    return RiskLimits.model_validate({section: {name: value}})


def book(held: int = 150) -> Book:
    """Rs 10,00,000; `held` shares of each of five names at Rs 1,000."""
    cash = 1_000_000 - 5_000 * held
    return Book(SYMBOLS, (held,) * 5, (rupees(1_000),) * 5, rupees(cash), rupees(1_000_000), (True,) * 5, 1, 2, MONDAY)


def approved(limits: RiskLimits, target: tuple[float, ...], held: int = 150) -> TargetApproval:
    result = Gate(limits).review_targets(target, book(held), latched=())
    assert isinstance(result, TargetApproval)
    return result


def moves(limit: str, target: tuple[float, ...], held: int = 150) -> Callable[[RiskLimits], bool]:
    return lambda limits: limit in approved(limits, target, held).active


def tells(code: ReasonCode, target: tuple[float, ...]) -> Callable[[RiskLimits], bool]:
    return lambda limits: code in {reason.code for reason in approved(limits, target).reasons}


def refuses(code: ReasonCode, *, quantity: int = 10, price: float = 1_000, halted: bool = False) -> Callable[..., bool]:
    def observe(limits: RiskLimits) -> bool:
        order = ProposedOrder("A1", "plan", "SBIN", Side.BUY, quantity, rupees(price))
        context = OrderContext(
            book=book(), available=rupees(250_000), sellable={}, priced_not_before_ns=0, halted=halted
        )
        return code in {reason.code for reason in Batch(OrderRules(limits), context).check(order)}

    return observe


def after(limits: RiskLimits, *equities: float, entry: float = 1_000, last: float = 1_000) -> BreakerBoard:
    """The board after readings of one session (the last close was Rs 1,00,000)."""
    board = BreakerBoard.start(limits, initial_equity=rupees(100_000))
    for equity in equities:
        holding = PositionReading("SBIN", 10, rupees(entry), rupees(last))
        now = Reading(0, MONDAY, rupees(equity), previous_close_equity=rupees(100_000), positions=(holding,))
        board, _ = observe(board, now)
    return board


def trips(name: str, equity: float, **prices: float) -> Callable[[RiskLimits], bool]:
    return lambda limits: name in after(limits, equity, **prices).latched


def still_latched(*, at_ns: int, approve: bool) -> Callable[[RiskLimits], bool]:
    def held(limits: RiskLimits) -> bool:
        board = after(limits, 94_000)
        assert board.latched
        if approve:
            board = board.approve("asha", "seen", 0)
        board, _ = observe(board, Reading(at_ns, MONDAY, rupees(94_000), previous_close_equity=rupees(100_000)))
        return bool(board.latched)

    return held


EVEN = (0.15,) * 5
# key -> a value that the situation keeps, a value that it crosses, and how crossing shows.
CROSSINGS: dict[str, tuple[Any, Any, Callable[[RiskLimits], bool]]] = {
    "position_limits.max_weight_per_stock": (0.30, 0.20, moves("max_weight", (0.25, 0.15, 0.15, 0.15, 0.15))),
    "position_limits.min_weight_per_stock": (0.05, 0.11, moves("min_weight", (0.10, 0.15, 0.15, 0.15, 0.15))),
    "position_limits.max_daily_turnover": (0.30, 0.04, moves("turnover", (0.25, 0.15, 0.15, 0.15, 0.15))),
    "position_limits.min_cash_reserve": (0.10, 0.20, moves("cash_reserve", (0.17,) * 5)),
    "position_limits.max_leverage": (1.0, 0.80, moves("leverage", (0.17,) * 5)),
    "circuit_breakers.enabled": (False, True, trips("daily_loss", 94_000)),
    "circuit_breakers.max_daily_loss_percent": (5.0, 3.0, trips("daily_loss", 96_000)),
    "circuit_breakers.max_daily_loss_absolute": (5_000.0, 3_000.0, trips("daily_loss", 96_000)),
    "circuit_breakers.max_weekly_loss_percent": (10.0, 3.0, trips("weekly_loss", 96_000)),
    "circuit_breakers.max_weekly_loss_absolute": (10_000.0, 3_000.0, trips("weekly_loss", 96_000)),
    "circuit_breakers.max_drawdown_percent": (15.0, 3.0, trips("drawdown", 96_000)),
    "circuit_breakers.max_single_stock_loss": (8.0, 3.0, trips("single_stock_loss", 96_000, entry=1_000, last=960)),
    "circuit_breakers.min_portfolio_value_percent": (80.0, 97.0, trips("portfolio_value", 96_000)),
    "alerts.large_trade_threshold": (
        0.11, 0.09, tells(ReasonCode.ALERT_LARGE_TRADE, (0.25, 0.15, 0.15, 0.15, 0.15)),
    ),
    "alerts.large_weight_change": (
        0.21, 0.19, tells(ReasonCode.ALERT_LARGE_WEIGHT_CHANGE, (0.35, 0.15, 0.15, 0.15, 0.15)),
    ),
    "execution.max_order_size_percent": (0.15, 0.10, refuses(ReasonCode.ORDER_TOO_LARGE, quantity=101)),
    "execution.min_order_size_rupees": (10_000.0, 10_001.0, refuses(ReasonCode.ORDER_TOO_SMALL)),
    "execution.cancel_if_slippage_exceeds": (0.01, 0.009, refuses(ReasonCode.ORDER_PRICE_COLLAR, price=1_010)),
    "recovery.pause_duration_hours": (24.0, 25.0, still_latched(at_ns=DAY, approve=True)),
    "recovery.require_manual_approval": (False, True, still_latched(at_ns=DAY, approve=False)),
}  # fmt: skip


@pytest.mark.parametrize("key", sorted(CROSSINGS))
def test_crossing_the_limit_changes_behaviour(key):
    kept, crossed, shows = CROSSINGS[key]
    assert not shows(with_key(key, kept)), f"{key} = {kept} already shows"
    assert shows(with_key(key, crossed)), f"{key} = {crossed} changes nothing"


def test_the_emergency_stop_stops_orders_and_cannot_be_switched_off(tmp_path):
    assert not refuses(ReasonCode.ORDER_HALTED)(RiskLimits())
    assert refuses(ReasonCode.ORDER_HALTED, halted=True)(RiskLimits())
    file = tmp_path / "risk_limits.yaml"
    file.write_text("emergency: {emergency_stop_enabled: false}")
    with pytest.raises(BadInput, match="cannot be switched off"):
        load_limits(file, mode="replay")


def test_every_crossing_is_of_a_wired_key():
    assert set(CROSSINGS) <= WIRED


def test_every_wired_key_is_in_the_schema_and_names_its_place():
    leaves = {
        f"{section}.{key}"
        for section, field in RiskLimits.model_fields.items()
        for key in field.annotation.model_fields
    }
    assert leaves == WIRED == set(enforced_by())
    assert not set(EXTERNALLY_ENFORCED) & set(ALWAYS_ON)
    assert enforced_by()["circuit_breakers.max_drawdown_percent"] == "risk.breakers.drawdown"


@pytest.mark.parametrize(("key", "place"), sorted(EXTERNALLY_ENFORCED.items()))
def test_a_key_that_another_room_enforces_is_read_there(key, place):
    source = ROOT / (place.replace(".", "/") + ".py")
    assert key.split(".")[1] in source.read_text(), f"{place} does not read {key}: wire it, or name the right place"
