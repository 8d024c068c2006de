"""The breaker board: all circuit breakers and their latches, as one immutable value.

A trip latches. A latch survives restarts (the board is journaled by `to_state` and rebuilt by `from_state`), changes
of the limits file and good news; it is released by two things together: the pause has passed, *and* a person has
approved with a reason. What is released measures afresh from the reading at which it was released.

Fail closed: equity that stays unknown beyond a deadline latches `unknown_equity`, like any loss. The board sees time
only through its readings, so the daemon must keep posting readings (with `equity=None`) while it cannot know the
equity.
"""

from __future__ import annotations

from typing import Final, Self, cast

import msgspec

from market.errors import BadInput
from market.money import ZERO, Paise
from risk.breakers.base import KnownReading, PositionReading, Reading, Verdict
from risk.breakers.daily_loss import DailyLoss
from risk.breakers.drawdown import Drawdown
from risk.breakers.portfolio_value import PortfolioValue
from risk.breakers.single_stock import SingleStockLoss
from risk.breakers.weekly_loss import WeeklyLoss
from risk.schema import RiskLimits

__all__ = ["UNKNOWN_EQUITY", "BoardState", "BreakerBoard", "Latch", "PositionReading", "Reading", "Trip", "Verdict"]

ENFORCES: Final = (
    "circuit_breakers.enabled",
    "recovery.pause_duration_hours",
    "recovery.require_manual_approval",
)

UNKNOWN_EQUITY: Final = "unknown_equity"
# Equity may be unknown this long (a broker's restart, a slow read) before it counts as a breach.
UNKNOWN_EQUITY_DEADLINE_NS: Final = 10 * 60 * 1_000_000_000
_NS_PER_HOUR: Final = 3_600_000_000_000

AnyBreaker = DailyLoss | WeeklyLoss | Drawdown | SingleStockLoss | PortfolioValue
# A new breaker is one new file, this line and the union above.
BREAKERS: Final[tuple[type[AnyBreaker], ...]] = (DailyLoss, WeeklyLoss, Drawdown, SingleStockLoss, PortfolioValue)


class Latch(msgspec.Struct, frozen=True, gc=False):
    """A trip that is not cleared. Approval fields are empty until a person has approved."""

    name: str
    tripped_at_ns: int
    used: float
    limit: float
    detail: str = ""
    approved_by: str = ""
    approved_reason: str = ""
    approved_at_ns: int = 0

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


class BoardState(msgspec.Struct, frozen=True, gc=False):
    """What must survive a restart; encodes to JSON and back with msgspec."""

    breakers: tuple[AnyBreaker, ...]
    latches: tuple[Latch, ...]
    unknown_since_ns: int | None
    unseen_deposit: Paise = ZERO


