"""The paper side of a broker process: its market has its own bars and hours, its bank and depository are told from here.

Cash and corporate actions reach it as errands of the adapter: in order, repeated until they are confirmed, and before any
later read of its books. The broker knows a movement by its sequence and an action by its key, so repeating is harmless. The
process applies its own table of actions before the open; what it knows by then changes nothing.
"""

from __future__ import annotations

from brokers.account import Correction
from brokers.paper_side import NoPaperSide
from brokers.remote_paper import RemotePaperBroker
from brokers.wire import Action, Actions, CashMove, CashMoves
from market.corporate_actions import CorporateAction
from market.money import Paise


class RemoteSide(NoPaperSide):
    """Forwards what an owner does at a broker; everything else happens there by itself."""

    def __init__(self, broker: RemotePaperBroker) -> None:
        self._broker = broker

    def apply_action(self, action: CorporateAction) -> Correction | None:
        """Credit the shares of a split or a bonus issue, unless the process has done so itself."""
        said = Action(action.ex_date, action.symbol, action.kind.value, action.numerator, action.denominator)
        self._broker.errand("/v1/actions", Actions((said,)))
        return None

    def move_cash(self, *, amount: Paise, sequence: int, cause: str) -> None:
        """Pay cash in or out."""
        self._broker.errand("/v1/cash", CashMoves((CashMove(amount, sequence, cause),)))
