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


def test_a_latch_that_nobody_told_the_daemon_about_survives_a_resume_and_is_heard_by_it(plane):
    plane.plane.stop(mode="halt", reason="owner looks", uid=0)
    Latch(plane.plane.latch.directory).engage(mode="cancel", reason="guardian: no heartbeat", uid=7, at="")
    plane.plane.release(1)
    assert plane.plane.engaged() and plane.plane.latch.mode() == "cancel"
    assert plane.told[1:] == [("cancel", "guardian: no heartbeat", 7)]
    plane.plane.release(1)
    assert plane.plane.latch.engaged(), "the dispatch has not heard it yet"
    plane.plane.release(2)
    assert not plane.plane.engaged() and not plane.plane.latch.engaged()


def test_a_latch_of_another_process_is_heard_before_a_milder_stop_takes_it_over(plane):
    Latch(plane.plane.latch.directory).engage(mode="cancel", reason="guardian", uid=7, at="")
    plane.plane.stop(mode="halt", reason="owner", uid=0)
    assert plane.told == [("cancel", "guardian", 7), ("halt", "owner", 0)]
    plane.plane.release(1)
    assert plane.plane.latch.mode() == "cancel"
    plane.plane.release(2)
    assert not plane.plane.engaged()


def test_a_command_that_wrote_the_latch_itself_is_told_once(plane):
    plane.plane.stop(mode="flatten", reason="out", uid=0)
    # The latch makes a cancel of it; what an exit has at the broker may stay for a while all the same.
    Latch(plane.plane.latch.directory).engage(mode="halt", reason="enough", uid=0, at="")
    plane.plane.look_at_latch()
    plane.plane.stop(mode="halt", reason="enough", uid=0)
    plane.plane.look_at_latch()
    assert [said[0] for said in plane.told] == ["flatten", "halt"]


def test_a_latch_from_before_the_start_is_no_news_and_can_be_resumed(tmp_path):
    (tmp_path / "latch").mkdir()
    Latch(tmp_path / "latch").engage(mode="cancel", reason="before", uid=7, at="")
    made = Plane(tmp_path)
    made.plane.look_at_latch()
    made.plane.look_at_latch()
    made.plane.release(0)
    assert made.told == [] and not made.plane.engaged()
    made.plane.close()


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
