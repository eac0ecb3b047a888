"""One poll: the rows become a Snapshot, or an Outage."""

import asyncio
import time
from typing import Annotated, Final

import asyncpg
import msgspec
from msgspec import Meta

from pgtop.core.activity import (
    MOST_CONNECTIONS,
    Backend,
    BackendId,
    ConnectionLimit,
    Connections,
    Limits,
    Moment,
    Name,
    Pid,
    Privileges,
    Server,
    ServerIdentity,
    Snapshot,
    instant,
)
from pgtop.core.outage import Outage
from pgtop.core.server_encodings import UTF8
from pgtop.errors import PgtopError
from pgtop.postgres.connection_limits import KnownLimits
from pgtop.postgres.errors.kinds import UnreadableError, outage, refusing_limit
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS, NOT_TEXT
from pgtop.postgres.host_reading import HostReading
from pgtop.postgres.queries import poll as queries
from pgtop.postgres.queries.about_server import ABOUT_SERVER, SYSTEM_IDENTIFIER
from pgtop.postgres.rights import unseen_sessions_error
from pgtop.postgres.row_decoding import MARGIN, decoded, the_one
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.session.received_bytes_limit import LONGEST_ANSWER_BYTES, MEBIBYTE
from pgtop.postgres.session.wait_for_slot import enter
from pgtop.postgres.unchanged_rows import UnchangedRows

POLL_LIMIT_SECONDS: Final = 10.0
GIVE_BACK_SECONDS: Final = 1.0
"""Seconds between tries of the ordinary role to log in, while the rescue role has the connection."""


MOST_POLL_BYTES: Final = 32 * MEBIBYTE
_ROW_BYTES: Final = 4096
"""More than a row of the poll can take: 200 characters of a statement and four names, escaped."""
_LONGEST_QUERY: Final = 200


class Poll(msgspec.Struct, frozen=True):
    """The answer to `queries.POLL`."""

    now: Moment
    in_recovery: bool
    postmaster_start: Moment
    own_pid: Pid
    privileges: Privileges
    backends: tuple[Backend, ...]


class About(msgspec.Struct, frozen=True):
    """The answer to ABOUT_SERVER: what stays so until the server restarts."""

    version_num: Annotated[int, Meta(ge=90_000, le=9_999_999)]
    max_connections: Annotated[int, Meta(ge=1, le=MOST_CONNECTIONS)]
    superuser_reserved_connections: Connections
    reserved_connections: Connections
    provider_reserved_connections: Connections
    postmaster_start: Moment
    in_recovery: bool


class _Identifier(msgspec.Struct, frozen=True):
    system_identifier: Name


_decoder = msgspec.json.Decoder(Poll)


def decode(raw: object, max_connections: int = MOST_CONNECTIONS, encoding: str = UTF8) -> Poll:
    """Return the answer to `queries.POLL` as typed values, which all later code may trust.

    Bytes that are not valid in `encoding` (a statement of a database in another one) become U+FFFD instead of
    failing the poll. Raises UnreadableError for what no server answers: other types, times out of range, a
    process id twice, more rows than `max_connections` and MARGIN.
    """
    poll = decoded(raw, _decoder, max_connections + MARGIN, encoding)
    if len({backend.pid for backend in poll.backends}) < len(poll.backends):
        raise UnreadableError("a process id twice")
    return poll


def is_listen(query: str | None) -> bool:
    """True where a statement begins with LISTEN.

    >>> is_listen("  listen jobs"), is_listen("SELECT 1"), is_listen("LISTENER()")
    (True, False, False)
    """
    if not query:
        return False
    head = query.lstrip()[:7].lower()
    return head.startswith("listen") and not head[6:].isalnum() and head[6:] != "_"


def _clipped(backends: tuple[Backend, ...]) -> tuple[Backend, ...]:
    """The backends without what is beyond the statement's beginning."""
    return tuple(
        msgspec.structs.replace(each, query=each.query[:_LONGEST_QUERY])
        if each.query is not None and len(each.query) > _LONGEST_QUERY
        else each
        for each in backends
    )


def _without_query(backend: Backend) -> Backend:
    """The backend as it is: that its statement is a LISTEN, the listeners say."""
    return backend if backend.query is None else msgspec.structs.replace(backend, query=None)


