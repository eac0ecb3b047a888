"""Messages to systemd, if it runs the daemon: READY, RELOADING, STATUS, STOPPING and WATCHDOG.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping

from pgtop.core.text import printable


class Systemd:
    """The notification socket that systemd names; without one, nothing is said."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        mine = environ.get("WATCHDOG_PID") in (None, "", str(os.getpid()))
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog_seconds = int(usec) / 1e6 if mine and usec.isdecimal() and int(usec) else None
        """The longest interval at which systemd wants to hear of this process; None if it doesn't watch."""

    def ready(self) -> None:
        """Tell that the daemon is at work, for the first time or again after a reload."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Tell that the configuration is being read again."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Tell that the daemon is about to end."""
        self._send("STOPPING=1")

    def status(self, said: str) -> None:
        """Tell in one line how things stand."""
        self._send(f"STATUS={printable(said)}")

    def alive(self) -> None:
        """Keep the watchdog quiet."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address.startswith(("/", "@")):
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        # Carry on although the manager does not listen.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(message.encode(), address)
