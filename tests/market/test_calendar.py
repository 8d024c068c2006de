"""The calendar says which days trade and what may be done when, and never guesses."""

import csv
import time
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.calendar import NSE_TABLE, Calendar, Phase, SessionKind
from market.errors import BadInput
from market.sessions import IST, Timeline, midnight_ns, session_date

CALENDAR = Calendar.load()


def at(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=IST)
    return int(moment.timestamp()) * 10**9


def phase(text: str, *, derivatives: bool = True) -> Phase:
    return CALENDAR.phase(at(text), derivatives=derivatives)


def test_every_day_of_the_real_data_is_a_session_and_no_other_day_is(real_data):
    with (real_data / "nse_banks_daily.csv").open() as stream:
        traded = sorted({row["date"] for row in csv.DictReader(stream)})
    assert len(traded) == 4397
    assert [str(s.day) for s in CALENDAR.sessions(date(2007, 1, 1), date(2024, 9, 30))] == traded


def test_every_row_of_the_holiday_list_is_in_the_calendar(real_data):
    with (real_data / "nse_holidays.csv").open() as stream:
        for row in csv.DictReader(stream):
            session = CALENDAR.session(date.fromisoformat(row["date"]))
            kind = {"closed": None, "muhurat_session": "muhurat", "special_session": "special"}[row["kind"]]
            assert (session.kind if session else None) == kind, row


@pytest.mark.parametrize(
    ("day", "why"),
    [
        (date(2024, 1, 22), "Ram Mandir Inauguration Day"),
        (date(2026, 1, 15), "Municipal elections in Maharashtra"),
        (date(2026, 11, 24), "exchange holiday"),
        (date(2026, 12, 25), "Christmas"),
        (date(2013, 11, 15), "exchange holiday"),
        (date(2024, 3, 9), "weekend"),
    ],
)
def test_closed_days_say_why(day, why):
    assert CALENDAR.session(day) is None
    assert not CALENDAR.is_session(day)
    assert CALENDAR.closed_because(day) == why


@pytest.mark.parametrize(
    ("day", "kind", "opens", "closes", "short"),
    [
        (date(2024, 9, 30), SessionKind.REGULAR, "09:15", "15:30", False),
        (date(2026, 11, 23), SessionKind.REGULAR, "09:15", "15:30", False),
        (date(2013, 11, 14), SessionKind.REGULAR, "09:15", "15:30", False),
        (date(2026, 2, 1), SessionKind.SPECIAL, "09:15", "15:30", False),
        (date(2024, 1, 20), SessionKind.SPECIAL, "09:15", "15:30", False),
        (date(2024, 3, 2), SessionKind.SPECIAL, "09:15", "12:30", True),
        (date(2023, 11, 12), SessionKind.MUHURAT, "18:15", "19:15", True),
        (date(2024, 11, 1), SessionKind.MUHURAT, "18:00", "19:00", True),
        (date(2025, 10, 21), SessionKind.MUHURAT, "13:45", "14:45", True),
    ],
)
def test_sessions_have_their_kind_and_hours(day, kind, opens, closes, short):
    session = CALENDAR.session(day)
    assert session is not None
    assert (session.day, session.kind, session.short, session.hours_known) == (day, kind, short, True)
    assert (session.open_ns, session.close_ns) == (at(f"{day}T{opens}"), at(f"{day}T{closes}"))


def test_a_day_with_two_short_sessions_is_closed_between_them():
    phases = [
        phase(f"2024-03-02T{t}") for t in ("09:14", "09:15", "09:59", "10:00", "11:29", "11:30", "12:29", "12:30")
    ]
    closed, trading = Phase.CLOSED, Phase.CONTINUOUS
    assert phases == [closed, trading, trading, closed, closed, trading, trading, closed]


