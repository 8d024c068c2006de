"""The stop plane: `halt` and `status` on a thread of their own, so that they answer while the event loop is busy or hung.

A small HTTP server over a Unix socket, standard library only. A stop is durable before it is confirmed: the in-memory flag
is set, the latch file is written and synced, then the loop is told (it cancels or flattens when it can). SIGUSR1 and the
stop file (`daemon.stop_watch`) end here as well. `POST /v1/drill` stops for real and measures how long that takes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any, Final

from daemon import unix_socket
from daemon.clock import stopwatch
from daemon.latch import FLATTEN, MODES, Identity, Latch, merged
from daemon.stop_watch import StopFile, StopWatch

_BODY_LIMIT: Final = 4096
# Longer than the dispatch waits for confirmations.
DRILL_SECONDS: Final = 25.0
_KNOWN: Final = "known here: GET /v1/status, POST /v1/stop, POST /v1/drill"
SELLING_OVER: Final = "the selling of the flatten before it is over"

# (mode, reason, uid, when the command arrived, when the latch was durable, who waits for the answer)
TellDrill = Callable[[str, str, int, float, float, "Future[tuple[int, dict[str, Any]]]"], None]


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    plane: StopPlane

    def __init__(self, path: Path, plane: StopPlane) -> None:
        self.plane = plane
        UnixStreamServer.__init__(self, str(path), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = unix_socket.bind(path)

    def get_request(self) -> tuple[Any, Any]:
        connection, _ = self.socket.accept()
        connection.settimeout(5.0)
        return connection, ("unix", 0)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def _answer(self, status: int, payload: dict[str, Any]) -> None:
        body = json.dumps(payload).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def do_GET(self) -> None:
        if self.path != "/v1/status":
            self._answer(404, {"error": _KNOWN})
            return
        self._answer(200, self.server.plane.status())

    def do_POST(self) -> None:
        arrived = stopwatch()
        if self.path not in ("/v1/stop", "/v1/halt", "/v1/drill"):
            self._answer(404, {"error": _KNOWN})
            return
        _, uid, gid = unix_socket.peer(self.connection)
        if not self.server.plane.permits(uid, gid):
            self._answer(403, {"error": f"uid {uid} may not stop this daemon"})
            return
        said = self.headers.get("Content-Length") or "0"
        length = int(said) if said.isascii() and said.isdigit() else -1
        if not 0 <= length <= _BODY_LIMIT:
            self._answer(413, {"error": f"Content-Length {said}; allowed: 0 to {_BODY_LIMIT}"})
            return
        try:
            wanted = json.loads(self.rfile.read(length) or b"{}")
        except (ValueError, RecursionError):
            wanted = None
        reason = str(wanted.get("reason", ""))[:500] if isinstance(wanted, dict) else ""
        if self.path == "/v1/drill" and isinstance(wanted, dict):
            self._answer(*self.server.plane.drill(reason, uid, really=wanted.get("really") is True, arrived=arrived))
            return
        mode = wanted.get("mode", "halt") if isinstance(wanted, dict) else None
        if mode not in MODES:
            self._answer(400, {"error": f"mode {mode!r}; allowed: {', '.join(MODES)}"})
            return
        self._answer(200, self.server.plane.stop(mode=mode, reason=reason, uid=uid))

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are journaled by the dispatch, not printed."""


