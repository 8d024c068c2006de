"""Every record that is logged can be logged, as one JSON line, with no secret in it."""

import json
import typing
from datetime import date

import msgspec
import pytest

from daemon.bus import Envelope
from daemon.effects import Alert
from daemon.logs import ALERT_EVENTS, EVENTS, RecordLog

DAY = date(2024, 6, 5)


def sample(kind):
    """Return an instance of a type with some value in every field."""
    origin = typing.get_origin(kind)
    if kind is date:
        return DAY
    if origin is tuple:
        inner = [part for part in typing.get_args(kind) if part is not Ellipsis]
        return tuple(sample(part) for part in inner)
    if origin is dict:
        key, value = typing.get_args(kind)
        return {sample(key): sample(value)}
    if origin is not None:
        return sample(next(part for part in typing.get_args(kind) if part is not type(None)))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind(**{name: sample(part) for name, part in typing.get_type_hints(kind).items()})
    if hasattr(kind, "__members__"):
        return next(iter(kind))
    if hasattr(kind, "__supertype__"):
        return sample(kind.__supertype__)
    return {str: "text", int: 1, float: 0.5, bool: True}[kind]


@pytest.mark.parametrize("kind", list(EVENTS), ids=lambda kind: kind.__name__)
def test_a_record_becomes_one_json_line(tmp_path, kind):
    path = tmp_path / "log.jsonl"
    log = RecordLog(path, console=False, mode="paper")
    log.record(sample(kind), Envelope(7, 3, 1_717_559_100_000_000_000))
    log.close()
    event, level = EVENTS[kind]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    if level == "debug":
        assert lines == []
        return
    assert [line["event"] for line in lines] == [event]
    assert lines[0]["seq"] == 7 and lines[0]["cause"] == 3 and lines[0]["level"] == level
    assert "nonce" not in lines[0] and "token" not in lines[0]


@pytest.mark.parametrize("event", ALERT_EVENTS)
@pytest.mark.parametrize("severity", ["info", "warning", "error"])
def test_an_alert_becomes_one_json_line(tmp_path, event, severity):
    path = tmp_path / "log.jsonl"
    log = RecordLog(path, console=False, mode="paper")
    log.alert(Alert(severity, event, "detail"), 10**18)
    log.close()
    line = json.loads(path.read_text())
    assert line["event"] == event and line["level"] == severity and line["alert"] is True


def test_what_looks_like_a_secret_is_replaced(tmp_path):
    path = tmp_path / "log.jsonl"
    log = RecordLog(path, console=False, mode="paper")
    log.logger.info("x", access_token="abc", api_key="def", plain="ghi")
    log.close()
    assert json.loads(path.read_text()) == {"event": "x", "access_token": "***", "api_key": "***", "plain": "ghi"}


def test_a_log_that_cannot_be_written_is_silent(tmp_path):
    log = RecordLog(tmp_path / "new" / "folder" / "log.jsonl", console=False, mode="paper")
    log.logger.info("made")
    log.close()
    log.logger.info("after the end")
    assert len((tmp_path / "new" / "folder" / "log.jsonl").read_text().splitlines()) == 1
