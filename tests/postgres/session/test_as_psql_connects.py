"""Conninfo, environment and service file, side by side with psql: whom psql lets in, pgtop does."""

import asyncio
import os
import pwd
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pgtop.demo.server import HOST, SUPERUSER, ThrowawayServer
from pgtop.errors import PgtopError
from pgtop.postgres.conninfo.resolve import resolve
from pgtop.postgres.session.login_probe import LoginProbe, probe_login
from tests.conftest import ServerFactory
from tests.servers import execute
from tests.support.psql import psql_gets_in
from tests.support.targets import connection_on

NOTHING: Mapping[str, str] = {}


async def reason(conninfo: str, home: Path, environ: Mapping[str, str] = NOTHING) -> str:
    """The reason for which pgtop does not get in; "" where it does."""
    try:
        target = resolve(conninfo, {}, {"HOME": str(home), **environ})
        async with connection_on(target):
            return ""
    except PgtopError as error:
        return str(error)


async def is_as_psql(conninfo: str, home: Path, environ: Mapping[str, str] = NOTHING) -> bool:
    """Whether both get in, or neither; asserts that they agree."""
    refused = await reason(conninfo, home, environ)
    with_psql = await asyncio.to_thread(psql_gets_in, conninfo, home, environ)
    assert (refused == "") == with_psql, (conninfo, environ, refused)
    return with_psql


TAILS = {
    "": True,
    "?": True,
    "?sslmode=prefer&": True,
    "?&": False,
    "?sslmode=prefer&&": False,
    "?sslmode=prefer&&connect_timeout=3": False,
    "?connect_timeout": False,
    "?=x": False,
    "?channel_binding=prefer&options=-c%20geqo%3Doff&": True,
    "#x": False,
}


@pytest.mark.parametrize("tail", TAILS)
async def test_a_uri_ends_as_it_may_with_psql(server: ThrowawayServer, tmp_path: Path, tail: str) -> None:
    uri = f"postgresql://{SUPERUSER}@{HOST}:{server.port}/postgres{tail}"
    assert await is_as_psql(uri, tmp_path) is TAILS[tail]


METHODS = ("trust", "scram-sha-256", "md5", "password")
REQUIREMENTS = (
    *("none", "scram-sha-256", "md5", "password", "gss", "md5,password", "none,scram-sha-256"),
    *("!none", "!password", "!md5,!password", "!scram-sha-256", "!none,!gss,!sspi"),
)


@pytest.fixture
async def of_all_methods(server_factory: ServerFactory) -> ThrowawayServer:
    """A server with a role for each way to log in."""
    server = server_factory(version=17)
    lines = [f"host all {quoted(method)} all {method}" for method in METHODS]
    hba = server.data_dir / "pg_hba.conf"
    hba.write_text("\n".join([*lines, hba.read_text()]))
    for method in METHODS:
        stored = "md5" if method == "md5" else "scram-sha-256"
        await execute(
            server,
            f"SET password_encryption = '{stored}'; CREATE ROLE {quoted(method)} LOGIN PASSWORD 'pw'",
        )
    await execute(server, "SELECT pg_reload_conf()")
    return server


def quoted(method: str) -> str:
    return f'"by {method}"'


async def test_require_auth_allows_what_it_does_to_psql(
    of_all_methods: ThrowawayServer, tmp_path: Path
) -> None:
    """In the conninfo or the environment; the error names the method and the requirement."""
    outcomes = set()
    for method in METHODS:
        where = f"host={HOST} port={of_all_methods.port} user='by {method}' password=pw dbname=postgres"
        for requirement in REQUIREMENTS:
            outcomes.add(await is_as_psql(f"{where} require_auth={requirement}", tmp_path))
        assert await is_as_psql(where, tmp_path, {"PGREQUIREAUTH": "gss"}) is False
        told = await reason(f"{where} require_auth=gss", tmp_path)
        assert "require_auth allows gss" in told
        assert (method if method != "trust" else "without a login") in told
    assert outcomes == {True, False}


@pytest.mark.skipif("sys.platform != 'linux'", reason="no peer credentials")
async def test_requirepeer_counts_for_sockets_alone(server: ThrowawayServer, tmp_path: Path) -> None:
    owner = pwd.getpwuid(server.data_dir.stat().st_uid).pw_name
    for host, name, gets_in in (
        (HOST, "no such user", True),
        (server.socket_dir, owner, True),
        (server.socket_dir, "no such user", False),
    ):
        where = f"host={host} port={server.port} user={SUPERUSER} dbname=postgres"
        assert await is_as_psql(f"{where} requirepeer='{name}'", tmp_path) is gets_in
        assert await is_as_psql(where, tmp_path, {"PGREQUIREPEER": name}) is gets_in
    assert f"user {owner} listens" in await reason(f"{where} requirepeer=x", tmp_path)


