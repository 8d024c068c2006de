"""Synthetic Indian bank shares: a seeded market for the demonstration, for tests and for simulation. No real price in it.

The model, per day and symbol: `return = volatility_i * level_t * (sqrt(rho) * m + sqrt(1 - rho) * e)`, once for the night and
once for the day, with

* `m`, `e`: Student t shocks of the market and of the symbol (fat tails), each with a GARCH(1, 1) scale (clusters);
* `level`: a two-state Markov regime, calm or turbulent, common to all symbols;
* the night's share of the variance given; high and low from the running extremes of a Brownian bridge from open to
  close, drawn exactly; volumes log-normal, with memory, common to all symbols in part, and larger on days that move.

`TARGETS` are figures measured on five large NSE banks, daily, 2007-01-02 to 2024-09-30 (4,397 sessions, log returns, split
and bonus adjusted), each the mean over the five:

* annual volatility: standard deviation of close-to-close returns times sqrt(252);
* correlation: mean of the ten pairwise correlations of those returns;
* kurtosis: fourth central moment over the squared variance (3 for a normal);
* acf_abs: autocorrelation of |return| at 1, 5, 20 and 50 sessions;
* overnight share: sum of squared open-on-previous-close returns over that sum plus the one of close-on-open;
* range: mean of ln(high / low) over the standard deviation of ln(close / open);
* log-volume deviation from its centred 61-session mean: standard deviation, and autocorrelation at one session.

The intraday profiles were measured on 244 full sessions of five-minute bars of the same banks, July 2023 to June 2024.
The fit is of moments, not of causes: no leverage effect, no sector beyond one factor, no corporate action, and inside a
five-minute bar a little less range than real bars have (1.15 deviations against 1.36).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from market.bar import Interval
from market.calendar import Calendar, Phase, Session
from market.errors import BadInput
from market.sessions import MINUTE_NS
from market.store import DailyBars, IntradayBars, daily_bars, intraday_bars

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Targets:
    """Measured figures that the generator is fitted to; see the module's text for how they were measured."""

    annual_volatility: float = 0.36
    correlation: float = 0.59
    kurtosis: float = 11.0
    acf_abs_1: float = 0.25
    acf_abs_5: float = 0.23
    acf_abs_20: float = 0.175
    acf_abs_50: float = 0.15
    overnight_share: float = 0.26
    range_ratio: float = 1.415
    log_volume_deviation: float = 0.47
    log_volume_acf_1: float = 0.32


TARGETS: Final = Targets()

TICK: Final = 0.05
_PER_RUPEE: Final = 20.0
# Symbols take these in turn: annual volatilities, starting prices and shares per day in the order of magnitude of large banks.
_VOLATILITIES: Final = (0.29, 0.40, 0.37, 0.40, 0.38)
_PRICES: Final = (800.0, 500.0, 350.0, 650.0, 1100.0)
_TURNOVER_RUPEES: Final = 5e9
_ANNUAL_DRIFT: Final = 0.12
_SESSIONS_A_YEAR: Final = 252
# A bound on one night's or one day's log return; the exchange's bands would have stopped trading long before.
_LARGEST_MOVE: Final = 0.22

# Fitted by simulation to TARGETS (see the tests, which hold generated statistics to them).
_FREEDOM: Final = 6.0
_GARCH_ALPHA: Final = 0.05
_GARCH_BETA: Final = 0.93
_CALM, _TURBULENT = 0.8, 2.3
_LEAVE_CALM, _LEAVE_TURBULENT = 1 / 750, 1 / 150
_VOLUME_MEMORY: Final = 0.37
_VOLUME_COMMON: Final = 0.5
_VOLUME_MOVE: Final = 0.19
_VOLUME_DEVIATION: Final = 0.45

