"""Honest validation: one deterministic run beside baselines under the same rules, three criteria, and what they cannot say.

The policy runs as the daemon runs it (a `Strategy` on its artifact's arrays), through the market that training used: the
gate, whole shares, charges, slippage. Equal weight and buy-and-hold run over the same sessions with the same costs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from brokers.charges import DeliveryCharges
from market.errors import BadInput
from market.store import DailyBars
from risk.schema import RiskLimits
from strategies.artifact import METADATA, load_artifact, read_manifest
from strategies.baselines import make_strategy
from strategies.performance import SESSIONS_PER_YEAR, annual_turnover, daily_returns, measure
from strategies.production_config import ProductionConfig
from strategies.protocol import Strategy, StrategyContext
from training.portfolio_market import PortfolioMarket, Tables, build_tables

FloatArray = NDArray[np.float64]

REQUIRED_RETURN: Final = 0.20
ALLOWED_STD: Final = 0.02
REPEATS: Final = 5
STARTS: Final = 10
_BASELINES: Final = ("equal_weight", "buy_and_hold")
_RESAMPLES: Final = 2000
_BLOCK: Final = 10

_NOTES: Final = (
    "determinism: policy and environment are deterministic, so repeated runs agree by construction; the criterion only "
    "finds a defect. How much the result depends on when one starts is in perturbed_starts.",
    "uncertainty: one validation window is one sample. See sharpe_standard_error and the interval of the difference to "
    "equal weight before believing a ranking.",
    "circuit breakers are not simulated here; tarazu replay runs the daemon itself with them.",
)


@dataclass(frozen=True, slots=True)
class Run:
    """What a strategy did: equity in rupees [T + 1] from its first decision's close on; money in rupees."""

    equity: FloatArray
    charges: float
    traded: float
    holds: int

    def to_json(self) -> dict[str, Any]:
        """Return the measures, turnover and charges."""
        measures = measure(self.equity)
        years = SESSIONS_PER_YEAR / max(measures.sessions, 1)
        daily = measures.sharpe / SESSIONS_PER_YEAR**0.5
        return {
            **measures.to_json(),
            "sharpe_standard_error": float(np.sqrt((1.0 + 0.5 * daily**2) * years)),
            "turnover": annual_turnover(
                traded=self.traded, mean_equity=float(self.equity.mean()), sessions=measures.sessions
            ),
            "charges": self.charges,
            "final_equity": float(self.equity[-1]),
        }


def run_strategy(
    strategy: Strategy,
    bars: DailyBars,
    config: ProductionConfig,
    limits: RiskLimits,
    *,
    tables: Tables | None = None,
    start: int | None = None,
) -> Run:
    """Run a strategy from cash over bars [T, n], deciding first on session `start` (default: look_back)."""
    market = PortfolioMarket(bars, config, limits, tables=tables)
    market.reset(0, start=start)
    closes = np.asarray(bars.close, dtype=np.float64)
    line = [market.opening]
    holds = 0
    while True:
        t = int(market.t[0])
        context = StrategyContext(
            session=market.tables.days[t + 1],
            closes=closes[: t + 1],
            weights=market.weights()[0],
            value_ratio=float(market.equity[0]) / market.opening,
            cash_weight=float(market.cash[0]) / float(market.equity[0]),
            recent_returns=market.recent_returns(0),
        )
        target = strategy.target(context)
        if target is None:
            holds += 1
            step = market.step(np.zeros((1, len(market.symbols))), np.array([True]))
        else:
            step = market.step(np.round(target, 6)[None])
        line.append(int(market.equity[0]))
        if step.done[0]:
            break
    return Run(np.array(line) / 100.0, float(market.charges[0]) / 100.0, float(market.traded[0]) / 100.0, holds)


