"""`tarazu reconcile`: slips are one line, and a real socket carries what is accepted."""

import json
import threading
from http.server import BaseHTTPRequestHandler
from socketserver import UnixStreamServer

import pytest

from tests.command_line import said

SHOWN = {"differences": ["SBIN: ledger 10, broker 13"], "differences_code": "c0de"}


@pytest.mark.parametrize(
    ("arguments", "wants"),
    [
        (("--accept",), "--reason"),
        (("--accept", "--reason", " "), "--reason"),
        (("--reason", "x"), "only with --accept"),
    ],
)
def test_a_slip_is_one_line(root, capsys, arguments, wants):
    code, out = said(capsys, "reconcile", *arguments, "--root", root)
    assert code == 2 and wants in out and len(out.strip().splitlines()) == 1


def test_without_a_daemon_nothing_is_accepted(root, capsys):
    code, out = said(capsys, "reconcile", "--accept", "--reason", "x", "--root", root)
    assert code == 3 and "no daemon answers there" in out


@pytest.fixture
def daemon(root):
    """A control socket that answers as the daemon would, and remembers what it was asked."""
    asked, status = [], dict(SHOWN)

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self._say(200, status)

        def do_POST(self):
            asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self._say(200, {"accepted": SHOWN["differences"], "still_halted": True, "reconcile": "started"})

        def _say(self, code, payload):
            body = json.dumps(payload).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self):
            return "test"

        def log_message(self, *_):
            pass

    (root / "state").mkdir(parents=True, exist_ok=True)
    with UnixStreamServer(str(root / "state" / "control.sock"), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield asked, status
        server.shutdown()
        thread.join()


def test_what_is_shown_is_what_is_accepted(root, capsys, daemon):
    asked, _ = daemon
    code, out = said(capsys, "reconcile", "--accept", "--reason", "the gift is known", "--root", root)
    assert code == 0 and "SBIN: ledger 10, broker 13" in out and "tarazu resume" in out
    assert asked == [("/v1/reconcile/accept", {"reason": "the gift is known", "nonce": "c0de"})]


def test_a_code_from_before_pins_what_was_seen_then(root, capsys, daemon):
    asked, _ = daemon
    said(capsys, "reconcile", "--accept", "--reason", "x", "--code", "01d", "--root", root)
    assert asked[0][1]["nonce"] == "01d"


def test_nothing_to_accept_is_said(root, capsys, daemon):
    _, status = daemon
    status["differences"] = []
    code, out = said(capsys, "reconcile", "--accept", "--reason", "x", "--root", root)
    assert code == 1 and "nothing to accept" in out


def test_without_accept_the_books_are_only_read(root, capsys, daemon):
    asked, _ = daemon
    assert said(capsys, "reconcile", "--root", root)[0] == 0
    assert asked == [("/v1/reconcile", {})]
