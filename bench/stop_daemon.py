"""The daemon that `bench.stop` stops: the real service with a flood in place of its feed. Commands come on standard input.

    flood RATE     post so many bar messages a second, from the next turn of the loop on
    hang KIND      ask a strategy that never answers: `waiting` (in a lock) or `computing` (in a Python loop)
    open           make a plan whose purchases rest at the paper broker; prints how many do

The flood goes to the bus, as a feed's bars do once they are decoded; the paper broker does not see it, since it would
write its book to the disk for each bar.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daemon.stop_watch import block_signal

block_signal()

from bench.replay import CONFIG  # noqa: E402 - the signal is blocked before numpy's threads exist, as in `tarazu paper`
from daemon.agenda import Slot  # noqa: E402
from daemon.clock import Clock, ist_ns  # noqa: E402
from daemon.messages import Lane, TargetProposed  # noqa: E402
from daemon.service import Service, _Running  # noqa: E402
from daemon.settings import DaemonSettings, Paths  # noqa: E402
from market.bar import BarBatch, Interval  # noqa: E402
from market.calendar import Calendar  # noqa: E402
from market.instrument import Instrument  # noqa: E402
from market.money import rupees  # noqa: E402
from risk.limits import load_limits  # noqa: E402
from strategies.protocol import StrategyContext  # noqa: E402

SYMBOLS = ("S000", "S001", "S002", "S003", "S004")
DAY = date(2024, 6, 5)
_TICK = 0.001
# A loop that is late makes up for what it missed, up to this much.
_MOST_AT_ONCE = 2_000


class Hanging:
    """A strategy that does not answer."""

    name, look_back, symbols, slow = "hanging", 0, SYMBOLS, True
    computing = False

    def target(self, context: StrategyContext) -> NDArray[np.float64] | None:
        """Never return."""
        while self.computing:
            sum(range(1000))
        threading.Event().wait()
        return None


class Flooded(_Running):
    """The service's run, with a flood instead of the feed."""

    rate = 0
    plans = 0

    async def _feed(self) -> None:
        loop, bus = self.clock.loop, self.core.bus
        self.process.take(self._bars(0))
        threading.Thread(target=self._commands, daemon=True).start()
        count, due, before = 0, 0.0, loop.time()
        while True:
            await asyncio.sleep(_TICK)
            now = loop.time()
            due = min(due + (now - before) * self.rate, _MOST_AT_ONCE)
            before = now
            for _ in range(int(due)):
                count += 1
                bus.post(Lane.MARKET, self._bars(count))
            due -= int(due)

    def _bars(self, count: int) -> BarBatch:
        end_ns = self.clock.now_ns()
        close = (1000.0 + 0.05 * (count % 3),) * len(SYMBOLS)
        return BarBatch(
            DAY, Interval.MINUTE, end_ns - 60 * 10**9, end_ns, SYMBOLS, close, close, close, close, (1e6,) * 5
        )

    def _commands(self) -> None:
        for line in sys.stdin:
            self.clock.loop.call_soon_threadsafe(self._command, *line.split())
        os._exit(0)  # whoever measured is gone

    def _command(self, verb: str, argument: str = "") -> None:
        if verb == "flood":
            self.rate = int(argument)
        elif verb == "hang":
            Hanging.computing = argument == "computing"
            self._add_slot("hangs")  # its answer, that there is none, comes back as any other
            self.host.ask("hangs", "hangs", self.core.decider.context())
        else:
            self._open()

    def _open(self) -> None:
        self.plans += 1
        slot = f"plan{self.plans}"
        self._add_slot(slot)
        self.core.bus.post(
            Lane.TIMER,
            TargetProposed(
                decision_id=slot, session=DAY, slot=slot, strategy="bench", model="", weights=(0.15,) * len(SYMBOLS)
            ),
        )
        self._say_when_open()

    def _add_slot(self, slot: str) -> None:
        self.core.state.agenda.add(Slot(slot, self.service.settings.trade_time, 12 * 60))

    def _say_when_open(self) -> None:
        live = self.core.state.live.values()
        if live and all(order.state == "acknowledged" for order in live):
            print(f"open {len(live)}", flush=True)
        else:
            self.clock.loop.call_later(_TICK, self._say_when_open)


async def main(root: Path) -> None:
    """Run until killed, on a trading day's morning."""
    loop = asyncio.get_running_loop()
    limits = load_limits(CONFIG, mode="paper")
    unpaced = limits.execution.model_copy(update={"max_orders_per_second": 1_000_000, "max_orders_per_day": 10_000_000})
    service = Service(
        settings=DaemonSettings("bench", "paper", tuple(map(Instrument, SYMBOLS)), rupees(10_000_000.0)),
        paths=Paths(root),
        calendar=Calendar.load(),
        limits=limits.model_copy(update={"execution": unpaced}),
        strategy=Hanging(),
        clock=Clock(loop, ist_ns(DAY, hour=11, minute=0) - int(loop.time() * 1e9)),
        feed_url="",
        console=False,
    )
    await Flooded(service).run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
