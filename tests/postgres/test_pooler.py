"""A pooler in between is noticed, and gets none of the seat's settings: the next client would have them."""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from pgtop.demo.server import ThrowawayServer
from tests.cli.running import run
from tests.postgres.targets import refusal, seat_on, target_of
from tests.servers import session, wait_until_sync

CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = 1
{more}
"""


@contextmanager
def pooler(server: ThrowawayServer, more: str = "") -> Iterator[int]:
    """A PgBouncer before the server, and its port."""
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
        users.write_text('"postgres" ""\n')
        settings.write_text(CONFIGURATION.format(server_port=server.port, port=port, users=users, more=more))
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


@pytest.mark.parametrize("more", ["", "ignore_startup_parameters = statement_timeout, lock_timeout, jit"])
async def test_a_pooler_is_noticed_and_left_as_it_was(server: ThrowawayServer, more: str) -> None:
    with pooler(server, more) as port:
        through = msgspec.structs.replace(target_of(server), ports=(port,))
        async with seat_on(through) as seat:
            assert seat.pooled
            assert seat.address == ("127.0.0.1", port)
            row = await seat.fetchrow("SELECT pg_backend_pid()")
            assert row is not None
            assert row[0] == seat.own_pid  # the only one of the pool
        async with session(server) as direct:
            usual = await direct.fetchval("SHOW statement_timeout")
        async with seat_on(through) as seat:
            left = await seat.fetchrow("SELECT current_setting('statement_timeout'), current_setting('jit')")
            assert left is not None
            assert left[0] == usual
            assert (await seat.fetchrow("SHOW default_transaction_read_only"))[0] == "off"  # type: ignore[index]


async def test_a_database_that_the_pooler_cannot_reach_is_told(server: ThrowawayServer) -> None:
    with pooler(server) as port:
        target = msgspec.structs.replace(target_of(server), ports=(port,), database="no such")
        error = await refusal(target)
        assert error.mend
        assert "no such" in str(error)


@pytest.mark.parametrize("arguments", [("--always",), ("--watch",), ("--always", "--dry-run")])
async def test_nothing_is_reaped_through_a_pooler(
    server: ThrowawayServer, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Status 3 with the mend, and nobody is ended."""
    async with session(server, application_name="idle") as one:
        with pooler(server) as port:
            conninfo = f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable"
            done = await asyncio.to_thread(run, tmp_path, "reap", conninfo, "--idle-after", "1s", *arguments)
        assert done.returncode == 3
        assert done.stdout == ""
        assert "a pooler answers at 127.0.0.1" in done.stderr
        assert "connect to the server itself" in done.stderr
        assert await one.fetchval("SELECT 1") == 1
