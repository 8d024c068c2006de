"""The feed over a real WebSocket on loopback: order, backlog, reconnects, bad words."""

import asyncio
import time
from datetime import date

import aiohttp
import pytest

from market.bar import BarBatch, Interval
from market.errors import DependencyFailed
from market.feed import FeedClient, FeedServer, read_clock

SECOND = 10**9


def batches(count):
    return [
        BarBatch(
            date(2024, 6, 5), Interval.MINUTE, i * SECOND, (i + 1) * SECOND, ("SBIN",), *(((100.0 + i,),) * 4), (1.0,)
        )
        for i in range(count)
    ]


async def served(count=5, **options):
    server = FeedServer(batches(count), start_ns=0, now=time.perf_counter, **{"speed": 1000.0, **options})
    port = await server.start("127.0.0.1", 0)
    return server, f"http://127.0.0.1:{port}"


async def test_bars_come_in_order_once_and_the_end_is_told():
    server, url = await served()
    seen = []
    await FeedClient(url, ("SBIN",), 0, seen.append).run()
    await server.close()
    assert [batch.end_ns for batch in seen] == [i * SECOND for i in range(1, 6)]


async def test_a_client_that_comes_late_gets_the_backlog_after_what_it_has():
    server, url = await served()
    seen = []
    await FeedClient(url, ("SBIN",), 2 * SECOND, seen.append).run()
    await server.close()
    assert [batch.end_ns for batch in seen] == [3 * SECOND, 4 * SECOND, 5 * SECOND]


async def test_a_lost_connection_is_told_and_resumed_without_doubles():
    server, url = await served(12, speed=4.0)
    seen, states = [], []
    client = FeedClient(url, ("SBIN",), 0, seen.append, lambda state, detail: states.append(state))
    task = asyncio.create_task(client.run())
    while not seen:
        await asyncio.sleep(0.01)
    port = int(url.rsplit(":", 1)[1])
    await server.close()
    while "lost" not in states:
        await asyncio.sleep(0.01)
    again = FeedServer(batches(12), start_ns=0, speed=1000.0, now=time.perf_counter)
    await again.start("127.0.0.1", port)
    await asyncio.wait_for(task, 10)
    await again.close()
    assert [batch.end_ns for batch in seen] == [i * SECOND for i in range(1, 13)]


async def test_a_held_clock_stands_until_somebody_asks():
    server, url = await served(hold=True)
    await asyncio.sleep(0.05)
    hello = await read_clock(url)
    await server.close()
    assert hello.now_ns < 10 * SECOND and hello.speed == 1000.0


async def test_nobody_there_is_a_failed_dependency():
    with pytest.raises(DependencyFailed, match="/clock"):
        await read_clock("http://127.0.0.1:9")


async def test_words_that_are_not_the_protocol_close_the_connection():
    server, url = await served()
    async with aiohttp.ClientSession() as session, session.ws_connect(url + "/feed") as socket:
        await socket.send_str('{"type": "buy"}')
        frame = await socket.receive()
        assert frame.type is aiohttp.WSMsgType.CLOSE
    await server.close()
