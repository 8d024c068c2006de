"""Only the gate makes an approval: no other module builds or seals one, and an altered one does not verify."""

from __future__ import annotations

import ast
from datetime import date
from pathlib import Path

import msgspec
import pytest

from market.money import rupees
from risk.approval import ApprovedOrder, ApprovedPlan, ProposedOrder, Side, _seal, is_approved, is_approved_plan
from risk.gate import Book, Gate, OrderContext
from risk.limits import RiskLimits
from risk.reasons import ReasonCode
from risk.schema import Execution

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("market", "strategies", "risk", "brokers", "training", "daemon", "tarazu", "scripts", "bench", "production")
# approval.py defines the seal, gate.py alone uses it.
ALLOWED = {Path("risk/approval.py"), Path("risk/gate.py")}
SECRET = {"_seal", "_seal_plan", "_digest", "_plan_digest", "_KEY"}
SEALED = {"ApprovedOrder", "ApprovedPlan"}


def bypasses(source: str) -> list[str]:
    """Return what in a module makes, or could make, an approval: construction (also by another name), the seal, the key."""
    tree = ast.parse(source)
    names = set(SEALED)
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name in SEALED and alias.asname:
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
                found.append(f"line {node.lineno}: constructs an approval")
        if isinstance(node, ast.Attribute) and node.attr in SECRET:
            found.append(f"line {node.lineno}: reaches for the seal")
        if isinstance(node, ast.Constant) and node.value in SECRET:
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