def validation_report(
    strategy: Strategy, bars: DailyBars, config: ProductionConfig, limits: RiskLimits, tables: Tables
) -> dict[str, Any]:
    """Return the report: criteria with values, the policy and baselines, determinism, starts, uncertainty, notes."""

    def run(candidate: Strategy, start: int | None = None) -> Run:
        return run_strategy(candidate, bars, config, limits, tables=tables, start=start)

    look_back = config.environment.look_back
    baselines = {name: make_strategy(name, strategy.symbols, look_back) for name in _BASELINES}
    repeats = [run(strategy) for _ in range(REPEATS)]
    policy, rivals = repeats[0], {name: run(baseline) for name, baseline in baselines.items()}
    finals = np.array([run_.equity[-1] / run_.equity[0] - 1.0 for run_ in repeats])
    equal = measure(rivals["equal_weight"].equity).total_return
    total = measure(policy.equity).total_return
    spread = float(np.std(finals))
    criteria = [
        {"name": "return", "value": total, "required": f"> {REQUIRED_RETURN:g}", "passed": total > REQUIRED_RETURN},
        {"name": "beats_equal_weight", "value": total - equal, "required": "> 0", "passed": total > equal},
        {"name": "deterministic", "value": spread, "required": f"< {ALLOWED_STD:g}", "passed": spread < ALLOWED_STD},
    ]
    days = tables.days
    return {
        "strategy": strategy.name,
        "first_decision": days[look_back].isoformat(),
        "last": days[-1].isoformat(),
        "sessions": len(policy.equity) - 1,
        "criteria": criteria,
        "passed": all(bool(criterion["passed"]) for criterion in criteria),
        "policy": {**policy.to_json(), "holds": policy.holds},
        **{name: rival.to_json() for name, rival in rivals.items()},
        "determinism": {"runs": REPEATS, "returns": finals.tolist(), "std": spread},
        "perturbed_starts": _perturbed(strategy, baselines["equal_weight"], run, look_back, len(days)),
        "uncertainty": _difference(policy.equity, rivals["equal_weight"].equity),
        "notes": list(_NOTES),
    }


def _perturbed(
    strategy: Strategy, equal: Strategy, run: Callable[[Strategy, int], Run], first: int, count: int
) -> dict[str, Any]:
    """Start later, session by session, and look at the spread of the annual return and of the lead over equal weight."""
    starts = [first + k for k in range(min(STARTS, max(1, (count - first) // 3)))]
    returns, leads = [], []
    for start in starts:
        mine, other = measure(run(strategy, start).equity), measure(run(equal, start).equity)
        returns.append(mine.annual_return)
        leads.append(mine.annual_return - other.annual_return)
    return {
        "starts": len(starts),
        "annual_returns": returns,
        "std_annual_return": float(np.std(returns)),
        "leads_over_equal_weight": leads,
        "std_lead": float(np.std(leads)),
    }


def _difference(mine: FloatArray, other: FloatArray) -> dict[str, Any]:
    """Circular block bootstrap of the mean daily difference, per year: does the interval leave zero?"""
    gap = daily_returns(mine) - daily_returns(other)
    count = len(gap)
    block = min(_BLOCK, count)
    rng = np.random.default_rng(0)
    starts = rng.integers(0, count, size=(_RESAMPLES, -(-count // block)))
    rows = ((starts[:, :, None] + np.arange(block)) % count).reshape(_RESAMPLES, -1)[:, :count]
    means = gap[rows].mean(axis=1) * SESSIONS_PER_YEAR
    low, high = np.quantile(means, [0.025, 0.975]).tolist()
    return {
        "annual_difference_to_equal_weight": float(gap.mean() * SESSIONS_PER_YEAR),
        "interval_95": [low, high],
        "distinguishable_from_equal_weight": bool(low > 0.0 or high < 0.0),
        "method": f"circular block bootstrap, blocks of {block} sessions, {_RESAMPLES} resamples",
    }


def validate_artifact(model: Path, bars: DailyBars, config: ProductionConfig, limits: RiskLimits) -> dict[str, Any]:
    """Return the report of an artifact over the bars after its training range. Raises BadInput when there are too few.

    An artifact past its expiry may still be validated: that is how one finds out whether to retrain.
    """
    manifest = read_manifest(model)
    look_back = config.environment.look_back
    strategy = load_artifact(model, symbols=config.portfolio.assets, look_back=look_back, today=manifest.expires)
    try:
        trained_to = json.loads((model / METADATA).read_text(encoding="utf-8"))["split"]["train"]["last"]
        after = np.datetime64(trained_to)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{model / METADATA}: split.train.last: is not a date ({error})") from error
    days = bars.days.astype("datetime64[D]")
    later = days[days > after]
    if len(later) < look_back + 3:
        raise BadInput(
            f"{model}: {len(later)} sessions of data after {trained_to}, where its training ends; allowed: at least "
            f"{look_back + 3}"
        )
    fresh = bars.slice(later[0].item(), later[-1].item())
    tables = build_tables(fresh, config, limits, DeliveryCharges.default())
    return {"model": manifest.version, **validation_report(strategy, fresh, config, limits, tables)}
