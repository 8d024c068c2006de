"""The people of a simulated world: they start the daemon, look after it in the morning and the evening, and press stop."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final

from daemon.clock import ist, ist_ns
from daemon.latch import MODES, merged
from market.money import Paise, rupees
from risk.approval import Side

if TYPE_CHECKING:
    from daemon.simulation.world import World

_REASON: Final = "looked at it"


class People:
    """What they do, at the times they do it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._away: set[date] = set()

    # ---- every day ---------------------------------------------------------------------------------------------------

    def morning(self) -> None:
        """See to it that the daemon runs, and that nothing that is over holds it."""
        world = self._world
        if world.starts and world.chance.strikes("started_late"):
            running = world.running
            if running is not None and running.life.alive:
                world.ask_to_stop()
            return
        self._see_that_it_runs()
        world.later(60.0, self.look_after)
        world.later(600.0, self.look_after)

    def evening(self) -> None:
        """Look once more when the day is over."""
        self._see_that_it_runs()
        self._world.later(60.0, self.look_after)

    def _see_that_it_runs(self) -> None:
        world, running = self._world, self._world.running
        if running is not None and running.process is not None and running.process.core.bus.failed is not None:
            # A dispatch that has stopped stays up to say so; a person frees the disk and starts it again.
            world.disk.broken = ""
            world.kill("a person restarts it")
        else:
            world.start()

    def look_after(self) -> None:
        """Approve what has tripped, and let a halted daemon go on: in two steps, with a reason."""
        world, running = self._world, self._world.running
        if running is None or not running.ready or running.process is None or not running.life.alive:
            return
        state = running.process.core.state
        board = state.guard.board
        if world.session not in self._away and board is not None and any(not latch.approved for latch in board.latches):
            world.command("approve", reason=_REASON)
        if "RECONCILE_DIFFERENCE" in state.halts and state.evidence.differences:
            world.command("reconcile/accept", reason=_REASON)
        if state.halts or world.disk.latch is not None:
            if not state.reconciled_clean:
                world.command("reconcile", reason=_REASON)
            world.later(40.0, self._prepare)

    def _prepare(self) -> None:
        self._world.command("resume/prepare")
        if self._world.chance.strikes("resume_guessed"):
            self._world.later(2.0, self._resume_early)
        self._world.later(5.0, self._confirm)

    def _confirm(self) -> None:
        running = self._world.running
        if running is not None and running.process is not None and running.ready:
            prepared = running.process.core.state.resume
            if prepared is not None:
                self._world.command("resume/confirm", nonce=prepared.nonce, reason=_REASON)

    # ---- some days ---------------------------------------------------------------------------------------------------

    def plan_day(self, session: date) -> None:
        """Draw what they do at bad moments."""
        world, chance = self._world, self._world.chance
        if chance.strikes("stop_pressed"):
            mode = chance.pick(MODES, "mode")
            world.at(world.moment(session, "stop"), self.press_stop, mode)
        if chance.strikes("nobody_approves"):
            self._away.add(session)
        if chance.strikes("resume_early"):
            world.at(world.moment(session, "early"), self._resume_early)
        if chance.strikes("reconcile_again"):
            world.at(world.moment(session, "reconcile"), world.command, "reconcile")
        if chance.strikes("traded_by_hand"):
            side = chance.pick((Side.BUY, Side.SELL), "by hand")
            symbol = chance.pick(world.market.symbols, "by hand")
            quantity = 1 + int(chance.roll("by hand: shares") * 30)
            world.at(world.moment(session, "by hand"), world.trade_by_hand, symbol, side, quantity)
        if chance.strikes("cash_moved"):
            # Mostly while orders rest.
            at_ns = ist_ns(session, hour=9, minute=20) + int(chance.between(0.0, 3600.0, "cash: second") * 1e9)
            world.at(at_ns if chance.roll("cash: when") < 0.7 else world.moment(session, "cash"), self._move_cash)

    def press_stop(self, mode: str) -> None:
        """The latch first, as the stop plane does; then the daemon hears of it."""
        world, running = self._world, self._world.running
        world.tell(f"a person: stop ({mode})")
        before = world.disk.latch["mode"] if world.disk.latch else ""
        at = ist(world.now_ns()).isoformat()
        world.disk.latch = {"mode": merged(before, mode), "reason": "stop", "uid": 1000, "at": at}
        if running is not None and running.ready and running.process is not None:
            running.life.call(running.process.hear_stop, mode, "stop", 1000)
        if world.chance.strikes("stop_again"):
            seconds = world.chance.between(0.05, 120.0, "stop again")
            world.later(seconds, self.press_stop, world.chance.pick(MODES, "mode"))
        world.later(1800.0, self.look_after)

    def _resume_early(self) -> None:
        self._world.command("resume/confirm", nonce="guessed", reason=_REASON)

    def _move_cash(self) -> None:
        amount = rupees(float(int(self._world.chance.between(1_000, 60_000, "amount"))))
        running = self._world.running
        if running is not None and running.books is not None and self._world.chance.roll("how much") < 0.5:
            # All the settled cash that the account shows; what is promised to purchases must be refused.
            amount = Paise(max(100, running.books.account.available - 100))
            self._world.command("cash/withdraw", amount=amount, reason="all of it")
            return
        verb = self._world.chance.pick(("cash/deposit", "cash/withdraw"), "in or out")
        self._world.command(verb, amount=amount, reason="the owner's")
