"""What each watcher says, asked alone; tests/daemon/test_dead_man.py has them in the daemon."""

from datetime import date
from types import SimpleNamespace

import pytest

from daemon.clock import Readings, read_clocks
from daemon.conditions import Conditions
from daemon.messages import BarsRejected, ConditionName
from daemon.settings import HORIZON_DAYS, DeadManSettings
from daemon.watchers import CalendarWatcher, ClockWatcher, DiskWatcher, FeedWatcher, HorizonWatcher
from market.bar import Interval
from market.calendar import Calendar
from tests.daemon.life import CALENDAR, MONDAY, at, bars
from tests.daemon.outside import GIB, MIB

C = ConditionName
RULES = DeadManSettings()
MINUTE_NS = 60 * 10**9


def state(last="09:15"):
    view = SimpleNamespace(last_end_ns=at(MONDAY, last))
    return SimpleNamespace(view=view, conditions=Conditions(), view_session=lambda: date(2024, 6, 7))


def holding(findings):
    return {finding.name for finding in findings if finding.holds}


def feed(known=None, rules=RULES):
    return FeedWatcher(rules, CALENDAR, known or state(), frozenset({True, False}))


@pytest.mark.parametrize(
    ("interval", "seconds"), [(Interval.MINUTE, 240.0), (Interval.FIVE_MINUTES, 960.0), (Interval.DAY, 259_260.0)]
)
def test_the_longest_silence_fits_the_feeds_own_bars(interval, seconds):
    from msgspec.structs import replace

    watcher = feed()
    watcher.on_bars(replace(bars(MONDAY, "09:20"), interval=interval), at(MONDAY, "09:20"))
    assert watcher.limit_seconds == seconds


def test_silence_counts_from_the_open_and_not_from_yesterdays_last_bar():
    watcher = feed(SimpleNamespace(view=SimpleNamespace(last_end_ns=at(date(2024, 6, 7), "15:30"))))
    assert holding(watcher.look(at(MONDAY, "09:31"))) == set()
    assert holding(watcher.look(at(MONDAY, "09:31") + 1_000_000)) == {C.STALE_FEED}


def test_outside_continuous_trading_nothing_is_stale():
    watcher = feed()
    for clock in ("08:00", "09:07", "15:31", "20:00"):
        assert holding(watcher.look(at(MONDAY, clock))) == set()


def test_a_feed_freezes_when_as_many_bars_as_set_say_the_same_and_thaws_with_one_that_differs():
    watcher = feed(state("09:50"), DeadManSettings(frozen_bars=2))
    watcher.on_bars(bars(MONDAY, "09:40"), at(MONDAY, "09:40"))
    assert holding(watcher.look(at(MONDAY, "09:41"))) == set()
    watcher.on_bars(bars(MONDAY, "09:45"), at(MONDAY, "09:45"))
    assert holding(watcher.look(at(MONDAY, "09:46"))) == {C.FROZEN_FEED}
    watcher.on_bars(bars(MONDAY, "09:50", (1000.0, 1000.0, 1000.0, 1000.0, 1000.05)), at(MONDAY, "09:50"))
    assert holding(watcher.look(at(MONDAY, "09:51"))) == set()


def test_a_played_feed_has_half_a_minute_of_the_machines_time():
    assert RULES.at_speed(1.0) == RULES
    fast = RULES.at_speed(240.0)
    assert fast.least_seconds == 7200.0 and fast.first_bar_minutes == 120.0
    assert feed(rules=fast).limit_seconds == 7200.0


def test_a_feed_that_was_lost_in_between_has_the_whole_time_for_its_first_bar():
    connected = [True]
    watcher = CalendarWatcher(RULES, CALENDAR, state(), lambda: connected[0])
    assert watcher.look(at(MONDAY, "09:15")) == []
    connected[0] = False
    assert watcher.look(at(MONDAY, "09:25")) == []
    connected[0] = True
    assert watcher.look(at(MONDAY, "09:26")) == []
    assert watcher.look(at(MONDAY, "09:40")) == []
    (finding,) = watcher.look(at(MONDAY, "09:41"))
    assert finding.holds and "no bar has come in 15 minutes" in finding.detail
    assert watcher.look(at(MONDAY, "09:42")) == [], "said once"


def test_bars_past_the_end_of_the_calendar_are_a_contradiction():
    day = date(CALENDAR.coverage_until.year + 1, 1, 4)
    watcher = CalendarWatcher(RULES, CALENDAR, state(), lambda: True)
    for clock in ("09:20", "09:25", "09:30"):
        watcher.on_bars(bars(day, clock), at(day, clock))
    (finding,) = watcher.look(at(day, "09:30"))
    assert "covers" in finding.detail


