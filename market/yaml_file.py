"""Reading a configuration file in YAML: one line for every mistake, and no key that is written twice."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from market.errors import BadInput


class _Loader(yaml.SafeLoader):
    """YAML without silent surprises: a key that is written twice is a mistake, not the last one wins."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value}: this key is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, *, consequence: str = "") -> Any:
    """Return the file's content. Raises BadInput naming file and line; `consequence` is added when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        detail = error.strerror if isinstance(error, OSError) and error.strerror else "not a text file"
        raise BadInput(f"{path}: cannot be read ({detail}){consequence}") from error
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader with one more check
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not YAML"
        where = f"line {mark.line + 1}" if mark is not None else "content"
        raise BadInput(f"{path}: {where}: {problem}") from error
