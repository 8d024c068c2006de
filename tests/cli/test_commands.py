"""The commands as a new user meets them: each explains itself, and each mistake is one line with the right exit code."""

import json
import os
import shutil
import socket
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from tests.command_line import REPO, daily, said, small_model

COMMANDS = (
    "demo", "data import", "data check", "data update", "train", "validate", "models list", "models show",
    "models activate", "replay", "stress", "paper", "feed", "live", "status", "stop", "drill stop", "approve", "resume", "reload",
    "report", "cash deposit", "cash withdraw", "doctor",
)  # fmt: skip
LAUNCHERS = {
    "scripts/update_market_data.py": "data update",
    "train_production_model.py": "train",
    "paper_trading.py": "paper",
    "live_trading.py": "live",
}


def replay(capsys, root, *more, first="2024-03-01", last="2024-03-28"):
    data = root / "data" / "latest_market_data.csv"
    if not data.exists():
        daily(data)
    options = () if "--strategy" in more or "--model" in more else ("--strategy", "equal_weight")
    return said(capsys, "replay", "--root", root, "--data", data, "--from", first, "--to", last, *options, *more)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(capsys, command):
    code, out = said(capsys, *command.split(), "--help")
    assert code == 0
    assert f"Example: tarazu {command}" in out or f"&& tarazu {command}" in out
    assert f"Usage: tarazu {command}" in out


@pytest.mark.parametrize(("script", "command"), LAUNCHERS.items())
def test_the_four_scripts_are_their_commands(script, command):
    done = subprocess.run([sys.executable, REPO / script, "--help"], capture_output=True, text=True, check=True)
    assert f"Usage: tarazu {command}" in done.stdout


def test_stop_imports_nothing_of_the_daemon_but_its_sockets(root):
    code = (
        "import sys\nfrom tarazu.cli import main\n"
        "try: main(['stop', '--root', sys.argv[1]])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "rooms = {'market', 'strategies', 'risk', 'brokers', 'training', 'daemon'}\n"
        "heavy = {'numpy', 'aiohttp', 'msgspec', 'yaml', 'structlog', 'torch', 'pandas', 'asyncio'}\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in rooms | heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(
        ["daemon", "daemon.latch", "daemon.unix_socket", "market", "market.errors"]
    )


@pytest.mark.parametrize(
    ("more", "wants"),
    [
        (("--symbols", ","), "names no symbol"),
        (("--symbols", "SBIN,sbin"), "SBIN is there twice"),
        (("--symbols", "SBIN,FOO"), "FOO"),
        (("--strategy", "magic"), "equal_weight, buy_and_hold, inverse_volatility"),
        (("--cash", "nan"), "--cash nan"),
        (("--cash", "inf"), "--cash inf"),
        (("--cash", "0.001"), "1000 to"),
        (("--journal", "/no/such/directory/j.sqlite"), "no directory"),
        (("--model", "none"), "none"),
    ],
)
def test_a_slip_in_a_replay_is_named(root, capsys, more, wants):
    code, out = replay(capsys, root, *more)
    assert code == 2 and wants in out


@pytest.mark.parametrize(
    ("first", "last", "wants"),
    [
        ("2024-03-28", "2024-03-01", "is after"),
        ("2024-02-30", "2024-03-01", "2024-02-30"),
        ("2025-01-01", "2025-02-01", "no complete bars"),
        ("1999-01-01", "1999-02-01", "no complete bars"),
    ],
)
def test_a_replay_over_no_bars_is_refused_and_not_a_result_of_zero(root, capsys, first, last, wants):
    code, out = replay(capsys, root, first=first, last=last)
    assert code == 2 and wants in out


def test_a_replay_before_the_charges_begin_is_refused_before_it_starts(root, capsys):
    daily(root / "data" / "latest_market_data.csv", first=date(2014, 10, 1), last=date(2015, 2, 27))
    code, out = replay(capsys, root, first="2014-12-01", last="2015-01-30")
    assert code == 2 and "charges: no rates for 2014-12-01" in out and "2015-01-01" in out
    assert replay(capsys, root, first="2015-01-01", last="2015-01-30")[0] == 0


def test_closes_alone_do_not_pass_for_bars_to_trade_on(root, capsys):
    wide = root.parent / "wide.csv"
    wide.write_text("date,SBIN_close,AXISBANK_close\n2024-03-01,100,200\n2024-03-04,101,201\n")
    code, out = said(capsys, "data", "import", wide, "--root", root)
    assert code == 2 and "--force takes it all the same" in out
    assert said(capsys, "data", "import", wide, "--root", root, "--force")[0] == 0
    code, out = replay(capsys, root, "--symbols", "SBIN,AXISBANK")
    assert code == 2 and "no complete bars" in out


