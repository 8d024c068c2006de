"""Only the gate makes an approval: no other module builds or seals one, and an altered one does not verify."""

from __future__ import annotations

import ast
from datetime import date
from pathlib import Path

import msgspec
import pytest

from market.money import rupees
from risk.approval import ApprovedOrder, ProposedOrder, Side, is_approved
from risk.gate import Book, Gate, OrderContext
from risk.limits import RiskLimits

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("market", "strategies", "risk", "brokers", "training", "daemon", "tarazu", "scripts", "bench", "production")
# approval.py defines the seal, gate.py alone uses it.
ALLOWED = {Path("risk/approval.py"), Path("risk/gate.py")}
SECRET = {"_seal", "_digest", "_KEY"}


def bypasses(source: str) -> list[str]:
    """Return what in a module makes, or could make, an approval: construction (also by another name), the seal, the key."""
    tree = ast.parse(source)
    names = {"ApprovedOrder"}
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name == "ApprovedOrder" and alias.asname:
                    names.add(alias.asname)
                if node.module == "risk.approval" and alias.name in SECRET | {"*"}:
                    found.append(f"line {node.lineno}: imports {alias.name}")
        if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Name, ast.Attribute)):
            value = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            if value in names:
                names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            callee = node.func
            name = (
                callee.id if isinstance(callee, ast.Name) else callee.attr if isinstance(callee, ast.Attribute) else ""
            )
            if name in names or (
                name == "__new__" and isinstance(callee, ast.Attribute) and ast.unparse(callee.value) in names
            ):
                found.append(f"line {node.lineno}: constructs ApprovedOrder")
        if isinstance(node, ast.Attribute) and node.attr == "_seal":
            found.append(f"line {node.lineno}: reaches for the seal")
        if isinstance(node, ast.Constant) and node.value == "_seal":
            found.append(f"line {node.lineno}: names the seal in a text")
    return found


def modules() -> list[Path]:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")] + list(ROOT.glob("*.py"))
    return sorted(path.relative_to(ROOT) for path in files)


def test_no_module_but_the_gate_makes_approvals():
    scanned = modules()
    assert Path("risk/gate.py") in scanned and len(scanned) > 20
    offenders = {str(m): found for m in scanned if m not in ALLOWED and (found := bypasses((ROOT / m).read_text()))}
    assert offenders == {}


def test_the_gate_seals_in_one_place_only():
    calls = [
        node
        for node in ast.walk(ast.parse((ROOT / "risk/gate.py").read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_seal"
    ]
    assert len(calls) == 1


@pytest.mark.parametrize(
    "planted",
    [
        "from risk.approval import ApprovedOrder\norder = ApprovedOrder('t', 'p', 'SBIN', 'buy', 1, 1, 'v', 0, 0)",
        "from risk.approval import ApprovedOrder as Fine\norder = Fine()",
        "import risk.approval\norder = risk.approval.ApprovedOrder()",
        "from risk.approval import ApprovedOrder\nMake = ApprovedOrder\norder = Make()",
        "from risk import approval\nMake = approval.ApprovedOrder\norder = Make()",
        "from risk.approval import ApprovedOrder\norder = ApprovedOrder.__new__(ApprovedOrder)",
        "from risk.approval import _seal",
        "from risk.approval import _digest, _KEY",
        "from risk.approval import *",
        "from risk import approval\norder = approval._seal(None, limits_version='', priced_at_ns=0)",
        "from risk import approval\norder = getattr(approval, '_seal')(None)",
    ],
)
def test_the_scan_finds_a_planted_bypass(planted):
    assert bypasses(planted)


def test_the_scan_lets_honest_uses_pass():
    assert not bypasses(
        "from risk.approval import ApprovedOrder, is_approved\n"
        "def submit(orders: list[ApprovedOrder]) -> bool:\n"
        "    return all(isinstance(o, ApprovedOrder) and is_approved(o) for o in orders)\n"
    )


def sealed() -> ApprovedOrder:
    book = Book(
        ("SBIN",), (100,), (rupees(1_000),), rupees(900_000), rupees(1_000_000), (True,), 1, 2, date(2025, 6, 2)
    )
    context = OrderContext(book=book, available=rupees(1), sellable={"SBIN": 100}, priced_not_before_ns=0, halted=False)
    order = ProposedOrder("A1", "plan", "SBIN", Side.SELL, 10, rupees(1_000))
    (approved,), _ = Gate(RiskLimits()).review_orders([order], context)
    return approved


CHANGES = {
    "tag": "B1",
    "plan_id": "other",
    "symbol": "TCS",
    "side": Side.BUY,
    "quantity": 11,
    "limit": rupees(999),
    "limits_version": "0" * 16,
    "priced_at_ns": 2,
    "seal": 0,
}


def test_what_the_gate_sealed_verifies_and_an_equal_copy_too():
    order = sealed()
    assert is_approved(order) and is_approved(msgspec.structs.replace(order))


@pytest.mark.parametrize("field", ApprovedOrder.__struct_fields__)
def test_a_copy_with_any_field_changed_does_not_verify(field):
    assert not is_approved(msgspec.structs.replace(sealed(), **{field: CHANGES[field]}))


def test_a_proposal_and_a_handmade_order_do_not_verify():
    assert not is_approved(ProposedOrder("A1", "plan", "SBIN", Side.SELL, 10, rupees(1_000)))
    assert not is_approved(ApprovedOrder("A1", "plan", "SBIN", Side.SELL, 10, rupees(1_000), "v", 1, 12345))


def test_an_approved_order_cannot_be_changed_in_place():
    with pytest.raises(AttributeError):
        sealed().quantity = 1_000  # type: ignore[misc]
