"""Bars are read strictly, come back bit for bit, and are cached without anyone having to trust the cache."""

import gzip
import math
import os
import shutil
import subprocess
import sys
import time
from datetime import date, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.bar import Interval
from market.bar_cache import cache_path
from market.bar_csv import DATE
from market.calendar import Calendar
from market.errors import BadInput
from market.sessions import IST
from market.store import DailyBars, IntradayBars, daily_bars, read_bars, read_csv, read_intraday_csv, write_csv

HEADER = "date,symbol,open,high,low,close,volume\n"
TWO_DAYS = (
    HEADER
    + "2024-09-27,AXISBANK,1270.0,1280.5,1265.0,1271.6,1000\n"
    + "2024-09-27,SBIN,800.0,805.0,799.0,802.65,2000\n"
    + "2024-09-30,AXISBANK,1260.0,1262.0,1230.0,1232.35,3000\n"
    + "2024-09-30,SBIN,801.9,802.6,786.45,787.9,4000\n"
)
INTRADAY = (
    "ts,symbol,open,high,low,close,volume\n"
    "2024-09-30T09:20:00+05:30,SBIN,801.0,802.0,800.0,801.5,60\n"
    "2024-09-30T09:15:00+05:30,SBIN,801.9,802.6,800.5,801.0,50\n"
    "2024-09-30T09:15:00+05:30,AXISBANK,1260.0,1262.0,1258.0,1259.0,70\n"
)
CALENDAR = Calendar.load()


@pytest.fixture
def csv_file(tmp_path):
    def write(text, name="bars.csv"):
        path = tmp_path / name
        data = text.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


def refusal(path, read=read_csv):
    with pytest.raises(BadInput) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


def columns(bars):
    return [bars.open, bars.high, bars.low, bars.close, bars.volume]


def test_a_long_file_becomes_a_panel_with_sorted_symbols(csv_file):
    bars = read_csv(csv_file(TWO_DAYS))
    assert bars.symbols == ("AXISBANK", "SBIN")
    assert bars.days.tolist() == [date(2024, 9, 27), date(2024, 9, 30)]
    assert bars.close.tolist() == [[1271.6, 802.65], [1232.35, 787.9]]
    assert bars.volume.dtype == np.float64


def test_a_bar_that_is_not_there_and_an_empty_field_are_unknown_not_zero(csv_file):
    bars = read_csv(csv_file(HEADER + "2024-09-27,SBIN,800,805,799,802,\n2024-09-30,AXISBANK,1,1,1,1,5\n"))
    assert math.isnan(bars.close[0, 0])
    assert math.isnan(bars.volume[0, 1])
    assert bars.close[0, 1] == 802


def test_the_order_of_lines_compression_and_further_columns_do_not_matter(csv_file):
    head, *lines = TWO_DAYS.splitlines()
    turned = "\n".join([head + ",source", *[line + ",bhavcopy_raw" for line in reversed(lines)]]) + "\n"
    plain = read_csv(csv_file(TWO_DAYS))
    packed = read_csv(csv_file(turned, "bars.csv.gz"))
    windows = read_csv(csv_file("\ufeff" + TWO_DAYS.replace("\n", "\r\n"), "windows.csv"))
    assert plain.sha256 == packed.sha256 == windows.sha256


