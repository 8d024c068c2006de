"""A strategy's weights at face value: what they would do to an account that nothing guards.

The other side of a stress run's table (docs/stress.md): no gate, no breaker, no broker, no charges, no slippage and shares in
fractions. A negative weight is a short sale, a sum of 3 is leverage of 3, and a weight that is not a number makes the
account one that is not. It computes a line of equity and can do nothing else: no order comes out of it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date

import numpy as np

from market.errors import BadInput
from market.store import DailyBars
from strategies.protocol import Strategy, StrategyContext

_REMEMBERED = 30  # daily returns that a context shows


@dataclass(frozen=True, slots=True)
class FaceValue:
    """Equity at each session's close. The line ends where it reaches zero or less: ruin leaves nothing to trade with."""

    sessions: tuple[date, ...]
    equity: tuple[float, ...]


def at_face_value(
    strategy: Strategy, bars: DailyBars, *, start: date, end: date, history_rows: int, initial_equity: float
) -> FaceValue:
    """Return the equity of an account that rebalances to the strategy's weights at every open from `start` to `end`.

    The strategy sees closes up to the session before, from `history_rows` sessions before `start` on. A session on which a
    price is missing is left out. Raises BadInput when none is left, or for another number of weights than instruments.
    """
    whole = np.isfinite(bars.open).all(axis=1) & np.isfinite(bars.close).all(axis=1)
    days: list[date] = bars.days[whole].astype("datetime64[D]").tolist()
    opens, closes = bars.open[whole], bars.close[whole]
    first, last = bisect_left(days, start), bisect_right(days, end)
    if first == last:
        raise BadInput(f"face value: no session with every price between {start} and {end}")
    count = len(bars.symbols)
    shares, cash, equity = np.zeros(count), initial_equity, initial_equity
    line: list[float] = []
    returns: list[float] = []
    for row in range(first, last):
        known = closes[max(0, first - history_rows) : row]
        context = StrategyContext(
            session=days[row],
            closes=known,
            weights=shares * known[-1] / equity if len(known) else np.zeros(count),
            value_ratio=equity / initial_equity,
            cash_weight=cash / equity,
            recent_returns=np.array(returns[-_REMEMBERED:]),
        )
        target = strategy.target(context)
        before, equity = equity, cash + float(shares @ opens[row])
        # Written so that NaN goes on: it is not ruin, it is worse.
        if not equity <= 0.0:
            if target is not None:
                if len(target) != count:
                    raise BadInput(f"face value: {len(target)} weights for {count} instruments")
                shares = target * equity / opens[row]
                cash = equity - float(np.sum(target)) * equity
            equity = cash + float(shares @ closes[row])
        line.append(equity)
        returns.append(equity / before - 1.0)
        if equity <= 0.0:
            break
    return FaceValue(tuple(days[first : first + len(line)]), tuple(line))
