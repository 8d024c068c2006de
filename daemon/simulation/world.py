"""The simulated world: exchange, feed, disk, people and the machine, and in it the daemon's processes, one after another.

A run is a number of sessions. Each is its events: the people's morning, the open, a handful of bars, the close, the
evening. What goes wrong is drawn beforehand for the day or at each occasion, and the last two sessions are calm: then
the daemon must be found trading and its book where it wants it.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, timedelta
from typing import Any, Final

import numpy as np

from brokers.charges import DeliveryCharges
from brokers.orders import OrderState
from brokers.paper import FillModel, PaperBroker
from brokers.port import OrderReport, ReportKind, Trade
from daemon.clock import Clock, ist, ist_ns
from daemon.messages import BrokerConnection, ComponentFailed, Lane, OperatorCommand, SlotDue
from daemon.settings import DaemonSettings, ReconcileSettings
from daemon.simulation.chance import Chance
from daemon.simulation.disk import SimulatedDisk
from daemon.simulation.feed import Feed
from daemon.simulation.invariants import Invariants
from daemon.simulation.loop import Killed, Life, SimulationLoop
from daemon.simulation.market import BAR_TIMES, SimulatedMarket
from daemon.simulation.network import Trouble
from daemon.simulation.people import People
from daemon.simulation.running import CashAtTheExchange, Running
from daemon.simulation.strategy import Dice
from market.calendar import Calendar
from market.errors import BadInput
from market.instrument import Instrument
from market.money import rupees
from risk.approval import ApprovedOrder, Side
from risk.schema import RiskLimits

SYMBOLS: Final = ("AXISBANK", "HDFCBANK", "ICICIBANK", "KOTAKBANK", "SBIN")
FIRST_DAY: Final = date(2024, 1, 1)
CALM_DAYS: Final = 2
_OPENING: Final = rupees(1_000_000)


class World:
    """One run. `run()` plays it; what is wrong is in `invariants.found`."""

    def __init__(
        self,
        *,
        chance: Chance,
        days: int,
        limits: RiskLimits,
        calendar: Calendar,
        charges: DeliveryCharges,
        shuffled: bool = False,
        bar_times: tuple[tuple[int, int], ...] = BAR_TIMES,
        log: Callable[[int, str], None] | None = None,
    ) -> None:
        self.chance = chance
        self.limits = limits
        self.calendar = calendar
        self.charges = charges
        self.sessions = [
            session.day for session in calendar.sessions(FIRST_DAY, FIRST_DAY + timedelta(days=2 * days + 20))
        ]
        before, self.sessions = self.sessions[:5], self.sessions[5 : 5 + days]
        self.loop = SimulationLoop(self._order if shuffled else lambda count: None)
        self.loop.set_exception_handler(self._on_loop_error)
        self.epoch_ns = ist_ns(self.sessions[0], hour=8, minute=0)
        self.clock = Clock(self.loop, self.epoch_ns)
        # Once an hour instead of each five minutes: a simulated day is its events, and a reading is ten of them.
        reading = ReconcileSettings(every_minutes=60.0)
        self.settings = DaemonSettings(
            "simulated", "paper", tuple(map(Instrument, SYMBOLS)), _OPENING, reconcile=reading
        )
        self.market = SimulatedMarket(SYMBOLS, chance, before, bar_times)
        self.disk = SimulatedDisk()
        self.trouble = Trouble()
        self.exchange = PaperBroker(
            symbols=SYMBOLS, opening_cash=_OPENING, charges=charges, model=FillModel(), now_ns=self.clock.now_ns
        )
        self.exchange.attach(self._on_exchange)
        self.tape: dict[str, Trade] = {}
        self.requested: set[str] = set()  # tags that have left the daemon
        self.by_hand: set[date] = set()  # sessions in which the owner traded
        self.cancelled: set[str] = set()  # tags that it has asked to cancel
        self.invariants = Invariants(self)
        self.side = CashAtTheExchange(self.exchange, self.invariants)
        self.model = ""
        self.strategy = Dice(SYMBOLS, chance, self.invariants.look)
        self.running: Running | None = None
        self.back_at = 0.0  # when the machine is there again
        self.crashes = 0
        self.starts = 0
        self.orders = 0
        self.session: date = self.sessions[0]
        self.closed_days: set[date] = set()
        self.on_day: Callable[[int], None] = lambda number: None
        self.feed = Feed(self)
        self.people = People(self)
        self._log = log
        self._context = contextvars.copy_context()
        self._tasks: list[asyncio.Task[None]] = []
        # Nothing of a dead process may be collected: that would run its `finally` blocks.
        self._graves: list[Running] = []

    # ---- time and chance ---------------------------------------------------------------------------------------------

    def now_ns(self) -> int:
        """Return true time."""
        return self.clock.now_ns()

    def later(self, seconds: float, function: Callable[..., Any], *args: Any) -> None:
        """Run a function of the world after some seconds."""
        self.loop.call_later(seconds, function, *args, context=self._context)

    def at(self, at_ns: int, function: Callable[..., Any], *args: Any) -> None:
        """Run a function of the world at an instant; not when that has passed."""
        if at_ns >= self.now_ns():
            self.loop.call_at((at_ns - self.epoch_ns) / 1e9, function, *args, context=self._context)

    def _order(self, count: int) -> list[int] | None:
        """Return another order for what is ready."""
        # One draw, and a linear congruential generator from there (Knuth's MMIX constants): it is asked for at every turn.
        state = int(self.chance.roll("order") * 2**53)
        order = list(range(count))
        for i in range(count - 1, 0, -1):
            state = (state * 6364136223846793005 + 1442695040888963407) & (2**64 - 1)
            j = (state >> 33) % (i + 1)
            order[i], order[j] = order[j], order[i]
        return order

    def tell(self, what: str) -> None:
        """Add a line to the story."""
        if self._log is not None:
            self._log(self.now_ns(), what)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and not isinstance(error, Killed):
            message = f"{context.get('message', '')}: {type(error).__name__}: {error}"
            self.invariants.broken("nothing breaks", message)

    # ---- the run -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Play every session, or stop at the first broken invariant."""
        chance = self.chance
        days = []
        for number, session in enumerate(self.sessions):
            chance.start_day(number)
            chance.calm = number >= len(self.sessions) - CALM_DAYS
            days.append(self.market.make_day(session))
            self.market.end_day(session)
        try:
            for number, day in enumerate(days):
                chance.start_day(number)
                chance.calm = number >= len(self.sessions) - CALM_DAYS
                self.session = day.session
                self._plan_day(day)
                self.on_day(number)
                end = ist_ns(day.session, hour=18, minute=0)
                self.loop.run_until_complete(self.clock.sleep_until(end))
                if self.running is not None:
                    self.running.life.on_contact = lambda life, name: None
                self.invariants.end_of_day(last=number == len(days) - 1)
                if self.invariants.found:
                    return
        finally:
            self._bury_everything()

    def _plan_day(self, day: Any) -> None:
        session = day.session
        closed = self.chance.strikes("holiday_declared")
        if closed:
            self.closed_days.add(session)
            self.feed.dishonest.add(session)
        self.at(ist_ns(session, hour=8, minute=40), self.people.morning)
        self.at(ist_ns(session, hour=9, minute=0), self._credit_shares, session)
        if not closed:
            self.at(ist_ns(session, hour=9, minute=15), self._open, day)
        halts_at = 24
        if self.chance.strikes("market_halts"):
            halts_at = 12
            self.feed.dishonest.add(session)  # the last prices are not the closes
        for batch in day.bars:
            if not closed and ist(batch.end_ns).hour < halts_at:
                self.at(batch.end_ns, self._bar, batch)
        self.at(ist_ns(session, hour=15, minute=30), self.exchange.end_session)
        self._plan_troubles(session)
        self.people.plan_day(session)
        self.feed.plan_day(session)
        self.at(ist_ns(session, hour=16, minute=30), self.people.evening)

    def _credit_shares(self, session: date) -> None:
        for action in self.market.actions:
            if action.ex_date <= session:
                self.exchange.apply_action(action)

    def _open(self, day: Any) -> None:
        self.exchange.start_session(day.session)
        self.exchange.on_open(dict(zip(SYMBOLS, day.opens, strict=True)))

    def _bar(self, batch: Any) -> None:
        self.exchange.on_bars(batch)
        self.feed.play(batch)

    def moment(self, session: date, what: str) -> int:
        """Return a drawn instant of a session; half of them around the time of the rebalance, where it hurts."""
        if self.chance.roll(f"{what}: when") < 0.5:
            return ist_ns(session, hour=9, minute=19) + int(self.chance.between(0, 240, f"{what}: second") * 1e9)
        start = ist_ns(session, hour=9, minute=0)
        return start + int(self.chance.roll(f"{what}: hour") * 6 * 3600e9)

    def _plan_troubles(self, session: date) -> None:
        chance = self.chance
        if chance.strikes("book_lags"):
            self._for_a_while("lags", True, False, session, 60.0)
        if chance.strikes("stream_lost"):
            begins = self.moment(session, "stream")
            self.at(begins, self._set_stream, False)
            self.at(begins + int(chance.between(5.0, 1800.0, "stream: seconds") * 1e9), self._set_stream, True)
        if chance.strikes("broker_away"):
            self._for_a_while("away", "504", "", session, 45.0)
        if chance.strikes("session_expired"):
            self._for_a_while("expired", True, False, session, 30.0)
        if chance.strikes("killed"):
            self.at(self.moment(session, "killed"), self._kill_at_contact, int(chance.roll("which contact") * 40))
        if chance.strikes("killed_anywhere"):
            self.at(self.moment(session, "killed anywhere"), self.kill, "kill -9")
        if chance.strikes("power_cut"):
            self.at(self.moment(session, "power cut"), self.kill, "power cut")
        if chance.strikes("outage"):
            self.at(
                self.moment(session, "outage"), self.kill, "the power is gone", chance.between(3600, 50_000, "hours")
            )
        if chance.strikes("asked_to_stop"):
            self.at(self.moment(session, "asked to stop"), self.ask_to_stop)
        if chance.strikes("component_breaks"):
            self.at(self.moment(session, "component"), self._break_component)
        if chance.strikes("suspended"):
            self.at(self.moment(session, "suspended"), self._suspend, chance.between(60.0, 7200.0, "asleep"))
        if chance.strikes("disk_full"):
            self.at(self.moment(session, "disk full"), self._fill_disk)
            self.at(ist_ns(session, hour=16, minute=0), self._free_disk)
        if chance.strikes("model_swapped"):
            self.at(self.moment(session, "model"), self._swap_model)
        if chance.strikes("slot_again"):
            self.at(self.moment(session, "slot"), self._slot_again, session)

    def _for_a_while(self, what: str, on: Any, off: Any, session: date, minutes: float) -> None:
        begins = self.moment(session, what)
        ends = begins + int(self.chance.between(1.0, minutes, f"{what}: minutes") * 60e9)
        self.at(begins, self._set_trouble, what, on)
        self.at(ends, self._set_trouble, what, off)

    def _set_stream(self, connected: bool) -> None:
        self.trouble.deaf = not connected
        self.tell(f"broker: stream {'is back' if connected else 'is lost'}")
        self._post(Lane.BROKER, BrokerConnection(connected=connected, detail="the stream"))

    def _set_trouble(self, what: str, value: Any) -> None:
        setattr(self.trouble, what, value)
        self.tell(f"broker: {what} {value!r}")

    # ---- the process -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the daemon, unless it runs."""
        if (self.running is not None and self.running.life.alive) or self.loop.time() < self.back_at:
            return
        wrong = 0
        if self.chance.strikes("clock_wrong"):
            wrong = int(self.chance.between(-7200.0, 7200.0, "clock") * 1e9)
        self.starts += 1
        self.running = running = Running(self, self.starts)
        running.clock_right = not wrong
        if wrong:
            self.feed.lie()
        self.invariants.started(running)
        self.tell(f"the daemon starts (process {self.starts}{', its clock is wrong' if wrong else ''})")
        running.life.call(self._boot, running, Clock(self.loop, self.epoch_ns + wrong))
        if running.ready and running.life.alive:
            self.feed.connect(running)

    def _boot(self, running: Running, clock: Clock) -> None:
        try:
            running.boot(clock)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from starting is a finding
            self.invariants.broken("it starts", f"{type(error).__name__}: {error}")

    def kill(self, why: str, seconds: float | None = None) -> None:
        """End the process here and now; systemd starts it again, at once or after `seconds`."""
        running = self.running
        if running is None or not running.life.alive:
            return
        self.invariants.dying(running)
        running.life.alive = False
        running.journal.cut_off()
        self.crashes += 1
        self._graves.append(running)
        self.tell(f"the daemon dies: {why}")
        self.back_at = self.loop.time() + (self.chance.between(2.0, 90.0, "restart") if seconds is None else seconds)
        self.later(self.back_at - self.loop.time(), self.start)

    def _kill_at_contact(self, contacts: int) -> None:
        running = self.running
        if running is None or not running.life.alive:
            return
        last = running.life.contacts + contacts

        def on_contact(life: Life, name: str) -> None:
            if life.contacts >= last:
                self.kill(f"kill -9, {name}")

        running.life.on_contact = on_contact

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        running = self.running
        if running is not None and running.life.alive and running.ready:
            self.tell("SIGTERM")
            running.life.call(lambda: self._tasks.append(self.loop.create_task(self._finish(running))))

    async def _finish(self, running: Running) -> None:
        process = running.process
        assert process is not None
        if process.stopping:
            return
        await process.finish("SIGTERM", 20.0)
        running.journal.close()
        await process.core.edges.close()
        await running.line.close()
        self.invariants.stopped(running)
        running.life.alive = False
        self._graves.append(running)
        self.tell("the daemon has stopped")
        self.later(self.chance.between(5.0, 300.0, "restart"), self.start)

    def _break_component(self) -> None:
        self._post(Lane.CONTROL, ComponentFailed(component="part", error="broke"))

    def _slot_again(self, session: date) -> None:
        self._post(Lane.TIMER, SlotDue(session=session, slot="rebalance"))

    def command(self, verb: str, **fields: Any) -> None:
        """Ask the daemon for something, as a person does."""
        self.tell(f"a person: {verb}")
        self._post(Lane.CONTROL, OperatorCommand(verb=verb, uid=1000, **fields))

    def _post(self, lane: Lane, message: Any) -> None:
        running = self.running
        if running is not None and running.ready and running.process is not None:
            running.life.call(running.process.core.bus.post, lane, message)

    def _swap_model(self) -> None:
        self.model = f"v{int(self.chance.roll('version') * 1000)}"
        running = self.running
        if running is not None and running.ready and running.process is not None and running.life.alive:
            host = running.process.host
            self._post(Lane.TIMER, host.take(self.strategy, self.model, "digest"))

    def _suspend(self, seconds: float) -> None:
        running = self.running
        if running is not None and running.life.alive:
            running.life.frozen_until = self.loop.time() + seconds
            running.since_ns = self.now_ns() + int(seconds * 1e9)
            self.tell(f"the machine sleeps for {seconds:.0f} s")

    def _fill_disk(self) -> None:
        self.disk.broken = "disk full"
        self.tell("the disk is full")

    def _free_disk(self) -> None:
        self.disk.broken = ""

    def _bury_everything(self) -> None:
        for running in (*self._graves, *([self.running] if self.running else [])):
            running.life.alive = False
        for task in asyncio.all_tasks(self.loop):
            # A task that is collected while it waits would complain.
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with suppress(BaseException):  # what dies here is dead already
                task.get_coro().close()
        self.loop.close()

    # ---- the exchange ------------------------------------------------------------------------------------------------

    def _on_exchange(self, reports: tuple[OrderReport, ...]) -> None:
        """Updates that no request brought about: fills against bars, the end of the day."""
        for report in reports:
            self.took((report,))
            if self.running is not None:
                self.running.line.tell(report)

    def _to_the_tape(self, trade_id: str, who: str) -> None:
        trade = next(trade for trade in reversed(self.exchange.trade_book()) if trade.trade_id == trade_id)
        self.tape[trade_id] = trade
        self.tell(f"{who}: {trade.side} {trade.quantity} {trade.symbol} at {trade.price / 100:.2f}")

    def trade_by_hand(self, symbol: str, side: Side, quantity: int) -> None:
        """The owner trades in the broker's own app; nobody tells the daemon."""
        price = self.exchange.last_price(symbol)
        if price is None or self.session in self.closed_days:
            return
        try:
            trade_id = self.exchange.trade_by_hand(symbol, side, quantity, rupees(price))
        except BadInput:
            return  # the shares, or the cash, are not there
        self.by_hand.add(self.session)
        self._to_the_tape(trade_id, "the owner, by hand")

    def took(self, reports: Sequence[OrderReport]) -> None:
        """A request was carried out: its trades are on the tape before anybody hears of them."""
        for report in reports:
            if report.kind is ReportKind.FILL:
                self._to_the_tape(report.trade_id, "exchange")

    def leaving(self, life: Life, order: ApprovedOrder) -> None:
        """An order is handed to the network."""
        self.orders += 1
        self.tell(
            f"the daemon sends {order.side} {order.quantity} {order.symbol} at {order.limit / 100:.2f} ({order.tag})"
        )
        self.invariants.leaving(life, order)
        self.requested.add(order.tag)

    def ended_wrongly(self, tag: str, state: OrderState) -> str:
        """Return why an order that has ended by the daemon's books has not ended so at the exchange, or ""."""
        status = next((order.status for order in self.exchange.order_book() if order.tag == tag), "")
        if status == "open":
            return "it is open at the exchange"
        taken = status in ("complete", "cancelled") and state is OrderState.REJECTED
        return f"the exchange took it, and it is {status}" if taken else ""

    def closes_before(self, session: date) -> np.ndarray[Any, Any] | None:
        """Return the true closes of the session before, on that session's basis."""
        history = self.market.history(session)
        return None if history is None else np.array(history.closes[-len(SYMBOLS) :])
