"""What a person sees while a model trains."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from training.progress import TrainingProgress

RECORD = {"episode_reward": 1.5, "validation_return": 0.123}


def shown(mode, *, terminal, total=100, done=0):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120)
    with TrainingProgress(mode, total=total, done=done, console=console) as progress:
        for step in range(done + 10, done + total + 1, 10):
            if step == done + 50:
                progress.report(RECORD)
            progress.advance(step)
    return text.getvalue()


def test_without_a_terminal_there_are_plain_lines_with_the_return():
    text = shown("auto", terminal=False)
    lines = text.splitlines()
    assert "\x1b" not in text and lines[-1].startswith("100 of 100 timesteps")
    assert "validation return +12.30%, episode reward 1.50" in lines[-1]
    assert "validation" not in lines[0]


def test_a_terminal_gets_a_bar():
    text = shown("auto", terminal=True)
    assert "\x1b" in text and "training" in text and "100/100" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_shown_when_nothing_is_wanted(terminal):
    assert shown("none", terminal=terminal) == ""


def test_a_resumed_run_counts_what_was_done():
    assert shown("plain", terminal=False, done=200).splitlines()[0].startswith("210 of 300")
