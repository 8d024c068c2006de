"""What systemd wants to hear (sd_notify): readiness, status, watchdog. Silent when nobody listens."""

from __future__ import annotations

import os
import socket


def notify(message: str) -> None:
    """Send one message to the service manager, if there is one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(message.encode(), address)
        except OSError:
            return


def watchdog_seconds() -> float | None:
    """Return how often to say that we live (a third of the limit), or None when nobody watches this process."""
    limit = os.environ.get("WATCHDOG_USEC")
    owner = os.environ.get("WATCHDOG_PID")
    if not limit or (owner and owner != str(os.getpid())):
        return None
    return int(limit) / 1e6 / 3.0
