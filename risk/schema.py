"""The schema of `risk_limits.yaml`: every key, its unit, its range and its default.

Two units, and the key's name says which: a `*_percent` key of `circuit_breakers` (and `max_single_stock_loss`) is in
percent (5 means 5 %); every other ratio is a fraction (0.40 means 40 %), `execution.max_order_size_percent` included,
as the product's files have it.

A default of None means "off" for a limit that code enforces, and "not enforced by this version" for a key that no
code reads; `risk.limits` refuses a file that sets the latter, so that nobody trusts a limit which is not there.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from market.errors import BadInput

Tighter = Literal["lower", "higher", "fixed"]

_TOLERANCE: Final = 1e-9


def _key(
    default: float | int | bool | tuple[str, ...] | None,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    tighter: Tighter = "fixed",
) -> Any:
    """Declare a key: default, range, and which direction is stricter (an overlay may move it only there)."""
    return Field(default=default, gt=above, ge=at_least, le=at_most, json_schema_extra={"tighter": tighter})


def _percent(default: float | None) -> Any:
    """Declare a maximum in percent; 0.1 is the least, so that a fraction written by mistake (0.05) is refused."""
    return _key(default, at_least=0.1, at_most=100.0, tighter="lower")


class Section(BaseModel):
    """Base of all sections: immutable, no unknown keys, no coercion (the text "0.4" is no number)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PositionLimits(Section):
    """Weights of the portfolio, as fractions of equity."""

    max_weight_per_stock: float = _key(0.40, above=0.0, at_most=1.0, tighter="lower")
    min_weight_per_stock: float = _key(0.05, at_least=0.0, at_most=1.0, tighter="higher")
    max_daily_turnover: float = _key(0.30, above=0.0, at_most=1.0, tighter="lower")
    min_cash_reserve: float = _key(0.05, at_least=0.0, at_most=0.95, tighter="higher")
    max_leverage: float = _key(1.0, above=0.0, at_most=1.0, tighter="lower")

    @property
    def budget(self) -> float:
        """The most that all positions together may weigh: what cash reserve and leverage both allow."""
        return min(1.0 - self.min_cash_reserve, self.max_leverage)

    @model_validator(mode="after")
    def _contradictions(self) -> Self:
        if self.min_weight_per_stock > self.max_weight_per_stock:
            raise ValueError(
                f"min_weight_per_stock: {self.min_weight_per_stock:g}: "
                f"must be at most max_weight_per_stock ({self.max_weight_per_stock:g})"
            )
        if self.min_weight_per_stock > self.budget:
            raise ValueError(
                f"min_weight_per_stock: {self.min_weight_per_stock:g}: "
                f"must be at most what cash reserve and leverage leave ({self.budget:g})"
            )
        return self


class CircuitBreakers(Section):
    """Losses that pause trading. Percent keys: 5 means 5 %. Absolute amounts in rupees; None is off."""

    enabled: bool = _key(True, tighter="higher")
    max_daily_loss_percent: float = _percent(5.0)
    max_daily_loss_absolute: float | None = _key(None, above=0.0, at_most=1e12, tighter="lower")
    max_weekly_loss_percent: float = _percent(10.0)
    max_weekly_loss_absolute: float | None = _key(None, above=0.0, at_most=1e12, tighter="lower")
    max_drawdown_percent: float = _percent(15.0)
    max_single_stock_loss: float = _percent(8.0)
    min_portfolio_value_percent: float = _key(80.0, at_least=1.0, at_most=100.0, tighter="higher")
    max_single_position_percent: float = _percent(50.0)
    min_positions_count: int = _key(3, at_least=0, at_most=500, tighter="higher")


class Alerts(Section):
    """What a person is told about; nothing is blocked by these. Fractions of equity unless the key says otherwise."""

    large_trade_threshold: float = _key(0.10, above=0.0, at_most=1.0, tighter="lower")
    large_weight_change: float = _key(0.20, above=0.0, at_most=1.0, tighter="lower")
    negative_days_threshold: int | None = _key(None, at_least=1, at_most=250, tighter="lower")
    low_sharpe_threshold: float | None = _key(None, at_least=-10.0, at_most=10.0, tighter="higher")
    zero_volume_threshold: float | None = _key(None, at_least=0.0, at_most=1.0, tighter="lower")


class Execution(Section):
    """Single orders. Sizes and slippages are fractions (of equity, of the reference price)."""

    max_order_size_percent: float = _key(0.15, above=0.0, at_most=1.0, tighter="lower")
    min_order_size_rupees: float = _key(1000.0, at_least=0.0, at_most=1e9, tighter="higher")
    max_acceptable_slippage: float | None = _key(None, above=0.0, at_most=0.2, tighter="lower")
    cancel_if_slippage_exceeds: float = _key(0.02, above=0.0, at_most=0.2, tighter="lower")
    order_timeout_minutes: float = _key(30.0, above=0.0, at_most=375.0, tighter="lower")


class Recovery(Section):
    """What it takes to trade again after a breaker."""

    pause_duration_hours: float = _key(24.0, at_least=0.0, at_most=8760.0, tighter="higher")
    require_manual_approval: bool = _key(True, tighter="higher")
    enable_auto_rollback: bool | None = _key(None, tighter="higher")
    rollback_if_loss_exceeds: float | None = _key(None, above=0.0, at_most=1.0, tighter="lower")


class Monitoring(Section):
    """Switches of the product's file. The journal records all of it always, so no code reads these."""

    log_all_trades: bool | None = _key(None)
    log_all_decisions: bool | None = _key(None)
    track_slippage: bool | None = _key(None)
    track_transaction_costs: bool | None = _key(None)
    check_data_quality: bool | None = _key(None)
    check_model_health: bool | None = _key(None)


class Emergency(Section):
    """Emergency stop. It cannot be switched off: the key exists so that a file that tries is refused."""

    enable_auto_liquidate: bool | None = _key(None)
    liquidate_if_loss_exceeds: float | None = _key(None, above=0.0, at_most=1.0, tighter="lower")
    emergency_stop_enabled: Literal[True] = _key(True)
    contacts: tuple[str, ...] | None = _key(None)


class Live(Section):
    """Keys of live trading only; the same section may tighten any other section."""

    daily_approval_required: bool | None = _key(None, tighter="higher")


class RiskLimits(Section):
    """All limits that are in force. A value: two files with the same content have the same `version`."""

    position_limits: PositionLimits = PositionLimits()
    circuit_breakers: CircuitBreakers = CircuitBreakers()
    alerts: Alerts = Alerts()
    execution: Execution = Execution()
    recovery: Recovery = Recovery()
    monitoring: Monitoring = Monitoring()
    emergency: Emergency = Emergency()
    live: Live = Live()

    @cached_property
    def version(self) -> str:
        """Sixteen hex digits that name this content; every approval carries them."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def check_universe(self, count: int) -> None:
        """Refuse limits that `count` instruments cannot meet together; BadInput names the key and what is allowed."""
        if count < 1:
            raise BadInput(f"universe: {count} instruments: at least 1")
        limits = self.position_limits
        if limits.min_weight_per_stock * count > limits.budget + _TOLERANCE:
            raise BadInput(
                f"position_limits.min_weight_per_stock: {limits.min_weight_per_stock:g}: {count} instruments need "
                f"{limits.min_weight_per_stock * count:g} of equity, there is {limits.budget:g}; "
                f"at most {limits.budget / count:.4g}"
            )
