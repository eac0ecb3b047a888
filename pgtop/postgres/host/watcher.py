"""A server seen from its own host, without a slot: the sessions in its slots, their activity and idle time.

`HostWatcher(server)` is kept for as long as somebody looks; `look()` gives a `HostView`, whose `snapshot` has
the same shape as a poll's. Times are by this host's clock, and steps of that clock change nothing between two
looks of one watcher.

- Over TCP the idle age is the time since the kernel last sent data on the backend's socket.
- Over a Unix socket it is a lower bound (`Backend.idle_at_least`): the time since the process last had a
  processor (`host.last_run`). Where the kernel does not tell that, it is the time for which this watcher has
  seen the process rest; each look lets that bound grow, with no sleep. The socket of a client in another
  network, as in a container, is not told of here, and is not needed for that.
- Where a TCP socket is not found, `state_change` is None.

A child of the postmaster is a client's by the connection that it holds, not by its title: see
`titles.kind_of`. One whose title says `idle` is taken for active while it runs, and while it has not
answered what it was sent: a title lags behind the work, by a second where a long statement is parsed.

Nothing here sends a signal: that is `host.terminate.HostTerminator`, for `pgtop.reaping.reaper.Reaper`.
Every call blocks: none is for a thread that runs an event loop.
"""

import os
import re
import signal
import time
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from pgtop.core.activity import (
    ACTIVE,
    DISABLED,
    IDLE,
    IN_TRANSACTION,
    MICROSECONDS,
    PGTOP_PREFIX,
    STARTING,
    Backend,
    BackendId,
    Limits,
    Privileges,
    Server,
    ServerIdentity,
    Snapshot,
)
from pgtop.core.break_glass_plan import stalled_logins_hint
from pgtop.errors import ConnectError, NotPermittedError
from pgtop.postgres.host import proc
from pgtop.postgres.host.last_run import RunClock
from pgtop.postgres.host.pgtop_sessions import OwnKind, own_kind, trusted_users
from pgtop.postgres.host.proc import Process
from pgtop.postgres.host.server_settings import limits_of, pending_note
from pgtop.postgres.host.servers import ClosedError, HostServer, system_identifier, user_name
from pgtop.postgres.host.sockets import ClientSockets, TcpSocket, UnixSocket
from pgtop.postgres.host.titles import (
    Kind,
    Signs,
    Title,
    cluster_prefix,
    kind_of,
    may_be_walsender,
    read_title,
    unread_title,
)

SENT_TOLERANCE_MICROSECONDS: Final = 400_000
"""Two readings of when data was last sent that differ by less tell of the same moment.

A busy host may let so much time pass between a question and its answer. Well below the least age that can be
asked for, 1 s: a session that sent something since it was planned is further away.
"""

_VERSION: Final = re.compile("[0-9]{1,9}")
_STARTUP: Final = "startup"
_SILENT: Final = "silent"
_TITLE_SETTLES_SECONDS: Final = 0.05


class Connecting(msgspec.Struct, frozen=True):
    """A client that is not let in yet; but for `silent` ones it holds a slot."""

    pid: int
    address: str | None
    """None over a Unix socket."""
    port: int | None
    since: int
    """The start time of its process, in microseconds since the Unix epoch."""
    phase: str
    """`silent` (it has sent nothing), `initializing` or `authentication`."""
    names: str
    """User and database, where it has told them."""


class HostView(msgspec.Struct, frozen=True):
    """A server at one moment, as the host shows it."""

    snapshot: Snapshot
    """The clients that are connecting count, but for the silent ones, in state `starting`."""
    connecting: tuple[Connecting, ...]
    """The longest first."""
    silent: tuple[Backend, ...] = ()
    """Those that have sent nothing so far: they hold no slot, and are not in the snapshot."""
    notes: tuple[str, ...] = ()
    """Notes for a person on what could not be seen, printable."""
    untimed: frozenset[int] = frozenset()
    """The pids of sessions whose idle age grows only while they are watched: the kernel does not tell it."""

    @property
    def has_limits(self) -> bool:
        """True if the number of slots is known."""
        return self.snapshot.server.limits.are_known


class Mark(msgspec.Struct, frozen=True):
    """The facts about a client's process that one look remembers until the next."""

    started_ticks: int
    who: tuple[str, str | None, int | None]
    """Names, host and port of its title."""
    state_change: int | None
    last_run: bytes | None = None
    """See `proc.last_run`; not over TCP."""
    command_line: bytes = b""
    inode: int | None = None
    """Its socket's; None where that was not found. Others may have the same client's address and port."""
    is_timed: bool = False
    """True where the kernel told when it last ran; not over TCP."""


