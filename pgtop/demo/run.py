"""The demo as a whole: owns a throw-away server with a scenario playing on it, from start to end."""

import contextlib
import math
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import msgspec

from pgtop.demo import schema
from pgtop.demo.parameters import Parameters
from pgtop.demo.scenarios.catalogue import DEFAULT, SCENARIOS, Scenario
from pgtop.demo.server import HOST, ServerError, ThrowawayServer
from pgtop.errors import UsageError

FEWEST_CONNECTIONS = 20
"""The fewest connections of a demo: with fewer, the workload would fill the server even without the leak."""

MOST_CONNECTIONS = 2000
"""The most connections of a demo: each session is a process of the server."""

FASTEST_LEAK_SECONDS = 0.01

_ANOTHER_HOST = "127.0.0.2"
_SUPERUSER_RESERVED = 3
_RESERVED = 2
_SECONDS_TO_SET_UP = 60.0
_SECONDS_TO_END = 5.0
_SECONDS_BETWEEN_LOOKS = 1.0
_LOOKS_FOR_A_RESTART = 10
_WORKLOAD_LOG = "workload.log"


@dataclass(frozen=True)
class Demo:
    """A running demo."""

    server: ThrowawayServer
    uri: str
    """The login of pgtop, over TCP: a role that sees and terminates sessions, and is not a superuser."""
    socket_uri: str
    """The same over the Unix socket."""
    workload: "subprocess.Popen[bytes]"
    """The process that holds the sessions."""


@contextlib.contextmanager
def running_demo(
    *,
    max_connections: int = 60,
    leak_every_seconds: float = 2.0,
    scenario: Scenario = SCENARIOS[DEFAULT],
) -> Iterator[Demo]:
    """Run a server that fills up, for as long as the `with` block lasts.

    Raises UsageError for figures that make no demo, if there are no PostgreSQL programs, or if this system
    lacks the addresses that the scenario needs.
    """
    check(max_connections, leak_every_seconds)
    if scenario.needs_hosts:
        check_addresses(scenario)
    settings = {
        "max_connections": str(max_connections),
        "superuser_reserved_connections": str(_SUPERUSER_RESERVED),
    }
    server = ThrowawayServer(settings=settings, auth="scram-sha-256")
    slots = max_connections - _SUPERUSER_RESERVED
    if server.version >= 16:
        server.settings["reserved_connections"] = str(_RESERVED)
        slots -= _RESERVED
    password = secrets.token_urlsafe(18)
    with server:
        parameters = Parameters(
            admin_uri=server.socket_uri(),
            admin_password=server.password,
            host=HOST,
            port=server.port,
            password=password,
            version=server.version,
            slots=slots,
            leak_every_seconds=leak_every_seconds,
            scenario=scenario.name,
        )
        with _workload(server, parameters) as workload:
            yield Demo(
                server=server,
                uri=server.uri(user=schema.OPERATOR, database=schema.DATABASE, password=password),
                socket_uri=server.socket_uri(user=schema.OPERATOR, database=schema.DATABASE),
                workload=workload,
            )


def check(max_connections: int, leak_every_seconds: float) -> None:
    """Raise UsageError for figures that make no demo."""
    if not FEWEST_CONNECTIONS <= max_connections <= MOST_CONNECTIONS:
        raise UsageError(
            f"--max-connections {max_connections} is not between {FEWEST_CONNECTIONS} and {MOST_CONNECTIONS}",
            f"the workload needs {FEWEST_CONNECTIONS} without any leak, and each one is a process",
        )
    if not FASTEST_LEAK_SECONDS <= leak_every_seconds < math.inf:
        raise UsageError(
            f"--leak-every {leak_every_seconds:g} s is too fast",
            f"give a duration of at least {FASTEST_LEAK_SECONDS * 1000:g}ms, such as 2s",
        )


def check_addresses(scenario: Scenario) -> None:
    """Raise UsageError if clients cannot come from several addresses of the loopback."""
    with socket.socket() as probe:
        try:
            probe.bind((_ANOTHER_HOST, 0))
        except OSError as error:
            raise UsageError(
                f"scenario {scenario.name} needs clients from several addresses, and the loopback of "
                f"this system has only one ({_ANOTHER_HOST}: {error.strerror})",
                "run it on Linux, or choose another --scenario",
            ) from error


@contextlib.contextmanager
def _workload(server: ThrowawayServer, parameters: Parameters) -> Iterator["subprocess.Popen[bytes]"]:
    with (server.directory / _WORKLOAD_LOG).open("wb") as log:
        process = subprocess.Popen(
            # -P: no file in the current directory may be imported as a module.
            [sys.executable, "-P", "-m", "pgtop.demo.workload"],
            env={**_without_libpqs(os.environ), "PYTHONPATH": _python_path()},
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a process started with pipes has none")
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(msgspec.json.encode(parameters) + b"\n")
        ready, _, _ = select.select([process.stdout], [], [], _SECONDS_TO_SET_UP)
        if not ready or process.stdout.readline() != b"ready\n":
            raise ServerError(f"the demo's workload did not start: {_last_words(server)}")
        yield process
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _last_words(server: ThrowawayServer) -> str:
    text = (server.directory / _WORKLOAD_LOG).read_text(errors="replace")
    return (text.strip().splitlines() or ["it said nothing"])[-1]


def _without_libpqs(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables except those that the driver reads, as libpq does: they are for other servers."""
    return {name: value for name, value in environment.items() if not name.startswith("PG")}


def _python_path() -> str:
    """Return a PYTHONPATH on which the child process finds this very package, installed or not."""
    here = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))


def wait_for_signal(demo: Demo) -> None:
    """Print the connection URI and stay until SIGINT, SIGTERM or SIGHUP.

    An ignored SIGHUP (nohup) stays ignored. Raises ServerError if the workload ends by itself, or if the
    server does and is not started again.
    """
    # A pipe rather than a threading.Event, whose lock is not reentrant: a handler that runs while this very
    # thread is about to wait for the event would never return.
    reader, writer = os.pipe()

    def note(_number: int, _frame: FrameType | None) -> None:
        os.write(writer, b"\0")

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        sys.stdout.write(f"{demo.uri}\n")
        sys.stdout.flush()
        looks_down = 0
        while not select.select([reader], [], [], _SECONDS_BETWEEN_LOOKS)[0]:
            # The server may be restarted from outside, to try what that does to pgtop.
            looks_down = 0 if demo.server.is_up else looks_down + 1
            if looks_down > _LOOKS_FOR_A_RESTART:
                raise ServerError(f"the demo's server ended by itself: {demo.server.log_tail()}")
            if demo.workload.poll() is not None:
                raise ServerError(f"the demo's workload ended by itself: {_last_words(demo.server)}")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
