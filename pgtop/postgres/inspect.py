"""What is asked on demand, never in a poll: all of one backend, and who blocks whom."""

from typing import Final

import asyncpg
import msgspec

from pgtop.core.activity import Backend, BackendId, instant
from pgtop.core.blocking import PreparedTransaction
from pgtop.core.text import printable
from pgtop.errors import PgtopError
from pgtop.postgres import queries
from pgtop.postgres.faults import DRIVER_ERRORS
from pgtop.postgres.seat import Seat

LIMIT_SECONDS: Final = 5.0


class Lock(msgspec.Struct, frozen=True):
    """One lock that a backend holds or waits for."""

    locktype: str
    mode: str
    granted: bool
    target: str
    """What is locked, in words."""


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


class Blocking(msgspec.Struct, frozen=True):
    """Who blocks whom on the whole server, and the prepared transactions among the blockers."""

    blocked_by: dict[int, frozenset[int]]
    prepared: tuple[PreparedTransaction, ...]


async def backend_detail(seat: Seat, identity: BackendId) -> BackendDetail | None:
    """All of one backend; None where that session is gone. Raises PgtopError where it cannot be asked for."""
    hides = seat.hides_queries
    asked = queries.BACKEND_DETAIL_HIDDEN if hides else queries.BACKEND_DETAIL
    started = instant(identity.backend_start)
    try:
        row = await seat.fetchrow(asked, identity.pid, started, limit_seconds=LIMIT_SECONDS)
        if row is None:
            return None
        locks = await seat.fetch(queries.BACKEND_LOCKS, identity.pid, limit_seconds=LIMIT_SECONDS)
        waiting = await seat.fetch(queries.BLOCKERS, limit_seconds=LIMIT_SECONDS)
    except (PgtopError, *DRIVER_ERRORS) as error:
        raise PgtopError("the server could not be asked", printable(str(error))) from error
    query = None if hides else row["query"].decode("utf-8", "replace")
    backend = Backend(
        row["pid"],
        row["backend_start"],
        row["state_change"],
        row["xact_start"],
        row["query_start"],
        row["state"],
        row["application_name"],
        row["usename"],
        row["datname"],
        row["client_addr"],
        row["client_port"],
        row["wait_event_type"],
        row["wait_event"],
        row["is_superuser"],
        query and query[:200],
    )
    blocked_by = {each["pid"]: frozenset(each["blocked_by"]) for each in waiting}
    return BackendDetail(
        now=row["now"],
        backend=backend,
        client_hostname=row["client_hostname"],
        backend_xid=row["backend_xid"],
        backend_xmin=row["backend_xmin"],
        tls=row["sslversion"] if row["ssl"] else None,
        query=query,
        locks=tuple(Lock(each["locktype"], each["mode"], each["granted"], _target(each)) for each in locks),
        blocked_by=tuple(sorted(blocked_by.get(identity.pid, ()))),
        blocks=tuple(sorted(pid for pid, pids in blocked_by.items() if identity.pid in pids)),
    )


def _target(row: asyncpg.Record) -> str:
    for column, word in (
        ("relation", "relation"),
        ("transactionid", "transaction"),
        ("virtualxid", "virtual transaction"),
    ):
        if row[column] is not None:
            page = f" page {row['page']}" if row["page"] is not None else ""
            tuple_ = f" tuple {row['tuple']}" if row["tuple"] is not None else ""
            return f"{word} {row[column]}{page}{tuple_}"
    if row["objid"] is not None:
        return f"{row['classid']}/{row['objid']}"
    return f"database {row['datname']}" if row["datname"] else ""


async def who_blocks(seat: Seat) -> Blocking:
    """Who blocks whom, right now. Raises PgtopError where it cannot be asked for."""
    try:
        rows = await seat.fetch(queries.BLOCKERS, limit_seconds=LIMIT_SECONDS)
        blocked_by = {row["pid"]: frozenset(row["blocked_by"]) for row in rows}
        prepared: list[asyncpg.Record] = []
        if any(0 in pids for pids in blocked_by.values()):
            prepared = await seat.fetch(queries.PREPARED_BLOCKERS, limit_seconds=LIMIT_SECONDS)
    except (PgtopError, *DRIVER_ERRORS) as error:
        raise PgtopError("the server could not be asked who blocks whom", printable(str(error))) from error
    return Blocking(
        blocked_by,
        tuple(
            PreparedTransaction(
                row["gid"], row["owner"], row["database"], row["prepared"], frozenset(row["waiting_pids"])
            )
            for row in prepared
        ),
    )
