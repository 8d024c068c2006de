"""The latch and the stop plane: durable, fail closed, alive while the loop is not."""

import json
import threading
import time

import pytest

from daemon import unix_socket
from daemon.control import may_resume, may_stop
from daemon.latch import Latch
from daemon.stop_plane import StopPlane


def test_an_absent_directory_counts_as_engaged(tmp_path):
    latch = Latch(tmp_path / "latch")
    assert latch.engaged()
    latch.prepare()
    assert not latch.engaged()


def test_engaging_is_durable_keeps_the_stricter_mode_and_releases(tmp_path):
    latch = Latch(tmp_path / "latch")
    latch.prepare()
    latch.engage(mode="cancel", reason="first", uid=1, at="now")
    latch.engage(mode="halt", reason="second", uid=2, at="later")
    assert Latch(tmp_path / "latch").engaged()
    assert latch.read() == {"mode": "cancel", "reason": "second", "uid": 2, "at": "later"}
    latch.release()
    assert not latch.engaged()


def test_an_unreadable_latch_is_still_a_halt(tmp_path):
    latch = Latch(tmp_path / "latch")
    latch.prepare()
    latch.path.write_text("not json")
    assert latch.engaged() and latch.read()["mode"] == "halt"


class Plane:
    def __init__(self, folder, *, permitted=True):
        self.told = []
        latch = Latch(folder / "latch")
        latch.prepare()
        self.path = folder / "stop.sock"
        self.plane = StopPlane(
            socket_path=self.path,
            latch=latch,
            permits=lambda uid, gid: permitted,
            now_text=lambda: "now",
            tell_loop=lambda *said: self.told.append(said),
        )
        self.plane.start()

    def ask(self, method, target, body=b""):
        code, raw = unix_socket.request(self.path, method, target, body)
        return code, json.loads(raw)


@pytest.fixture
def plane(tmp_path):
    made = Plane(tmp_path)
    yield made
    made.plane.close()


def test_stop_engages_flag_and_latch_and_tells_the_loop(plane):
    code, answer = plane.ask("POST", "/v1/stop", b'{"mode": "cancel", "reason": "drill"}')
    assert code == 200 and answer == {"stopped": True, "mode": "cancel", "durable": True}
    assert plane.plane.engaged() and plane.plane.latch.read()["reason"] == "drill"
    assert plane.told[0][:2] == ("cancel", "drill")
    plane.plane.release(1)
    assert not plane.plane.engaged()


def test_it_answers_while_the_main_thread_is_busy_in_python(plane):
    took = []

    def ask():
        began = time.perf_counter()
        plane.ask("POST", "/v1/stop", b"{}")
        took.append(time.perf_counter() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    end = time.perf_counter() + 1.5
    while time.perf_counter() < end:  # what a hung loop looks like from here
        sum(range(1000))
    thread.join()
    assert took[0] < 1.0


@pytest.mark.parametrize(
    ("body", "status"),
    [(b'{"mode": "explode"}', 400), (b"not json", 400), (b"[1]", 400), (b'{"reason": "' + b"x" * 5000 + b'"}', 413)],
)
def test_bad_requests_stop_nothing(plane, body, status):
    code, answer = plane.ask("POST", "/v1/stop", body)
    assert code == status and "error" in answer
    assert not plane.plane.engaged() and plane.told == []


def test_who_is_not_permitted_is_refused(tmp_path):
    made = Plane(tmp_path, permitted=False)
    code, answer = made.ask("POST", "/v1/stop", b"{}")
    assert code == 403 and "may not stop" in answer["error"]
    assert not made.plane.engaged()
    made.plane.close()


def test_a_lost_latch_directory_reads_as_engaged_while_running(plane):
    plane.plane.latch.directory.rmdir()
    assert plane.plane.engaged()


def test_sockets_work_under_a_directory_deeper_than_the_kernel_allows(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    made = Plane(deep)
    assert made.ask("GET", "/v1/status")[0] == 200
    made.plane.close()


def test_strangers_may_neither_stop_nor_resume():
    assert may_stop(0, 0) and may_resume(0)
    assert not may_stop(65_534, 65_534)
    assert not may_resume(65_534)