class _Client(NamedTuple):
    """A process that serves a client."""

    process: Process
    title: Title
    is_clear: bool
    """False where its title does not tell what it does."""
    socket: TcpSocket | UnixSocket | None


_SILENT_TITLE: Final = Title("", None, None, "")


class HostWatcher:
    """Look at one server of this host again and again."""

    def __init__(self, server: HostServer, settings: dict[str, str] | None = None) -> None:
        """`settings` are the answers of `server_settings.ask_settings`; without them, slots are unknown.

        Raises NotPermittedError where titles tell nothing, or the server's sockets cannot be seen from here.
        """
        self.server = server
        answers = settings or {}
        self._limits: Limits = limits_of(answers)
        pending = pending_note(answers)
        self._notes = () if pending is None else (pending,)
        version = answers.get("server_version_num", "")
        self._version_num = int(version) if _VERSION.fullmatch(version) else 0
        self._system_identifier = system_identifier(server)
        self._epoch = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        self._marks: dict[BackendId, Mark] = {}
        self.prefix = ""
        """The prefix of the server's titles; "" before the first look."""
        if answers.get("update_process_title") == "off":
            raise titles_off_error()
        refuse_other_network(server)

    @property
    def now(self) -> int:
        """This host's clock, microseconds since the Unix epoch, without the steps since the watcher began."""
        return round((self._epoch + time.clock_gettime(time.CLOCK_BOOTTIME)) * MICROSECONDS)

    def mark(self, identity: BackendId) -> Mark | None:
        """Return what the last look saw of a session; None if the session was not there."""
        return self._marks.get(identity)

    def read_process(self, pid: int) -> Process | None:
        """One process of the server's user; None where it is gone, or another has its number by now."""
        return proc.read_process(pid, frozenset({self.server.uid}))

    def look(self) -> HostView:
        """Look once.

        Raises ConnectError where the server is gone or does not take clients, NotPermittedError where its
        processes may not be looked into or their titles tell nothing.
        """
        begun = time.perf_counter()
        seen = proc.processes(trusted_users(self.server, os.environ))
        postmaster, children = self._family(seen)
        try:
            kind = own_kind(seen, self.server)
            # Ages are by the moment of asking: to read hundreds of processes takes a while.
            asked_at = self.now
            around = ClientSockets(self.server.port)
            clients, silent, others = self._parted(postmaster, children, around)
        except PermissionError as error:
            raise ClosedError(self.server.uid) from error
        clock = RunClock()
        found = [self._backend(each, kind, asked_at, clock) for each in clients]
        mute = [self._silent(each, kind) for each in silent]
        self._marks = {backend.id: mark for backend, mark in (*found, *mute)}
        backends = tuple(backend for backend, _ in found)
        snapshot = Snapshot(
            server=self._server(others),
            privileges=Privileges(user_name(os.geteuid()), is_superuser=True, may_signal=True),
            taken_at=asked_at,
            poll_seconds=time.perf_counter() - begun,
            own_pid=0,
            backends=backends,
        )
        said_nothing = tuple(backend for backend, _ in mute)
        connecting = _connecting(clients, backends, said_nothing)
        untimed = frozenset(each.pid for each, mark in found if each.idle_at_least and not mark.is_timed)
        return HostView(snapshot, connecting, said_nothing, (*self._notes, *kind.notes), untimed)

    def _parted(
        self, postmaster: Process, children: list[Process], around: ClientSockets
    ) -> tuple[list[_Client], list[_Client], list[Process]]:
        """The clients, those of them apart that have sent nothing, and all other processes.

        Raises PermissionError where their sockets may not be seen, NotPermittedError as `look` does.
        """
        clients, silent, others = [], [], []
        # A child that has just begun holds these too, whatever it will be, and not its client's alone.
        common = proc.socket_inodes(postmaster.pid)
        for process in children:
            inodes = proc.socket_inodes(process.pid)
            held = around.of(inodes)
            if inodes - common and process.command_line == postmaster.command_line:
                silent.append(_Client(process, _SILENT_TITLE, True, held[0] if len(held) == 1 else None))
            elif (client := self._client(process, held)) is not None:
                clients.append(client)
            else:
                others.append(process)
        return clients, silent, others

    def _client(self, process: Process, held: list[TcpSocket | UnixSocket]) -> _Client | None:
        """The client's process that this is; None where it is another one. Raises NotPermittedError."""
        kind = kind_of(process.title, self.prefix, self._signs(process, bool(held)))
        if kind is Kind.OTHER or (not held and self.read_process(process.pid) is None):
            return None
        title = read_title(process.title, self.prefix)
        # One that is cut off lacks its activity for that reason, as by a long name of whoever logs in.
        if kind is Kind.CLIENT and title is not None and not title.activity and not process.is_cut_off:
            settled = self._settled(process)
            if settled is None:
                return None
            process = settled
            title = read_title(process.title, self.prefix)
        found = [each for each in held if title is not None and _is_told_by(title, each)]
        if kind is Kind.UNCLEAR or title is None or process.is_cut_off or (held and not found):
            only = held[0] if len(held) == 1 else None
            return _Client(process, unread_title(process.title, self.prefix), False, only)
        return _Client(process, title, True, found[0] if len(found) == 1 else None)

    def _signs(self, process: Process, holds_connection: bool) -> Signs:
        if not may_be_walsender(process.title, self.prefix):
            return Signs(holds_connection)
        return Signs(holds_connection, *takes_usr2(process.pid))

    def _family(self, seen: list[Process]) -> tuple[Process, list[Process]]:
        """The postmaster and its children, whose prefix is learnt. Raises ConnectError."""
        postmaster = next((each for each in seen if each.pid == self.server.pid), None)
        if postmaster is None or postmaster.started_ticks != self.server.started_ticks:
            raise ConnectError(f"the server on port {self.server.port} is gone", "look at its log")
        # As the first process of a container it gets everybody's orphans there.
        own = {self.server.uid}
        children = [each for each in seen if each.parent == self.server.pid and proc.users(each.pid) == own]
        prefix = cluster_prefix(each.title for each in children)
        if prefix is None:
            raise ConnectError(
                f"the server on port {self.server.port} starts or stops, or its process titles are cut off",
                "look at its log",
            )
        self.prefix = prefix
        return postmaster, children

    def _settled(self, process: Process) -> Process | None:
        """Return a client's process a moment later: it may be between its first title and its activity.

        Returns None if it is gone. Raises NotPermittedError if its title has no activity even then, although
        it is not cut off.
        """
        time.sleep(_TITLE_SETTLES_SECONDS)
        again = self.read_process(process.pid)
        if again is None or again.started_ticks != process.started_ticks:
            return None
        title = read_title(again.title, self.prefix)
        if title is not None and not title.activity and not again.is_cut_off:
            raise titles_off_error()
        return again

    def started(self, process: Process) -> int:
        """Return the start time of a process, in microseconds since the Unix epoch."""
        return round((self._epoch + process.started_ticks / proc.TICKS_PER_SECOND) * MICROSECONDS)

    def _backend(self, client: _Client, kind: OwnKind, now: int, clock: RunClock) -> tuple[Backend, Mark]:
        process, title, is_clear, found = client
        plain = self._connected(client, kind)
        before = self._marks.get(plain.id)
        state = title.state if is_clear else DISABLED
        if state == IDLE and (process.is_at_work or (found is not None and found.is_unanswered)):
            state = ACTIVE
        is_local = isinstance(found, UnixSocket) or (found is None and title.port is None)
        ran = proc.last_run(process.pid) if is_local else None
        change: int | None = None
        is_timed = False
        if isinstance(found, TcpSocket):
            change = now - found.sent_milliseconds_ago * 1000
            if (
                before
                and before.state_change
                and abs(change - before.state_change) < SENT_TOLERANCE_MICROSECONDS
            ):
                change = before.state_change
        elif ran and before is not None and before.last_run == ran:
            change, is_timed = before.state_change, before.is_timed
        elif ran:
            since = clock.seconds_since_run(process.pid)
            is_timed = since is not None
            begun = self.started(process)
            change = max(begun, self.now - round((since or 0.0) * MICROSECONDS))
        is_resting = state == IDLE or state in IN_TRANSACTION
        readings = title.readings
        user, database = readings[0] if len(readings) == 1 else (title.names, None)
        backend = replace(
            plain,
            state_change=change if is_resting else None,
            state=state,
            wait_event_type=title.waits_for,
            usename=user,
            datname=database,
            idle_at_least=plain.client_port == -1 and is_resting,
            readings=readings if len(readings) > 1 else (),
        )
        return backend, Mark(
            process.started_ticks,
            _who(title),
            change,
            ran,
            process.command_line,
            None if found is None else found.inode,
            is_timed,
        )

    def _silent(self, client: _Client, kind: OwnKind) -> tuple[Backend, Mark]:
        process, title, _, _ = client
        mark = Mark(process.started_ticks, _who(title), None, None, process.command_line)
        return replace(self._connected(client, kind), holds_slot=False), mark

    def _connected(self, client: _Client, kind: OwnKind) -> Backend:
        """Return a client without the state and the names that its title may show."""
        process, title, _, found = client
        address, port = _end(found, title)
        return Backend(
            pid=process.pid,
            backend_start=self.started(process),
            state_change=None,
            xact_start=None,
            query_start=None,
            state=STARTING,
            application_name=_application(kind, found),
            usename=None,
            datname=None,
            client_addr=address,
            client_port=port,
            wait_event_type=None,
            wait_event=None,
            is_superuser=False,
            query=None,
        )

    def _server(self, others: list[Process]) -> Server:
        """Return the server, as shown by those of its processes that are not clients."""
        recovering = any(each.title.startswith(f"{self.prefix}{_STARTUP}") for each in others)
        return Server(
            host=os.fsencode(self.server.socket_dir or self.server.data_dir).decode("utf-8", "replace"),
            port=self.server.port,
            version_num=self._version_num,
            identity=ServerIdentity(self._system_identifier, self.server.postmaster_start, recovering),
            limits=self._limits,
        )


