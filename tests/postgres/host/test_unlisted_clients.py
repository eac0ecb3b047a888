"""The clients that hold a slot and are not listed, as each poll on the server's own host counts them."""

import os
import sys
import threading
import time
from contextlib import ExitStack

import pytest

import pgtop.postgres.host.servers as servers_module
import pgtop.postgres.host_reading as reading_module
from pgtop.core.activity import Snapshot
from pgtop.errors import NotPermittedError
from pgtop.postgres.conninfo.target import Endpoint
from pgtop.postgres.host import proc
from pgtop.postgres.host.server_at_address import server_at
from pgtop.postgres.host.servers import HostServer, find_servers
from pgtop.postgres.host.unlisted_clients import UnlistedClients
from pgtop.postgres.snapshot_probe import Probe
from tests.conftest import ServerFactory
from tests.servers import available, create_role, execute, session, sessions, wait_until
from tests.support.filling import (
    TWENTY_SLOTS,
    connect_silently,
    stalled_in_authentication,
    stalled_login,
    stalled_over_socket,
)
from tests.support.hosting import host_server
from tests.support.relay import relay
from tests.support.targets import connection_on, target_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")


async def counted(probe: Probe, connecting: int) -> Snapshot:
    """The first snapshot that counts this many clients still connecting, listed ones too."""

    async def poll() -> Snapshot | None:
        seen = await probe.snapshot()
        return seen if seen.unlisted + seen.counts.starting == connecting else None

    seen = await wait_until(poll, 15, f"never {connecting} clients still connecting")
    assert isinstance(seen, Snapshot)
    return seen


@pytest.mark.parametrize("version", sorted(available()))
async def test_clients_in_authentication_count(server_factory: ServerFactory, version: int) -> None:
    """Beside sessions; a silent client and a walsender hold none of these slots."""
    server = server_factory(TWENTY_SLOTS, version=version, auth="scram-sha-256")
    app = await create_role(server)
    async with (
        connection_on(target_of(server)) as own_connection,
        sessions(server, 3, user=app.name, password=app.password),
    ):
        probe = Probe(own_connection)
        assert (await counted(probe, 0)).taken == 4
        with ExitStack() as stack:
            stack.enter_context(connect_silently(server.port))
            stack.enter_context(stalled_login(server.port, user=app.name, replication="true"))
            stack.enter_context(stalled_in_authentication(server.port, app, 5))
            seen = await counted(probe, 5)
            assert (seen.taken, seen.usage) == (9, 9 / 20)
        assert (await counted(probe, 0)).taken == 4


@pytest.mark.parametrize("version", sorted(available()))
async def test_clients_stuck_in_startup_count(server_factory: ServerFactory, version: int) -> None:
    """They have been let in, and wait for a lock on their database; over TCP and a Unix socket."""
    server = server_factory(TWENTY_SLOTS, version=version)
    await execute(server, "CREATE DATABASE shop")
    async with connection_on(target_of(server)) as own_connection, session(server) as owner:
        probe = Probe(own_connection)
        await owner.execute("BEGIN")
        await owner.execute("ALTER DATABASE shop RENAME TO shop2")
        with stalled_login(server.port, database="shop"), stalled_over_socket(server, database="shop"):
            assert (await counted(probe, 2)).taken == 4
            await owner.execute("ROLLBACK")

            async def are_listed() -> Snapshot | None:
                seen = await probe.snapshot()
                return seen if seen.counts.total - seen.counts.starting == 4 else None

            seen = await wait_until(are_listed, 15)
            assert seen.taken == 4


async def test_a_client_that_came_after_the_list_is_not_counted(server_factory: ServerFactory) -> None:
    server = server_factory(TWENTY_SLOTS, version=15, auth="scram-sha-256")
    app = await create_role(server)
    async with connection_on(target_of(server)) as own_connection:
        probe = Probe(own_connection)
        before = await probe.snapshot()
        with stalled_in_authentication(server.port, app, 2):
            after = await counted(probe, 2)
            clients = UnlistedClients(host_server(server))
            own = frozenset({before.own_pid})
            assert clients.number(own, before.own_pid, before.taken_at) == 0
            assert clients.number(own, before.own_pid, after.taken_at) == 2


