"""A PgBouncer between pgtop and a server of the suite."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgtop.demo.server import ThrowawayServer
from tests.servers import wait_until_sync

CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = {mode}
default_pool_size = 1
{more}
"""


@contextmanager
def pooler(
    server: ThrowawayServer, more: str = "", *, mode: str = "transaction", user: str = "postgres"
) -> Iterator[int]:
    """A PgBouncer before the server, in one of its pool modes, that lets one role in; its port."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("no pgbouncer on this machine")
    owner = server.data_dir.stat()
    as_owner = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory() as directory, socket.socket() as probe:
        place = Path(directory)
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        probe.close()
        users, settings = place / "users", place / "pgbouncer.ini"
        users.write_text(f'"{user}" ""\n')
        settings.write_text(
            CONFIGURATION.format(server_port=server.port, port=port, users=users, mode=mode, more=more)
        )
        for path in (place, users, settings):
            os.chown(path, owner.st_uid, owner.st_gid)
        process = subprocess.Popen(
            [program, "-q", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_owner
        )
        try:
            wait_until_sync(lambda: answers(port), complaint="pgbouncer did not start")
            yield port
        finally:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
