"""Fixtures of these tests: a server with TLS."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pgtop.demo.server import ThrowawayServer
from tests.conftest import ServerFactory
from tests.servers import available

_NEW_CERTIFICATE = (
    *("req", "-new", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
    *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"),
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost; its key lies beside it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl on this machine to make a certificate")
    path = tmp_path_factory.mktemp("tls") / "server.crt"
    subprocess.run(
        [openssl, *_NEW_CERTIFICATE, "-keyout", str(path.with_suffix(".key")), "-out", str(path)],
        check=True,
        capture_output=True,
    )
    return path


def _knows_tls(program: Path) -> bool:
    return b"libssl" in program.resolve().read_bytes()


@pytest.fixture(scope="module")
def with_tls(module_server_factory: ServerFactory, certificate: Path) -> ThrowawayServer:
    """A server with that certificate."""
    able = [version for version, path in available().items() if _knows_tls(path / "postgres")]
    if not able:
        pytest.skip("no PostgreSQL at hand is built with TLS")
    server = module_server_factory(version=able[-1])
    owner = server.data_dir.stat()
    for name in (certificate, certificate.with_suffix(".key")):
        there = server.data_dir / name.name
        shutil.copy(name, there)
        there.chmod(0o600)
        os.chown(there, owner.st_uid, owner.st_gid)
    server.settings["ssl"] = "on"
    server.restart()
    return server
