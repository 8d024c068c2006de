"""The schema of `risk_limits.yaml`: every key, its unit, its range, its default and what it does.

Two units, and the key's name says which: a `*_percent` key of `circuit_breakers` (and `max_single_stock_loss`) is in
percent (5 means 5 %); every other ratio is a fraction (0.40 means 40 %), `execution.max_order_size_percent` included,
as the product's files have it.

Every key is enforced: `risk.wiring` says where, and a test crosses each of them in the whole daemon.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cached_property
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from market.errors import BadInput

Tighter = Literal["lower", "higher", "fixed"]

_TOLERANCE: Final = 1e-9
_EMAIL: Final = re.compile(r"[^\s@/:]+@[^\s@/:]+\.[^\s@/:]+")
_TELEPHONE: Final = re.compile(r"\+?[0-9][0-9 -]{5,18}[0-9]")


def _key(
    default: float | int | bool | tuple[str, ...] | None,
    what: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    tighter: Tighter = "fixed",
) -> Any:
    """Declare a key: default, meaning, range, and which direction is stricter (an overlay may move it only there)."""
    return Field(
        default=default,
        description=what,
        gt=above,
        ge=at_least,
        le=at_most,
        json_schema_extra={"tighter": tighter},
    )


def _percent(default: float | None, what: str) -> Any:
    """Declare a maximum in percent; 0.1 is the least, so that a fraction written by mistake (0.05) is refused."""
    return _key(default, what, at_least=0.1, at_most=100.0, tighter="lower")


class Section(BaseModel):
    """Base of all sections: immutable, no unknown keys, no coercion (the text "0.4" is no number)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PositionLimits(Section):
    """What the portfolio may look like, as fractions of equity. A target that breaks these is moved, not refused."""

    max_weight_per_stock: float = _key(0.40, "no stock weighs more than this", above=0.0, at_most=1.0, tighter="lower")
    min_weight_per_stock: float = _key(
        0.05, "each stock of the universe weighs at least this", at_least=0.0, at_most=1.0, tighter="higher"
    )
    max_daily_turnover: float = _key(
        0.30, "half of what is bought and sold in a session, at most", above=0.0, at_most=1.0, tighter="lower"
    )
    min_cash_reserve: float = _key(0.05, "at least this stays in cash", at_least=0.0, at_most=0.95, tighter="higher")
    max_leverage: float = _key(
        1.0, "all positions together weigh at most this; there is no borrowing", above=0.0, at_most=1.0, tighter="lower"
    )

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
    """Losses that pause trading. Percent keys: 5 means 5 %. Absolute amounts in rupees; null is off.

    The absolute amounts do not grow with the account: Rs 5,000 a day and Rs 10,000 a week suit a capital of Rs 1,00,000.
    The tighter of the two counts.
    """

    enabled: bool = _key(True, "all of these breakers; false is accepted for replay alone", tighter="higher")
    max_daily_loss_percent: float = _percent(5.0, "loss of a session, against the last session's close")
    max_daily_loss_absolute: float | None = _key(None, "the same in rupees", above=0.0, at_most=1e12, tighter="lower")
    max_weekly_loss_percent: float = _percent(10.0, "loss of a week of sessions, against the last week's close")
    max_weekly_loss_absolute: float | None = _key(None, "the same in rupees", above=0.0, at_most=1e12, tighter="lower")
    max_drawdown_percent: float = _percent(15.0, "fall from the account's highest value")
    max_single_stock_loss: float = _percent(8.0, "fall of one holding below the average price paid for it")
    min_portfolio_value_percent: float = _key(
        80.0, "the account against what was put in, at least", at_least=1.0, at_most=100.0, tighter="higher"
    )
    max_single_position_percent: float = _percent(50.0, "a position above this is told to people; nothing is blocked")
    min_positions_count: int = _key(
        3, "fewer positions than this are told to people; nothing is blocked", at_least=0, at_most=500, tighter="higher"
    )


class Alerts(Section):
    """What a person is told about; nothing is blocked by these. Fractions of equity unless the key says otherwise."""

    large_trade_threshold: float = _key(
        0.10, "one stock's weight is traded by more than this", above=0.0, at_most=1.0, tighter="lower"
    )
    large_weight_change: float = _key(
        0.20, "the strategy asks for a larger change of one weight", above=0.0, at_most=1.0, tighter="lower"
    )
    negative_days_threshold: int = _key(
        3, "so many sessions with a loss, one after the other", at_least=1, at_most=250, tighter="lower"
    )
    low_sharpe_threshold: float = _key(
        0.5,
        "the Sharpe ratio (annual) of the last 21 sessions is below this",
        at_least=-10.0,
        at_most=10.0,
        tighter="higher",
    )
    zero_volume_threshold: float = _key(
        0.05,
        "a larger share of an instrument's bars of a session came without volume",
        at_least=0.0,
        at_most=1.0,
        tighter="lower",
    )


