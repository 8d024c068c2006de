"""Training end to end, small: what it publishes, and that the published policy is the trained one."""

from __future__ import annotations

import json
import pickle
import shutil
import timeit
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import VecNormalize

from market.errors import BadInput, OperatorError
from market.store import daily_bars
from strategies.artifact import FILES, MANIFEST, list_versions, load_artifact, read_manifest
from strategies.observation import schema
from training.environment import PortfolioVecEnv
from training.export import check_parity, policy_of
from training.trainer import train
from training.validation import validate_artifact

CREATED = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
SYMBOLS = ("S0", "S1", "S2")


@pytest.fixture(scope="module")
def world(builders):
    """Bars, configuration and limits of a small world."""
    bars, config, limits = builders
    return bars(sessions=260), config(), limits()


def run(world, root, *, bars=None, config=None, timesteps=300, seed=7, created=CREATED, **arguments):
    return train(
        config or world[1],
        bars or world[0],
        world[2],
        timesteps=timesteps,
        seed=seed,
        created=created,
        out_dir=root / "models",
        log_dir=root / "logs",
        progress="none",
        **arguments,
    )


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    """One trained version; (root, directory)."""
    root = tmp_path_factory.mktemp("trained")
    return root, run(world, root)


def sb3_of(world, directory):
    """The version's stable-baselines3 side: a model with its normaliser, as further training would load it."""
    environment = PortfolioVecEnv(world[0], world[1], world[2], count=1, seed=0)
    return SAC.load(directory / "final_model.zip"), VecNormalize.load(str(directory / "vec_normalize.pkl"), environment)


def test_a_version_is_complete_and_named_by_its_time(trained):
    root, directory = trained
    assert directory == root / "models" / "v1_20261123_093000"
    assert sorted(path.name for path in directory.iterdir()) == sorted([*FILES, MANIFEST])
    assert list_versions(root / "models") == [directory.name]
    assert [path.name for path in (root / "models").iterdir()] == [directory.name]


def test_the_daemon_can_load_it_until_it_expires(world, trained):
    strategy = load_artifact(trained[1], symbols=SYMBOLS, look_back=5, today=CREATED.date() + timedelta(days=90))
    assert strategy.version == trained[1].name
    with pytest.raises(BadInput, match="expired"):
        load_artifact(trained[1], symbols=SYMBOLS, look_back=5, today=CREATED.date() + timedelta(days=91))


def test_the_numpy_policy_is_sac_predict_to_a_millionth(world, trained):
    model, environment = sb3_of(world, trained[1])
    policy = load_artifact(trained[1], symbols=SYMBOLS, look_back=5, today=CREATED.date()).policy
    rng = np.random.default_rng(0)
    environment.venv.reset()
    rows = [environment.venv.market.observations()[0]]
    for _ in range(60):
        rows.append(environment.venv.step(rng.uniform(-1, 1, (1, 3)).astype(np.float32))[0][0])
    rows += list(rng.uniform(-10, 10, (60, rows[0].size)).astype(np.float32))
    for row in rows:
        expected, _ = model.predict(environment.normalize_obs(row), deterministic=True)
        np.testing.assert_allclose(policy.act(row), expected, atol=1e-6, rtol=0)


def test_the_full_size_policy_agrees_and_is_ten_times_faster(builders):
    random_bars, make_config, make_limits = builders
    config = make_config(n=5, look_back=30)
    inner = PortfolioVecEnv(random_bars(n=5), config, make_limits(), count=2, seed=0)
    environment = VecNormalize(inner)
    environment.reset()
    for _ in range(30):
        environment.step(np.random.default_rng(1).uniform(-1, 1, (2, 5)).astype(np.float32))
    model = SAC("MlpPolicy", environment, policy_kwargs={"net_arch": [256, 256]}, seed=0, device="cpu", buffer_size=10)
    policy, row = policy_of(model, environment), inner.market.observations()[0]
    assert row.size == 173

    def theirs():
        return model.predict(environment.normalize_obs(row), deterministic=True)[0]

    np.testing.assert_allclose(policy.act(row), theirs(), atol=1e-6, rtol=0)

    def ratio():
        slow = min(timeit.repeat(theirs, number=20, repeat=7)) / 20
        return slow / (min(timeit.repeat(lambda: policy.act(row), number=200, repeat=7)) / 200)

    # A neighbour on the core may spoil one look at either side, hardly three.
    assert max(ratio() for _ in range(3)) >= 10.0


def test_metadata_says_what_it_was_made_from(world, trained):
    metadata = json.loads((trained[1] / "metadata.json").read_text())
    bars = world[0]
    assert metadata["symbols"] == list(SYMBOLS)
    assert metadata["observation"]["hash"] == schema(3, 5).hash == read_manifest(trained[1]).schema_hash
    assert metadata["data"] == {
        "sha256": bars.sha256,
        "rows": 260,
        "first": str(bars.days[0]),
        "last": str(bars.days[-1]),
    }
    assert metadata["split"]["train"]["rows"] == 234 and metadata["split"]["train"]["last"] == str(bars.days[233])
    assert (metadata["seed"], metadata["timesteps"]) == (7, 300)
    # Six environments, one update for each of their common steps after the first ten.
    assert metadata["updates"] == 300 // 6 - 10
    assert metadata["reward"]["name"] == "momentum" and metadata["charges"]["stt"]
    assert metadata["config"]["model"]["network"] == [16, 16]
    assert metadata["libraries"].keys() == {"python", "numpy", "torch", "stable_baselines3", "gymnasium"}
    assert metadata["parity_with_sac_predict"] <= 1e-6
    assert [point["timesteps"] for point in metadata["training_curve"]] == [150, 300]


