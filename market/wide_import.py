"""Import of wide CSV files: one line per day, one column per symbol and number (`date,SBIN_close,SBIN_volume,...`).

`SYMBOL_close` is required for each symbol; `SYMBOL_open`, `_high`, `_low` and `_volume` may be absent. What is absent stays
unknown, and is an empty field in the long CSV: an open made from a close would let a back-test trade at a price that
nobody ever quoted. Such symbols are listed by `DailyBars.close_only`, are an error in the quality report
(`missing_column`), which `tarazu data import` refuses unless forced, and are left out of replay's batches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from market.bar_csv import COLUMNS, DATE, parse_day, parse_number, read_header, read_rows
from market.errors import BadInput
from market.instrument import Instrument
from market.store import DailyBars, daily_bars, write_csv

_FORM: Final = f"SYMBOL_{{{','.join(COLUMNS)}}}"


def is_wide(path: Path) -> bool:
    """Return whether a CSV has the wide form: `SYMBOL_close` columns and no column `symbol`."""
    header = read_header(path)
    return "symbol" not in header and any(name.endswith("_close") for name in header)


def read_wide(path: Path) -> DailyBars:
    """Read a wide CSV (.csv or .csv.gz). Days may come in any order.

    Raises BadInput naming file, line, column and value: a column of another form, a symbol without closes, a day given
    twice, a value that is not a number.
    """
    header = read_header(path)
    if DATE not in header:
        raise BadInput(f"{path}: column {DATE!r} is missing; the columns are {', '.join(header[:8])}")
    date_at = header.index(DATE)
    places = {at: _place(path, name) for at, name in enumerate(header) if at != date_at}
    symbols = tuple(sorted({symbol for symbol, _ in places.values()}))
    for symbol in symbols:
        if (symbol, "close") not in places.values():
            raise BadInput(f"{path}: column '{symbol}_close' is missing; every symbol needs its closes")
    lines: dict[int, int] = {}
    rows: list[list[float]] = []
    for line, row in read_rows(path):
        where = f"{path}: line {line}"
        try:
            day = parse_day(row[date_at])
        except ValueError:
            raise BadInput(f"{where}: date {row[date_at]!r} is not a date, YYYY-MM-DD") from None
        if day in lines:
            raise BadInput(f"{where}: {row[date_at]} was already given on line {lines[day]}")
        lines[day] = line
        rows.append([_value(row[at], where, header[at]) for at in places])
    if not rows:
        raise BadInput(f"{path}: has no days below its header")
    days = np.array(list(lines))
    values = np.array(rows)[np.argsort(days)]
    columns = {name: np.full((len(days), len(symbols)), np.nan) for name in COLUMNS}
    for at, (symbol, name) in enumerate(places.values()):
        columns[name][:, symbols.index(symbol)] = values[:, at]
    return daily_bars(symbols, np.sort(days).astype("datetime64[D]"), columns)


def import_wide(source: Path, target: Path) -> DailyBars:
    """Write a wide CSV as a long one and return its bars; ask `close_only` of them before trading on them."""
    bars = read_wide(source)
    write_csv(bars, target)
    return bars


def _place(path: Path, column: str) -> tuple[str, str]:
    symbol, _, name = column.rpartition("_")
    if name not in COLUMNS:
        raise BadInput(f"{path}: column {column!r}: must be {DATE} or {_FORM}")
    try:
        Instrument(symbol)
    except BadInput:
        raise BadInput(f"{path}: column {column!r}: {symbol!r} is not an NSE symbol (A-Z, 0-9, & and -)") from None
    return symbol, name


def _value(text: str, where: str, column: str) -> float:
    try:
        return parse_number(text)
    except ValueError:
        raise BadInput(f"{where}: {column} {text!r} is not a number (empty when it is unknown)") from None
