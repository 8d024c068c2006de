"""Bars as a long CSV: one line per bar, strictly read and atomically written.

Columns `date,symbol,open,high,low,close,volume`, or `ts` in place of `date` for intraday bars; other columns are passed
over. `.gz` files are read and written as such. Lines may come in any order. An empty field is an unknown number (NaN), for
the quality check to judge; everything else that is not a number, and every line that is not whole, is refused with its
line number.

One parser serves small and large files: the csv module in blocks, whose columns are converted at C speed. pyarrow would
parse a large file faster, but costs more to import than a small file takes here, knows no line numbers, and would be a
second opinion on what a valid file is. The cache (market/bar_cache.py) makes parsing a one-time cost.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final, TextIO, cast

import numpy as np
from numpy.typing import NDArray

from market.errors import BadInput
from market.instrument import Instrument

DATE: Final = "date"
TIMESTAMP: Final = "ts"
COLUMNS: Final = ("open", "high", "low", "close", "volume")
_BLOCK: Final = 20_000
_ORDINAL_1970: Final = date(1970, 1, 1).toordinal()
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND: Final = timedelta(microseconds=1)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars as a panel: times [T] ascending (days, or ns, since 1970 UTC), n symbols, and for each of COLUMNS a [T, n]."""

    times: Integers
    symbols: tuple[str, ...]
    columns: dict[str, Floats]


def read_header(path: Path) -> list[str]:
    """Return a CSV's column names. Raises BadInput when the file cannot be read, is empty, or doubles a name."""
    with _reading(path) as stream:
        return _header(path, csv.reader(_whole_lines(path, stream)))


def read_panel(path: Path, time_column: str) -> Panel:
    """Parse a long CSV whose time column is DATE or TIMESTAMP; the panel's symbols are sorted.

    Raises BadInput naming file, line and value: a missing column, a line that is cut off, a value that is not a number, a
    bar given twice.
    """
    with _reading(path) as stream:
        reader = csv.reader(_whole_lines(path, stream))
        header = _header(path, reader)
        for column in (time_column, "symbol", *COLUMNS):
            if column not in header:
                raise BadInput(f"{path}: column {column!r} is missing; the columns are {', '.join(header)}")
        return _Parser(path, header, time_column).parse(reader)


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) below the header; every line has as many fields as the header."""
    with _reading(path) as stream:
        reader = csv.reader(_whole_lines(path, stream))
        header = _header(path, reader)
        for row in reader:
            if len(row) != len(header):
                raise cut_off(path, reader.line_num, row, header)
            yield reader.line_num, row


def write_panel(path: Path, panel: Panel) -> None:
    """Write a daily panel as a long CSV, sorted by date and symbol, replacing the file in one step.

    Numbers are written so that they read back to the same bits; bars of which nothing is known are left out.
    """
    order = sorted(range(len(panel.symbols)), key=panel.symbols.__getitem__)
    symbols = [panel.symbols[i] for i in order]
    columns = [panel.columns[name][:, order] for name in COLUMNS]
    known = ~np.logical_and.reduce([np.isnan(column) for column in columns])
    text = io.StringIO()
    text.write(",".join((DATE, "symbol", *COLUMNS)) + "\n")
    for row, day in enumerate(panel.times.tolist()):
        label = date.fromordinal(day + _ORDINAL_1970).isoformat()
        fields = zip(*(column[row].tolist() for column in columns), strict=True)
        for symbol, is_known, (*prices, volume) in zip(symbols, known[row].tolist(), fields, strict=True):
            if is_known:
                shares = str(int(volume)) if volume.is_integer() else _text(volume)
                text.write(f"{label},{symbol},{','.join(map(_text, prices))},{shares}\n")
    data = text.getvalue().encode()
    # Without a time in the gzip header the same bars are the same bytes.
    replace_file(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, leaves either all of it or what was there before. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def parse_number(text: str) -> float:
    """Return a field's number, NaN when it is empty. Raises ValueError; Python's 1_000 is not a number here."""
    if not text:
        return float("nan")
    if "_" in text:
        raise ValueError(text)
    return float(text)


def parse_day(text: str) -> int:
    """Return the days since 1970-01-01 of a YYYY-MM-DD date. Raises ValueError."""
    # fromisoformat also takes 20240102 and week dates; a file that mixes forms is suspect.
    if len(text) != 10 or text[4] != "-" or text[7] != "-":
        raise ValueError(text)
    return date.fromisoformat(text).toordinal() - _ORDINAL_1970


def parse_timestamp(text: str) -> int:
    """Return the ns since 1970 UTC of an ISO time with an offset. Raises ValueError; a time without one is a guess."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return (moment - _EPOCH) // _MICROSECOND * 1000


def cut_off(path: Path, line: int, row: list[str], header: list[str]) -> BadInput:
    """Return the error for a line with too few or too many fields."""
    return BadInput(f"{path}: line {line}: {len(row)} fields, must be {len(header)} ({', '.join(header)})")