# Five-minute bars over a day of 75: variance and volume relative to the day's mean, at these bars, linear between.
_PROFILE_AT: Final = (0, 1, 2, 5, 10, 20, 37, 50, 60, 70, 73, 74)
_VARIANCE: Final = (11.4, 3.5, 2.3, 1.35, 1.25, 0.9, 0.8, 0.8, 0.7, 0.95, 0.8, 1.05)
_VOLUME: Final = (3.25, 1.6, 1.35, 1.07, 0.92, 0.7, 0.66, 0.78, 0.94, 2.6, 2.35, 1.75)
# Steps of the walk inside a bar, and the expected range of a Brownian motion over its deviation, sqrt(8 / pi).
_FINE: Final = 20
_RANGE: Final = 1.596


def generate(seed: int, symbols: Sequence[str], start: date, end: date, calendar: Calendar) -> DailyBars:
    """Return daily bars of made-up shares on every session from `start` to `end`, both included.

    Prices are multiples of 0.05 rupees, volumes whole shares. The same seed gives the same bytes. A symbol's own shocks
    depend on the seed and its name alone, so another symbol beside it, or a later end, changes nothing of it. Raises
    BadInput without symbols or sessions.
    """
    sessions = calendar.sessions(start, end)
    if not sessions:
        raise BadInput(f"synthetic: no session between {start} and {end}")
    if not symbols or len(set(symbols)) != len(symbols):
        raise BadInput(f"synthetic: symbols {', '.join(symbols) or '(none)'}: at least one, each once")
    count = len(sessions)
    moves = _moves(
        _regimes(_rng(seed, "regimes").random(count)),
        _rng(seed, "returns").standard_t(_FREEDOM, (count, 2)),
        np.stack([_rng(seed, "returns", symbol).standard_t(_FREEDOM, (count, 2)) for symbol in symbols], axis=2),
    )
    volatility = np.array([_pick(_VOLATILITIES, symbol) for symbol in symbols]) / np.sqrt(_SESSIONS_A_YEAR)
    share = np.sqrt([TARGETS.overnight_share, 1 - TARGETS.overnight_share])
    drift = _ANNUAL_DRIFT / _SESSIONS_A_YEAR
    night = np.clip(volatility * share[0] * moves.shocks[:, 0], -_LARGEST_MOVE, _LARGEST_MOVE)
    through = np.clip(drift + volatility * share[1] * moves.shocks[:, 1], -_LARGEST_MOVE, _LARGEST_MOVE)
    closes = np.cumsum(night + through, axis=0) + np.log([_pick(_PRICES, symbol) for symbol in symbols])
    opens = closes - through
    uniform = np.stack([_rng(seed, "extremes", symbol).random((count, 2)) for symbol in symbols], axis=2)
    highs, lows = _extremes(opens, closes, volatility * share[1] * moves.scale, -np.log1p(-uniform))
    opened, closed = _ticks(opens), _ticks(closes)
    columns = {
        "open": opened,
        "high": np.maximum(np.maximum(opened, closed), _ticks(highs)),
        "low": np.minimum(np.minimum(opened, closed), _ticks(lows)),
        "close": closed,
        "volume": _volumes(seed, symbols, moves),
    }
    days = np.array([session.day for session in sessions], dtype="datetime64[D]")
    return daily_bars(tuple(symbols), days, columns)


def generate_intraday(seed: int, bars: DailyBars, days: Sequence[date], calendar: Calendar) -> IntradayBars:
    """Return five-minute bars of some days of daily bars, which they add up to.

    Per day the first open, the highest high, the lowest low, the last close and the sum of the volumes are the daily bar's
    own. A bar opens where the one before it closed. Raises BadInput for a day that is no session or has not every symbol.
    """
    starts: list[int] = []
    parts: list[dict[str, Floats]] = []
    rows = {day: row for row, day in enumerate(bars.days.astype("datetime64[D]").tolist())}
    for day in sorted(set(days)):
        session = calendar.session(day)
        if session is None or day not in rows:
            raise BadInput(f"synthetic: {day}: {calendar.closed_because(day) or 'the daily bars do not have it'}")
        row = rows[day]
        if not np.isfinite(bars.close[row] + bars.open[row] + bars.volume[row]).all():
            raise BadInput(f"synthetic: {day}: the daily bars have no bar for some symbol")
        moments = _moments(session, calendar)
        starts += moments
        paths = [_day(seed, bars, row, at, len(moments)) for at in range(len(bars.symbols))]
        parts.append({name: np.stack([path[name] for path in paths], axis=1) for name in paths[0]})
    if not parts:
        raise BadInput("synthetic: no days were given")
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return intraday_bars(bars.symbols, np.array(starts, dtype=np.int64), Interval.FIVE_MINUTES, columns)


