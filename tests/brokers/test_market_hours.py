"""The hours of a broker process: sessions by the calendar, actions before the open, a start at any moment."""

from datetime import date

import pytest

from brokers.charges import DeliveryCharges
from brokers.market_hours import MarketHours
from brokers.paper import PaperBroker
from brokers.paper_store import PaperStore
from brokers.wire import OrderRequest
from daemon.clock import Clock, VirtualTimeLoop, ist_ns
from market.calendar import Calendar
from market.corporate_actions import ActionKind, ActionTable, CorporateAction
from market.money import rupees
from risk.approval import Side

FRIDAY, MONDAY = date(2024, 6, 7), date(2024, 6, 10)
SPLIT = CorporateAction(MONDAY, "SBIN", ActionKind.SPLIT, 2, 1)


class House:
    """A paper broker with its hours on a virtual clock."""

    def __init__(self, day, hour, minute=0, *, store=None, actions=()):
        self.loop = VirtualTimeLoop()
        self.clock = Clock(self.loop, ist_ns(day, hour=hour, minute=minute))
        self.paper = PaperBroker(
            symbols=("SBIN",),
            opening_cash=rupees(1_000_000),
            charges=DeliveryCharges.default(),
            now_ns=self.clock.now_ns,
            store=store,
        )
        self.paper.prime(closes={"SBIN": 800.0}, volumes={"SBIN": 1e6})
        self.said = []
        self.hours = MarketHours(
            self.paper,
            Calendar.load(),
            now_ns=self.clock.now_ns,
            call_at=self.clock.call_at,
            actions=lambda: ActionTable(actions),
            said=lambda event, day: self.said.append((event, day)),
        )
        self.hours.start()

    def to(self, day, hour, minute=0):
        self.loop.run_until_complete(self.clock.sleep_until(ist_ns(day, hour=hour, minute=minute)))
        return self

    def close(self):
        self.hours.stop()
        self.loop.close()


@pytest.fixture
def house():
    made = []

    def make(*place, **options):
        made.append(House(*place, **options))
        return made[-1]

    yield make
    for it in made:
        it.close()


def test_a_session_opens_and_ends_and_the_weekend_is_passed_over(house):
    it = house(FRIDAY, 9).to(FRIDAY, 9, 14)
    assert not it.paper.is_open
    it.to(FRIDAY, 9, 16)
    assert it.paper.is_open and it.paper.session == FRIDAY
    it.to(FRIDAY, 15, 34)
    assert it.paper.is_open  # the last bars are still to come
    it.to(FRIDAY, 15, 36)
    assert not it.paper.is_open
    it.to(MONDAY, 9, 16)
    events = [("session.opened", FRIDAY), ("session.closed", FRIDAY), ("session.opened", MONDAY)]
    assert it.said == events and it.paper.session == MONDAY


def test_a_start_in_the_middle_of_a_session_takes_orders_at_once(house):
    assert house(MONDAY, 11).paper.is_open


def test_a_start_after_the_session_ends_what_an_earlier_life_left_open(house, tmp_path):
    first = house(FRIDAY, 10, store=PaperStore(tmp_path / "books.sqlite"))
    first.paper.receive([OrderRequest("A1", "SBIN", Side.BUY, 1, rupees(790))])
    later = house(FRIDAY, 16, store=PaperStore(tmp_path / "books.sqlite"))
    assert not later.paper.is_open and later.paper.order("A1")[0].status == "cancelled"
    assert later.said == [("session.closed", FRIDAY)]


@pytest.mark.parametrize("comes_back", [(MONDAY, 8), (MONDAY, 11)])
def test_a_split_is_in_the_books_before_its_session_also_when_nobody_was_here_at_the_open(house, tmp_path, comes_back):
    first = house(FRIDAY, 10, store=PaperStore(tmp_path / "books.sqlite"), actions=[SPLIT])
    first.paper.correct(delta=10, cause="owned", symbol="SBIN")
    assert first.paper.account.quantity("SBIN") == 10
    later = house(*comes_back, store=PaperStore(tmp_path / "books.sqlite"), actions=[SPLIT]).to(MONDAY, 11, 1)
    assert later.paper.account.quantity("SBIN") == 20
    again = house(MONDAY, 12, store=PaperStore(tmp_path / "books.sqlite"), actions=[SPLIT])
    assert again.paper.account.quantity("SBIN") == 20