class Probe:
    """Poll one server over one connection, and make it (again) where it is not held."""

    def __init__(self, own_connection: OwnConnection) -> None:
        self.own_connection = own_connection
        self._about: About | None = None
        self._system_identifier: str | None = None
        self._listeners: frozenset[BackendId] = frozenset()
        self._resting = UnchangedRows()
        self._known_limits = KnownLimits(own_connection)
        self._host = HostReading(own_connection)
        self._limits: tuple[ConnectionLimit, ...] = ()
        self._unconverted = False
        self._gave_back_at = 0.0
        self._one = asyncio.Lock()

    async def poll(self) -> Snapshot | Outage:
        """One statement, a second one now and then, and two more after connecting.

        Never raises for what a server, a network or a login can do: that is an Outage.
        """
        try:
            return await self.reach()
        except (PgtopError, *DRIVER_ERRORS) as error:
            return self._outage(error)

    async def reach(self, wait_seconds: float = 0.0) -> Snapshot:
        """One poll, after connecting where the connection is not held. Raises what these two raise.

        A login that is refused for lack of a slot is tried again for `wait_seconds`.
        """
        async with self._one:
            try:
                if not self.own_connection.is_held:
                    self._about = None
                    await enter(self.own_connection, wait_seconds)
                    self._gave_back_at = time.monotonic()
                else:
                    await self._give_back()
                return await self._snapshot()
            except (PgtopError, *DRIVER_ERRORS):
                self.own_connection.lose_sight()
                raise

    async def give_back(self) -> bool:
        """Return whether the ordinary role has just replaced the rescue role.

        Tries at most once per GIVE_BACK_SECONDS; never raises.
        """
        async with self._one:
            return await self._give_back()

    async def _give_back(self) -> bool:
        if not self.own_connection.is_rescue or time.monotonic() - self._gave_back_at < GIVE_BACK_SECONDS:
            return False
        await self.own_connection.give_back()
        self._gave_back_at = time.monotonic()
        if self.own_connection.is_rescue:
            return False
        self._about = None  # what the one role may read, the other may not
        return True

    def _outage(self, error: BaseException) -> Outage:
        said, limit = outage(error), refusing_limit(error)
        if limit is None:
            return said
        own_connection = self.own_connection
        return msgspec.structs.replace(
            said,
            retry_after_seconds=own_connection.pause_seconds,
            limit=limit,
            tries=own_connection.tries.count,
            seconds=own_connection.tries.seconds,
            rescue_problem=own_connection.rescue_fault.problem
            if own_connection.rescue_fault is not None
            else "",
        )

    async def server(self) -> Server:
        """The server as it was when pgtop connected, without its sessions.

        Raises what the connection raises.
        """
        async with self._one:
            await self._learn_about_server()
        about = self._known()
        return self._server(about.postmaster_start, about.in_recovery)

    async def snapshot(self) -> Snapshot:
        """One poll over a connection that is held.

        Raises NotPermittedError where the role may not even ask, and else what the connection raises.
        """
        async with self._one:
            return await self._snapshot()

    async def _snapshot(self) -> Snapshot:
        try:
            await self._learn_about_server()
            self._limits = await self._known_limits.at(time.monotonic())
            listed = await self._changes() or await self._whole()
            unlisted = await self._host.unlisted(listed)
            return msgspec.structs.replace(listed, unlisted=unlisted) if unlisted else listed
        except UnreadableError:
            self.own_connection.drop()
            raise
        except asyncpg.InsufficientPrivilegeError as error:
            raise await unseen_sessions_error(error, self.own_connection, queries.POLL) from error

    async def _changes(self) -> Snapshot | None:
        """A poll of what changed; None where all rows are to be asked for."""
        since = self._resting.since(time.monotonic())
        if since is None or self._unconverted or self.own_connection.pooled:
            return None
        asked = queries.POLL_CHANGES_HIDDEN if self.own_connection.hides_queries else queries.POLL_CHANGES
        started = time.perf_counter()
        try:
            row = await self._row(asked, instant(since))
        except NOT_TEXT:
            self._resting.forget()
            return None
        poll = self._decoded(row)
        changed = _clipped(poll.backends)
        seconds = time.perf_counter() - started
        at_rest = row.get("pids"), row.get("state_changes")
        backends = self._resting.joined(changed, *at_rest, poll.now, seconds)
        return None if backends is None else self._snapshot_of(poll, backends, changed, seconds)

    async def _whole(self) -> Snapshot:
        started = time.perf_counter()
        poll = self._decoded(await self._all_rows())
        seconds = time.perf_counter() - started
        backends = _clipped(poll.backends)
        self._resting.know_all(backends, poll.now, seconds, time.monotonic())
        return self._snapshot_of(poll, backends, backends, seconds)

    @property
    def _most_connections(self) -> int:
        """The server's max_connections; a pooler may lead to others."""
        return MOST_CONNECTIONS if self.own_connection.pooled else self._known().max_connections

    def _decoded(self, row: asyncpg.Record) -> Poll:
        # What protects a session by its user's name has to find that name, converted by the server or not.
        encoding = self.own_connection.encoding if self._unconverted else UTF8
        return decode(row.get("poll"), self._most_connections, encoding)

    async def _all_rows(self) -> asyncpg.Record:
        hides = self.own_connection.hides_queries
        if not self._unconverted:
            try:
                return await self._row(queries.POLL_HIDDEN if hides else queries.POLL)
            except NOT_TEXT:
                self._unconverted = (
                    True  # until the next connection: each failure is a line in the server's log
                )
        return await self._row(queries.POLL_HIDDEN_UNCONVERTED if hides else queries.POLL_UNCONVERTED)

    async def _row(self, query: str, *args: object) -> asyncpg.Record:
        # Through a pooler, another backend may get the next statement, and know nothing of this one's.
        ask = (
            self.own_connection.fetchrow
            if self.own_connection.pooled
            else self.own_connection.fetchrow_prepared
        )
        limit = MEBIBYTE + (self._most_connections + MARGIN) * _ROW_BYTES
        limit = LONGEST_ANSWER_BYTES if self._unconverted else min(limit, MOST_POLL_BYTES)
        row = await ask(query, *args, limit_seconds=POLL_LIMIT_SECONDS, limit_bytes=limit)
        if row is None:
            raise UnreadableError("no row where there is always one")
        return row

    async def _learn_about_server(self) -> None:
        if self._about is not None:
            return
        self._unconverted = False
        self._resting.forget()
        self._known_limits.forget()
        self._host.forget()
        about = the_one(await self.own_connection.fetchrow(ABOUT_SERVER), About)
        try:
            row = await self.own_connection.fetchrow(SYSTEM_IDENTIFIER)
            self._system_identifier = the_one(row, _Identifier).system_identifier if row else None
        except asyncpg.InsufficientPrivilegeError:
            self._system_identifier = None
        self._about = about

    def _known(self) -> About:
        assert self._about is not None  # noqa: S101 - read before anything else on a connection
        return self._about

    def _server(self, postmaster_start: int, in_recovery: bool) -> Server:
        about = self._known()
        limits = Limits(
            about.max_connections,
            about.superuser_reserved_connections,
            about.reserved_connections,
            about.provider_reserved_connections,
        )
        host, port = self.own_connection.address
        identity = ServerIdentity(self._system_identifier, postmaster_start, in_recovery)
        return Server(host, port, about.version_num, identity, limits)

    def _snapshot_of(
        self, poll: Poll, backends: tuple[Backend, ...], changed: tuple[Backend, ...], poll_seconds: float
    ) -> Snapshot:
        self.own_connection.answered_by(poll.own_pid)
        listening = {backend.id for backend in changed if is_listen(backend.query)}
        if self._listeners:
            listening |= self._listeners & {backend.id for backend in backends}
        self._listeners = frozenset(listening)
        if self.own_connection.hides_queries:
            backends = tuple(map(_without_query, backends))
        return Snapshot(
            server=self._server(poll.postmaster_start, poll.in_recovery),
            privileges=poll.privileges,
            taken_at=poll.now,
            poll_seconds=poll_seconds,
            own_pid=poll.own_pid,
            backends=backends,
            listeners=self._listeners,
            is_rescue=self.own_connection.is_rescue,
            interruptions=self.own_connection.interruptions,
            connection_limits=self._limits,
        )
