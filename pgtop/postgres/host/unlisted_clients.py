"""The clients that hold a slot of a server on this host, although the server does not list them.

They are still connecting: PostgreSQL up to 17 lists a client only at the end of its login. A child of the
postmaster counts if it serves a client, is not listed, and had begun half a second before the list was made;
it holds its slot from the moment at which the client has said who it is.
"""

import time
from typing import Final

from pgtop.core.activity import MICROSECONDS
from pgtop.errors import ConnectError, NotPermittedError
from pgtop.postgres.host import proc
from pgtop.postgres.host.proc import Process
from pgtop.postgres.host.servers import HostServer
from pgtop.postgres.host.sockets import ClientSockets
from pgtop.postgres.host.titles import (
    CONNECTING,
    LAST_OF_A_LOGIN,
    WAITING,
    Kind,
    Signs,
    cluster_prefix,
    kind_of,
    may_be_walsender,
    read_title,
)
from pgtop.postgres.host.watcher import refuse_other_network, takes_usr2

_LOGIN: Final = CONNECTING | {LAST_OF_A_LOGIN, ""}
"""The activities in a login; without one where `update_process_title` is off."""

_LEAST_AGE_MICROSECONDS: Final = MICROSECONDS // 2
"""A younger client is taken for one that logs in as usual: sessions must not be terminated for it."""


class UnlistedClients:
    """Count the unlisted clients of one server, again and again."""

    def __init__(self, server: HostServer) -> None:
        """Raise NotPermittedError if the server's sockets cannot be seen from here."""
        refuse_other_network(server)
        self._server = server
        self._own_numbers = proc.is_contained(server.pid)
        self._prefix: str | None = None

    def number(self, listed: frozenset[int], own_pid: int, listed_at: int) -> int:
        """Return the number of clients that hold a slot and are not among the `listed` pids.

        `own_pid` is a session of the caller's that is listed, `listed_at` the time of the list in
        microseconds since the Unix epoch. Blocks for some milliseconds. Raises ConnectError if the server is
        gone or takes no clients, NotPermittedError if the session is not one of this server's, and OSError
        if processes or sockets may not be looked into.
        """
        if proc.started_ticks(self._server.pid) != self._server.started_ticks:
            raise ConnectError(f"the server on port {self._server.port} is gone", "look at its log")
        children = self._children(listed)
        if own_pid not in (children if self._own_numbers else self._known_child(own_pid)):
            raise NotPermittedError("the session is not on the server that was found here", "connect to that")
        if self._prefix is None:
            self._prefix = cluster_prefix(each.title for each in children.values())
        if self._prefix is None and not self._own_numbers:
            # The server's own processes are among the listed where it tells nobody what each of them is.
            self._prefix = cluster_prefix(each.title for each in self._children(frozenset()).values())
        if self._prefix is None:
            raise ConnectError(f"the server on port {self._server.port} starts or stops", "look at its log")
        others = [each for number, each in children.items() if number not in listed]
        return self._clients(others, self._prefix, listed_at)

    def _known_child(self, pid: int) -> frozenset[int]:
        return frozenset({pid}) if proc.parent(pid) == self._server.pid else frozenset()

    def _children(self, listed: frozenset[int]) -> dict[int, Process]:
        """Return the postmaster's children by the pids that the server gives them.

        Listed ones are left out where their numbers are ours, so that the work does not grow with them.
        """
        pids = proc.children(self._server.pid)
        if not self._own_numbers:
            pids = [pid for pid in pids if pid not in listed]
        found = {}
        for pid in pids:
            process = proc.read_process(pid, frozenset({self._server.uid}))
            if process is not None:
                found[proc.own_number(pid) if self._own_numbers else pid] = process
        return found

    def _clients(self, others: list[Process], prefix: str, listed_at: int) -> int:
        postmaster = proc.read_process(self._server.pid, frozenset({self._server.uid}))
        # Wall clocks may be set: the host's and the server's are compared as they are now.
        epoch = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        candidates = [
            each
            for each in others
            if postmaster is not None
            # The title of a client that has not said who it is yet; it holds no slot.
            and each.command_line != postmaster.command_line
            and (each.is_cut_off or _is_logging_in(each, prefix))
            and (epoch + each.started_ticks / proc.TICKS_PER_SECOND) * MICROSECONDS + _LEAST_AGE_MICROSECONDS
            <= listed_at
        ]
        if not candidates:
            return 0
        around = ClientSockets(self._server.port)
        return sum(_is_client(each, prefix, around) for each in candidates)


def _is_logging_in(process: Process, prefix: str) -> bool:
    """Return whether a title is one of a login: a session that is ending is not listed any more either."""
    title = read_title(process.title, prefix)
    return title is not None and title.activity.removesuffix(WAITING) in _LOGIN


def _is_client(process: Process, prefix: str, around: ClientSockets) -> bool:
    holds_connection = bool(around.of(proc.socket_inodes(process.pid)))
    if not may_be_walsender(process.title, prefix):
        return kind_of(process.title, prefix, Signs(holds_connection)) is not Kind.OTHER
    signs = Signs(holds_connection, *takes_usr2(process.pid))
    # A walsender is never listed, and has slots of its own: one that is unclear is not counted.
    return kind_of(process.title, prefix, signs) is Kind.CLIENT
