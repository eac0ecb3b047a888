"""All of one backend, asked for on demand and never in a poll: its statement, its locks, the lock queue."""

from typing import Final

import msgspec

from pgtop.core.activity import (
    Backend,
    BackendId,
    Moment,
    Name,
    Pid,
    Port,
    instant,
)
from pgtop.core.lock_tree import LockQueue
from pgtop.core.text import printable
from pgtop.errors import PgtopError
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS
from pgtop.postgres.lock_queue import LockColumns, NameBytes, lock_queue, optional_text
from pgtop.postgres.queries import backend_detail as queries
from pgtop.postgres.row_decoding import the_one, typed
from pgtop.postgres.session.own_connection import OwnConnection


class Lock(msgspec.Struct, frozen=True):
    """One lock that a backend holds or waits for."""

    mode: str
    granted: bool
    target: str
    """The locked object, in words."""


class BackendDetail(msgspec.Struct, frozen=True):
    """All of one backend, while it is that same session."""

    now: int
    backend: Backend
    client_hostname: str | None
    backend_xid: str | None
    backend_xmin: str | None
    tls: str | None
    """The TLS version; None without TLS."""
    query: str | None
    """The whole current or last statement, as far as track_activity_query_size keeps it; None: hidden."""
    locks: tuple[Lock, ...]
    queue: LockQueue
    """All sessions that wait for locks, and those that block them."""
    is_recorded: bool = False
    """True if it is read from a recording: host name, TLS, transaction ids and locks are not known then."""


MOST_LOCKS: Final = 200
"""As many as `queries.BACKEND_LOCKS` asks for."""


class _Detail(msgspec.Struct, frozen=True):
    now: Moment
    pid: Pid
    backend_start: Moment | None
    state_change: Moment | None
    xact_start: Moment | None
    query_start: Moment | None
    state: Name | None
    application_name: Name | None
    usename: NameBytes | None
    datname: NameBytes | None
    client_addr: Name | None
    client_hostname: NameBytes | None
    client_port: Port | None
    wait_event_type: Name | None
    wait_event: Name | None
    backend_xid: Name | None
    backend_xmin: Name | None
    ssl: bool | None
    sslversion: Name | None
    is_superuser: bool
    query: bytes


class _Lock(LockColumns, frozen=True):
    locktype: Name
    mode: Name
    granted: bool


async def backend_detail(own_connection: OwnConnection, identity: BackendId) -> BackendDetail | None:
    """All of one backend; None where that session is gone. Raises PgtopError where it cannot be asked for."""
    hides = own_connection.hides_queries
    asked = queries.BACKEND_DETAIL_HIDDEN if hides else queries.BACKEND_DETAIL
    started = instant(identity.backend_start)
    try:
        row = await own_connection.fetchrow(asked, identity.pid, started)
        if row is None:
            return None
        locks = await own_connection.fetch(queries.BACKEND_LOCKS, identity.pid)
        queue = await lock_queue(own_connection)
    except (PgtopError, *DRIVER_ERRORS) as error:
        raise PgtopError("the server could not be asked", printable(str(error))) from error
    detail = the_one(row, _Detail)
    query = None if hides else detail.query.decode("utf-8", "replace")
    backend = Backend(
        detail.pid,
        detail.backend_start,
        detail.state_change,
        detail.xact_start,
        detail.query_start,
        detail.state,
        detail.application_name,
        optional_text(detail.usename),
        optional_text(detail.datname),
        detail.client_addr,
        detail.client_port,
        detail.wait_event_type,
        detail.wait_event,
        detail.is_superuser,
        query and query[:200],
    )
    return BackendDetail(
        now=detail.now,
        backend=backend,
        client_hostname=optional_text(detail.client_hostname),
        backend_xid=detail.backend_xid,
        backend_xmin=detail.backend_xmin,
        tls=detail.sslversion if detail.ssl else None,
        query=query,
        locks=tuple(
            Lock(each.mode, each.granted, each.locked.words) for each in typed(locks, _Lock, MOST_LOCKS)
        ),
        queue=queue,
    )
