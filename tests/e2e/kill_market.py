"""The market of the month of kills: synthetic banks, calm enough for no breaker, thin enough for orders in many parts."""

import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from market.calendar import Calendar
from market.store import DailyBars, daily_bars, write_csv
from market.synthetic import TICK, generate, generate_intraday

REPO = Path(__file__).resolve().parent.parent.parent
SYMBOLS = ("HDFCBANK", "ICICIBANK", "SBIN", "AXISBANK", "KOTAKBANK")
BEGIN, FIRST, LAST = date(2024, 3, 1), date(2024, 6, 5), date(2024, 9, 30)
SPLIT = "SBIN"
# A day's moves, as a power of what the generator made: the point here is kills, not losses.
CALM = 0.4
# Shares a day, as a fraction of what large banks trade: orders then take several bars.
THIN = 1 / 2000


@dataclass(frozen=True)
class Market:
    """A deployment's directory with its data, and the file that the feed plays."""

    root: Path
    five: Path
    days: list[date]


def make_market(folder: Path, *, seed: int, sessions: int) -> Market:
    """Write configuration, daily history, five-minute bars of `sessions` days as traded, and a split in their middle."""
    calendar = Calendar.load()
    root = folder / "production"
    shutil.copytree(REPO / "production" / "config", root / "config")
    (root / "data").mkdir()
    bars = _calm(generate(seed, SYMBOLS, BEGIN, LAST, calendar))
    days = [session.day for session in calendar.sessions(FIRST, LAST)][:sessions]
    before = bars.slice(BEGIN, date.fromordinal(FIRST.toordinal() - 1))
    write_csv(before, root / "data" / "latest_market_data.csv")
    ex_date = days[len(days) // 2]
    rows = [f"{ex_date},{SPLIT},split 2:1,2"] if len(days) > 1 else []
    table = ["ex_date,symbol,action,shares_after_per_share_before", *rows]
    (root / "data" / "corporate_actions.csv").write_text("\n".join(table) + "\n")
    played = generate_intraday(seed, bars, days, calendar)
    lines = ["ts,symbol,open,high,low,close,volume"]
    for row, start in enumerate(played.starts.tolist()):
        moment = np.datetime64(start, "ns").astype("datetime64[s]").item()
        local = np.datetime64(start + 19_800 * 10**9, "ns").astype("datetime64[s]").item()
        assert moment < local
        for at, symbol in enumerate(played.symbols):
            by = 2.0 if rows and symbol == SPLIT and local.date() >= ex_date else 1.0
            prices = (float(column[row, at]) / by for column in (played.open, played.high, played.low, played.close))
            text = ",".join(f"{price:.3f}" for price in prices)
            lines.append(f"{local.isoformat()}+05:30,{symbol},{text},{played.volume[row, at] * by:.0f}")
    five = folder / "five.csv"
    five.write_text("\n".join(lines) + "\n")
    return Market(root, five, days)


def _calm(bars: DailyBars) -> DailyBars:
    def towards(column: np.ndarray) -> np.ndarray:
        first = bars.close[0]
        return np.rint(first * (column / first) ** CALM / TICK) * TICK

    columns = {name: towards(getattr(bars, name)) for name in ("open", "high", "low", "close")}
    columns["volume"] = np.maximum(1.0, np.rint(bars.volume * THIN))
    return daily_bars(bars.symbols, bars.days, columns)
