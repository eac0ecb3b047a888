"""One poll: the seat's rows become a Snapshot, or an Outage."""

import time
from typing import Final

import asyncpg
import msgspec

from pgtop.core.activity import (
    Backend,
    BackendId,
    Limits,
    Outage,
    Privileges,
    Server,
    ServerIdentity,
    Snapshot,
    instant,
)
from pgtop.core.text import printable
from pgtop.errors import NotPermittedError, PgtopError
from pgtop.postgres import queries
from pgtop.postgres.faults import DRIVER_ERRORS, NOT_TEXT, outage
from pgtop.postgres.outages import refusing_limit
from pgtop.postgres.resting import Resting
from pgtop.postgres.seat import Seat

POLL_LIMIT_SECONDS: Final = 10.0
GIVE_BACK_SECONDS: Final = 1.0
"""How often it is tried whether the ordinary role gets in by now, while the rescue role has the seat."""


class _Poll(msgspec.Struct, frozen=True):
    now: int
    in_recovery: bool
    postmaster_start: int
    own_pid: int
    privileges: Privileges
    backends: tuple[Backend, ...]


_decoder = msgspec.json.Decoder(_Poll)


def decode(raw: bytes) -> _Poll:
    """The answer to `queries.POLL`, typed.

    Bytes that are no UTF-8 (a statement of a database in another encoding) become U+FFFD instead of failing
    the poll. Raises msgspec.DecodeError where the answer is no such JSON at all.
    """
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _decoder.decode(raw.decode("utf-8", "replace").encode("utf-8", "replace"))


def is_listen(query: str | None) -> bool:
    """True where a statement begins with LISTEN.

    >>> is_listen("  listen jobs"), is_listen("SELECT 1"), is_listen("LISTENER()")
    (True, False, False)
    """
    if not query:
        return False
    head = query.lstrip()[:7].lower()
    return head.startswith("listen") and not head[6:].isalnum() and head[6:] != "_"


def _clipped(backend: Backend) -> Backend:
    return msgspec.structs.replace(backend, query=backend.query and backend.query[:200])


def _without_query(backend: Backend) -> Backend:
    """The backend as it is: that its statement is a LISTEN, the listeners say."""
    return backend if backend.query is None else msgspec.structs.replace(backend, query=None)


