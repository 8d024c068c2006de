"""Loading `risk_limits.yaml`: one clear line for every mistake.

The sections `live` and `paper` are overlays: they may tighten any limit for that mode and loosen none. Both are
checked whatever the mode, so that paper trading finds the mistake in the live section. What switches a protection off
is for replay alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from market.errors import BadInput
from market.yaml_file import read_yaml
from risk.schema import RiskLimits

__all__ = ["REPLAY_ONLY_FALSE", "Mode", "RiskLimits", "load_limits"]

Mode = Literal["paper", "live", "replay"]

_OVERLAYS: Final = ("paper", "live")
REPLAY_ONLY_FALSE: Final = (
    "circuit_breakers.enabled",
    "recovery.require_manual_approval",
    "monitoring.check_data_quality",
    "monitoring.check_model_health",
)

Content = dict[str, dict[str, Any]]


def load_limits(path: Path | str, *, mode: Mode) -> RiskLimits:
    """Return the limits in force in `mode`. Raises BadInput with one line: file, key, value, what is allowed."""
    content = _read(Path(path))
    name = str(path)
    overlays = {key: content.pop(key, {}) for key in _OVERLAYS}
    own_live = {key: overlays["live"].pop(key) for key in SECTIONS["live"].model_fields if key in overlays["live"]}
    base = dict(content)
    if own_live:
        base["live"] = own_live
    _check_keys(base, file=name, prefix="")
    for key, overlay in overlays.items():
        _check_overlay_shape(overlay, file=name, prefix=f"{key}.")
        _check_keys(overlay, file=name, prefix=f"{key}.")
    limits = {"replay": _validate(base, {}, file=name, prefix="")}
    for key, overlay in overlays.items():
        limits[key] = _validate(base, overlay, file=name, prefix=f"{key}.")
        _check_tightens(limits["replay"], limits[key], overlay, file=name, prefix=f"{key}.")
    if mode != "replay":
        for dotted in REPLAY_ONLY_FALSE:
            section, key = dotted.split(".")
            if not getattr(getattr(limits[mode], section), key):
                raise BadInput(f"{name}: {dotted}: false: must be true in {mode} trading; false is for replay alone")
    return limits[mode]


SECTIONS: Final[dict[str, type[BaseModel]]] = {
    name: field.annotation  # type: ignore[misc]
    for name, field in RiskLimits.model_fields.items()
}


def _read(path: Path) -> Content:
    raw = read_yaml(path, consequence="; nothing is traded without limits")
    if not isinstance(raw, dict) or not raw:
        raise BadInput(f"{path}: content: must be sections with keys ({', '.join((*SECTIONS, 'paper'))})")
    for section, keys in raw.items():
        if section not in SECTIONS and section not in _OVERLAYS:
            raise BadInput(f"{path}: {section}: unknown section{_suggest(str(section), (*SECTIONS, *_OVERLAYS))}")
        if keys is None:
            raw[section] = {}
        elif not isinstance(keys, dict):
            raise BadInput(f"{path}: {section}: {show(keys)}: must be a section with keys")
    return raw


def _check_overlay_shape(overlay: Mapping[str, Any], *, file: str, prefix: str) -> None:
    for section, keys in overlay.items():
        if section not in SECTIONS or section == "live":
            known = [s for s in SECTIONS if s != "live"]
            raise BadInput(f"{file}: {prefix}{section}: unknown section{_suggest(str(section), known)}")
        if not isinstance(keys, dict):
            raise BadInput(f"{file}: {prefix}{section}: {show(keys)}: must be a section with keys")


def _check_keys(content: Mapping[str, Mapping[str, Any]], *, file: str, prefix: str) -> None:
    for section, keys in content.items():
        known = SECTIONS[section].model_fields
        for key in keys:
            where = f"{file}: {prefix}{section}.{key}"
            if key not in known:
                raise BadInput(f"{where}: unknown key{_suggest(str(key), known)}")


def _validate(base: Content, overlay: Content, *, file: str, prefix: str) -> RiskLimits:
    merged = {section: dict(keys) for section, keys in base.items()}
    for section, keys in overlay.items():
        merged.setdefault(section, {}).update(keys)
    try:
        return RiskLimits.model_validate(merged)
    except ValidationError as error:
        errors = error.errors()
        line = _line(errors[0], merged, overlay, prefix)
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise BadInput(f"{file}: {line}{more}") from error


def _line(error: Any, merged: Content, overlay: Content, prefix: str) -> str:
    """Return `key path: value: what is allowed` for one of pydantic's errors."""
    location = [str(part) for part in error["loc"]]
    section = location[0]
    if len(location) == 1:  # a rule between keys; its text starts with the key
        text = str(error["ctx"]["error"])
        key = text.partition(":")[0]
        return f"{prefix if key in overlay.get(section, {}) else ''}{section}.{text}"
    key = location[1]  # of the overlay itself: what is below it has been found good before
    rule = allowed(SECTIONS[section].model_fields[key])
    return f"{prefix}{section}.{key}: {show(merged[section].get(key))}: must be {rule}"


def allowed(field: FieldInfo) -> str:
    """Say in words what a key accepts."""
    kind = str(field.annotation)
    if "True" in kind:
        return "true; it cannot be switched off"
    if "bool" in kind:
        return "true or false"
    if "tuple" in kind:
        return "a list of texts"
    words = "a whole number" if "int" in kind else "a number"
    parts = []
    for rule in field.metadata:
        for attribute, text in (("gt", "above"), ("ge", "at least"), ("le", "at most")):
            bound = getattr(rule, attribute, None)
            if bound is not None:
                parts.append(f"{text} {bound:.12g}")
    empty = ", or null for off" if "None" in kind else ""
    return f"{words} {' and '.join(parts)}{empty}" if parts else f"{words}{empty}"


def _check_tightens(base: RiskLimits, mine: RiskLimits, overlay: Content, *, file: str, prefix: str) -> None:
    for section, keys in overlay.items():
        for key in keys:
            before, after = getattr(getattr(base, section), key), getattr(getattr(mine, section), key)
            if before == after:
                continue
            extra: Any = SECTIONS[section].model_fields[key].json_schema_extra
            direction = extra["tighter"]
            where = f"{file}: {prefix}{section}.{key}: {show(after)}"
            if direction == "fixed":
                raise BadInput(f"{where}: is the same in all modes ({show(before)})")
            if before is None:
                continue  # switching a limit on is tighter than off
            looser = after is None or (after > before if direction == "lower" else after < before)
            if looser:
                bound = "at most" if direction == "lower" else "at least"
                raise BadInput(f"{where}: may only tighten {section}.{key}: {bound} {show(before)}")


def _suggest(key: str, known: Any) -> str:
    close = get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; allowed: {', '.join(known)}"


def show(value: object) -> str:
    """Return a value as the file would have it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else repr(value)
