"""The calendar's file: read, check, merge.

One YAML format serves the table that ships with the product (market/data/nse_calendar.yaml) and a deployment's
overrides, in which every entry must say why it is there. Anything unknown, doubled or contradictory is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import yaml

from market.errors import BadInput
from market.sessions import MINUTE_NS, DayPlan, Phase, SessionKind, Timeline

VERSION: Final = 1
_SPAN: Final = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$")
_ORDINARY: Final = "ordinary"
_TABLE_KEYS: Final = ("version", "coverage", "ordinary_days", "placeholder_hours", "sessions", "closed")
_OVERRIDE_KEYS: Final = ("version", "coverage", "sessions", "closed")
# libyaml reads the table in 6 ms; the pure Python loader takes 100.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class SpecialDay:
    """A session that is not an ordinary weekday. `hours` is None when they are unknown, () when they are ordinary."""

    kind: SessionKind
    hours: Spans | None
    name: str


@dataclass(slots=True)
class CalendarTable:
    """What the file says. `ordinary` is sorted by its valid-from date."""

    first: date
    until: date
    ordinary: list[tuple[date, DayPlan]]
    placeholder: dict[SessionKind, Spans]
    sessions: dict[date, SpecialDay] = field(default_factory=dict)
    closed: dict[date, str] = field(default_factory=dict)


class _Loader(_Base):  # type: ignore[misc]
    """Safe YAML that refuses a key given twice: the second day of that name would silently win."""


def _mapping(loader: Any, node: Any) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in result:
            raise BadInput(f"line {key_node.start_mark.line + 1}: {key} is given twice; each key once")
        result[key] = loader.construct_object(value_node, deep=True)
    return result


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_table(path: Path) -> CalendarTable:
    """Read a whole calendar. Raises BadInput naming the file, the key, the value and what is allowed."""
    document = _document(path, _TABLE_KEYS)
    coverage = _of(document, "coverage", dict, path)
    table = CalendarTable(
        first=_date(coverage.get("from"), f"{path}: coverage.from"),
        until=_date(coverage.get("until"), f"{path}: coverage.until"),
        ordinary=_ordinary(_of(document, "ordinary_days", list, path), path),
        placeholder={
            _kind(kind, f"{path}: placeholder_hours"): _hours(spans, f"{path}: placeholder_hours.{kind}")
            for kind, spans in _of(document, "placeholder_hours", dict, path).items()
        },
    )
    if table.until < table.first:
        raise BadInput(f"{path}: coverage.until {table.until}: must not be before coverage.from {table.first}")
    if table.ordinary[0][0] > table.first:
        raise BadInput(f"{path}: ordinary_days: the first rule must be valid from coverage.from {table.first}")
    missing = {SessionKind.MUHURAT, SessionKind.SPECIAL} - table.placeholder.keys()
    if missing:
        raise BadInput(f"{path}: placeholder_hours: {', '.join(sorted(missing))} is missing")
    _merge_days(table, document, path, reason=False)
    return table


def merge_overrides(table: CalendarTable, path: Path) -> None:
    """Apply a deployment's overrides to a table.

    An entry replaces what the table says about its day; `coverage: {until: ..., reason: ...}` moves the end of the
    coverage, after which unlisted weekdays up to it are ordinary sessions.
    """
    document = _document(path, _OVERRIDE_KEYS)
    if "coverage" in document:
        coverage = _of(document, "coverage", dict, path)
        _only(coverage, ("until", "reason"), f"{path}: coverage")
        _reason(coverage, f"{path}: coverage")
        table.until = _date(coverage.get("until"), f"{path}: coverage.until")
        if table.until < table.first:
            raise BadInput(f"{path}: coverage.until {table.until}: must not be before {table.first}")
    _merge_days(table, document, path, reason=True)


def _merge_days(table: CalendarTable, document: dict[str, Any], path: Path, *, reason: bool) -> None:
    closed = _of(document, "closed", dict, path) if document.get("closed") is not None else {}
    sessions = _of(document, "sessions", dict, path) if document.get("sessions") is not None else {}
    for day in sorted(closed.keys() & sessions.keys(), key=str):
        raise BadInput(f"{path}: {day} stands under sessions and under closed; one of them")
    for key, entry in closed.items():
        day = _covered(key, f"{path}: closed", table)
        if reason:
            body = _entry(entry, f"{path}: closed.{key}", ("name", "reason"))
            _reason(body, f"{path}: closed.{key}")
            entry = body.get("name", "")
        table.closed[day] = _name(entry, f"{path}: closed.{key}")
        table.sessions.pop(day, None)
    for key, entry in sessions.items():
        day = _covered(key, f"{path}: sessions", table)
        where = f"{path}: sessions.{key}"
        body = _entry(entry, where, ("kind", "hours", "name", "reason") if reason else ("kind", "hours", "name"))
        if reason:
            _reason(body, where)
        kind = _kind(body.get("kind"), where)
        hours = body.get("hours", _ORDINARY if kind is SessionKind.REGULAR else None)
        spans = None if hours is None else () if hours == _ORDINARY else _hours(hours, where + ".hours")
        table.sessions[day] = SpecialDay(kind, spans, _name(body.get("name", ""), where))
        table.closed.pop(day, None)


def _document(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            document = yaml.load(stream, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise BadInput(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None
    if not isinstance(document, dict):
        raise BadInput(f"{path}: must be a mapping with {', '.join(keys)}")
    _only(document, keys, str(path))
    if document.get("version") != VERSION:
        raise BadInput(f"{path}: version {document.get('version')!r}: must be {VERSION}")
    return document


def _ordinary(rules: list[Any], path: Path) -> list[tuple[date, DayPlan]]:
    result: list[tuple[date, DayPlan]] = []
    for number, rule in enumerate(rules):
        where = f"{path}: ordinary_days[{number}]"
        body = _entry(rule, where, ("valid_from", "all", "derivatives", "others"))
        valid_from = _date(body.get("valid_from"), f"{where}.valid_from")
        if "all" in body:
            timeline = _timeline(body["all"], f"{where}.all")
            plan = DayPlan(timeline, timeline)
        else:
            plan = DayPlan(
                _timeline(body.get("derivatives"), f"{where}.derivatives"),
                _timeline(body.get("others"), f"{where}.others"),
            )
        if result and valid_from <= result[-1][0]:
            raise BadInput(f"{where}.valid_from {valid_from}: rules must be in the order of their dates")
        result.append((valid_from, plan))
    if not result:
        raise BadInput(f"{path}: ordinary_days: at least one rule is needed")
    return result


def _timeline(value: Any, where: str) -> Timeline:
    phases = [phase.value for phase in Phase if phase is not Phase.CLOSED]
    body = _entry(value, where, tuple(phases))
    if Phase.CONTINUOUS.value not in body:
        raise BadInput(f"{where}: continuous is missing")
    spans = [
        (start, end, Phase(name)) for name, hours in body.items() for start, end in _hours(hours, f"{where}.{name}")
    ]
    try:
        return Timeline.of(spans)
    except ValueError as error:
        raise BadInput(f"{where}: {error}") from None


def _hours(value: Any, where: str) -> Spans:
    spans: list[tuple[int, int]] = []
    for text in str(value).split(","):
        match = _SPAN.match(text.strip())
        if match is None:
            raise BadInput(
                f"{where}: {value!r}: must be HH:MM-HH:MM in IST, several with commas between, or {_ORDINARY}"
            )
        hour, minute, to_hour, to_minute = map(int, match.groups())
        start, end = (hour * 60 + minute) * MINUTE_NS, (to_hour * 60 + to_minute) * MINUTE_NS
        if end <= start or (spans and start < spans[-1][1]):
            raise BadInput(f"{where}: {value!r}: hours must run forwards and not overlap")
        spans.append((start, end))
    return tuple(spans)


def _covered(value: Any, where: str, table: CalendarTable) -> date:
    day = _date(value, where)
    if not table.first <= day <= table.until:
        raise BadInput(f"{where}: {day} is outside the coverage {table.first} to {table.until}")
    return day


def _date(value: Any, where: str) -> date:
    # YAML also knows timestamps; a datetime is a date to Python, but not to us.
    if type(value) is date:
        return value
    raise BadInput(f"{where}: {value!r}: must be a date, YYYY-MM-DD")


def _kind(value: Any, where: str) -> SessionKind:
    try:
        return SessionKind(value)
    except ValueError:
        raise BadInput(f"{where}: kind {value!r}: must be one of {', '.join(SessionKind)}") from None


def _name(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    raise BadInput(f"{where}: name {value!r}: must be text")


def _reason(body: dict[str, Any], where: str) -> None:
    reason = body.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise BadInput(f"{where}: reason is missing; an override says why it is there (a circular's number, say)")


def _entry(value: Any, where: str, keys: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f"{where}: {value!r}: must be a mapping with {', '.join(keys)}")
    _only(value, keys, where)
    return value


def _only(body: dict[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in body:
        if key not in keys:
            raise BadInput(f"{where}: unknown key {key!r}; allowed: {', '.join(keys)}")


def _of(document: dict[str, Any], key: str, kind: type, path: Path) -> Any:
    value = document.get(key)
    if not isinstance(value, kind):
        raise BadInput(f"{path}: {key}: {value!r}: must be a {'mapping' if kind is dict else 'list'}")
    return value