def test_the_log_has_a_line_per_evaluation_and_a_summary(trained):
    root, directory = trained
    logs = root / "logs" / directory.name
    lines = [json.loads(line) for line in (logs / "training.jsonl").read_text().splitlines()]
    assert lines == json.loads((directory / "metadata.json").read_text())["training_curve"]
    assert json.loads((logs / "summary.json").read_text())["criteria"][0]["name"] == "return"
    assert not (logs / "checkpoint").exists()


def test_the_same_seed_gives_the_same_policy_and_another_seed_another(world, trained, tmp_path):
    expected = (trained[1] / "policy.safetensors").read_bytes()
    assert (run(world, tmp_path / "a") / "policy.safetensors").read_bytes() == expected
    assert (run(world, tmp_path / "b", seed=8) / "policy.safetensors").read_bytes() != expected


def test_training_never_sees_the_validation_sessions(world, trained, tmp_path):
    bars = world[0]
    columns = {name: getattr(bars, name).copy() for name in ("open", "high", "low", "close", "volume")}
    for name in ("open", "high", "low", "close"):
        columns[name][234:] = np.round(columns[name][234:][::-1] * 1.7, 2)
    changed = daily_bars(bars.symbols, bars.days, columns)
    directory = run(world, tmp_path, bars=changed)
    for name in ("policy.safetensors", "normalizer.json"):
        assert (directory / name).read_bytes() == (trained[1] / name).read_bytes()
    assert (directory / "validation_report.json").read_text() != (trained[1] / "validation_report.json").read_text()


def test_the_published_report_is_what_validating_the_artifact_says(world, trained):
    published = json.loads((trained[1] / "validation_report.json").read_text())
    assert json.loads(json.dumps(validate_artifact(trained[1], world[0], world[1], world[2]))) == published


def test_validating_without_later_sessions_is_refused(world, trained):
    bars = world[0].slice(world[0].days[0].item(), world[0].days[236].item())
    with pytest.raises(BadInput, match="3 sessions of data after"):
        validate_artifact(trained[1], bars, world[1], world[2])


def test_an_interrupted_run_goes_on_from_its_checkpoint(world, builders, tmp_path, monkeypatch):
    config = builders[1](model={"checkpoint_every": 120})
    from training import trainer

    kept = tmp_path / "kept"
    write = trainer._Recorder._checkpoint

    def write_and_pull_the_plug(recorder):
        write(recorder)
        if recorder.num_timesteps >= 240:
            shutil.copytree(recorder._logs / "checkpoint", kept)
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer._Recorder, "_checkpoint", write_and_pull_the_plug)
    with pytest.raises(KeyboardInterrupt):
        run(world, tmp_path, config=config)
    assert list_versions(tmp_path / "models") == []
    monkeypatch.undo()

    later = CREATED + timedelta(hours=1)
    directory = run(world, tmp_path, config=config, created=later, resume=kept)
    metadata = json.loads((directory / "metadata.json").read_text())
    assert metadata["timesteps"] == 300 and metadata["resumed"]
    assert metadata["updates"] == 300 // 6 - 10
    assert [point["timesteps"] for point in metadata["training_curve"]] == [150, 300]
    with pytest.raises(BadInput, match="seed is not this run's"):
        run(world, tmp_path, config=config, created=later + timedelta(hours=1), seed=9, resume=kept)


def test_a_failure_leaves_nothing_behind(world, tmp_path, monkeypatch):
    def fail(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.export.artifact.write_manifest", fail)
    with pytest.raises(OSError, match="No space"):
        run(world, tmp_path, timesteps=66)
    assert list((tmp_path / "models").iterdir()) == []


def test_a_version_that_exists_is_refused_before_training(world, trained):
    with pytest.raises(BadInput, match="exists already"):
        run(world, trained[0])


def test_a_policy_that_differs_from_its_origin_is_not_exported(world, trained):
    model, environment = sb3_of(world, trained[1])
    policy = policy_of(model, environment)
    row = np.zeros(policy.observation_size, dtype=np.float32)
    with pytest.raises(OperatorError, match="differs from SAC"):
        check_parity(policy, [(row, policy.act(row) + np.float32(1e-4))])


def test_the_saved_normaliser_is_the_exported_one(world, trained):
    statistics = json.loads((trained[1] / "normalizer.json").read_text())
    with (trained[1] / "vec_normalize.pkl").open("rb") as file:
        saved = pickle.load(file)
    np.testing.assert_array_equal(saved.obs_rms.mean, statistics["mean"])
    np.testing.assert_array_equal(saved.obs_rms.var, statistics["var"])
    assert statistics["clip"] == 10.0


def test_a_model_can_decide_on_any_day(trained):
    strategy = load_artifact(trained[1], symbols=SYMBOLS, look_back=5, today=date(2026, 12, 1))
    assert strategy.look_back == 5 and strategy.name == "policy"


def test_training_that_would_learn_nothing_is_refused(world, tmp_path):
    with pytest.raises(BadInput, match="learning_starts"):
        run(world, tmp_path, timesteps=60)
