"""A server seen from its own host, without a slot: who holds its slots, doing what, idle for how long.

`HostWatcher(server)` is kept for as long as somebody looks; `look()` gives a `HostView`, whose `snapshot` has
the same shape as a poll's. Times are by this host's clock, and steps of that clock change nothing between two
looks of one watcher.

- Over TCP the idle age is the time since the kernel last sent data on the backend's socket.
- Over a Unix socket it is a lower bound (`Backend.idle_at_least`): for as long as the process was not given a
  processor, counted from the first look that saw it so. Each look lets these bounds grow, with no sleep.
- Where the socket is not found, `state_change` is None.

Nothing here sends a signal: that is `host_hand.HostHand(watcher)`, for `pgtop.reaper.Reaper`.
Every call blocks, and must not be made on a thread that runs an event loop (see `sockets.py`).
"""

import os
import re
import time
from typing import Final

import msgspec

from pgtop.core.activity import (
    DISABLED,
    IDLE,
    IN_TRANSACTION,
    MICROSECONDS,
    PGTOP_PREFIX,
    Backend,
    BackendId,
    Limits,
    Privileges,
    Server,
    ServerIdentity,
    Snapshot,
)
from pgtop.core.title import Title, cluster_prefix, read_cut_title, read_title
from pgtop.errors import ConnectError, NotPermittedError
from pgtop.postgres import proc, sockets
from pgtop.postgres.host_servers import ClosedError, HostServer, system_identifier, user_name
from pgtop.postgres.host_settings import limits_of, pending_note
from pgtop.postgres.own_kind import OwnKind, own_kind
from pgtop.postgres.proc import Process
from pgtop.postgres.sockets import ClientSockets, TcpSocket, UnixSocket

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
    """None over a Unix socket, or where it is not known."""
    port: int | None
    since: int
    """When its process began, microseconds since the Unix epoch."""
    phase: str
    """`silent` (it has sent nothing), `initializing`, `authentication` or `startup`."""
    names: str
    """User and database, where it has told them."""


class HostView(msgspec.Struct, frozen=True):
    """What the host shows of a server at one moment."""

    snapshot: Snapshot
    """The clients that are connecting count, but for the silent ones, in state `starting`."""
    connecting: tuple[Connecting, ...]
    """The longest first."""
    notes: tuple[str, ...] = ()
    """What a person should know of what could not be seen, printable."""

    @property
    def has_limits(self) -> bool:
        """Whether the number of slots is known."""
        return self.snapshot.server.limits.are_known


class Mark(msgspec.Struct, frozen=True):
    """What a look remembers of a client backend until the next one."""

    started_ticks: int
    who: tuple[str, str | None, int | None]
    """Names, host and port of its title."""
    state_change: int | None
    timeslices: int | None = None
    """How often it had run by then, over a Unix socket."""


