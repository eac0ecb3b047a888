"""AutoReaper: what follows from a poll by itself. Of several, one reaps; a sweep is due or not; and what
became of the last one's room decides about the next.

The daemon and the dashboard's `A` both run this, and only this; it ends nobody but through the reaper.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from pgtop.core.activity import MICROSECONDS, BackendId, ServerIdentity, Snapshot
from pgtop.core.plan import Plan, ReapPolicy
from pgtop.core.policy import is_emergency
from pgtop.core.rebound import (
    BURST_SECONDS,
    LATER_SECONDS,
    SOON_SECONDS,
    Freed,
    Growth,
    Patience,
    Rebound,
    begun_after,
    rebound,
    totals,
)
from pgtop.postgres import queries
from pgtop.postgres.seat import Seat
from pgtop.reaper import Outcome, Reaper, Report

KEY: Final = (0x7067746F, 0x70726561)
"""The advisory key that a session holds while it reaps by itself: `pgto`, `prea` as two integers."""

EVERY_SECONDS: Final = 60.0

STUCK_SECONDS: Final = 600.0
"""How long a session that could not be ended is passed over, so that the next longest idle makes the room."""


class Holder(msgspec.Struct, frozen=True):
    """A session that reaps by itself, or stands by to."""

    pid: int
    backend_start: int
    application_name: str

    @property
    def host(self) -> str:
        """Where it runs: what its application_name says after the @."""
        return self.application_name.partition("@")[2]


class Turn(msgspec.Struct, frozen=True):
    """What one poll led to."""

    holders: tuple[Holder, ...]
    """All pgtops that hold the key, the active one first."""
    is_active: bool
    """Whether that is this session."""
    patience: Patience
    plan: Plan | None = None
    """The plan that was due; None where none was."""
    report: Report | None = None
    """What became of it; None where it had no victims, and in a dry run."""
    measured: tuple[Rebound, ...] = ()
    """What became of the room of earlier sweeps, where it was time to measure it."""

    @property
    def active(self) -> Holder | None:
        """Who reaps."""
        return self.holders[0] if self.holders else None


class _Room(msgspec.Struct):
    freed: Freed
    ended_at: int
    """When the sweep was over, microseconds by the server's clock."""
    measured_soon: bool = False


