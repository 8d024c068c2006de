"""`tarazu simulate` as a person uses it."""

import json

import pytest

from daemon.simulation import run
from daemon.simulation.invariants import Broken
from tarazu.cli import main


def told(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["simulate", *arguments])
    captured = capsys.readouterr()
    return ended.value.code or 0, captured.out, captured.err


def test_a_sweep_says_what_was_played_and_that_everything_held(capsys):
    code, out, _ = told(capsys, "--seeds", "0..3", "--days", "5", "--coverage")
    assert code == 0 and "4 seeds, 20 days, faults full" in out and "every invariant held" in out
    assert "lost_request" in out


def test_json_has_the_documented_keys(capsys):
    code, out, _ = told(capsys, "--seeds", "0..1", "--days", "5", "--json")
    answer = json.loads(out)
    assert code == 0 and answer["seeds"] == 2 and answer["days"] == 10 and answer["violations"] == []
    assert answer.keys() == {
        "seeds", "days", "profile", "crashes", "starts", "faults_injected", "orders", "fills", "messages_checked",
        "violations", "cpu_seconds", "days_per_cpu_second",
    }  # fmt: skip
    assert sum(answer["faults_injected"].values()) > 0


def test_a_seed_tells_its_story_the_same_each_time(capsys):
    first, again = (told(capsys, "--seeds", "3", "--days", "4", "--story") for _ in range(2))
    assert first == again and "the daemon starts" in first[1] and "journal " in first[1]


def test_a_broken_seed_is_told_with_its_story_and_how_to_repeat_it(capsys, monkeypatch):
    real = run.World.run

    def broken(world):
        world.invariants.found.append(Broken(0, 1, "then", "an invariant", "did not hold"))
        real(world)

    monkeypatch.setattr(run.World, "run", broken)
    code, out, _ = told(capsys, "--seeds", "6", "--days", "4")
    assert code == 1 and "an invariant: did not hold" in out
    assert "again: tarazu simulate --seeds 6 --days 4 --faults full" in out and "no fault at all" in out
    code, out, _ = told(capsys, "--seeds", "6", "--days", "4", "--json")
    (violation,) = json.loads(out)["violations"]
    assert code == 1 and violation.keys() == {"seed", "day", "step", "at", "invariant", "detail"}


@pytest.mark.parametrize(
    ("arguments", "wants"),
    [
        (("--seeds", "5..3"), "must not be below"),
        (("--seeds", "-1"), "allowed: A..B"),
        (("--seeds", "a..b"), "allowed: A..B"),
        (("--faults", "all"), "allowed: none, light, full, harsh"),
        (("--seeds", "0..9", "--story"), "allowed: a single number"),
        (("--days", "2"), "days"),
    ],
)
def test_bad_arguments_get_one_clear_line(capsys, arguments, wants):
    code, _, err = told(capsys, *arguments)
    assert code == 2 and wants in err
