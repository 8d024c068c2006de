"""Single-stock loss breaker: trading pauses when one holding has lost too much.

Baseline: the average price paid for the shares held, or, for a holding that was there at an approved resume, the
price then if that is lower (a person has seen that loss and went on). Scope: each holding alone; the worst one
counts. Unit of `limit`: fraction of the baseline (0.08 = 8 %).
"""

from __future__ import annotations

from typing import Final, Self

import msgspec

from market.money import Paise
from risk.breakers.base import KnownReading, Verdict
from risk.schema import RiskLimits

NAME: Final = "single_stock_loss"
ENFORCES: Final = ("circuit_breakers.max_single_stock_loss",)


class SingleStockLoss(msgspec.Struct, frozen=True, gc=False, tag=NAME):
    """State of the breaker. `accepted`: symbol -> (entry price it was accepted for, price at the approved resume)."""

    limit: float
    accepted: dict[str, tuple[Paise, Paise]]

    @classmethod
    def of(cls, limits: RiskLimits, initial: Paise) -> Self:
        """Return the breaker; it needs no starting equity."""
        return cls(limits.circuit_breakers.max_single_stock_loss / 100.0, {})

    def observe(self, reading: KnownReading) -> tuple[Self, Verdict]:
        """Return the next state and the verdict for one reading."""
        accepted = self.accepted
        worst, symbol = 0.0, ""
        for position in reading.positions:
            entry = position.entry
            if position.quantity <= 0 or entry <= 0:
                continue
            if accepted and position.symbol in accepted:
                then, price = accepted[position.symbol]
                # Accepted for the shares as they were: after another purchase the new average price counts.
                if then == entry and price < entry:
                    entry = price
            lost = 1.0 - position.last / entry
            if lost > worst:
                worst, symbol = lost, position.symbol
        return self, Verdict(NAME, worst, self.limit, symbol)

    def restart(self, reading: KnownReading) -> Self:
        """Accept the losses as they are: measure what comes on top."""
        seen = {p.symbol: (p.entry, p.last) for p in reading.positions if p.quantity > 0 and p.last > 0}
        return type(self)(self.limit, seen)

    def apply_action(self, symbol: str, numerator: int, denominator: int, *, before: Paise, after: Paise) -> Self:
        """Put an accepted price on the new basis; `before` and `after` are the entry price around the action.

        The entry is handed in and not computed again: rounded twice it could differ by a paisa, and would not be
        recognised as the one that was accepted.
        """
        if symbol not in self.accepted:
            return self
        then, price = self.accepted[symbol]
        accepted = {name: pair for name, pair in self.accepted.items() if name != symbol}
        if then == before and after > 0:
            accepted[symbol] = (after, Paise((2 * price * denominator + numerator) // (2 * numerator)))
        return type(self)(self.limit, accepted)