class AutoReaper:
    """Reaps by itself, one poll after the other, on one seat.

    Emergencies are acted on in the poll that shows them; sweeps for usage at most every `every_seconds`,
    and not at all while the last ones were no use. Then emergencies, too, wait for that long, as they do
    after one that could end nobody.
    """

    def __init__(
        self,
        reaper: Reaper,
        seat: Seat,
        policy: ReapPolicy,
        every_seconds: float = EVERY_SECONDS,
        *,
        dry_run: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` gives seconds and only runs forward; a dry run plans at the same pace, and ends nobody."""
        self.policy = policy
        """The rules from the next turn on."""
        self.every_seconds = every_seconds
        self.patience = Patience()
        """How sweeping has fared on this server."""
        self.is_ending = False
        """True from the moment a plan is due to be carried out to its last outcome."""
        self._reaper = reaper
        self._seat = seat
        self._dry_run = dry_run
        self._clock = clock
        self._identity: ServerIdentity | None = None
        self._forget()

    def _forget(self) -> None:
        self.patience = Patience()
        self._rooms: list[_Room] = []
        self._growth = Growth()
        self._last_sweep: float | None = None
        self._stuck: dict[BackendId, float] = {}
        self._was_in_vain = False

    async def turn(self, snapshot: Snapshot, *, refused: bool = False) -> Turn:
        """Does what this poll asks for; `refused` tells of a login that was just refused for want of a slot.

        Raises PgtopError, an AuditError among them, and what the seat raises.
        """
        if snapshot.server.identity != self._identity:
            self._identity = snapshot.server.identity
            self._forget()
        now = self._clock()
        self._growth.add(now, totals(snapshot), full=is_emergency(snapshot))
        measured = self._measure(snapshot, now)
        # What is planned as the rescue role is done as the rescue role.
        with self._seat.steady():
            return await self._act(snapshot, refused, now, measured)

    async def _act(
        self, snapshot: Snapshot, refused: bool, now: float, measured: tuple[Rebound, ...]
    ) -> Turn:
        holders = await self._hold_key(snapshot)
        turn = Turn(holders, self._is_first(holders), self.patience, measured=measured)
        if not turn.is_active or not self._is_due(snapshot, refused, now):
            return turn
        stuck = frozenset(each for each, until in self._stuck.items() if until > now)
        plan = await self._reaper.plan_reap(snapshot, self.policy, refused=refused, stuck=stuck)
        if not plan.victims:
            return msgspec.structs.replace(turn, plan=plan)
        self._last_sweep = now
        if self._dry_run:
            return msgspec.structs.replace(turn, plan=plan)
        self.is_ending = True
        try:
            report = await self._reaper.run(plan)
        finally:
            self.is_ending = False
        self._note(report, snapshot, now)
        return msgspec.structs.replace(turn, plan=plan, report=report)

    async def stop(self) -> None:
        """Gives the key back where it is held, so that another may take over. Raises what the seat raises.

        What becomes of the room of earlier sweeps is not measured any more, since nobody looks meanwhile.
        """
        self._rooms.clear()
        if self._seat.is_held and any(holder.pid == self._seat.own_pid for holder in await self.holders()):
            await self._seat.fetch(queries.GIVE_REAPER_KEY, *KEY)

    def seconds_to_sweep(self) -> float:
        """How long it is until a sweep for usage may come again; 0 where one may come at once."""
        now = self._clock()
        pause = 0.0 if self._last_sweep is None else self._last_sweep + self.every_seconds - now
        return max(0.0, pause, self.patience.until - now)

    def seconds_to_rest(self) -> float:
        """How long sweeping for usage still rests; 0 where it does not."""
        return max(0.0, self.patience.until - self._clock())

    async def holders(self) -> tuple[Holder, ...]:
        """Who holds the key, the active one first. Raises what the seat raises."""
        rows = await self._seat.fetch(queries.REAPER_KEY_HOLDERS, *KEY)
        return tuple(Holder(row["pid"], row["backend_start"], row["application_name"] or "") for row in rows)

    async def _hold_key(self, snapshot: Snapshot) -> tuple[Holder, ...]:
        """The holders, this session among them: it takes the key where a new seat has not got it yet."""
        holders = await self.holders()
        if self._dry_run or any(holder.pid == snapshot.own_pid for holder in holders):
            return holders
        await self._seat.fetch(queries.TAKE_REAPER_KEY, *KEY)
        return await self.holders()

    def _is_first(self, holders: tuple[Holder, ...]) -> bool:
        return self._dry_run or (bool(holders) and holders[0].pid == self._seat.own_pid)

    def _is_due(self, snapshot: Snapshot, refused: bool, now: float) -> bool:
        waited = self._last_sweep is None or now - self._last_sweep >= self.every_seconds
        resting = self.patience.is_resting(now)
        if is_emergency(snapshot, refused):
            return waited or not (resting or self._was_in_vain)
        return waited and not resting and snapshot.usage > self.policy.warn_at

    def _note(self, report: Report, snapshot: Snapshot, began: float) -> None:
        """Remembers the room that was made, to measure later who takes it, and who could not be ended."""
        until = self._clock() + STUCK_SECONDS
        self._stuck = {each: end for each, end in self._stuck.items() if each in snapshot.by_id}
        self._stuck |= {
            each.victim.backend.id: until
            for each in report.results
            if each.outcome in (Outcome.SURVIVED, Outcome.DENIED)
        }
        ended = Counter(
            result.victim.backend.application_name or ""
            for result in report.results
            if result.outcome is Outcome.TERMINATED
        )
        self._was_in_vain = not ended
        if not ended:
            return
        had = totals(snapshot)
        now = self._clock()
        growth = self._growth.of(ended, now)
        self._growth.swept(now)
        left = {name: had[name] - number for name, number in ended.items()}
        for room in self._rooms:
            less = {name: number - ended[name] for name, number in room.freed.left.items()}
            room.freed = msgspec.structs.replace(room.freed, left=less)
        taken = round((now - began) * MICROSECONDS)
        self._rooms.append(_Room(Freed(now, ended, left, growth), snapshot.taken_at + taken))

    def _measure(self, snapshot: Snapshot, now: float) -> tuple[Rebound, ...]:
        has = totals(snapshot)
        measured: list[Rebound] = []
        for room in list(self._rooms):
            age = now - room.freed.at
            if age >= SOON_SECONDS and not room.measured_soon:
                room.measured_soon = True
                late = begun_after(snapshot, room.ended_at + round(BURST_SECONDS * MICROSECONDS))
                measured.append(rebound(room.freed, has, now, SOON_SECONDS, late))
                self.patience = self.patience.after(measured[-1], now)
            if age >= LATER_SECONDS:
                measured.append(rebound(room.freed, has, now, LATER_SECONDS))
                self._rooms.remove(room)
        return tuple(measured)