@dataclass(frozen=True, slots=True)
class _Moves:
    """`shocks` [T, 2, n]: night and day, unit variance in the long run; `scale` [T, n]: their deviation, given the past."""

    shocks: Floats
    scale: Floats


def _rng(seed: int, *names: str) -> np.random.Generator:
    """Return a stream of its own for a purpose (and a symbol): what one draws moves no other, however long the run is."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *" ".join(names).encode()])))


def _pick(values: tuple[float, ...], symbol: str) -> float:
    return values[sum(symbol.encode()) % len(values)]


def _regimes(uniform: Floats) -> Floats:
    """Return the volatility level per day, scaled to a mean square of 1 in the long run."""
    calm_share = _LEAVE_TURBULENT / (_LEAVE_TURBULENT + _LEAVE_CALM)
    levels = np.array([_CALM, _TURBULENT])
    levels /= np.sqrt(calm_share * _CALM**2 + (1 - calm_share) * _TURBULENT**2)
    turbulent = bool(uniform[0] > calm_share)
    result = np.empty(len(uniform))
    for day, draw in enumerate(uniform.tolist()):
        if draw < (_LEAVE_TURBULENT if turbulent else _LEAVE_CALM):
            turbulent = not turbulent
        result[day] = levels[int(turbulent)]
    return result


def _moves(level: Floats, market: Floats, own: Floats) -> _Moves:
    """Return the shocks of the day. `market` [T, 2] and `own` [T, 2, n] are Student t draws."""
    unit = np.sqrt((_FREEDOM - 2) / _FREEDOM)
    common = _garch(market * unit)
    private = _garch(own * unit)
    weight = np.sqrt([TARGETS.correlation, 1 - TARGETS.correlation])
    shocks = level[:, None, None] * (weight[0] * common.shocks[:, :, None] + weight[1] * private.shocks)
    variance = (weight[0] * common.scale[:, None]) ** 2 + (weight[1] * private.scale) ** 2
    return _Moves(shocks, level[:, None] * np.sqrt(variance))


@dataclass(frozen=True, slots=True)
class _Clustered:
    shocks: Floats
    scale: Floats


def _garch(draws: Floats) -> _Clustered:
    """Give unit shocks [T, 2, ...] a GARCH scale per day: yesterday's night and day move both feed it."""
    shocks = np.empty_like(draws)
    scale = np.empty(draws[:, 0].shape)
    share = np.array([TARGETS.overnight_share, 1 - TARGETS.overnight_share])
    variance = np.ones(draws[0, 0].shape)
    for day in range(len(draws)):
        deviation = np.sqrt(variance)
        scale[day] = deviation
        shocks[day] = draws[day] * deviation
        square = share[0] * shocks[day, 0] ** 2 + share[1] * shocks[day, 1] ** 2
        variance = (1 - _GARCH_ALPHA - _GARCH_BETA) + _GARCH_ALPHA * square + _GARCH_BETA * variance
    return _Clustered(shocks, scale)


def _extremes(opens: Floats, closes: Floats, deviation: Floats, exponential: Floats) -> tuple[Floats, Floats]:
    """Return log highs and lows of Brownian bridges from open to close, by the law of their running extremes."""
    move = closes - opens
    reach = np.sqrt(move**2 + 2 * deviation**2 * exponential.transpose(1, 0, 2))
    return opens + (move + reach[0]) / 2, opens + (move - reach[1]) / 2