def test_other_bars_have_another_hash(csv_file):
    changed = TWO_DAYS.replace("787.9", "787.95")
    assert read_csv(csv_file(TWO_DAYS)).sha256 != read_csv(csv_file(changed, "changed.csv")).sha256


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["is empty"]),
        (HEADER, ["has no bars"]),
        (TWO_DAYS[:-8], ["line 5", "looks cut off"]),
        (TWO_DAYS[:-1], ["line 5", "no line end"]),
        (TWO_DAYS[:-6] + "\n", ["line 5", "6 fields, must be 7"]),
        (TWO_DAYS.replace("low,", "lowest,"), ["column 'low' is missing", "lowest"]),
        (TWO_DAYS.replace("low,", "high,"), ["line 1", "'high' is given twice"]),
        (TWO_DAYS.replace("805.0", "eight"), ["line 3", "high 'eight' is not a number"]),
        (TWO_DAYS.replace("2000", "2_000"), ["line 3", "volume '2_000'"]),
        (TWO_DAYS.replace("2000", '"2,000"'), ["line 3", "volume '2,000'"]),
        (TWO_DAYS.replace("2024-09-30,SBIN", "30-09-2024,SBIN"), ["line 5", "'30-09-2024' is not a date, YYYY-MM-DD"]),
        (TWO_DAYS.replace("2024-09-30,SBIN", "20240930,SBIN"), ["line 5", "'20240930'"]),
        (TWO_DAYS.replace("2024-09-30,SBIN", "2024-09-31,SBIN"), ["line 5", "'2024-09-31'"]),
        (TWO_DAYS.replace("30,SBIN", "30,sbin"), ["line 5", "symbol 'sbin'"]),
        (TWO_DAYS.replace("30,SBIN", "30,AXISBANK"), ["line 5", "AXISBANK at 2024-09-30", "line 4"]),
        (TWO_DAYS.replace("2024-09-30,SBIN", "\n2024-09-30,SBIN"), ["line 5", "0 fields"]),
    ],
)
def test_a_wrong_file_is_refused_with_its_line_and_value(csv_file, text, words):
    path = csv_file(text)
    message = refusal(path)
    for word in words:
        assert word in message
    assert not (path.parent / ".cache").exists(), "nothing wrong is cached"


def test_a_file_that_is_not_there_not_gzip_cut_off_or_not_text_is_refused(csv_file, tmp_path):
    assert "cannot be read" in refusal(tmp_path / "none.csv")
    plain = tmp_path / "plain.csv.gz"
    plain.write_text(TWO_DAYS)
    assert "cannot be read" in refusal(plain)
    cut = csv_file(TWO_DAYS, "cut.csv.gz")
    cut.write_bytes(cut.read_bytes()[:-20])
    assert "cannot be read" in refusal(cut)
    latin = tmp_path / "latin.csv"
    latin.write_bytes(HEADER.encode() + b"2024-09-30,SB\xffIN,1,1,1,1,1\n")
    assert "cannot be read" in refusal(latin)


def test_a_bad_line_far_down_is_found_by_its_number(csv_file):
    lines = [f"{np.datetime64('1990-01-01') + i},SBIN,1,2,1,2,100" for i in range(30_000)]
    lines[25_000] = lines[25_000].replace(",100", ",1e")
    assert "line 25002: volume '1e'" in refusal(csv_file(HEADER + "\n".join(lines) + "\n"))


def test_slice_takes_both_ends_and_select_keeps_the_order_asked_for(csv_file):
    bars = read_csv(csv_file(TWO_DAYS))
    assert bars.slice(date(2024, 9, 28), date(2024, 9, 30)).days.tolist() == [date(2024, 9, 30)]
    assert bars.slice(date(2024, 9, 27), date(2024, 9, 30)).sha256 == bars.sha256
    assert len(bars.slice(date(2025, 1, 1), date(2025, 2, 1)).days) == 0
    turned = bars.select(("SBIN", "AXISBANK"))
    assert turned.symbols == ("SBIN", "AXISBANK")
    assert turned.close[0].tolist() == [802.65, 1271.6]
    with pytest.raises(BadInput, match="no HDFCBANK, TCS; the bars hold AXISBANK, SBIN"):
        bars.select(("SBIN", "HDFCBANK", "TCS"))


