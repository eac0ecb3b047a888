"""Each way a login can fail, for real: it is named, it has a mend, and it exits as the design says."""

import asyncio
import os
import secrets
import signal
import socket
import threading
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import asyncpg
import msgspec
import pytest

from pgtop.core.activity import Snapshot
from pgtop.core.outage import Limit, Outage, OutageKind
from pgtop.demo.server import ThrowawayServer
from pgtop.errors import PgtopError
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.errors.kinds import (
    ConnectionLostError,
    FullError,
    LoginError,
    PasswordNeededError,
    outage,
    refusing_limit,
    text_of,
)
from pgtop.postgres.errors.network_and_driver import connect_error
from pgtop.postgres.session.reachability import reach
from pgtop.postgres.snapshot_probe import Probe
from tests.conftest import ServerFactory
from tests.servers import create_role, execute, session, wait_until
from tests.support.targets import connection_on, is_told, refusal, silent_port, target_of

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def strict(module_server_factory: object) -> ThrowawayServer:
    """A server that asks for passwords."""
    assert callable(module_server_factory)
    server: ThrowawayServer = module_server_factory(auth="scram-sha-256")
    return server


def role_name() -> str:
    return f"role_{secrets.token_hex(4)}"


async def test_a_wrong_password(strict: ThrowawayServer) -> None:
    wrong = f"wrong-{secrets.token_hex(4)}"
    error = await refusal(replace(target_of(strict), password=wrong))
    is_told(error, OutageKind.REFUSED, 'does not accept the password of "postgres"', "-W")
    assert wrong not in str(error)
    assert not isinstance(error, PasswordNeededError)


async def test_no_password_where_one_is_asked_for(strict: ThrowawayServer, tmp_path: Path) -> None:
    target = replace(target_of(strict), password=None)
    error = await refusal(target)
    is_told(error, OutageKind.REFUSED, "asks for the password", "~/.pgpass", "PGPASSWORD")
    assert isinstance(error, PasswordNeededError)

    passfile = tmp_path / "passwords"
    passfile.write_text(f"127.0.0.1:{strict.port}:*:postgres:{strict.password}\n")
    passfile.chmod(0o644)
    is_told(await refusal(replace(target, passfile=passfile)), OutageKind.REFUSED, "chmod 600")
    passfile.chmod(0o600)
    async with connection_on(replace(target, passfile=passfile)) as own_connection:
        assert own_connection.is_held


