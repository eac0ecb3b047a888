"""The messages to systemd, over a socket of its kind."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgtop.daemon.systemd import Systemd


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    """A socket as systemd has one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(10)
        yield listener


@pytest.mark.parametrize("abstract", [False, True])
def test_each_message_is_one_datagram(tmp_path: Path, abstract: bool) -> None:
    """Over a socket with a path and over an abstract one; a status is one printable line."""
    name = f"pgtop-test-{os.getpid()}"
    address = f"\0{name}" if abstract else str(tmp_path / "notify")
    with manager(address) as listener:
        systemd = Systemd({"NOTIFY_SOCKET": f"@{name}" if abstract else address})
        systemd.ready()
        systemd.status("a\nREADY=1 \x1b")
        systemd.alive()
        systemd.stopping()
        got = [listener.recv(4096) for _ in range(4)]
    assert got == [b"READY=1", "STATUS=a READY=1 ·".encode(), b"WATCHDOG=1", b"STOPPING=1"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/no/such/socket"}])
def test_without_a_manager_nothing_happens(environ: dict[str, str]) -> None:
    systemd = Systemd(environ)
    systemd.ready()
    systemd.stopping()
    assert systemd.watchdog_seconds is None


def test_the_watchdog_is_this_process_s_alone() -> None:
    """Set for another process, it is not ours to keep quiet."""
    mine = {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    assert Systemd(mine).watchdog_seconds == 3.0
    assert Systemd({"WATCHDOG_USEC": "3000000"}).watchdog_seconds == 3.0
    assert Systemd({**mine, "WATCHDOG_PID": "1"}).watchdog_seconds is None
    assert Systemd({"WATCHDOG_USEC": "soon"}).watchdog_seconds is None
