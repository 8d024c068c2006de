"""Each thing that can be wrong with daily bars is found once, with symbol and day; clean bars give none."""

import json
import math
import shutil
from datetime import date

import numpy as np
import pytest

from market.calendar import Calendar
from market.quality import Code, Severity, check
from market.store import DailyBars, daily_bars, read_csv

CALENDAR = Calendar.load()
SYMBOLS = ("AXISBANK", "SBIN")
START, END = date(2024, 1, 1), date(2024, 4, 30)
MUHURAT_2023 = date(2023, 11, 12)


def panel(start=START, end=END, *, without=(), also=(), symbols=SYMBOLS, **changes) -> DailyBars:
    """Clean bars on every session; `changes` are {column: {(day, symbol): value}}."""
    days = sorted({s.day for s in CALENDAR.sessions(start, end)} - set(without) | set(also))
    shape = (len(days), len(symbols))
    close = 500.0 + np.arange(shape[0])[:, None] * 0.5 + np.arange(shape[1])
    columns = {
        "open": close - 1.0,
        "high": close + 2.0,
        "low": close - 2.0,
        "close": close.copy(),
        "volume": np.full(shape, 1000.0),
    }
    for name, values in changes.items():
        for (day, symbol), value in values.items():
            columns[name][days.index(day), symbols.index(symbol)] = value
    return daily_bars(symbols, np.array(days, dtype="datetime64[D]"), columns)


def gone(day, symbol):
    return {name: {(day, symbol): math.nan} for name in ("open", "high", "low", "close", "volume")}


def found(report):
    return [(f.code, f.symbol, f.day) for f in report.findings]


def test_clean_bars_have_no_findings():
    report = check(panel(), CALENDAR, as_of=END)
    assert report.ok
    assert report.findings == ()
    assert report.lines()[0].startswith("fit for use: 2 symbols")


DAY = date(2024, 2, 15)


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("close", math.nan, Code.MISSING_VALUE),
        ("volume", math.nan, Code.MISSING_VALUE),
        ("high", math.inf, Code.INFINITE_VALUE),
        ("volume", math.inf, Code.INFINITE_VALUE),
        ("low", 0.0, Code.NON_POSITIVE_PRICE),
        ("low", -3.0, Code.NON_POSITIVE_PRICE),
        ("volume", -1.0, Code.NEGATIVE_VOLUME),
        ("volume", 0.0, Code.ZERO_VOLUME),
        ("high", 400.0, Code.HIGH_LOW_CONTRADICTION),
        ("low", 600.0, Code.HIGH_LOW_CONTRADICTION),
        ("open", 530.0, Code.HIGH_LOW_CONTRADICTION),
    ],
)
def test_an_impossible_number_is_one_error_with_its_symbol_and_day(column, value, code):
    report = check(panel(**{column: {(DAY, "SBIN"): value}}), CALENDAR)
    assert not report.ok
    assert found(report) == [(code, "SBIN", DAY)]
    assert report.findings[0].severity is Severity.ERROR


def test_a_low_above_the_open_is_a_contradiction_although_the_high_is_right():
    bars = panel()
    row = bars.days.tolist().index(DAY)
    low = float(bars.close[row, 1]) - 0.5
    report = check(panel(low={(DAY, "SBIN"): low}), CALENDAR)
    assert found(report) == [(Code.HIGH_LOW_CONTRADICTION, "SBIN", DAY)]
    assert report.findings[0].detail == f"low {low} is above open or close"


def test_a_move_above_half_is_an_error_and_one_of_exactly_half_is_not():
    def one_jump(factor):
        bars = panel(symbols=("SBIN",))
        scale = np.where(bars.days < np.datetime64(DAY), 1.0, factor)[:, None]
        before = bars.close[bars.days < np.datetime64(DAY)][-1, 0]
        scale = scale * np.where(bars.days < np.datetime64(DAY), 1.0, before / bars.close[:, 0])[:, None]
        columns = {name: getattr(bars, name) * scale for name in ("open", "high", "low", "close")}
        return daily_bars(bars.symbols, bars.days, {**columns, "volume": bars.volume})

    assert check(one_jump(1.5), CALENDAR).ok
    report = check(one_jump(1.51), CALENDAR)
    assert found(report) == [(Code.EXTREME_RETURN, "SBIN", DAY)]
    assert "+51.0%" in report.findings[0].detail
    assert found(check(one_jump(0.49), CALENDAR)) == [(Code.EXTREME_RETURN, "SBIN", DAY)]
    assert check(one_jump(1.51), CALENDAR, max_daily_return=0.6).ok


def test_a_missing_bar_of_one_symbol_is_a_gap_and_a_return_across_it_is_judged():
    values = gone(DAY, "SBIN")
    report = check(panel(**values), CALENDAR)
    assert found(report) == [(Code.SYMBOL_GAP, "SBIN", DAY)]
    values["close"][(date(2024, 2, 16), "SBIN")] = 1500.0
    values["high"][(date(2024, 2, 16), "SBIN")] = 1500.0
    codes = {f.code for f in check(panel(**values), CALENDAR).findings}
    assert Code.EXTREME_RETURN in codes


def test_an_ordinary_session_without_bars_is_an_error_a_special_one_a_warning():
    report = check(panel(without=[DAY]), CALENDAR)
    assert found(report) == [(Code.MISSING_SESSION, None, DAY)]
    assert not report.ok
    special = check(panel(without=[date(2024, 1, 20), date(2024, 3, 2)]), CALENDAR)
    assert special.ok
    assert [f.day for f in special.findings] == [date(2024, 1, 20), date(2024, 3, 2)]
    muhurat = check(panel(date(2023, 10, 1), END, without=[MUHURAT_2023]), CALENDAR)
    assert muhurat.ok
    assert found(muhurat) == [(Code.MISSING_SESSION, None, MUHURAT_2023)]


