"""Thirty sessions of minute bars: nothing grows with the days but a day's line of history."""

import asyncio
import gc

from daemon.simulation.run import run_seed

MINUTES = tuple(divmod(9 * 60 + 16 + minute, 60) for minute in range(375))


def test_memory_tasks_and_timers_stay_flat_over_thirty_days_of_minute_bars():
    samples = []

    def watch(world):
        def on_day(number):
            gc.collect()
            timers = len(world.running.process.core.edges._timers) if world.running is not None else 0
            samples.append((len(gc.get_objects()), len(asyncio.all_tasks(world.loop)), timers))

        world.on_day = on_day

    outcome = run_seed(1, days=32, profile="none", bar_times=MINUTES, prepare=watch)
    assert outcome.broken == [] and outcome.records > 30 * 375
    settled, last = samples[3], samples[-1]
    # The first days fill caches; from then on a session leaves a close, an equity and a decided slot.
    assert last[0] - settled[0] < 20 * (len(samples) - 4), f"{settled[0]} objects, then {last[0]}"
    assert last[1:] == settled[1:], "no task and no timer stays"
