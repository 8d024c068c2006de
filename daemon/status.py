"""Status: what the daemon does and how close it is to its limits, as documented in docs/status.md. Money in rupees.

Read from the state; decides nothing. Every limit that has a "used" is here with it: a person who looks at the table
should see what will happen next before it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from daemon.clock import ist
from daemon.reconciler import code_of
from daemon.state import State
from market.money import to_rupees
from risk.alerts import monthly_sharpe
from risk.breakers.base import Verdict
from risk.breakers.liquidation import NAME as LIQUIDATION
from risk.margins import Margin, at_least, at_most, position_margins
from risk.schema import RiskLimits

if TYPE_CHECKING:
    from daemon.core import Core

_NS_PER_HOUR: Final = 3_600_000_000_000


@dataclass(slots=True)
class Since:
    """Remembers since when the daemon has been in its state: asked after each record, it sees the moment of a change."""

    condition: str = ""
    at_ns: int = 0

    def told(self, condition: str, now_ns: int) -> int:
        """Take the state of now and return since when it has held."""
        if condition != self.condition:
            self.condition, self.at_ns = condition, now_ns
        return self.at_ns


def status(core: Core) -> dict[str, Any]:
    """Return the machine-readable status (design, section 11)."""
    state, now = core.state, core.clock.now_ns()
    equity = state.equity()
    session = state.session
    condition = core.condition()
    host = core.edges.outside.strategy
    return {
        "mode": core.settings.mode,
        "state": condition,
        "since": ist(core.since.told(condition, now)).isoformat(timespec="seconds"),
        "session": None if session is None else session.isoformat(),
        "equity": None if equity is None else to_rupees(equity),
        "cash": to_rupees(state.account.cash),
        "net_deposits": to_rupees(state.history.net_deposits),
        "positions": {symbol: quantity for symbol, quantity in state.account.quantities.items() if quantity},
        "open_orders": len(state.open_orders()),
        "unknown_orders": len(state.unknown_orders()),
        "model": host.version or host.strategy.name,
        "shadow": None,
        "limits_version": core.gate.limits.version,
        "limits": limit_rows(state, core.gate.limits),
        "breakers": breaker_rows(state, now),
        "halts": dict(sorted(state.halts.items())),
        "differences": [difference.text for difference in state.evidence.differences],
        "differences_code": code_of(state.evidence.differences),
        "blocked": sorted(state.evidence.blocked),
        "waiting_plans": list(core.executor.awaiting_approval()),
        "data_age_seconds": (now - state.view.last_end_ns) / 1e9 if state.view.last_end_ns else None,
        "reconciled_at": ist(state.reconciled_ns).isoformat(timespec="seconds") if state.reconciled_ns else None,
        "journal_seq": core.journal.seq,
        "backlog": core.bus.backlog(),
        "observer_errors": core.bus.counters.observer_errors,
        "observer_error": core.bus.counters.observer_error,
    }


def limit_rows(state: State, limits: RiskLimits) -> list[dict[str, Any]]:
    """Return a row per limit: `name`, `used`, `limit`, `left` and what it is about; `used` is null when not known."""
    rows: list[Margin] = []
    equity = state.equity()
    if equity:
        held = [state.account.quantities.get(symbol, 0) for symbol in state.symbols]
        rows += position_margins(
            state.symbols, held, state.view.prices(), equity=equity, traded=state.traded_today, limits=limits
        )
        rows += _execution(state, limits, equity)
    rows.append(at_most("max_orders_per_day", state.orders_today, limits.execution.max_orders_per_day))
    rows.append(at_most("negative_days", state.history.losing_streak, limits.alerts.negative_days_threshold))
    empty = {symbol: without / count for symbol, (count, without) in state.volume.shares().items()}
    emptiest = max(empty, key=empty.__getitem__, default="")
    rows.append(at_most("zero_volume", empty.get(emptiest, 0.0), limits.alerts.zero_volume_threshold, emptiest))
    table = [_row(row) for row in rows]
    sharpe = monthly_sharpe(state.history.returns)
    least = limits.alerts.low_sharpe_threshold
    table.append(
        _row(at_least("monthly_sharpe", sharpe, least))
        if sharpe is not None
        else {
            "name": "monthly_sharpe",
            "used": None,
            "limit": least,
            "left": None,
            "detail": "not a month of sessions yet",
        }
    )
    return table


def _execution(state: State, limits: RiskLimits, equity: int) -> list[Margin]:
    largest, of = 0, ""
    slipped, symbol = 0.0, ""
    for order in state.orders.values():
        value = order.quantity * order.limit
        if value > largest:
            largest, of = value, order.symbol
        if order.average_price is not None:
            used = state.slippage(order)
            if used > slipped:
                slipped, symbol = used, order.symbol
    return [
        at_most("max_order_size", largest / equity, limits.execution.max_order_size_percent, of),
        at_most("max_acceptable_slippage", slipped, limits.execution.max_acceptable_slippage, symbol),
    ]


def _row(margin: Margin) -> dict[str, Any]:
    return {
        "name": margin.name,
        "used": margin.used,
        "limit": margin.limit,
        "left": margin.left,
        "detail": margin.detail,
    }


def breaker_rows(state: State, now_ns: int) -> list[dict[str, Any]]:
    """Return a row per breaker: `name`, `state` (ready, latched, approved, off), `used`, `limit`, `since`, `until`."""
    board = state.guard.board
    if board is None:
        return []
    latches = {latch.name: latch for latch in board.latches}
    named = {verdict.name: verdict for verdict in board.verdicts}
    rows: list[dict[str, Any]] = []
    for breaker in board.breakers:
        name = str(breaker.__struct_config__.tag)
        verdict = named.get(name)  # none before the first reading
        if name not in latches:
            rows.append(_ready(name, verdict))
    for health in (state.guard.data_health, state.guard.model_health):
        if health.name not in latches:
            watched = health.watched
            rows.append(_ready(health.name, health.verdict if watched else None, "ready" if watched else "off"))
    for latch in latches.values():
        until = board.paused_until(latch)
        rows.append(
            {
                "name": latch.name,
                "state": "approved" if latch.approved else "latched",
                "used": latch.used,
                "limit": latch.limit,
                "since": ist(latch.tripped_at_ns).isoformat(timespec="seconds"),
                # The pause alone releases nothing; a person has to approve as well.
                "until": ist(until).isoformat(timespec="seconds"),
                "detail": _pause(latch.approved, latch.detail, (until - now_ns) / _NS_PER_HOUR),
            }
        )
    if not any(row["name"] == LIQUIDATION for row in rows):
        rows.append(_ready(LIQUIDATION, None, state="off"))
    return rows


def _ready(name: str, verdict: Verdict | None, state: str = "ready") -> dict[str, Any]:
    return {
        "name": name,
        "state": state,
        "used": None if verdict is None else verdict.used,
        "limit": None if verdict is None else verdict.limit,
        "since": None,
        "until": None,
        "detail": "" if verdict is None else verdict.detail,
    }


def _pause(approved: bool, detail: str, hours: float) -> str:
    pause = f"pause ends in {hours:.1f} h" if hours > 0 else "pause is over"
    who = "approved" if approved else "waits for: tarazu approve --reason TEXT"
    return "; ".join(part for part in (detail, pause, who) if part)
