"""The control socket: HTTP over a Unix socket, on the loop. `curl --unix-socket PATH http://tarazu/v1/status` works.

Reading is for whoever the file mode lets in (owner and group). What changes something is checked against the kernel's
word for the caller: anyone permitted may stop; going on is for the daemon's own user and root.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from daemon import unix_socket
from daemon.core import Core
from daemon.messages import Lane, OperatorCommand
from market.errors import BadInput
from market.money import ZERO, Paise, parse_rupees, to_rupees

BODY_LIMIT: Final = 4096
ANSWER_SECONDS: Final = 5.0
_STOPPING: Final = ("halt", "cancel", "flatten")
_CASH: Final = ("cash/deposit", "cash/withdraw")
_ACCEPT: Final = "reconcile/accept"
_RECONCILE: Final = ("reconcile", _ACCEPT)
_VERBS: Final = (*_STOPPING, "approve", "resume/prepare", "resume/confirm", *_RECONCILE, "reload", *_CASH)
_json: Final = msgspec.json.encode


class Command(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a POST. `rupees` is an amount as a person writes it, as text: a float does not hold paise exactly."""

    reason: str = ""
    nonce: str = ""
    rupees: str = ""


def may_stop(uid: int, gid: int) -> bool:
    """Return whether a caller may stop the daemon: root, the daemon's user, or a member of its group."""
    if uid in (0, os.geteuid()) or gid == os.getegid():
        return True
    import grp
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
        # Peer credentials carry only the primary group; membership is looked up at the time of the call.
        return name in grp.getgrgid(os.getegid()).gr_mem
    except KeyError:
        return False


def may_resume(uid: int) -> bool:
    """Return whether a caller may let trading go on."""
    return uid in (0, os.geteuid())


class Control:
    """Serves the control API of one core."""

    def __init__(
        self, core: Core, path: Path, *, stop: Callable[..., Any], reload: Callable[[], dict[str, Any]]
    ) -> None:
        self.core = core
        self.path = path
        self._stop = stop
        self._reload = reload
        self._token = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Bind and serve."""
        application = web.Application(client_max_size=BODY_LIMIT)
        application.router.add_get("/v1/{what:status|positions|orders|health}", self._get)
        application.router.add_post("/v1/{verb:.+}", self._post)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.SockSite(self._runner, unix_socket.bind(self.path)).start()

    async def close(self) -> None:
        """Stop serving and remove the socket."""
        if self._runner is not None:
            await self._runner.cleanup()
        self.path.unlink(missing_ok=True)

    async def _get(self, request: web.Request) -> web.Response:
        what = request.match_info["what"]
        state = self.core.state
        if what == "positions":
            return _respond(200, {"positions": {s: q for s, q in state.account.quantities.items() if q}})
        if what == "orders":
            rows = [
                {
                    "tag": order.tag,
                    "symbol": order.symbol,
                    "side": order.side,
                    "quantity": order.quantity,
                    "filled": order.filled,
                    "limit": to_rupees(order.limit),
                    "state": order.state,
                }
                for order in state.orders.values()
            ]
            return _respond(200, {"orders": rows})
        status = self.core.status()
        if what == "health":
            healthy = status["state"] != "FAILED"
            return _respond(200 if healthy else 503, {"state": status["state"], "journal_seq": status["journal_seq"]})
        return _respond(200, status)

    async def _post(self, request: web.Request) -> web.Response:
        verb = request.match_info["verb"]
        if verb not in _VERBS:
            return _respond(404, {"error": f"verb {verb!r}; known: {', '.join(_VERBS)}"})
        transport = request.transport
        raw = transport.get_extra_info("socket") if transport is not None else None
        if raw is None:
            return _respond(400, {"error": "the caller is gone"})
        uid, gid = _peer(raw)
        allowed = may_stop(uid, gid) if verb in _STOPPING else may_resume(uid)
        if not allowed:
            return _respond(403, {"error": f"uid {uid} may not {verb}"})
        try:
            command = msgspec.json.decode(await request.read() or b"{}", type=Command)
        except (ValueError, RecursionError) as error:  # also: not UTF-8, nested without end
            return _respond(400, {"error": f"body: {error}; allowed: reason, nonce, rupees"})
        if verb == "reload":
            return _respond(200, self._reload())
        if verb in _STOPPING:
            # The latch first: from here on no order leaves, whatever the dispatch is busy with. It tells the dispatch.
            return _respond(200, self._stop(mode=verb, reason=command.reason[:500], uid=uid))
        if verb not in _CASH:
            return await self._ask(verb, uid, command)
        try:
            return await self._ask(verb, uid, command, amount=parse_rupees(command.rupees))
        except BadInput as error:
            return _respond(400, {"error": str(error)})

    async def _ask(self, verb: str, uid: int, command: Command, *, amount: Paise = ZERO) -> web.Response:
        self._token += 1
        token = self._token
        answer: asyncio.Future[tuple[int, dict[str, Any]]] = asyncio.get_running_loop().create_future()
        self.core.edges.outside.replies[token] = answer
        message = OperatorCommand(
            verb=verb, uid=uid, reason=command.reason[:500], nonce=command.nonce[:64], token=token, amount=amount
        )
        self.core.bus.post(Lane.CONTROL, message)
        try:
            status, payload = await asyncio.wait_for(answer, ANSWER_SECONDS * self.core.clock.pace)
        except TimeoutError:
            self.core.edges.outside.replies.pop(token, None)
            reason = self.core.bus.failed or "the dispatch did not answer in time"
            if amount or verb == _ACCEPT:
                reason += "; it may still be booked: look at the status before you repeat it"
            return _respond(503, {"error": reason})
        return _respond(status, payload)


def _peer(raw: Any) -> tuple[int, int]:
    # The transport's socket is a wrapper without getsockopt's buffer form on some versions; duplicate the descriptor.
    duplicate = socket.socket(fileno=os.dup(raw.fileno()))
    try:
        _, uid, gid = unix_socket.peer(duplicate)
    finally:
        duplicate.close()
    return uid, gid


def _respond(status: int, payload: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=_json(payload) + b"\n", content_type="application/json")
