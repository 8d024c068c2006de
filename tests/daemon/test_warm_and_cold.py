"""A daemon that lived through it all and one that starts on its journal come to know the same.

Whatever happened (fills in any order, reports twice, answers lost, a stream that was gone, trades by hand, kills), the state
that is left when all is quiet is that of a fresh process after its first comparison of the books.
"""

import tempfile
from pathlib import Path

from hypothesis import event, given, settings
from hypothesis import strategies as st

from brokers.paper import FillModel
from daemon.fold import fold_journal
from daemon.messages import BrokerConnection, Lane, OrderReports
from market.money import rupees
from risk.approval import Side
from tests.daemon.life import LIMITS, MONDAY, SYMBOLS, Life, at, bars, history, of, reconcile

MINUTE = 60 * 10**9

models = st.builds(
    FillModel,
    participation=st.sampled_from([0.1, 0.0001]),
    lost_answer_fraction=st.sampled_from([0.0, 0.4]),
    lost_request_fraction=st.sampled_from([0.0, 0.4]),
    latency_seconds=st.sampled_from([0.0, 20.0]),
    seed=st.integers(0, 5),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("bar"), st.integers(992, 1008)),
        st.tuples(st.just("hand"), st.sampled_from(SYMBOLS), st.sampled_from(Side), st.integers(1, 20)),
        st.tuples(st.just("order by hand"), st.sampled_from(SYMBOLS), st.integers(1, 20)),
        st.tuples(
            st.sampled_from(["twice", "stream gone", "stream back", "unreadable", "readable", "compare", "kill"])
        ),
    ),
    max_size=12,
)


class Story:
    """Lives on one folder, one after the other, a minute a step."""

    def __init__(self, folder, model):
        self.folder, self.model = folder, model
        self.now = at(MONDAY, "09:16")
        self.life = Life(folder, self.now, past=history(), model=model)
        self.wait()

    def wait(self, nanoseconds=MINUTE):
        self.now += nanoseconds
        self.life.loop.run_until_complete(self.life.clock.sleep_until(self.now))
        assert self.life.core.bus.failed is None, self.life.core.bus.failed

    def step(self, what, *rest):
        life, core, broker = self.life, self.life.core, self.life.broker
        if what == "bar":
            clock = self.life.clock
            batch = bars(MONDAY, "09:20", (float(rest[0]),) * 5)
            life._emit(
                type(batch)(batch.session, batch.interval, clock.now_ns() - MINUTE, clock.now_ns(), *_rest(batch))
            )
        elif what == "hand":
            symbol, side, quantity = rest
            held = broker.account.quantity(symbol) - broker._selling.get(symbol, 0)
            broker.trade_by_hand(symbol, side if held >= quantity else Side.BUY, quantity, rupees(1_000))
        elif what == "order by hand":
            broker.order_by_hand(rest[0], Side.BUY, rest[1], rupees(1_000))
        elif what == "twice":
            heard = [message for message in self.heard() if message.source == "stream"]
            for message in heard[::-1]:
                core.bus.post(Lane.BROKER, OrderReports(reports=message.reports[::-1]))
        elif what in ("stream gone", "stream back"):
            broker.attach(core.edges.on_reports if what == "stream back" else lambda reports: None)
            core.bus.post(Lane.BROKER, BrokerConnection(connected=what == "stream back"))
        elif what in ("unreadable", "readable"):
            broker.fail_reads("503" if what == "unreadable" else "")
        elif what == "compare":
            core.bus.post(Lane.CONTROL, reconcile())
        else:
            self.restart()
        self.wait()

    def heard(self):
        return self.life.reports

    def restart(self):
        messages = self.life.kill()
        self.life = Life(self.folder, self.now, model=self.model)
        return messages

    def quiet(self):
        """End what is wrong, let what is on its way arrive, compare."""
        for step in ("readable", "stream back", "compare", "compare"):
            self.step(step)


def _rest(batch):
    return batch.symbols, batch.open, batch.high, batch.low, batch.close, batch.volume


def known(state):
    orders = {tag: (order.state, order.filled, order.value, order.fills) for tag, order in state.orders.items()}
    return {
        "account": state.account.to_state(),
        "orders": orders,
        "live": set(state.live),
        "plans": {plan_id: (run.phase, run.closed) for plan_id, run in state.runs.items()},
        "halts": dict(state.halts),
        "blocked": state.evidence.blocked,
        "differences": state.evidence.differences,
        "settled": state.evidence.settled_trades,
    }


@settings(max_examples=150, deadline=None)
@given(models, steps)
def test_warm_and_cold_restart_agree(model, story):
    with tempfile.TemporaryDirectory() as folder:
        lived = Story(Path(folder), model)
        for step in story:
            lived.step(*step)
        lived.quiet()
        state, broker = lived.life.core.state, lived.life.broker
        warm = known(state)
        event(f"fills {state.account.fills > 0}, by hand {len(state.evidence.settled_trades) > 0}")
        event(f"unknown at the end {len(state.unknown_orders()) > 0}, blocked {len(warm['blocked']) > 0}")
        unknown = {order.symbol for order in state.unknown_orders()}
        held = {symbol: quantity for symbol, quantity in broker.account.quantities.items() if symbol not in unknown}
        assert {symbol: state.account.quantity(symbol) for symbol in held} == held
        assert unknown or state.account.cash == broker.account.cash
        assert not warm["halts"], "every difference had its explanation"
        core = lived.life.core
        messages = lived.restart()
        folded = fold_journal(Path(folder) / "journal.sqlite", settings=core.settings, limits=LIMITS).state
        assert known(folded) == warm, "the journal is all that is known"
        lived.wait()
        assert known(lived.life.core.state) == warm
        sent = [report.tag for message in of(messages, OrderReports) for report in message.reports]
        assert set(sent) <= set(warm["orders"])
        lived.life.kill()
