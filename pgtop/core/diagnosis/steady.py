"""The findings in the order that a screen keeps: the first one changes only for a reason that lasts."""

from collections.abc import Container
from typing import Final

import msgspec

from pgtop.core.activity import MICROSECONDS, BackendId
from pgtop.core.diagnosis.findings import Finding, Grade, Kind

HOLD_SECONDS: Final = 15.0
"""Seconds for which another finding must lead, or the first be missing, before the first line changes."""
LEAD: Final = 1.2
"""The number of times as many slots that another finding must hold."""

_OF_STATES: Final = frozenset(
    {Kind.LIMIT, Kind.LOGIN_STALL, Kind.LOCK_QUEUE, Kind.IDLE_IN_TRANSACTION, Kind.SLOW_STATEMENTS}
)
"""These tell of what sessions do right now: once that is over, the sentence would not be true any more."""

Cause = tuple[Kind, str | None, str | None, str | None]
"""The properties by which a finding is the same as an earlier one."""


def cause_of(finding: Finding) -> Cause:
    """Return the cause that a finding tells of, whatever its figures.

    A leak's user and database may come to be more than one while it goes on; a limit is of one of them.
    """
    is_limit = finding.kind is Kind.LIMIT
    owner = (finding.usename, finding.datname) if is_limit else (None, None)
    return (finding.kind, finding.application_name, *owner)


class Shown(msgspec.Struct, frozen=True):
    """The findings as they are shown."""

    findings: tuple[Finding, ...] = ()
    waiting_since: int | None = None
    """The time since which another finding leads, or the first is missing; microseconds, server's clock."""


def steady(
    before: Shown, found: tuple[Finding, ...], now: int, present: Container[BackendId] = frozenset()
) -> Shown:
    """Return the findings to show after those of a new snapshot: the first line does not flicker.

    `present` holds the sessions of the snapshot: a first finding that is missing is kept for a while only if
    most of its sessions are still there.
    """
    if not before.findings:
        return Shown(found)
    first = before.findings[0]
    again = next((each for each in found if cause_of(each) == cause_of(first)), None)
    if again is None:
        still_there = sum(each in present for each in first.backends) * 2 > len(first.backends)
        if first.grade is Grade.MIXED or first.kind in _OF_STATES or not still_there:
            return Shown(found)
        return _wait(before, found, now, first)
    if again is found[0] or again.grade is Grade.MIXED:
        return Shown(found)
    if found[0].slots >= LEAD * again.slots:
        return _wait(before, found, now, again)
    return Shown(_with_first(again, found))


def _wait(before: Shown, found: tuple[Finding, ...], now: int, first: Finding) -> Shown:
    """Return the findings with `first` at the front, or as they were found once that has lasted."""
    since = now if before.waiting_since is None else min(before.waiting_since, now)
    if now - since >= HOLD_SECONDS * MICROSECONDS:
        return Shown(found)
    if not any(each is first for each in found):
        # Its sessions may have changed since: nothing is done to them for what they were.
        first = msgspec.structs.replace(first, remedy=None)
    return Shown(_with_first(first, found), since)


def _with_first(first: Finding, found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return the findings with this one at the front; its sessions belong to no other finding."""
    own = set(first.backends)
    others = (
        each
        for each in found
        if each is not first and each.grade is not Grade.MIXED and own.isdisjoint(each.backends)
    )
    return (first, *others)
