"""The documentation of the gate is written from the code; a stale file fails here."""

from __future__ import annotations

from pathlib import Path

from risk.breakers.board import BREAKERS
from risk.document import document
from risk.reasons import ReasonCode
from risk.schema import RiskLimits

FILE = Path(__file__).resolve().parents[2] / "docs" / "risk.md"


def test_the_file_in_the_tree_is_what_the_code_says():
    assert FILE.read_text() == document(), "stale: run `make docs`"


def test_every_key_every_breaker_and_every_code_is_in_it():
    text = document()
    for section, field in RiskLimits.model_fields.items():
        assert f"### {section}" in text
        for key in field.annotation.model_fields:
            assert f"| `{key}` |" in text
    assert all(f"**{breaker.__struct_config__.tag}**" in text for breaker in BREAKERS)
    assert all(f"| `{code}` |" in text for code in ReasonCode)


def test_it_is_for_people():
    text = document()
    assert "None;" not in text and "| None |" not in text and "typing" not in text
    assert "a number above 0 and at most 1" in text and "| `risk.breakers.drawdown` |" in text
