"""The guardian on virtual time: when it acts, when it leaves a healthy daemon alone, and what it does with a broker away."""

import asyncio
from datetime import date

import pytest

from brokers.charges import DeliveryCharges
from brokers.paper import PaperBroker
from brokers.wire import OrderRequest
from daemon.clock import VirtualTimeLoop, ist_ns
from daemon.guardian import Guardian
from daemon.heartbeat import ALIVE, STOPPED, Beat, Heartbeat, read_beat
from daemon.latch import Latch
from daemon.settings import Paths
from market.calendar import Calendar
from market.errors import DependencyFailed
from market.money import rupees
from risk.approval import Side

DAY, SUNDAY = date(2024, 6, 10), date(2024, 6, 9)
LIMIT = 30.0


class Scene:
    """A broker with orders, a heartbeat that may stop, a latch on disk, and a guardian that looks at them."""

    def __init__(self, folder, *, day=DAY, hour=10, process=True):
        self.loop = VirtualTimeLoop()
        self.start_ns = ist_ns(day, hour=hour, minute=0)
        self.paper = PaperBroker(
            symbols=("SBIN",),
            opening_cash=rupees(1_000_000),
            charges=DeliveryCharges.default(),
            now_ns=self.market_ns,
        )
        self.paper.prime(closes={"SBIN": 800.0}, volumes={"SBIN": 1e6})
        self.paper.start_session(day)
        self.paper.account.correct(delta=100, cause="owned before", symbol="SBIN")
        self.latch = Latch(folder / "latch")
        self.latch.prepare()
        self.away = False
        self.number = 0
        self.beat = None
        self.said = []
        self.process = process
        self.guardian = self.loop.run_until_complete(self._guardian())

    async def _guardian(self):
        return Guardian(
            read=lambda: self.beat,
            latch=self.latch,
            connect=self._connect if self.process else None,
            calendar=Calendar.load(),
            market_ns=self.market_ns,
            now_text=lambda: "now",
            uid=0,
            say=lambda level, event, **fields: self.said.append((self.loop.time(), event, fields)),
            limit=LIMIT,
        )

    def market_ns(self):
        return self.start_ns + int(self.loop.time() * 1e9)

    async def _connect(self):
        if self.away:
            raise DependencyFailed("nobody answers")
        return self.paper

    def order(self, tag, side=Side.BUY):
        self.paper.receive([OrderRequest(tag, "SBIN", side, 10, rupees(790 if side is Side.BUY else 830))])
        return self

    def beats(self, state=ALIVE, session=DAY.isoformat()):
        self.number += 1
        self.beat = Beat(1, self.number, state, session, 1)
        return self

    def run(self, seconds, *, alive=False):
        async def passing():
            looking = asyncio.create_task(self.guardian.run())
            for _ in range(int(seconds)):
                if alive:
                    self.beats()
                await asyncio.sleep(1.0)
            looking.cancel()

        self.loop.run_until_complete(passing())
        return self

    def open(self):
        return sorted(order.tag for order in self.paper._resting.values())

    def events(self):
        return [event for _, event, _ in self.said]


@pytest.fixture
def scene(tmp_path):
    made = []

    def make(**options):
        made.append(Scene(tmp_path, **options))
        return made[-1]

    yield make
    for it in made:
        it.loop.close()


def test_a_daemon_that_falls_silent_has_its_open_orders_cancelled_and_is_latched(scene):
    it = scene().order("A1").order("A2", Side.SELL).run(60, alive=True)
    assert it.open() == ["A1", "A2"] and it.said == []
    it.run(LIMIT - 2)
    assert it.open() == ["A1", "A2"]
    it.run(4)
    assert it.open() == []
    said = it.latch.read()
    assert it.latch.engaged() and said["mode"] == "cancel" and said["reason"].startswith("guardian: no heartbeat for 3")
    assert it.events() == ["guardian.engaged", "guardian.cancelled", "guardian.withdrawn"]


def test_it_acts_once_per_silence_and_again_at_the_next_one(scene):
    it = scene().order("A1").beats().run(3600)
    assert it.events().count("guardian.engaged") == 1
    it.latch.release()
    it.order("A2").run(30, alive=True)
    assert it.events()[-1] == "guardian.alive" and it.open() == ["A2"]
    it.run(3600)
    assert it.open() == [] and it.latch.engaged() and it.events().count("guardian.engaged") == 2


def test_a_daemon_that_beats_is_left_alone_all_day(scene):
    it = scene().order("A1").run(5 * 3600, alive=True)
    assert it.open() == ["A1"] and it.said == [] and not it.latch.engaged()


@pytest.mark.parametrize(
    "quiet",
    [
        lambda scene: scene().order("A1").run(5, alive=True).beats(STOPPED, ""),
        lambda scene: scene(hour=17).order("A1").beats(),
        lambda scene: scene(day=SUNDAY).beats(),
        lambda scene: scene().order("A1"),
    ],
    ids=["stopped in order", "after the session", "on a Sunday", "never started"],
)
def test_no_heartbeat_is_expected_when_none_was_promised(scene, quiet):
    it = quiet(scene)
    before = it.open()
    it.run(3600)
    assert it.open() == before and it.said == [] and not it.latch.engaged()


