"""The dead-man rules inside the dispatch: people are told once, the broker's silence is judged, and what a clean
comparison of the books proves is ended by one.

What only the outside can see (a feed that says nothing, the disk, the clocks) is noticed by `daemon.watch`; everything here
follows from the records alone.
"""

from __future__ import annotations

from typing import Final

from daemon.bus import Bus, Envelope, Output
from daemon.conditions import RULES
from daemon.effects import Alert, ReadAccount
from daemon.messages import AccountRead, ClockMoved, ConditionChanged, ConditionName, Reconciled
from daemon.sentences import condition_sentence
from daemon.settings import DeadManSettings
from daemon.state import State

# What ends when the books were read and agree.
_UNTIL_READ: Final = (ConditionName.BROKER_LOST, ConditionName.LOGIN_NEEDED, ConditionName.MACHINE_SLEPT)


class DeadMan:
    """Handlers of what begins and ends."""

    def __init__(self, state: State, settings: DeadManSettings) -> None:
        self.state = state
        self.settings = settings
        # Whether the order book and the trades alone were asked for -> since when that has not been answered.
        self._unread_since_ns: dict[bool, int] = {}
        self._began_seq = 0  # the last record when the last reading began

    def wire(self, bus: Bus) -> None:
        """Register the handlers."""
        bus.handle(ConditionChanged, self.on_changed)
        bus.handle(ClockMoved, self.on_clock)
        bus.handle(AccountRead, self.on_read)
        bus.handle(Reconciled, self.on_reconciled)

    def on_changed(self, message: ConditionChanged, envelope: Envelope) -> list[Output] | None:
        """Tell people, once; after a sleep look at the broker before anything else."""
        if self.state.conditions.changed_by != envelope.seq:
            return None
        if not message.holds:
            return [Alert("warning", "condition.ended", condition_sentence(message))]
        outputs: list[Output] = [
            Alert(RULES[message.name].severity, "condition.began", condition_sentence(message)),
        ]
        if message.name is ConditionName.MACHINE_SLEPT:
            outputs.append(ReadAccount("slept"))
        return outputs

    def on_clock(self, message: ClockMoved, _: Envelope) -> list[Output]:
        """Tell people that the daemon lives at another time now."""
        return [Alert("warning", "clock.moved", f"by {message.by_ns / 1e9:+.1f} s: {message.why}")]

    def on_read(self, message: AccountRead, envelope: Envelope) -> list[Output] | None:
        """Judge a read that failed: an expired session at once, silence when it has lasted."""
        since, self._began_seq = self._unread_since_ns, message.began_seq
        if message.login_needed:
            since.clear()  # it has answered
            return self._begin(ConditionName.LOGIN_NEEDED, message, message.unknown)
        if not message.unknown:
            since.pop(True, None)
            if not message.orders_only:
                since.pop(False, None)
            return None
        seconds = (envelope.at_ns - since.setdefault(message.orders_only, envelope.at_ns)) / 1e9
        if not self.state.session_open or seconds < max(self.settings.broker_lost_seconds, self.settings.least_seconds):
            return None
        return self._begin(ConditionName.BROKER_LOST, message, f"for {seconds:.0f} s; {message.unknown}")

    def _begin(self, name: ConditionName, message: AccountRead, detail: str) -> list[Output] | None:
        if name in self.state.conditions.held:
            return None
        outputs: list[Output] = [ConditionChanged(name=name, holds=True, detail=detail)]
        if message.orders_only:
            # Only a look at all the books ends it, and a poll is not repeated for longer than orders are open.
            outputs.append(ReadAccount("lost"))
        return outputs

    def on_reconciled(self, message: Reconciled, _: Envelope) -> list[Output] | None:
        """End what waits for the books, once they agree in a reading that began later."""
        if not message.clean:
            return None
        ended: list[Output] = [
            ConditionChanged(name=name, holds=False, detail="the books were read and agree")
            for name in _UNTIL_READ
            if (held := self.state.conditions.held.get(name)) is not None and held.seq <= self._began_seq
        ]
        return ended or None
