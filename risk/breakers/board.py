"""The breaker board: all circuit breakers and their latches, as one immutable value.

A trip latches. A latch survives restarts (trips and releases are records, and the board is a fold of them), changes of the
limits file and good news; it is released by two things together: the pause has passed, *and* a person has approved with
a reason. What is released measures afresh from the reading at which it was released.

Measuring, latching and releasing are steps of their own: `measure` takes a reading in and latches nothing; `due` says
what is over its limit and not latched; `releasable` says which latches may go. The daemon records what it does about
them (a trip, a release), and a fold of those records does the same again, whatever the limits file says by then.

Fail closed: equity that stays unknown beyond a deadline latches `unknown_equity`, like any loss. The board sees time
only through its readings, so the daemon must keep posting readings (with `equity=None`) while it cannot know the
equity.
"""

from __future__ import annotations

from typing import Any, Final, Self, cast

import msgspec

from market.errors import BadInput
from market.money import Paise
from risk.breakers.base import KnownReading, PositionReading, Reading, Verdict
from risk.breakers.daily_loss import DailyLoss
from risk.breakers.drawdown import Drawdown
from risk.breakers.liquidation import Liquidation
from risk.breakers.model_loss import ModelLoss
from risk.breakers.portfolio_value import PortfolioValue
from risk.breakers.single_stock import SingleStockLoss
from risk.breakers.weekly_loss import WeeklyLoss
from risk.schema import RiskLimits

__all__ = ["UNKNOWN_EQUITY", "BreakerBoard", "Latch", "PositionReading", "Reading", "Trip", "Verdict"]

ENFORCES: Final = (
    "circuit_breakers.enabled",
    "recovery.pause_duration_hours",
    "recovery.require_manual_approval",
)

UNKNOWN_EQUITY: Final = "unknown_equity"
# Equity may be unknown this long (a broker's restart, a slow read) before it counts as a breach.
UNKNOWN_EQUITY_DEADLINE_NS: Final = 10 * 60 * 1_000_000_000
_NS_PER_HOUR: Final = 3_600_000_000_000

AnyBreaker = DailyLoss | WeeklyLoss | Drawdown | SingleStockLoss | PortfolioValue | ModelLoss | Liquidation
# A new breaker is one new file, this line and the union above.
BREAKERS: Final[tuple[type[AnyBreaker], ...]] = (
    DailyLoss, WeeklyLoss, Drawdown, SingleStockLoss, PortfolioValue, ModelLoss, Liquidation,
)  # fmt: skip


class Latch(msgspec.Struct, frozen=True, gc=False):
    """A trip that is not cleared. Approval fields are empty until a person has approved.

    `until_ns` ends the pause by the limits of the trip; limits of later can make it longer, not shorter.
    """

    name: str
    tripped_at_ns: int
    used: float
    limit: float
    detail: str = ""
    approved_by: str = ""
    approved_reason: str = ""
    approved_at_ns: int = 0
    until_ns: int = 0

    @property
    def approved(self) -> bool:
        """Whether a person has approved going on."""
        return bool(self.approved_by)


class Trip(msgspec.Struct, frozen=True, gc=False):
    """News: this breaker has just latched."""

    name: str
    at_ns: int
    used: float
    limit: float
    detail: str = ""
    until_ns: int = 0


