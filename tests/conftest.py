"""Fixtures for all tests: real servers, and the check that nothing of them is left at the end."""

import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import psutil
import pytest

from pgtop.demo.server import Auth, ThrowawayServer
from tests.servers import ServerPool, available, default_binaries, wait_until_sync


class ServerFactory(Protocol):
    """Starts a server with settings of its own; the newest version at hand unless one is named."""

    def __call__(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        version: int | None = None,
        auth: Auth = "trust",
    ) -> ThrowawayServer: ...


def pytest_report_header() -> str:
    """Says which versions the tests that want each of them will get."""
    return "PostgreSQL: " + ", ".join(f"{version} ({path})" for version, path in available().items())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `every_server` runs once on each major version at hand."""
    if "every_server" in metafunc.fixturenames:
        at_hand = list(available().values()) or [Path("missing")]
        names = [f"pg{version}" for version in available()] or ["missing"]
        metafunc.parametrize("every_server", at_hand, ids=names, indirect=True, scope="function")


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Gives this run a directory for temporary files of its own, and looks at the end what is left in it."""
    tmp_path_factory.getbasetemp()  # stays where pytest keeps the last few
    before, cached = os.environ.get("TMPDIR"), tempfile.tempdir
    # Short, for the sockets in it, and open to the user that servers run as when the suite runs as root.
    place = Path(tempfile.gettempdir(), f"throwaway-tests-{secrets.token_hex(4)}")
    place.mkdir()
    place.chmod(0o755 if os.geteuid() == 0 else 0o700)
    os.environ["TMPDIR"] = tempfile.tempdir = str(place)
    yield
    tempfile.tempdir = cached
    os.environ.pop("TMPDIR")
    if before is not None:
        os.environ["TMPDIR"] = before
    wait_until_sync(lambda: not _left(place), limit=20, complaint=f"left behind: {_left(place)}")
    place.rmdir()


def _left(place: Path) -> list[str]:
    """The files in a directory, and the processes other than this one that know of it."""
    found = [str(path) for path in place.iterdir()]
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            known = [*process.cmdline(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if any(str(place) in text for text in known):
            found.append(str(process))
    return found


@pytest.fixture(scope="session")
def server_pool(_nothing_is_left: None) -> Iterator[ServerPool]:
    """One long-lived server a version, each started when first asked for."""
    pool = ServerPool()
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def server(server_pool: ServerPool) -> ThrowawayServer:
    """The shared server that most tests run on: 100 connections, 3 of them reserved for superusers."""
    return server_pool.get(default_binaries())


@pytest.fixture
def every_server(request: pytest.FixtureRequest, server_pool: ServerPool) -> ThrowawayServer:
    """The shared server of each major version in turn."""
    return server_pool.get(request.param)


def _factory() -> Iterator[ServerFactory]:
    with ExitStack() as stack:

        def start(
            settings: Mapping[str, str] | None = None, *, version: int | None = None, auth: Auth = "trust"
        ) -> ThrowawayServer:
            if version is not None and version not in available():
                pytest.skip(f"no PostgreSQL {version} at hand: python -m tests.servers fetch")
            bin_dir = default_binaries() if version is None else available()[version]
            return stack.enter_context(ThrowawayServer(bin_dir, settings=settings, auth=auth))

        yield start


@pytest.fixture
def server_factory(_nothing_is_left: None) -> Iterator[ServerFactory]:
    """Starts special servers that end with the test."""
    yield from _factory()


@pytest.fixture(scope="module")
def module_server_factory(_nothing_is_left: None) -> Iterator[ServerFactory]:
    """Starts special servers that end with the module."""
    yield from _factory()
