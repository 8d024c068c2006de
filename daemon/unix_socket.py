"""Unix sockets by path of any length, and who is at the other end. Standard library only: `tarazu stop` uses it.

The kernel limits a socket's path to 107 bytes, and a deployment's directory may be deeper than that; the directory is
opened and the socket addressed through /proc/self/fd, which is short.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LIMIT = 100


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Yield a name of at most 107 bytes for a socket path, valid inside the block."""
    if len(os.fsencode(path)) <= _LIMIT:
        yield str(path)
        return
    handle = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{path.name}"
    finally:
        os.close(handle)


def bind(path: Path, *, mode: int = 0o660) -> socket.socket:
    """Return a listening Unix socket at `path`, readable by owner and group.

    A leftover file of a killed process is removed first: the caller holds the instance lock, so nobody listens there.
    """
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with short_path(path) as name:
        listener.bind(name)
    path.chmod(mode)
    listener.listen(8)
    return listener


def connect(path: Path, *, timeout: float) -> socket.socket:
    """Return a connected Unix socket. Raises OSError when nobody listens."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(timeout)
    try:
        with short_path(path) as name:
            client.connect(name)
    except OSError:
        client.close()
        raise
    return client


def peer(connection: socket.socket) -> tuple[int, int, int]:
    """Return (pid, uid, gid) of the process at the other end, as the kernel knows it."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", raw)
    return pid, uid, gid


def request(path: Path, method: str, target: str, body: bytes = b"", *, timeout: float = 5.0) -> tuple[int, bytes]:
    """Make one HTTP/1.1 request over a Unix socket; return status and body. Raises OSError."""
    with connect(path, timeout=timeout) as client:
        head = f"{method} {target} HTTP/1.1\r\nHost: tarazu\r\nConnection: close\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        received = bytearray()
        while chunk := client.recv(65536):
            received += chunk
    header, _, payload = bytes(received).partition(b"\r\n\r\n")
    status_line = header.split(b"\r\n", 1)[0].split(b" ")
    if len(status_line) < 2 or not status_line[1].isdigit():
        raise OSError(f"{path}: the answer is not HTTP")
    if b"transfer-encoding: chunked" in header.lower():
        payload = _dechunk(payload)
    return int(status_line[1]), payload


def _dechunk(payload: bytes) -> bytes:
    out = bytearray()
    while payload:
        size_text, _, rest = payload.partition(b"\r\n")
        size = int(size_text.split(b";")[0] or b"0", 16)
        if size == 0:
            break
        out += rest[:size]
        payload = rest[size + 2 :]
    return bytes(out)
