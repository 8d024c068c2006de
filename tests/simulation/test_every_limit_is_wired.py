"""Configured is wired: for every key of the limits' schema, crossing it in the whole daemon shows in the journal.

The list of keys comes from the schema. For each there is a situation, a value that the situation keeps and a value that it
crosses; the run under the first must not show the effect and the run under the second must. A key without a case fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest

from brokers.port import ReportKind
from daemon.messages import (
    BarsRejected,
    BreakerReleased,
    BreakerTripped,
    CancelRequested,
    Decided,
    Halted,
    Lane,
    OperatorCommand,
    OrderReports,
    OrdersIntended,
    PlanApproved,
    PlanClosed,
    RiskAlerted,
    RollbackDecided,
)
from market.errors import BadInput
from risk.limits import load_limits
from risk.reasons import ReasonCode
from risk.schema import RiskLimits
from risk.wiring import ALWAYS_ON
from tests.simulation.small_market import EVEN, MINUTE_NS, Run, daily, five_minutes, limits, path, sessions, simulate

HOUR_NS = 3_600 * 10**9
CALM = path(*[0.0] * 5)
TILTED = (0.25, 0.15, 0.15, 0.15, 0.15)


def leaves() -> list[str]:
    return [
        f"{section}.{key}"
        for section, field in RiskLimits.model_fields.items()
        for key in field.annotation.model_fields
    ]


@dataclass(frozen=True)
class Case:
    """`run` makes the situation under given limits, `shows` finds the effect; `others` are keys that both runs set."""

    kept: Any
    crossed: Any
    run: Callable[[RiskLimits], Run]
    shows: Callable[[Run], bool]
    others: tuple[tuple[str, Any], ...] = ()

    def shown(self, key: str, value: Any) -> bool:
        keys = {name.replace(".", "__"): other for name, other in self.others}
        return self.shows(self.run(limits(**{**keys, key.replace(".", "__"): value})))


# ---- situations


def falling(*moves: float, **options: Any) -> Callable[[RiskLimits], Run]:
    """Three calm sessions, in which the book is built (75 % invested), then these moves of the whole market."""
    return lambda under: simulate(daily(path(0.0, 0.0, 0.0, *moves)), under, EVEN, **options)


def wanting(*targets: Any, **options: Any) -> Callable[[RiskLimits], Run]:
    """A calm market and these targets, one a session; the last one stays."""
    return lambda under: simulate(daily(CALM), under, lambda i: targets[min(i, len(targets) - 1)], **options)


def one_falls(under: RiskLimits) -> Run:
    """One name falls 5 %, the others stand."""
    closes = np.array(path(*[0.0] * 5))
    closes[4:, 2] *= 0.95
    return simulate(daily(closes), under, EVEN)


def opens_away(*closes: float) -> Callable[[RiskLimits], Run]:
    """A second day on five-minute bars that opens 0.8 % up, so that purchases (limit +0.5 %) rest, and goes on so."""

    def run(under: RiskLimits) -> Run:
        first, second = sessions(2)
        bars = daily(path(0.0))
        from daemon.replay import history_message

        minutes = five_minutes(second, closes, first=1_008.0)
        return simulate(minutes, under, EVEN, history=history_message(bars.slice(first, first), second, 10))

    return run


def rising_then_far(under: RiskLimits) -> Run:
    return opens_away(1_008, 1_008, 1_015, 1_016, *[1_016] * 20)(under)


def losing_model(under: RiskLimits) -> Run:
    return falling(*[-0.05] * 5, model="v1_20240101_000000")(under)


def sick_strategy(under: RiskLimits) -> Run:
    return simulate(daily(CALM), under, lambda i: ValueError("no answer") if i < 3 else EVEN)


def bad_print(under: RiskLimits) -> Run:
    """One name's price is a tenth of what it was, for three days."""
    closes = np.array(path(*[0.0] * 8))
    closes[4:7, 1] /= 10.0
    return simulate(daily(closes), under, EVEN)


