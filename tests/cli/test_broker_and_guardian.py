"""Slips on the command line of what runs beside the daemon: one line, exit code 2, nothing started."""

import pytest

from tests.command_line import said

FEED = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["guardian", "--broker", "http://10.0.0.1:8720"], "must be like http://127.0.0.1:8720 or unix:"),
        (["guardian", "--broker", "unix:"], "1 to 100 bytes"),
        (["paper", "--strategy", "equal_weight", "--broker", "127.0.0.1:8720"], "must be like http://127.0.0.1:8720"),
        (["broker", "--feed", "127.0.0.1:8710"], "must be the address of a feed server"),
        (["broker", "--lose-answers", "1.5"], "lose-answers"),
        (["guardian", "--limit", "0.5"], "limit"),
    ],
)
def test_a_slip_is_one_plain_refusal(capsys, root, arguments, what):
    code, text = said(capsys, *arguments, "--root", root)
    assert code == 2 and what in text
    assert not (root / "state" / "heartbeat").exists()


def test_a_feed_that_is_away_is_a_failed_dependency(capsys, root):
    code, text = said(capsys, "broker", "--feed", FEED, "--root", root)
    assert code == 3 and "nobody answers there" in text


def test_a_root_that_is_not_there_is_no_place_to_guard(capsys, tmp_path):
    code, text = said(capsys, "guardian", "--root", tmp_path / "slip")
    assert code == 2 and "there is no such directory" in text and not (tmp_path / "slip").exists()
