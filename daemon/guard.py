"""What protects the account, as a fold: the breaker board, the health of data and model, and which model decides.

Readings are measured here; what latches or releases is a record of its own (`daemon.breakers` makes it), and only the
fold of that record changes a latch. So a recovery latches what was latched, whatever the limits file says by then.
"""

from __future__ import annotations

from daemon.bus import Envelope
from daemon.messages import (
    BreakerApproved,
    BreakerReleased,
    BreakerTripped,
    Decided,
    ModelLoaded,
    Outcome,
    RollbackDecided,
)
from daemon.view import MarketView
from market.corporate_actions import CorporateAction
from market.money import Paise
from risk.breakers import model_loss
from risk.breakers.base import Reading
from risk.breakers.board import BreakerBoard, Trip
from risk.breakers.health import DATA_HEALTH, MODEL_HEALTH, Health
from risk.schema import RiskLimits


class Guard:
    """Board, health and models of one portfolio. `board` is None until the journal's first start."""

    def __init__(self, limits: RiskLimits, view: MarketView) -> None:
        self._limits = limits
        self._view = view
        self.board: BreakerBoard | None = None
        self.data_health, self.model_health = Health.of(limits)
        # Model versions in the order in which they were taken over; the last one decides.
        self.models: list[str] = []
        # Models that lost too much, and the version that is to replace the last of them (empty: nothing is pending).
        self.thrown_out: set[str] = set()
        self.rollback_due = ""
        # A trip of the model's loss that nobody has answered yet, neither by a rollback nor by choosing another model.
        self.unanswered: BreakerTripped | None = None

    @property
    def model(self) -> str:
        """The version of the model that decides; empty while a classical strategy does."""
        return self.models[-1] if self.models else ""

    def start(self, opening: Paise) -> None:
        """Make the board of an account that starts with `opening`."""
        self.board = BreakerBoard.start(self._limits, initial_equity=opening)

    def measure(self, reading: Reading) -> None:
        """Take a reading in; nothing latches."""
        if self.board is not None:
            self.board = self.board.measure(reading)

    def start_again(self, model: str, *, at_ns: int) -> None:
        """A process has started: nobody waited for a known equity while there was none."""
        self.activate(model)
        if self.board is not None:
            self.board = self.board.forget_waiting(at_ns)

    def earlier_model(self) -> str:
        """Return the newest model before the one that decides which was not thrown out; empty when there is none."""
        before = [m for m in self.models if m and m != self.model and m not in self.thrown_out]
        return before[-1] if before else ""

    def activate(self, model: str) -> None:
        """Note which model decides from here on; the same one again changes nothing.

        Another one was chosen by a person, or is the rollback itself: either way no rollback waits any more, and the one
        chosen has another chance.
        """
        if model != self.model:
            self.rollback_due = ""
            if self.unanswered is not None:
                self.thrown_out.add(self.unanswered.detail)
                self.unanswered = None
            self.thrown_out.discard(model)
        if model != self.model or not self.models:
            self.models.append(model)
            self.model_health = self.model_health.good()
        if self.board is not None:
            self.board = self.board.activate(model)

    def apply_action(self, action: CorporateAction, *, before: Paise, after: Paise) -> None:
        """Take a split or bonus issue into account; `before` and `after` are the holding's entry price around it."""
        if self.board is not None:
            self.board = self.board.apply_action(
                action.symbol, action.numerator, action.denominator, before=before, after=after
            )

    def count_refused(self, detail: str) -> None:
        """Judge the data by the longest run of refused bars of one instrument."""
        worst = max(self._view.refused.values(), default=0)
        self.data_health = self.data_health.bad(detail, count=worst) if worst else self.data_health.good()

    def judge_model(self, message: Decided) -> None:
        """Count answers that are no answers: late, failed, invalid, or refused for what they are.

        A strategy that holds has answered; a decision that was skipped, or refused for the account's state, says nothing.
        """
        reason = message.reasons[0] if message.reasons else ""
        held = message.outcome is Outcome.HOLD and not reason.startswith("STRATEGY_HOLD")
        impossible = [why for why in message.reasons if why.startswith("TARGET_")]
        refused = message.outcome is Outcome.REFUSED and impossible
        if held or refused:
            self.model_health = self.model_health.bad(impossible[0] if refused else reason)
        elif message.outcome in (Outcome.APPROVED, Outcome.HOLD):
            self.model_health = self.model_health.good()

    # ---- fold steps --------------------------------------------------------------------------------------------------

    def on_model(self, message: ModelLoaded, _: Envelope) -> None:
        """Take over a model that was accepted; one that a person chooses again is given another chance."""
        if message.version == self.rollback_due:
            self.rollback_due = ""  # accepted or refused: it was answered
        if message.accepted:
            self.activate(message.version)

    def on_rollback(self, message: RollbackDecided, _: Envelope) -> None:
        """Note who was thrown out, and who is to come back."""
        self.thrown_out.add(message.model)
        self.rollback_due = message.back_to
        self.unanswered = None

    def on_tripped(self, message: BreakerTripped, envelope: Envelope) -> None:
        """Latch; a model that lost too much is to be answered for."""
        if message.name == model_loss.NAME:
            self.unanswered = message
        if self.board is not None:
            trip = Trip(message.name, envelope.at_ns, message.used, message.limit, message.detail, message.until_ns)
            self.board = self.board.latch(trip)

    def on_approved(self, message: BreakerApproved, envelope: Envelope) -> None:
        """Note a person's approval on every latch that has none."""
        if self.board is not None and any(not latch.approved for latch in self.board.latches):
            self.board = self.board.approve(who=str(message.uid), reason=message.reason, at_ns=envelope.at_ns)

    def on_released(self, message: BreakerReleased, _: Envelope) -> None:
        """Release; health is counted afresh."""
        if self.board is not None:
            self.board = self.board.release(message.names)
        if model_loss.NAME in message.names:
            self.unanswered = None
        if DATA_HEALTH in message.names:
            self._view.refused.clear()
            self.data_health = self.data_health.good()
        if MODEL_HEALTH in message.names:
            self.model_health = self.model_health.good()
