"""Termination of a server's sessions over SQL, through pgtop's connection.

One statement checks and signals each victim at once, so that a session that has changed since it was shown
lives.
"""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import msgspec

from pgtop.core.activity import (
    ACTIVE,
    MOST_CONNECTIONS,
    Backend,
    BackendId,
    Moment,
    Name,
    Pid,
    instant,
)
from pgtop.core.blocking import blocked_counts
from pgtop.core.plan import (
    LONGEST_QUERY_BYTES,
    Act,
    Guard,
    HeldLocks,
    Outcome,
    Plan,
    Result,
    Victim,
)
from pgtop.core.server_encodings import UTF8, as_text
from pgtop.core.text import printable
from pgtop.errors import PgtopError
from pgtop.postgres.blockers import blocking_pids
from pgtop.postgres.errors.kinds import ConnectionLostError, text_of
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS, NOT_TEXT
from pgtop.postgres.host_reading import HostReading
from pgtop.postgres.queries import terminate as queries
from pgtop.postgres.queries.advisory_keys import HELD_LOCKS
from pgtop.postgres.queries.poll import CLIENT_BACKEND_PIDS
from pgtop.postgres.row_decoding import MARGIN, typed
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.session.received_bytes_limit import ANSWER_BYTES, LONGEST_ANSWER_BYTES, MEBIBYTE

_STATEMENTS_BYTES: Final = 16 * MEBIBYTE
"""The most bytes of all the victims' statements together; each gets its share."""
_STATEMENT_BYTES: Final = 2 * LONGEST_QUERY_BYTES
"""And no more of one: three bytes of another encoding can be two in the log."""
_PIDS_BYTES: Final = 16 * MEBIBYTE
"""More than the rows of all pids can take."""


class _Holder(msgspec.Struct, frozen=True):
    pid: Pid
    holds_other: bool
    is_own: bool


class _Statement(msgspec.Struct, frozen=True):
    pid: Pid
    backend_start: Moment | None
    query: bytes


class _Remaining(msgspec.Struct, frozen=True):
    pid: Pid
    backend_start: Moment | None
    state: Name | None
    query_start: Moment | None


class _Listed(msgspec.Struct, frozen=True):
    pid: Pid
    listed_at: Moment


