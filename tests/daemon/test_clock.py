"""Virtual time: jumps, order, exactness over years."""

import asyncio
from datetime import date

from daemon.clock import Clock, ScaledTimeLoop, VirtualTimeLoop, ist, ist_ns, session_day, stopwatch


def test_a_year_of_timers_runs_at_once_and_stays_exact():
    loop = VirtualTimeLoop()
    clock = Clock(loop, ist_ns(date(2015, 1, 1), hour=9, minute=0))
    seen = []

    async def wait() -> None:
        for day in range(1, 3651):
            at = clock.epoch_ns + day * 86_400_000_000_000 + 123_456_000
            await clock.sleep_until(at)
            seen.append(clock.now_ns() - at)

    began = stopwatch()
    loop.run_until_complete(wait())
    loop.close()
    assert len(seen) == 3650
    # A microsecond of rounding at most, ten years in.
    assert set(seen) <= {0, 1000}
    assert stopwatch() - began < 5.0


def test_timers_fire_in_order_of_their_instant_not_of_their_making():
    loop = VirtualTimeLoop()
    clock = Clock(loop, 0)
    order = []
    clock.call_at(3_000_000_000, order.append, "third")
    clock.call_at(1_000_000_000, order.append, "first")
    clock.call_at(2_000_000_000, order.append, "second")
    loop.run_until_complete(asyncio.wait_for(_sleep(5), 10))
    loop.close()
    assert order == ["first", "second", "third"]


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


def test_a_thirty_minute_timeout_takes_no_time():
    loop = VirtualTimeLoop()

    async def hang() -> str:
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 1800)
        except TimeoutError:
            return f"{loop.time():.0f}"
        return "no"

    began = stopwatch()
    assert loop.run_until_complete(hang()) == "1800"
    loop.close()
    assert stopwatch() - began < 1.0


def test_the_scaled_loop_keeps_real_sockets_and_runs_faster():
    loop = ScaledTimeLoop(100.0)
    began = stopwatch()
    loop.run_until_complete(_sleep(20))
    loop.close()
    assert 0.15 < stopwatch() - began < 2.0


def test_days_and_times_are_those_of_india():
    at = ist_ns(date(2024, 6, 4), hour=9, minute=20)
    assert ist(at).isoformat() == "2024-06-04T09:20:00+05:30"
    assert session_day(ist_ns(date(2024, 6, 4), hour=0, minute=0)) == date(2024, 6, 4)
    assert session_day(ist_ns(date(2024, 6, 4), hour=0, minute=0) - 1) == date(2024, 6, 3)
