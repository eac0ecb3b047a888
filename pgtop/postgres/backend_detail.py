"""Queries asked on demand, never in a poll: all of one backend, and which sessions block which."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from pgtop.core.activity import (
    MOST_CONNECTIONS,
    Backend,
    BackendId,
    Moment,
    Name,
    Pid,
    Port,
    Whole,
    instant,
)
from pgtop.core.blocking import PreparedTransaction
from pgtop.core.text import printable
from pgtop.errors import PgtopError
from pgtop.postgres.blockers import LIMIT_SECONDS, PidsText, blocking_pids, pids_of
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS
from pgtop.postgres.queries import backend_detail as queries
from pgtop.postgres.row_decoding import MARGIN, the_one, typed
from pgtop.postgres.session.own_connection import OwnConnection


class Lock(msgspec.Struct, frozen=True):
    """One lock that a backend holds or waits for."""

    locktype: str
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
    blocked_by: tuple[int, ...]
    """Pids that block it; 0 for a prepared transaction."""
    blocks: tuple[int, ...]
    """Pids that wait for it."""


_MOST_ROWS: Final = MOST_CONNECTIONS + MARGIN
MOST_LOCKS: Final = 200
"""As many as `queries.BACKEND_LOCKS` asks for."""


_NameBytes = Annotated[bytes, Meta(max_length=1024)]
"""A name: given in a database of another encoding, it may hold bytes that are not valid text in this one."""


def _name(name: bytes) -> str:
    return name.decode("utf-8", "replace")


class _Detail(msgspec.Struct, frozen=True):
    now: Moment
    pid: Pid
    backend_start: Moment | None
    state_change: Moment | None
    xact_start: Moment | None
    query_start: Moment | None
    state: Name | None
    application_name: Name | None
    usename: _NameBytes | None
    datname: _NameBytes | None
    client_addr: Name | None
    client_hostname: _NameBytes | None
    client_port: Port | None
    wait_event_type: Name | None
    wait_event: Name | None
    backend_xid: Name | None
    backend_xmin: Name | None
    ssl: bool | None
    sslversion: Name | None
    is_superuser: bool
    query: bytes


class _Lock(msgspec.Struct, frozen=True):
    locktype: Name
    mode: Name
    granted: bool
    datname: _NameBytes | None
    relation: _NameBytes | None
    page: Whole | None
    tuple: Whole | None
    virtualxid: Name | None
    transactionid: Name | None
    classid: Name | None
    objid: Name | None


class _Prepared(msgspec.Struct, frozen=True):
    gid: _NameBytes
    owner: _NameBytes
    database: _NameBytes
    prepared: Moment
    waiting_pids: PidsText


class Blocking(msgspec.Struct, frozen=True):
    """The sessions that block others on the whole server, and the prepared transactions that do."""

    blocked_by: dict[int, frozenset[int]]
    prepared: tuple[PreparedTransaction, ...]


async def backend_detail(own_connection: OwnConnection, identity: BackendId) -> BackendDetail | None:
    """All of one backend; None where that session is gone. Raises PgtopError where it cannot be asked for."""
    hides = own_connection.hides_queries
    asked = queries.BACKEND_DETAIL_HIDDEN if hides else queries.BACKEND_DETAIL
    started = instant(identity.backend_start)
    try:
        row = await own_connection.fetchrow(asked, identity.pid, started, limit_seconds=LIMIT_SECONDS)
        if row is None:
            return None
        locks = await own_connection.fetch(queries.BACKEND_LOCKS, identity.pid, limit_seconds=LIMIT_SECONDS)
        blocked_by = await blocking_pids(own_connection)
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
        None if detail.usename is None else _name(detail.usename),
        None if detail.datname is None else _name(detail.datname),
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
        client_hostname=None if detail.client_hostname is None else _name(detail.client_hostname),
        backend_xid=detail.backend_xid,
        backend_xmin=detail.backend_xmin,
        tls=detail.sslversion if detail.ssl else None,
        query=query,
        locks=tuple(
            Lock(each.locktype, each.mode, each.granted, _target(each))
            for each in typed(locks, _Lock, MOST_LOCKS)
        ),
        blocked_by=tuple(sorted(blocked_by.get(identity.pid, ()))),
        blocks=tuple(sorted(pid for pid, pids in blocked_by.items() if identity.pid in pids)),
    )


def _target(row: _Lock) -> str:
    for what, word in (
        (None if row.relation is None else _name(row.relation), "relation"),
        (row.transactionid, "transaction"),
        (row.virtualxid, "virtual transaction"),
    ):
        if what is not None:
            page = f" page {row.page}" if row.page is not None else ""
            tuple_ = f" tuple {row.tuple}" if row.tuple is not None else ""
            return f"{word} {what}{page}{tuple_}"
    if row.objid is not None:
        return f"{row.classid}/{row.objid}"
    return f"database {_name(row.datname)}" if row.datname else ""


async def who_blocks(own_connection: OwnConnection) -> Blocking:
    """Return which sessions block which, right now. Raises PgtopError where this cannot be asked for."""
    try:
        blocked_by = await blocking_pids(own_connection)
        prepared: list[_Prepared] = []
        if any(0 in pids for pids in blocked_by.values()):
            found = await own_connection.fetch(queries.PREPARED_BLOCKERS, limit_seconds=LIMIT_SECONDS)
            prepared = typed(found, _Prepared, _MOST_ROWS)
    except (PgtopError, *DRIVER_ERRORS) as error:
        raise PgtopError(
            "the server could not be asked which sessions block others", printable(str(error))
        ) from error
    return Blocking(
        blocked_by,
        tuple(
            PreparedTransaction(
                _name(row.gid),
                _name(row.owner),
                _name(row.database),
                row.prepared,
                pids_of(row.waiting_pids),
            )
            for row in prepared
        ),
    )