def logins_hint(view: HostView) -> str:
    """Return what `stalled_logins_hint` says of a look."""
    longest = max((view.snapshot.taken_at - each.since for each in view.connecting), default=0)
    slots = view.snapshot.slots if view.has_limits else None
    return stalled_logins_hint(len(view.connecting), longest / MICROSECONDS, slots)


def refuse_other_network(server: HostServer) -> None:
    """Raise NotPermittedError if the sockets of a server cannot be seen from here."""
    if proc.network_namespace(server.pid) not in (None, proc.network_namespace()):
        raise NotPermittedError(
            "the server is in a network of its own, as in a container, and its sockets are not seen",
            f"nsenter --target {server.pid} --net pgtop break-glass",
        )


def takes_usr2(pid: int) -> tuple[bool, bool]:
    """Return whether a process catches SIGUSR2, and whether it ignores it: see `titles.kind_of`."""
    caught, ignored = proc.signals(pid)
    bit = 1 << (signal.SIGUSR2 - 1)
    return bool(caught & bit), bool(ignored & bit)


def _is_told_by(title: Title, found: TcpSocket | UnixSocket) -> bool:
    """Return whether a title names the client at the other end of a socket."""
    return title.port == (found.remote_port if isinstance(found, TcpSocket) else None)


def _who(title: Title) -> tuple[str, str | None, int | None]:
    return title.names, title.host, title.port


