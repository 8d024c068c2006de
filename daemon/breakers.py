"""Circuit breakers in the running daemon: what the board measured becomes a trip or a release, on record.

The fold measures (`State`); this handler looks at the result after everything that may have moved it, and says so in a
record, and only the fold of that record latches or releases. So a recovery latches what was latched, whatever the limits
file says by then.

A model that lost too much is taken back here, and a liquidation is set going. Unknown equity has a deadline of its own,
kept by a timer, since no bar may come to ask.
"""

from __future__ import annotations

from typing import Any, Final

from daemon.alarms import alarm
from daemon.bus import Bus, Envelope, Output
from daemon.effects import Alert, RollBack, SetTimer
from daemon.messages import (
    BarsRejected,
    BreakerReleased,
    BreakerTripped,
    CashMoved,
    DaemonStarted,
    Decided,
    ExitDue,
    OrderReports,
    ReadingDue,
    RollbackDecided,
    SessionOpened,
)
from daemon.state import State
from market.bar import BarBatch
from risk.breakers import liquidation, model_loss
from risk.breakers.board import UNKNOWN_EQUITY_DEADLINE_NS, Trip
from risk.reasons import Reason, ReasonCode
from risk.schema import RiskLimits

# After these the account, or what is known of it, may have moved.
_ASKED_AFTER: Final = (
    BarBatch,
    BarsRejected,
    BreakerReleased,
    CashMoved,
    DaemonStarted,
    Decided,
    OrderReports,
    ReadingDue,
    SessionOpened,
)
_TIMER: Final = "unknown-equity"


class BreakerKeeper:
    """Turns verdicts into records."""

    def __init__(self, state: State, limits: RiskLimits) -> None:
        self.state = state
        self.limits = limits

    def wire(self, bus: Bus) -> None:
        """Register the handlers."""
        for kind in _ASKED_AFTER:
            bus.handle(kind, self.judge)
        bus.handle(BreakerTripped, self.on_tripped)
        bus.handle(DaemonStarted, self.on_started)

    def judge(self, _: Any, envelope: Envelope) -> list[Output] | None:
        """Return what is to be released, or else what has tripped; and keep the deadline of an unknown equity."""
        state = self.state
        board = state.guard.board
        if board is None:
            return None
        if board.latches:
            free = board.releasable(envelope.at_ns)
            if free:
                who = tuple([latch.approved_by for latch in board.latches if latch.name in free])
                detail = f"{', '.join(free)}: the pause is over"
                # Its own record is judged next: what is still over a limit trips again at once.
                return [
                    BreakerReleased(names=free, approved_by=who),
                    Alert("warning", "breaker.released", detail),
                ]
        outputs: list[Output] = []
        pause = envelope.at_ns + board.pause_ns
        found = [
            Trip(verdict.name, envelope.at_ns, verdict.used, verdict.limit, verdict.detail, pause)
            for verdict in (state.guard.data_health.verdict, state.guard.model_health.verdict)
            if verdict.tripped and verdict.name not in board.latched
        ]
        for trip in (*found, *board.due(envelope.at_ns)):
            outputs.append(
                BreakerTripped(
                    name=trip.name, used=trip.used, limit=trip.limit, detail=trip.detail, until_ns=trip.until_ns
                )
            )
        since = board.unknown_since_ns
        if since is not None and state.session is not None:
            due = ReadingDue(session=state.session)
            if since + UNKNOWN_EQUITY_DEADLINE_NS > envelope.at_ns:
                outputs.append(SetTimer(_TIMER, since + UNKNOWN_EQUITY_DEADLINE_NS, due))
        return outputs or None

    def on_started(self, _: DaemonStarted, envelope: Envelope) -> list[Output] | None:
        """Make up for a rollback that a kill kept from happening, or from being decided after its trip."""
        guard = self.state.guard
        if guard.rollback_due:
            return [RollBack(guard.rollback_due)]
        if guard.unanswered is None or not self.limits.recovery.enable_auto_rollback:
            return None
        return self.on_tripped(guard.unanswered, envelope)  # nobody may have been told of it either

    def on_tripped(self, message: BreakerTripped, envelope: Envelope) -> list[Output]:
        """Tell people, and do what this breaker is for beyond pausing."""
        reason = Reason(ReasonCode.BREAKER_LATCHED, message.detail, message.used, message.limit, message.name)
        detail = f"{message.name}: {message.used:.4f} of {message.limit:.4f}"
        outputs: list[Output] = [
            alarm("error", (reason,), self.limits),
            Alert("error", "breaker.tripped", detail),
        ]
        if message.name == model_loss.NAME:
            outputs += self._roll_back(message)
        if message.name == liquidation.NAME and self.state.session is not None:
            outputs.append(ExitDue(session=self.state.session, why=detail))
        return outputs

    def _roll_back(self, message: BreakerTripped) -> list[Output]:
        model, back_to = self.state.guard.model, self.state.guard.earlier_model()
        outputs: list[Output] = [RollbackDecided(model=model, back_to=back_to, used=message.used, limit=message.limit)]
        if back_to:
            outputs.append(RollBack(back_to))
        else:
            outputs.append(
                Alert("error", "model.no_rollback", f"{model} lost too much and there is no model before it")
            )
        return outputs
