"""What protects the account, as a fold: the breaker board, the health of data and model, and which model decides.

Readings are measured here; what latches or releases is a record of its own (`daemon.breakers` makes it), and only the
fold of that record changes a latch. So a recovery latches what was latched, whatever the limits file says by then.
"""

from __future__ import annotations

from daemon.bus import Envelope
from daemon.messages import BreakerApproved, BreakerReleased, BreakerTripped, Decided, ModelLoaded, Outcome
from daemon.view import MarketView
from market.corporate_actions import CorporateAction
from market.money import Paise
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

    def activate(self, model: str) -> None:
        """Note which model decides from here on; the same one again changes nothing."""
        if model != self.model or not self.models:
            self.models.append(model)
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
        refused = message.outcome is Outcome.REFUSED and any(why.startswith("TARGET_") for why in message.reasons)
        if held or refused:
            self.model_health = self.model_health.bad(reason)
        elif message.outcome in (Outcome.APPROVED, Outcome.HOLD):
            self.model_health = self.model_health.good()

    # ---- fold steps --------------------------------------------------------------------------------------------------

    def on_model(self, message: ModelLoaded, _: Envelope) -> None:
        """Take over a model that was accepted."""
        if message.accepted:
            self.activate(message.version)

    def on_tripped(self, message: BreakerTripped, envelope: Envelope) -> None:
        """Latch."""
        if self.board is not None:
            trip = Trip(message.name, envelope.at_ns, message.used, message.limit, message.detail)
            self.board = self.board.latch(trip)

    def on_approved(self, message: BreakerApproved, envelope: Envelope) -> None:
        """Note a person's approval on every latch that has none."""
        if self.board is not None and any(not latch.approved for latch in self.board.latches):
            self.board = self.board.approve(who=str(message.uid), reason=message.reason, at_ns=envelope.at_ns)

    def on_released(self, message: BreakerReleased, _: Envelope) -> None:
        """Release; health is counted afresh."""
        if self.board is not None:
            self.board = self.board.release(message.names)
        if DATA_HEALTH in message.names:
            self._view.refused.clear()
            self.data_health = self.data_health.good()
        if MODEL_HEALTH in message.names:
            self.model_health = self.model_health.good()