class Probe:
    """Polls one server through one seat, and takes the seat (again) where it is not held."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self._about: asyncpg.Record | None = None
        self._system_identifier: str | None = None
        self._listeners: frozenset[BackendId] = frozenset()
        self._resting = Resting()
        self._unconverted = False
        self._gave_back_at = 0.0

    async def poll(self) -> Snapshot | Outage:
        """One statement on the seat (two more after the seat was taken). Never raises for what a server, a
        network or a login can do: that is an Outage."""
        try:
            if not self.seat.is_held:
                self._about = None
                await self.seat.take()
                self._gave_back_at = time.monotonic()
            else:
                await self.give_back()
            return await self.snapshot()
        except (PgtopError, *DRIVER_ERRORS) as error:
            return self._outage(error)
        except msgspec.DecodeError as error:
            return Outage("failed", f"the server's answer could not be read ({error})", 1.0)

    async def give_back(self) -> bool:
        """Whether the ordinary role has just taken the seat from the rescue role.

        Asked for at most each GIVE_BACK_SECONDS; never raises.
        """
        if not self.seat.is_rescue or time.monotonic() - self._gave_back_at < GIVE_BACK_SECONDS:
            return False
        await self.seat.give_back()
        self._gave_back_at = time.monotonic()
        if self.seat.is_rescue:
            return False
        self._about = None  # what the one role may read, the other may not
        return True

    def _outage(self, error: BaseException) -> Outage:
        said, limit = outage(error), refusing_limit(error)
        if limit is None:
            return said
        seat = self.seat
        return msgspec.structs.replace(
            said,
            retry_after_seconds=seat.pause_seconds,
            limit=limit,
            tries=seat.tries.count,
            seconds=seat.tries.seconds,
            rescue_problem=seat.rescue_fault.problem if seat.rescue_fault is not None else "",
        )

    async def server(self) -> Server:
        """The server of a seat that is held, as it was when the seat was taken, without its sessions.

        Raises what the seat raises.
        """
        await self._learn_about_server()
        about = self._known()
        return self._server(about["postmaster_start"], about["in_recovery"])

    async def snapshot(self) -> Snapshot:
        """One poll of a seat that is held.

        Raises NotPermittedError where the role may not even ask, and else what the seat raises.
        """
        try:
            await self._learn_about_server()
            return await self._changes() or await self._whole()
        except asyncpg.InsufficientPrivilegeError as error:
            raise NotPermittedError(
                f"role {printable(self.seat.role)} may not see the sessions ({printable(str(error))})",
                "GRANT pg_monitor to it, and EXECUTE on that function",
            ) from error

    async def _changes(self) -> Snapshot | None:
        """A poll of what changed; None where all rows are to be asked for."""
        since = self._resting.since(time.monotonic())
        if since is None or self._unconverted or self.seat.pooled:
            return None
        asked = queries.POLL_CHANGES_HIDDEN if self.seat.hides_queries else queries.POLL_CHANGES
        started = time.perf_counter()
        try:
            row = await self._row(asked, instant(since))
        except NOT_TEXT:
            self._resting.forget()
            return None
        poll = decode(row["poll"])
        seconds = time.perf_counter() - started
        backends = self._resting.joined(poll.backends, row["pids"], row["state_changes"], poll.now, seconds)
        return None if backends is None else self._snapshot(poll, backends, poll.backends, seconds)

    async def _whole(self) -> Snapshot:
        started = time.perf_counter()
        poll = decode((await self._all_rows())["poll"])
        seconds = time.perf_counter() - started
        backends = tuple(map(_clipped, poll.backends)) if self._unconverted else poll.backends
        self._resting.know_all(backends, poll.now, seconds, time.monotonic())
        return self._snapshot(poll, backends, backends, seconds)

    async def _all_rows(self) -> asyncpg.Record:
        hides = self.seat.hides_queries
        if not self._unconverted:
            try:
                return await self._row(queries.POLL_HIDDEN if hides else queries.POLL)
            except NOT_TEXT:
                self._unconverted = True  # until the next seat: each failure is a line in the server's log
        return await self._row(queries.POLL_HIDDEN_UNCONVERTED if hides else queries.POLL_UNCONVERTED)

    async def _row(self, query: str, *args: object) -> asyncpg.Record:
        # Through a pooler, another backend may get the next statement, and know nothing of this one's.
        ask = self.seat.fetchrow if self.seat.pooled else self.seat.fetchrow_prepared
        row = await ask(query, *args, limit_seconds=POLL_LIMIT_SECONDS)
        assert row is not None  # noqa: S101 - an aggregate without GROUP BY gives one row
        return row

    async def _learn_about_server(self) -> None:
        if self._about is not None:
            return
        self._unconverted = False
        self._resting.forget()
        about = await self.seat.fetchrow(queries.ABOUT_SERVER)
        try:
            row = await self.seat.fetchrow(queries.SYSTEM_IDENTIFIER)
            self._system_identifier = row[0] if row else None
        except asyncpg.InsufficientPrivilegeError:
            self._system_identifier = None
        self._about = about

    def _known(self) -> asyncpg.Record:
        assert self._about is not None  # noqa: S101 - read before anything else on a seat
        return self._about

    def _server(self, postmaster_start: int, in_recovery: bool) -> Server:
        about = self._known()
        limits = Limits(
            about["max_connections"],
            about["superuser_reserved_connections"],
            about["reserved_connections"],
            about["provider_reserved_connections"],
        )
        host, port = self.seat.address
        identity = ServerIdentity(self._system_identifier, postmaster_start, in_recovery)
        return Server(host, port, about["version_num"], identity, limits)

    def _snapshot(
        self, poll: _Poll, backends: tuple[Backend, ...], changed: tuple[Backend, ...], poll_seconds: float
    ) -> Snapshot:
        listening = {backend.id for backend in changed if is_listen(backend.query)}
        if self._listeners:
            listening |= self._listeners & {backend.id for backend in backends}
        self._listeners = frozenset(listening)
        if self.seat.hides_queries:
            backends = tuple(map(_without_query, backends))
        return Snapshot(
            server=self._server(poll.postmaster_start, poll.in_recovery),
            privileges=poll.privileges,
            taken_at=poll.now,
            poll_seconds=poll_seconds,
            own_pid=poll.own_pid,
            backends=backends,
            listeners=self._listeners,
            is_rescue=self.seat.is_rescue,
        )