def test_nothing_is_open_on_a_session_whose_hours_are_not_known():
    session = CALENDAR.session(date(2026, 11, 8))
    assert session is not None
    assert session.kind is SessionKind.MUHURAT
    assert not session.hours_known
    assert session.open_ns < session.close_ns
    for minute in range(24 * 60):
        assert CALENDAR.phase(midnight_ns(session.day) + minute * 60 * 10**9, derivatives=True) is Phase.CLOSED


@pytest.mark.parametrize(
    ("clock", "derivatives", "others"),
    [
        ("08:59:59", Phase.CLOSED, Phase.CLOSED),
        ("09:00:00", Phase.PRE_OPEN, Phase.PRE_OPEN),
        ("09:04:59", Phase.PRE_OPEN, Phase.PRE_OPEN),
        ("09:05:00", Phase.PRE_OPEN_LIMIT_ONLY, Phase.PRE_OPEN_LIMIT_ONLY),
        ("09:10:00", Phase.PRE_OPEN_MATCHING, Phase.PRE_OPEN_MATCHING),
        ("09:15:00", Phase.CONTINUOUS, Phase.CONTINUOUS),
        ("15:14:59", Phase.CONTINUOUS, Phase.CONTINUOUS),
        ("15:15:00", Phase.CLOSING_REFERENCE, Phase.CONTINUOUS),
        ("15:20:00", Phase.CLOSING_AUCTION, Phase.CONTINUOUS),
        ("15:25:00", Phase.CLOSING_AUCTION_LIMIT_ONLY, Phase.CONTINUOUS),
        ("15:30:00", Phase.CLOSING_MATCHING, Phase.CLOSED),
        ("15:35:00", Phase.CLOSED, Phase.CLOSED),
        ("15:50:00", Phase.POST_CLOSE, Phase.POST_CLOSE),
        ("16:00:00", Phase.CLOSED, Phase.CLOSED),
    ],
)
def test_the_day_as_it_is_since_september_2026(clock, derivatives, others):
    assert phase(f"2026-11-23T{clock}") is derivatives
    assert phase(f"2026-11-23T{clock}", derivatives=False) is others


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-07-31T15:20", Phase.CONTINUOUS),
        ("2026-07-31T15:45", Phase.POST_CLOSE),
        ("2026-08-03T15:20", Phase.CLOSING_AUCTION),
        ("2026-08-03T15:45", Phase.CLOSED),
        ("2026-09-04T09:07", Phase.PRE_OPEN),
        ("2026-09-07T09:07", Phase.PRE_OPEN_LIMIT_ONLY),
        ("2010-10-15T09:05", Phase.CLOSED),
        ("2010-10-18T09:05", Phase.PRE_OPEN),
    ],
)
def test_a_rule_holds_from_its_first_day(moment, expected):
    assert phase(moment) is expected


def test_continuous_trading_ends_earlier_for_securities_with_a_closing_auction():
    before, after = CALENDAR.session(date(2026, 7, 31)), CALENDAR.session(date(2026, 8, 3))
    assert before is not None
    assert after is not None
    assert CALENDAR.continuous_close_ns(before, derivatives=True) == before.close_ns == at("2026-07-31T15:30")
    assert CALENDAR.continuous_close_ns(after, derivatives=True) == at("2026-08-03T15:15")
    assert CALENDAR.continuous_close_ns(after, derivatives=False) == after.close_ns == at("2026-08-03T15:30")


def test_muhurat_closes_at_its_own_hour_in_both_classes():
    session = CALENDAR.session(date(2025, 10, 21))
    assert session is not None
    for derivatives in (True, False):
        assert CALENDAR.continuous_close_ns(session, derivatives=derivatives) == at("2025-10-21T14:45")


