"""A new model version is taken over between decisions; a damaged one is refused and the last good one goes on."""

import json
import signal
from datetime import UTC, date, datetime

import pytest

from market.calendar import Calendar
from market.synthetic import generate
from tests.command_line import SYMBOLS, small_model

DAY = date(2024, 6, 5)
pytestmark = pytest.mark.slow


def make_version(root, *, seed, hour):
    bars = generate(seed, SYMBOLS, date(2022, 1, 3), date(2024, 5, 31), Calendar.load())
    return small_model(bars, root, created=datetime(2024, 6, 1, hour, tzinfo=UTC), seed=seed).name


@pytest.mark.timeout(120)
def test_reload_takes_a_good_version_and_refuses_a_damaged_one(deployment):
    root = str(deployment.root)
    first, second = make_version(deployment.root, seed=1, hour=1), make_version(deployment.root, seed=2, hour=2)
    deployment.run("models", "activate", first, "--root", root)
    feed = deployment.feed(DAY, speed=30.0)
    daemon = deployment.spawn("paper", "--root", root, "--feed", feed, "--quiet")
    deployment.wait_for("reconcile.done")

    deployment.run("models", "activate", second, "--root", root)
    answer = json.loads(deployment.run("reload", "--root", root))
    assert answer == {"model": second, "accepted": True, "detail": ""}
    deployment.wait_for("model.loaded", version=second, accepted=True)
    assert json.loads(deployment.run("status", "--root", root, "--json"))["model"] == second

    path = deployment.root / "models" / second / "policy.safetensors"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    said = deployment.run("reload", "--root", root, expect=1)
    assert '"accepted": false' in said and "policy.safetensors" in said
    deployment.wait_for("model.loaded", accepted=False)
    assert json.loads(deployment.run("status", "--root", root, "--json"))["model"] == second
    daemon.send_signal(signal.SIGTERM)
    deployment.finish(daemon)


@pytest.mark.timeout(120)
def test_a_model_that_lost_too_much_is_replaced_by_the_one_before_in_the_registry_too(deployment):
    root = str(deployment.root)
    limits = deployment.root / "config" / "risk_limits.yaml"
    # So little that the charges of the first purchases are too much.
    limits.write_text(limits.read_text().replace("rollback_if_loss_exceeds: 0.15", "rollback_if_loss_exceeds: 0.0001"))
    first, second = make_version(deployment.root, seed=1, hour=1), make_version(deployment.root, seed=2, hour=2)
    deployment.run("models", "activate", first, "--root", root)
    feed = deployment.feed(DAY, speed=40.0)
    daemon = deployment.spawn("paper", "--root", root, "--feed", feed, "--quiet")
    deployment.wait_for("reconcile.done")
    deployment.run("models", "activate", second, "--root", root)
    deployment.run("reload", "--root", root)
    told = deployment.wait_for("model.rolled_back", model=second)
    assert told["back_to"] == first and f"back to: {first}" in told["text"]
    deployment.wait_for("model.loaded", version=first, accepted=True)
    status = json.loads(deployment.run("status", "--root", root, "--json"))
    assert status["model"] == first and status["state"] == "BREAKER_LATCHED"
    assert (deployment.root / "models" / "active").read_text().strip() == first
    daemon.send_signal(signal.SIGTERM)
    deployment.finish(daemon)