class _Parser:
    """One pass over the rows: codes for time and symbol, numbers as they are, then one scatter into the panel."""

    def __init__(self, path: Path, header: list[str], time_column: str) -> None:
        self.path = path
        self.header = header
        self.time_column = time_column
        self.parse_time: Callable[[str], int] = parse_day if time_column == DATE else parse_timestamp
        self.time_at = header.index(time_column)
        self.symbol_at = header.index("symbol")
        self.number_at = [header.index(name) for name in COLUMNS]
        self.times: dict[str, int] = {}
        self.symbols: dict[str, int] = {}

    def parse(self, reader: Iterator[list[str]]) -> Panel:
        """Return the panel of all rows."""
        time_parts: list[Integers] = []
        symbol_parts: list[Integers] = []
        number_parts: list[list[Floats]] = [[] for _ in COLUMNS]
        first_line = 2
        while rows := list(islice(reader, _BLOCK)):
            try:
                fields = list(zip(*rows, strict=True))
                if len(fields) != len(self.header):
                    raise ValueError
                time_parts.append(self._times(fields[self.time_at]))
                symbol_parts.append(self._symbols(fields[self.symbol_at]))
                for part, at in zip(number_parts, self.number_at, strict=True):
                    part.append(_numbers(fields[at]))
            except ValueError:
                raise self._explain(rows, first_line) from None
            first_line += len(rows)
        if not time_parts:
            raise BadInput(f"{self.path}: has no bars below its header")
        return self._panel(
            np.concatenate(time_parts), np.concatenate(symbol_parts), [np.concatenate(part) for part in number_parts]
        )

    def _times(self, texts: tuple[str, ...]) -> Integers:
        known = self.times
        for text in set(texts) - known.keys():
            known[text] = self.parse_time(text)
        return np.fromiter(map(known.__getitem__, texts), np.int64, len(texts))

    def _symbols(self, texts: tuple[str, ...]) -> Integers:
        known = self.symbols
        for text in sorted(set(texts) - known.keys()):
            try:
                Instrument(text)
            except BadInput:
                raise ValueError(text) from None
            known[text] = len(known)
        return np.fromiter(map(known.__getitem__, texts), np.int64, len(texts))

    def _panel(self, row_times: Integers, row_symbols: Integers, numbers: list[Floats]) -> Panel:
        times, time_codes = np.unique(row_times, return_inverse=True)
        symbols = sorted(self.symbols)
        rank = np.empty(len(symbols), dtype=np.int64)
        for position, symbol in enumerate(symbols):
            rank[self.symbols[symbol]] = position
        cells = time_codes * len(symbols) + rank[row_symbols]
        size = len(times) * len(symbols)
        counts = np.bincount(cells, minlength=size)
        if counts.max() > 1:
            self._refuse_duplicate(cells, counts, symbols, times)
        columns: dict[str, Floats] = {}
        for name, values in zip(COLUMNS, numbers, strict=True):
            column = np.full(size, np.nan)
            column[cells] = values
            columns[name] = column.reshape(len(times), len(symbols))
        return Panel(times, tuple(symbols), columns)

    def _refuse_duplicate(self, cells: Integers, counts: Integers, symbols: list[str], times: Integers) -> None:
        doubled = np.flatnonzero(counts[cells] > 1)
        first, again = np.flatnonzero(cells == cells[doubled[0]])[:2].tolist()
        value = int(times[cells[first] // len(symbols)])
        text = next(text for text, parsed in self.times.items() if parsed == value)
        symbol = symbols[cells[first] % len(symbols)]
        raise BadInput(f"{self.path}: line {again + 2}: {symbol} at {text} was already given on line {first + 2}")

    def _explain(self, rows: list[list[str]], first_line: int) -> BadInput:
        """Return the error of the first bad row of a block that could not be converted as a whole."""
        time_form = "a date, YYYY-MM-DD" if self.time_column == DATE else "a time with its offset, ...T09:15:00+05:30"
        for line, row in enumerate(rows, first_line):
            if len(row) != len(self.header):
                return cut_off(self.path, line, row, self.header)
            where = f"{self.path}: line {line}"
            try:
                self.parse_time(row[self.time_at])
            except ValueError:
                return BadInput(f"{where}: {self.time_column} {row[self.time_at]!r} is not {time_form}")
            try:
                Instrument(row[self.symbol_at])
            except BadInput:
                return BadInput(f"{where}: symbol {row[self.symbol_at]!r} is not an NSE symbol (A-Z, 0-9, & and -)")
            for name, at in zip(COLUMNS, self.number_at, strict=True):
                try:
                    parse_number(row[at])
                except ValueError:
                    return BadInput(f"{where}: {name} {row[at]!r} is not a number (empty when it is unknown)")
        raise AssertionError("a block that does not convert has a bad row")


def _numbers(texts: tuple[str, ...]) -> Floats:
    # Two plain C loops; only a block with an empty field, or an underscore, is looked at field by field.
    if "" in texts or "_" in "".join(texts):
        return np.array([parse_number(text) for text in texts])
    return np.fromiter(map(float, texts), np.float64, len(texts))


def _text(value: float) -> str:
    return "" if value != value else repr(value)


@contextmanager
def _reading(path: Path) -> Iterator[TextIO]:
    """Open a CSV, plain or gzipped; what goes wrong while it is read is the file's fault and says so."""
    try:
        # A byte-order mark, as spreadsheets write it, is no part of the first column's name.
        with (
            cast(TextIO, gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig", newline="") as stream
        ):
            yield stream
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    header = next(reader, None)
    if not header:
        raise BadInput(f"{path}: is empty; the first line must name the columns")
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise BadInput(f"{path}: line 1: column {doubled[0]!r} is given twice")
    return header


def _whole_lines(path: Path, stream: TextIO) -> Iterator[str]:
    """Yield lines; a last line without a line end is refused, as it may stop in the middle of a number."""
    for count, line in enumerate(stream, 1):
        if line[-1] not in "\r\n":
            raise BadInput(
                f"{path}: line {count}: {line[:60]!r} has no line end: the file looks cut off (if not, add it)"
            )
        yield line