class BreakerBoard(msgspec.Struct, frozen=True):
    """State of all breakers and latches. Make it with `start`; every method returns a new board.

    `verdicts` run parallel to `breakers` and are those of `last`, the last reading with a known equity.
    """

    breakers: tuple[AnyBreaker, ...]
    latches: tuple[Latch, ...]
    unknown_since_ns: int | None
    verdicts: tuple[Verdict, ...]
    pause_ns: int
    manual: bool
    last: Any = None

    @classmethod
    def start(cls, limits: RiskLimits, *, initial_equity: Paise) -> Self:
        """Return the board of an account that starts with `initial_equity` paise. Disabled breakers are not on it."""
        made = [breaker.of(limits, initial_equity) for breaker in BREAKERS] if limits.circuit_breakers.enabled else []
        pause_ns = round(limits.recovery.pause_duration_hours * _NS_PER_HOUR)
        breakers = tuple([breaker for breaker in made if breaker is not None])
        return cls(breakers, (), None, (), pause_ns, limits.recovery.require_manual_approval)

    @property
    def latched(self) -> tuple[str, ...]:
        """Names of the breakers that hold trading back."""
        return tuple([latch.name for latch in self.latches])

    # ---- the steps ---------------------------------------------------------------------------------------------------

    def measure(self, reading: Reading) -> Self:
        """Return the board that has taken a reading in: baselines and verdicts move, no latch does.

        Cash that was moved comes with a reading whose equity is known, once; an unknown one moves no baseline.
        """
        if reading.equity is None:
            since = reading.at_ns if self.unknown_since_ns is None else self.unknown_since_ns
            return msgspec.structs.replace(self, unknown_since_ns=since)
        known = cast(KnownReading, reading)
        after: list[AnyBreaker] = []
        verdicts: list[Verdict] = []
        for breaker in self.breakers:
            state, verdict = breaker.observe(known)
            after.append(state)
            verdicts.append(verdict)
        return type(self)(tuple(after), self.latches, None, tuple(verdicts), self.pause_ns, self.manual, reading)

    def due(self, at_ns: int) -> tuple[Trip, ...]:
        """Return what is over its limit by the last measurement and not latched."""
        trips = [
            Trip(verdict.name, at_ns, verdict.used, verdict.limit, verdict.detail, at_ns + self.pause_ns)
            for verdict in self.verdicts
            if verdict.tripped and verdict.name not in self.latched
        ]
        since = self.unknown_since_ns
        if since is not None and self.breakers and UNKNOWN_EQUITY not in self.latched:
            waited = at_ns - since
            if waited >= UNKNOWN_EQUITY_DEADLINE_NS:
                what = f"{waited / 1e9:.0f} seconds without a known equity"
                used = waited / UNKNOWN_EQUITY_DEADLINE_NS
                trips.append(Trip(UNKNOWN_EQUITY, at_ns, used, 1.0, what, at_ns + self.pause_ns))
        return tuple(trips)

    def latch(self, trip: Trip) -> Self:
        """Return the board with this trip latched; one that is latched already stays as it is."""
        if trip.name in self.latched:
            return self
        latch = Latch(trip.name, trip.at_ns, trip.used, trip.limit, trip.detail, until_ns=trip.until_ns)
        return self._with_latches((*self.latches, latch))

    def paused_until(self, latch: Latch) -> int:
        """Return when a latch's pause is over (ns)."""
        return max(latch.until_ns, latch.tripped_at_ns + self.pause_ns)

    def forget_waiting(self, at_ns: int) -> Self:
        """Return the board whose wait for a known equity starts at `at_ns`: nobody waited while the process was off."""
        return self if self.unknown_since_ns is None else msgspec.structs.replace(self, unknown_since_ns=at_ns)

    def releasable(self, at_ns: int) -> tuple[str, ...]:
        """Return the latches whose pause has passed and which a person has approved, while the equity is known."""
        if not self.latches or self.last is None or self.unknown_since_ns is not None:
            return ()
        return tuple(
            [
                latch.name
                for latch in self.latches
                if at_ns >= self.paused_until(latch) and (latch.approved or not self.manual)
            ]
        )

    def release(self, names: tuple[str, ...]) -> Self:
        """Return the board without these latches; their breakers measure from the last reading on."""
        last = self.last
        breakers, verdicts = list(self.breakers), list(self.verdicts)
        for i, breaker in enumerate(breakers):
            if breaker.__struct_config__.tag in names and last is not None:
                breakers[i], verdicts[i] = breaker.restart(last).observe(last)
        kept = tuple([latch for latch in self.latches if latch.name not in names])
        return msgspec.structs.replace(self, breakers=tuple(breakers), verdicts=tuple(verdicts), latches=kept)

    # ---- people and causes from outside ------------------------------------------------------------------------------

    def activate(self, model: str) -> Self:
        """Return the board after a model (its version; empty: none) was activated: its loss counts from here."""
        breakers = tuple([b.activate(model) if isinstance(b, ModelLoss) else b for b in self.breakers])
        # What the one before lost is not this one's loss.
        verdicts = tuple(
            [
                Verdict(verdict.name, 0.0, verdict.limit, model) if after is not before else verdict
                for verdict, before, after in zip(self.verdicts, self.breakers, breakers, strict=False)
            ]
        )
        return msgspec.structs.replace(self, breakers=breakers, verdicts=verdicts)

    def approve(self, who: str, reason: str, at_ns: int) -> Self:
        """Record a person's approval of every latch that has none. It releases nothing before the pause has passed."""
        if not who.strip() or not reason.strip():
            raise BadInput("approve: a name and a reason are needed; an approval without a reason is not one")
        if not any(not latch.approved for latch in self.latches):
            raise BadInput("approve: no circuit breaker waits for an approval")
        return self._with_latches(
            tuple(
                latch
                if latch.approved
                else msgspec.structs.replace(
                    latch, approved_by=who.strip(), approved_reason=reason.strip(), approved_at_ns=at_ns
                )
                for latch in self.latches
            )
        )

    def apply_action(self, symbol: str, numerator: int, denominator: int, *, before: Paise, after: Paise) -> Self:
        """Take a split or a bonus issue into account; `before` and `after` are the holding's entry price around it.

        Breakers that measure the account's equity need nothing: an action does not change it.
        """
        breakers = tuple(
            breaker.apply_action(symbol, numerator, denominator, before=before, after=after)
            if isinstance(breaker, SingleStockLoss)
            else breaker
            for breaker in self.breakers
        )
        # The last reading is on the old basis: nothing is released by it any more.
        return msgspec.structs.replace(self, breakers=breakers, last=None)

    def _with_latches(self, latches: tuple[Latch, ...]) -> Self:
        return msgspec.structs.replace(self, latches=latches)