@pytest.mark.parametrize("sslmode", ["", "prefer", "require", "verify-full"])
async def test_direct_tls_means_nothing_to_a_socket(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sslmode: str
) -> None:
    """But it asks for a stricter sslmode there, too; the driver reads the variable by itself."""
    monkeypatch.setenv("PGSSLNEGOTIATION", "direct")
    where = f"host={server.socket_dir} port={server.port} user={SUPERUSER} dbname=postgres"
    given = f"{where} sslmode={sslmode}" if sslmode else where
    strict = sslmode in ("require", "verify-full")
    assert await is_as_psql(given, tmp_path, {"PGSSLNEGOTIATION": "direct"}) is strict


@asynccontextmanager
async def abstract(server: ThrowawayServer, name: str) -> AsyncIterator[None]:
    """A server's socket under a name in the abstract namespace."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = server.socket_dir / f".s.PGSQL.{server.port}"
        back_reader, back_writer = await asyncio.open_unix_connection(path)
        try:
            await asyncio.gather(_copy(reader, back_writer), _copy(back_reader, writer))
        finally:
            back_writer.close()
            writer.close()

    async with await asyncio.start_unix_server(pass_on, f"\0{name}/.s.PGSQL.{server.port}"):
        yield


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.mark.skipif("sys.platform != 'linux'", reason="no abstract sockets")
async def test_an_abstract_socket_is_a_socket(server: ThrowawayServer, tmp_path: Path) -> None:
    name = f"pgtop-test-{os.getpid()}"
    where = f"host=@{name} port={server.port} user={SUPERUSER} dbname=postgres"
    assert await is_as_psql(where, tmp_path) is False
    refused = await reason(where, tmp_path)
    assert f"@{name}:{server.port}" in refused
    assert "unix_socket_directories" in refused
    async with abstract(server, name):
        assert await is_as_psql(where, tmp_path)
        assert await is_as_psql(
            f"postgresql://{SUPERUSER}@%40{name}:{server.port}/postgres?sslmode=require", tmp_path
        )
        async with connection_on(resolve(where, {}, {})) as own_connection:
            assert await own_connection.is_direct()
            assert await probe_login(own_connection) == LoginProbe(None)


VALUES = {
    "form feed": "a\fb",
    "line separator": "a\u2028b",
    "next line": "a\u0085b",
    "blank at the end": "ab \f",
    "carriage return": "ab\r",
    "blank at the equals sign": " ab",
    "quotes": "'ab'",
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
async def test_a_service_file_is_cut_into_lines_as_by_psql(
    server: ThrowawayServer, tmp_path: Path, value: str
) -> None:
    """Each value names a database as the file has it, which is there or not."""
    kept = value.rstrip(" \f\r")
    quoted_name = '"' + kept.replace('"', '""') + '"'
    services = tmp_path / "services"
    services.write_bytes(f"\f[one]\nhost={HOST}\nport={server.port}\n\fdbname={value}\n".encode())
    environ = {"PGSERVICEFILE": str(services), "PGSERVICE": "one", "PGUSER": SUPERUSER}
    assert await is_as_psql("connect_timeout=20", tmp_path, environ) is False
    await execute(server, f"CREATE DATABASE {quoted_name}")
    try:
        assert await is_as_psql("connect_timeout=20", tmp_path, environ)
    finally:
        await execute(server, f"DROP DATABASE {quoted_name} WITH (FORCE)")


async def test_a_service_file_that_is_not_utf8_is_told(server: ThrowawayServer, tmp_path: Path) -> None:
    """A value of another encoding cannot be sent; what is in the way of nothing may be of any."""
    services = tmp_path / "services"
    text = f"# für\n[one]\nhost={HOST}\nport={server.port}\n[two]\nhost={HOST}\ndbname=für\n"
    services.write_bytes(text.encode("latin-1"))
    environ = {"PGSERVICEFILE": str(services), "PGUSER": SUPERUSER, "PGDATABASE": "postgres"}
    assert await is_as_psql("service=one", tmp_path, environ)
    told = await reason("service=two", tmp_path, environ)
    assert "dbname is not valid text" in told
    assert "UTF-8" in told
