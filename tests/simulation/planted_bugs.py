"""Faults planted into the real code, one at a time: does the simulation see each? `make planted-bugs` prints the table.

Each changes a line or two of a copy of the packages; the copy's own simulation runs seed after seed until an invariant
breaks, for at most 2,000 days. One that survives is a hole in the invariants.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("market", "strategies", "risk", "brokers", "daemon", "tarazu")
MOST_DAYS = 2_000
DAYS_A_SEED = 10


@dataclass(frozen=True)
class Bug:
    """`changes` are (file, what it says, what it says instead)."""

    name: str
    changes: tuple[tuple[str, str, str], ...]


def bug(name: str, file: str, old: str, new: str, *more: tuple[str, str, str]) -> Bug:
    return Bug(name, ((file, old, new), *more))


BUGS = (
    bug(
        "an order without an answer is sent again after ten seconds", "daemon/edges.py",
        "            self.outside.broker.submit(tuple(leaving))\n",
        "            self.outside.broker.submit(tuple(leaving))\n"
        "            self.clock.loop.call_later(10.0, lambda: [self.outside.broker.submit((o,)) for o in leaving"
        " if str(self.state.orders[o.tag].state) == 'unknown'])\n",
    ),
    bug(
        "the intent is recorded after the send", "daemon/effects.py",
        '    """Send approved orders, each once, after the last look at the stop latch."""\n\n    durable: ClassVar[bool] = True',
        '    """Send approved orders, each once, after the last look at the stop latch."""\n\n    durable: ClassVar[bool] = False',
    ),
    bug("a record counts as on disk when it is appended", "daemon/journal.py",
        "        if not self.durable:\n            self.durable_seq = seq", "        if True:\n            self.durable_seq = seq"),
    bug("breaker latches are forgotten at a restart", "risk/breakers/board.py",
        "return self if self.unknown_since_ns is None else msgspec.structs.replace(self, unknown_since_ns=at_ns)",
        "return msgspec.structs.replace(self, latches=())"),
    bug("halts are forgotten at a restart", "daemon/state.py",
        "        # Whatever was true of the broker before is no longer known to be.\n",
        "        self.halts.clear()\n"),
    bug("a comparison of the books ends a halt", "daemon/state.py",
        "        self.reconciled_clean = message.clean\n", "        self.reconciled_clean = message.clean\n        self.halts.clear()\n"),
    bug("a fill that comes twice counts twice", "brokers/orders.py",
        "        if known is not None:\n            same", "        if False:\n            same"),
    bug("fills after a cancel are not counted", "brokers/orders.py",
        "        known = self.fills.get(trade_id)\n",
        "        known = self.fills.get(trade_id) or ((quantity, price) if self._end is not None else None)\n"),
    bug("purchases do not wait for the sales", "daemon/executor.py",
        "return all(orders[tag].state in TERMINAL for tag in run.tags.get(run.phase, ()))",
        "return any(orders[tag].state in TERMINAL for tag in run.tags.get(run.phase, ()))"),
    bug("an order that one look at the book does not show counts as refused", "daemon/matching.py",
        "return _report(order, ReportKind.UNKNOWN, \"on record here, not in the order book\")",
        "return _report(order, ReportKind.REJECTED, \"on record here, not in the order book\")"),
    bug("an unknown outcome counts as refused", "brokers/orders.py",
        "            self._unknown = True\n", "            self._end = OrderState.REJECTED\n"),
    bug("older bars replace newer ones", "daemon/view.py",
        "        if batch.end_ns < self.last_end_ns:\n            return False\n", ""),
    bug("closes of missed sessions are not loaded", "daemon/process.py",
        "        if history is None or history.sessions[-1] <= known:\n            return None\n",
        "        if history is None or known.year > 1:\n            return None\n"),
    bug("tags come from a counter", "daemon/order_making.py",
        "tag = order_tag(plan_id, move.symbol, side, attempt)", "tag = order_tag('', '', side, len(proposals))"),
    bug("some records are not folded at a restart", "daemon/bus.py",
        "            for reducer in self._reducers.get(type(record.message), ()):\n                reducer(record.message, envelope)\n            count",
        "            for reducer in self._reducers.get(type(record.message), ()) if record.seq % 7 else ():\n                reducer(record.message, envelope)\n            count"),
    bug("breakers are not read when prices come", "daemon/state.py",
        "                self.view.believe(batch.symbols)\n                self.guard.count_refused(\"\")\n        self._observe(envelope)",
        "                self.view.believe(batch.symbols)\n                self.guard.count_refused(\"\")"),
    bug("the slot is decided again", "daemon/agenda.py",
        "        if key in self._decided or key in self._asked:\n", "        if False:\n",
        ("daemon/agenda.py", "        return (session, slot) in self._decided", "        return False")),
    bug("a breaker is released without an approval", "risk/breakers/board.py",
        "if at_ns >= self.paused_until(latch) and (latch.approved or not self.manual)", "if at_ns >= self.paused_until(latch)"),
    bug("a breaker is released before its pause is over", "risk/breakers/board.py",
        "if at_ns >= self.paused_until(latch) and (latch.approved or not self.manual)", "if latch.approved"),
    bug("any nonce resumes", "daemon/operator.py",
        "if prepared is None or prepared.nonce != message.nonce:", "if prepared is None:"),
    bug("cash that was moved is booked twice", "daemon/state.py",
        "        self.account.correct(delta=message.amount, cause=f", "        self.account.correct(delta=2 * message.amount, cause=f"),
    bug("a split turns the wrong way", "daemon/state.py",
        "self.account.apply_action(symbol, action.numerator, action.denominator, cause=action.cause)",
        "self.account.apply_action(symbol, action.denominator, action.numerator, cause=action.cause)"),
    bug("cash of open purchases may be spent again", "daemon/order_making.py",
        "        return Paise(max(0, state.account.available - taken))", "        return Paise(max(0, state.account.available + taken))"),
    bug("impossible bars are taken", "daemon/view.py",
        "    wrong = implausible(batch)\n    if not wrong:", "    wrong = ()\n    if not wrong:"),
    bug("the stop latch is not looked at, nor the halt", "daemon/edges.py",
        "        if self.outside.engaged():\n            return \"the stop latch is engaged\"\n        if state.halts:\n",
        "        if False:\n",
        ("daemon/order_making.py", "halted=bool(state.halts) or", "halted=False or"),
        ("daemon/decision.py", "        if state.halts:\n            return \"STATE_HALTED", "        if False:\n            return \"STATE_HALTED"),
    ),
    bug("a deadline cancels nothing", "daemon/executor.py",
        "        return self._cancel(tags, f\"deadline of {run.phase}\", run, envelope)", "        return None"),
    bug("an unknown order does not block its symbol", "daemon/order_making.py",
        "return state.evidence.blocked.union([order.symbol for order in state.unknown_orders()])",
        "return state.evidence.blocked",
        ("daemon/decision.py", "[free and symbol not in unsure for free, symbol", "[free for free, symbol")),
    bug("books that could not be read are empty ones", "daemon/book_reader.py",
        "    unknown.append(f\"{name}: {answer.reason}\")\n    return None",
        "    from brokers.port import Funds\n    return Funds(0, 0) if name == 'funds' else ()"),
    bug("purchases go on before the books are compared", "daemon/executor.py",
        "        if not self.state.reconciled_clean:\n            # Fills", "        if False:\n            # Fills"),
    bug("the largest weight is not held", "risk/bounds.py", "            limits.max_weight_per_stock,\n", "            1.0,\n"),
    bug("the cash reserve is not held", "risk/schema.py",
        "        return min(1.0 - self.min_cash_reserve, self.max_leverage)", "        return 1.0"),
)  # fmt: skip

_PROGRAM = f"""
import sys
from daemon.simulation.run import run_seed
days = 0
for seed in range({MOST_DAYS // DAYS_A_SEED}):
    try:
        outcome = run_seed(seed, days={DAYS_A_SEED}, profile="full")
    except Exception as error:
        print(days, "it runs", type(error).__name__, sep="\\t")
        break
    days += outcome.days
    if outcome.broken:
        print(days, outcome.broken[0].invariant, outcome.broken[0].detail[:90], sep="\\t")
        break
else:
    print(days, "", "", sep="\\t")
"""


def hunt(planted: Bug | None) -> tuple[int, str, str]:
    """Return days until an invariant broke, which, and how; empty when none did. None: the code as it is."""
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        for package in PACKAGES:
            shutil.copytree(ROOT / package, Path(folder) / package, ignore=shutil.ignore_patterns("__pycache__"))
        for file, old, new in planted.changes if planted is not None else ():
            path = Path(folder) / file
            text = path.read_text()
            if text.count(old) != 1:
                raise SystemExit(
                    f"{planted.name}: {file} has {text.count(old)} places that say {old!r}; it must be one"
                )
            path.write_text(text.replace(old, new))
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _PROGRAM], cwd=folder, env={"PYTHONPATH": folder, "PYTHONHASHSEED": "0"},
            capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        if done.returncode or not done.stdout.strip():
            return 0, "it starts", done.stderr.strip().splitlines()[-1][:90] if done.stderr.strip() else ""
        days, invariant, detail = done.stdout.rstrip("\n").split("\t")
        return int(days), invariant, detail


def main() -> int:
    """Print the table; the exit code says whether every fault was seen, and nothing without one."""
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(hunt, (None, *BUGS)))
    print("| fault | days until seen | invariant | how |\n|---|---:|---|---|")
    names = ("none: the code as it is", *(planted.name for planted in BUGS))
    for name, (days, invariant, detail) in zip(names, found, strict=True):
        print(f"| {name} | {days if invariant else f'not in {days}'} | {invariant} | {detail} |")
    clean = not found[0][1]
    missed = sum(1 for _, invariant, _ in found[1:] if not invariant)
    print(
        f"\n{len(BUGS)} faults, {len(BUGS) - missed} seen; without one {'nothing broke' if clean else 'SOMETHING BROKE'}"
    )
    return 0 if clean and not missed else 1


if __name__ == "__main__":
    sys.exit(main())
