"""Fixtures of these tests: a server with TLS."""

from pathlib import Path

import pytest

from pgtop.demo.server import ThrowawayServer
from tests.conftest import ServerFactory
from tests.servers import available
from tests.support.tls import lay_certificate, new_certificate


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost; its key lies beside it."""
    return new_certificate(tmp_path_factory.mktemp("tls") / "server.crt", "localhost", "DNS:localhost")


def _knows_tls(program: Path) -> bool:
    return b"libssl" in program.resolve().read_bytes()


@pytest.fixture(scope="module")
def with_tls(module_server_factory: ServerFactory, certificate: Path) -> ThrowawayServer:
    """A server with that certificate."""
    able = [version for version, path in available().items() if _knows_tls(path / "postgres")]
    if not able:
        pytest.skip("no PostgreSQL at hand is built with TLS")
    server = module_server_factory(version=able[-1])
    lay_certificate(server, certificate)
    server.settings["ssl"] = "on"
    server.restart()
    return server
