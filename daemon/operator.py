"""What people may ask of a running daemon: stopping is one step by anyone permitted, going again is two with a reason.

Commands arrive as messages, so each is journaled with who (the kernel's uid) and when before anything happens.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from daemon.bus import Bus, Envelope, Output
from daemon.clock import ist
from daemon.effects import Alert, MoveCash, ReadAccount, ReleaseStop, Reply
from daemon.executor import Executor
from daemon.messages import (
    BreakerApproved,
    CashMoved,
    Halted,
    OperatorCommand,
    PlanApproved,
    Reconciled,
    Resumed,
    ResumePrepared,
)
from daemon.reconciler import Reconciler
from daemon.state import State
from daemon.stops import STOP_CAUSES, STOP_FLATTEN, flattening, hold_exits, with_halt
from market.money import Paise, format_rupees, to_rupees
from risk.approval import Side

NONCE_SECONDS: Final = 300
_LESS: Final = " (cash less unsettled proceeds and what open purchases may take)"
_AGAIN: Final = "prepare again: tarazu resume without --nonce"


class Operator:
    """Handles commands."""

    def __init__(self, state: State, executor: Executor, reconciler: Reconciler) -> None:
        self.state = state
        self.executor = executor
        self.reconciler = reconciler
        self._resumed_plans = False
        self._verbs = {
            "halt": self._stop,
            "cancel": self._stop,
            "flatten": self._stop,
            "approve": self._approve,
            "resume/prepare": self._prepare,
            "resume/confirm": self._confirm,
            "reconcile": self._reconcile,
            "reconcile/accept": lambda message, _: self.reconciler.accept(message),
            "cash/deposit": self._cash,
            "cash/withdraw": self._cash,
        }

    def wire(self, bus: Bus) -> None:
        """Register the handlers."""
        bus.handle(OperatorCommand, self.on_command)
        bus.handle(Reconciled, self.on_reconciled)

    def on_command(self, message: OperatorCommand, envelope: Envelope) -> list[Output] | None:
        """Run one command."""
        verb = self._verbs.get(message.verb)
        if verb is None:
            return self._answer(message, 400, error=f"verb {message.verb!r}; known: {', '.join(self._verbs)}")
        return verb(message, envelope)

    def on_reconciled(self, message: Reconciled, envelope: Envelope) -> list[Output] | None:
        """Go on with interrupted plans after the first clean comparison of this process, and with what waited for one."""
        if not message.clean or (self._resumed_plans and not self.executor.held_back):
            return None
        self._resumed_plans = True
        return self.executor.resume(envelope)

    # ---- verbs -------------------------------------------------------------------------------------------------------

    def _stop(self, message: OperatorCommand, envelope: Envelope) -> list[Output]:
        cause = STOP_CAUSES[message.verb]
        note = self._consequence(cause)
        said = f"{message.verb} by uid {message.uid}: {message.reason}"
        return [
            Halted(cause=cause, detail=message.reason, uid=message.uid),
            Alert("error", "stop.engaged", "; ".join(filter(None, (said, note)))),
            *self._answer(message, 200, state="HALTED", mode=message.verb, note=note),
        ]

    def _consequence(self, cause: str) -> str:
        """Return what a person would not expect of this stop, or nothing."""
        before = self.state.halts
        if cause != STOP_FLATTEN:
            return "the selling of the flatten before it is over" if flattening(before) else ""
        held_by = hold_exits(with_halt(before, cause, ""))
        notes = []
        if held_by:
            notes.append(
                f"nothing is sold: {', '.join(held_by)} holds it back; sell at the broker, or resume and flatten again"
            )
        notes += [f"nothing is sold while this holds: {why}" for why in self.state.conditions.against(Side.SELL)]
        if not self.state.session_open:
            notes.append("" if notes else "the market is closed; what is held is sold in the next session")
        elif not self.state.reconciled_clean and not notes:
            notes.append("nothing is sold before the broker's books are read and agree with the ledger")
        elif not self.state.reconciled_clean:
            notes.append("the broker's books and the ledger are not reconciled")
        return "; ".join(filter(None, notes))

    def _approve(self, message: OperatorCommand, envelope: Envelope) -> list[Output]:
        board = self.state.guard.board
        latches = () if board is None else board.latches
        waiting = self.executor.awaiting_approval()
        if not latches and not waiting:
            return self._answer(message, 409, error="no breaker is latched and no plan waits; nothing to approve")
        if not message.reason.strip():
            return self._answer(message, 400, error="a reason is required")
        if latches:
            assert board is not None
            until = max(board.paused_until(latch) for latch in latches)
            return [
                BreakerApproved(uid=message.uid, reason=message.reason),
                *self._answer(
                    message,
                    200,
                    approved=[latch.name for latch in latches],
                    pause_until=ist(max(until, envelope.at_ns)).isoformat(),
                ),
            ]
        return [
            *(PlanApproved(plan_id=plan_id, uid=message.uid, reason=message.reason) for plan_id in waiting),
            *self._answer(message, 200, approved=list(waiting), pause_until=None),
        ]

    def _prepare(self, message: OperatorCommand, envelope: Envelope) -> list[Output]:
        nonce = hashlib.blake2b(f"{envelope.seq}|{envelope.at_ns}".encode(), digest_size=6).hexdigest()
        expires = envelope.at_ns + NONCE_SECONDS * 10**9
        return [
            ResumePrepared(uid=message.uid, nonce=nonce, expires_ns=expires),
            *self._answer(message, 200, nonce=nonce, valid_seconds=NONCE_SECONDS, summary=self.summary(envelope.at_ns)),
        ]

    def summary(self, at_ns: int) -> dict[str, Any]:
        """Return what a person should look at before going on."""
        state = self.state
        board = state.guard.board
        return {
            "halts": dict(sorted(state.halts.items())),
            "conditions": state.conditions.rows(),
            "breakers": list(board.latched) if board is not None else [],
            "open_orders": len(state.open_orders()),
            "unknown_orders": len(state.unknown_orders()),
            "reconciled": state.reconciled_clean,
            "positions": {symbol: quantity for symbol, quantity in state.account.quantities.items() if quantity},
        }

    def _confirm(self, message: OperatorCommand, envelope: Envelope) -> list[Output]:
        state = self.state
        prepared = state.resume
        if prepared is None or prepared.nonce != message.nonce:
            return self._answer(
                message,
                409,
                error="the nonce is not the one of the last prepare; prepare again (tarazu resume without --nonce)",
            )
        if prepared.uid != message.uid:
            error = f"uid {prepared.uid} was shown the summary, not uid {message.uid}; {_AGAIN}"
            return self._answer(message, 409, error=error)
        if envelope.at_ns > prepared.expires_ns:
            return self._answer(message, 409, error=f"the nonce is older than {NONCE_SECONDS} seconds; prepare again")
        if not message.reason.strip():
            return self._answer(message, 400, error="a reason is required")
        if not state.reconciled_clean:
            return self._answer(message, 409, error="the books are not reconciled; run reconcile first")
        return [
            Resumed(uid=message.uid, reason=message.reason),
            ReleaseStop(),
            Alert("warning", "stop.released", f"by uid {message.uid}: {message.reason}"),
            *self._answer(message, 200, resumed=True),
        ]

    def _reconcile(self, message: OperatorCommand, envelope: Envelope) -> list[Output]:
        purpose = message.reason if message.uid == -1 and message.reason else "operator"
        return [ReadAccount(purpose), *self._answer(message, 202, reconcile="started")]

    def _cash(self, message: OperatorCommand, envelope: Envelope) -> list[Output]:
        """Book money that came in or is to go out: on record first, then at the broker, then the answer."""
        deposit = message.verb == "cash/deposit"
        if not message.reason.strip():
            return self._answer(message, 400, error="a reason is required")
        if message.amount <= 0:
            return self._answer(message, 400, error="an amount above zero is required")
        if not deposit:
            refusal = self._cannot_withdraw(message.amount)
            if refusal:
                return self._answer(message, 409, error=refusal)
        amount = message.amount if deposit else Paise(-message.amount)
        cash = Paise(self.state.account.cash + amount)
        return [
            CashMoved(amount=amount, uid=message.uid, reason=message.reason, sequence=envelope.seq),
            MoveCash(amount, envelope.seq, message.reason),
            *self._answer(message, 200, moved=to_rupees(amount), cash=to_rupees(cash)),
        ]

    def _cannot_withdraw(self, amount: Paise) -> str:
        state = self.state
        equity = state.equity()
        if not state.reconciled_clean:
            return "the books are not reconciled; run reconcile first"
        if equity is None:
            return "the account's value is not known yet: a held share has no price"
        available = self.executor.maker.available_cash()
        if amount > available:
            return f"{format_rupees(amount)} is more than the {format_rupees(available)} available{_LESS}"
        if amount >= equity:
            return "nothing would be left to trade with; leave at least a paisa, or stop the daemon for good"
        return ""

    def _answer(self, message: OperatorCommand, status: int, **payload: Any) -> list[Output]:
        return [Reply(message.token, status, payload)] if message.token else []
