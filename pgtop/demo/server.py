"""A throw-away PostgreSQL server: owns its directory, its process and its end.

The demo shows such a server, and the test suite runs on them. A server listens on a free port of the
loopback and on a Unix socket. Whatever ends the program that started it, the janitor removes the rest.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote, urlencode

from pgtop.demo.account import plain_environment, readable_binaries, server_account, temporary_place
from pgtop.demo.binaries import find_binaries, major_version
from pgtop.demo.leftovers import Janitor
from pgtop.errors import PgtopError
from pgtop.postgres.host.lock_files import read_plain_file

SUPERUSER = "postgres"
"""The name of every throw-away server's superuser."""

HOST = "127.0.0.1"
"""The address on which every throw-away server listens for TCP."""

NETWORK = "127.0.0.0/8"
"""The addresses that clients may come from: those of the loopback stand for hosts."""

Auth = Literal["trust", "scram-sha-256"]

_SECONDS_TO_START = 60.0
_SECONDS_TO_STOP = 10.0
_SECONDS_BETWEEN_LOOKS = 0.02
_PORTS_TO_TRY = 20
_LONGEST_SOCKET_PATH = 100
"""The longest path in bytes; the kernel's limit is 107 on Linux and 103 on macOS."""
_ODD = b',"$`\\\n'
_SHORT_PLACE = Path("/tmp")  # noqa: S108 (a random name is made in it)
_LOG_LINES = 6
_LONGEST_LOCK_FILE = 16_384
_ALWAYS = {
    "dynamic_shared_memory_type": "mmap",  # its files lie in the data directory, not in /dev/shm
    "fsync": "off",
    "full_page_writes": "off",
    "jit": "off",
    "listen_addresses": HOST,
    "logging_collector": "off",
    "max_wal_size": "128MB",
    "shared_buffers": "16MB",
    "synchronous_commit": "off",
}
_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

StopMode = Literal["smart", "fast", "immediate"]


class ServerError(PgtopError):
    """A throw-away server that did not start or stop."""


class PortTakenError(ServerError):
    """A port that was taken between the choice and the start."""