def _volumes(seed: int, symbols: Sequence[str], moves: _Moves) -> Floats:
    count = len(moves.scale)
    market = _rng(seed, "volumes").standard_normal(count)[:, None]
    own = np.stack([_rng(seed, "volumes", symbol).standard_normal(count) for symbol in symbols], axis=1)
    fresh = np.sqrt(_VOLUME_COMMON) * market + np.sqrt(1 - _VOLUME_COMMON) * own
    memory = np.empty_like(fresh)
    state = np.zeros(len(symbols))
    for day in range(count):
        state = _VOLUME_MEMORY * state + np.sqrt(1 - _VOLUME_MEMORY**2) * fresh[day]
        memory[day] = state
    moved = np.minimum(np.abs(moves.shocks.sum(axis=1)), 6.0)
    deviation = _VOLUME_DEVIATION * memory + _VOLUME_MOVE * moved
    base = _TURNOVER_RUPEES / np.array([_pick(_PRICES, symbol) for symbol in symbols])
    shares: Floats = np.maximum(1.0, np.rint(base * np.exp(deviation)))
    return shares


def _ticks(log_price: Floats) -> Floats:
    """Round prices to the tick; dividing last gives the float nearest to the decimal price."""
    rounded: Floats = np.divide(np.maximum(1.0, np.rint(np.exp(log_price) * _PER_RUPEE)), _PER_RUPEE)
    return rounded


def _moments(session: Session, calendar: Calendar) -> list[int]:
    """Return the starts of a session's five-minute bars, wherever shares without derivatives trade continuously."""
    length = 5 * MINUTE_NS
    every = range(session.open_ns, session.close_ns, length)
    return [at for at in every if not session.hours_known or calendar.phase(at, derivatives=False) is Phase.CONTINUOUS]


def _day(seed: int, bars: DailyBars, row: int, at: int, count: int) -> dict[str, Floats]:
    """Return one symbol's five-minute bars of one day, columns of `count` rows."""
    opened, high, low, closed = (float(column[row, at]) for column in (bars.open, bars.high, bars.low, bars.close))
    ordinal = int(bars.days[row].astype("datetime64[D]").astype(np.int64))
    rng = _rng(seed, "five minutes", bars.symbols[at], str(ordinal))
    place = np.arange(count) * (_PROFILE_AT[-1] / max(1, count - 1))
    variance = np.repeat(np.interp(place, _PROFILE_AT, _VARIANCE), _FINE)
    clock = np.concatenate([[0.0], np.cumsum(variance) / variance.sum()])
    walk = np.concatenate([[0.0], np.cumsum(rng.standard_normal(count * _FINE) * np.sqrt(variance / variance.sum()))])
    bridge = walk - clock * walk[-1]
    line = opened + (closed - opened) * clock
    # The day's range tells its deviation; the path is then held inside the range and made to touch its ends.
    path = np.clip(line + bridge * (high - low) / _RANGE, low, high)
    path = np.rint(path * _PER_RUPEE) / _PER_RUPEE
    path[0], path[-1] = opened, closed
    path = np.clip(path, low, high)
    if high > max(opened, closed):
        path[1 + int(np.argmax(path[1:-1]))] = high
    if low < min(opened, closed):
        inner = path[1:-1].copy()
        inner[path[1:-1] == high] = np.inf
        path[1 + int(np.argmin(inner))] = low
    steps = path[1:].reshape(count, _FINE)
    opens = np.concatenate([[opened], steps[:-1, -1]])
    weights = np.interp(place, _PROFILE_AT, _VOLUME) * rng.gamma(4.0, size=count)
    shares = np.diff(np.floor(np.concatenate([[0.0], np.cumsum(weights) / weights.sum()]) * bars.volume[row, at] + 0.5))
    return {
        "open": opens,
        "high": np.maximum(opens, steps.max(axis=1)),
        "low": np.minimum(opens, steps.min(axis=1)),
        "close": steps[:, -1].copy(),
        "volume": shares,
    }
