"""What SQLite promises the journal, held to it byte by byte: a log that was cut or torn anywhere gives whole commits, and
nothing that was acknowledged is lost. The simulated disk rests on this."""

import shutil
import sqlite3

import pytest

from daemon.journal import Journal
from daemon.messages import Resumed

COMMITS = 6


def records(path):
    journal = Journal(path, durable=True)
    try:
        return [record.message.reason for record in journal.read()]
    finally:
        journal._connection.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A journal that was killed: its log holds several commits. Yields its path, what each commit had, where each ended."""
    folder = tmp_path_factory.mktemp("journal")
    path = folder / "journal.sqlite"
    journal = Journal(path, durable=True)
    list(journal.read())
    # The first commit goes into the file itself, the others stay in the log.
    log, ends, batches = folder / "journal.sqlite-wal", [], []
    journal._connection.execute("PRAGMA wal_autocheckpoint=0")
    for commit in range(COMMITS):
        for number in range(1 + commit % 3):
            journal.append(Resumed(uid=commit, reason=f"{commit}.{number}"), cause=0, at_ns=commit)
        journal._commit(journal._take())
        batches.append([f"{commit}.{number}" for number in range(1 + commit % 3)])
        ends.append(log.stat().st_size)
    copy = tmp_path_factory.mktemp("killed")
    shutil.copy(path, copy / path.name)
    shutil.copy(log, copy / log.name)
    journal._connection.close()
    return copy / path.name, batches, ends


def crashed(written, folder, content):
    """The machine died with this in the log; return what the next process reads."""
    path, _, _ = written
    shutil.copy(path, folder / path.name)
    (folder / f"{path.name}-wal").write_bytes(content)
    found = records(folder / path.name)
    check = sqlite3.connect(folder / path.name)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()
    for file in folder.iterdir():
        file.unlink()
    return found


def whole(written, length):
    """What the commits that ended within `length` bytes of the log had."""
    _, batches, ends = written
    return [reason for batch, end in zip(batches, ends, strict=True) if end <= length for reason in batch]


def test_a_log_that_is_cut_anywhere_gives_whole_commits_only(written, tmp_path):
    path, _, ends = written
    log = path.with_name(f"{path.name}-wal").read_bytes()
    assert len(log) == ends[-1] and len(set(ends)) == COMMITS
    # Every boundary with its neighbours, and the middle of every sector between.
    places = {place + shift for place in (0, *ends) for shift in (-1, 0, 1)} | set(range(256, len(log), 512))
    for place in sorted(place for place in places if 0 <= place <= len(log)):
        assert crashed(written, tmp_path, log[:place]) == whole(written, place), f"cut at {place}"


def test_a_sector_that_was_torn_cuts_the_log_there_and_loses_no_commit_before_it(written, tmp_path):
    path, _, ends = written
    log = path.with_name(f"{path.name}-wal").read_bytes()
    for start in range(32, len(log), 512):
        torn = log[:start] + bytes(512) + log[start + 512 :]
        found = crashed(written, tmp_path, torn[: len(log)])
        before = whole(written, start)
        # Zeros where there were zeros tear nothing, so more than what came before may be there; never a part of a commit.
        assert found[: len(before)] == before and found in [whole(written, end) for end in (0, *ends)]


def test_what_was_in_flight_is_there_as_a_whole_or_not_at_all(written, tmp_path):
    path, batches, ends = written
    log = path.with_name(f"{path.name}-wal").read_bytes()
    last = [reason for batch in batches[:-1] for reason in batch]
    for place in range(ends[-2], ends[-1], 97):
        assert crashed(written, tmp_path, log[:place]) == last
    assert crashed(written, tmp_path, log) == last + batches[-1]