class SqlTerminator:
    """Reach the sessions of the server that a connection is to; see `pgtop.reaping.reaper.Terminator`."""

    def __init__(self, own_connection: OwnConnection) -> None:
        self._own_connection = own_connection
        self._host = HostReading(own_connection)

    async def held_locks(self) -> HeldLocks:
        """The sessions that hold advisory locks, and which of them are pgtop's.

        Raises PgtopError where they cannot be asked for.
        """
        rows = await _ask(self._own_connection, "which sessions hold advisory locks", HELD_LOCKS)
        found = typed(rows, _Holder, MOST_CONNECTIONS + MARGIN)
        return HeldLocks(
            advisory=frozenset(row.pid for row in found if row.holds_other),
            own=frozenset(row.pid for row in found if row.is_own),
        )

    async def blocking_pids(self) -> dict[int, frozenset[int]] | None:
        """Return the pids that block each waiting session; None if the server refuses to tell.

        Raises PgtopError where the connection is lost.
        """
        try:
            return await blocking_pids(self._own_connection)
        except (PgtopError, *DRIVER_ERRORS) as error:
            if isinstance(error, asyncpg.PostgresError) and self._own_connection.is_held:
                return None
            raise _unasked("which sessions wait for locks", error) from error

    async def termination(self, plan: Plan) -> "SqlTermination":
        """Prepare the termination of a plan's victims.

        Raises PgtopError where the connection is lost, and where the server was out of sight since the plan
        was made.
        """
        whole = {} if self._own_connection.hides_queries else await self._whole_queries(plan)
        blocked = await self._blocked(plan)
        if plan.interruptions != self._own_connection.interruptions:
            raise out_of_sight_error()
        return SqlTermination(self._own_connection, self._host, plan, whole, blocked)

    async def _blocked(self, plan: Plan) -> dict[BackendId, int]:
        """Return the number of sessions that wait for a lock behind each victim; {} if the server refuses.

        Raises PgtopError where the connection is lost.
        """
        victims = [victim.backend.id for victim in plan.victims]
        if not plan.may_block:
            return dict.fromkeys(victims, 0)
        blocked_by = await self.blocking_pids()
        if blocked_by is None:
            return {}
        counts = blocked_counts([each.pid for each in victims], blocked_by)
        return {each: counts[each.pid] for each in victims}

    async def _whole_queries(self, plan: Plan) -> dict[BackendId, str]:
        share = min(_STATEMENT_BYTES, _STATEMENTS_BYTES // max(1, len(plan.victims)))
        pids = _pids_of(plan.victims), share
        what, encoding = "for the sessions' queries", UTF8
        try:
            rows = await _ask(
                self._own_connection, what, queries.WHOLE_QUERIES, *pids, limit_bytes=LONGEST_ANSWER_BYTES
            )
        except PgtopError as error:
            if not isinstance(error.__cause__, NOT_TEXT):
                raise
            asked = queries.WHOLE_QUERIES_UNCONVERTED
            rows = await _ask(self._own_connection, what, asked, *pids, limit_bytes=LONGEST_ANSWER_BYTES)
            encoding = self._own_connection.encoding
        return {
            BackendId(row.pid, row.backend_start or 0): as_text(row.query, encoding)
            for row in typed(rows, _Statement, len(plan.victims))
        }


class SqlTermination:
    """One plan's termination, from one backend of pgtop's: a `reaping.reaper.Termination`."""

    def __init__(
        self,
        own_connection: OwnConnection,
        host: HostReading,
        plan: Plan,
        whole_queries: dict[BackendId, str],
        blocked: dict[BackendId, int],
    ) -> None:
        self._own_connection = own_connection
        self._host = host
        self._plan = plan
        self._connection_pid = own_connection.own_pid
        self.queries = whole_queries
        """The victims' statements, as far as they are logged; none where they are hidden."""
        self.blocked = blocked
        """The sessions that waited for a lock behind each victim; {} where that is unknown."""
        self.role, self.is_rescue = own_connection.role, own_connection.is_rescue
        """The role that the session has, and whether that is the rescue role."""

    async def signal(self, victim: Victim) -> Result | None:
        """Look and signal in one statement; None where the signal was sent and is yet to be confirmed."""
        if not self._own_connection.is_held or self._own_connection.own_pid != self._connection_pid:
            return Result(victim, Outcome.FAILED, "not signalled: the connection was lost")
        statement, arguments = guarded_statement(self._plan, victim)
        try:
            row = await self._own_connection.fetchrow(statement, *arguments)
        except asyncpg.InsufficientPrivilegeError as error:
            return Result(victim, Outcome.DENIED, printable(str(error)))
        except (PgtopError, *DRIVER_ERRORS) as error:
            refused = isinstance(error, asyncpg.PostgresError) and self._own_connection.is_held
            return Result(victim, Outcome.FAILED if refused else Outcome.UNKNOWN, printable(str(error)))
        if row is None:
            return Result(victim, Outcome.CHANGED, "it has changed since")
        if not isinstance(row.get("signalled"), bool):
            return Result(victim, Outcome.UNKNOWN, "the server's answer could not be read")
        if not row["signalled"]:
            return Result(victim, Outcome.CHANGED, "it had just disconnected")
        return None

    async def remaining(self, victims: Sequence[Victim]) -> frozenset[BackendId]:
        """Those that are still there, or still run what was cancelled. Raises PgtopError: nobody knows."""
        # The poll may have connected again, on another host even, where these pids mean nothing.
        if self._own_connection.own_pid != self._connection_pid:
            raise ConnectionLostError("pgtop has reconnected meanwhile")
        try:
            rows = await self._own_connection.fetch(queries.STILL_THERE, _pids_of(victims))
        except DRIVER_ERRORS as error:
            raise PgtopError(text_of(error)) from error
        found = typed(rows, _Remaining, len(victims))
        there = {BackendId(row.pid, row.backend_start or 0): row for row in found}
        act = self._plan.act
        return frozenset(
            victim.backend.id
            for victim in victims
            if _unmoved(act, victim.backend, there.get(victim.backend.id))
        )

    async def taken(self) -> int | None:
        """Return the slots that are taken now; None where they cannot be counted.

        They are counted as in the plan: where the host cannot be read, the unlisted clients are still those
        of the plan, since terminating sessions does not free those slots.
        """
        if self._own_connection.own_pid != self._connection_pid:
            return None
        try:
            rows = await self._own_connection.fetch(CLIENT_BACKEND_PIDS, limit_bytes=_PIDS_BYTES)
            listed = typed(rows, _Listed, MOST_CONNECTIONS + MARGIN)
        except (PgtopError, *DRIVER_ERRORS):
            return None
        pids = frozenset(each.pid for each in listed)
        unlisted = await self._host.beside(pids, listed[0].listed_at) if listed else None
        return len(listed) + (self._plan.unlisted if unlisted is None else unlisted)


def out_of_sight_error() -> PgtopError:
    """A plan over what was seen before an outage, when nobody knows what became of it meanwhile."""
    return PgtopError("the connection was lost after planning: nothing was terminated", "try again")


def _pids_of(victims: Sequence[Victim]) -> str:
    """Their pids as PostgreSQL writes an array of them, as `queries` takes it."""
    return "{" + ",".join(str(victim.backend.pid) for victim in victims) + "}"


async def _ask(
    own_connection: OwnConnection, what: str, query: str, *arguments: object, limit_bytes: int = ANSWER_BYTES
) -> list[asyncpg.Record]:
    """Rows that are needed before anything may be ended."""
    try:
        return await own_connection.fetch(query, *arguments, limit_bytes=limit_bytes)
    except (PgtopError, *DRIVER_ERRORS) as error:
        raise _unasked(what, error) from error


def _unasked(what: str, error: BaseException) -> PgtopError:
    problem = f"the server could not be asked {what} ({printable(str(error))})"
    return PgtopError(problem, "nothing was terminated; try again")


def _unmoved(act: Act, backend: Backend, row: _Remaining | None) -> bool:
    """True while a signalled victim is still there, or still runs the statement that was cancelled."""
    if row is None:
        return False
    if act is Act.TERMINATE:
        return True
    return bool(row.state == ACTIVE and row.query_start == backend.query_start)


def guarded_statement(plan: Plan, victim: Victim) -> tuple[str, list[Any]]:
    """The one statement that ends (or cancels) a victim while it is what was shown, with its arguments."""
    backend = victim.backend
    identity = plan.server.identity
    arguments: list[Any] = [
        backend.pid,
        instant(backend.backend_start),
        instant(identity.postmaster_start),
        identity.in_recovery,
    ]
    if plan.act is Act.CANCEL:
        return queries.CANCEL_IF_SAME_STATEMENT, [*arguments, instant(backend.query_start)]
    if victim.guard is Guard.STATE:
        return queries.TERMINATE_IF_STATE_UNCHANGED, [
            *arguments,
            backend.state,
            instant(backend.state_change),
        ]
    if victim.guard is Guard.TRANSACTION:
        return queries.TERMINATE_IF_SAME_TRANSACTION, [*arguments, instant(backend.xact_start)]
    return queries.TERMINATE_IF_SAME_SESSION, arguments