class ThrowawayServer:
    """A private PostgreSQL server, gone when the `with` block is left or the program ends.

    Started by root, the server runs as `nobody`. With `auth="scram-sha-256"` TCP asks for a password (the
    superuser's is `password`); the socket, in a directory that only its owner may enter, never does.
    """

    def __init__(
        self,
        bin_dir: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        auth: Auth = "trust",
    ) -> None:
        """Set up the server; nothing is started yet.

        `settings` are server settings; `bin_dir` is searched for if None.
        """
        self.bin_dir = bin_dir or find_binaries()
        """The directory in which the programs were found."""
        self.program_dir = self.bin_dir
        """The directory from which they run: a copy if the server's user may not read the first."""
        version = major_version(self.bin_dir)
        if version is None:
            raise ServerError(f"{self.bin_dir} has no PostgreSQL server that runs")
        self.version: int = version
        """The major version."""
        self.settings = dict(settings or {})
        """Server settings; a change counts from the next start."""
        self.password = secrets.token_urlsafe(18) if auth == "scram-sha-256" else ""
        """The superuser's password; empty if none is asked for."""
        self.auth: Auth = auth
        """The way in which TCP asks for passwords."""
        self._account = server_account()
        self._process: subprocess.Popen[bytes] | None = None
        self._janitor: Janitor | None = None
        self._port = 0
        # The paths are chosen before anything is made, since the janitor has to know them first.
        name = f"throwaway-postgres-{secrets.token_hex(4)}"
        self.directory = temporary_place(self._account) / name
        """The directory of the whole server, except for the socket if clients could not use its path."""
        self.socket_dir = self.directory / "socket"
        """The directory of the Unix socket."""
        socket_path = os.fsencode(self.socket_dir / ".s.PGSQL.65535")
        # A client takes a comma for the end of one host and the beginning of the next, and initdb gives the
        # path of its programs, which may have to be copied, to a shell between double quotes.
        if len(socket_path) > _LONGEST_SOCKET_PATH or set(socket_path) & set(_ODD):
            self.socket_dir = _SHORT_PLACE / name

    @property
    def data_dir(self) -> Path:
        """The data directory."""
        return self.directory / "data"

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self.directory / "log"

    @property
    def port(self) -> int:
        """The port, of TCP and of the socket's name; chosen at the first start."""
        return self._port

    @property
    def pid(self) -> int | None:
        """The postmaster's process id; None while it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def is_up(self) -> bool:
        """True while a server runs on the data: this program's, or one that was started from outside."""
        if self.pid is not None:
            return True
        try:
            os.kill(int(self._lock_lines()[0]), 0)
        except PermissionError:
            return True
        except (OSError, ValueError, OverflowError, IndexError):
            return False
        return True

    def _lock_lines(self) -> list[str]:
        """Return the lines of the server's lock file; none if there is no plain file in its place.

        The server's user may put anything there, and a pipe would block for ever.
        """
        try:
            said = read_plain_file(
                str(self.data_dir / "postmaster.pid"), _LONGEST_LOCK_FILE, self._account.uid
            )
        except OSError:
            return []
        return said.decode("utf-8", "replace").splitlines()

    def uri(self, *, user: str = SUPERUSER, database: str = "postgres", password: str | None = None) -> str:
        """Return a connection URI over TCP; the superuser's password is filled in."""
        if password is None and user == SUPERUSER:
            password = self.password
        secret = f":{quote(password, safe='')}" if password else ""
        return f"postgresql://{quote(user, safe='')}{secret}@{HOST}:{self.port}/{quote(database, safe='')}"

    def socket_uri(self, *, user: str = SUPERUSER, database: str = "postgres") -> str:
        """Return a connection URI over the Unix socket."""
        place = urlencode({"host": str(self.socket_dir), "port": self.port}, quote_via=quote)
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?{place}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the server and wait until it accepts connections; do nothing if it runs already."""
        if self.pid is not None:
            return
        if self._janitor is None:
            with self._closed_on_error():
                self.make()
                self._start_on_a_free_port()
        else:
            self._run()

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server as `pg_ctl stop -m` would; its data stay, and `start` brings it back."""
        process = self._process
        if process is None:
            return
        for number in (_SIGNALS[mode], signal.SIGQUIT, signal.SIGKILL):
            if process.poll() is not None:
                break
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_SECONDS_TO_STOP)
        self._process = None

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and start, on the same port."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stop the server and remove all that is left of it."""
        janitor, self._janitor = self._janitor, None
        if janitor is None:
            return
        self.stop()
        if (self.data_dir / "postmaster.pid").exists():
            janitor.take_over()  # it was killed, and left shared memory
            return
        for place in {self.directory, self.socket_dir}:
            shutil.rmtree(place, ignore_errors=True)
        if self.directory.exists() or self.socket_dir.exists():
            janitor.take_over()
        else:
            janitor.dismiss()

    def log_tail(self, lines: int = _LOG_LINES) -> str:
        """Return the last lines of the server's log."""
        try:
            text = self.log_path.read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    @contextlib.contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def make(self) -> None:
        """Create the directories and the cluster, and start nothing; `close` removes them."""
        self._janitor = Janitor(self.directory, self.socket_dir, self._account.popen)
        for place in (self.directory, self.data_dir, self.socket_dir):
            place.mkdir(mode=0o700)
        self.program_dir = readable_binaries(self._account, self.bin_dir, self.socket_dir / "programs")
        secret = self.directory / "password"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(secret, flags, 0o600), "w") as file:
            file.write(f"{self.password or 'unused'}\n")
        self._account.own(secret)
        # The logs stay with the user who starts this, in a directory of their own: if that is root, no other
        # user may decide where root writes. What is handed over is written by the server alone.
        for place in (self.data_dir, self.socket_dir):
            self._account.own(place)
        self._account.let_pass(self.directory)
        self.make_cluster(secret)

    def make_cluster(self, password_file: Path) -> None:
        """Fill the data directory, which exists, is empty, and belongs to the server's user."""
        arguments = ["-D", str(self.data_dir), "-U", SUPERUSER, "--encoding=UTF8", "--no-locale"]
        arguments += ["--auth-local=trust", f"--auth-host={self.auth}", f"--pwfile={password_file}"]
        initdb = self._spawn("initdb", [*arguments, "--no-sync", "--no-instructions"])
        try:
            if initdb.wait(_SECONDS_TO_START) != 0:
                raise ServerError(f"initdb of PostgreSQL {self.version} failed: {self.log_tail()}")
        finally:
            if initdb.poll() is None:
                initdb.terminate()
                initdb.wait()
        # As its owner: root does not write into a directory of another user, who may have put a link there.
        self._account.append(f"host all all {NETWORK} {self.auth}", self.data_dir / "pg_hba.conf")

    def _start_on_a_free_port(self) -> None:
        for _ in range(_PORTS_TO_TRY):
            self._port = free_port()
            with contextlib.suppress(PortTakenError):
                return self._run()
        raise ServerError(f"no free port was found on {HOST}")

    def _run(self) -> None:
        settings = {
            **_ALWAYS,
            **self.settings,
            "port": str(self.port),
            # A list of quoted names: a space or a quote in one does not separate.
            "unix_socket_directories": '"' + str(self.socket_dir).replace('"', '""') + '"',
        }
        begun_at = self.log_path.stat().st_size
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = self._spawn("postgres", ["-D", str(self.data_dir), *options])
        wait_for(lambda: self._is_ready(begun_at), _SECONDS_TO_START, self._complaint)

    def _is_ready(self, log_begun_at: int) -> bool:
        """Return whether connections are accepted, judged by the lock file's last line, as pg_ctl does."""
        process = self._process
        if process is None or process.poll() is not None:
            with self.log_path.open("rb") as log:
                log.seek(log_begun_at)
                if b"could not create any TCP/IP sockets" in log.read():
                    raise PortTakenError(f"port {self.port} is taken")
            raise ServerError(self._complaint())
        lines = self._lock_lines()
        return len(lines) > 7 and lines[0] == str(process.pid) and lines[7].strip() == "ready"

    def _complaint(self) -> str:
        return f"PostgreSQL {self.version} from {self.bin_dir} did not start: {self.log_tail()}"

    def _spawn(self, program: str, arguments: list[str]) -> "subprocess.Popen[bytes]":
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(
                [str(self.program_dir / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=plain_environment(),
                start_new_session=True,
                umask=0o077,
                **self._account.popen,
            )
        if self._janitor is not None:
            self._janitor.tell(process.pid)
        return process


def free_port() -> int:
    """Return a port of the loopback on which nothing listens just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], bool], limit_seconds: float, complaint: Callable[[], str]) -> None:
    """Wait until the condition holds; raise ServerError with the complaint at the limit."""
    deadline = time.monotonic() + limit_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ServerError(complaint())
        time.sleep(_SECONDS_BETWEEN_LOOKS)
