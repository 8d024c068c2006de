"""The stop plane: `halt` and `status` on a thread of their own, so that they answer while the event loop is busy or hung.

A small HTTP server over a Unix socket, standard library only. A stop is durable before it is confirmed: the latch file
is written and synced first, then the in-memory flag is set, then the loop is told (it cancels or flattens when it can).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any, Final

from daemon import unix_socket
from daemon.latch import MODES, Latch

_BODY_LIMIT: Final = 4096


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
            self._answer(404, {"error": "known here: GET /v1/status, POST /v1/stop"})
            return
        self._answer(200, self.server.plane.status())

    def do_POST(self) -> None:
        if self.path not in ("/v1/stop", "/v1/halt"):
            self._answer(404, {"error": "known here: GET /v1/status, POST /v1/stop"})
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
        mode = wanted.get("mode", "halt") if isinstance(wanted, dict) else None
        if mode not in MODES:
            self._answer(400, {"error": f"mode {mode!r}; allowed: {', '.join(MODES)}"})
            return
        self._answer(200, self.server.plane.stop(mode=mode, reason=str(wanted.get("reason", ""))[:500], uid=uid))

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
    ) -> None:
        self.latch = latch
        self.permits = permits
        self._now_text = now_text
        self._tell_loop = tell_loop
        self._flag = threading.Event()
        self._stops = 0
        self._one_at_a_time = threading.Lock()
        self._summary: dict[str, Any] = {"state": "STARTING"}
        self._server = _Server(socket_path, self)
        self._socket_path = socket_path
        self._thread = threading.Thread(target=self._server.serve_forever, name="stop-plane", daemon=True)

    def start(self) -> None:
        """Serve until `close`."""
        self._thread.start()

    def engaged(self) -> bool:
        """Return whether new orders are forbidden: the flag of this process, or the durable latch."""
        return self._flag.is_set() or self.latch.engaged()

    def stop(self, *, mode: str, reason: str, uid: int) -> dict[str, Any]:
        """Engage: flag first (instant), then the durable latch, then the loop."""
        self._flag.set()
        durable = True
        with self._one_at_a_time:
            self._flag.set()  # again: a release may have held the lock
            self._stops += 1
            try:
                self.latch.engage(mode=mode, reason=reason, uid=uid, at=self._now_text())
            except OSError:
                # A full disk must not refuse a stop: the flag holds for this process, and the answer says what is missing.
                durable = False
        self._tell_loop(mode, reason, uid)
        return {"stopped": True, "mode": mode, "durable": durable}

    def release(self, heard: int) -> None:
        """Second step of a resume, called by the dispatch, which has `heard` so many stops: one more keeps the latch."""
        with self._one_at_a_time:
            if heard == self._stops:
                self.latch.release()
                self._flag.clear()

    def publish(self, summary: dict[str, Any]) -> None:
        """Set what `status` answers here; replaced whole, so the thread never sees half of it."""
        self._summary = summary

    def status(self) -> dict[str, Any]:
        """Return the last published summary and whether a stop is engaged, without asking the loop."""
        return {**self._summary, "stop_engaged": self.engaged()}

    def close(self) -> None:
        """Stop serving and remove the socket."""
        self._server.shutdown()
        self._server.server_close()
        self._socket_path.unlink(missing_ok=True)