def test_a_silence_that_began_at_night_is_noticed_when_the_session_opens(scene):
    it = scene(hour=9).order("A1").beats(session="")
    it.run(14 * 60)
    assert it.said == []
    it.run(120)
    assert it.open() == [] and it.latch.engaged()


def test_nothing_open_is_no_reason_to_latch_until_something_shows(scene):
    it = scene().beats().run(300)
    assert it.events() == ["guardian.silent"] and not it.latch.engaged()
    it.order("A1").run(LIMIT)
    assert it.open() == [] and it.latch.engaged()


def test_a_broker_that_is_away_is_asked_until_it_answers_and_the_latch_does_not_wait(scene):
    it = scene().order("A1").beats()
    it.away = True
    it.run(LIMIT + 2)
    assert it.latch.engaged() and it.open() == ["A1"]
    it.run(600)
    assert 3 <= it.events().count("guardian.broker_away") <= 8
    it.away = False
    it.run(40)
    assert it.open() == [] and it.events()[-1] == "guardian.withdrawn"


def test_a_book_that_cannot_be_read_counts_as_open_orders(scene):
    it = scene().order("A1").beats()
    it.paper.fail_reads("gateway timeout")
    it.run(LIMIT + 2)
    assert it.latch.engaged() and it.open() == ["A1"]
    it.paper.fail_reads("")
    it.run(40)
    assert it.open() == []


def test_a_disk_that_refuses_the_latch_does_not_keep_orders_open(scene, monkeypatch):
    it = scene().order("A1").beats()
    monkeypatch.setattr(it.latch, "engage", lambda **_: (_ for _ in ()).throw(OSError(28, "no space left")))
    it.run(LIMIT + 4)
    assert it.open() == [] and "LATCH CANNOT BE WRITTEN" in it.said[0][2]["text"]


def test_a_stop_with_cancel_is_left_to_a_living_daemon_first(scene):
    it = scene().order("A1").run(5, alive=True)
    it.latch.engage(mode="cancel", reason="drill", uid=0, at="")
    it.run(4, alive=True)
    assert it.open() == ["A1"]
    it.run(4, alive=True)
    assert it.open() == [] and it.events() == ["guardian.cancelled", "guardian.withdrawn"]


def test_a_stop_that_the_daemon_carries_out_itself_leaves_nothing_to_say(scene):
    it = scene().order("A1").run(5, alive=True)
    it.latch.engage(mode="cancel", reason="drill", uid=0, at="")
    it.paper.cancel(["A1"])
    it.run(60, alive=True)
    assert it.said == []


def test_the_sales_of_a_living_daemons_flatten_are_its_own_and_those_of_a_dead_one_are_not(scene):
    it = scene().order("A1").order("A2", Side.SELL).run(5, alive=True)
    it.latch.engage(mode="flatten", reason="drill", uid=0, at="")
    it.run(60, alive=True)
    assert it.open() == ["A2"]
    it.run(LIMIT + 4)
    assert it.open() == []


def test_a_stop_reaches_the_broker_at_once_when_the_daemon_is_dead(scene):
    it = scene().order("A1").order("A2", Side.SELL).run(5, alive=True).run(10)
    it.latch.engage(mode="flatten", reason="drill", uid=0, at="")
    it.run(2)
    assert it.open() == []


def test_a_halt_cancels_nothing(scene):
    it = scene().order("A1").run(5, alive=True)
    it.latch.engage(mode="halt", reason="drill", uid=0, at="")
    it.run(600, alive=True)
    assert it.open() == ["A1"] and it.said == []


def test_without_a_broker_process_it_latches_and_says_that_it_can_do_no_more(scene):
    it = scene(process=False).order("A1").run(5, alive=True).run(LIMIT + 5)
    assert it.latch.engaged() and it.events() == ["guardian.engaged"]
    assert "the broker is inside the daemon: only latched" in it.said[0][2]["text"]


# ---- the heartbeat's file --------------------------------------------------------------------------------------------


def test_every_beat_changes_the_file_and_the_last_one_says_stopped(tmp_path):
    path = Paths(tmp_path).heartbeat
    path.parent.mkdir()
    heart = Heartbeat(path)
    assert read_beat(path) is None
    heart.beat(session="2024-06-10", open_orders=2)
    first = read_beat(path)
    heart.beat(session="2024-06-10", open_orders=2)
    second = read_beat(path)
    assert first != second and (second.state, second.open_orders) == (ALIVE, 2)
    heart.stopped()
    assert read_beat(path).state == STOPPED
    Heartbeat(tmp_path / "other").stopped()
    assert not (tmp_path / "other").exists()


def test_a_directory_that_is_gone_or_a_torn_line_is_silence_and_no_error(tmp_path):
    Heartbeat(tmp_path / "gone" / "heartbeat").beat(session="", open_orders=0)
    torn = tmp_path / "heartbeat"
    torn.write_text('{"pid": 1, "numb')
    assert read_beat(torn) is None
    torn.write_text('{"pid": 1}')
    assert read_beat(torn) is None
