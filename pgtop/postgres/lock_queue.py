"""The lock queue, asked for on demand and never in a poll: the sessions that wait, and those that block."""

from typing import Annotated, Final

import asyncpg
import msgspec
from msgspec import Meta

from pgtop.core.activity import Backend, Moment, Name, Pid, Port, Whole
from pgtop.core.blocking import PREPARED, PreparedTransaction
from pgtop.core.lock_tree import LockQueue, Queued
from pgtop.core.locked_object import LockedObject
from pgtop.core.text import printable
from pgtop.errors import PgtopError
from pgtop.postgres.blockers import PidsText, pids_of
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS
from pgtop.postgres.queries.backend_detail import PREPARED_BLOCKERS
from pgtop.postgres.queries.lock_queue import (
    LOCK_QUEUE,
    LOCK_QUEUE_HIDDEN,
    MOST_BLOCKERS,
    MOST_SESSIONS,
)
from pgtop.postgres.row_decoding import typed
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.session.session_settings import ON_DEMAND_SECONDS

_MOST_PREPARED: Final = 1_000
_CLIENT: Final = "client backend"

NameBytes = Annotated[bytes, Meta(max_length=1024)]
"""A name: given in a database of another encoding, it may hold bytes that are not valid text in this one."""


class LockColumns(msgspec.Struct, frozen=True):
    """The columns of pg_locks that tell the object of a lock. All are NULL for a session without one."""

    locktype: Name | None
    lock_database: NameBytes | None
    is_here: bool | None
    relation: NameBytes | None
    page: Whole | None
    tuple: Whole | None
    virtualxid: Name | None
    transactionid: Name | None
    classid: Name | None
    objid: Name | None

    @property
    def locked(self) -> LockedObject:
        """The object of the lock; its texts are not printable yet."""
        return LockedObject(
            self.locktype or "",
            optional_text(self.relation),
            optional_text(self.lock_database),
            self.is_here is not False,
            self.page,
            self.tuple,
            self.virtualxid,
            self.transactionid,
            self.classid,
            self.objid,
        )


class _Row(LockColumns, frozen=True):
    now: Moment
    waiting: Whole
    pid: Pid
    backend_start: Moment | None
    state_change: Moment | None
    xact_start: Moment | None
    query_start: Moment | None
    state: Name | None
    application_name: NameBytes | None
    usename: NameBytes | None
    datname: NameBytes | None
    client_addr: Name | None
    client_port: Port | None
    wait_event_type: Name | None
    wait_event: Name | None
    backend_type: Name | None
    is_superuser: bool
    query: bytes | None
    blocked_by: PidsText | None
    blockers: Whole
    granted: bool | None
    wait_start: Moment | None
    mode: Name | None
    keeps_advisory: bool


class _Prepared(msgspec.Struct, frozen=True):
    gid: NameBytes
    owner: NameBytes
    database: NameBytes
    prepared: Moment
    waiting_pids: PidsText


async def lock_queue(own_connection: OwnConnection) -> LockQueue:
    """Return the sessions that wait for locks right now, with those that block them.

    Raises PgtopError where this cannot be asked for.
    """
    asked = LOCK_QUEUE_HIDDEN if own_connection.hides_queries else LOCK_QUEUE
    try:
        found = await own_connection.fetch(asked, on_demand=True)
        rows = typed(found, _Row, MOST_SESSIONS)
        sessions = tuple(_queued(row, hides_queries=own_connection.hides_queries) for row in rows)
        prepared: list[_Prepared] = []
        if any(PREPARED in each.blocked_by for each in sessions):
            found = await own_connection.fetch(PREPARED_BLOCKERS, on_demand=True)
            prepared = typed(found, _Prepared, _MOST_PREPARED)
    except asyncpg.QueryCanceledError as error:
        raise PgtopError(
            f"the server took more than {ON_DEMAND_SECONDS} s to say which sessions wait for locks",
            "pgtop asks again later",
        ) from error
    except (PgtopError, *DRIVER_ERRORS) as error:
        raise PgtopError(
            "the server could not be asked which sessions wait for locks", printable(str(error))
        ) from error
    return LockQueue(
        now=rows[0].now if rows else 0,
        sessions=sessions,
        prepared=tuple(
            PreparedTransaction(
                text_of(row.gid),
                text_of(row.owner),
                text_of(row.database),
                row.prepared,
                pids_of(row.waiting_pids),
            )
            for row in prepared
        ),
        waiting=rows[0].waiting if rows else 0,
    )


def text_of(name: bytes) -> str:
    """Return a name as text, whatever the encoding that it was written in."""
    return name.decode("utf-8", "replace")


def optional_text(name: bytes | None) -> str | None:
    """Return a name as text; None for none."""
    return None if name is None else text_of(name)


def _queued(row: _Row, *, hides_queries: bool) -> Queued:
    blocked_by = pids_of(row.blocked_by) if row.blocked_by is not None else frozenset()
    waits = row.granted is False
    return Queued(
        backend=Backend(
            row.pid,
            row.backend_start,
            row.state_change,
            row.xact_start,
            row.query_start,
            row.state,
            optional_text(row.application_name),
            optional_text(row.usename),
            optional_text(row.datname),
            row.client_addr,
            row.client_port,
            row.wait_event_type,
            row.wait_event,
            row.is_superuser,
            None if hides_queries or row.query is None else text_of(row.query),
        ),
        # The type of a session that is hidden from this role is not known: it is taken for a client.
        is_client=row.backend_type == _CLIENT or (row.backend_type is None and row.usename is not None),
        waits=waits,
        wait_start=row.wait_start if waits else None,
        mode=row.mode or "",
        target=printable(row.locked.words),
        is_advisory=row.locktype == "advisory",
        keeps_advisory=row.keeps_advisory,
        blocked_by=blocked_by,
        unnamed_blockers=max(0, row.blockers - MOST_BLOCKERS),
    )