async def test_the_first_count_reads_no_listed_session(
    server_factory: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start on a server with a thousand sessions would wait for the reading of each."""
    server = server_factory(TWENTY_SLOTS)
    async with connection_on(target_of(server)) as own_connection, sessions(server, 5):
        seen = await Probe(own_connection).snapshot()
        listed, read = frozenset(each.pid for each in seen.backends), []
        assert len(listed) == 6
        real = proc.read_process

        def noted(pid: int, believed: frozenset[int]) -> proc.Process | None:
            read.append(pid)
            return real(pid, believed)

        monkeypatch.setattr(proc, "read_process", noted)
        clients = UnlistedClients(host_server(server))
        assert clients.number(listed, seen.own_pid, seen.taken_at) == 0
        assert read
        assert not listed & set(read)


async def test_a_list_of_every_process_still_tells_the_clients_apart(server_factory: ServerFactory) -> None:
    """A role that sees no backend types has the server's own processes in its list, too."""
    server = server_factory(TWENTY_SLOTS, version=15, auth="scram-sha-256")
    app = await create_role(server)
    async with connection_on(target_of(server)) as own_connection:
        probe = Probe(own_connection)
        before = await counted(probe, 0)
        found = host_server(server)
        listed = frozenset(proc.children(found.pid))
        with stalled_in_authentication(server.port, app, 2):
            after = await counted(probe, 2)
            assert UnlistedClients(found).number(listed, before.own_pid, after.taken_at) == 2


async def test_a_session_leads_to_its_server_alone(
    server_factory: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host may have thousands of other processes."""
    server = server_factory(TWENTY_SLOTS)
    endpoint, found = Endpoint("127.0.0.1", server.port, "127.0.0.1"), host_server(server)
    directory = Endpoint(found.socket_dir, server.port, found.socket_dir)
    async with session(server) as one:
        pid = one.get_server_pid()
        monkeypatch.setattr(proc, "pids", list)
        assert server_at(endpoint) is None
        assert server_at(endpoint, pid) == server_at(directory, pid) == found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has lock files read by a program of its own")
def test_no_program_is_started_where_nothing_may_be_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a tunnel: each start would wait for it."""
    monkeypatch.setattr(servers_module, "ask_for_lock_files", pytest.fail)
    assert find_servers(among=()).servers == ()


async def test_the_number_of_a_session_elsewhere_misleads_nobody(server_factory: ServerFactory) -> None:
    """In a container, or behind a tunnel, it is some other process's here, or nobody's."""
    one, other = server_factory(TWENTY_SLOTS), server_factory(TWENTY_SLOTS)
    endpoint, found = Endpoint("127.0.0.1", one.port, "127.0.0.1"), host_server(one)
    directory = Endpoint(found.socket_dir, one.port, found.socket_dir)
    async with session(other) as elsewhere:
        for pid in (elsewhere.get_server_pid(), os.getpid(), 1, 2**22):
            assert server_at(endpoint, pid) == server_at(directory, pid) == found


async def test_a_session_of_another_server_tells_nothing_of_this_one(server_factory: ServerFactory) -> None:
    """Its pids mean nothing here: all of this server's sessions would look unlisted."""
    one, other = server_factory(TWENTY_SLOTS), server_factory(TWENTY_SLOTS)
    async with connection_on(target_of(other)) as own_connection, sessions(one, 3):
        seen = await Probe(own_connection).snapshot()
        with pytest.raises(NotPermittedError):
            UnlistedClients(host_server(one)).number(
                frozenset({seen.own_pid}), seen.own_pid, seen.taken_at + 60_000_000
            )


async def test_nothing_is_counted_behind_a_proxy_on_this_host(server_factory: ServerFactory) -> None:
    """The address is not the server's own: it may lead to another host."""
    server = server_factory(TWENTY_SLOTS, version=15, auth="scram-sha-256")
    app = await create_role(server)
    async with (
        relay(server) as balancer,
        connection_on(balancer.target()) as through,
        connection_on(target_of(server)) as directly,
    ):
        with stalled_in_authentication(server.port, app, 2):
            await counted(Probe(directly), 2)
            assert (await Probe(through).snapshot()).unlisted == 0


async def test_a_host_that_does_not_answer_holds_up_one_poll(
    server_factory: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds up the poll for a limited time, and is left alone for a while after that."""
    over, asked = threading.Event(), []

    def endless(endpoint: Endpoint, session: int) -> HostServer | None:
        asked.append(endpoint)
        over.wait(60)
        return None

    monkeypatch.setattr(reading_module, "server_at", endless)
    monkeypatch.setattr(reading_module, "READ_SECONDS", 0.1)
    server = server_factory(TWENTY_SLOTS)
    try:
        async with connection_on(target_of(server)) as own_connection:
            probe, started = Probe(own_connection), time.monotonic()
            assert [(await probe.snapshot()).unlisted for _ in range(3)] == [0, 0, 0]
            assert time.monotonic() - started < 10
            assert len(asked) == 1
    finally:
        over.set()


async def test_a_restarted_server_is_counted_again(server_factory: ServerFactory) -> None:
    server = server_factory(TWENTY_SLOTS, version=15, auth="scram-sha-256")
    app = await create_role(server)
    async with connection_on(target_of(server)) as own_connection:
        probe = Probe(own_connection)
        with stalled_in_authentication(server.port, app, 2):
            await counted(probe, 2)
        server.stop()
        server.start()

        async def polled() -> bool:
            return isinstance(await probe.poll(), Snapshot)

        await wait_until(polled, 15, "no poll after the restart")
        with stalled_in_authentication(server.port, app, 3):
            await counted(probe, 3)
