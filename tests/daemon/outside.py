"""The world around a life: a feed that may be away, a disk, and the machine's clocks; and bars that move as prices do."""

from datetime import timedelta

from daemon.clock import Readings, ist
from daemon.watch import Senses
from tests.daemon.life import at, bars

MIB, GIB = 2**20, 2**30
SECOND_NS = 10**9


class World:
    """What the watch of a life can see. Clocks stand still but for what a test does to them: only differences count."""

    def __init__(self):
        self.connected = True
        self.free = 50 * GIB
        self.slept_ns = 0
        self.set_ns = 0

    @property
    def senses(self):
        return Senses(
            feed_connected=lambda: self.connected, free_space=lambda: (self.free, 100 * GIB), clocks=self.clocks
        )

    def clocks(self):
        return Readings(wall_ns=self.slept_ns + self.set_ns, counting_ns=0, boot_ns=self.slept_ns)

    def set_clock(self, seconds):
        self.set_ns += int(seconds * SECOND_NS)

    def suspend(self, seconds):
        self.slept_ns += int(seconds * SECOND_NS)


def moving(day, first, last, base=1000.0):
    """Return the five-minute bars that end from `first` to `last`; no two are the same."""
    batches, end, number = [], at(day, first), 0
    while end <= at(day, last):
        clock = f"{ist(end):%H:%M}"
        batches.append(bars(day, clock, (base + number % 7,) * 5))
        end += int(timedelta(minutes=5).total_seconds()) * SECOND_NS
        number += 1
    return batches
