"""What must always hold in a simulated world (design, section 10), looked at after every message and at every order.

The first thing that does not hold ends the run; what is found is told with the day, the record and the story.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from brokers.orders import OrderState
from daemon.clock import ist
from daemon.journal import Chain
from daemon.messages import Reconciled, SessionClosed
from daemon.simulation.loop import Life
from market.bar import BarBatch
from market.calendar import Phase
from risk.approval import ApprovedOrder, Side, is_approved
from strategies.protocol import StrategyContext

if TYPE_CHECKING:
    from daemon.simulation.running import Running
    from daemon.simulation.world import World

# Prices move between a plan and its orders, and a limit lies beside its reference.
_DRIFT: Final = 0.03
# How long after its deadline an order may rest without a cancel: bars come that far apart from timers.
_LATE_NS: Final = 120 * 10**9
_RECENT_NS: Final = 300 * 10**9
# Records in which a trip that is due must follow.
_TRIP_WITHIN: Final = 6


class Broken(NamedTuple):
    """One invariant that did not hold: the run's day, the journal's record, the instant, which, and how."""

    day: int
    record: int
    at: str
    invariant: str
    detail: str


class Invariants:
    """Looks at one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.found: list[Broken] = []
        self.checked = 0
        self._acknowledged = 0
        self._acknowledged_hash = b""
        self._at_death: tuple[int, Any] | None = None
        self._ended: set[int] = set()  # processes whose last record is written
        self._trip_due = 0
        self._close_equity: int | None = None
        self._paid: set[int] = set()  # a start repeats what it finds on record; the exchange knows it by its sequence

    def broken(self, invariant: str, detail: str) -> None:
        """Note what does not hold."""
        world = self._world
        running = world.running
        record = running.journal.seq if running is not None else 0
        at = ist(world.now_ns()).strftime("%Y-%m-%d %H:%M:%S")
        world.tell(f"BROKEN {invariant}: {detail}")
        self.found.append(Broken(world.chance.day, record, at, invariant, detail))

    # ---- the disk (9) ------------------------------------------------------------------------------------------------

    def acknowledged(self, journal: Chain) -> None:
        """The daemon was told that everything up to `durable_seq` is on disk."""
        if journal.durable_seq > len(self._world.disk.rows):
            self.broken("nothing acknowledged is lost", f"record {journal.durable_seq} counts as on disk and is not")
        elif journal.durable_seq > self._acknowledged:
            self._acknowledged = journal.durable_seq
            self._acknowledged_hash = bytes(self._world.disk.rows[journal.durable_seq - 1][5])

    def dying(self, running: Running) -> None:
        """A process is about to die: if all it knows is on disk, the next one must know the same."""
        self._at_death = None
        journal = running.journal
        if running.ready and running.process is not None and journal.seq == len(self._world.disk.rows):
            self._at_death = (journal.seq, fingerprint(running.process.core.state))

    def started(self, running: Running) -> None:
        """Another process begins."""
        self._trip_due = 0

    def recovered(self, running: Running) -> None:
        """A process has folded what is on disk."""
        process, journal = running.process, running.journal
        assert process is not None
        rows = self._world.disk.rows
        if len(rows) < self._acknowledged or (
            self._acknowledged and bytes(rows[self._acknowledged - 1][5]) != self._acknowledged_hash
        ):
            self.broken("nothing acknowledged is lost", f"record {self._acknowledged} is gone")
        if self._at_death is not None and self._at_death[0] == journal.seq:
            after = fingerprint(process.core.state)
            if after != self._at_death[1]:
                changed = [name for name in after if after[name] != self._at_death[1].get(name)]
                self.broken("a fold gives the same state", ", ".join(changed))

    def stopped(self, running: Running) -> None:
        """The last record is written."""
        self._ended.add(running.life.number)

    # ---- orders (1, 2, 4, 5, 10) -------------------------------------------------------------------------------------

    def leaving(self, life: Life, order: ApprovedOrder) -> None:
        """An order is handed to the network: everything that must be true by now."""
        world, running = self._world, self._world.running
        if running is None or running.life is not life or running.books is None or running.process is None:
            self.broken("one process", "an order of a process that is over")
            return
        books, state = running.books, running.process.core.state
        if not is_approved(order):
            self.broken("approved first", f"{order.tag} is not sealed")
        if order.tag in world.requested:
            self.broken("sent at most once", f"{order.tag} {order.side} {order.quantity} {order.symbol} left before")
        intended = books.intended.get(order.tag)
        recorded = books.recorded.get(order.tag, 0)
        if intended is None or (intended.quantity, intended.limit) != (order.quantity, order.limit):
            self.broken("intent first", f"{order.tag} left and no such intent is on record")
        elif recorded > len(world.disk.rows):
            self.broken("intent first", f"{order.tag} left, and record {recorded} is not on disk yet")
        exits = order.leaves and order.side is Side.SELL
        if world.disk.latch is not None and not (exits and world.disk.latch["mode"] == "flatten"):
            self.broken("nothing leaves after a stop", f"{order.tag} left under the latch")
        flattening = "STOP_FLATTEN" in books.halts and all(cause.startswith("STOP_") for cause in books.halts)
        if books.halts and not (exits and flattening):
            self.broken("nothing leaves after a stop", f"{order.tag} left while {', '.join(sorted(books.halts))}")
        if books.latched and not order.leaves:
            self.broken("nothing leaves after a trip", f"{order.tag} left while {', '.join(books.latched)} is latched")
        if life.number in self._ended:
            self.broken("nothing leaves after a stop", f"{order.tag} left after the process's last record")
        if not books.reconciled:
            self.broken("compared first", f"{order.tag} left before the books were compared")
        if running.clock_right and world.calendar.phase(world.now_ns(), derivatives=True) is not Phase.CONTINUOUS:
            self.broken("an open market", f"{order.tag} left at {ist(world.now_ns()):%H:%M:%S}")
        unknown = [other.tag for other in state.unknown_orders() if other.symbol == order.symbol]
        if unknown:
            self.broken("unknown blocks its symbol", f"{order.tag} left while {unknown[0]} is unknown")
        self._size(order, books.plans[order.plan_id].equity if order.plan_id in books.plans else 0)

    def _size(self, order: ApprovedOrder, equity: int) -> None:
        """By the exchange's own books: inside what is owned, what is there to pay, and what one order and share may be."""
        world, limits = self._world, self._world.limits
        exchange = world.exchange
        value = order.quantity * order.limit
        running = world.running
        if running is None or not running.clock_right or running.books is None or running.books.disturbed:
            return  # cash that moved changes what a part of the account is; a wrong clock credits shares too early
        if world.session in world.by_hand:
            return  # what the owner did a moment ago the daemon cannot know yet
        if equity and value > limits.execution.max_order_size_percent * equity + order.limit:
            self.broken("approved inside limits", f"{order.tag} is {value / equity:.3f} of the account")
        book = exchange.order_book()
        same = [other for other in book if other.symbol == order.symbol and other.status == "open"]
        held = exchange.account.quantity(order.symbol)
        if order.side is Side.SELL:
            selling = sum(other.quantity - other.filled for other in same if other.side is Side.SELL)
            if order.quantity + selling > held:
                self.broken("long only", f"{order.tag} sells {order.quantity} of {held}, {selling} are on sale")
            return
        buying = sum(other.quantity - other.filled for other in same if other.side is Side.BUY)
        most = limits.position_limits.max_weight_per_stock + _DRIFT
        if equity and (held + buying + order.quantity) * order.limit > most * equity:
            weight = (held + buying + order.quantity) * order.limit / equity
            self.broken("approved inside limits", f"{order.tag} may bring {order.symbol} to {weight:.3f}")
        if value > exchange.balance().available:
            self.broken("confirmed cash", f"{order.tag} costs {value} of {exchange.balance().available} paise")

    def paying(self, amount: int) -> None:
        """Cash leaves the account: only what no open purchase may still take."""
        world = self._world
        free = world.exchange.balance().available
        # On a session that the exchange does not hold it has not settled what the calendar says is settled.
        excused = amount in self._paid or world.session in world.by_hand | world.closed_days
        if -amount > free and not excused:
            self.broken("promised cash", f"{-amount} paise are taken out of {free}")
        self._paid.add(amount)

    # ---- every record ------------------------------------------------------------------------------------------------

    def record(self, running: Running, message: Any, envelope: Any) -> None:
        """After every message: what the daemon believes of its latches is what the records say."""
        self.checked += 1
        books, process = running.books, running.process
        if books is None or process is None:
            return
        state = process.core.state
        if state.halts.keys() != books.halts:
            self.broken("a halt stays", f"{sorted(state.halts)}, by the records {sorted(books.halts)}")
        board = state.guard.board
        if board is not None and (board.latches or books.latched) and set(board.latched) != books.latched.keys():
            self.broken("a latch stays", f"{board.latched}, by the records {sorted(books.latched)}")
        if process.core.bus.counters.observer_errors:
            self.broken("nothing breaks", process.core.bus.counters.observer_error)
        if isinstance(message, BarBatch):
            self._judge_loss(message, running, envelope.seq)
            self._judge_deadlines(running)
        if "daily_loss" in books.latched:
            self._trip_due = 0
        elif (
            self._trip_due
            and envelope.seq > self._trip_due + _TRIP_WITHIN
            and isinstance(message, BarBatch | SessionClosed)
        ):
            self.broken("a loss trips", f"a loss beyond the daily limit at record {self._trip_due}, and no trip")
        if isinstance(message, SessionClosed):
            self._note_close(running)
        elif isinstance(message, Reconciled) and message.differences:
            self._judge_differences(message)

    def _judge_differences(self, message: Reconciled) -> None:
        """What the daemon takes for the broker's figure is one: books that were not read are not empty books."""
        world = self._world
        if world.trouble.lags:
            return
        account, recent = world.exchange.account, world.now_ns() - _RECENT_NS
        moved = {trade.symbol for trade in world.exchange.trade_book() if trade.at_ns > recent}
        for difference in message.differences:
            true = account.quantity(difference.symbol) if difference.symbol else account.cash
            if difference.broker != true and not moved:
                self.broken("unknown is not zero", f"{difference.text}, truly {true}")

    def _equity(self, running: Running, closes: dict[str, float]) -> int:
        books = running.books
        assert books is not None
        held = books.account.quantities.items()
        return books.account.cash + sum(
            round(quantity * closes[symbol] * 100.0) for symbol, quantity in held if quantity
        )

    def _note_close(self, running: Running) -> None:
        world = self._world
        self._close_equity, self._trip_due = None, 0
        days = dict(world.market.closes)
        if world.session in days and world.session not in world.feed.dishonest:
            closes = dict(zip(world.market.symbols, days[world.session], strict=True))
            self._close_equity = self._equity(running, closes)

    def _judge_loss(self, batch: BarBatch, running: Running, seq: int) -> None:
        """A loss that plain arithmetic sees must have tripped; asked on days on which nothing else explains it."""
        world, books = self._world, running.books
        assert books is not None
        if "daily_loss" in books.latched:
            return
        wrong = world.feed.dishonest | world.feed.disordered
        quiet = world.session not in wrong and not books.disturbed
        if not quiet or self._close_equity is None or batch.session != world.session or len(batch.symbols) < 5:
            return
        if any(action.ex_date == world.session for action in world.market.actions):
            return
        equity = self._equity(running, dict(zip(batch.symbols, batch.close, strict=True)))
        loss = 1.0 - equity / self._close_equity
        if loss * 100.0 > world.limits.circuit_breakers.max_daily_loss_percent + 0.2:
            self._trip_due = self._trip_due or seq

    def _judge_deadlines(self, running: Running) -> None:
        """No order rests at the exchange beyond its time unless a cancel was asked for; a restart takes the deadline over."""
        world = self._world
        longest = int(world.limits.execution.order_timeout_minutes * 60e9) + _LATE_NS
        now = world.now_ns()
        for order in world.exchange.order_book():
            if order.status != "open" or not order.tag or order.tag in world.cancelled:
                continue
            since = max(order.at_ns, running.since_ns)
            if now - since > longest and running.ready and running.clock_right:
                self.broken("a deadline holds", f"{order.tag} rests for {(now - since) // 60_000_000_000} minutes")

    # ---- what a decision sees ----------------------------------------------------------------------------------------

    def look(self, context: StrategyContext) -> None:
        """The closes that a strategy is shown are those of the sessions before, and none of a later one."""
        world = self._world
        true = world.closes_before(world.session)
        if context.session != world.session or true is None or not len(context.closes):
            return
        before = world.market.history(world.session)
        assert before is not None
        if before.sessions[-1] in world.feed.dishonest or before.sessions[-1] in world.closed_days:
            return
        shown = context.closes[-1]
        basis = np.array(world.market.on_basis(before.sessions[-1], tuple(true.tolist()), world.session))
        if not np.allclose(shown, basis, rtol=1e-6):
            self.broken("only what was known", f"closes {shown.tolist()}, truly {basis.tolist()}")

    # ---- the end of a day --------------------------------------------------------------------------------------------

    def end_of_day(self, *, last: bool) -> None:
        """When the day is over the daemon's books are the broker's; after calm days it is found at work."""
        world, running = self._world, self._world.running
        alive = running is not None and running.life.alive and running.ready and running.process is not None
        if not alive:
            if last:
                self.broken("it recovers", "after two calm days no daemon runs")
            return
        assert running is not None and running.process is not None and running.books is not None
        core = running.process.core
        state, exchange = core.state, world.exchange.account
        if core.bus.failed is not None:
            if last:
                self.broken("it recovers", f"the dispatch has failed: {core.bus.failed}")
            return
        asleep = running.life.frozen_until > world.loop.time()
        open_orders = [order for order in state.open_orders() if order.state is not OrderState.UNKNOWN]
        if open_orders and world.chance.calm and not asleep:
            self.broken("a day ends", f"{open_orders[0]!r} is open in the evening")
        if not state.live and state.reconciled_clean and not asleep and running.clock_right:
            held = {symbol: n for symbol, n in exchange.quantities.items() if n}
            ours = {symbol: n for symbol, n in state.account.quantities.items() if n}
            due = [a for a in world.market.actions if (a.ex_date, a.symbol) not in {x.key for x in state.actions}]
            if (held != ours or exchange.cash != state.account.cash) and not due:
                self.broken("books agree", f"ledger {ours} {state.account.cash}, broker {held} {exchange.cash}")
        if last:
            self._at_work(running)

    def _at_work(self, running: Running) -> None:
        world, process, books = self._world, running.process, running.books
        assert process is not None and books is not None
        state = process.core.state
        if state.unknown_orders():
            self.broken("it recovers", f"{state.unknown_orders()[0]!r} after two calm days")
        if state.halts or world.disk.latch is not None:
            self.broken("it recovers", f"halted after two calm days: {sorted(state.halts)}, latch {world.disk.latch}")
        elif not state.reconciled_clean:
            self.broken("it recovers", "the books are not compared after two calm days")
        elif (world.session, "rebalance") not in books.decided:
            self.broken("it recovers", f"nothing was decided on {world.session}")
        else:
            left = [key for key, plan in books.plans.items() if plan.moves and key not in books.closed]
            if left:
                self.broken("a day ends", f"plan {left[0]} is not closed")


def fingerprint(state: Any) -> dict[str, Any]:
    """Return what a fold must give again."""
    orders = {tag: (order.state, order.filled, order.value) for tag, order in state.orders.items()}
    return {
        "account": state.account.to_state(),
        "board": state.guard.board,
        "halts": dict(state.halts),
        "orders": orders,
        "live": sorted(state.live),
        "runs": {key: (run.phase, run.closed, run.charges, run.traded) for key, run in state.runs.items()},
        "prices": list(state.view.last),
        "closes": state.view.closes.tolist(),
        "history": (list(state.history.equity), state.history.net_deposits, state.history.close_before),
        "session": (state.session, state.session_open),
        "models": list(state.guard.models),
    }
