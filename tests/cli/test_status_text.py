"""`tarazu status` for a person."""

import pytest

from daemon.messages import ConditionChanged, ConditionName, Lane
from tarazu.commands import operate
from tests.command_line import said
from tests.daemon.life import MONDAY, Life, at, history


@pytest.mark.parametrize("as_json", [False, True])
def test_conditions_are_shown_with_what_they_forbid_and_how_they_end(tmp_path, root, capsys, monkeypatch, as_json):
    running = Life(tmp_path, at(MONDAY, "09:00"), past=history()).to(MONDAY, "09:05")
    running.core.bus.post(
        Lane.CONTROL, ConditionChanged(name=ConditionName.DISK_FULL, holds=True, detail="40 MiB free")
    )
    running.to(MONDAY, "09:06")
    answer = running.core.status()
    running.kill()
    monkeypatch.setattr(operate, "_ask", lambda *_, **__: answer)
    code, text = said(capsys, "status", "--root", root, *(["--json"] if as_json else []))
    assert code == 0 and "HALTED" in text and "disk_full" in text and "40 MiB free" in text
    assert "all orders" in text and "by itself" in text