def test_replacing_bars_does_not_switch_the_check_off(root, capsys):
    good, bad = daily(root.parent / "good.csv"), root.parent / "bad.csv"
    bad.write_text(good.read_text().replace("\n2024-06-28,SBIN,", "\n2024-06-29,SBIN,"))
    target = root / "data" / "latest_market_data.csv"
    assert said(capsys, "data", "import", good, "--root", root)[0] == 0
    before = target.read_bytes()
    code, out = said(capsys, "data", "import", good, "--root", root)
    assert code == 2 and "--replace" in out
    code, out = said(capsys, "data", "import", bad, "--root", root, "--replace")
    assert code == 2 and "bar_on_closed_day" in out and target.read_bytes() == before
    assert said(capsys, "data", "import", good, "--root", root, "--replace")[0] == 0


def test_data_update_says_what_is_missing_and_how_to_bring_it(root, capsys):
    daily(root / "data" / "latest_market_data.csv")
    code, out = said(capsys, "data", "update", "--root", root)
    assert code == 1 and "2024-07-01 to" in out and "--replace" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("data", "import", "bars.csv"),
        ("data", "update"),
        ("models", "list"),
        ("train",),
        ("status",),
        ("stop",),
        ("drill", "stop", "--reason", "x"),
        ("approve", "--reason", "x"),
        ("resume", "--reason", "x"),
        ("reload",),
        ("report",),
        ("paper",),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_slip_in_root_is_named_and_nothing_is_made(tmp_path, capsys, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    daily(tmp_path / "bars.csv")
    code, out = said(capsys, *arguments, "--root", "producton")
    assert code == 2 and "--root producton" in out
    assert not (tmp_path / "producton").exists()


@pytest.mark.parametrize(
    "command", ["status", "reload", "approve --reason x", "resume --reason x", "drill stop --reason x"]
)
def test_without_a_daemon_it_is_a_dependency_that_fails(root, capsys, command):
    code, out = said(capsys, *command.split(), "--root", root)
    assert code == 3 and "no daemon answers there (is it running?)" in out


def test_a_stop_that_stopped_nothing_says_so(root, capsys):
    (root / "state").write_text("a file where the directory should be")
    code, out = said(capsys, "stop", "--root", root)
    assert code == 3 and "NOTHING was stopped" in out


def test_each_mode_of_a_stop_is_in_the_latch_and_the_last_word_decides_on_selling(root, capsys):
    latch = root / "state" / "latch" / "stop.latch"
    for option, mode in (((), "halt"), (("--cancel",), "cancel"), (("--flatten",), "flatten")):
        code, out = said(capsys, "stop", "--root", root, *option, "--reason", "odd prices")
        assert code == 0 and json.loads(latch.read_text())["mode"] == mode and "is over" not in out
    code, out = said(capsys, "stop", "--root", root)
    assert code == 0 and json.loads(latch.read_text())["mode"] == "cancel" and "the selling of the flatten" in out


def test_a_drill_needs_a_reason(root, capsys):
    code, out = said(capsys, "drill", "stop", "--root", root)
    assert code == 2 and "--reason" in out


@pytest.mark.parametrize(
    ("feed", "code", "wants"),
    [("foo", 2, "http://"), ("ftp://x", 2, "http://"), ("http://127.0.0.1:1", 3, "feed http")],
)
def test_paper_needs_a_feed(root, capsys, feed, code, wants):
    answer, out = said(capsys, "paper", "--root", root, "--feed", feed)
    assert answer == code and wants in out


def test_a_feed_says_that_its_port_is_taken(tmp_path, capsys):
    bars = tmp_path / "five.csv"
    bars.write_text(
        "ts,symbol,open,high,low,close,volume\n"
        "2024-06-05T09:15:00+05:30,SBIN,100,101,99,100,10\n2024-06-05T09:20:00+05:30,SBIN,100,101,99,100,10\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out = said(
            capsys, "feed", "--data", bars, "--from", "2024-06-05", "--to", "2024-06-05", "--port", port
        )  # fmt: skip
    assert code == 2 and f"--port {port}" in out
    code, out = said(capsys, "feed", "--data", daily(bars), "--from", "2024-06-05", "--to", "2024-06-05")
    assert code == 2 and "daily bars" in out


def test_report_takes_a_journal_and_nothing_else(root, capsys):
    journal = root.parent / "j.sqlite"
    assert replay(capsys, root, "--journal", journal)[0] == 0
    page = root.parent / "report.html"
    code, out = said(capsys, "report", "--root", root, "--journal", journal, "--html", page)
    assert code == 0 and page.read_text().startswith("<!doctype html>")
    # The run and the baseline of its name are two columns, and two curves.
    assert "equal_weight (baseline)" in out and page.read_text().count("<polyline") == 3
    code, out = said(capsys, "report", "--root", root, "--journal", journal, "--html", root / "none" / "r.html")
    assert code == 2 and "no directory" in out
    code, out = said(capsys, "report", "--root", root, "--journal", root / "data" / "latest_market_data.csv")
    assert code == 2 and "latest_market_data.csv" in out
    assert said(capsys, "report", "--root", root)[0] == 1


def doctor(capsys, root):
    """Return exit code and the checks by name."""
    code, out = said(capsys, "doctor", "--root", root, "--json")
    return code, {check["name"]: check for check in json.loads(out)}


def test_doctor_answers_on_a_deployment_that_is_not_there(tmp_path, capsys):
    code, checks = doctor(capsys, tmp_path / "none")
    assert code == 1 and not checks["disk"]["ok"] and not checks["configuration"]["ok"]


def test_doctor_tells_each_broken_part(root, capsys):
    daily(root / "data" / "latest_market_data.csv")
    (root / "state").mkdir()
    (root / "state" / "journal.sqlite").write_text("not a database, and longer than its header would be" * 9)
    (root / "models" / "active").write_text("v1_20260101_000000\n")
    said(capsys, "stop", "--root", root, "--reason", "odd prices")
    code, checks = doctor(capsys, root)
    assert code == 1
    assert {name for name, check in checks.items() if not check["ok"]} == {"data", "model", "journal", "stop latch"}
    assert "behind" in checks["data"]["detail"] and "odd prices" in checks["stop latch"]["detail"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return a small trained model directory, made at the start of 2024."""
    from market.store import read_csv

    home = tmp_path_factory.mktemp("model")
    return small_model(
        read_csv(daily(home / "bars.csv", first=date(2022, 6, 1), last=date(2023, 12, 29))),
        home,
        created=datetime(2024, 1, 1, tzinfo=UTC),
    )


def test_an_expired_model_is_refused_with_its_date(root, capsys, model):
    assert replay(capsys, root, "--model", model)[0] == 0
    code, out = replay(capsys, root, "--model", model, last="2024-06-28")
    assert code == 2 and model.name in out and "2024-06-28" in out


def test_models_are_listed_shown_and_activated_by_name(root, capsys, model):
    shutil.copytree(model, root / "models" / model.name)
    code, out = said(capsys, "models", "show", model.name, "--root", root)
    assert code == 0 and "validated" in out and len(out.splitlines()) < 20
    code, out = said(capsys, "models", "show", model.name, "--root", root, "--json")
    assert code == 0 and json.loads(out)["metadata"]["version"] == model.name
    assert said(capsys, "models", "activate", model.name, "--root", root)[0] == 0
    assert f"* {model.name}" in said(capsys, "models", "list", "--root", root)[1]
    # A pointer to nothing is an error, and the list that helps out of it is there.
    (root / "models" / "active").write_text("v1_20200101_000000\n")
    code, out = said(capsys, "models", "list", "--root", root)
    assert code == 2 and model.name in out and "models activate" in out


def test_validate_takes_a_version_and_answers_no_with_reasons(root, capsys, model):
    shutil.copytree(model, root / "models" / model.name)
    daily(root / "data" / "latest_market_data.csv", first=date(2022, 6, 1), last=date(2023, 12, 29))
    code, out = said(capsys, "validate", model.name, "--root", root)
    assert code == 1 and "FAIL" in out and "NOT good enough" in out
    code, out = said(capsys, "validate", model.name, "--root", root, "--json")
    assert code == 1 and json.loads(out)["passed"] is False
    assert said(capsys, "validate", "v1_20200101_000000", "--root", root)[0] == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(root, capsys):
    journal = root.parent / "j.sqlite"
    assert replay(capsys, root, "--journal", journal)[0] == 0
    code, out = said(capsys, "report", "--root", root, "--journal", journal, "--html", "/dev/full")
    assert code == 3 and os.strerror(28) in out


def test_a_deployment_s_own_holiday_counts_in_the_check_of_its_data(root, capsys):
    daily(root / "data" / "latest_market_data.csv")
    code, _ = said(capsys, "data", "check", "--root", root)
    assert code == 0
    text = "version: 1\nclosed:\n  2024-03-05: {name: Drill, reason: a test}\n"
    (root / "config" / "calendar_overrides.yaml").write_text(text)
    code, out = said(capsys, "data", "check", "--root", root)
    assert code == 1 and "2024-03-05" in out
