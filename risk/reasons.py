"""Why the gate said no, or what it wants a person to know: a closed list of codes, each with one sentence.

Codes read CATEGORY_CONDITION. The table in the documentation is generated from `EXPLANATIONS`; a test holds it
complete.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec


class ReasonCode(StrEnum):
    """Closed list of reasons."""

    TARGET_WRONG_LENGTH = "TARGET_WRONG_LENGTH"
    TARGET_NOT_FINITE = "TARGET_NOT_FINITE"
    TARGET_NEGATIVE = "TARGET_NEGATIVE"
    TARGET_ABOVE_ONE = "TARGET_ABOVE_ONE"
    BOOK_NO_EQUITY = "BOOK_NO_EQUITY"
    BOOK_NO_PRICE = "BOOK_NO_PRICE"
    BOOK_NEGATIVE_QUANTITY = "BOOK_NEGATIVE_QUANTITY"
    BREAKER_LATCHED = "BREAKER_LATCHED"

    LIMIT_MAX_WEIGHT = "LIMIT_MAX_WEIGHT"
    LIMIT_MIN_WEIGHT = "LIMIT_MIN_WEIGHT"
    LIMIT_CASH_RESERVE = "LIMIT_CASH_RESERVE"
    LIMIT_LEVERAGE = "LIMIT_LEVERAGE"
    LIMIT_TURNOVER = "LIMIT_TURNOVER"
    LIMIT_UNTRADABLE = "LIMIT_UNTRADABLE"
    RELAXED_MAX_WEIGHT = "RELAXED_MAX_WEIGHT"
    RELAXED_MIN_WEIGHT = "RELAXED_MIN_WEIGHT"
    RELAXED_CASH_RESERVE = "RELAXED_CASH_RESERVE"
    RELAXED_LEVERAGE = "RELAXED_LEVERAGE"
    RELAXED_TURNOVER = "RELAXED_TURNOVER"

    ALERT_LARGE_TRADE = "ALERT_LARGE_TRADE"
    ALERT_LARGE_WEIGHT_CHANGE = "ALERT_LARGE_WEIGHT_CHANGE"
    ALERT_SINGLE_POSITION = "ALERT_SINGLE_POSITION"
    ALERT_FEW_POSITIONS = "ALERT_FEW_POSITIONS"
    ALERT_NEGATIVE_DAYS = "ALERT_NEGATIVE_DAYS"
    ALERT_LOW_SHARPE = "ALERT_LOW_SHARPE"
    ALERT_ZERO_VOLUME = "ALERT_ZERO_VOLUME"
    ALERT_SLIPPAGE = "ALERT_SLIPPAGE"

    PLAN_NOT_APPROVED = "PLAN_NOT_APPROVED"
    PLAN_LIMITS_CHANGED = "PLAN_LIMITS_CHANGED"
    PLAN_PRICE_STALE = "PLAN_PRICE_STALE"
    PLAN_OTHER = "PLAN_OTHER"
    PLAN_SESSION_OVER = "PLAN_SESSION_OVER"
    PLAN_MAX_WEIGHT = "PLAN_MAX_WEIGHT"
    PLAN_CASH_RESERVE = "PLAN_CASH_RESERVE"
    PLAN_TURNOVER = "PLAN_TURNOVER"
    PLAN_UNTRADABLE = "PLAN_UNTRADABLE"
    PLAN_EXIT_BUYS = "PLAN_EXIT_BUYS"

    ORDER_HALTED = "ORDER_HALTED"
    ORDER_REDUCING = "ORDER_REDUCING"
    ORDER_UNKNOWN_SYMBOL = "ORDER_UNKNOWN_SYMBOL"
    ORDER_TAG_INVALID = "ORDER_TAG_INVALID"
    ORDER_TAG_USED = "ORDER_TAG_USED"
    ORDER_BOTH_SIDES = "ORDER_BOTH_SIDES"
    ORDER_BEYOND_PLAN = "ORDER_BEYOND_PLAN"
    ORDER_SYMBOL_BLOCKED = "ORDER_SYMBOL_BLOCKED"
    ORDER_UNTRADABLE = "ORDER_UNTRADABLE"
    ORDER_SESSION_CLOSED = "ORDER_SESSION_CLOSED"
    ORDER_PRICE_STALE = "ORDER_PRICE_STALE"
    ORDER_PRICE_COLLAR = "ORDER_PRICE_COLLAR"
    ORDER_PRICE_BAND = "ORDER_PRICE_BAND"
    ORDER_TICK = "ORDER_TICK"
    ORDER_LOT = "ORDER_LOT"
    ORDER_TOO_LARGE = "ORDER_TOO_LARGE"
    ORDER_TOO_SMALL = "ORDER_TOO_SMALL"
    ORDER_FUNDS = "ORDER_FUNDS"
    ORDER_HOLDINGS = "ORDER_HOLDINGS"
    ORDER_MAX_WEIGHT = "ORDER_MAX_WEIGHT"
    ORDER_CASH_RESERVE = "ORDER_CASH_RESERVE"
    ORDER_TURNOVER = "ORDER_TURNOVER"
    ORDER_DAILY_COUNT = "ORDER_DAILY_COUNT"


EXPLANATIONS: Final[dict[ReasonCode, str]] = {
    ReasonCode.TARGET_WRONG_LENGTH: "the target has another number of weights than the universe has instruments",
    ReasonCode.TARGET_NOT_FINITE: "a target weight is not a number",
    ReasonCode.TARGET_NEGATIVE: "a target weight is below zero; there is no selling short",
    ReasonCode.TARGET_ABOVE_ONE: "the target weights add up to more than the whole account",
    ReasonCode.BOOK_NO_EQUITY: "the account's equity is not above zero, so weights mean nothing",
    ReasonCode.BOOK_NO_PRICE: "an instrument that is held or tradable has no price; unknown is not zero",
    ReasonCode.BOOK_NEGATIVE_QUANTITY: "the book shows fewer than zero shares: the ledger is wrong",
    ReasonCode.BREAKER_LATCHED: "a circuit breaker has tripped and is not cleared",
    ReasonCode.LIMIT_MAX_WEIGHT: "the target was moved: largest weight per stock",
    ReasonCode.LIMIT_MIN_WEIGHT: "the target was moved: smallest weight per stock",
    ReasonCode.LIMIT_CASH_RESERVE: "the target was moved: cash reserve",
    ReasonCode.LIMIT_LEVERAGE: "the target was moved: leverage",
    ReasonCode.LIMIT_TURNOVER: "the target was moved: daily turnover",
    ReasonCode.LIMIT_UNTRADABLE: "the target was moved: an instrument cannot be traded now and stays as it is",
    ReasonCode.RELAXED_MAX_WEIGHT: "an instrument that cannot be traded now stays above the largest weight",
    ReasonCode.RELAXED_MIN_WEIGHT: "the smallest weight gave way to limits that rank above it",
    ReasonCode.RELAXED_CASH_RESERVE: "instruments that cannot be traded now use up part of the cash reserve",
    ReasonCode.RELAXED_LEVERAGE: "instruments that cannot be traded now weigh more than the leverage allows",
    ReasonCode.RELAXED_TURNOVER: "the turnover limit gave way, just enough for sales that reduce risk",
    ReasonCode.ALERT_LARGE_TRADE: "a single trade is large",
    ReasonCode.ALERT_LARGE_WEIGHT_CHANGE: "the strategy asks for a large change of one weight",
    ReasonCode.ALERT_SINGLE_POSITION: "one position is a large part of the account",
    ReasonCode.ALERT_FEW_POSITIONS: "the account is spread over few positions",
    ReasonCode.ALERT_NEGATIVE_DAYS: "so many sessions in a row ended with a loss",
    ReasonCode.ALERT_LOW_SHARPE: "the Sharpe ratio of the last month has fallen below its threshold",
    ReasonCode.ALERT_ZERO_VOLUME: "a large share of the session's bars of this instrument came without volume",
    ReasonCode.ALERT_SLIPPAGE: "an order was filled further from its reference price than acceptable",
    ReasonCode.PLAN_NOT_APPROVED: "the order's plan was not approved by the gate of this process, or was altered since",
    ReasonCode.PLAN_LIMITS_CHANGED: "the plan or order was approved under other limits than those in force",
    ReasonCode.PLAN_PRICE_STALE: "the plan or order was approved on prices that are too old by now",
    ReasonCode.PLAN_OTHER: "the order names another plan than the one it is reviewed under",
    ReasonCode.PLAN_SESSION_OVER: "the plan was approved for another session",
    ReasonCode.PLAN_MAX_WEIGHT: "the plan's whole shares would put a position above the largest weight",
    ReasonCode.PLAN_CASH_RESERVE: "the plan's whole shares would use up the cash reserve",
    ReasonCode.PLAN_TURNOVER: "the plan's whole shares would trade more than the day's turnover",
    ReasonCode.PLAN_UNTRADABLE: "the plan would trade an instrument that cannot be traded now",
    ReasonCode.PLAN_EXIT_BUYS: "an exit, which may leave despite a latched breaker, buys nothing",
    ReasonCode.ORDER_HALTED: "trading is stopped",
    ReasonCode.ORDER_REDUCING: "only sales may leave now; something that purchases rely on is not in order",
    ReasonCode.ORDER_UNKNOWN_SYMBOL: "the instrument is not in the universe",
    ReasonCode.ORDER_TAG_INVALID: "the order tag is not 1 to 20 letters and digits",
    ReasonCode.ORDER_TAG_USED: "an order with this tag exists already",
    ReasonCode.ORDER_BOTH_SIDES: "the same plan buys and sells this instrument",
    ReasonCode.ORDER_BEYOND_PLAN: "the order trades more than the approved plan has left for this instrument",
    ReasonCode.ORDER_SYMBOL_BLOCKED: "the outcome of an earlier order in this instrument is unknown",
    ReasonCode.ORDER_UNTRADABLE: "the instrument cannot be traded now",
    ReasonCode.ORDER_SESSION_CLOSED: "the market of this instrument is not in continuous trading",
    ReasonCode.ORDER_PRICE_STALE: "the reference price is older than allowed, or from the future",
    ReasonCode.ORDER_PRICE_COLLAR: "the limit price is too far from the reference price",
    ReasonCode.ORDER_PRICE_BAND: "the limit price is outside the price band that the broker's list of the day has for it",
    ReasonCode.ORDER_TICK: "the limit price is not a multiple of the price step",
    ReasonCode.ORDER_LOT: "the quantity is not a positive multiple of the lot",
    ReasonCode.ORDER_TOO_LARGE: "the order is too large a part of the account; the planner slices such orders",
    ReasonCode.ORDER_TOO_SMALL: "the order's value is below the minimum",
    ReasonCode.ORDER_FUNDS: "the purchase with charges costs more than the available cash",
    ReasonCode.ORDER_HOLDINGS: "the sale is larger than the shares that may be sold",
    ReasonCode.ORDER_MAX_WEIGHT: "after this purchase the position would be above the largest weight",
    ReasonCode.ORDER_CASH_RESERVE: "after this purchase all positions together would use up the cash reserve",
    ReasonCode.ORDER_TURNOVER: "after this purchase the day's turnover would be above its limit",
    ReasonCode.ORDER_DAILY_COUNT: "the session has had as many orders as it may have",
}


class Reason(msgspec.Struct, frozen=True, gc=False):
    """One reason with its numbers: `value` is what was found, `limit` what is allowed, in the unit of the limit."""

    code: ReasonCode
    symbol: str = ""
    value: float | None = None
    limit: float | None = None
    detail: str = ""

    @property
    def text(self) -> str:
        """Return the reason as one line for a person."""
        parts = [self.code.value]
        if self.symbol:
            parts.append(self.symbol)
        line = f"{' '.join(parts)}: {EXPLANATIONS[self.code]}"
        if self.detail:
            line += f" ({self.detail})"
        if self.value is not None:
            line += f"; value {self.value:.6g}"
        if self.limit is not None:
            line += f", limit {self.limit:.6g}"
        return line

    def __str__(self) -> str:
        return self.text


def reason_table() -> str:
    """Return all codes with their sentences as a Markdown table, for the documentation."""
    rows = [f"| `{code}` | {sentence} |" for code, sentence in EXPLANATIONS.items()]
    return "\n".join(["| code | what it says |", "|---|---|", *rows])
