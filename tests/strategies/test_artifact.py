"""The artifact contract: what the daemon accepts, and the line it gets when something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date

import numpy as np
import pytest

from market.errors import BadInput
from strategies.artifact import (
    ACTIVE,
    FILES,
    MANIFEST,
    activate,
    active_version,
    list_versions,
    load_artifact,
    newest,
    publish,
    read_manifest,
    write_manifest,
    write_policy,
)
from strategies.observation import observation_size
from strategies.policy import Normalizer, Policy

SYMBOLS = ("AAA", "BBB")
LOOK_BACK = 5
SIZE = observation_size(2, LOOK_BACK)
TODAY = date(2026, 11, 24)


def network(seed=1):
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(0, 0.4, (out, into)).astype(np.float32), rng.normal(0, 0.1, out).astype(np.float32))
        for into, out in ((SIZE, 8), (8, 2))
    ]


def golden(layers):
    policy = Policy(Normalizer(np.zeros(SIZE), np.ones(SIZE), epsilon=1e-8, clip=10.0), layers)
    rows = np.random.default_rng(9).normal(0, 1, (3, SIZE)).astype(np.float32)
    return [(row, policy.act(row).copy()) for row in rows]


def make_artifact(models, version="v1_20261123_093000", *, layers=None, vectors=None, symbols=SYMBOLS):
    layers = layers or network()
    work = models / f".{version}.tmp"
    work.mkdir(parents=True)
    write_policy(work, layers, Normalizer(np.zeros(SIZE), np.ones(SIZE), epsilon=1e-8, clip=10.0))
    for name in FILES:
        if not (work / name).exists():
            (work / name).write_bytes(b'{"what": "' + name.encode() + b'"}')
    write_manifest(
        work,
        version=version,
        created="2026-11-23T09:30:00+00:00",
        expires=date(2027, 2, 21),
        symbols=symbols,
        look_back=LOOK_BACK,
        golden=vectors or golden(layers),
    )
    publish(work, models / version)
    return models / version


def load(path, *, symbols=SYMBOLS, look_back=LOOK_BACK, today=TODAY):
    return load_artifact(path, symbols=symbols, look_back=look_back, today=today)


def refusal(path, **arguments):
    with pytest.raises(BadInput) as caught:
        load(path, **arguments)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_a_whole_artifact_loads_and_decides(tmp_path):
    path = make_artifact(tmp_path)
    strategy = load(path)
    assert strategy.version == path.name and strategy.symbols == SYMBOLS and strategy.look_back == LOOK_BACK
    row, action = golden(network())[0]
    np.testing.assert_array_equal(strategy.policy.act(row), action)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_one_flipped_bit_anywhere_names_the_file(tmp_path, name):
    path = make_artifact(tmp_path)
    content = (path / name).read_bytes()
    for position in np.random.default_rng(0).integers(0, len(content.rstrip()), 12).tolist():
        flipped = bytearray(content)
        flipped[position] ^= 0b00000100
        (path / name).write_bytes(bytes(flipped))
        assert str(path / name) in refusal(path)
    (path / name).write_bytes(content)
    load(path)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_missing_file_is_named(tmp_path, name):
    path = make_artifact(tmp_path)
    (path / name).unlink()
    assert str(path / name) in refusal(path)


@pytest.mark.parametrize("symbols", [("BBB", "AAA"), ("AAA", "CCC"), ("AAA",)])
def test_another_universe_or_order_names_both(tmp_path, symbols):
    line = refusal(make_artifact(tmp_path), symbols=symbols)
    assert "AAA, BBB" in line and f"the portfolio is {', '.join(symbols)}" in line


def test_another_look_back_is_refused(tmp_path):
    assert "look_back 5; the configuration has 7" in refusal(make_artifact(tmp_path), look_back=7)


def test_another_meaning_of_the_observation_is_refused(tmp_path, monkeypatch):
    path = make_artifact(tmp_path)
    monkeypatch.setattr("strategies.observation.VERSION", "another")
    from strategies.observation import schema

    schema.cache_clear()
    try:
        assert "observation schema" in refusal(path)
    finally:
        monkeypatch.undo()
        schema.cache_clear()


def test_the_last_valid_day_is_valid_and_the_next_is_not(tmp_path):
    path = make_artifact(tmp_path)
    load(path, today=date(2027, 2, 21))
    assert "expired on 2027-02-21, today is 2027-02-22" in refusal(path, today=date(2027, 2, 22))


def test_a_policy_that_computes_something_else_is_found(tmp_path):
    path = make_artifact(tmp_path, layers=network(seed=1), vectors=golden(network(seed=2)))
    assert "golden vector 0 comes out different" in refusal(path)


def test_a_golden_vector_that_is_not_a_number_is_no_proof(tmp_path):
    row, action = golden(network())[0]
    path = make_artifact(tmp_path, vectors=[(row, np.full_like(action, np.nan))])
    refusal(path)


def test_another_format_is_refused(tmp_path):
    path = make_artifact(tmp_path)
    manifest = json.loads((path / MANIFEST).read_text())
    manifest["format"] = 2
    (path / MANIFEST).write_text(json.dumps(manifest))
    assert "format 2: this version reads 1" in refusal(path)


def test_an_incomplete_directory_cannot_be_sealed(tmp_path):
    with pytest.raises(BadInput, match=r"policy\.safetensors"):
        write_manifest(
            tmp_path,
            version="v1_1",
            created="",
            expires=TODAY,
            symbols=SYMBOLS,
            look_back=LOOK_BACK,
            golden=golden(network()),
        )


def test_a_version_is_never_overwritten(tmp_path):
    make_artifact(tmp_path)
    with pytest.raises(BadInput, match="exists already"):
        make_artifact(tmp_path)


def test_versions_are_listed_by_number_and_time_and_only_when_complete(tmp_path):
    assert list_versions(tmp_path / "absent") == [] and newest(tmp_path) is None
    for version in ("v10_20260101_000000", "v2_20270101_000000", "v2_20260101_000000"):
        make_artifact(tmp_path, version)
    (tmp_path / "v3_20260101_000000").mkdir()
    (tmp_path / ".v9_20260101_000000.tmp").mkdir()
    (tmp_path / "notes").mkdir()
    assert list_versions(tmp_path) == ["v2_20260101_000000", "v2_20270101_000000", "v10_20260101_000000"]
    assert newest(tmp_path) == "v10_20260101_000000"


def test_a_version_is_activated_after_it_is_verified(tmp_path):
    assert active_version(tmp_path) is None
    first, second = make_artifact(tmp_path, "v1_a"), make_artifact(tmp_path, "v1_b")
    activate(tmp_path, first.name)
    assert active_version(tmp_path) == "v1_a"
    (second / "metadata.json").write_text("{}")
    with pytest.raises(BadInput, match=r"metadata\.json"):
        activate(tmp_path, second.name)
    assert active_version(tmp_path) == "v1_a"


@pytest.mark.parametrize("version", ["../v1_a", "v1_a/", "v1", "", "v1_a b", "V1_a"])
def test_a_name_that_is_no_version_is_refused(tmp_path, version):
    make_artifact(tmp_path, "v1_a")
    with pytest.raises(BadInput, match="must look like"):
        activate(tmp_path, version)
    (tmp_path / ACTIVE).write_text(version + "\n")
    with pytest.raises(BadInput, match="must look like"):
        active_version(tmp_path)


def test_a_pointer_to_a_version_that_is_gone_is_refused(tmp_path):
    (tmp_path / ACTIVE).write_text("v1_gone\n")
    with pytest.raises(BadInput, match="v1_gone, which is not there"):
        active_version(tmp_path)


def test_a_file_name_cannot_leave_the_directory(tmp_path):
    path = make_artifact(tmp_path)
    manifest = json.loads((path / MANIFEST).read_text())
    manifest["files"]["../outside"] = "0" * 64
    del manifest["sha256"]
    from strategies import artifact

    manifest["sha256"] = artifact._digest(manifest)
    (path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match="without a directory"):
        read_manifest(path)


def test_loading_needs_neither_torch_nor_pickle_of_a_model(tmp_path):
    code = (
        "import sys, strategies.artifact, strategies.baselines, strategies.production_config\n"
        "assert not {'torch', 'stable_baselines3', 'gymnasium', 'pandas'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