class HostWatcher:
    """Looks at one server of this host again and again."""

    def __init__(self, server: HostServer, settings: dict[str, str] | None = None) -> None:
        """`settings` are the answers of `host_settings.ask_settings`; without them nothing is known of slots.

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
        """What stands before all else in the server's titles; "" before the first look."""
        sockets.get_ready()
        if answers.get("update_process_title") == "off":
            raise titles_off_error()
        if proc.network_namespace(server.pid) not in (None, proc.network_namespace()):
            raise NotPermittedError(
                "the server is in a network of its own, as in a container, and its sockets are not seen",
                f"nsenter --target {server.pid} --net pgtop break-glass",
            )

    @property
    def now(self) -> int:
        """This host's clock, microseconds since the Unix epoch, without the steps since the watcher began."""
        return round((self._epoch + time.clock_gettime(time.CLOCK_BOOTTIME)) * MICROSECONDS)

    def mark(self, identity: BackendId) -> Mark | None:
        """What the last look saw of a session; None where it was not there."""
        return self._marks.get(identity)

    def look(self) -> HostView:
        """Looks once.

        Raises ConnectError where the server is gone or does not take clients, NotPermittedError where its
        processes may not be looked into or their titles tell nothing.
        """
        begun = time.perf_counter()
        seen = proc.processes()
        postmaster, children = self._family(seen)
        found = [(each, title) for each in children if (title := self._read(each)) is not None]
        try:
            kind = own_kind(seen, self.server.port)
            # Ages are by the moment of asking: to read hundreds of processes takes a while.
            asked_at = self.now
            around = ClientSockets(self.server.port)
            inodes = {each.pid: proc.socket_inodes(each.pid) for each, _ in found}
            silent = [each for each in children if each.command_line == postmaster.command_line]
            waiting = [each for each in silent if around.any_of(proc.socket_inodes(each.pid))]
        except PermissionError as error:
            raise ClosedError(self.server.uid) from error
        marks, backends = {}, []
        for process, title in found:
            socket = around.of(inodes[process.pid], title.port)
            backend, mark = self._backend(process, title, socket, kind, asked_at)
            marks[backend.id] = mark
            backends.append(backend)
        self._marks = marks
        snapshot = Snapshot(
            server=self._server([each for each in children if each.pid not in inodes]),
            privileges=Privileges(user_name(os.geteuid()), is_superuser=True, sees_all=True, may_signal=True),
            taken_at=asked_at,
            poll_seconds=time.perf_counter() - begun,
            own_pid=0,
            backends=tuple(backends),
        )
        return HostView(snapshot, self._connecting(found, backends, waiting), (*self._notes, *kind.notes))

    def _family(self, seen: list[Process]) -> tuple[Process, list[Process]]:
        """The postmaster and its children, whose prefix is learnt. Raises ConnectError."""
        postmaster = next((each for each in seen if each.pid == self.server.pid), None)
        if postmaster is None or postmaster.started_ticks != self.server.started_ticks:
            raise ConnectError(f"the server on port {self.server.port} is gone", "look at its log")
        children = [each for each in seen if each.parent == self.server.pid]
        prefix = cluster_prefix(each.title for each in children)
        if prefix is None:
            raise ConnectError(
                f"the server on port {self.server.port} starts, stops, or has titles that are cut off",
                "look at its log",
            )
        self.prefix = prefix
        return postmaster, children

    def _read(self, process: Process) -> Title | None:
        """The title of a client backend; None for every other process. Raises NotPermittedError."""
        title = read_title(process.title, self.prefix)
        if process.is_cut_off:
            return title or read_cut_title(process.title, self.prefix)
        if title is None or title.activity:
            return title
        # It may just be between its first title and its first activity.
        time.sleep(_TITLE_SETTLES_SECONDS)
        again = proc.read_process(process.pid)
        if again is None or again.started_ticks != process.started_ticks:
            return None
        title = read_title(again.title, self.prefix)
        if title is not None and not title.activity:
            raise titles_off_error()
        return title

    def started(self, process: Process) -> int:
        """When a process began, microseconds since the Unix epoch."""
        return round((self._epoch + process.started_ticks / proc.TICKS_PER_SECOND) * MICROSECONDS)

    def _backend(
        self, process: Process, title: Title, found: TcpSocket | UnixSocket | None, kind: OwnKind, now: int
    ) -> tuple[Backend, Mark]:
        identity = BackendId(process.pid, self.started(process))
        before = self._marks.get(identity)
        state = DISABLED if process.is_cut_off else title.state
        slices = proc.timeslices(process.pid) if isinstance(found, UnixSocket) else None
        change: int | None = None
        if isinstance(found, TcpSocket):
            change = now - found.sent_milliseconds_ago * 1000
            if (
                before
                and before.state_change
                and abs(change - before.state_change) < SENT_TOLERANCE_MICROSECONDS
            ):
                change = before.state_change
        elif slices:
            still = before is not None and before.timeslices == slices
            change = before.state_change if before is not None and still else self.now
        is_resting = state == IDLE or state in IN_TRANSACTION
        readings = title.readings
        user, database = readings[0] if len(readings) == 1 else (title.names, None)
        address = found.remote_address if isinstance(found, TcpSocket) else title.host
        return Backend(
            pid=process.pid,
            backend_start=identity.backend_start,
            state_change=change if is_resting else None,
            xact_start=None,
            query_start=None,
            state=state,
            application_name=f"{PGTOP_PREFIX}(on this host)" if kind.has(found) else None,
            usename=user,
            datname=database,
            client_addr=address,
            client_port=-1 if title.port is None else title.port,
            wait_event_type=None,
            wait_event=None,
            is_superuser=False,
            query=None,
            idle_at_least=title.port is None and is_resting,
            readings=readings if len(readings) > 1 else (),
        ), Mark(process.started_ticks, (title.names, title.host, title.port), change, slices)

    def _server(self, others: list[Process]) -> Server:
        """The server, by its processes that are no clients."""
        recovering = any(each.title.startswith(f"{self.prefix}{_STARTUP}") for each in others)
        return Server(
            host=os.fsencode(self.server.socket_dir or self.server.data_dir).decode("utf-8", "replace"),
            port=self.server.port,
            version_num=self._version_num,
            identity=ServerIdentity(self._system_identifier, self.server.postmaster_start, recovering),
            limits=self._limits,
        )

    def _connecting(
        self, found: list[tuple[Process, Title]], backends: list[Backend], silent: list[Process]
    ) -> tuple[Connecting, ...]:
        clients = [
            Connecting(
                each.pid, backend.client_addr, title.port, self.started(each), title.activity, title.names
            )
            for (each, title), backend in zip(found, backends, strict=True)
            if title.is_connecting
        ]
        clients += [Connecting(each.pid, None, None, self.started(each), _SILENT, "") for each in silent]
        return tuple(sorted(clients, key=lambda each: (each.since, each.pid)))


def titles_off_error() -> NotPermittedError:
    """The error for a server whose titles tell nothing."""
    return NotPermittedError(
        "the titles of the server's processes do not tell what they do (update_process_title is off), "
        "and nobody is ended on a guess",
        "set update_process_title = on and reload; sessions show it from their next statement on",
    )
