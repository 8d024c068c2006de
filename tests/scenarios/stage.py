"""What the scenarios share: a broker whose wire a test can cut, a strategy that follows a script, and what must hold."""

import numpy as np

from brokers.paper import PaperBroker
from brokers.port import OrderReport, ReportKind, Unknown
from daemon.messages import Decided, Halted, OrdersIntended
from tests.daemon.life import MONDAY, SYMBOLS, TUESDAY, WEDNESDAY, at, bars, history, of

EVEN = (0.19,) * 5
PRICES = (1000.0,) * 5


class Wire(PaperBroker):
    """The paper broker at the far end of a wire.

    What `passes` says no to waits in `held`; what `refuses` gives a reason for is rejected; without `cancels_arrive` a
    cancel is lost; the next `failing` looks at the order book fail.
    """

    def __init__(self, **more):
        self.passes = lambda report: True
        self.refuses = lambda order: ""
        self.cancels_arrive = True
        self.failing = 0
        self.held, self.sent = [], []
        super().__init__(**more)

    def attach(self, sink):
        self._client = sink
        super().attach(self._answer)

    def _answer(self, reports):
        through = [report for report in reports if self.passes(report)]
        self.held += [report for report in reports if report not in through]
        if through:
            self._client(tuple(through))

    def tell(self, *reports):
        """Say something to the daemon, as the broker would."""
        self._client(tuple(reports))

    def submit(self, orders):
        self.sent += [order.tag for order in orders]
        for order in orders:
            why = self.refuses(order)
            if why:
                self.tell(OrderReport(order.tag, order.symbol, order.side, ReportKind.REJECTED, detail=why))
            else:
                super().submit((order,))

    def cancel(self, tags):
        if self.cancels_arrive:
            super().cancel(tags)

    async def orders(self):
        if self.failing:
            self.failing -= 1
            return Unknown("504 to the order book")
        return await super().orders()


class Script:
    """A strategy that wants one row of weights after the other; the last one for ever."""

    name, look_back, symbols = "script", 0, SYMBOLS

    def __init__(self, *rows):
        self.rows = list(rows)

    def target(self, context):
        row = self.rows.pop(0) if len(self.rows) > 1 else self.rows[0]
        return np.array(row)


def invested(life, then, **more):
    """A daemon on Wednesday at nine that has put 95 % into five even parts and wants `then` today."""
    running = life(at(MONDAY, "09:00"), past=history(), strategy=Script(EVEN, EVEN, then), broker=Wire, **more)
    for day in (MONDAY, TUESDAY):
        running.play(bars(day, "09:25"), bars(day, "15:30"))
    running.play(bars(WEDNESDAY, "09:18")).to(WEDNESDAY, "09:00")
    account = running.core.state.account
    assert all(account.quantity(symbol) > 180 for symbol in SYMBOLS) and not running.core.state.halts
    running.broker.sent.clear()
    return running


def moment(running, day, clock, seconds):
    """Let the daemon live to some seconds after a minute."""
    running.loop.run_until_complete(running.clock.sleep_until(at(day, clock) + int(seconds * 10**9)))
    return running


def intended(messages):
    """Return the tags of all orders on record, in order."""
    return [order.tag for message in of(messages, OrdersIntended) for order in message.orders]


def assert_once(messages):
    """Assert that no order was made twice."""
    tags = intended(messages)
    assert tags and len(tags) == len(set(tags))


def assert_same_books(running):
    """Assert that ledger and broker agree to the share and to the paisa."""
    ours, theirs = running.core.state.account, running.broker.account
    assert ours.quantities == theirs.quantities and ours.cash == theirs.cash


def decided(messages):
    """Return outcome and reasons of all decisions on record."""
    return [(message.outcome, " ".join(message.reasons)) for message in of(messages, Decided)]


def halts(messages):
    """Return the causes of all halts on record."""
    return [message.cause for message in of(messages, Halted)]


def events(running):
    """Return the names of what people were told."""
    return [alert.event for alert in running.told]
