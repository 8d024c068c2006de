"""The table of splits and bonus issues: exact factors, strict lines, and what is not handled said plainly."""

from datetime import date
from fractions import Fraction

import pytest

from market.bar import BarBatch, Interval
from market.corporate_actions import ActionKind, ActionTable, CorporateAction, on_new_basis, read_actions
from market.errors import BadInput

HEADER = "ex_date,symbol,action,shares_after_per_share_before\n"
EX = date(2017, 6, 20)


def read(tmp_path, *lines, header=HEADER):
    path = tmp_path / "actions.csv"
    path.write_text(header + "".join(f"{line}\n" for line in lines))
    return read_actions(path)


@pytest.mark.parametrize(
    ("line", "kind", "factor"),
    [
        ("2014-11-20,SBIN,split 10:1 face value,10.0", ActionKind.SPLIT, Fraction(10)),
        ("2017-06-20,ICICIBANK,bonus 1:10,1.1", ActionKind.BONUS, Fraction(11, 10)),
        ("2015-07-08,KOTAKBANK,Bonus 1:1,2", ActionKind.BONUS, Fraction(2)),
        ("2015-07-08,KOTAKBANK,bonus 1:3,4/3", ActionKind.BONUS, Fraction(4, 3)),
        ("2015-07-08,YESBANK,split 1:10,0.1", ActionKind.SPLIT, Fraction(1, 10)),
        ("2015-07-08,YESBANK,split,5", ActionKind.SPLIT, Fraction(5)),
    ],
)
def test_a_factor_is_exact(tmp_path, line, kind, factor):
    (action,) = read(tmp_path, line).actions
    assert (action.kind, action.factor) == (kind, factor)


@pytest.mark.parametrize(
    ("line", "wants"),
    [
        ("2017-6-20,SBIN,split 10:1,10", "ex_date '2017-6-20'"),
        ("2017-02-30,SBIN,split 10:1,10", "YYYY-MM-DD"),
        ("2017-06-20,sbin,split 10:1,10", "symbol 'sbin'"),
        ("2017-06-20,SBIN,rights 1:5,1.2", "'rights 1:5': not handled yet"),
        ("2017-06-20,SBIN,demerger,1", "'demerger': not handled yet"),
        ("2017-06-20,SBIN,dividend 5,1", "'dividend 5': not handled yet"),
        ("2017-06-20,SBIN,split 10:1 and bonus,10", "not handled yet"),
        ("2017-06-20,SBIN,split 10:1,5", "means 10; write that"),
        ("2017-06-20,SBIN,bonus 1:3,1.3333", "means 4/3; write that"),
        ("2017-06-20,SBIN,split,1", "not 1"),
        ("2017-06-20,SBIN,split,0", "allowed: 1/1000 to 1000"),
        ("2017-06-20,SBIN,split,-2", "not an exact number"),
        ("2017-06-20,SBIN,split,1e1", "not an exact number"),
        ("2017-06-20,SBIN,split,nan", "not an exact number"),
        ("2017-06-20,SBIN,split,5000", "allowed: 1/1000 to 1000"),
        ("2017-06-20,SBIN,bonus,0.5", "more than 1"),
    ],
)
def test_a_wrong_line_is_refused_with_file_line_value_and_what_is_allowed(tmp_path, line, wants):
    with pytest.raises(BadInput, match=r"actions\.csv: line 3: ") as refused:
        read(tmp_path, "2010-01-04,SBIN,bonus 1:1,2", line)
    assert wants in str(refused.value)


def test_a_missing_column_and_a_cut_line_are_refused_and_more_columns_are_passed_over(tmp_path):
    with pytest.raises(BadInput, match=r"column 'action' is missing"):
        read(tmp_path, "2017-06-20,SBIN,10", header="ex_date,symbol,shares_after_per_share_before\n")
    with pytest.raises(BadInput, match="line 2"):
        read(tmp_path, "2017-06-20,SBIN")
    header = HEADER.replace("\n", ",note\n")
    assert len(read(tmp_path, "2017-06-20,SBIN,bonus 1:1,2,seen in the circular", header=header).actions) == 1


def test_a_split_and_a_bonus_on_one_day_multiply_and_the_same_thing_twice_is_refused(tmp_path):
    (action,) = read(tmp_path, "2025-06-16,BAJFINANCE,split 2:1,2", "2025-06-16,BAJFINANCE,bonus 4:1,5").actions
    assert action.factor == 10 and action.kind is ActionKind.SPLIT_AND_BONUS
    for second in ("split 2:1,2", "split 10:2,5"):
        with pytest.raises(BadInput, match=r"line 3: BAJFINANCE has a split on 2025-06-16 twice"):
            read(tmp_path, "2025-06-16,BAJFINANCE,split 2:1,2", f"2025-06-16,BAJFINANCE,{second}")


def test_what_is_due_is_a_range_of_days_in_order(tmp_path):
    table = read(
        tmp_path,
        "2014-12-04,ICICIBANK,split 10:2,5",
        "2014-11-20,SBIN,split 10:1,10",
        "2017-06-20,ICICIBANK,bonus 1:10,1.1",
    )
    due = table.due(after=date(2014, 11, 19), until=date(2014, 12, 4), symbols=("SBIN", "ICICIBANK"))
    assert [action.symbol for action in due] == ["SBIN", "ICICIBANK"]
    assert not table.due(after=date(2014, 11, 20), until=date(2014, 12, 3), symbols=("SBIN", "ICICIBANK"))
    assert table.factor("ICICIBANK", after=date(2014, 1, 1), until=date(2020, 1, 1)) == Fraction(55, 10)
    assert ActionTable().factor("SBIN", after=date.min, until=date.max) == 1


def test_only_bars_from_before_the_ex_date_are_put_on_the_new_basis():
    action = CorporateAction(EX, "SBIN", ActionKind.SPLIT, 10, 1)

    def bars(session):
        rows = ((100.0, 50.0), (110.0, 55.0), (90.0, 45.0), (100.0, 50.0), (10.0, 20.0))
        return BarBatch(session, Interval.DAY, 0, 1, ("SBIN", "AXISBANK"), *rows)

    late = on_new_basis(bars(date(2017, 6, 19)), [action])
    assert late.close == (10.0, 50.0) and late.high == (11.0, 55.0) and late.volume == (100.0, 20.0)
    today = bars(EX)
    assert on_new_basis(today, [action]) is today


def test_the_real_table_reads(real_data):
    table = read_actions(real_data / "corporate_actions.csv")
    assert len(table.actions) == 10
    assert table.factor("HDFCBANK", after=date(2010, 1, 1), until=date(2024, 9, 30)) == 10
