"""Which code enforces each key of `risk_limits.yaml`, collected from the modules that enforce them.

Each enforcing module names its keys in a constant `ENFORCES`, next to the code. Keys that another room enforces are
listed here with the place, and so are those that cannot be switched off, with what shows that they hold. A test holds
this complete and crosses every key in the whole daemon.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

from risk import alerts, gate, order_checks, projection
from risk.breakers import (
    board,
    daily_loss,
    drawdown,
    health,
    liquidation,
    model_loss,
    portfolio_value,
    single_stock,
    weekly_loss,
)

# In the order in which docs/risk.md tells of them.
BREAKERS: Final[dict[str, ModuleType]] = {
    "daily_loss": daily_loss,
    "weekly_loss": weekly_loss,
    "drawdown": drawdown,
    "single_stock_loss": single_stock,
    "portfolio_value": portfolio_value,
    "model_loss": model_loss,
    "liquidation": liquidation,
    "data_health, model_health": health,
}

MODULES: Final = (projection, gate, order_checks, alerts, board, *BREAKERS.values())

# Key -> the code outside this room that reads it.
EXTERNALLY_ENFORCED: Final[dict[str, str]] = {
    "execution.order_timeout_minutes": "daemon.executor",
    "execution.max_orders_per_second": "daemon.pacing",
    "emergency.contacts": "daemon.alarms",
    "live.daily_approval_required": "daemon.executor",
}

# Key that can only be true -> the record of the journal that shows it.
ALWAYS_ON: Final[dict[str, str]] = {
    "emergency.emergency_stop_enabled": "Halted",
    "monitoring.log_all_trades": "OrderReports",
    "monitoring.log_all_decisions": "Decided",
    "monitoring.track_slippage": "PlanClosed",
    "monitoring.track_transaction_costs": "PlanClosed",
}


def enforced_by() -> dict[str, str]:
    """Return each wired key with the module that enforces it, or the record that shows it."""
    found = {key: module.__name__ for module in MODULES for key in module.ENFORCES}
    found.update(EXTERNALLY_ENFORCED)
    found.update({key: f"always on; journal: {record}" for key, record in ALWAYS_ON.items() if key not in found})
    return found


WIRED: Final[frozenset[str]] = frozenset(enforced_by())