def test_past_the_coverage_everything_is_closed_and_says_so():
    day = date(2027, 1, 4)
    assert CALENDAR.coverage_until == date(2026, 12, 31)
    assert not CALENDAR.covers(day)
    assert CALENDAR.session(day) is None
    assert phase("2027-01-04T11:00") is Phase.CLOSED
    assert "covers 2007-01-01 to 2026-12-31 only" in CALENDAR.closed_because(day)
    assert CALENDAR.next_session(date(2026, 12, 31)) is None
    assert CALENDAR.next_session(date(2026, 12, 30)).day == date(2026, 12, 31)
    assert CALENDAR.previous_session(date(2027, 1, 1)).day == date(2026, 12, 31)
    assert CALENDAR.previous_session(date(2027, 1, 2)) is None, "2027-01-01 might have been one"
    assert phase("2006-12-29T11:00") is Phase.CLOSED
    assert CALENDAR.previous_session(date(2007, 1, 2)) is None
    assert CALENDAR.next_session(date(2006, 6, 1)) is None, "later days of 2006 might have been one"


@pytest.mark.parametrize(("day", "left"), [(date(2026, 11, 23), 38), (date(2026, 12, 31), 0), (date(2027, 5, 1), 0)])
def test_the_days_of_coverage_left_end_at_zero(day, left):
    assert CALENDAR.days_of_coverage_left(day) == left


def test_neighbours_skip_weekends_and_holidays():
    assert CALENDAR.next_session(date(2026, 11, 23)).day == date(2026, 11, 25)
    assert CALENDAR.previous_session(date(2026, 11, 25)).day == date(2026, 11, 23)
    assert CALENDAR.next_session(date(2024, 1, 19)).day == date(2024, 1, 20)
    assert CALENDAR.next_session(date(2024, 1, 20)).day == date(2024, 1, 23)


@given(st.dates(date(2007, 1, 1), date(2026, 12, 31)), st.dates(date(2007, 1, 1), date(2026, 12, 31)))
def test_neighbours_and_ranges_agree_with_the_single_days(first, second):
    start, end = sorted((first, second))
    end = min(end, start + timedelta(days=60))
    expected = [start + timedelta(days=i) for i in range((end - start).days + 1)]
    expected = [day for day in expected if CALENDAR.is_session(day)]
    assert [session.day for session in CALENDAR.sessions(start, end)] == expected
    following = CALENDAR.next_session(start)
    if following is not None:
        assert following.day > start
        assert CALENDAR.previous_session(following.day) == (CALENDAR.session(start) or CALENDAR.previous_session(start))


@given(st.datetimes(datetime(2006, 1, 1), datetime(2028, 1, 1)), st.booleans())
def test_nothing_trades_continuously_outside_a_session(moment, derivatives):
    at_ns = int(moment.replace(tzinfo=IST).timestamp() * 10**6) * 1000
    if CALENDAR.phase(at_ns, derivatives=derivatives) is Phase.CONTINUOUS:
        session = CALENDAR.session(session_date(at_ns))
        assert session is not None
        assert session.open_ns <= at_ns < CALENDAR.continuous_close_ns(session, derivatives=derivatives)


def test_a_session_s_dates_are_those_of_ist_not_of_utc():
    assert session_date(at("2026-11-23T00:00")) == date(2026, 11, 23)
    assert session_date(at("2026-11-22T23:59")) == date(2026, 11, 22)


def test_a_calendar_loads_in_less_than_60_milliseconds_and_looks_up_in_microseconds():
    def least(work):
        """The least CPU seconds of five: a collection or a neighbour may fall into any one of them."""
        spent = []
        for _ in range(5):
            began = time.process_time()
            work()
            spent.append(time.process_time() - began)
        return min(spent)

    assert least(lambda: Calendar.load(NSE_TABLE)) < 0.06
    moment = at("2024-03-04T11:00")
    assert least(lambda: [CALENDAR.phase(moment, derivatives=True) for _ in range(10_000)]) < 0.1


def test_spans_that_overlap_are_no_timeline():
    with pytest.raises(ValueError, match="overlaps"):
        Timeline.of([(0, 10, Phase.PRE_OPEN), (5, 20, Phase.CONTINUOUS)])


