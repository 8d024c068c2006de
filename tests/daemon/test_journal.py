"""The journal on a real SQLite file: chain, recovery, durability, and what a full disk does."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.journal import GENESIS, Journal, JournalBroken, read_journal
from daemon.messages import Halted, SessionClosed, SlotDue
from market.errors import OperatorError


def message(number):
    return SlotDue(session=date(2024, 6, 4), slot=f"slot-{number}")


def filled(path, count=5, *, durable=False):
    journal = Journal(path, durable=durable)
    list(journal.read())
    journal.start(lambda: None)
    for number in range(count):
        journal.append(message(number), cause=0, at_ns=number)
    journal.close()
    return journal


def test_records_come_back_in_order_with_their_causes_and_the_same_head(tmp_path):
    path = tmp_path / "journal.sqlite"
    journal = Journal(path, durable=False)
    first = journal.append(message(1), cause=0, at_ns=10)
    journal.append(Halted(cause="TEST", detail="why"), cause=first, at_ns=20)
    journal.close()
    again = Journal(path, durable=False)
    records = list(again.read())
    assert [(r.seq, r.cause, r.at_ns, r.kind) for r in records] == [(1, 0, 10, "SlotDue"), (2, 1, 20, "Halted")]
    assert records[0].message == message(1)
    assert again.head == journal.head != GENESIS
    again.close()


def test_a_reopened_journal_continues_the_chain(tmp_path):
    path = tmp_path / "journal.sqlite"
    filled(path, 3)
    journal = Journal(path, durable=False)
    list(journal.read())
    assert journal.append(message(9), cause=0, at_ns=9) == 4
    journal.close()
    assert [record.seq for record in read_journal(path)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE record SET body = replace(body, 'slot-2', 'slot-3') WHERE seq = 3",
        "UPDATE record SET at_ns = 7 WHERE seq = 2",
        "UPDATE record SET cause = 1 WHERE seq = 4",
        "DELETE FROM record WHERE seq = 2",
    ],
)
def test_an_edited_or_missing_record_shows(tmp_path, edit):
    path = tmp_path / "journal.sqlite"
    filled(path)
    connection = sqlite3.connect(path)
    connection.execute(edit)
    connection.commit()
    connection.close()
    with pytest.raises(JournalBroken):
        list(read_journal(path))
    with pytest.raises(JournalBroken):
        list(Journal(path, durable=False).read())


def test_a_file_that_is_not_a_journal_is_refused(tmp_path):
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA application_id = 77")
    connection.close()
    with pytest.raises(OperatorError, match="not a Tarazu journal"):
        Journal(path, durable=False)


def test_durable_sequence_moves_only_after_the_commit(tmp_path):
    path = tmp_path / "journal.sqlite"
    moved = threading.Event()
    journal = Journal(path, durable=True)
    list(journal.read())
    seq = journal.append(message(1), cause=0, at_ns=1)
    assert journal.durable_seq == 0
    journal.start(moved.set)
    journal.request_commit()
    assert moved.wait(5.0)
    assert journal.durable_seq == seq
    assert [record.seq for record in read_journal(path)] == [1]
    journal.close()


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path):
    path = tmp_path / "journal.sqlite"
    code = f"""
import sys
from datetime import date
from pathlib import Path
from daemon.journal import Journal
from daemon.messages import SlotDue
journal = Journal(Path({str(path)!r}), durable=True)
list(journal.read())
journal.start(lambda: (sys.stdout.write(f"{{journal.durable_seq}}\\n"), sys.stdout.flush()))
while True:
    journal.append(SlotDue(session=date(2024, 6, 4), slot="x"), cause=0, at_ns=1)
    journal.request_commit()
    while journal.seq - journal.durable_seq > 50:
        pass
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    acknowledged = 0
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged > 200:
            break
    process.kill()
    rest = [int(line) for line in process.stdout.read().split("\n")[:-1] if line]
    process.stdout.close()
    process.wait()
    acknowledged = max([acknowledged, *rest])
    assert len(list(read_journal(path))) >= acknowledged


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small tmpfs needs root")
def test_a_full_disk_stops_the_journal_and_loses_nothing_acknowledged(tmp_path):
    disk = tmp_path / "small"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=False)
    if made.returncode != 0:
        pytest.skip("this machine does not allow mounting a tmpfs")
    try:
        path = disk / "journal.sqlite"
        moved = threading.Event()
        journal = Journal(path, durable=True)
        list(journal.read())
        journal.start(moved.set)
        big = Halted(cause="FILL", detail="x" * 4000)
        for number in range(500):
            moved.clear()
            try:
                journal.append(big, cause=0, at_ns=number)
            except OperatorError:
                break
            journal.request_commit()
            assert moved.wait(5.0)
        assert journal.failure is not None and "write failed" in journal.failure
        assert journal.durable_seq < journal.seq
        with pytest.raises(OperatorError):
            journal.append(big, cause=0, at_ns=0)
        acknowledged = journal.durable_seq
        journal.close()
        assert len(list(read_journal(path))) >= acknowledged
    finally:
        subprocess.run(["umount", str(disk)], check=False)


@given(st.lists(st.tuples(st.text(max_size=20), st.integers(0, 2**60)), max_size=30))
@settings(max_examples=25, deadline=None)
def test_whatever_is_written_is_read_and_the_head_is_a_function_of_it(tmp_path_factory, entries):
    heads = []
    for _ in range(2):
        path = tmp_path_factory.mktemp("journal") / "journal.sqlite"
        journal = Journal(path, durable=False)
        for text, at_ns in entries:
            journal.append(SlotDue(session=date(2024, 1, 1), slot=text), cause=0, at_ns=at_ns)
        journal.close()
        assert [(r.message.slot, r.at_ns) for r in read_journal(path)] == entries
        heads.append(journal.head)
    assert heads[0] == heads[1]


def test_an_absent_journal_is_one_clear_line(tmp_path):
    with pytest.raises(OperatorError, match="there is none yet"):
        list(read_journal(tmp_path / "none.sqlite"))
    assert SessionClosed(session=date(2024, 1, 1)).session.year == 2024
