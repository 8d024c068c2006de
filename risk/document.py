"""Writes docs/risk.md from the code: keys from the schema, breakers from their modules, reason codes from the enum.

`make docs` writes what `python -m risk.document` prints; a test fails when the file in the tree is another.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any, Final

from pydantic import BaseModel

from risk.breakers import board
from risk.limits import REPLAY_ONLY_FALSE, SECTIONS, allowed, show
from risk.reasons import reason_table
from risk.wiring import BREAKERS, enforced_by

_HEAD: Final = """# The risk gate

<!-- Written by `make docs` from the code; a test fails when this file is stale. Do not edit it. -->

Nothing reaches a broker except an order that the gate has sealed, under a plan that the gate has sealed. A decision goes
through three looks:

1. **Targets.** The strategy's weights become the closest weights that the limits allow, or the decision is refused. When the
   limits cannot all hold at once they give way in a fixed order (docs/decisions/0002): what cannot be traded stays; then cash
   reserve and leverage; then the largest weight; then turnover; then the smallest weight. The weights become whole shares
   under the same limits, and the plan as a whole is judged and sealed.
2. **Orders.** Each order is checked under its plan, at the worst case of everything that is open, and sealed.
3. **Last look.** Just before an order leaves: the stop latch, halts, conditions (docs/status.md), latched breakers, the seal, the
   limits' version, the age of its prices.

Every verdict is in the journal with target, approved weights, what moved them and by how much, margins to every limit and
the headroom of every breaker; `tarazu status` shows used and limit of each.

While the outcome of an order is unknown, its position is an interval: limits are judged at the larger end, equity at the
smaller one, and no new order touches that instrument.
"""

_MINUTES: Final = board.UNKNOWN_EQUITY_DEADLINE_NS // 60_000_000_000

_LATCHES: Final = f"""A trip is a durable latch: a restart, a changed limits file, a jump of the clock or good news
do not clear it. Trading goes on when `recovery.pause_duration_hours` have passed **and** a person has said
`tarazu approve --reason TEXT`; both are in the journal, with the person's uid and the time. The breaker then measures afresh.
Deposits and withdrawals (`tarazu cash`) are neither profit nor loss; splits and bonus issues are in the books before a
breaker sees a price. Equity that stays unknown for {_MINUTES} minutes latches `{board.UNKNOWN_EQUITY}`, like any loss.
Paper trading enforces the same breakers as live.
"""


def document() -> str:
    """Return docs/risk.md."""
    parts = [_HEAD, "## Keys of risk_limits.yaml\n"]
    parts.append(
        "`paper` and `live` may hold the same sections; they tighten for that mode and loosen nothing. *Stricter* says in which\n"
        f"direction. {', '.join(f'`{key}`' for key in REPLAY_ONLY_FALSE)} may be false in a replay alone.\n"
    )
    where = enforced_by()
    for section, model in SECTIONS.items():
        parts.append(f"### {section}\n\n{_paragraph(model)}\n")
        rows = ["| key | default | allowed | stricter | what it does | where |", "|---|---|---|---|---|---|"]
        for key, field in model.model_fields.items():
            extra: Any = field.json_schema_extra
            rows.append(
                f"| `{key}` | {show(field.default)} | {allowed(field)} | {extra['tighter']} | {field.description} |"
                f" `{where[f'{section}.{key}']}` |"
            )
        parts.append("\n".join(rows) + "\n")
    parts.append(f"## Circuit breakers\n\n{_LATCHES}")
    for name, module in BREAKERS.items():
        parts.append(f"* **{name}**: {_flat(module.__doc__)}")
    parts.append(f"\n## Reason codes\n\n{reason_table()}\n")
    return "\n".join(parts)


def _paragraph(model: type[BaseModel]) -> str:
    return _flat(inspect.getdoc(model))


def _flat(text: str | None) -> str:
    return " ".join((text or "").split())


if __name__ == "__main__":
    sys.stdout.write(document())
