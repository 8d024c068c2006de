"""The stop file and SIGUSR1: heard on a thread of their own, durable before the file is put away."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from daemon.latch import Latch
from daemon.stop_plane import StopPlane
from daemon.stop_watch import StopFile


class Place:
    """A runtime directory with a plane that has not started its threads: `look` is called by hand."""

    def __init__(self, folder, *, permitted=True):
        self.told = []
        self.latch = Latch(folder / "latch")
        self.latch.prepare()
        self.path = folder / "STOP"
        self.plane = StopPlane(
            socket_path=folder / "stop.sock",
            latch=self.latch,
            permits=lambda uid, gid: permitted,
            now_text=lambda: "now",
            tell_loop=lambda *said: self.told.append(said),
            stop_file=StopFile(self.path, lambda uid, gid: permitted),
        )
        self.watch = self.plane.watch

    def close(self):
        self.plane._server.server_close()


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        ("", "cancel"),
        ("halt\n", "halt"),
        ("cancel", "cancel"),
        (" FLATTEN \n", "flatten"),
        ("please", "cancel"),
        ("halt" * 50, "cancel"),
        ("\xff", "cancel"),
    ],
)
def test_the_file_names_the_mode_and_anything_else_is_a_cancel(place, content, mode):
    place.path.write_text(content, "latin-1")
    place.watch.look()
    assert place.path.exists(), "the word may still be on its way"
    place.watch.look()
    assert place.told == [(mode, "stop file STOP", os.getuid())]
    assert place.plane.engaged() and place.latch.read()["mode"] == mode and place.latch.read()["uid"] == os.getuid()
    assert not place.path.exists() and place.path.with_suffix(".obeyed").exists()


def test_a_word_that_comes_after_the_file_is_heard(place):
    place.path.touch()
    place.watch.look()
    place.path.write_text("flatten")
    place.watch.look()
    assert [said[0] for said in place.told] == ["cancel", "flatten"] and place.plane.lets_exits()


def test_without_a_file_nothing_happens(place):
    place.watch.look()
    assert place.told == [] and not place.plane.engaged()


@pytest.mark.parametrize("kind", ["directory", "dangling link", "pipe", "unreadable link"])
def test_whatever_has_the_name_stops_and_nothing_holds_the_thread(place, kind):
    if kind == "directory":
        place.path.mkdir()
    elif kind == "pipe":
        os.mkfifo(place.path)
    else:
        target = place.path.parent / ("none" if kind == "dangling link" else "word")
        if kind == "unreadable link":
            target.write_text("flatten")
        place.path.symlink_to(target)
    place.watch.look()
    assert [said[0] for said in place.told] == ["cancel"] and place.plane.engaged()


def test_to_sell_takes_an_owner_who_is_permitted_and_to_stop_does_not(tmp_path):
    made = Place(tmp_path, permitted=False)
    made.path.write_text("flatten")
    made.watch.look()
    assert [said[0] for said in made.told] == ["cancel"]
    made.close()


def test_a_stop_that_is_not_durable_leaves_the_file_and_is_told_once(place, monkeypatch):
    def full(**_):
        raise OSError(28, "No space left on device")

    engage = place.latch.engage
    monkeypatch.setattr(place.latch, "engage", full)
    place.path.write_text("halt")
    for _ in range(3):
        place.watch.look()
    assert len(place.told) == 1 and place.plane.engaged() and place.path.exists()
    monkeypatch.setattr(place.latch, "engage", engage)
    place.watch.look()
    assert len(place.told) == 1 and place.latch.engaged() and not place.path.exists()


def test_a_file_that_cannot_be_put_away_is_told_once_and_keeps_a_resume_from_going_on(place):
    place.path.with_suffix(".obeyed").mkdir()
    place.path.write_text("halt")
    for _ in range(3):
        place.watch.look()
    assert len(place.told) == 1 and place.path.exists()
    place.plane.release(1)
    assert place.plane.engaged()
    place.watch.look()
    assert len(place.told) == 2, "what lies there is said again"
    place.path.unlink()
    place.plane.release(2)
    assert not place.plane.engaged()


def test_a_file_put_there_again_stops_again(place):
    for count in (1, 2):
        place.path.touch()
        place.watch.look()
        place.watch.look()
        place.plane.release(count)
        assert len(place.told) == count and not place.plane.engaged()


def test_an_obeyed_file_that_is_renamed_back_stops_again(place):
    place.path.write_text("cancel")
    place.watch.look()
    place.watch.look()
    place.plane.release(1)
    place.path.with_suffix(".obeyed").rename(place.path)
    place.watch.look()
    assert len(place.told) == 2 and place.plane.engaged() and place.latch.engaged()


def test_an_obeyed_file_that_was_moved_away_by_hand_stops_again_when_it_is_back(place):
    place.path.with_suffix(".obeyed").mkdir()  # so that it cannot be put away
    place.path.write_text("cancel")
    place.watch.look()
    place.watch.look()
    aside = place.path.rename(place.path.with_suffix(".aside"))
    place.watch.look()
    place.plane.release(1)
    aside.rename(place.path)
    place.watch.look()
    assert len(place.told) == 2 and place.latch.engaged()


def test_a_latch_of_another_process_is_told_by_the_watching_thread(tmp_path):
    made = Place(tmp_path)
    made.plane.start()
    try:
        Latch(made.latch.directory).engage(mode="cancel", reason="guardian: no heartbeat", uid=7, at="")
        end = time.monotonic() + 3.0
        while not made.told and time.monotonic() < end:
            time.sleep(0.01)
        assert made.told == [("cancel", "guardian: no heartbeat", 7)]
        for _ in range(3):
            made.plane.look_at_latch()
        assert len(made.told) == 1, "once"
    finally:
        made.plane.close()


def test_a_file_from_before_the_start_is_in_the_latch_once_the_plane_runs_and_told_by_it_alone(tmp_path):
    made = Place(tmp_path)
    made.path.write_text("flatten")
    made.plane.start()
    try:
        assert made.latch.read()["mode"] == "flatten" and made.plane.lets_exits() and made.told == []
    finally:
        made.plane.close()


def test_a_milder_word_takes_the_exits_away_also_before_its_latch_is_written(place):
    place.plane.stop(mode="flatten", reason="", uid=1)
    assert place.plane.lets_exits()
    answer = place.plane.stop(mode="halt", reason="", uid=1)
    assert answer["note"] == "the selling of the flatten before it is over"
    assert not place.plane.lets_exits() and place.latch.mode() == "cancel"
    place.plane.stop(mode="flatten", reason="", uid=1)
    assert place.plane.lets_exits()
    # A command that wrote the latch itself, and has not reached the socket yet.
    Latch(place.latch.directory).engage(mode="halt", reason="", uid=1, at="")
    assert not place.plane.lets_exits()


def test_a_lost_latch_directory_lets_no_exit_pass(place):
    place.plane.stop(mode="flatten", reason="", uid=1)
    place.latch.path.unlink()
    place.latch.directory.rmdir()
    assert place.plane.engaged() and not place.plane.lets_exits()


_BLOCKED = """
import sys, time, threading
from pathlib import Path
from daemon.stop_watch import SIGNAL, StopFile, block_signal
block_signal()
import signal
from daemon.latch import Latch
from daemon.stop_plane import StopPlane
folder = Path(sys.argv[1])
latch = Latch(folder / "latch")
latch.prepare()
plane = StopPlane(socket_path=folder / "stop.sock", latch=latch, permits=lambda uid, gid: True,
    now_text=lambda: "now", tell_loop=lambda mode, reason, uid: None, stop_file=StopFile(folder / "STOP", lambda u, g: True))
