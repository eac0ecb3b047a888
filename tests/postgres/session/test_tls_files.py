"""The files of TLS, side by side with psql: where psql gets in, pgtop does, and nowhere else."""

import itertools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pgtop.demo.server import HOST, SUPERUSER, ThrowawayServer
from pgtop.errors import PgtopError
from pgtop.postgres.conninfo.resolve import resolve
from tests.servers import execute
from tests.support.psql import psql_gets_in
from tests.support.targets import connection_on
from tests.support.tls import new_certificate, serve_certificate

CERTIFIED = "certified"


async def gets_in(conninfo: str, home: Path) -> str:
    """The reason for which pgtop does not get in; "" where it does."""
    target = resolve(conninfo, {}, {"HOME": str(home)})
    try:
        async with connection_on(target):
            return ""
    except PgtopError as error:
        return str(error)


NAMES = [
    ("localhost", ""),
    (HOST, ""),
    ("db1", f"DNS:{HOST}"),
    ("db1", f"IP:{HOST}"),
    (HOST, "DNS:db1"),
    (HOST, "IP:10.0.0.1"),
    ("db1", "DNS:*.example.com"),
    ("*.example.com", ""),
    ("DB1", "email:a@b.example"),
    ("db1", "IP:::1"),
]
"""Common names and alternative names."""

HOSTS = [
    "localhost",
    HOST,
    "db1",
    "DB1",
    "a.example.com",
    "a.b.example.com",
    "example.com",
    "::1",
    "10.0.0.1",
]


@pytest.mark.parametrize(("common", "alternative"), NAMES, ids=lambda each: each or "none")
async def test_a_certificate_is_for_the_hosts_that_it_is_to_psql(
    with_tls: ThrowawayServer, certificate: Path, tmp_path: Path, common: str, alternative: str
) -> None:
    path = new_certificate(tmp_path / "other.crt", common, alternative)
    await serve_certificate(with_tls, path)
    try:
        for host in HOSTS:
            where = f"host={host} hostaddr={HOST} port={with_tls.port} user={SUPERUSER} dbname=postgres"
            conninfo = f"{where} sslmode=verify-full sslrootcert={path}"
            reason = await gets_in(conninfo, tmp_path)
            assert (reason == "") == psql_gets_in(conninfo, tmp_path), (host, reason)
            assert not reason or host in reason
    finally:
        await serve_certificate(with_tls, certificate)


class Files(NamedTuple):
    """One way in which a user may have, or lack, the files."""

    sslmode: str
    certificate: str
    key: str
    root: str

    def conninfo(self, home: Path, client: Path, server_certificate: Path) -> str:
        """Lay the files out; what is to be said of them in a conninfo."""
        directory = home / ".postgresql"
        directory.mkdir()
        said = [f"sslmode={self.sslmode}"]
        for kind, there, name in (
            (self.certificate, client, "postgresql.crt"),
            (self.key, client.with_suffix(".key"), "postgresql.key"),
            (self.root, server_certificate, "root.crt"),
        ):
            option = {"postgresql.crt": "sslcert", "postgresql.key": "sslkey", "root.crt": "sslrootcert"}[
                name
            ]
            place = directory / name if kind in ("default", "exposed") else home / f"named.{name}"
            if kind not in ("none", "missing", "system"):
                shutil.copy(there, place)
                place.chmod(0o644 if kind == "exposed" else 0o600)
            if kind in ("named", "missing"):
                said.append(f"{option}={place}")
            if kind == "system":
                said.append(f"{option}=system")
        return " ".join(said)


MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
WAYS = [
    Files(*each)
    for each in itertools.product(
        MODES,
        ("none", "default", "named", "missing"),
        ("none", "default", "named", "missing", "exposed"),
        ("none", "default", "named", "system"),
    )
    if each[0] == "verify-full" or each[3] != "system"
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of the role `certified`."""
    return new_certificate(tmp_path_factory.mktemp("client") / "client.crt", CERTIFIED, "")


@pytest.fixture
async def asking(with_tls: ThrowawayServer, client: Path) -> AsyncIterator[ThrowawayServer]:
    """The server, where one role gets in with its certificate alone."""
    owner, hba = with_tls.data_dir.stat(), with_tls.data_dir / "pg_hba.conf"
    before = hba.read_text()
    there = with_tls.data_dir / "clients.crt"
    shutil.copy(client, there)
    os.chown(there, owner.st_uid, owner.st_gid)
    with_tls.settings["ssl_ca_file"] = there.name
    hba.write_text(f"hostssl all {CERTIFIED} all cert\nhostnossl all {CERTIFIED} all reject\n{before}")
    with_tls.restart()
    await execute(with_tls, f"DROP ROLE IF EXISTS {CERTIFIED}", f"CREATE ROLE {CERTIFIED} LOGIN")
    yield with_tls
    hba.write_text(before)
    del with_tls.settings["ssl_ca_file"]
    with_tls.restart()


@pytest.mark.parametrize("sslmode", MODES)
@pytest.mark.parametrize("user", [CERTIFIED, SUPERUSER])
async def test_certificates_and_keys_let_in_whom_they_let_in_with_psql(
    asking: ThrowawayServer,
    client: Path,
    certificate: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sslmode: str,
    user: str,
) -> None:
    """A role that needs its certificate, and one that needs none."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # the system's authorities
    where = f"host=localhost hostaddr={HOST} port={asking.port} user={user} dbname=postgres"
    for number, way in enumerate(each for each in WAYS if each.sslmode == sslmode):
        home = tmp_path / str(number)
        home.mkdir()
        conninfo = f"{where} {way.conninfo(home, client, certificate)}"
        reason = await gets_in(conninfo, home)
        assert (reason == "") == psql_gets_in(conninfo, home), (way, reason)


async def test_files_of_tls_keep_nobody_out_of_a_server_without(
    server: ThrowawayServer, client: Path, certificate: Path, tmp_path: Path
) -> None:
    """They are looked at once the server has agreed to TLS."""
    where = f"host=localhost hostaddr={HOST} port={server.port} user={SUPERUSER} dbname=postgres"
    for number, way in enumerate(each for each in WAYS if each.sslmode in ("disable", "allow", "prefer")):
        home = tmp_path / str(number)
        home.mkdir()
        assert await gets_in(f"{where} {way.conninfo(home, client, certificate)}", home) == ""


@pytest.fixture
def lax_certificate(tmp_path: Path) -> Path:
    """A certificate of version 1, which OpenSSL takes for an authority's unless it is told to be strict."""
    config = tmp_path / "openssl.cnf"
    config.write_text("[req]\ndistinguished_name=dn\n[dn]\n")
    path = new_certificate(tmp_path / "lax.crt", "localhost", "", "-config", str(config))
    strictly = ["openssl", "verify", "-x509_strict", "-CAfile", str(path), str(path)]
    assert subprocess.run(strictly, capture_output=True, check=False).returncode != 0
    return path


@pytest.mark.parametrize("root", ["named", "system"])
async def test_a_certificate_that_openssl_takes_is_taken(
    with_tls: ThrowawayServer,
    certificate: Path,
    lax_certificate: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    root: str,
) -> None:
    """Python 3.13 is stricter than libpq by default."""
    monkeypatch.setenv("SSL_CERT_FILE", str(lax_certificate))
    await serve_certificate(with_tls, lax_certificate)
    try:
        where = f"host=localhost hostaddr={HOST} port={with_tls.port} user={SUPERUSER} dbname=postgres"
        named = lax_certificate if root == "named" else root
        conninfo = f"{where} sslmode=verify-full sslrootcert={named}"
        assert await gets_in(conninfo, tmp_path) == ""
        assert psql_gets_in(conninfo, tmp_path)
    finally:
        await serve_certificate(with_tls, certificate)


async def test_a_bad_client_certificate_is_told(
    with_tls: ThrowawayServer, client: Path, tmp_path: Path
) -> None:
    """Each by its file, and with what to do."""
    where = f"host=localhost port={with_tls.port} user={SUPERUSER} dbname=postgres sslmode=require"
    key, other = client.with_suffix(".key"), new_certificate(tmp_path / "other.crt", "x", "")
    exposed = tmp_path / "exposed.key"
    shutil.copy(key, exposed)
    exposed.chmod(0o644)
    directory, junk = tmp_path / "keys", tmp_path / "junk.crt"
    directory.mkdir()
    junk.write_text("no certificate")
    for said, words in {
        f"sslcert={client} sslkey=/no/key": ("its private key /no/key is not", "sslcertmode=disable"),
        f"sslcert={client} sslkey={exposed}": (str(exposed), "chmod 600"),
        f"sslcert={client} sslkey={directory}": (str(directory), "not a regular file"),
        f"sslcert={client} sslkey={other.with_suffix('.key')}": ("cannot be used", "belongs to the other"),
        f"sslcert={junk} sslkey={key}": (str(junk), "cannot be used"),
        "sslrootcert=/no/root.crt": ("sslrootcert /no/root.crt cannot be read",),
        "sslmode=verify-ca": ("needs a root certificate", "sslrootcert"),
    }.items():
        reason = await gets_in(f"{where} {said}", tmp_path)
        assert all(word in reason for word in words), reason
    assert await gets_in(f"{where} sslcert={client} sslkey=/no/key sslcertmode=disable", tmp_path) == ""