async def test_the_drivers_own_password_file_and_environment_are_not_asked(
    strict: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", strict.password)
    error = await refusal(replace(target_of(strict), password=None))
    assert isinstance(error, PasswordNeededError)


async def test_no_such_database(every_server: ThrowawayServer) -> None:
    error = await refusal(replace(target_of(every_server), database="no\x1bsuch"))
    is_told(error, OutageKind.REFUSED, "database", "does not exist", "-d")


async def test_no_such_role(every_server: ThrowawayServer) -> None:
    error = await refusal(target_of(every_server, user="nobody there"))
    is_told(error, OutageKind.REFUSED, 'role "nobody there" does not exist', "-U")


async def test_a_role_that_may_not_log_in(server: ThrowawayServer) -> None:
    role = role_name()
    await execute(server, f"CREATE ROLE {role}")
    is_told(await refusal(target_of(server, user=role)), OutageKind.REFUSED, "may not log in")


async def test_a_database_that_may_not_be_entered(server: ThrowawayServer) -> None:
    role, database, closed = role_name(), role_name(), role_name()
    await execute(
        server,
        f"CREATE ROLE {role} LOGIN",
        f"CREATE DATABASE {database}",
        f"REVOKE CONNECT ON DATABASE {database} FROM public",
        f"CREATE DATABASE {closed} ALLOW_CONNECTIONS false",
    )
    target = target_of(server, user=role)
    is_told(await refusal(replace(target, database=database)), OutageKind.REFUSED, "GRANT CONNECT")
    is_told(await refusal(replace(target, database=closed)), OutageKind.REFUSED, "accepts no connections")


async def test_a_roles_own_limit_is_not_a_full_server(every_server: ThrowawayServer) -> None:
    role = role_name()
    await execute(every_server, f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 0")
    error = await refusal(target_of(every_server, user=role))
    is_told(error, OutageKind.LIMIT, f'role "{role}" has reached its own CONNECTION LIMIT', "ALTER ROLE")
    assert refusing_limit(error) is Limit.ROLE


async def test_a_databases_own_limit_is_not_a_full_server(every_server: ThrowawayServer) -> None:
    """Also where the words of the message would say something else."""
    role = f"{role_name()} for database"
    database = f"{role_name()} for role"
    await execute(
        every_server, f'CREATE ROLE "{role}" LOGIN', f'CREATE DATABASE "{database}" CONNECTION LIMIT 0'
    )
    error = await refusal(replace(target_of(every_server, user=role), database=database))
    is_told(error, OutageKind.LIMIT, f'database "{database}" has reached its own', "ALTER DATABASE")
    assert refusing_limit(error) is Limit.DATABASE


@pytest.mark.parametrize("version", [14, 15, 16, 17, 18])
async def test_a_full_server_says_which_slots_are_left(server_factory: ServerFactory, version: int) -> None:
    """No ordinary slot, then none but the superusers', then none at all, then not even a child to say so."""
    settings = {"max_connections": "6", "superuser_reserved_connections": "2"}
    if version >= 16:
        settings["reserved_connections"] = "1"
    server = server_factory(settings, version=version)
    await execute(server, "CREATE ROLE app LOGIN", "CREATE ROLE ops LOGIN")
    app, superuser = target_of(server, user="app"), target_of(server)
    async with AsyncExitStack() as stack:
        for _ in range(3 if version >= 16 else 4):
            await stack.enter_async_context(session(server, user="app"))
        await is_refused_by(app, Limit.ORDINARY)
        if version >= 16:
            await execute(server, "GRANT pg_use_reserved_connections TO ops")
            await stack.enter_async_context(session(server, user="ops"))
            await is_refused_by(app, Limit.RESERVED)
            await is_refused_by(target_of(server, user="ops"), Limit.RESERVED)
        for _ in range(2):
            await stack.enter_async_context(session(server))
        await is_refused_by(superuser, Limit.EVERY)
        await is_refused_by(app, Limit.EVERY)
        await wait_until(lambda: say_nothing(stack, server, app), 20, "the postmaster takes every client")


async def is_refused_by(target: Target, limit: Limit) -> None:
    error = await refusal(target)
    is_told(error, OutageKind.FULL, f"is full: {limit}", "break-glass")
    assert refusing_limit(error) is limit


async def say_nothing(stack: AsyncExitStack, server: ThrowawayServer, app: Target) -> bool:
    """Whether one more client that connects and says nothing is too many for the postmaster."""
    stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
    return refusing_limit(await refusal(app)) is Limit.CLIENTS


async def test_a_server_that_is_shutting_down(server_factory: ServerFactory) -> None:
    server = server_factory()
    async with session(server):
        assert server.pid is not None
        os.kill(server.pid, signal.SIGTERM)  # waits for the session to end

        async def refuses() -> PgtopError | None:
            try:
                async with connection_on(target_of(server)):
                    return None
            except PgtopError as error:
                return error

        is_told(await wait_until(refuses), OutageKind.STARTING, "accepts no connections at the moment")


async def test_no_entry_in_pg_hba(server_factory: ServerFactory) -> None:
    server = server_factory()
    (server.data_dir / "pg_hba.conf").write_text("local all all trust\nhost all postgres all trust\n")
    await execute(server, "CREATE ROLE app LOGIN", "SELECT pg_reload_conf()")

    async def refuses() -> PgtopError | None:
        try:
            async with connection_on(target_of(server, user="app")):
                return None
        except PgtopError as error:
            return error

    is_told(await wait_until(refuses), OutageKind.REFUSED, 'no pg_hba.conf entry that lets "app" in')


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def nowhere(host: str, port: int, **more: object) -> Target:
    return replace(Target((host,), (port,), "app", "shop"), **more)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_no_server_at_the_port(host: str) -> None:
    port = closed_port()
    is_told(
        await refusal(nowhere(host, port)),
        OutageKind.UNREACHABLE,
        f"no server listens at {host}:{port}",
        "-p",
    )


async def test_no_socket_in_the_directory(tmp_path: Path) -> None:
    error = await refusal(nowhere(str(tmp_path), 5432))
    is_told(error, OutageKind.UNREACHABLE, f"there is no server socket {tmp_path}/.s.PGSQL.5432", "-h")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 80])
