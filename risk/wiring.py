"""Which keys of `risk_limits.yaml` are enforced, collected from the modules that enforce them.

Each enforcing module names its keys in a constant `ENFORCES`, next to the code. Keys that another room enforces are
listed here with the place. `risk.limits` refuses a file that sets any other key; a test crosses each wired key and
sees behaviour change.
"""

from __future__ import annotations

from typing import Final

from risk import gate, order_checks, projection
from risk.breakers import board, daily_loss, drawdown, portfolio_value, single_stock, weekly_loss

# Key -> the code outside this room that reads it.
EXTERNALLY_ENFORCED: Final[dict[str, str]] = {"execution.order_timeout_minutes": "daemon.executor"}

WIRED: Final[frozenset[str]] = frozenset(
    key
    for module in (
        projection, gate, order_checks, board, daily_loss, weekly_loss, drawdown, single_stock, portfolio_value,
    )
    for key in module.ENFORCES
) | frozenset(EXTERNALLY_ENFORCED)  # fmt: skip
