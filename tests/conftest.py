"""Fixtures for all tests: real servers, and the check that nothing of them is left at the end."""

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import psutil
import pytest

from pgtop.demo.server import Auth, ThrowawayServer
from tests.servers import ServerPool, available, default_binaries, wait_until_sync
from tests.support.clusters import ClusterTemplates, CopiedServer
from tests.support.filling import TWENTY_SLOTS
from tests.support.forking import FORKS
from tests.support.hosting import client_titles

# pytest-xdist says how large its terminal is, and a program that a test starts on one of its own would
# believe that; an unbuffered standard output is not that of a user.
for _variable in ("COLUMNS", "LINES", "PYTHONUNBUFFERED"):
    os.environ.pop(_variable, None)

_MEMORY = Path("/dev/shm")  # noqa: S108 (a random name is made in it)
_ROOM_IN_MEMORY = 6 * 1024**3


class ServerFactory(Protocol):
    """A factory of servers with settings of their own: the newest version at hand unless one is named."""

    def __call__(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        version: int | None = None,
        auth: Auth = "trust",
    ) -> ThrowawayServer: ...


def pytest_configure() -> None:
    """Take signals as a program in a terminal does, also below `nohup` or in the background of a shell.

    Both have some ignored, and every program that the tests start would go on ignoring them.
    """
    for ignored, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(ignored) is signal.SIG_IGN:
            signal.signal(ignored, usual)


def pytest_report_header() -> str:
    """Report the server versions that the tests for every version will get."""
    return "PostgreSQL: " + ", ".join(f"{version} ({path})" for version, path in available().items())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `every_server` runs once on each major version at hand."""
    if "every_server" in metafunc.fixturenames:
        at_hand = list(available().values()) or [Path("missing")]
        names = [f"pg{version}" for version in available()] or ["missing"]
        metafunc.parametrize("every_server", at_hand, ids=names, indirect=True, scope="function")


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give this run its own directory for temporary files, and check at the end what is left in it."""
    tmp_path_factory.getbasetemp()  # stays where pytest keeps the last few
    before, cached = os.environ.get("TMPDIR"), tempfile.tempdir
    # Short, for the sockets in it, and open to the user that servers run as when the suite runs as root.
    place = Path(_place_of_servers(), f"throwaway-tests-{secrets.token_hex(4)}")
    place.mkdir()
    place.chmod(0o755 if os.geteuid() == 0 else 0o700)
    os.environ["TMPDIR"] = tempfile.tempdir = str(place)
    yield
    FORKS.close()
    tempfile.tempdir = cached
    os.environ.pop("TMPDIR")
    if before is not None:
        os.environ["TMPDIR"] = before
    wait_until_sync(lambda: not _left(place), limit=20, complaint=f"left behind: {_left(place)}")
    place.rmdir()


def _place_of_servers() -> str:
    """Prefer memory: a suite makes hundreds of clusters, and none needs to outlive it."""
    chosen = "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK | os.X_OK)
    if chosen or shutil.disk_usage(_MEMORY).free < _ROOM_IN_MEMORY:
        return tempfile.gettempdir()
    return str(_MEMORY)


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


@pytest.fixture(scope="session", autouse=True)
def _modules_are_compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the bytecode of what the tests start where the workers share it, if the tree is to have none.

    Each of hundreds of programs would compile pgtop's modules, which takes longer than most of them run.
    """
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("PYTHONDONTWRITEBYTECODE"):
            patch.delenv("PYTHONDONTWRITEBYTECODE")
            place = tmp_path_factory.getbasetemp()
            shared = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place
            patch.setenv("PYTHONPYCACHEPREFIX", str(shared / "bytecode"))
        yield


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


@pytest.fixture(scope="session")
def _templates(_nothing_is_left: None) -> Iterator[ClusterTemplates]:
    templates = ClusterTemplates()
    yield templates
    templates.close()


def _factory(templates: ClusterTemplates) -> Iterator[ServerFactory]:
    """Start copies of a cluster, but one a version: two servers of a test must be told apart."""
    copied: set[Path] = set()
    with ExitStack() as stack:

        def start(
            settings: Mapping[str, str] | None = None, *, version: int | None = None, auth: Auth = "trust"
        ) -> ThrowawayServer:
            if version is not None and version not in available():
                pytest.skip(f"no PostgreSQL {version} at hand: python -m tests.servers fetch")
            bin_dir = default_binaries() if version is None else available()[version]
            if bin_dir in copied:
                return stack.enter_context(ThrowawayServer(bin_dir, settings=settings, auth=auth))
            copied.add(bin_dir)
            return stack.enter_context(CopiedServer(templates.of(bin_dir, auth), settings=settings))

        yield start


@pytest.fixture
def server_factory(_templates: ClusterTemplates) -> Iterator[ServerFactory]:
    """Start special servers that end with the test."""
    yield from _factory(_templates)


@pytest.fixture(scope="module")
def module_server_factory(_templates: ClusterTemplates) -> Iterator[ServerFactory]:
    """Start special servers that end with the module."""
    yield from _factory(_templates)


@pytest.fixture
def no_other_sessions(request: pytest.FixtureRequest) -> None:
    """Wait until programs that earlier tests killed have left the shared server: it notices a moment later.

    It is for the tests of plans that are made from the host: those are about all sessions, whosever.
    """
    for name in sorted({"server", "every_server"} & set(request.fixturenames)):
        shared = request.getfixturevalue(name)
        there = client_titles(shared)
        wait_until_sync(lambda shared=shared: not client_titles(shared), complaint=f"still there: {there}")


@pytest.fixture
def small(server_factory: ServerFactory) -> ThrowawayServer:
    """A server of 20 slots of the test's own: 16 sessions are on the line."""
    return server_factory(TWENTY_SLOTS)


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    """Where the test's audit log is kept."""
    return tmp_path / "audit.jsonl"