def empty_bars(under: RiskLimits) -> Run:
    """One of two sessions' bars of a name has no volume: every bar of that session, since bars are daily."""
    volume = np.full((6, 5), 1e9)
    volume[3, 1] = 0.0
    return simulate(daily(CALM, volume=volume), under, EVEN)


def unattended_fall(under: RiskLimits) -> Run:
    return falling(-0.08, 0.0, 0.0, 0.0, approvals=False)(under)


def in_live_mode(under: RiskLimits) -> Run:
    return simulate(daily(CALM), under, EVEN, mode="live")


# ---- effects


def moved(name: str) -> Callable[[Run], bool]:
    # On the last session the book is where it can be, so that what moves the target then is this limit alone.
    return lambda run: name in run.approved()[-1].moved


def tripped(name: str) -> Callable[[Run], bool]:
    return lambda run: name in [trip.name for trip in run.of(BreakerTripped)]


def told(code: ReasonCode) -> Callable[[Run], bool]:
    return lambda run: code in {reason.code for alert in run.of(RiskAlerted) for reason in alert.reasons}


def refused(code: ReasonCode) -> Callable[[Run], bool]:
    return lambda run: code.value in run.refusals()


def most_orders_a_plan(run: Run) -> int:
    return max(len(intended.orders) for intended in run.of(OrdersIntended))


def cancelled_within(run: Run, minutes: float) -> bool:
    sent, cancelled = run.times(OrdersIntended)[0], run.times(CancelRequested)[0]
    return cancelled - sent <= minutes * MINUTE_NS


def cancelled_for_slippage(run: Run) -> bool:
    return any("slippage" in cancel.why for cancel in run.of(CancelRequested))


def first_answers_spread(run: Run) -> bool:
    """Whether the orders of the first plan reached the broker over more than a second."""
    first = run.of(OrdersIntended)[0]
    tags = {order.tag for order in first.orders}
    at = [
        envelope.at_ns
        for message, envelope in run.records
        if isinstance(message, OrderReports) and tags & {report.tag for report in message.reports}
    ]
    return max(at) - min(at) > 10**9


def paused_longer_than_a_day(run: Run) -> bool:
    return run.times(BreakerReleased)[0] - run.times(BreakerTripped)[0] > 24 * HOUR_NS


def sold_everything(run: Run) -> bool:
    exits = [decision for decision in run.approved() if decision.exit]
    return bool(exits) and not any(run.result.core_state.account.quantities.values())  # type: ignore[union-attr]


def contacts_named(run: Run) -> bool:
    errors = [alert for alert in run.of(RiskAlerted) if alert.severity == "error"]
    assert errors
    return all(alert.contacts == ("owner@example.org",) for alert in errors)


LIQUIDATES = (("emergency.enable_auto_liquidate", True), ("emergency.confirm_auto_liquidate", True))
CODE = ReasonCode