def test_a_refused_bar_of_yesterday_says_nothing_of_today():
    watcher = CalendarWatcher(RULES, CALENDAR, state(), lambda: True)
    watcher.on_rejected(BarsRejected(session=date(2024, 6, 7), end_ns=1, symbols=("SBIN",), detail="late"))
    watcher.look(at(MONDAY, "09:15"))
    assert holding(watcher.look(at(MONDAY, "09:30"))) == {C.CALENDAR_CONTRADICTION}


@pytest.mark.parametrize(("left", "holds"), [(HORIZON_DAYS, False), (HORIZON_DAYS - 1, True), (0, True)])
def test_the_calendars_end_is_told_a_month_before(left, holds):
    watcher = HorizonWatcher(RULES, Calendar.load())
    day = date.fromordinal(CALENDAR.coverage_until.toordinal() - left)
    (finding,) = watcher.look(at(day, "12:00"))
    assert finding.holds is holds and str(left) in finding.detail


@pytest.mark.parametrize(
    ("free", "total", "expected"),
    [
        (201 * MIB, 100 * GIB, set()),
        (199 * MIB, 100 * GIB, {C.DISK_NEARLY_FULL}),
        (49 * MIB, 100 * GIB, {C.DISK_NEARLY_FULL, C.DISK_FULL}),
        (21 * MIB, 1000 * MIB, set()),
        (19 * MIB, 1000 * MIB, {C.DISK_NEARLY_FULL}),
        (4 * MIB, 1000 * MIB, {C.DISK_NEARLY_FULL, C.DISK_FULL}),
    ],
)
def test_the_disks_limits_are_bytes_or_a_share_whichever_is_less(free, total, expected):
    assert holding(DiskWatcher(RULES, lambda: (free, total)).look(0)) == expected


def test_a_disk_that_cannot_be_asked_counts_as_full():
    def broken():
        raise OSError(5, "Input/output error")

    assert holding(DiskWatcher(RULES, broken).look(0)) == {C.DISK_NEARLY_FULL, C.DISK_FULL}


def test_a_disk_is_mended_when_a_quarter_more_is_free():
    free = [199 * MIB]
    watcher = DiskWatcher(RULES, lambda: (free[0], 100 * GIB))
    assert holding(watcher.look(0)) == {C.DISK_NEARLY_FULL}
    free[0] = 249 * MIB
    assert holding(watcher.look(0)) == {C.DISK_NEARLY_FULL}
    free[0] = 250 * MIB
    assert holding(watcher.look(0)) == set()


class Clocks:
    def __init__(self):
        self.now = Readings(10**18, 5, 5)
        self.moved = []

    def watcher(self):
        return ClockWatcher(RULES, CALENDAR, lambda: self.now, lambda by, why: self.moved.append(by))

    def step(self, *, wall=0.0, counting=0.0, boot=0.0):
        ns = [int(seconds * 1e9) for seconds in (wall, counting, boot)]
        self.now = Readings(*(value + by for value, by in zip(self.now, ns, strict=True)))


def test_clocks_that_go_on_together_say_nothing():
    clocks = Clocks()
    watcher = clocks.watcher()
    clocks.step(wall=600, counting=600, boot=600)
    assert watcher.look(at(MONDAY, "10:00")) == [] and clocks.moved == []


@pytest.mark.parametrize(("seconds", "holds"), [(1.9, False), (-1.9, False), (2.1, True), (-2.1, True)])
def test_a_step_of_more_than_two_seconds_in_a_session_is_a_jump(seconds, holds):
    clocks = Clocks()
    watcher = clocks.watcher()
    clocks.step(wall=60 + seconds, counting=60, boot=60)
    assert holding(watcher.look(at(MONDAY, "10:00"))) == ({C.CLOCK_JUMP} if holds else set())
    assert watcher.look(at(MONDAY, "10:01")) == [] and clocks.moved == [], "told once, and not followed"


def test_a_suspend_is_no_jump_of_the_wall_clock_and_is_followed_at_any_hour():
    clocks = Clocks()
    watcher = clocks.watcher()
    clocks.step(wall=400, counting=100, boot=400)
    assert holding(watcher.look(at(MONDAY, "10:00"))) == {C.MACHINE_SLEPT}
    assert clocks.moved == [300 * 10**9]


def test_a_suspend_after_which_the_clock_is_set_is_both():
    clocks = Clocks()
    watcher = clocks.watcher()
    clocks.step(wall=410, counting=100, boot=400)
    assert holding(watcher.look(at(MONDAY, "10:00"))) == {C.MACHINE_SLEPT, C.CLOCK_JUMP}
    assert watcher.look(at(MONDAY, "20:00")) == []
    assert clocks.moved == [300 * 10**9, 10 * 10**9], "the jump is followed when the session is over"


def test_the_machines_clocks_can_be_read():
    first, second = read_clocks(), read_clocks()
    assert all(later >= earlier for earlier, later in zip(first, second, strict=True))
    assert second.boot_ns >= second.counting_ns > 0
