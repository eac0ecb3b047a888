"""TLS is used where it is offered, and checked exactly as far as asked."""

from pathlib import Path

import pytest

from pgtop.core.outage import OutageKind
from pgtop.demo.server import HOST, ThrowawayServer
from pgtop.errors import ConnectError
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.session.login_probe import LoginProbe, probe_login
from tests.support.targets import connection_on, is_told, refusal, resolving, target_of


async def is_encrypted(target: Target) -> bool:
    async with connection_on(target) as own_connection:
        row = await own_connection.fetchrow("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        return row is not None and bool(row[0])


async def test_tls_is_used_where_it_is_offered_and_checked_as_far_as_asked(
    with_tls: ThrowawayServer, certificate: Path
) -> None:
    assert await is_encrypted(target_of(with_tls))
    assert not await is_encrypted(target_of(with_tls, "sslmode=disable"))
    assert await is_encrypted(target_of(with_tls, "sslmode=require"))
    root = f"sslrootcert={certificate}"
    assert await is_encrypted(target_of(with_tls, f"sslmode=verify-ca&{root}"))
    assert await is_encrypted(target_of(with_tls, f"sslmode=verify-full&{root}", host="localhost"))


async def test_a_certificate_is_checked_by_the_name_not_the_address(
    with_tls: ThrowawayServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first login, at a knock at the address that pgtop is connected to, and where TLS comes first."""
    checked = f"sslmode=verify-full&sslrootcert={certificate}"
    ways = ["postgres", "direct"] if with_tls.version >= 17 else ["postgres"]
    for way in ways:
        async with connection_on(
            target_of(with_tls, f"{checked}&sslnegotiation={way}", host="localhost")
        ) as own_connection:
            assert await probe_login(own_connection) == LoginProbe(None)
        resolving(monkeypatch, HOST)
        other_name = target_of(with_tls, f"{checked}&sslnegotiation={way}", host="db1")
        is_told(await refusal(other_name), OutageKind.REFUSED, "is not trusted", "db1")
        monkeypatch.undo()


async def test_a_certificate_that_is_not_trusted(with_tls: ThrowawayServer, certificate: Path) -> None:
    other_name = target_of(with_tls, f"sslmode=verify-full&sslrootcert={certificate}")
    is_told(await refusal(other_name), OutageKind.REFUSED, "is not trusted", "sslrootcert")
    unknown = target_of(with_tls, "sslrootcert=system", host="localhost")
    is_told(await refusal(unknown), OutageKind.REFUSED, "is not trusted")


async def test_a_certificate_file_that_is_not_there(server: ThrowawayServer) -> None:
    error = await refusal(target_of(server, "sslmode=verify-full&sslrootcert=/no/root.crt"))
    assert isinstance(error, ConnectError)
    assert "sslrootcert /no/root.crt cannot be read" in str(error)


async def test_tls_that_the_server_does_not_offer(server: ThrowawayServer) -> None:
    error = await refusal(target_of(server, "sslmode=require"))
    is_told(error, OutageKind.REFUSED, "does not offer TLS", "sslmode=require")
