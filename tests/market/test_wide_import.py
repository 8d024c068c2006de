"""Wide files are imported without inventing a number."""

import math
from datetime import date

import pytest

from market.calendar import Calendar
from market.errors import BadInput
from market.quality import Code, check
from market.store import read_csv
from market.wide_import import import_wide, is_wide, read_wide

CALENDAR = Calendar.load()
CLOSES = "date,SBIN_close,M&M_close\n2024-09-30,787.9,3000\n2024-09-27,802.65,\n"
FULL = "date,SBIN_open,SBIN_high,SBIN_low,SBIN_close,SBIN_volume\n2024-09-27,800,805,799,802.65,2000\n"


@pytest.fixture
def wide(tmp_path):
    def write(text):
        path = tmp_path / "wide.csv"
        path.write_text(text)
        return path

    return write


def test_wide_and_long_files_are_told_apart(wide):
    assert is_wide(wide(CLOSES))
    assert not is_wide(wide("date,symbol,open,high,low,close,volume\n"))


def test_days_are_sorted_and_an_empty_cell_is_unknown(wide):
    bars = read_wide(wide(CLOSES))
    assert bars.symbols == ("M&M", "SBIN")
    assert bars.days.tolist() == [date(2024, 9, 27), date(2024, 9, 30)]
    assert bars.close[:, 1].tolist() == [802.65, 787.9]
    assert math.isnan(bars.close[0, 0])


def test_closes_alone_stay_closes_alone_in_the_long_file_too(wide, tmp_path):
    bars = import_wide(wide(CLOSES), tmp_path / "long.csv")
    again = read_csv(tmp_path / "long.csv")
    assert again.sha256 == bars.sha256
    assert again.close_only == bars.close_only == ("M&M", "SBIN")
    assert (tmp_path / "long.csv").read_text().splitlines()[1] == "2024-09-27,SBIN,,,,802.65,"
    assert list(again.iter_batches(CALENDAR)) == [], "nothing can be traded on them"
    report = check(again, CALENDAR, min_sessions=1)
    assert not report.ok
    assert {f.code for f in report.findings} == {Code.MISSING_COLUMN}


def test_a_file_with_every_column_is_whole(wide):
    bars = read_wide(wide(FULL))
    assert bars.close_only == ()
    (batch,) = bars.iter_batches(CALENDAR)
    assert (batch.open, batch.high, batch.low, batch.close, batch.volume) == (
        (800,),
        (805,),
        (799,),
        (802.65,),
        (2000,),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("day,SBIN_close\n2024-09-30,1\n", ["column 'date' is missing"]),
        ("date,SBIN_close,SBIN_rsi\n2024-09-30,1,2\n", ["'SBIN_rsi'", "SYMBOL_{open,high,low,close,volume}"]),
        ("date,sbin_close\n2024-09-30,1\n", ["'sbin'", "not an NSE symbol"]),
        ("date,SBIN_close,TCS_open\n2024-09-30,1,2\n", ["'TCS_close' is missing"]),
        ("date,SBIN_close\n2024-09-30,one\n", ["line 2", "SBIN_close 'one' is not a number"]),
        ("date,SBIN_close\n30/09/2024,1\n", ["line 2", "'30/09/2024' is not a date"]),
        ("date,SBIN_close\n2024-09-30,1\n2024-09-30,2\n", ["line 3", "already given on line 2"]),
        ("date,SBIN_close\n2024-09-30\n", ["line 2", "1 fields, must be 2"]),
        ("date,SBIN_close\n2024-09-30,78", ["line 2", "looks cut off"]),
        ("date,SBIN_close\n", ["has no days"]),
    ],
)
def test_a_wrong_wide_file_is_refused_with_its_line_and_value(wide, text, words):
    path = wide(text)
    with pytest.raises(BadInput) as caught:
        read_wide(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)