def test_bars_on_a_closed_day_are_an_error_that_names_the_holiday():
    report = check(panel(also=[date(2024, 1, 26)]), CALENDAR)
    assert found(report) == [(Code.BAR_ON_CLOSED_DAY, None, date(2024, 1, 26))]
    assert "Republic Day" in report.findings[0].detail


def test_bars_outside_the_coverage_are_a_warning():
    report = check(panel(also=[date(2006, 12, 29)]), CALENDAR)
    assert (Code.OUTSIDE_COVERAGE, None, date(2006, 12, 29)) in found(report)


def test_a_day_given_twice_is_an_error():
    bars = panel()
    days = np.concatenate([bars.days[:10], bars.days[9:]])
    columns = {
        name: np.insert(getattr(bars, name), 9, getattr(bars, name)[9], axis=0)
        for name in ("open", "high", "low", "close", "volume")
    }
    report = check(daily_bars(bars.symbols, days, columns), CALENDAR)
    assert [f.code for f in report.findings] == [Code.DUPLICATE_DAY]


def test_too_little_history_is_an_error_per_symbol():
    report = check(panel(date(2024, 4, 1), END), CALENDAR)
    assert found(report) == [(Code.SHORT_HISTORY, "AXISBANK", None), (Code.SHORT_HISTORY, "SBIN", None)]
    assert check(panel(date(2024, 4, 1), END), CALENDAR, min_sessions=10).ok


def test_an_old_end_is_an_error_only_against_a_day_that_is_asked_for():
    assert check(panel(), CALENDAR).ok
    assert check(panel(), CALENDAR, as_of=date(2024, 5, 1)).ok, "1 May is a holiday"
    report = check(panel(), CALENDAR, as_of=date(2024, 5, 3))
    assert found(report) == [(Code.STALE_END, None, END)]
    assert "2 sessions up to 2024-05-03" in report.findings[0].detail


def test_freshness_past_the_coverage_cannot_be_judged_and_so_is_an_error():
    bars = panel(date(2026, 9, 1), date(2026, 12, 31))
    assert check(bars, CALENDAR, as_of=date(2026, 12, 31)).ok
    assert Code.STALE_END in {f.code for f in check(bars, CALENDAR, as_of=date(2027, 1, 1)).findings}


def test_a_symbol_that_ends_before_the_others_is_stale():
    last = [s.day for s in CALENDAR.sessions(date(2024, 4, 29), END)]
    values = {name: {(day, "SBIN"): math.nan for day in last} for name in ("open", "high", "low", "close", "volume")}
    assert found(check(panel(**values), CALENDAR)) == [(Code.STALE_END, "SBIN", date(2024, 4, 26))]


def test_a_column_that_is_unknown_throughout_is_one_error_not_one_per_day():
    days = [s.day for s in CALENDAR.sessions(START, END)]
    unknown = {(day, "SBIN"): math.nan for day in days}
    bars = panel(open=unknown, high=unknown, low=unknown)
    report = check(bars, CALENDAR)
    assert found(report) == [(Code.MISSING_COLUMN, "SBIN", None)]
    assert "open, high, low" in report.findings[0].detail
    assert bars.close_only == ("SBIN",)


def test_fractional_volumes_and_flat_bars_are_warnings():
    days = [s.day for s in CALENDAR.sessions(START, END)]
    one_price = {(day, "SBIN"): 500.0 for day in days}
    report = check(
        panel(open=one_price, high=one_price, low=one_price, close=one_price, volume={(DAY, "AXISBANK"): 10.5}),
        CALENDAR,
    )
    assert report.ok
    assert found(report) == [(Code.FRACTIONAL_VOLUME, "AXISBANK", None), (Code.FLAT_BARS, "SBIN", None)]
    assert report.lines()[1].startswith("WARNING")


def test_no_bars_at_all_is_an_error():
    empty = panel().slice(date(2030, 1, 1), date(2030, 2, 1))
    assert [f.code for f in check(empty, CALENDAR).findings] == [Code.NO_BARS]


def test_the_report_serialises_and_shortens_what_repeats():
    days = [s.day for s in CALENDAR.sessions(START, END)]
    report = check(panel(volume={(day, "SBIN"): 0.0 for day in days}), CALENDAR)
    data = json.loads(json.dumps(report.to_json()))
    assert data["ok"] is False
    assert data["errors"] == len(data["findings"]) == len(days)
    assert data["findings"][0] == {
        "code": "zero_volume",
        "severity": "error",
        "symbol": "SBIN",
        "day": "2024-01-01",
        "detail": "volume is 0: a day without a trade has no bar",
    }
    lines = report.lines()
    assert lines[0].startswith("NOT fit for use")
    assert len(lines) == 7
    assert lines[-1].endswith(f"and {len(days) - 5} more")


def test_the_five_banks_are_clean(real_data, tmp_path):
    path = tmp_path / "banks.csv"
    shutil.copyfile(real_data / "nse_banks_daily.csv", path)
    report = check(read_csv(path), CALENDAR, as_of=date(2024, 9, 30))
    assert report.findings == ()


def test_prices_as_traded_show_their_splits(real_data, tmp_path):
    path = tmp_path / "raw.csv.gz"
    shutil.copyfile(real_data / "nse_banks_daily_raw.csv.gz", path)
    report = check(read_csv(path), CALENDAR)
    assert {(f.code, f.symbol) for f in report.findings} == {
        (Code.EXTREME_RETURN, symbol) for symbol in ("AXISBANK", "HDFCBANK", "ICICIBANK", "KOTAKBANK", "SBIN")
    }