def overrides(tmp_path, text):
    path = tmp_path / "calendar_overrides.yaml"
    path.write_text("version: 1\n" + text)
    return path


def test_an_override_closes_a_day_opens_one_and_gives_hours(tmp_path):
    path = overrides(
        tmp_path,
        """
closed:
  2026-12-10: {name: Election, reason: NSE/CMTR/1}
sessions:
  2026-12-25: {kind: regular, reason: NSE/CMTR/2}
  2026-11-08: {kind: muhurat, hours: 18:00-19:00, name: Diwali, reason: NSE/CMTR/3}
""",
    )
    calendar = Calendar.load(overrides=path)
    assert calendar.closed_because(date(2026, 12, 10)) == "Election"
    assert calendar.session(date(2026, 12, 25)).kind is SessionKind.REGULAR
    assert calendar.phase(at("2026-12-25T10:00"), derivatives=True) is Phase.CONTINUOUS
    assert calendar.phase(at("2026-11-08T18:30"), derivatives=True) is Phase.CONTINUOUS
    assert CALENDAR.is_session(date(2026, 12, 10)), "the shipped table itself is not changed"


def test_an_override_can_extend_the_coverage(tmp_path):
    path = overrides(
        tmp_path,
        "coverage: {until: 2027-01-31, reason: list for 2027}\nclosed:\n  2027-01-26: {reason: Republic Day}\n",
    )
    calendar = Calendar.load(overrides=path)
    assert calendar.next_session(date(2026, 12, 31)).day == date(2027, 1, 1)
    assert calendar.next_session(date(2027, 1, 25)).day == date(2027, 1, 27)
    assert calendar.phase(at("2027-01-04T15:20"), derivatives=True) is Phase.CLOSING_AUCTION


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("closed:\n  2026-12-10: {name: Election}\n", ["closed.2026-12-10", "reason is missing"]),
        ("closed:\n  2026-12-10: Election\n", ["closed.2026-12-10", "must be a mapping"]),
        ("closed:\n  2027-12-10: {reason: x}\n", ["2027-12-10", "outside the coverage"]),
        ("closed:\n  tomorrow: {reason: x}\n", ["'tomorrow'", "must be a date"]),
        ("sessions:\n  2026-12-10: {kind: festive, reason: x}\n", ["'festive'", "regular, special, muhurat"]),
        ("sessions:\n  2026-12-10: {kind: muhurat, hours: 6pm, reason: x}\n", ["'6pm'", "HH:MM-HH:MM"]),
        ("sessions:\n  2026-12-10: {kind: muhurat, hours: 19:00-18:00, reason: x}\n", ["must run forwards"]),
        ("closed:\n  2026-12-10: {reason: x}\n  2026-12-10: {reason: y}\n", ["line 4", "given twice"]),
        ("holidays:\n  2026-12-10: {reason: x}\n", ["'holidays'", "allowed: version, coverage, sessions, closed"]),
        ("coverage: {until: 2030-12-31}\n", ["coverage", "reason is missing"]),
        ("closed: [\n", ["not YAML"]),
        (
            "closed:\n  2026-12-10: {reason: x}\nsessions:\n  2026-12-10: {kind: regular, reason: x}\n",
            ["2026-12-10", "one of them"],
        ),
    ],
)
def test_a_wrong_override_is_refused_with_file_key_and_what_is_allowed(tmp_path, text, words):
    path = overrides(tmp_path, text)
    with pytest.raises(BadInput) as caught:
        Calendar.load(overrides=path)
    message = str(caught.value)
    assert "\n" not in message
    for word in [str(path), *words]:
        assert word in message


def test_a_missing_file_and_a_wrong_version_are_refused(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        Calendar.load(tmp_path / "none.yaml")
    path = tmp_path / "old.yaml"
    path.write_text("version: 9\n")
    with pytest.raises(BadInput, match="version 9: must be 1"):
        Calendar.load(path)
