"""The board's steps in one: what the daemon does with a reading, without its records."""

from risk.breakers.base import Reading
from risk.breakers.board import BreakerBoard, Trip


def observe(board: BreakerBoard, reading: Reading) -> tuple[BreakerBoard, tuple[Trip, ...]]:
    """Measure, release what may go, latch what is due; return the board and what has newly tripped."""
    board = board.measure(reading)
    free = board.releasable(reading.at_ns)
    if free:
        board = board.release(free)
    trips = board.due(reading.at_ns)
    for trip in trips:
        board = board.latch(trip)
    return board, trips
