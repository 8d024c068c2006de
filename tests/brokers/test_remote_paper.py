"""The adapter of a broker behind a socket: what each kind of answer proves, what is tried once, and what is tried again."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web

from brokers.broker_server import BrokerServer
from brokers.charges import DeliveryCharges
from brokers.paper import PaperBroker
from brokers.port import Known, ReportKind, Unknown
from brokers.remote_paper import RemotePaperBroker
from brokers.remote_side import RemoteSide
from brokers.wire import split_address
from market.corporate_actions import ActionKind, CorporateAction
from market.errors import BadInput, DependencyFailed, OperatorError
from market.money import rupees
from risk.approval import ProposedOrder, Side, _seal
from tests.contract.test_broker_contract import DAY, NOON_NS, SYMBOL

SECONDS = 0.3


def order(tag="A1", *, quantity=10, limit=804.0):
    return _seal(
        ProposedOrder(tag, "plan", SYMBOL, Side.BUY, quantity, rupees(limit)), limits_version="v", priced_at_ns=0
    )


def answer(tag="A1", *, order_id="P1", status="open", quantity=10, detail=""):
    row = {
        "broker_order_id": order_id,
        "tag": tag,
        "symbol": SYMBOL,
        "side": "buy",
        "quantity": quantity,
        "filled": 0,
        "limit": rupees(804.0),
        "status": status,
    }
    return web.json_response({"order": row, "detail": detail})


class Fake:
    """A server that answers order requests as a test says, and counts them."""

    def __init__(self, place):
        self.place = place
        self.posts = []
        self.cancels = []
        self.cash = []
        self.refuse_cash = 0

    async def _post(self, request):
        self.posts.append(json.loads(await request.read())["tag"])
        return await self.place(request)

    async def _cancel(self, request):
        self.cancels.append(request.match_info["tag"])
        return answer(request.match_info["tag"], status="cancelled")

    async def _cash(self, request):
        self.cash.append(json.loads(await request.read())["moves"][0]["sequence"])
        if self.refuse_cash:
            self.refuse_cash -= 1
            return web.Response(status=503, text="later")
        return web.json_response({"done": True})

    async def _stream(self, request):
        stream = web.WebSocketResponse()
        await stream.prepare(request)
        await stream.send_str(json.dumps({"type": "hello", "epoch": "e", "sequence": 0, "resumed": False}))
        await stream.receive()
        return stream

    @asynccontextmanager
    async def serve(self):
        async def clock(request):
            said = {"version": 1, "now_ns": 0, "speed": 1.0, "session": None, "is_open": True}
            return web.json_response(said)

        async def funds(request):
            return web.json_response({"cash": 5, "available": 5})

        application = web.Application()
        application.router.add_get("/v1/clock", clock)
        application.router.add_get("/v1/funds", funds)
        application.router.add_get("/v1/stream", self._stream)
        application.router.add_post("/v1/orders", self._post)
        application.router.add_delete("/v1/orders/{tag}", self._cancel)
        application.router.add_post("/v1/cash", self._cash)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        listener = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(runner, listener).start()
        broker = RemotePaperBroker(f"http://127.0.0.1:{listener.getsockname()[1]}", seconds=SECONDS)
        reports = []
        broker.attach(reports.extend)
        await broker.open()
        try:
            yield broker, reports
        finally:
            await broker.close()
            with suppress(RuntimeError):
                await runner.cleanup()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def hang(request):
    await asyncio.Event().wait()


async def vanish(request):
    request.transport.abort()
    return web.Response()


async def says(request, *, status=200, body='{"error": "no", "placed": false}', kind="application/json", headers=None):
    return web.Response(status=status, text=body, content_type=kind, headers=headers)


def saying(**options):
    return lambda request: says(request, **options)


def answering(**options):
    async def place(request):
        return answer(**options)

    return place


K = ReportKind
OUTCOMES = {
    "accepted": (answering(), K.ACKNOWLEDGED),
    "complete at once": (answering(status="complete"), K.ACKNOWLEDGED),
    "rejected by the broker": (answering(status="rejected", detail="market closed"), K.REJECTED),
    "400, nothing placed": (saying(status=400), K.REJECTED),
    "403, nothing placed": (saying(status=403), K.REJECTED),
    "429, nothing placed": (saying(status=429), K.REJECTED),
    "400 without a word on it": (saying(status=400, body='{"error": "please check the order book"}'), K.UNKNOWN),
    "429 without a word on it": (saying(status=429, body='{"error": "slow down"}'), K.UNKNOWN),
    "403 of somebody between": (saying(status=403, body="<html>proxy</html>", kind="text/html"), K.UNKNOWN),
    "500 that denies it": (saying(status=500), K.UNKNOWN),
    "502": (saying(status=502, body="<html>bad gateway</html>", kind="text/html"), K.UNKNOWN),
    "503": (saying(status=503), K.UNKNOWN),
    "504": (saying(status=504), K.UNKNOWN),
    "no answer in time": (hang, K.UNKNOWN),
    "the connection breaks": (vanish, K.UNKNOWN),
    "200 with HTML": (saying(body="<html>ok</html>", kind="text/html"), K.UNKNOWN),
    "200 with cut JSON": (saying(body='{"order": {"tag": "A1"'), K.UNKNOWN),
    "200 with nothing": (saying(body=""), K.UNKNOWN),
    "a null order id": (answering(order_id=""), K.UNKNOWN),
    "another order": (answering(tag="B2"), K.UNKNOWN),
    "another quantity": (answering(quantity=11), K.UNKNOWN),
    "a redirect": (saying(status=307, headers={"Location": "/v1/orders"}), K.UNKNOWN),
}


@pytest.mark.parametrize(("place", "kind"), OUTCOMES.values(), ids=OUTCOMES)
async def test_each_answer_proves_what_it_says_and_the_order_is_tried_once(place, kind):
    fake = Fake(place)
    async with fake.serve() as (broker, reports):
        broker.submit([order()])
        await until(lambda: reports)
        assert [report.kind for report in reports] == [kind]
        assert reports[0].detail or kind is K.ACKNOWLEDGED
    assert fake.posts == ["A1"]


async def test_a_refused_connection_proves_that_nothing_left():
    fake = Fake(answering())
    async with fake.serve() as (broker, reports):
        broker._base = "http://127.0.0.1:1"
        broker.submit([order()])
        await until(lambda: reports)
    assert reports[0].kind is K.NOT_SENT and fake.posts == []


async def test_orders_leave_one_after_the_other_and_each_is_asked_about_right_before():
    fake = Fake(answering())
    stopped = []

    async def place(request):
        stopped.append(True)  # a stop is heard while the first order is on its way
        return answer(fake.posts[-1])

    fake.place = place
    async with fake.serve() as (broker, reports):
        broker._hold = lambda order: "the stop latch is engaged" if stopped else ""
        broker.submit([order("A1"), order("A2"), order("A3")])
        await until(lambda: len(reports) == 3)
    assert fake.posts == ["A1"]
    assert [(r.tag, r.kind) for r in reports] == [("A1", K.ACKNOWLEDGED), ("A2", K.NOT_SENT), ("A3", K.NOT_SENT)]


async def test_a_cancel_never_overtakes_the_order_it_is_about():
    gate = asyncio.Event()

    async def place(request):
        await gate.wait()
        return answer()

    fake = Fake(place)
    async with fake.serve() as (broker, reports):
        broker.submit([order()])
        broker.cancel(["A1", "B2"])
        await until(lambda: fake.cancels == ["B2"])
        gate.set()
        await until(lambda: fake.cancels == ["B2", "A1"])
        await until(lambda: len(reports) == 3)
    assert [r.kind for r in reports if r.tag == "A1"] == [K.ACKNOWLEDGED, K.CANCELLED]


async def test_closing_lets_what_was_handed_over_leave():
    fake = Fake(lambda request: asyncio.sleep(0.01, answer(fake.posts[-1])))
    async with fake.serve() as (broker, _):
        broker.submit([order(f"A{number}") for number in range(5)])
        await broker.close()
    assert fake.posts == [f"A{number}" for number in range(5)]


async def test_cash_is_told_until_it_is_confirmed_in_order_and_reads_wait_for_it():
    fake = Fake(answering())
    fake.refuse_cash = 2
    async with fake.serve() as (broker, _):
        broker._seconds = 5.0
        side = RemoteSide(broker)
        side.move_cash(amount=rupees(5), sequence=1, cause="a")
        side.move_cash(amount=rupees(5), sequence=2, cause="b")
        read = await broker.funds()
        assert isinstance(read, Known) and fake.cash == [1, 1, 1, 2]
        fake.refuse_cash = 10**6
        broker._seconds = SECONDS
        side.move_cash(amount=rupees(5), sequence=3, cause="c")
        assert await broker.funds() == Unknown("/v1/cash is not confirmed by the broker yet")


async def test_a_book_that_cannot_be_read_is_unknown():
    async with Fake(answering()).serve() as (broker, _):
        read = await broker.orders()  # the fake has no such page
        assert isinstance(read, Unknown) and "status 405" in read.reason


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1:80", "https://127.0.0.1:80", "http://10.0.0.1:80", "http://127.0.0.1", "http://127.0.0.1:x",
     "http://127.0.0.1:80/path", "http://evil@127.0.0.1:80", "unix:", "unix:" + "x" * 101],
)  # fmt: skip
def test_an_address_that_is_not_on_this_machine_is_refused(address):
    with pytest.raises(BadInput, match="--broker"):
        split_address(address)


async def test_a_broker_that_is_away_or_speaks_otherwise_is_a_failed_dependency():
    with pytest.raises(DependencyFailed, match="clock"):
        await RemotePaperBroker("http://127.0.0.1:1").open()


# ---- the server ------------------------------------------------------------------------------------------------------


class House:
    """A broker server over a paper broker, and as many clients as a test wants."""

    def __init__(self, port=0):
        self.paper = PaperBroker(
            symbols=(SYMBOL,),
            opening_cash=rupees(1_000_000),
            charges=DeliveryCharges.default(),
            now_ns=lambda: NOON_NS,
        )
        self.paper.prime(closes={SYMBOL: 800.0}, volumes={SYMBOL: 1e6})
        self.paper.start_session(DAY)
        self.failures, self.repeated = [], []
        self.listener = socket.create_server(("127.0.0.1", port))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    async def __aenter__(self):
        self.server = BrokerServer(
            self.paper, now_ns=lambda: NOON_NS, failed=self.failures.append, repeated=self.repeated.append
        )
        await self.server.start(self.listener)
        return self

    async def __aexit__(self, *_):
        await self.server.close()

    @asynccontextmanager
    async def client(self):
        broker, reports, states = RemotePaperBroker(self.address, seconds=5.0), [], []
        broker.on_state = lambda state, detail: states.append(state)
        broker.attach(reports.extend)
        await broker.open()
        try:
            yield broker, reports, states
        finally:
            await broker.close()


async def test_a_unix_socket_serves_as_well(tmp_path):
    async with House() as house:
        path = tmp_path / "b.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        await web.SockSite(house.server._runner, listener).start()
        house.address = f"unix:{path}"
        async with house.client() as (broker, reports, _):
            broker.submit([order()])
            await until(lambda: reports)
            assert reports[0].kind is K.ACKNOWLEDGED
        path.unlink()
        with pytest.raises(DependencyFailed):
            await RemotePaperBroker(house.address).open()


async def test_a_repeated_tag_is_answered_told_of_and_not_placed():
    async with House() as house, house.client() as (broker, reports, _):
        broker.submit([order()])
        broker.submit([order()])
        await until(lambda: sum(report.kind is K.ACKNOWLEDGED for report in reports) >= 3)
        assert house.repeated == ["A1"] and len((await broker.orders()).value) == 1
        assert "duplicate tag: not placed again" in {report.detail for report in reports}


async def test_every_client_hears_every_report_and_one_that_was_away_hears_what_it_missed():
    async with House() as house, house.client() as (first, heard, _), house.client() as (second, _, states):
        told = []
        second.attach(told.extend)
        stream = next(task for task in second._tasks if task.get_name() == "broker stream")
        for open_stream in list(house.server._streams):
            await open_stream.close()
        first.submit([order()])
        await until(lambda: any(report.kind is K.ACKNOWLEDGED for report in told))
        await until(lambda: heard)
        assert not stream.done() and states == ["connected", "lost", "connected"]
        assert second.sequence == house.server.sequence


async def test_a_broker_that_lived_again_is_a_new_epoch_and_the_client_goes_on_from_there():
    async with House() as house, house.client() as (broker, reports, states):
        broker.submit([order()])
        await until(lambda: reports)
        before = broker.epoch
        await house.server.close()
        async with House(int(house.address.rsplit(":", 1)[1])) as again:
            await until(lambda: states[-1] == "connected" and len(states) >= 3)
            assert broker.epoch == again.server.epoch != before and broker.sequence == 0


async def test_a_stream_that_falls_too_far_behind_is_closed_and_not_lied_to(monkeypatch):
    monkeypatch.setattr("brokers.broker_server._REMEMBERED", 2)
    async with House() as house, house.client() as (broker, _, states):
        for number in range(8):  # eight batches of reports before the stream's task has its turn
            house.paper.receive([order(f"A{number}", quantity=1)])
        await until(lambda: "lost" in states and states[-1] == "connected")
        assert broker.sequence == house.server.sequence == 8


async def test_what_is_not_asked_properly_is_refused_and_says_that_nothing_was_placed():
    async with House() as house, aiohttp.ClientSession() as session:
        good = {"tag": "A1", "symbol": SYMBOL, "side": "buy", "quantity": 1, "limit": 80000}
        page = house.address + "/v1/orders"
        for body, headers, status in (
            (json.dumps(good), {"Content-Type": "text/plain"}, 400),
            (json.dumps(good), {"Content-Type": "application/json", "Host": "evil.example:80"}, 403),
            (json.dumps(good | {"tag": "A 1"}), {"Content-Type": "application/json"}, 400),
            (json.dumps(good | {"tag": "x" * 21}), {"Content-Type": "application/json"}, 400),
            (json.dumps(good | {"limit": 800.5}), {"Content-Type": "application/json"}, 400),
            (json.dumps(good | {"kind": "market"}), {"Content-Type": "application/json"}, 400),
            ("{", {"Content-Type": "application/json"}, 400),
        ):
            async with session.post(page, data=body, headers=headers) as said:
                assert (said.status, (await said.json())["placed"]) == (status, False)
        async with session.delete(page + "/nobody") as said:
            assert said.status == 404
    assert house.server.sequence == 0


async def test_books_that_cannot_be_written_end_the_process_and_leave_the_order_unknown(monkeypatch):
    async with House() as house, house.client() as (broker, reports, _):

        def full(reports):
            raise OperatorError("paper broker: disk full")

        monkeypatch.setattr(house.paper, "_commit", full)
        broker.submit([order()])
        await until(lambda: reports)
        assert reports[0].kind is K.UNKNOWN and house.failures == ["paper broker: disk full"]


async def test_a_split_is_applied_once_and_refused_after_its_session_has_traded():
    action = CorporateAction(DAY, SYMBOL, ActionKind.SPLIT, 2, 1)
    async with House() as house, house.client() as (broker, _, states):
        house.paper.account.correct(delta=10, cause="owned", symbol=SYMBOL)
        side = RemoteSide(broker)
        side.apply_action(action)
        side.apply_action(action)
        (position,) = (await broker.positions()).value
        assert position.quantity == 20 and "refused" not in states
        house.paper._market.volume[SYMBOL] = 5.0
        side.apply_action(action)  # known: nothing to refuse
        side.apply_action(CorporateAction(DAY, SYMBOL + "X", ActionKind.SPLIT, 2, 1))
        await broker.positions()
        assert states.count("refused") == 1
