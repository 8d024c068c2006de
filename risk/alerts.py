"""Alerts: what a person should hear about and nothing is blocked by. Each function answers with the news, or nothing.

Those that look at a state (a streak of losses, a low Sharpe ratio) speak when the state begins, not on every session that
it lasts: what is said daily is read by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum, sqrt
from typing import Final

from market.money import Paise
from risk.approval import Side
from risk.reasons import Reason, ReasonCode
from risk.schema import RiskLimits

ENFORCES: Final = (
    "alerts.negative_days_threshold",
    "alerts.low_sharpe_threshold",
    "alerts.zero_volume_threshold",
    "circuit_breakers.max_single_position_percent",
    "circuit_breakers.min_positions_count",
    "execution.max_acceptable_slippage",
)
# A month of sessions, and the sessions of a year that its Sharpe ratio is scaled to.
MONTH: Final = 21
YEAR: Final = 252


def monthly_sharpe(returns: Sequence[float]) -> float | None:
    """Return the annual Sharpe ratio of the last 21 session returns without a risk-free rate.

    None when there are fewer, or when they do not vary (a session without positions is not a bad one).
    """
    if len(returns) < MONTH:
        return None
    month = returns[-MONTH:]
    mean = fsum(month) / MONTH
    variance = fsum((value - mean) ** 2 for value in month) / (MONTH - 1)
    return mean / sqrt(variance) * sqrt(YEAR) if variance > 1e-18 else None


def after_session(returns: Sequence[float], streak: int, limits: RiskLimits) -> tuple[Reason, ...]:
    """Return what the end of a session adds to the account's record.

    The last of `returns` is its own; `streak` is how many sessions in a row, with it, ended with a loss.
    """
    found: list[Reason] = []
    threshold = limits.alerts.negative_days_threshold
    if streak and streak % threshold == 0:
        found.append(Reason(ReasonCode.ALERT_NEGATIVE_DAYS, value=streak, limit=threshold))
    least = limits.alerts.low_sharpe_threshold
    sharpe = monthly_sharpe(returns)
    if sharpe is not None and sharpe < least:
        before = monthly_sharpe(returns[:-1])
        if before is None or before >= least:
            found.append(Reason(ReasonCode.ALERT_LOW_SHARPE, value=sharpe, limit=least))
    return tuple(found)


def concerns(symbols: Sequence[str], weights: Sequence[float], limits: RiskLimits) -> tuple[Reason, ...]:
    """Return what is to be said of a book [n] that is held: positions that are too large, and too few of them."""
    breakers = limits.circuit_breakers
    largest = breakers.max_single_position_percent / 100.0
    found = [
        Reason(ReasonCode.ALERT_SINGLE_POSITION, symbol, weight, largest)
        for symbol, weight in zip(symbols, weights, strict=True)
        if weight > largest + 1e-9
    ]
    count = sum(1 for weight in weights if weight > 0.0)
    if count < breakers.min_positions_count:
        found.append(Reason(ReasonCode.ALERT_FEW_POSITIONS, value=count, limit=breakers.min_positions_count))
    return tuple(found)


def news(now: Sequence[Reason], before: Sequence[Reason]) -> tuple[Reason, ...]:
    """Return the concerns of now that were none before, by code and instrument."""
    known = {(reason.code, reason.symbol) for reason in before}
    return tuple([reason for reason in now if (reason.code, reason.symbol) not in known])


def without_volume(bars: Mapping[str, tuple[int, int]], limits: RiskLimits) -> tuple[Reason, ...]:
    """Return the instruments whose session had too many bars without volume; `bars`: symbol -> (all, without)."""
    threshold = limits.alerts.zero_volume_threshold
    return tuple(
        [
            Reason(ReasonCode.ALERT_ZERO_VOLUME, symbol, empty / count, threshold)
            for symbol, (count, empty) in bars.items()
            if count and empty / count > threshold
        ]
    )


def slippage(side: Side, *, price: Paise | float, reference: Paise) -> float:
    """Return how much worse than the reference a price is, as a fraction of it; negative when it is better."""
    worse = price - reference if side is Side.BUY else reference - price
    return worse / reference


def slipped(symbol: str, side: Side, *, price: Paise, reference: Paise, limits: RiskLimits) -> tuple[Reason, ...]:
    """Return the news of a fill whose price is further from its reference, to our loss, than acceptable."""
    used, most = slippage(side, price=price, reference=reference), limits.execution.max_acceptable_slippage
    return (Reason(ReasonCode.ALERT_SLIPPAGE, symbol, used, most),) if used > most + 1e-12 else ()
