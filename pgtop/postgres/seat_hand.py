"""The seat's hand: how the reaper reaches a server's sessions over SQL.

Each victim is ended by one statement that looks and signals at once, so that a session that is no longer what
was shown lives.
"""

from collections.abc import Sequence

import asyncpg

from pgtop.core.activity import ACTIVE, Backend, BackendId
from pgtop.core.outcome import Outcome, Result
from pgtop.core.plan import Act, Plan, Victim
from pgtop.core.text import printable
from pgtop.errors import PgtopError
from pgtop.postgres import queries
from pgtop.postgres.faults import DRIVER_ERRORS, NOT_TEXT, SeatLostError
from pgtop.postgres.guard import guarded_statement
from pgtop.postgres.seat import Seat


class SeatHand:
    """Reaches the sessions of the server that a seat is on; see `pgtop.reaper.Hand`."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    async def advisory_lock_holders(self) -> frozenset[int]:
        """Pids that hold session-level advisory locks. Raises PgtopError where they cannot be asked for."""
        rows = await _ask(self._seat, "who holds advisory locks", queries.ADVISORY_LOCK_HOLDERS)
        return frozenset(row["pid"] for row in rows)

    async def grip(self, plan: Plan) -> "SeatGrip":
        """Lays the hand on a plan's victims. Raises PgtopError where the connection is lost."""
        whole = {} if self._seat.hides_queries else await self._whole_queries(plan)
        return SeatGrip(self._seat, plan, whole)

    async def _whole_queries(self, plan: Plan) -> dict[BackendId, str]:
        pids = [victim.backend.pid for victim in plan.victims]
        what = "for the victims' statements"
        try:
            rows = await _ask(self._seat, what, queries.WHOLE_QUERIES, pids)
        except PgtopError as error:
            if not isinstance(error.__cause__, NOT_TEXT):
                raise
            rows = await _ask(self._seat, what, queries.WHOLE_QUERIES_UNCONVERTED, pids)
        return {
            BackendId(row["pid"], row["backend_start"] or 0): row["query"].decode("utf-8", "replace")
            for row in rows
        }


class SeatGrip:
    """The hand on one plan's victims, from one backend of the seat; see `pgtop.reaper.Grip`."""

    def __init__(self, seat: Seat, plan: Plan, whole_queries: dict[BackendId, str]) -> None:
        self._seat = seat
        self._plan = plan
        self._seat_pid = seat.own_pid
        self.queries = whole_queries
        """The victims' statements, whole; none where they are hidden."""
        self.role, self.is_rescue = seat.role, seat.is_rescue
        """As whom the seat is held, and whether that is the rescue role."""

    async def signal(self, victim: Victim) -> Result | None:
        """Looks and signals in one statement; None where the signal was sent and is yet to be confirmed."""
        if not self._seat.is_held or self._seat.own_pid != self._seat_pid:
            return Result(victim, Outcome.FAILED, "not signalled: the connection was lost")
        statement, arguments = guarded_statement(self._plan, victim)
        try:
            row = await self._seat.fetchrow(statement, *arguments)
        except asyncpg.InsufficientPrivilegeError as error:
            return Result(victim, Outcome.DENIED, printable(str(error)))
        except (PgtopError, *DRIVER_ERRORS) as error:
            refused = isinstance(error, asyncpg.PostgresError) and self._seat.is_held
            return Result(victim, Outcome.FAILED if refused else Outcome.UNKNOWN, printable(str(error)))
        if row is None:
            return Result(victim, Outcome.CHANGED, "no longer what was shown")
        if not row["signalled"]:
            return Result(victim, Outcome.CHANGED, "it had just left")
        return None

    async def remaining(self, victims: Sequence[Victim]) -> frozenset[BackendId]:
        """Those that are still there, or still run what was cancelled. Raises PgtopError: nobody knows."""
        # The poll may have taken the seat again, on another host even, where these pids mean nothing.
        if self._seat.own_pid != self._seat_pid:
            raise SeatLostError("the seat is another one by now")
        try:
            rows = await self._seat.fetch(queries.STILL_THERE, [victim.backend.pid for victim in victims])
        except DRIVER_ERRORS as error:
            raise PgtopError(printable(str(error))) from error
        there = {BackendId(row["pid"], row["backend_start"] or 0): row for row in rows}
        act = self._plan.act
        return frozenset(
            victim.backend.id
            for victim in victims
            if _unmoved(act, victim.backend, there.get(victim.backend.id))
        )

    def release(self) -> None:
        """Nothing to give back: the seat is its owner's."""


async def _ask(seat: Seat, what: str, query: str, *arguments: object) -> list[asyncpg.Record]:
    """Rows that are needed before anything may be ended."""
    try:
        return await seat.fetch(query, *arguments)
    except (PgtopError, *DRIVER_ERRORS) as error:
        problem = f"the server could not be asked {what} ({printable(str(error))})"
        raise PgtopError(problem, "nothing was ended; try again") from error


def _unmoved(act: Act, backend: Backend, row: asyncpg.Record | None) -> bool:
    """True while a signalled victim is still there, or still runs the statement that was cancelled."""
    if row is None:
        return False
    if act is Act.TERMINATE:
        return True
    return bool(row["state"] == ACTIVE and row["query_start"] == backend.query_start)