def _end(found: TcpSocket | UnixSocket | None, title: Title) -> tuple[str | None, int]:
    """The client's address and port; -1 for the port over a Unix socket."""
    if isinstance(found, TcpSocket):
        return found.remote_address, found.remote_port
    return title.host, -1 if title.port is None else title.port


def _application(kind: OwnKind, found: TcpSocket | UnixSocket | None) -> str | None:
    return f"{PGTOP_PREFIX}(on this host)" if kind.has(found) else None


def _connecting(
    clients: list[_Client], backends: tuple[Backend, ...], silent: tuple[Backend, ...]
) -> tuple[Connecting, ...]:
    found = [
        _as_connecting(backend, client.title.activity, client.title.names)
        for client, backend in zip(clients, backends, strict=True)
        if client.title.is_connecting
    ]
    found += [_as_connecting(backend, _SILENT, "") for backend in silent]
    return tuple(sorted(found, key=lambda each: (each.since, each.pid)))


def _as_connecting(backend: Backend, phase: str, names: str) -> Connecting:
    port = None if backend.client_port == -1 else backend.client_port
    return Connecting(backend.pid, backend.client_addr, port, backend.backend_start or 0, phase, names)


def titles_off_error() -> NotPermittedError:
    """The error for a server whose titles tell nothing."""
    return NotPermittedError(
        "the server's process titles do not show states (update_process_title is off), "
        "and nothing is terminated on a guess",
        "set update_process_title = on and reload; sessions show it from their next query on",
    )
