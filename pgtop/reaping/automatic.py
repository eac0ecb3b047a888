"""AutomaticReaper: what follows from a poll by itself. Of several, one reaps; a sweep is due or not; and what
became of the last one's room decides about the next.

The daemon and the dashboard's `A` both run this, and only this; it terminates sessions only by the reaper.
"""

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from pgtop.core.activity import MICROSECONDS, BackendId, ServerIdentity, Snapshot
from pgtop.core.diagnosis.findings import Finding, Kind
from pgtop.core.diagnosis.sweepable_kinds import hands_off, policy_for, scope_of, that_wont_hold
from pgtop.core.leadership import Key, PassedOver, Ranking, is_outdated, ranked
from pgtop.core.outage import Limit
from pgtop.core.plan import DecidedBy, Outcome, Plan, ReapPolicy, Scope
from pgtop.core.policy import is_emergency, is_over_line
from pgtop.core.retaken_slots import (
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
from pgtop.core.stalled_logins import Episode, Stall, stall_of, with_unlisted
from pgtop.errors import AuditError
from pgtop.postgres.advisory_keys import LONGEST_PROMISE_SECONDS, ReaperKeys, Seen
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.reaping.reaper import Reaper, Report

EVERY_SECONDS: Final = 60.0
INTERVAL_SECONDS: Final = 2.0

STUCK_SECONDS: Final = 600.0
"""Seconds to pass over a session that could not be terminated, so that the next longest idle makes room."""

LATE_SECONDS: Final = 10.0
"""Seconds a poll may come after its interval before its session counts as silent: as long as a poll may
take, or another process may hold the audit log's lock."""


_ASK_AGAIN_SECONDS: Final = 10.0
"""Seconds before asking again for a key that was not granted: the server's log tells of each refusal."""


class Unfit(StrEnum):
    """The reason this one leaves reaping to another; the value is the wording for people."""

    AUDIT = "its audit log cannot be written"
    DENIED = "its role may terminate none of the sessions that match its rules"
    NOBODY = "its rules match no session that may be terminated"


_DONE: Final = frozenset({Outcome.TERMINATED, Outcome.CHANGED})


class Turn(msgspec.Struct, frozen=True):
    """The result of one poll."""

    holders: tuple[Key, ...]
    """All pgtops that reap by themselves or stand by to, the active one first."""
    is_active: bool
    """True if the active one is this session."""
    patience: Patience
    plan: Plan | None = None
    """The plan that was due; None where none was."""
    report: Report | None = None
    """Its outcome; None if it had no victims, and in a dry run."""
    measured: tuple[Rebound, ...] = ()
    """The rebounds of earlier sweeps that were due to be measured at this poll; () if none was due."""
    passed_over: tuple[PassedOver, ...] = ()
    """Sessions that hold pgtop's key and do not count."""
    unfit: Unfit | None = None
    """The reason this one stands by for another that may be younger; None where it does not."""
    keyless: str = ""
    """The reason this one could not take the key, printable; "" where it holds it."""
    stall: Stall | None = None
    """The login stall that the poll shows: at most one session is ended for it."""
    stall_begins: bool = False
    """True in the first turn of a stall."""
    stall_is_over: bool = False
    """True in the turn at which logins have succeeded for long enough after one."""
    hands_off: str = ""
    """The reason nothing is swept over the line: no finding is of a kind asked for; "" elsewhere."""
    wont_hold: Finding | None = None
    """The first finding over the line, if its application takes at once what is freed; None elsewhere."""

    @property
    def active(self) -> Key | None:
        """The session that reaps."""
        return self.holders[0] if self.holders else None


class _Asked(msgspec.Struct, frozen=True):
    """The facts that a poll needs beside its snapshot."""

    refused: bool
    """A login was just refused for lack of a slot."""
    refusing: Limit | None
    """The limit that refuses logins; None if none does."""
    stall: Stall | None
    scope: Scope | None
    """The sessions that may be considered; None for all of them."""


class _Room(msgspec.Struct):
    freed: Freed
    ended_at: int
    """The end of the sweep, in microseconds by the server's clock."""
    measured_soon: bool = False


class AutomaticReaper:
    """Reap by itself, one poll after the other, over one connection.

    Emergencies are acted on in the poll that shows them; sweeps for usage at most every `every_seconds`,
    and not at all while the last ones did not help. Then emergencies, too, wait for that long, as they do
    after one that could terminate no session.

    In a login stall (`core.stalled_logins`) terminating sessions does not help. One is terminated as a try,
    and none after it until logins have succeeded again for CALM_SECONDS.

    One that cannot do what the usage asks for gives the key back where another could do better. It takes it
    again where the sessions that it would end are still there after the other has had its time.
    """

    def __init__(
        self,
        reaper: Reaper,
        own_connection: OwnConnection,
        policy: ReapPolicy,
        every_seconds: float = EVERY_SECONDS,
        *,
        interval_seconds: float = INTERVAL_SECONDS,
        only: tuple[Kind, ...] = (),
        dry_run: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` gives seconds and only runs forward; a dry run only plans, at the same pace."""
        self.policy = policy
        """The rules from the next turn on."""
        self.every_seconds = every_seconds
        self.only = only
        """The kinds of findings whose sessions are swept, in emergencies too; all sessions if empty."""
        self.interval_seconds = interval_seconds
        """From one turn to the next, as others are promised; counts from the next turn on."""
        self.patience = Patience()
        """The record of earlier sweeps on this server."""
        self.is_ending = False
        """True from the moment a plan is due to be carried out to its last outcome."""
        self._reaper = reaper
        self._own_connection = own_connection
        self._keys = ReaperKeys(own_connection)
        self._dry_run = dry_run
        self._clock = clock
        self._identity: ServerIdentity | None = None
        self._judged_by = policy, only
        self._asked_for: tuple[int, int, int] | None = None
        self._keyless = ""
        self._ask_again_at = 0.0
        self._forget()

    def _forget(self) -> None:
        self.patience = Patience()
        self._rooms: list[_Room] = []
        self._growth = Growth()
        self._last_sweep: float | None = None
        self._stuck: dict[BackendId, float] = {}
        self._was_in_vain = False
        self._stall = Episode()
        self._stall_told = False
        self._unfit: Unfit | None = None
        self._left: dict[BackendId, float] = {}

    @property
    def promise_seconds(self) -> int:
        """Within how many seconds its session is heard of again, unless it hangs or was stopped."""
        return min(math.ceil(self.interval_seconds + LATE_SECONDS), LONGEST_PROMISE_SECONDS)

    async def turn(
        self,
        snapshot: Snapshot,
        *,
        refused: bool = False,
        refusing: Limit | None = None,
        findings: Sequence[Finding] = (),
    ) -> Turn:
        """Do what this poll asks for. `findings` are those of the snapshot, the first one kept steady.

        `refused` tells of a login that was just refused for lack of a slot, once for each such login;
        `refusing` is what refuses logins, for as long as it does. Both count only if the address that they
        were tried at is the server's own.

        Raises PgtopError, an AuditError among them, and what the connection raises.
        """
        await self._reaper.write_owed()
        if snapshot.server.identity != self._identity:
            self._identity = snapshot.server.identity
            self._forget()
        if (self.policy, self.only) != self._judged_by:
            self._judged_by, self._unfit = (self.policy, self.only), None
        now = self._clock()
        self._growth.add(now, totals(snapshot), full=is_emergency(snapshot))
        measured = self._measure(snapshot, now)
        if refused and refusing is None:
            refusing = Limit.UNKNOWN
        if refusing is not None and not await self._own_connection.is_direct():
            refused, refusing = False, None  # another server behind that address may have refused
        snapshot = with_unlisted(snapshot, refusing)
        stall = stall_of(snapshot, self.policy.warn_at, refusing)
        self._stall = self._stall.after(stall, now)
        scope = scope_of(findings, self.only) if self.only else None
        asked = _Asked(refused, refusing, stall, scope)
        # What is planned as the rescue role is done as the rescue role.
        with self._own_connection.steady():
            turn = await self._lead_or_stand_by(snapshot, asked, now)
        begins = stall is not None and not self._stall_told
        is_over = self._stall_told and self._stall.last_seen is None
        self._stall_told = (self._stall_told or begins) and not is_over
        is_wanted = is_over_line(snapshot, self.policy) or is_emergency(snapshot, refused)
        return msgspec.structs.replace(
            turn,
            measured=measured,
            stall=stall,
            stall_begins=begins,
            stall_is_over=is_over,
            hands_off=hands_off(findings, self.only) if is_wanted and _is_empty(scope) else "",
            wont_hold=that_wont_hold(findings) if is_wanted and scope is None else None,
        )

    # Leading and standing by

    async def _lead_or_stand_by(self, snapshot: Snapshot, asked: _Asked, now: float) -> Turn:
        seen = await self._keys.seen()
        turn = self._standing(seen)
        if self._dry_run:
            turn = msgspec.structs.replace(turn, is_active=True)
        elif self._unfit is not None and self._betters(self._unfit, turn, snapshot):
            return await self._stay_aside(turn, snapshot, asked, now)
        else:
            self._left.clear()
            before = turn
            turn = await self._hold_key(turn, snapshot, now)
            if (
                turn.is_active
                and before.holders
                and _of(before.holders, self._own_connection.own_pid) is None
            ):
                # Another may be about to act on its last look: it sees this one in its next poll.
                return turn
        # A program that was stopped, and goes on now, has to look again before it acts.
        if not turn.is_active or is_outdated(snapshot.taken_at, seen.now, self.promise_seconds):
            return turn
        return await self._act(turn, snapshot, asked, now)

    def _standing(self, seen: Seen) -> Turn:
        """Return the standing of this process among the holders of the key."""
        ranking = ranked(seen.keys, self._own_connection.own_pid, seen.now)
        holders = ranking.holders
        is_first = bool(holders) and holders[0].pid == self._own_connection.own_pid
        return Turn(holders, is_first, self.patience, passed_over=ranking.passed_over)

    async def _hold_key(self, turn: Turn, snapshot: Snapshot, now: float) -> Turn:
        """The turn with the key in hand: a new connection has none yet, and a new promise needs a new one."""
        wanted = self._own_connection.own_pid, self.promise_seconds, self._rules(snapshot)
        is_held = _of(turn.holders, self._own_connection.own_pid) is not None
        if is_held and wanted == self._asked_for:
            return turn
        if not is_held and self._keyless and now < self._ask_again_at:
            return self._with(turn, self._keyless)
        self._asked_for = wanted
        self._keyless = await self._keys.take(*wanted[1:])
        self._ask_again_at = now + _ASK_AGAIN_SECONDS
        return self._with(self._standing(await self._keys.seen()), self._keyless)

    def _with(self, turn: Turn, keyless: str) -> Turn:
        """The standing of one that may have no key: better without it than that nobody reaps."""
        is_active = turn.is_active or (bool(keyless) and not turn.holders)
        return msgspec.structs.replace(turn, is_active=is_active, keyless=keyless)

    def _rules(self, snapshot: Snapshot) -> int:
        """A digest of all that decides about who may be ended: two with the same do no better than one."""
        privileges = snapshot.privileges
        told = msgspec.json.encode((self.policy, privileges.role, privileges.is_superuser, *self.only))
        return int.from_bytes(hashlib.blake2s(told, digest_size=4).digest(), "big")

    def _betters(self, unfit: Unfit, turn: Turn, snapshot: Snapshot) -> tuple[Key, ...]:
        """The other holders that may be able to do what this one is not."""
        others = tuple(each for each in turn.holders if each.pid != self._own_connection.own_pid)
        if unfit is Unfit.AUDIT:
            return others
        rules = self._rules(snapshot)
        return tuple(each for each in others if each.rules != rules)

    async def _resign(self, unfit: Unfit, turn: Turn, snapshot: Snapshot) -> Turn:
        """Take note that this one is unfit, and leave the key to another that may do better."""
        self._unfit = unfit
        if not self._betters(unfit, turn, snapshot):
            return turn
        return await self._without_key(turn)

    async def _without_key(self, turn: Turn) -> Turn:
        holders = tuple(each for each in turn.holders if each.pid != self._own_connection.own_pid)
        if len(holders) != len(turn.holders):
            await self._keys.give()
        return msgspec.structs.replace(turn, holders=holders, is_active=False, unfit=self._unfit)

    async def _stay_aside(self, turn: Turn, snapshot: Snapshot, asked: _Asked, now: float) -> Turn:
        """Leave it to another, and take the key again where that one leaves undone what this one could do.

        It acts from the next turn on, when the other has seen that it is back.
        """
        turn = await self._without_key(turn)
        # In a login stall one try is enough, and it is the leader's.
        if asked.stall is not None or not self._is_due(snapshot, asked, now, unhurried=True):
            self._left.clear()
            return turn
        plan = await self._plan(snapshot, asked, now)
        self._left = {each.backend.id: self._left.get(each.backend.id, now) for each in plan.victims}
        # In an emergency the other acts in the poll that shows it; on usage, once in a while.
        patience = 0.0 if is_emergency(snapshot, asked.refused) else 2 * self.every_seconds
        if not any(now - since > patience for since in self._left.values()):
            return turn
        if self._unfit is Unfit.AUDIT and not await self._reaper.can_write_audit():
            self._last_sweep = now
            return turn
        self._unfit = None
        self._left.clear()
        return await self._hold_key(msgspec.structs.replace(turn, unfit=None), snapshot, now)

    async def stop(self) -> None:
        """Give the key back where it is held, so that another may take over. Raises what a statement raises.

        What becomes of the room of earlier sweeps is not measured any more, since nobody looks meanwhile.
        """
        self._rooms.clear()
        if self._own_connection.is_held and not self._dry_run:
            await self._keys.give()

    async def look(self) -> Ranking:
        """The sessions that hold the key, the active one first. Raises what the connection raises."""
        seen = await self._keys.seen()
        return ranked(seen.keys, self._own_connection.own_pid, seen.now)

    # One plan

    async def _act(self, turn: Turn, snapshot: Snapshot, asked: _Asked, now: float) -> Turn:
        if not self._is_due(snapshot, asked, now):
            if self._unfit is Unfit.NOBODY and not is_over_line(snapshot, self.policy):
                self._unfit = None
            return turn
        plan = await self._plan(snapshot, asked, now)
        turn = msgspec.structs.replace(turn, plan=None if _is_empty(asked.scope) else plan)
        if not plan.victims:
            # As it is on a server where all are at work; another with other rules may find more.
            stays = self._dry_run or asked.stall is not None
            unfit = Unfit.DENIED if plan.forbidden else Unfit.NOBODY
            return turn if stays else await self._resign(unfit, turn, snapshot)
        if self._clock() - now > self.promise_seconds:
            return msgspec.structs.replace(turn, plan=None)
        self._last_sweep = now
        if asked.stall is not None:
            self._stall = self._stall.tried()
        if self._dry_run:
            return turn
        self.is_ending = True
        try:
            report = await self._reaper.run(plan, decided_by=DecidedBy.POLICY)
        except AuditError:
            await self._resign(Unfit.AUDIT, turn, snapshot)
            raise
        finally:
            self.is_ending = False
        self._note(report, snapshot, now)
        if self._unfit in (Unfit.AUDIT, Unfit.NOBODY):
            self._unfit = None
        turn = msgspec.structs.replace(turn, report=report)
        if any(each.outcome in _DONE for each in report.results):
            self._unfit = None
        elif any(each.outcome is Outcome.DENIED for each in report.results):
            return await self._resign(Unfit.DENIED, turn, snapshot)
        return turn

    async def _plan(self, snapshot: Snapshot, asked: _Asked, now: float) -> Plan:
        stuck = frozenset(each for each, until in self._stuck.items() if until > now)
        refused = asked.refusing if asked.refused or asked.stall is not None else None
        return await self._reaper.plan_reap(
            snapshot,
            policy_for(self.policy, self.only),
            refused=refused,
            stuck=stuck,
            may_try=True,
            scope=asked.scope,
        )

    def seconds_to_sweep(self) -> float:
        """Return the seconds until the next sweep for usage may come; 0 if it may come at once."""
        now = self._clock()
        pause = 0.0 if self._last_sweep is None else self._last_sweep + self.every_seconds - now
        return max(0.0, pause, self.patience.until - now)

    def seconds_to_rest(self) -> float:
        """Return the seconds for which sweeping for usage stays paused; 0 if it is not paused."""
        return max(0.0, self.patience.until - self._clock())

    def _is_due(self, snapshot: Snapshot, asked: _Asked, now: float, *, unhurried: bool = False) -> bool:
        """Return whether to make a plan; if `unhurried`, emergencies keep their distance, too."""
        if asked.stall is not None and self._stall.is_tried:
            return False
        waited = self._last_sweep is None or now - self._last_sweep >= self.every_seconds
        resting = self.patience.is_resting(now)
        if asked.stall is not None or is_emergency(snapshot, asked.refused):
            return waited or not (unhurried or resting or self._was_in_vain)
        return waited and not resting and is_over_line(snapshot, self.policy)

    def _note(self, report: Report, snapshot: Snapshot, began: float) -> None:
        """Remember the room made, to measure later which sessions take it, and the victims not terminated."""
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


def _is_empty(scope: Scope | None) -> bool:
    return scope is not None and not scope.sessions


def _of(holders: tuple[Key, ...], pid: int) -> Key | None:
    """The key of one session; None where it holds none."""
    return next((each for each in holders if each.pid == pid), None)