plane.start()
signal.signal(SIGNAL, plane.watch.hand_on)
if "library" in sys.argv:  # a thread that does not block the signal, as a library's from before the mask might not
    def unblocked():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {SIGNAL})
        time.sleep(60)
    threading.Thread(target=unblocked, daemon=True).start()
print("ready", flush=True)
end = time.perf_counter() + 20
if "asleep" in sys.argv:
    while time.perf_counter() < end:
        time.sleep(20)  # the main thread sits in one C call
while time.perf_counter() < end:
    sum(range(1000))  # a hung loop, in Python
"""


@pytest.mark.parametrize("how", [["busy"], ["asleep"], ["busy", "library"]], ids=" ".join)
@pytest.mark.parametrize("way", ["signal", "file"])
def test_a_process_whose_main_thread_hangs_is_stopped(tmp_path, how, way):
    process = subprocess.Popen([sys.executable, "-c", _BLOCKED, tmp_path, *how], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        if way == "signal":
            process.send_signal(signal.SIGUSR1)
        else:
            (tmp_path / "STOP").write_text("flatten")
        latch = tmp_path / "latch" / "stop.latch"
        end = time.monotonic() + 3.0
        while not latch.exists() and time.monotonic() < end:
            time.sleep(0.01)
        said = json.loads(latch.read_text())
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    if way == "signal":
        assert said["mode"] == "cancel" and said["uid"] == os.getuid() and "SIGUSR1 from pid" in said["reason"]
    else:
        assert said["mode"] == "flatten" and said["uid"] == os.getuid()
