"""The market that a policy trains in: N portfolios at once, by the daemon's own rules, to the paisa.

One step: decide on the close of session t; the risk gate's projection; whole shares and the no-trade band; sells, then
buys with the cash that is there, as limit orders around the close of t; they trade at the open of t + 1 when their limit
allows it, worsened by slippage and with that session's charges; mark at the close of t + 1.

What depends on dates alone (features, limits, fill prices, charges) is in tables, made once with the very functions that
the daemon plans with. What depends on the portfolio is array operations over all N, except the order book of each
portfolio, which is plain integers. Not modelled: circuit breakers, a share of the volume, fills later than the open.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from brokers.account import settlement_sessions
from brokers.charges import ChargeRates, DeliveryCharges
from brokers.sizing import (
    EXPECTED_COSTS,
    affordable,
    fills_at,
    limit_price,
    scaled_to,
    slice_order,
    slipped_price,
    spendable,
)
from market.calendar import Calendar
from market.errors import BadInput
from market.instrument import tick_size
from market.money import Paise, rupees
from market.sessions import MINUTE_NS, Phase, midnight_ns
from market.store import DailyBars
from risk.approval import Side
from risk.band import outside_band
from risk.order_checks import CHARGES_MARGIN
from risk.plan_checks import against_plan
from risk.projection import Bounds, project, project_batch
from risk.schema import RiskLimits
from risk.shares import whole_shares
from strategies.observation import (
    SHARPE_SESSIONS,
    Observation,
    compose,
    market_features,
    observation_size,
    rolling_sharpe,
)
from strategies.production_config import ProductionConfig
from training.rewards import REWARDS, Moment

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# The gate compares limits with this slack, as a fraction of equity (risk/order_checks.py).
_SLACK: Final = 1e-9
# Below this many portfolios the projection row by row is as fast as the batch, and it is the daemon's to the last bit.
_FEW: Final = 8


@dataclass(frozen=True, slots=True)
class Tables:
    """What does not depend on a portfolio. Row t of an order column is about orders decided on t and traded on t + 1.

    Prices are paise. A fill price of 0 means that the order does not trade: the open does not reach its limit, the gate
    would refuse its price, or the daemon does not trade in that session (Muhurat).
    """

    days: tuple[date, ...]
    features: NDArray[np.float32]  # row k is session k + look_back
    closes: IntArray
    close_rows: list[list[Paise]]
    buy_limits: list[list[Paise]]
    sell_limits: list[list[Paise]]
    buy_prices: list[list[Paise]]
    sell_prices: list[list[Paise]]
    rates: list[ChargeRates]
    settles_late: list[bool]  # shares bought on t + 1 are not delivered by t + 2


def build_tables(bars: DailyBars, config: ProductionConfig, limits: RiskLimits, charges: DeliveryCharges) -> Tables:
    """Return the tables for bars [T, n]. Raises BadInput for a price that is missing, or fewer than L + 2 sessions."""
    look_back = config.environment.look_back
    days: tuple[date, ...] = tuple(day.item() for day in bars.days.astype("datetime64[D]"))
    if len(days) < look_back + 2:
        raise BadInput(f"training: {len(days)} sessions, allowed: at least {look_back + 2} with look_back {look_back}")
    for column, name in ((bars.close, "close"), (bars.open, "open")):
        bad = np.argwhere(~(np.isfinite(column) & (column > 0.0)))
        if len(bad):
            row, i = bad[0]
            raise BadInput(f"training: {bars.symbols[i]} has no {name} on {days[row]}; every session must be complete")
    opens = [[rupees(value) for value in row] for row in bars.open.tolist()]
    closes = [[Paise(int(value * 100.0 + 0.5)) for value in row] for row in bars.close.tolist()]
    offset, bps = config.deployment.limit_offset, config.environment.slippage_bps
    collar = limits.execution.cancel_if_slippage_exceeds
    limit_rows: dict[Side, list[list[Paise]]] = {Side.BUY: [], Side.SELL: []}
    price_rows: dict[Side, list[list[Paise]]] = {Side.BUY: [], Side.SELL: []}
    calendar = Calendar.load()
    for t in range(len(days) - 1):
        session = days[t + 1]
        trades = _trades(calendar, session, config.deployment.trade_time)
        for side in Side:
            limit_row, price_row = [], []
            for reference, opened in zip(closes[t], opens[t + 1], strict=True):
                limit = limit_price(side, reference, offset=offset, tick=tick_size(reference, session))
                refused = abs(limit - reference) > collar * reference or limit % tick_size(limit, session)
                price = Paise(0)
                if trades and not refused and fills_at(side, limit, opened):
                    slipped = slipped_price(side, opened, slippage_bps=bps)
                    price = min(slipped, limit) if side is Side.BUY else max(slipped, limit)
                limit_row.append(limit)
                price_row.append(price)
            limit_rows[side].append(limit_row)
            price_rows[side].append(price_row)
    return Tables(
        days=days,
        features=market_features(np.asarray(bars.close, dtype=np.float64), look_back).astype(np.float32),
        closes=np.array(closes, dtype=np.int64),
        close_rows=closes,
        buy_limits=limit_rows[Side.BUY],
        sell_limits=limit_rows[Side.SELL],
        buy_prices=price_rows[Side.BUY],
        sell_prices=price_rows[Side.SELL],
        rates=[charges.on(day) for day in days[1:]],
        settles_late=[settlement_sessions(day) > 1 for day in days[1:]],
    )


def _trades(calendar: Calendar, day: date, trade_time: str) -> bool:
    """Return whether the daemon would trade on a day that has bars: not in a short session, nor outside its hours.

    A day that the calendar does not know (made-up data) is an ordinary one.
    """
    session = calendar.session(day)
    if session is None:
        return True
    hour, minute = trade_time.split(":")
    due_ns = midnight_ns(day) + (int(hour) * 60 + int(minute)) * MINUTE_NS
    return session.rebalances and calendar.phase(due_ns, derivatives=True) is Phase.CONTINUOUS


@dataclass(frozen=True, slots=True)
class Step:
    """What a step brought, each [N]: `returns` from close to close, `turnover` the half-turnover that was asked for."""

    rewards: FloatArray
    returns: FloatArray
    turnover: FloatArray
    done: NDArray[np.bool_]


class PortfolioMarket:
    """N portfolios over the same tables. `reset` some, read `observations`, `step` all."""

    def __init__(
        self,
        bars: DailyBars,
        config: ProductionConfig,
        limits: RiskLimits,
        *,
        count: int = 1,
        charges: DeliveryCharges | None = None,
        tables: Tables | None = None,
    ) -> None:
        """`tables` of the same bars may be shared between markets. Raises BadInput as `build_tables` does."""
        self.config = config
        self.symbols: tuple[str, ...] = tuple(bars.symbols)
        self.count = count
        n = len(self.symbols)
        limits.check_universe(n)
        self.tables = tables or build_tables(bars, config, limits, charges or DeliveryCharges.default())
        self.look_back = config.environment.look_back
        self.first = self.look_back
        self.last = len(self.tables.days) - 1
        self.size = observation_size(n, self.look_back)
        self._reward = REWARDS[config.environment.reward.name]
        self._bounds = Bounds.of(limits.position_limits)
        self._max_order = limits.execution.max_order_size_percent
        self._min_value = limits.execution.min_order_size_rupees * 100.0
        self._band = config.portfolio.rebalance.threshold
        self.opening = int(rupees(config.environment.initial_capital))
        self.t = np.full(count, self.first)
        self.end = np.full(count, self.last)
        self.shares = np.zeros((count, n), dtype=np.int64)
        self.cash = np.full(count, self.opening)
        self.equity = np.full(count, self.opening)
        self.charges = np.zeros(count, dtype=np.int64)
        self.traded = np.zeros(count, dtype=np.int64)
        self._undelivered = np.zeros((count, n), dtype=np.int64)
        self._window = np.zeros((count, SHARPE_SESSIONS))
        self._counts = np.zeros(count, dtype=np.int64)
        self._sharpe = np.zeros(count)
        self._peak = np.full(count, self.opening, dtype=np.int64)

    def reset(self, k: int, *, start: int | None = None, sessions: int | None = None, invested: bool = False) -> None:
        """Start portfolio k anew on session `start` (default: the first possible) for at most `sessions` steps.

        It starts in cash, or with the configured initial weights at that close (bought before: nothing is charged).
        """
        begin = self.first if start is None else start
        if not self.first <= begin < self.last:
            raise BadInput(f"training: start {begin}, allowed: {self.first} to {self.last - 1}")
        self.t[k] = begin
        self.end[k] = self.last if sessions is None else min(begin + sessions, self.last)
        prices = self.tables.closes[begin]
        self.shares[k] = 0
        if invested:
            value = self.opening * (1.0 - self.config.portfolio.initial_weights.cash_buffer) / len(self.symbols)
            self.shares[k] = (value / prices).astype(np.int64)
        self.cash[k] = self.opening - int(self.shares[k] @ prices)
        self.equity[k] = self.opening
        self.charges[k] = self.traded[k] = 0
        self._undelivered[k] = 0
        self._window[k] = 0.0
        self._counts[k] = 0
        self._sharpe[k] = 0.0
        self._peak[k] = self.opening

    def weights(self) -> FloatArray:
        """Return current weights [N, n]."""
        held: FloatArray = self.shares * self.tables.closes[self.t] / self.equity[:, None]
        return held

    def recent_returns(self, k: int) -> FloatArray:
        """Return the last daily returns of portfolio k, at most 30, oldest first."""
        return self._window[k, SHARPE_SESSIONS - int(self._counts[k]) :].copy()

    def observations(self) -> Observation:
        """Return what the policy sees now, [N, size], a new array."""
        return compose(
            self.tables.features[self.t - self.look_back],
            weights=self.weights(),
            value_ratio=self.equity / self.opening,
            cash_weight=self.cash / self.equity,
            sharpe=self._sharpe,
        )

    def step(self, targets: FloatArray, hold: NDArray[np.bool_] | None = None) -> Step:
        """Trade towards target weights [N, n] and go to the next close; `hold` [N] marks portfolios that do not trade.

        A portfolio whose `done` is true must be reset before the next step. Raises BadInput for a target that is not a
        number, below 0, or a row that adds up to more than 1.
        """
        if not (np.isfinite(targets).all() and (targets >= 0.0).all() and (targets.sum(axis=1) <= 1.0 + 1e-6).all()):
            raise BadInput("training: target weights must be numbers of 0 or more that add up to at most 1")
        held = self.weights()
        if self.count > _FEW:
            approved = project_batch(targets, held, self._bounds).tolist()
        else:
            pairs = zip(targets.tolist(), held.tolist(), strict=True)
            approved = [project(target, previous, self._bounds).weights for target, previous in pairs]
        positions, cashes, equities = self.shares.tolist(), self.cash.tolist(), self.equity.tolist()
        undelivered, rows = self._undelivered.tolist(), self.t.tolist()
        for k in range(self.count):
            if hold is not None and hold[k]:
                self._undelivered[k] = 0
                continue
            self._trade(k, rows[k], approved[k], positions[k], cashes[k], equities[k], undelivered[k])
        self.t += 1
        equity = self.cash + (self.shares * self.tables.closes[self.t]).sum(axis=1)
        returns = equity / self.equity - 1.0
        self.equity = equity
        self._window[:, :-1] = self._window[:, 1:]
        self._window[:, -1] = returns
        self._counts = np.minimum(self._counts + 1, SHARPE_SESSIONS)
        self._sharpe = rolling_sharpe(self._window, self._counts)
        turnover = 0.5 * np.abs(targets - held).sum(axis=1)
        if hold is not None:
            turnover[hold] = 0.0
        self._peak = np.maximum(self._peak, equity)
        moment = Moment(returns, self._sharpe, turnover, 1.0 - equity / self._peak)
        rewards = self._reward(moment, self.config.environment.reward)
        return Step(rewards, returns, turnover, self.t >= self.end)

    def _trade(
        self,
        k: int,
        t: int,
        approved: tuple[float, ...] | list[float],
        held: list[int],
        cash: int,
        equity: int,
        undelivered: list[int],
    ) -> None:
        """Carry out portfolio k's orders of one session: plain integers, the daemon's functions and checks."""
        tables, bounds = self.tables, self._bounds
        prices = tables.close_rows[t]
        change = sum(abs(w - q * price / equity) for w, q, price in zip(approved, held, prices, strict=True))
        left = float(equity - int(change * equity * EXPECTED_COSTS))
        after = whole_shares(approved, held, prices, left, bounds).quantities
        planned_shares = outside_band(held, after, prices, approved, equity=equity, band=self._band, bounds=bounds)
        if against_plan(self.symbols, held, planned_shares, prices, equity=equity, bounds=bounds):
            planned_shares = tuple(held)  # the daemon's decision is refused
        most = bounds.max_weight * equity
        sells: list[tuple[int, int]] = []
        buys: list[tuple[int, int]] = []
        for i, (before, wanted) in enumerate(zip(held, planned_shares, strict=True)):
            change = wanted - before
            if change:
                (buys if change > 0 else sells).append((i, abs(change)))
        rates = tables.rates[t]
        quantities = list(held)
        charges = traded = unsettled = 0
        # Both phases are judged at the plan's own prices and equity, as the executor does.
        biggest = Paise(int(equity * self._max_order))
        if sells:
            gross = equity - cash
            over = gross > bounds.budget * equity + _SLACK * equity
            for i, quantity in sells:
                limit, price = tables.sell_limits[t][i], tables.sell_prices[t][i]
                above = held[i] * prices[i] > most + _SLACK * equity
                sellable, sold = held[i], 0
                for part in slice_order(quantity, limit, biggest):
                    if part * limit < self._min_value and not (part >= sellable or above or over):
                        continue
                    sellable -= part
                    if price:
                        value = Paise(part * price)
                        cost = rates.total(Side.SELL, value, not sold)
                        cash += value - cost
                        charges += cost
                        traded += value
                        sold += part
                quantities[i] -= sold
                # What was bought yesterday and is not delivered yet may be sold, but its proceeds come tomorrow.
                unsettled += max(0, sold - (held[i] - undelivered[i])) * price
        bought = [0] * len(held)
        if buys:
            slack = _SLACK * equity
            available: float = cash - unsettled
            cash_for_buys = spendable(available)
            limits = [tables.buy_limits[t][i] for i, _ in buys]
            gross = sum(q * price for q, price in zip(quantities, prices, strict=True))
            room = max(0, min(int(2.0 * bounds.turnover * equity) - traded, int(bounds.budget * equity) - gross))
            wanted_sizes = scaled_to([quantity for _, quantity in buys], [prices[i] for i, _ in buys], room)
            sizes = affordable(wanted_sizes, limits, available=cash_for_buys, rates=rates)
            position_limit, gross_limit = bounds.max_weight * equity + slack, bounds.budget * equity + slack
            traded_limit = 2.0 * bounds.turnover * equity + slack
            counted = traded
            for (i, _), size, limit in zip(buys, sizes, limits, strict=True):
                price, reference, planned = tables.buy_prices[t][i], prices[i], quantities[i]
                for part in slice_order(size, limit, biggest):
                    asked, worth = part * limit, part * reference
                    worst = asked * (1.0 + CHARGES_MARGIN)
                    if (
                        asked < self._min_value
                        or worst > available
                        or (planned + part) * reference > position_limit
                        or gross + worth > gross_limit
                        or counted + worth > traded_limit
                    ):
                        continue
                    available -= int(worst) + 1
                    planned += part
                    gross += worth
                    counted += worth
                    if price:
                        paid = Paise(part * price)
                        fee = rates.total(Side.BUY, paid, False)
                        cash -= paid + fee
                        charges += fee
                        traded += paid
                        bought[i] += part
        if traded:
            self.shares[k] = [q + more for q, more in zip(quantities, bought, strict=True)]
            self.cash[k] = cash
            self.charges[k] += charges
            self.traded[k] += traded
        self._undelivered[k] = bought if tables.settles_late[t] else 0
