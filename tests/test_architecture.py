"""What the structure promises, checked on the tree itself."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("market", "strategies", "risk", "brokers", "training", "daemon", "tarazu")


def modules():
    return [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]


def test_every_module_says_what_it_is_for():
    silent = [str(path.relative_to(ROOT)) for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def imported_by(code):
    """Return the modules that a fresh interpreter has loaded after running `code`."""
    probe = f"import sys\n{code}\nprint(chr(10).join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_the_daemon_imports_neither_torch_nor_pandas_nor_pickles():
    loaded = imported_by("import daemon.service, tarazu.paper")
    assert not loaded & {"torch", "pandas", "stable_baselines3", "gymnasium", "pyarrow", "scipy"}


def test_what_trades_does_not_even_load_the_adversaries():
    loaded = imported_by("import daemon.service, tarazu.paper, tarazu.deployment, tarazu.cli, strategies.baselines")
    assert not loaded & {"strategies.adversaries", "strategies.face_value", "daemon.stress"}


def test_stop_imports_the_standard_library_and_the_command_line_library_alone():
    loaded = imported_by("import tarazu.cli, daemon.latch, daemon.unix_socket, market.errors")
    assert not loaded & {
        "torch",
        "pandas",
        "numpy",
        "aiohttp",
        "pydantic",
        "msgspec",
        "structlog",
        "apscheduler",
        "yaml",
    }


def test_the_guardian_is_small():
    loaded = imported_by("import tarazu.cli, tarazu.commands.broker, tarazu.guardian")
    assert not loaded & {"torch", "pandas", "numpy", "pydantic", "structlog", "apscheduler", "daemon.core"}


def test_the_guardian_looks_where_the_daemon_writes():
    from daemon.settings import Paths
    from tarazu.guardian import HEARTBEAT, LATCH

    paths = Paths(ROOT)
    assert (paths.heartbeat, paths.latch) == (ROOT / HEARTBEAT, ROOT / LATCH)


def test_orders_without_a_seal_reach_a_paper_broker_through_its_own_server_alone():
    callers = [
        str(path.relative_to(ROOT))
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "receive"
        if node.args
    ]
    assert sorted(callers) == ["brokers/broker_server.py", "brokers/paper.py"]


@pytest.mark.parametrize(
    "planted",
    [
        "import time\ntime.time()\n",
        "from datetime import datetime\ndatetime.now()\n",
        "import random\nrandom.random()\n",
    ],
)
def test_the_lint_rule_catches_a_planted_clock_or_chance(planted):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--stdin-filename", "daemon/planted.py", "-"],
        input=planted,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 1 and "TID251" in done.stdout


def test_shutdown_stages_fit_into_the_unit_with_room():
    from daemon.service import SHUTDOWN_STAGES

    unit = (ROOT / "systemd" / "tarazu-paper.service").read_text()
    limit = int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.M).group(1))
    assert sum(SHUTDOWN_STAGES.values()) <= 0.75 * limit


def test_every_logged_event_is_documented():
    from daemon.logs import ALERT_EVENTS, EVENTS

    text = (ROOT / "docs" / "logs.md").read_text()
    names = {name for name, _ in EVENTS.values()} | set(ALERT_EVENTS)
    assert sorted(name for name in names if f"`{name}`" not in text) == []
    written = set(re.findall(r"^\| `([a-z_.]+)` \|", text, re.M))
    assert written == names


def test_no_first_party_name_is_taken_by_another_distribution():
    from tarazu.guard import foreign_rooms

    assert foreign_rooms() == []
