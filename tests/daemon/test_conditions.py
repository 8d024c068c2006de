"""The table of the dead-man rules: what it says is what the daemon does, what status shows, and what the page says."""

import re
from pathlib import Path

import pytest

from daemon.bus import Envelope
from daemon.conditions import RULES, Conditions, Ends, Forbids, Word, strictest
from daemon.effects import ReadAccount
from daemon.messages import ConditionChanged, ConditionName, Lane
from risk.approval import Side
from tests.daemon.life import MONDAY, ask, at, bought, of

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "status.md").read_text()
BOTH = frozenset({Side.BUY, Side.SELL})
HELD_BACK = {Forbids.NOTHING: frozenset(), Forbids.PURCHASES: frozenset({Side.BUY}), Forbids.ORDERS: BOTH}


def changed(name, holds=True):
    return ConditionChanged(name=name, holds=holds, detail="seen by a test")


def say(running, message, until="09:50"):
    running.core.bus.post(Lane.CONTROL, message)
    return running.to(MONDAY, until)


def without_reads(running):
    """Keep a clean comparison of the books from ending anything."""
    running.core.edges._run[ReadAccount] = lambda _: None
    return running


def began(running):
    return [alert for alert in running.told if alert.event == "condition.began"]


def test_every_condition_has_its_rule():
    assert set(RULES) == set(ConditionName)


def test_the_page_has_every_word_with_its_meaning():
    assert [word for word in Word if f"| `{word}` |" not in PAGE] == []


@pytest.mark.parametrize("name", ConditionName)
def test_the_page_says_of_each_condition_what_the_table_says(name):
    rule = RULES[name]
    row = re.search(rf"^\| `{name}` \| (.*) \|$", PAGE, re.M)
    assert row, f"docs/status.md has no row of {name}"
    word = f"`{rule.word}`" if rule.word else "as it was"
    assert row.group(1).split(" | ") == [rule.meaning, word, rule.forbids, f"{rule.ends}: {rule.ending}"]


def test_the_strictest_word_is_told():
    assert strictest([Word.TRADING, Word.REDUCING, Word.LOGIN_NEEDED, Word.STARTING]) is Word.LOGIN_NEEDED
    assert strictest(reversed(Word)) is Word.FAILED


@pytest.mark.parametrize("name", ConditionName)
def test_a_condition_is_on_record_in_status_told_once_and_holds_back_what_the_table_says(life, name):
    running, rule = without_reads(bought(life)), RULES[name]
    say(running, changed(name))
    say(running, changed(name), "09:51")  # said again
    conditions = running.core.state.conditions
    assert {side for side in BOTH if conditions.against(side)} == HELD_BACK[rule.forbids]
    assert running.core.condition() == (rule.word or "TRADING")
    (row,) = running.core.status()["conditions"]
    assert row["name"] == name and row["detail"] == "seen by a test" and row["since"].startswith("2024-06-10T09:40")
    assert (row["forbids"], row["ends"], row["state"]) == (rule.forbids, rule.ends, rule.word)
    (alert,) = began(running)
    assert alert.severity == rule.severity and name in alert.detail and rule.meaning in alert.detail
    assert len(of(running.kill(), ConditionChanged)) == 2


@pytest.mark.parametrize("name", ConditionName)
def test_after_a_restart_only_what_needs_a_person_or_another_day_is_still_there(life, name):
    say(without_reads(bought(life)), changed(name)).kill()
    again = life(at(MONDAY, "09:55")).to(MONDAY, "09:56")
    assert (name in again.core.state.conditions.held) == (RULES[name].ends is not Ends.ITSELF)
    assert not began(again), "what was told is not told again"
    again.kill()


@pytest.mark.parametrize("name", ConditionName)
def test_a_persons_resume_ends_what_waits_for_one_and_nothing_else(life, name):
    running = say(without_reads(bought(life)), changed(name))
    _, shown = ask(running, "resume/prepare", uid=7)
    assert [row["name"] for row in shown["summary"]["conditions"]] == [name]
    assert ask(running, "resume/confirm", uid=7, nonce=shown["nonce"], reason="looked at it")[0] == 200
    assert (name in running.core.state.conditions.held) == (RULES[name].ends is Ends.ITSELF)
    running.kill()


def test_a_condition_that_begins_between_the_two_steps_of_a_resume_makes_the_summary_void(life):
    running = bought(life)
    say(running, changed(ConditionName.CLOCK_JUMP))
    _, shown = ask(running, "resume/prepare", uid=7)
    say(running, changed(ConditionName.DISK_FULL), "09:51")
    assert ask(running, "resume/confirm", uid=7, nonce=shown["nonce"], reason="go on")[0] == 409
    assert ConditionName.CLOCK_JUMP in running.core.state.conditions.held
    running.kill()


def test_an_end_without_a_beginning_and_a_second_beginning_change_nothing():
    conditions = Conditions()
    conditions.on_changed(changed(ConditionName.STALE_FEED, holds=False), Envelope(1, 0, 5))
    assert conditions.changed_by == 0
    conditions.on_changed(changed(ConditionName.STALE_FEED), Envelope(2, 0, 6))
    conditions.on_changed(changed(ConditionName.STALE_FEED), Envelope(3, 0, 7))
    assert conditions.changed_by == 2 and conditions.held[ConditionName.STALE_FEED].since_ns == 6
    conditions.on_changed(changed(ConditionName.STALE_FEED, holds=False), Envelope(4, 0, 8))
    assert conditions.changed_by == 4 and not conditions.held