class Execution(Section):
    """Single orders. Sizes and slippages are fractions (of equity, of the reference price)."""

    max_order_size_percent: float = _key(
        0.15,
        "no order is a larger part of the account; larger trades are sliced",
        above=0.0,
        at_most=1.0,
        tighter="lower",
    )
    min_order_size_rupees: float = _key(
        1000.0,
        "smaller orders are not worth their charges; sales that reduce risk are exempt",
        at_least=0.0,
        at_most=1e9,
        tighter="higher",
    )
    max_acceptable_slippage: float = _key(
        0.005,
        "a fill further from the reference price, to our loss, is told to people",
        above=0.0,
        at_most=0.2,
        tighter="lower",
    )
    cancel_if_slippage_exceeds: float = _key(
        0.02,
        "no order is priced further from the reference price, and open orders are cancelled when the market is",
        above=0.0,
        at_most=0.2,
        tighter="lower",
    )
    order_timeout_minutes: float = _key(
        30.0, "what is not filled by then is cancelled", above=0.0, at_most=375.0, tighter="lower"
    )
    max_orders_per_second: int = _key(
        10,
        "orders leave no faster; the rest waits (ten is where the exchange asks for registration)",
        at_least=1,
        at_most=1000,
        tighter="lower",
    )
    max_orders_per_day: int = _key(
        1000,
        "orders of a session, at most (an exit is exempt): a stop for whatever has run away",
        at_least=1,
        at_most=100_000,
        tighter="lower",
    )

    @model_validator(mode="after")
    def _contradictions(self) -> Self:
        if self.max_acceptable_slippage > self.cancel_if_slippage_exceeds:
            raise ValueError(
                f"max_acceptable_slippage: {self.max_acceptable_slippage:g}: "
                f"must be at most cancel_if_slippage_exceeds ({self.cancel_if_slippage_exceeds:g})"
            )
        return self


class Recovery(Section):
    """What it takes to trade again after a breaker, and when a model is taken back."""

    pause_duration_hours: float = _key(
        24.0, "trading stays paused at least this long after a trip", at_least=0.0, at_most=8760.0, tighter="higher"
    )
    require_manual_approval: bool = _key(
        True, "and until a person has approved with a reason; false is accepted for replay alone", tighter="higher"
    )
    enable_auto_rollback: bool = _key(
        True, "a model that loses too much is replaced by the one before", tighter="higher"
    )
    rollback_if_loss_exceeds: float = _key(
        0.15,
        "loss since the model was activated, as a fraction of the account then",
        above=0.0,
        at_most=1.0,
        tighter="lower",
    )


class Monitoring(Section):
    """What is recorded and watched. The records cannot be switched off: they are the journal."""

    log_all_trades: Literal[True] = _key(True, "every fill is in the journal")
    log_all_decisions: Literal[True] = _key(True, "every decision is in the journal, with its reasons and margins")
    track_slippage: Literal[True] = _key(True, "every plan ends with its slippage against the reference prices")
    track_transaction_costs: Literal[True] = _key(True, "every plan ends with its charges")
    check_data_quality: bool = _key(
        True,
        "a price that moved by more than half is not believed, and three refused batches in a row pause trading; "
        "false is accepted for replay alone",
        tighter="higher",
    )
    check_model_health: bool = _key(
        True,
        "three answers in a row that are late, failed or invalid pause trading; false is accepted for replay alone",
        tighter="higher",
    )


class Emergency(Section):
    """Emergency stop and liquidation. The stop cannot be switched off; liquidation takes two keys to switch on."""

    enable_auto_liquidate: bool = _key(
        False, "sell everything when the loss below is exceeded; works only with the next key", tighter="higher"
    )
    confirm_auto_liquidate: bool = _key(
        False, "second key of the same lock: both must be true, or neither", tighter="higher"
    )
    liquidate_if_loss_exceeds: float = _key(
        0.30, "loss against what was put into the account, as a fraction", above=0.0, at_most=1.0, tighter="lower"
    )
    emergency_stop_enabled: Literal[True] = _key(True, "the emergency stop; it cannot be switched off")
    contacts: tuple[str, ...] = _key((), "e-mail addresses and telephone numbers that are named in every alarm")

    @field_validator("contacts", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _contradictions(self) -> Self:
        if self.enable_auto_liquidate != self.confirm_auto_liquidate:
            wrong, other = ("enable_auto_liquidate", "confirm_auto_liquidate")
            if self.confirm_auto_liquidate:
                wrong, other = other, wrong
            raise ValueError(f"{wrong}: true: must be set together with emergency.{other}; one key alone does nothing")
        for contact in self.contacts:
            # Addresses with tokens are secrets: they would be in the journal.
            if not (_EMAIL.fullmatch(contact) or _TELEPHONE.fullmatch(contact)):
                raise ValueError(f"contacts: {contact!r}: must be e-mail addresses or telephone numbers")
        return self

    @property
    def liquidates(self) -> bool:
        """Whether both keys are turned."""
        return self.enable_auto_liquidate and self.confirm_auto_liquidate


class Live(Section):
    """Keys of live trading only; the same section may tighten any other section."""

    daily_approval_required: bool = _key(
        False, "in live mode a day's plan waits for `tarazu approve` before its first order", tighter="higher"
    )


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