class BreakerBoard(msgspec.Struct, frozen=True):
    """State of all breakers and latches. Make it with `start` or `from_state`; every method returns a new board.

    `verdicts` run parallel to `breakers` and are those of the last reading with a known equity.
    """

    breakers: tuple[AnyBreaker, ...]
    latches: tuple[Latch, ...]
    unknown_since_ns: int | None
    verdicts: tuple[Verdict, ...]
    pause_ns: int
    manual: bool
    unseen_deposit: Paise = ZERO

    @classmethod
    def start(cls, limits: RiskLimits, *, initial_equity: Paise) -> Self:
        """Return the board of an account that starts with `initial_equity` paise. Disabled breakers are not on it."""
        enabled = limits.circuit_breakers.enabled
        breakers: tuple[AnyBreaker, ...] = tuple(b.of(limits, initial_equity) for b in BREAKERS) if enabled else ()
        pause_ns = round(limits.recovery.pause_duration_hours * _NS_PER_HOUR)
        return cls(breakers, (), None, (), pause_ns, limits.recovery.require_manual_approval)

    @classmethod
    def from_state(cls, state: BoardState, limits: RiskLimits, *, initial_equity: Paise) -> Self:
        """Return the board as it was, under the limits of today. Latches stay whatever the limits now say."""
        board = cls.start(limits, initial_equity=initial_equity)
        saved = {type(b): b for b in state.breakers}
        breakers = tuple(
            breaker.recall(saved[type(breaker)]) if type(breaker) in saved else breaker  # type: ignore[arg-type]
            for breaker in board.breakers
        )
        return cls(
            breakers, state.latches, state.unknown_since_ns, (), board.pause_ns, board.manual, state.unseen_deposit
        )

    def to_state(self) -> BoardState:
        """Return what the journal keeps."""
        return BoardState(self.breakers, self.latches, self.unknown_since_ns, self.unseen_deposit)

    @property
    def latched(self) -> tuple[str, ...]:
        """Names of the breakers that hold trading back."""
        return tuple([latch.name for latch in self.latches])

    def observe(self, reading: Reading) -> tuple[Self, tuple[Trip, ...]]:
        """Return the next board and what has newly tripped.

        A latch whose pause has passed and which a person has approved is released by the first reading with a known
        equity, before that reading is judged, so that its breaker measures from there.
        """
        if reading.equity is None:
            return self._observe_unknown(reading)
        if self.unseen_deposit:
            total = Paise(reading.net_deposit + self.unseen_deposit)
            reading = msgspec.structs.replace(reading, net_deposit=total)
        known = cast(KnownReading, reading)
        latches, breakers = self.latches, self.breakers
        if latches:
            latches, breakers = self._release(known)
        after: list[AnyBreaker] = []
        verdicts: list[Verdict] = []
        trips: list[Trip] = []
        for breaker in breakers:
            state, verdict = breaker.observe(known)
            after.append(state)
            verdicts.append(verdict)
            if verdict.tripped and not (latches and any(latch.name == verdict.name for latch in latches)):
                trips.append(Trip(verdict.name, reading.at_ns, verdict.used, verdict.limit, verdict.detail))
        if trips:
            latches = (*latches, *(Latch(t.name, t.at_ns, t.used, t.limit, t.detail) for t in trips))
        board = type(self)(tuple(after), latches, None, tuple(verdicts), self.pause_ns, self.manual)
        return board, tuple(trips)

    def trip(self, name: str, *, at_ns: int, detail: str) -> Self:
        """Latch for a cause outside the account's equity: the health of data, model or broker."""
        if name in self.latched:
            return self
        return self._with_latches((*self.latches, Latch(name, at_ns, 1.0, 1.0, detail)))

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

    def _observe_unknown(self, reading: Reading) -> tuple[Self, tuple[Trip, ...]]:
        since = self.unknown_since_ns
        if since is None:
            since = reading.at_ns
        waited = reading.at_ns - since
        board = msgspec.structs.replace(
            self, unknown_since_ns=since, unseen_deposit=Paise(self.unseen_deposit + reading.net_deposit)
        )
        if not self.breakers or waited < UNKNOWN_EQUITY_DEADLINE_NS or UNKNOWN_EQUITY in self.latched:
            return board, ()
        trip = Trip(
            UNKNOWN_EQUITY,
            reading.at_ns,
            waited / 1e9,
            UNKNOWN_EQUITY_DEADLINE_NS / 1e9,
            "seconds without a known equity",
        )
        latch = Latch(trip.name, trip.at_ns, trip.used, trip.limit, trip.detail)
        return board._with_latches((*self.latches, latch)), (trip,)

    def _release(self, reading: KnownReading) -> tuple[tuple[Latch, ...], tuple[AnyBreaker, ...]]:
        free = {
            latch.name
            for latch in self.latches
            if reading.at_ns >= latch.tripped_at_ns + self.pause_ns and (latch.approved or not self.manual)
        }
        if not free:
            return self.latches, self.breakers
        kept = tuple([latch for latch in self.latches if latch.name not in free])
        names = [b.__struct_config__.tag for b in self.breakers]
        breakers = tuple([b.restart(reading) if n in free else b for b, n in zip(self.breakers, names, strict=True)])
        return kept, breakers

    def _with_latches(self, latches: tuple[Latch, ...]) -> Self:
        return msgspec.structs.replace(self, latches=latches)