CASES: dict[str, Case] = {
    "position_limits.max_weight_per_stock": Case(0.30, 0.20, wanting(TILTED), moved("max_weight")),
    "position_limits.min_weight_per_stock": Case(0.05, 0.11, wanting((0.1, *EVEN[1:])), moved("min_weight")),
    "position_limits.max_daily_turnover": Case(0.30, 0.04, wanting(EVEN, EVEN, EVEN, TILTED), moved("turnover")),
    "position_limits.min_cash_reserve": Case(0.10, 0.20, wanting((0.17,) * 5), moved("cash_reserve")),
    "position_limits.max_leverage": Case(1.0, 0.80, wanting((0.17,) * 5), moved("leverage")),
    "circuit_breakers.enabled": Case(False, True, falling(-0.08), tripped("daily_loss")),
    "circuit_breakers.max_daily_loss_percent": Case(5.0, 2.0, falling(-0.04), tripped("daily_loss")),
    "circuit_breakers.max_daily_loss_absolute": Case(None, 20_000.0, falling(-0.04), tripped("daily_loss")),
    "circuit_breakers.max_weekly_loss_percent": Case(10.0, 4.0, falling(-0.03, -0.03), tripped("weekly_loss")),
    "circuit_breakers.max_weekly_loss_absolute": Case(None, 40_000.0, falling(-0.03, -0.03), tripped("weekly_loss")),
    "circuit_breakers.max_drawdown_percent": Case(15.0, 5.0, falling(*[-0.02] * 5), tripped("drawdown")),
    "circuit_breakers.max_single_stock_loss": Case(8.0, 4.0, one_falls, tripped("single_stock_loss")),
    "circuit_breakers.min_portfolio_value_percent": Case(80.0, 97.0, falling(-0.045), tripped("portfolio_value")),
    "circuit_breakers.max_single_position_percent": Case(50.0, 14.0, wanting(EVEN), told(CODE.ALERT_SINGLE_POSITION)),
    "circuit_breakers.min_positions_count": Case(0, 6, wanting(EVEN), told(CODE.ALERT_FEW_POSITIONS)),
    "alerts.large_trade_threshold": Case(0.13, 0.09, wanting(EVEN), told(CODE.ALERT_LARGE_TRADE)),
    "alerts.large_weight_change": Case(0.16, 0.14, wanting(EVEN), told(CODE.ALERT_LARGE_WEIGHT_CHANGE)),
    "alerts.negative_days_threshold": Case(4, 3, falling(*[-0.001] * 3), told(CODE.ALERT_NEGATIVE_DAYS)),
    "alerts.low_sharpe_threshold": Case(-10.0, 0.5, falling(*[0.001, -0.002] * 11), told(CODE.ALERT_LOW_SHARPE)),
    "alerts.zero_volume_threshold": Case(1.0, 0.05, empty_bars, told(CODE.ALERT_ZERO_VOLUME)),
    "execution.max_order_size_percent": Case(0.15, 0.05, wanting(EVEN), lambda run: most_orders_a_plan(run) > 5),
    "execution.min_order_size_rupees": Case(1_000.0, 2_00_000.0, wanting(EVEN), refused(CODE.ORDER_TOO_SMALL)),
    "execution.max_acceptable_slippage": Case(
        0.005, 0.002, wanting(EVEN, slippage_bps=30.0), told(CODE.ALERT_SLIPPAGE)
    ),
    "execution.cancel_if_slippage_exceeds": Case(0.02, 0.01, rising_then_far, cancelled_for_slippage),
    "execution.order_timeout_minutes": Case(
        30.0, 10.0, opens_away(*[1_008] * 20), partial(cancelled_within, minutes=15)
    ),
    "execution.max_orders_per_second": Case(10, 2, wanting(EVEN), first_answers_spread),
    "execution.max_orders_per_day": Case(5, 3, wanting(EVEN), refused(CODE.ORDER_DAILY_COUNT)),
    "recovery.pause_duration_hours": Case(24.0, 30.0, falling(-0.08, 0.0, 0.0, 0.0), paused_longer_than_a_day),
    "recovery.require_manual_approval": Case(False, True, unattended_fall, lambda run: not run.of(BreakerReleased)),
    "recovery.enable_auto_rollback": Case(False, True, losing_model, lambda run: bool(run.of(RollbackDecided))),
    "recovery.rollback_if_loss_exceeds": Case(0.30, 0.10, losing_model, lambda run: bool(run.of(RollbackDecided))),
    "monitoring.check_data_quality": Case(False, True, bad_print, lambda run: bool(run.of(BarsRejected))),
    "monitoring.check_model_health": Case(False, True, sick_strategy, tripped("model_health")),
    "emergency.enable_auto_liquidate": Case(
        False,
        True,
        falling(*[-0.05] * 10, 0.0, approvals=False),
        sold_everything,
        (("emergency.confirm_auto_liquidate", True),),
    ),
    "emergency.confirm_auto_liquidate": Case(
        False,
        True,
        falling(*[-0.05] * 10, 0.0, approvals=False),
        sold_everything,
        (("emergency.enable_auto_liquidate", True),),
    ),
    "emergency.liquidate_if_loss_exceeds": Case(
        0.30, 0.10, falling(*[-0.05] * 5, 0.0, approvals=False), sold_everything, LIQUIDATES
    ),
    "emergency.contacts": Case((), ("owner@example.org",), falling(-0.08), contacts_named),
    "live.daily_approval_required": Case(False, True, in_live_mode, lambda run: not run.of(OrdersIntended)),
}


