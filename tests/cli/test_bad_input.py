"""Wrong input, as a person gives it: one clear line naming file, key and what is allowed, exit code 2, nothing lost."""

import shutil
from datetime import UTC, date, datetime

import pytest

from tests.command_line import daily, said, small_model


def replay(capsys, root, data):
    return said(
        capsys, "replay", "--root", root, "--data", data, "--from", "2024-03-01", "--to", "2024-03-28",
        "--strategy", "equal_weight", "--json",
    )  # fmt: skip


def test_good_input_is_good(root, capsys):
    code, out = replay(capsys, root, daily(root / "data" / "latest_market_data.csv"))
    assert code == 0 and '"journal_sha256"' in out


@pytest.mark.parametrize(
    ("edit", "wants"),
    [
        (lambda text: text[: len(text) - 9], "line"),
        (lambda text: text.replace("date,symbol,open", "date,symbol,opens"), "open"),
        (lambda text: text.replace("\n2024-03-05,SBIN,", "\n2024-03-05,SBIN,abc", 1), "line"),
        (lambda text: text + text.splitlines()[-1] + "\n", "SYMBOL_OF_LAST"),
    ],
    ids=["truncated", "column missing", "not a number", "duplicate"],
)
def test_a_broken_csv_is_one_line_naming_the_file(root, capsys, edit, wants):
    data = daily(root / "data" / "latest_market_data.csv")
    data.write_text(edit(data.read_text()))
    code, out = replay(capsys, root, data)
    assert code == 2
    assert data.name in out
    assert wants == "SYMBOL_OF_LAST" or wants in out
    if wants == "SYMBOL_OF_LAST":
        assert "KOTAKBANK" in out


@pytest.mark.parametrize(
    ("edit", "wants"),
    [
        (lambda text: _with(text, "2024-03-05,SBIN", "close", ""), "SBIN"),
        (lambda text: text + "2024-03-25,SBIN,1,1,1,1,1\n", "2024-03-25"),
        (lambda text: _with(text, "2024-03-05,SBIN", "high", "1"), "SBIN"),
    ],
    ids=["missing close", "bar on a holiday", "high below low"],
)
def test_data_check_finds_it_and_says_no(root, capsys, edit, wants):
    data = daily(root / "data" / "latest_market_data.csv")
    data.write_text(edit(data.read_text()))
    code, out = said(capsys, "data", "check", "--root", root)
    assert code in (1, 2) and wants in out


def _with(text, row, column, value):
    header, *lines = text.splitlines()
    index = header.split(",").index(column)
    for number, line in enumerate(lines):
        if line.startswith(row):
            cells = line.split(",")
            cells[index] = value
            lines[number] = ",".join(cells)
    return "\n".join([header, *lines]) + "\n"


def test_an_unknown_key_in_the_limits_is_refused_with_its_path(root, capsys):
    path = root / "config" / "risk_limits.yaml"
    path.write_text(path.read_text().replace("max_weight_per_stock", "max_wieght_per_stock"))
    code, out = replay(capsys, root, daily(root / "data" / "latest_market_data.csv"))
    assert code == 2
    assert (
        "risk_limits.yaml" in out and "position_limits.max_wieght_per_stock" in out and "max_weight_per_stock?" in out
    )


def test_a_limit_of_140_percent_is_refused_with_what_is_allowed(root, capsys):
    path = root / "config" / "risk_limits.yaml"
    path.write_text(path.read_text().replace("max_weight_per_stock: 0.40", "max_weight_per_stock: 1.40"))
    code, out = replay(capsys, root, daily(root / "data" / "latest_market_data.csv"))
    assert code == 2 and "position_limits.max_weight_per_stock" in out and "1.4" in out and "at most" in out


def test_a_record_cannot_be_switched_off(root, capsys):
    path = root / "config" / "risk_limits.yaml"
    path.write_text(path.read_text().replace("track_slippage: true", "track_slippage: false"))
    code, out = replay(capsys, root, daily(root / "data" / "latest_market_data.csv"))
    assert code == 2 and "monitoring.track_slippage: false: must be true; it cannot be switched off" in out


@pytest.mark.parametrize(
    ("arguments", "wants"),
    [
        (
            ("replay", "--data", "none.csv", "--from", "2024-03-01", "--to", "2024-03-28", "--strategy", "magic"),
            "none.csv",
        ),
        (("status",), "no daemon answers"),
        (("report",), "there is none yet"),
        (("stop", "--root", "nowhere"), "no such directory"),
        (("models", "show", "v9_20200101_000000"), "no such version"),
        (("live",), "live broker adapter"),
    ],
)
def test_other_mistakes_are_one_line(root, capsys, arguments, wants):
    arguments = list(arguments)
    if "--root" not in arguments and arguments[0] != "live":
        arguments += ["--root", str(root)]
    code, out = said(capsys, *arguments)
    assert code != 0 and wants in out
    assert len([line for line in out.splitlines() if line.startswith("tarazu:")]) == 1


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return a small trained model directory."""
    from market.store import read_csv

    home = tmp_path_factory.mktemp("model")
    return small_model(
        read_csv(daily(home / "bars.csv", first=date(2023, 1, 2), last=date(2024, 12, 31))),
        home,
        created=datetime(2024, 12, 31, tzinfo=UTC),
    )


def with_model(capsys, root, directory, symbols=None):
    data = daily(root / "data" / "latest_market_data.csv")
    arguments = [
        "replay",
        "--root",
        root,
        "--data",
        data,
        "--from",
        "2024-03-01",
        "--to",
        "2024-03-28",
        "--model",
        directory,
    ]
    return said(capsys, *arguments, *(() if symbols is None else ("--symbols", symbols)))


def test_a_good_model_trades(root, capsys, model):
    code, out = with_model(capsys, root, model)
    assert code == 0 and "journal sha256" in out


@pytest.mark.parametrize("name", ["policy.safetensors", "normalizer.json", "metadata.json", "manifest.json"])
def test_one_flipped_byte_in_a_model_is_found_and_named(root, capsys, model, tmp_path, name):
    copy = tmp_path / model.name
    shutil.copytree(model, copy)
    raw = bytearray((copy / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (copy / name).write_bytes(raw)
    code, out = with_model(capsys, root, copy)
    assert code == 2 and (name in out or "manifest" in out)


def test_a_model_for_another_universe_is_refused_naming_both(root, capsys, model):
    code, out = with_model(capsys, root, model, "SBIN,HDFCBANK,ICICIBANK,AXISBANK,KOTAKBANK")
    assert code == 2 and "HDFCBANK" in out and "SBIN" in out
