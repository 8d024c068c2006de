"""A daemon's life on virtual time: started on a journal, fed bars and commands, killed at an instant, started again."""

import asyncio
from datetime import date, datetime
from functools import partial

import numpy as np

from brokers.charges import DeliveryCharges
from brokers.paper import FillModel, PaperBroker
from brokers.paper_store import PaperStore
from daemon.book_changes import NO_ACTIONS
from daemon.clock import IST, Clock, VirtualTimeLoop
from daemon.core import close_book, take_bars
from daemon.inference import StrategyHost
from daemon.journal import Journal, read_journal
from daemon.messages import AccountRead, HistoryLoaded, Lane, OperatorCommand, OrderReports
from daemon.process import Process
from daemon.settings import DaemonSettings
from market.bar import BarBatch, Interval
from market.calendar import Calendar
from market.instrument import Instrument
from market.money import rupees
from risk.limits import load_limits

SYMBOLS = ("AXISBANK", "HDFCBANK", "ICICIBANK", "KOTAKBANK", "SBIN")
MONDAY, TUESDAY, WEDNESDAY = date(2024, 6, 10), date(2024, 6, 11), date(2024, 6, 12)
CALENDAR = Calendar.load()
LIMITS = load_limits("production/config/risk_limits.yaml", mode="paper")


def limits(**keys):
    """The shipped limits with some keys changed, written as section__key."""
    changed = LIMITS
    for dotted, value in keys.items():
        section, key = dotted.split("__")
        part = getattr(changed, section).model_copy(update={key: value})
        changed = changed.model_copy(update={section: part})
    return type(LIMITS).model_validate(changed.model_dump())


BOTH_KEYS = {
    "emergency__enable_auto_liquidate": True, "emergency__confirm_auto_liquidate": True,
    "emergency__liquidate_if_loss_exceeds": 0.10,
}  # fmt: skip
CRASH = (800.0,) * 5


locked = partial(limits, **BOTH_KEYS)


def at(day, clock):
    return int(datetime.fromisoformat(f"{day}T{clock}+05:30").astimezone(IST).timestamp()) * 10**9


def history(last=date(2024, 6, 7)):
    return HistoryLoaded(sha256="h", end_ns=at(last, "15:30"), sessions=(last,), closes=(1000.0,) * 5)


def bars(day, clock, prices=(1000.0,) * 5, symbols=SYMBOLS):
    up, down = [p * 1.002 for p in prices], [p * 0.998 for p in prices]
    return BarBatch(
        session=day,
        interval=Interval.FIVE_MINUTES,
        start_ns=at(day, clock) - 300 * 10**9,
        end_ns=at(day, clock),
        symbols=symbols,
        open=tuple(prices),
        high=tuple(up),
        low=tuple(down),
        close=tuple(prices),
        volume=(1e6,) * len(symbols),
    )


class Fixed:
    name, look_back, symbols = "fixed", 0, SYMBOLS

    def target(self, context):
        return np.array([0.19] * 5)


class _Latch:
    """The stop latch of a life: `stopped` says whether it is engaged."""

    def __init__(self, life):
        self.life = life

    def engaged(self):
        return self.life.stopped

    def read(self):
        return {"mode": "halt", "reason": "", "uid": 0}

    def engage(self, **_):
        self.life.stopped = True

    def release(self):
        self.life.stopped = False


class Life:
    """One process's life, from start to kill. What was recorded is on disk, what was not is lost."""

    def __init__(
        self,
        folder,
        start,
        *,
        model=None,
        past=None,
        unreadable="",
        actions=NO_ACTIONS,
        limits=LIMITS,
        mode="paper",
        strategy=None,
        version="",
        roll_back=None,
        reconcile=None,
        broker=PaperBroker,
    ):
        self.loop = VirtualTimeLoop()
        self.clock = Clock(self.loop, start)
        charges = DeliveryCharges.default()
        self.broker = broker(
            symbols=SYMBOLS,
            opening_cash=rupees(1_000_000),
            charges=charges,
            model=model or FillModel(),
            now_ns=self.clock.now_ns,
            store=PaperStore(folder / "broker.sqlite"),
            schedule=self.loop.call_later,
        )
        self.broker.fail_reads(unreadable)
        self.stopped = False
        self.told = []
        self.path = folder / "journal.sqlite"
        self.latch = _Latch(self)
        self.process = Process(
            settings=DaemonSettings(
                "test", mode, tuple(map(Instrument, SYMBOLS)), rupees(1_000_000), reconcile=reconcile
            ),
            clock=self.clock,
            calendar=CALENDAR,
            journal=Journal(self.path, durable=False),
            limits=limits,
            charges=charges,
            broker=self.broker,
            side=self.broker,
            host=StrategyHost(self.clock, strategy or Fixed(), version=version),
            latch=self.latch,
            history=lambda before: past,
            actions=actions,
            alert=self.told.append,
            roll_back=roll_back,
        )
        self.core, self.books = self.process.core, self.process.books
        self.read = []
        self.reports = []
        self.core.bus.handle(AccountRead, self._note_read)
        self.core.bus.handle(OrderReports, lambda message, _: self.reports.append(message))
        self.process.recover()
        self.process.begin(self.core.bus.release)
        self.driver = self.process.driver

    def _note_read(self, message, envelope):
        self.read.append((envelope.at_ns, message.purpose))

    def play(self, *batches):
        for batch in batches:
            self.clock.call_at(batch.end_ns, self._emit, batch)
        return self

    def _emit(self, batch):
        take_bars(self.core, self.broker, batch)

    def reads(self, purpose):
        """Return when the books were read for a purpose so far."""
        return [at_ns for at_ns, kind in self.read if kind == purpose]

    def to(self, day, clock):
        self.loop.run_until_complete(self.clock.sleep_until(at(day, clock)))
        assert self.core.bus.failed is None, self.core.bus.failed
        return self

    def stop(self):
        """End in order, as a process does on SIGTERM."""
        self.core.bus.pause()
        self.core.bus.release()
        close_book(self.core, "SIGTERM")
        return self.kill()

    def kill(self):
        self.core.journal.close()
        self.broker._store.close()
        self.broker._store = None
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks))
        self.loop.close()
        return [record.message for record in read_journal(self.path)]


def of(messages, kind):
    return [message for message in messages if isinstance(message, kind)]


def reconcile():
    return OperatorCommand(verb="reconcile", uid=-1, reason="operator")


def ask(running, verb, *, uid=0, **fields):
    """Give a command as the control socket does; return status and payload."""
    running.asked = getattr(running, "asked", 0) + 1
    answer = running.core.edges.outside.replies[running.asked] = running.loop.create_future()
    command = OperatorCommand(verb=verb, uid=uid, token=running.asked, **fields)
    running.core.bus.post(Lane.CONTROL, command)
    return running.loop.run_until_complete(answer)


def bought(life, **more):
    """A daemon that has bought on Monday."""
    running = life(at(MONDAY, "09:00"), past=history(), **more).play(bars(MONDAY, "09:25")).to(MONDAY, "09:40")
    assert running.core.state.account.quantity("SBIN") > 0
    return running