@pytest.mark.parametrize("key", leaves())
def test_crossing_the_limit_shows_in_the_journal(key):
    if key in ALWAYS_ON:
        assert key not in CASES
        return
    case = CASES[key]
    pair = key in ("emergency.enable_auto_liquidate", "emergency.confirm_auto_liquidate")
    if pair:
        # One key alone is refused, so the run that keeps the limit has neither.
        with pytest.raises(ValueError, match="must be set together"):
            case.shown(key, case.kept)
        assert not case.shows(case.run(limits()))
    else:
        assert not case.shown(key, case.kept), f"{key} = {case.kept} already shows"
    assert case.shown(key, case.crossed), f"{key} = {case.crossed} changes nothing"


def test_every_key_of_the_schema_has_a_case_or_cannot_be_switched_off():
    assert set(CASES) | set(ALWAYS_ON) == set(leaves())


@pytest.mark.parametrize("key", sorted(ALWAYS_ON))
def test_what_cannot_be_switched_off_is_refused_and_its_record_is_there(key, tmp_path):
    section, name = key.split(".")
    file = tmp_path / "risk_limits.yaml"
    file.write_text(f"{section}: {{{name}: false}}")
    with pytest.raises(BadInput, match="cannot be switched off"):
        load_limits(file, mode="replay")

    def halt(core: Any, message: Any, envelope: Any) -> None:
        if isinstance(message, PlanClosed) and not core.state.halts:
            core.bus.post(Lane.CONTROL, OperatorCommand(verb="halt", uid=0, reason="a test"))

    run = simulate(daily(CALM), limits(), EVEN, slippage_bps=10.0, observer=halt)
    assert ALWAYS_ON[key] in {type(message).__name__ for message, _ in run.records}
    fills = [r for reports in run.of(OrderReports) for r in reports.reports if r.kind is ReportKind.FILL]
    closed = run.of(PlanClosed)[0]
    assert len(fills) == len(run.orders()) == 5
    assert closed.slippage > 0 and closed.charges > 0 and closed.traded == sum(f.quantity * f.price for f in fills)
    decisions = run.of(Decided)
    assert decisions[1].margins and decisions[1].breakers
    assert run.of(Halted) and all("STATE_HALTED" in d.reasons[0] for d in decisions[2:])


def test_a_plan_that_waits_goes_ahead_when_a_person_approves_and_closes_when_nobody_does():
    def approve(core: Any, message: Any, envelope: Any) -> None:
        if isinstance(message, Decided) and message.moves and message.session == sessions(2)[1]:
            core.bus.post(Lane.CONTROL, OperatorCommand(verb="approve", uid=1000, reason="looks right"))

    under = limits(live__daily_approval_required=True)
    run = simulate(daily(CALM), under, EVEN, mode="live", observer=approve)
    (said,) = run.of(PlanApproved)
    assert (said.uid, said.reason) == (1000, "looks right")
    assert len(run.of(OrdersIntended)) == 1 and run.times(OrdersIntended) >= run.times(PlanApproved)
    closed = run.of(PlanClosed)
    assert closed[0].why == "" and {plan.why for plan in closed[1:]} == {"nobody approved it in time"}