class StopPlane:
    """Owns the thread, the socket and the in-memory stop flag."""

    def __init__(
        self,
        *,
        socket_path: Path,
        latch: Latch,
        permits: Callable[[int, int], bool],
        now_text: Callable[[], str],
        tell_loop: Callable[[str, str, int], None],
        tell_drill: TellDrill | None = None,
        stop_file: StopFile | None = None,
    ) -> None:
        self.latch = latch
        self.permits = permits
        self._now_text = now_text
        self._tell_loop = tell_loop
        self._tell_drill = tell_drill
        self._stop_file = stop_file
        self.watch = None if stop_file is None else StopWatch(self, stop_file)
        self._flag = threading.Event()
        # The last word, as this process heard it; empty: none.
        self._mode = latch.mode()
        # A start says what the latch holds (`Process.begin`): what lies there now is no news.
        latch.known = latch.identity()
        # What the latch said when this process last wrote or heard it; empty: nothing.
        self._latched = self._mode
        # A latch of another process that was seen at the last look, and is not told yet.
        self._seen: Identity | None = None
        self._stops = 0
        self._one_at_a_time = threading.Lock()
        self._summary: dict[str, Any] = {"state": "STARTING"}
        self._server = _Server(socket_path, self)
        self._socket_path = socket_path
        self._thread = threading.Thread(target=self._server.serve_forever, name="stop-plane", daemon=True)

    def start(self) -> None:
        """Serve until `close`. A stop file that lies there already is in the latch when this returns."""
        if self.watch is not None:
            self.watch.start()
        self._thread.start()

    def engaged(self) -> bool:
        """Return whether new orders are forbidden: the flag of this process, or the durable latch."""
        return self._flag.is_set() or self.latch.engaged()

    def lets_exits(self) -> bool:
        """Return whether the stop that is engaged is a flatten; latch and memory must both say so."""
        return (not self._flag.is_set() or self._mode == FLATTEN) and self.latch.mode() == FLATTEN

    def stop(
        self, *, mode: str, reason: str, uid: int, tell: Callable[[str, str, int], None] | None = None
    ) -> dict[str, Any]:
        """Engage: flag first (instant), then the durable latch, then the loop."""
        sold = self._mode == FLATTEN and mode != FLATTEN
        self._flag.set()
        if mode != FLATTEN:
            self._mode = mode  # at once: whoever says so wants the sending to end
        with self._one_at_a_time:
            self._flag.set()  # again: a release may have held the lock
            self._stops += 1
            durable = self._engage(mode, reason, uid)
            # Inside the lock, so that the loop hears stops in the order in which the latch took them.
            (tell or self._tell_loop)(mode, reason, uid)
        answer = {"stopped": True, "mode": mode, "durable": durable}
        return {**answer, "note": SELLING_OVER} if sold else answer

    def write(self, *, mode: str, reason: str, uid: int) -> bool:
        """Make a stop durable without telling the loop (it knows, or will read the latch); return whether it is."""
        self._flag.set()
        with self._one_at_a_time:
            return self._engage(mode, reason, uid)

    def look_at_latch(self) -> None:
        """Tell the loop of a latch that another process wrote, at the second look that finds it.

        Orders are held from its first moment on; this makes the daemon cancel or sell as well. `tarazu stop` writes the latch
        and then comes to the socket: it gets a look's time to say there what it wants, so that it is not told twice.
        """
        with self._one_at_a_time:
            found = self._foreign()
            if found is not None and found == self._seen:
                self._mode = self._hear_latch(found)
            self._seen = found

    def _foreign(self) -> Identity | None:
        """Return the latch file, if it is one that this process neither wrote nor heard of."""
        found = self.latch.identity()
        return None if found == self.latch.known else found

    def _hear_latch(self, found: Identity) -> str:
        """Let the loop hear a latch that another process wrote, as a stop; return its mode."""
        self._flag.set()
        # Before it is read: one that replaces it in between is news again.
        self.latch.known = found
        said, mode = self.latch.read(), self.latch.mode() or "halt"
        uid = said.get("uid")
        self._latched = mode
        self._stops += 1
        self._tell_loop(mode, str(said.get("reason", ""))[:500], uid if isinstance(uid, int) else -1)
        return mode

    def _engage(self, mode: str, reason: str, uid: int) -> bool:
        found, becomes = self._foreign(), merged(self._latched, mode)
        if found is not None and self.latch.mode() != becomes:
            # Another process wanted something else, and its latch is about to become ours: first the loop hears of it.
            # One that says what this stop makes of the mode before is the same stop, from a command that wrote it itself.
            becomes = merged(self._hear_latch(found), mode)
        self._mode = mode
        try:
            self.latch.engage(mode=mode, reason=reason, uid=uid, at=self._now_text())
        except OSError:
            # A full disk must not refuse a stop: the flag holds for this process, and the answer says what is missing.
            return False
        self._latched = becomes
        return True

    def release(self, heard: int) -> None:
        """Second step of a resume, called by the dispatch, which has `heard` so many stops: one more keeps the latch.

        So does a stop file that lies there: it was not seen yet, or cannot be put away; either way it is obeyed (again).
        And so does a latch that another process wrote and nobody told the dispatch about: it hears of it now.
        """
        with self._one_at_a_time:
            found = self._foreign()
            if found is not None:
                self._mode = self._hear_latch(found)
            if self._stop_file is not None and self.watch is not None and self._stop_file.present():
                self.watch.forget()
            elif heard == self._stops:
                self.latch.release()
                self._flag.clear()
                self._mode = self._latched = ""

    def drill(self, reason: str, uid: int, *, really: bool, arrived: float) -> tuple[int, dict[str, Any]]:
        """Stop for real and measure; return status and answer. Without `really` nothing may be open, nothing is cancelled."""
        refusal = self._no_drill(reason, really)
        if refusal:
            return 409, {"error": refusal}
        waiting: Future[tuple[int, dict[str, Any]]] = Future()
        tell_drill = self._tell_drill
        assert tell_drill is not None

        def tell(mode: str, reason: str, uid: int) -> None:
            tell_drill(mode, reason, uid, arrived, stopwatch(), waiting)

        stopped = self.stop(mode="cancel" if really else "halt", reason=f"drill: {reason}", uid=uid, tell=tell)
        try:
            status, answer = waiting.result(DRILL_SECONDS)
        except TimeoutError:
            error = f"the dispatch did not answer in {DRILL_SECONDS:.0f} s; the stop holds"
            return 503, {"error": error, **stopped}
        return status, {**answer, "durable": stopped["durable"]}

    def _no_drill(self, reason: str, really: bool) -> str:
        count = self._summary.get("open_orders")
        if not reason.strip():
            return "a reason is required"
        if self._tell_drill is None or count is None or "failure" in self._summary:
            return "the daemon is not running normally; a drill would measure nothing"
        if self.engaged():
            return "the daemon is stopped already; a drill must not get mixed up with a stop in earnest"
        if count and not really:
            return f"{count} orders are open; with --really they are cancelled, and that is measured"
        return ""

    def publish(self, summary: dict[str, Any]) -> None:
        """Set what `status` answers here; replaced whole, so the thread never sees half of it."""
        self._summary = summary

    def status(self) -> dict[str, Any]:
        """Return the last published summary and whether a stop is engaged, without asking the loop."""
        return {**self._summary, "stop_engaged": self.engaged()}

    def close(self) -> None:
        """Stop serving and remove the socket."""
        if self.watch is not None:
            self.watch.close()
        self._server.shutdown()
        self._server.server_close()
        self._socket_path.unlink(missing_ok=True)