@pytest.mark.parametrize("seal", ["_seal", "_seal_plan"])
def test_the_gate_seals_in_one_place_only(seal):
    calls = [
        node
        for node in ast.walk(ast.parse((ROOT / "risk/gate.py").read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == seal
    ]
    assert len(calls) == 1


def test_no_module_copies_an_approval_with_changes():
    """`replace` on an order or plan is the quiet bypass: every call in the project is on something else."""
    suspects = []
    for module in modules():
        if module in ALLOWED:
            continue
        for node in ast.walk(ast.parse((ROOT / module).read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("replace") and node.args:
                what = ast.unparse(node.args[0])
                if what in {"order", "approved", "plan", "made"} and node.keywords:
                    suspects.append(f"{module}:{node.lineno} {ast.unparse(node)}")
    assert suspects == []


@pytest.mark.parametrize(
    "planted",
    [
        "from risk.approval import ApprovedOrder\norder = ApprovedOrder('t', 'p', 'SBIN', 'buy', 1, 1, 'v', 0, 0)",
        "from risk.approval import ApprovedOrder as Fine\norder = Fine()",
        "from risk.approval import ApprovedPlan\nplan = ApprovedPlan('p', None, (), (), (), (), 1, True, 'v', 0, 0)",
        "from risk.approval import ApprovedPlan as Fine\nplan = Fine()",
        "from risk.approval import _seal_plan",
        "from risk import approval\nplan = approval._seal_plan(None)",
        "from risk import approval\nseal = getattr(approval, '_plan_digest')",
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


BOOK = Book(("SBIN",), (100,), (rupees(1_000),), rupees(900_000), rupees(1_000_000), (True,), 1, 2, date(2025, 6, 2))
CONTEXT = OrderContext(book=BOOK, available=rupees(1), sellable={"SBIN": 100}, priced_not_before_ns=0, halted=False)
SALE = ProposedOrder("A1", "plan", "SBIN", Side.SELL, 10, rupees(1_000))
GATE = Gate(RiskLimits())
OTHER_LIMITS = RiskLimits(execution=Execution(max_orders_per_day=999))


def sealed_plan(gate: Gate = GATE) -> ApprovedPlan:
    plan = gate.approve_plan("plan", BOOK, (50,))
    assert isinstance(plan, ApprovedPlan)
    return plan


def sealed() -> ApprovedOrder:
    (approved,), _ = GATE.review_orders([SALE], CONTEXT, sealed_plan())
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
    "leaves": True,
}
PLAN_CHANGES = {
    "plan_id": "other",
    "session": date(2025, 6, 3),
    "symbols": ("TCS",),
    "before": (99,),
    "after": (49,),
    "prices": (rupees(999),),
    "equity": rupees(999_999),
    "exit": True,
    "limits_version": "0" * 16,
    "priced_at_ns": 2,
    "seal": 0,
}


def test_what_the_gate_sealed_verifies_and_an_equal_copy_too():
    order, plan = sealed(), sealed_plan()
    assert is_approved(order) and is_approved(msgspec.structs.replace(order))
    assert is_approved_plan(plan) and is_approved_plan(msgspec.structs.replace(plan))


def test_only_the_orders_of_an_exit_may_leave_despite_a_halt():
    leaving = GATE.approve_plan("plan", BOOK, (50,), leaves=True)
    assert isinstance(leaving, ApprovedPlan)
    (order,), _ = GATE.review_orders([SALE], CONTEXT, leaving)
    assert order.leaves and is_approved(order)
    assert not sealed().leaves and not _seal(SALE, limits_version="v", priced_at_ns=0).leaves


@pytest.mark.parametrize("field", ApprovedOrder.__struct_fields__)
def test_a_copy_of_an_order_with_any_field_changed_does_not_verify(field):
    assert not is_approved(msgspec.structs.replace(sealed(), **{field: CHANGES[field]}))


@pytest.mark.parametrize("field", ApprovedPlan.__struct_fields__)
def test_a_copy_of_a_plan_with_any_field_changed_approves_no_order(field):
    forged = msgspec.structs.replace(sealed_plan(), **{field: PLAN_CHANGES[field]})
    assert not is_approved_plan(forged)
    approved, refused = GATE.review_orders([SALE], CONTEXT, forged)
    assert approved == [] and [reason.code for reason in refused[0].reasons] == [ReasonCode.PLAN_NOT_APPROVED]


def test_a_proposal_and_a_handmade_order_or_plan_do_not_verify():
    assert not is_approved(SALE)
    assert not is_approved(ApprovedOrder("A1", "plan", "SBIN", Side.SELL, 10, rupees(1_000), "v", 1, 12345))
    handmade = ApprovedPlan(
        "plan",
        BOOK.session,
        BOOK.symbols,
        (100,),
        (50,),
        BOOK.prices,
        BOOK.equity,
        False,
        GATE.limits.version,
        1,
        12345,
    )
    assert not is_approved_plan(handmade) and not is_approved_plan(sealed())
    for forged in (handmade, None, sealed()):
        assert GATE.review_orders([SALE], CONTEXT, forged)[0] == []  # type: ignore[arg-type]


def test_approvals_cannot_be_changed_in_place():
    with pytest.raises(AttributeError):
        sealed().quantity = 1_000  # type: ignore[misc]
    with pytest.raises(AttributeError):
        sealed_plan().after = (1_000,)  # type: ignore[misc]


def test_a_plan_approved_under_other_limits_is_stale():
    old = sealed_plan(Gate(OTHER_LIMITS))
    assert is_approved_plan(old)
    approved, refused = GATE.review_orders([SALE], CONTEXT, old)
    assert approved == [] and refused[0].reasons[0].code is ReasonCode.PLAN_LIMITS_CHANGED


def test_a_plan_on_prices_that_are_too_old_is_stale():
    late = msgspec.structs.replace(CONTEXT, priced_not_before_ns=2)
    approved, refused = GATE.review_orders([SALE], late, sealed_plan())
    assert approved == [] and refused[0].reasons[0].code is ReasonCode.PLAN_PRICE_STALE


def test_the_last_look_finds_a_forged_a_stale_and_an_outdated_order():
    order = sealed()
    assert GATE.last_look(order, priced_not_before_ns=1) is None
    forged = msgspec.structs.replace(order, quantity=11)
    found = GATE.last_look(forged, priced_not_before_ns=1)
    assert found is not None and found.code is ReasonCode.PLAN_NOT_APPROVED
    found = GATE.last_look(order, priced_not_before_ns=2)
    assert found is not None and found.code is ReasonCode.PLAN_PRICE_STALE and found.symbol == "SBIN"
    found = Gate(OTHER_LIMITS).last_look(order, priced_not_before_ns=1)
    assert found is not None and found.code is ReasonCode.PLAN_LIMITS_CHANGED
