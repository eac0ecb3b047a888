"""Facts about one process, read while it goes on working."""

import subprocess
import sys
from pathlib import Path

import pytest

from pgtop.postgres.host import proc

pytestmark = pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="reads Linux's /proc")

LOOKS = 2_000

_OPENS_AND_CLOSES = """
import os, socket
low = os.dup(0)
kept, _ = socket.socketpair()
print(os.fstat(kept.fileno()).st_ino, flush=True)
while True:
    os.close(low)
    low = os.dup(0)
"""


def test_a_file_that_is_closed_hides_no_socket() -> None:
    """A pgtop that opens and closes files, as while it starts, still shows its connection at every look."""
    with subprocess.Popen(
        [sys.executable, "-c", _OPENS_AND_CLOSES], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as busy:
        try:
            assert busy.stdout is not None
            kept = int(busy.stdout.readline())
            assert all(kept in proc.socket_inodes(busy.pid) for _ in range(LOOKS))
        finally:
            busy.kill()


def test_a_process_that_is_gone_holds_no_socket() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    assert proc.socket_inodes(gone.pid) == frozenset()
