"""The diagnosis: the rules in their order, each on the sessions that no earlier one explains."""

from collections.abc import Callable
from typing import Final

import msgspec

from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.findings import Finding, Grade, Kind, heaviest_first
from pgtop.core.diagnosis.kinds import (
    idle_in_transaction,
    leak,
    limit,
    lock_queue,
    login_stall,
    mixed,
    pool_arithmetic,
    silent_clients,
    slow_statements,
    surge,
    tools,
)
from pgtop.core.diagnosis.permission import missing_rights
from pgtop.core.diagnosis.scene import Before, Facts, Scene, scene_of
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds

Rule = Callable[[Scene], list[Finding]]

_STRUCTURE: Final[tuple[Rule, ...]] = (limit.find, login_stall.find, lock_queue.find)
"""These follow from the structure, and are said at any usage: somebody is refused, or waits."""
_PATTERNS: Final[tuple[Rule, ...]] = (
    idle_in_transaction.find,
    slow_statements.find,
    tools.find,
    silent_clients.find,
    leak.find,
    surge.find,
    pool_arithmetic.find,
)
_ENDED: Final = frozenset(
    {
        Kind.IDLE_IN_TRANSACTION,
        Kind.SLOW_STATEMENTS,
        Kind.TOOLS,
        Kind.SILENT_CLIENTS,
        Kind.LEAK,
    }
)
"""The kinds whose advice terminates sessions or cancels their queries."""
_EXPLAINED: Final = 0.5
"""From this part of the taken slots on, the findings are the explanation."""


def diagnose(
    snapshot: Snapshot,
    before: Before = Before(),  # noqa: B008 - frozen
    facts: Facts = Facts(),  # noqa: B008 - frozen
    *,
    warn_at: float = 0.8,
    thresholds: Thresholds = STANDARD,
) -> tuple[Finding, ...]:
    """Return what fills a server, the heaviest finding first; nothing below the floor is said.

    `warn_at` is a fraction of the slots: from there on there is always a word, if only a description.
    """
    return diagnose_scene(scene_of(snapshot, before, facts, thresholds), warn_at=warn_at)


def diagnose_scene(scene: Scene, *, warn_at: float) -> tuple[Finding, ...]:
    """Return what fills the server of a scene, as `diagnose` does."""
    snapshot = scene.snapshot
    found = _found(scene, _STRUCTURE)
    if snapshot.usage >= warn_at or _speaks(scene):
        found += _found(scene.without(found), _PATTERNS)
        explained = sum(each.slots for each in found)
        if snapshot.usage >= warn_at and explained < _EXPLAINED * snapshot.taken:
            found.append(mixed.describe(scene.without(found), is_rest=bool(found)))
    return tuple(_with_rights(snapshot, each) for each in heaviest_first(found))


def _with_rights(snapshot: Snapshot, finding: Finding) -> Finding:
    """Return the finding with the rights that its advice takes and pgtop's role lacks."""
    if finding.kind not in _ENDED:
        return finding
    backends = [snapshot.by_id[each] for each in finding.backends if each in snapshot.by_id]
    return msgspec.structs.replace(finding, advice=finding.advice + missing_rights(snapshot, backends))


def _found(scene: Scene, rules: tuple[Rule, ...]) -> list[Finding]:
    found: list[Finding] = []
    for rule in rules:
        new = rule(scene)
        found += new
        scene = scene.without(new)
    return found


def _speaks(scene: Scene) -> bool:
    """Return whether the server is full enough, or fills fast enough, for a word on what fills it."""
    limits, growth = scene.thresholds, scene.before.growth_per_minute
    if scene.snapshot.usage >= limits.speaks_from_usage:
        return True
    if scene.snapshot.waiting_on_locks >= scene.floor:
        return True
    soon = limits.speaks_before_full / limits.compression
    return growth is not None and growth > 0 and scene.free / growth * 60 <= soon


def is_said_beside(first: Finding, second: Finding) -> bool:
    """Return whether a second finding is heavy enough for a line of its own beside the first."""
    return second.grade is not Grade.MIXED and second.slots * 4 >= first.slots
