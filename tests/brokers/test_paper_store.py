"""The paper broker's file: what was told is on disk, and the death of the process loses nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from brokers.charges import DeliveryCharges
from brokers.paper import FillModel, PaperBroker
from brokers.paper_store import PaperStore
from brokers.port import Known, OrderReport
from market.bar import BarBatch, Interval
from market.errors import OperatorError
from market.money import rupees
from risk.approval import ApprovedOrder, ProposedOrder, Side, _seal

DAY = date(2026, 11, 20)
NOON_NS = 1_795_156_200 * 10**9  # 2026-11-20 12:00 IST
ROOT = Path(__file__).parents[2]


def order(tag: str, side: Side, quantity: int, limit: float) -> ApprovedOrder:
    return _seal(ProposedOrder(tag, "plan", "SBIN", side, quantity, rupees(limit)), limits_version="v1", priced_at_ns=0)


def broker(path: Path, *, now_ns: int = NOON_NS, **model: Any) -> PaperBroker:
    return PaperBroker(
        symbols=("SBIN",),
        opening_cash=rupees(100_000),
        charges=DeliveryCharges.default(),
        now_ns=lambda: now_ns,
        model=FillModel(**model),
        store=PaperStore(path),
    )


def books(it: PaperBroker) -> tuple[object, ...]:
    async def read() -> tuple[object, ...]:
        answers = [await it.orders(), await it.trades(), await it.positions(), await it.funds()]
        return tuple(answer.value for answer in answers if isinstance(answer, Known))

    return asyncio.run(read())


def bar(minute: int, *, low: float, volume: float = 1_000) -> BarBatch:
    start = NOON_NS + minute * 60 * 10**9
    row = ((820.0,), (821.0,), (low,), (815.0,), (volume,))
    return BarBatch(DAY, Interval.MINUTE, start, start + 60 * 10**9, ("SBIN",), *row)


def in_the_middle_of_a_day(path: Path, **model: Any) -> PaperBroker:
    it = broker(path, **model)
    it.prime(closes={"SBIN": 810.0}, volumes={"SBIN": 100.0})
    it.start_session(DAY)
    it.on_open({"SBIN": 812.0})
    it.submit([order("filled", Side.BUY, 10, 815.0), order("part", Side.BUY, 50, 811.0)])
    it.submit([order("refused", Side.BUY, 9_000, 811.0), order("for-sale", Side.SELL, 4, 830.0)])
    it.on_bars(bar(0, low=805.0, volume=200))
    return it


def test_a_new_process_finds_everything_as_it_was(tmp_path: Path) -> None:
    first = in_the_middle_of_a_day(tmp_path / "paper.sqlite", lost_answer_tags=frozenset({"part"}))
    second = broker(tmp_path / "paper.sqlite")  # the first was never closed: killed
    assert books(second) == books(first)
    heard: dict[PaperBroker, list[OrderReport]] = {first: [], second: []}
    for it in (first, second):
        it._store = None  # both go on from here, alone
        it.attach(heard[it].extend)
        it.on_bars(bar(1, low=805.0))
        it.submit([order("more", Side.SELL, 7, 815.0), order("filled", Side.BUY, 10, 815.0)])
        it.cancel(["part", "for-sale"])
        it.end_session()
    assert heard[first] == heard[second] and len(heard[first]) > 3
    assert books(second) == books(first)
    assert first.account.to_state() == second.account.to_state()


def test_the_file_wins_over_the_opening_cash(tmp_path: Path) -> None:
    it = in_the_middle_of_a_day(tmp_path / "paper.sqlite")
    assert broker(tmp_path / "paper.sqlite").account.cash == it.account.cash != rupees(100_000)


def test_reports_leave_after_the_state_is_on_disk(tmp_path: Path) -> None:
    it = broker(tmp_path / "paper.sqlite")
    it.start_session(DAY)
    it.on_open({"SBIN": 812.0})
    found: list[object] = []
    it.attach(lambda reports: found.append(books(broker(tmp_path / "paper.sqlite"))))
    it.submit([order("a", Side.BUY, 10, 815.0)])
    assert found == [books(it)]


def test_a_report_that_cannot_be_saved_is_not_told(tmp_path: Path) -> None:
    it = broker(tmp_path / "paper.sqlite")
    it.start_session(DAY)
    heard: list[object] = []
    it.attach(heard.append)
    assert it._store is not None
    it._store.close()
    with pytest.raises(OperatorError, match=r"paper\.sqlite"):
        it.submit([order("a", Side.BUY, 10, 815.0)])
    assert heard == []


def test_orders_of_a_day_that_ended_unwatched_are_over(tmp_path: Path) -> None:
    in_the_middle_of_a_day(tmp_path / "paper.sqlite")
    after = broker(tmp_path / "paper.sqlite", now_ns=NOON_NS + 18 * 3_600 * 10**9)
    statuses = {snapshot.tag: snapshot.status for snapshot in books(after)[0]}  # type: ignore[attr-defined]
    assert statuses == {"filled": "complete", "part": "cancelled", "refused": "rejected", "for-sale": "cancelled"}
    assert after.account.cash == asyncio.run(after.funds()).value.available  # type: ignore[union-attr]
    after.submit([order("late", Side.BUY, 1, 815.0)])
    assert "late" not in {tag for tag, status in statuses.items() if status == "open"}


def test_a_file_that_is_not_ours_is_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but long enough to be looked at as if it were one" * 20)
    foreign = tmp_path / "foreign.sqlite"
    db = sqlite3.connect(foreign)
    db.execute("CREATE TABLE theirs (x)")
    db.close()
    for path in (text, foreign):
        before = path.read_bytes()
        with pytest.raises(OperatorError, match=path.name):
            PaperStore(path)
        assert path.read_bytes() == before


def test_a_damaged_state_stops_and_says_which_file(tmp_path: Path) -> None:
    path = tmp_path / "paper.sqlite"
    in_the_middle_of_a_day(path)
    db = sqlite3.connect(path)
    db.execute("UPDATE state SET body = CAST('{}' AS BLOB)")
    db.commit()
    db.close()
    with pytest.raises(OperatorError, match=r"paper\.sqlite"):
        broker(path)


def test_the_directory_is_made(tmp_path: Path) -> None:
    assert PaperStore(tmp_path / "state" / "paper.sqlite").load() is None


_CHILD = """
import sys
from datetime import date
sys.path.insert(0, {here!r})
import test_paper_store as t
it = t.broker(t.Path({path!r}))
it.prime(closes={{"SBIN": 810.0}}, volumes={{"SBIN": 1e9}})
it.start_session(t.DAY)
it.on_open({{"SBIN": 812.0}})
it.attach(lambda reports: [print(r.trade_id, flush=True) for r in reports if r.trade_id])
n = 0
while True:
    n += 1
    it.submit([t.order(f"tag{{n}}", t.Side.BUY if n % 2 else t.Side.SELL, 1, 815.0 if n % 2 else 810.0)])
"""


def test_kill_dash_nine_loses_no_trade_that_was_told(tmp_path: Path) -> None:
    path = tmp_path / "paper.sqlite"
    code = _CHILD.format(here=str(Path(__file__).parent), path=str(path))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True)
    assert child.stdout is not None
    told = [child.stdout.readline().strip() for _ in range(25)]
    child.send_signal(signal.SIGKILL)
    told += child.stdout.read().split("\n")[:-1]
    child.stdout.close()
    child.wait()
    it = broker(path)
    kept = [trade.trade_id for trade in it._trades]
    assert kept[: len(told)] == told and len(kept) - len(told) in (0, 1)
    assert it.account.fills == len(kept) and it.account.quantity("SBIN") == len(kept) % 2