async def test_a_host_that_is_not_known(host: str) -> None:
    is_told(await refusal(nowhere(host, 5432)), OutageKind.UNREACHABLE, f'host name "{host}" is not known')


async def test_no_thread_to_look_a_name_up_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    error = await refusal(nowhere("localhost", 5432))
    is_told(
        error,
        OutageKind.UNREACHABLE,
        "localhost:5432 cannot be looked up (can't start new thread)",
        "address",
    )


async def test_a_given_address_is_reached_without_a_name_server(
    server: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("a name server is asked")

    monkeypatch.setattr(socket, "getaddrinfo", asked)
    await reach(["::1", "127.0.0.1"], server.port)
    with pytest.raises(OSError, match="::1"):
        await reach(["::1"], server.port)


@pytest.mark.parametrize("sslmode", ["disable", "prefer", "require"])
async def test_a_login_that_is_broken_off_is_told_in_words_of_no_library(sslmode: str) -> None:
    """Whoever listens there hangs up on each login: a way through a proxy whose server is gone."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as listener:
        target = nowhere("127.0.0.1", listener.sockets[0].getsockname()[1])
        target = replace(target, tls=replace(target.tls, sslmode=sslmode))
        error = await refusal(target)
    is_told(error, OutageKind.UNREACHABLE, "closed the connection during the login", "is a PostgreSQL server")
    assert not any(word in str(error) for word in ("()", "call", "Errno"))


@pytest.mark.parametrize("sslmode", ["disable", "prefer", "require"])
async def test_a_server_that_never_answers(sslmode: str) -> None:
    with silent_port() as port:
        target = nowhere("127.0.0.1", port, connect_timeout_seconds=0.3)
        target = replace(target, tls=replace(target.tls, sslmode=sslmode))
        is_told(await refusal(target), OutageKind.TIMEOUT, "does not answer in time", "connect_timeout")


async def test_several_hosts_are_all_named() -> None:
    ports = closed_port(), closed_port()
    error = await refusal(nowhere("127.0.0.1", 1, hosts=("127.0.0.1",) * 2, ports=ports))
    is_told(error, OutageKind.UNREACHABLE, *(f"127.0.0.1:{port}" for port in ports))


async def test_a_refused_login_does_not_go_on_to_the_next_host(server: ThrowawayServer) -> None:
    """As with libpq: another host would be another answer to the same question."""
    target = replace(target_of(server, user="nobody there"), hosts=("127.0.0.1",) * 2, ports=(server.port, 1))
    is_told(await refusal(target), OutageKind.REFUSED, "does not exist")


async def test_a_setting_that_the_server_does_not_know(server: ThrowawayServer) -> None:
    error = await refusal(replace(target_of(server), server_settings={"colour": "red"}))
    is_told(error, OutageKind.REFUSED, '"colour"', "options")


GERMAN = 'die verbleibenden Verbindungen sind für Rollen mit Privilegien der Rolle "%s" reserviert'


@pytest.mark.parametrize(
    ("function", "words", "limit"),
    [
        ("InitializeSessionUserId", "zu viele Verbindungen für Rolle »app«", Limit.ROLE),
        ("CheckMyDatabase", "zu viele Verbindungen für Datenbank »shop«", Limit.DATABASE),
        ("InitPostgres", "die verbleibenden Verbindungen sind für Superuser reserviert", Limit.ORDINARY),
        ("InitPostgres", GERMAN % "pg_use_reserved_connections", Limit.ORDINARY),
        ("InitPostgres", GERMAN % "SUPERUSER", Limit.RESERVED),
        ("InitProcess", "tut mir leid, schon zu viele Verbindungen", Limit.EVERY),
        ("ProcessStartupPacket", "tut mir leid, schon zu viele Verbindungen", Limit.CLIENTS),
        ("BackendInitialize", "tut mir leid, schon zu viele Verbindungen", Limit.CLIENTS),
        ("", 'too many connections for role "app"', Limit.ROLE),
        ("", 'too many connections for database "for role"', Limit.DATABASE),
        (
            "",
            "remaining connection slots are reserved for roles with the SUPERUSER attribute",
            Limit.RESERVED,
        ),
        ("", "remaining connection slots are reserved for replication", Limit.ORDINARY),
        ("", "sorry, too many clients already", Limit.EVERY),
        ("", "nichts mehr frei", Limit.UNKNOWN),
        ("something_else", "too many connections for tenant", Limit.UNKNOWN),
    ],
)
def test_the_limits_are_told_apart_in_any_language(function: str, words: str, limit: Limit) -> None:
    error = asyncpg.PostgresError.new({"S": "FATAL", "C": "53300", "M": words, "R": function})
    told = connect_error(error, nowhere("db1", 5432))
    is_told(told, OutageKind.FULL if limit.is_the_servers else OutageKind.LIMIT, words)
    assert refusing_limit(told) is limit


def test_every_error_becomes_an_outage_of_the_right_kind() -> None:
    lost = ConnectionLostError("gone", "again", OutageKind.TIMEOUT)
    kinds: dict[str, list[BaseException]] = {
        OutageKind.FULL: [FullError("full")],
        OutageKind.STARTING: [LoginError("soon", kind=OutageKind.STARTING)],
        OutageKind.UNREACHABLE: [LoginError("no route", kind=OutageKind.UNREACHABLE)],
        OutageKind.REFUSED: [LoginError("no")],
        OutageKind.LOST: [
            ConnectionLostError("gone"),
            ConnectionResetError("reset"),
            asyncpg.ConnectionDoesNotExistError("x"),
        ],
        OutageKind.TIMEOUT: [lost, TimeoutError(), asyncpg.QueryCanceledError("slow")],
        OutageKind.FAILED: [asyncpg.InsufficientPrivilegeError("no\x1b[2J"), asyncpg.InterfaceError("odd")],
    }
    for kind, errors in kinds.items():
        for error in errors:
            value = outage(error)
            assert isinstance(value, Outage)
            assert value.kind == kind
            assert value.message
            assert value.message.isprintable()


async def test_a_full_lock_table_is_named(server_factory: ServerFactory) -> None:
    """A plain role fills it with advisory locks: a login says so, and so does a poll on a held connection."""
    with server_factory({"max_connections": "10", "max_locks_per_transaction": "10"}) as server:
        role = await create_role(server)
        async with (
            connection_on(target_of(server)) as own_connection,
            session(server, user=role.name, password=role.password) as hostile,
        ):
            with suppress(asyncpg.OutOfMemoryError):
                for number in range(100_000):
                    await hostile.execute(f"SELECT pg_advisory_lock({number})")
            error = await refusal(target_of(server))
            assert "refuses the connection, since its lock table is full" in error.problem
            assert "pgtop break-glass --user … --count 1 needs no lock" in error.mend
            polled = await Probe(own_connection).poll()
            assert isinstance(polled, Outage)
            assert "since its lock table is full: some session holds thousands of locks" in polled.message
            await hostile.execute("SELECT pg_advisory_unlock_all()")
            assert isinstance(await Probe(own_connection).poll(), Snapshot)


async def test_a_servers_detail_and_hint_are_told(server: ThrowawayServer) -> None:
    async with session(server) as one:
        raising = "DO $$ BEGIN RAISE 'no room' USING DETAIL = 'Hot standby.', HINT = E'Wait\x1b[2J.'; END $$"
        with pytest.raises(asyncpg.PostgresError) as caught:
            await one.execute(raising)
    assert text_of(caught.value) == "no room: Hot standby.: Wait·[2J."