def test_nobody_can_change_bars_that_others_hold(csv_file):
    bars = read_csv(csv_file(TWO_DAYS))
    with pytest.raises(ValueError, match="read-only"):
        bars.close[0, 0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        bars.select(("SBIN",)).close[0, 0] = 1.0


def test_the_second_reading_comes_from_the_cache_and_is_the_same(csv_file, monkeypatch):
    path = csv_file(TWO_DAYS)
    first = read_csv(path)
    monkeypatch.setattr("market.bar_cache.read_panel", lambda *_: pytest.fail("parsed although cached"))
    second = read_csv(path)
    assert second.sha256 == first.sha256
    assert second.symbols == first.symbols
    for ours, theirs in zip(columns(first), columns(second), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_changed_file_is_parsed_again_even_with_the_same_size_and_time(csv_file):
    path = csv_file(TWO_DAYS)
    read_csv(path)
    before = path.stat()
    path.write_text(TWO_DAYS.replace("787.9", "787.8"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert read_csv(path).close[1, 1] == 787.8


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_cache_is_ignored_and_rebuilt(csv_file, damage):
    path = csv_file(TWO_DAYS)
    good = read_csv(path)
    cache = cache_path(path, DATE)
    data = bytearray(cache.read_bytes())
    if damage == "flip":
        data[data.index(np.float64(787.9).tobytes())] ^= 1
    cache.write_bytes({"cut": data[: len(data) // 2], "flip": data, "empty": b"", "text": b"not an archive"}[damage])
    damaged = cache.read_bytes()
    assert read_csv(path).sha256 == good.sha256
    assert cache.read_bytes() != damaged, "rebuilt"


def test_a_forged_cache_whose_checksums_fit_the_archive_is_ignored(csv_file):
    path = csv_file(TWO_DAYS)
    read_csv(path)
    cache = cache_path(path, DATE)
    with np.load(cache) as stored:
        content = dict(stored)
    content["close"] = content["close"] * 2
    np.savez(cache, **content)
    assert read_csv(path).close[1, 1] == 787.9


def test_a_directory_that_cannot_hold_a_cache_is_no_error(csv_file):
    path = csv_file(TWO_DAYS)
    (path.parent / ".cache").write_text("a file where the directory should be")
    assert read_csv(path).symbols == ("AXISBANK", "SBIN")


def test_a_directory_marked_read_only_stays_as_it_is(csv_file):
    path = csv_file(TWO_DAYS)
    path.parent.chmod(0o555)
    try:
        assert read_csv(path).symbols == ("AXISBANK", "SBIN")
        assert not (path.parent / ".cache").exists()
    finally:
        path.parent.chmod(0o755)


prices = st.one_of(st.just(math.nan), st.floats(0.01, 1e9), st.floats(allow_nan=False, allow_infinity=True))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(prices, min_size=10, max_size=10), min_size=1, max_size=5),
    st.sampled_from(["bars.csv", "bars.csv.gz"]),
)
def test_what_is_written_reads_back_to_the_same_bits(tmp_path_factory, rows, name):
    values = np.array(rows).reshape(len(rows), 5, 2)
    values[0, 0] = 1.5  # both symbols are there
    values[:, 4][np.isnan(values).all(axis=1)] = 7.0  # a bar of which nothing is known is not a bar
    days = np.datetime64("2024-01-01") + np.arange(len(rows))
    names = ("open", "high", "low", "close", "volume")
    bars = daily_bars(("M&M", "SBIN"), days, {key: values[:, i] for i, key in enumerate(names)})
    path = tmp_path_factory.mktemp("round") / name
    write_csv(bars, path)
    again = read_csv(path)
    assert again.sha256 == bars.sha256
    first = path.read_bytes()
    write_csv(again, path)
    assert path.read_bytes() == first
    assert [entry.name for entry in path.parent.iterdir() if entry.is_file()] == [name], "no temporary file is left"


def test_a_file_that_cannot_be_written_is_bad_input_and_leaves_the_old_one(csv_file, monkeypatch):
    path = csv_file(TWO_DAYS)
    bars = read_csv(path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("market.bar_csv.os.fsync", full)
    with pytest.raises(BadInput, match="No space left"):
        write_csv(bars.select(("SBIN",)), path)
    assert path.read_text() == TWO_DAYS


def test_daily_batches_run_from_the_open_to_the_close_of_their_session(csv_file):
    first, second = read_csv(csv_file(TWO_DAYS)).iter_batches(CALENDAR)
    assert (first.session, first.interval, first.symbols) == (date(2024, 9, 27), Interval.DAY, ("AXISBANK", "SBIN"))
    session = CALENDAR.session(date(2024, 9, 30))
    assert (second.start_ns, second.end_ns) == (session.open_ns, session.close_ns)
    assert second.close == (1232.35, 787.9)
    assert type(second.close[0]) is float


def test_a_symbol_with_an_unknown_number_is_left_out_of_its_batch(csv_file):
    text = HEADER + "2024-09-27,SBIN,8,9,7,8,5\n2024-09-30,AXISBANK,1,1,1,1,5\n2024-09-30,SBIN,8,9,7,8,\n"
    batches = list(read_csv(csv_file(text)).iter_batches(CALENDAR))
    assert [batch.symbols for batch in batches] == [("SBIN",), ("AXISBANK",)]
    assert batches[1].volume == (5.0,)


@pytest.mark.parametrize(
    ("day", "why"),
    [("2024-10-02", "Mahatma Gandhi Jayanti"), ("2024-09-29", "weekend"), ("2027-03-01", "covers 2007-01-01 to")],
)
def test_bars_of_a_day_without_a_session_are_refused_before_the_first_batch(csv_file, day, why):
    bars = read_csv(csv_file(TWO_DAYS + f"{day},SBIN,1,1,1,1,1\n"))
    with pytest.raises(BadInput, match=f"bars on {day}, which is not a session: .*{why}"):
        bars.iter_batches(CALENDAR)


def test_intraday_bars_end_an_interval_after_their_start(csv_file):
    bars = read_bars(csv_file(INTRADAY))
    assert isinstance(bars, IntradayBars)
    assert bars.interval is Interval.FIVE_MINUTES
    first, second = bars.iter_batches(CALENDAR)
    assert first.symbols == ("AXISBANK", "SBIN")
    assert second.symbols == ("SBIN",)
    assert first.start_ns == CALENDAR.session(date(2024, 9, 30)).open_ns
    assert first.end_ns == second.start_ns == first.start_ns + 300 * 10**9
    assert first.session == date(2024, 9, 30)


def test_intraday_slices_are_by_ist_date_and_one_symbol_can_be_selected(csv_file):
    bars = read_intraday_csv(csv_file(INTRADAY))
    assert len(bars.slice(date(2024, 9, 30), date(2024, 9, 30)).starts) == 2
    assert len(bars.slice(date(2024, 9, 29), date(2024, 9, 29)).starts) == 0
    assert bars.select(("SBIN",)).volume.tolist() == [[50.0], [60.0]]


def test_other_offsets_are_the_same_moment_and_no_offset_is_refused(csv_file):
    utc = INTRADAY.replace("T09:20:00+05:30", "T03:50:00Z")
    assert read_bars(csv_file(utc)).sha256 == read_bars(csv_file(INTRADAY, "ist.csv")).sha256
    message = refusal(csv_file(INTRADAY.replace("T09:20:00+05:30", "T09:20:00"), "naive.csv"), read_intraday_csv)
    assert "line 2" in message
    assert "offset" in message


def test_bars_of_an_unknown_length_are_refused(csv_file):
    path = csv_file(INTRADAY.replace("09:20", "09:22"))
    assert "7 minutes apart; allowed: 1minute, 5minute" in refusal(path, read_intraday_csv)
    one = "\n".join(INTRADAY.splitlines()[:2]) + "\n"
    assert "allowed" in refusal(csv_file(one, "one.csv"), read_intraday_csv)


def test_daily_files_are_recognised_and_an_intraday_one_read_as_daily_says_what_is_missing(csv_file):
    assert isinstance(read_bars(csv_file(TWO_DAYS)), DailyBars)
    assert "column 'date' is missing" in refusal(csv_file(INTRADAY, "intraday.csv"))


def test_the_store_and_the_calendar_load_neither_pyarrow_nor_pandas():
    code = (
        "import sys, market.calendar, market.store, market.quality;"
        "print(sorted({'pyarrow', 'pandas', 'torch'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_five_banks_read_fast_and_whole(real_data, tmp_path):
    path = tmp_path / "banks.csv"
    shutil.copyfile(real_data / "nse_banks_daily.csv", path)
    bars = read_csv(path)
    assert bars.close.shape == (4397, 5)
    assert not np.isnan(bars.close).any()
    began = time.process_time()
    assert read_csv(path).sha256 == bars.sha256
    assert time.process_time() - began < 0.2
    write_csv(bars, tmp_path / "again.csv")
    assert read_csv(tmp_path / "again.csv").sha256 == bars.sha256


def test_a_year_of_five_minute_bars_becomes_batches_in_time_order(real_data, tmp_path):
    path = tmp_path / "five.csv.gz"
    shutil.copyfile(real_data / "nse_banks_5min_2023-07_2024-06.csv.gz", path)
    bars = read_bars(path)
    ends = [batch.end_ns for batch in bars.iter_batches(CALENDAR)]
    assert len(ends) == len(bars.starts) == 18_354
    assert ends == sorted(ends)
    assert int(np.isfinite(bars.close).sum()) == 91_770


def test_a_bar_s_session_is_its_ist_date(csv_file):
    bars = read_bars(csv_file(INTRADAY))
    assert all(
        datetime.fromtimestamp(batch.start_ns / 1e9, IST).date() == batch.session
        for batch in bars.iter_batches(CALENDAR)
    )
