"""Slow statements: many sessions run the same statement for long, and new ones join them."""

from collections import Counter, defaultdict
from typing import Final

from pgtop.core.activity import ACTIVE, Backend
from pgtop.core.diagnosis.findings import ACT_KEYS, Advice, Finding, Grade, Kind, Remedy
from pgtop.core.diagnosis.scene import Scene, addresses_of, one_value
from pgtop.core.diagnosis.statements import fingerprint, shown_statement
from pgtop.core.diagnosis.wording import (
    age,
    brief,
    by_application,
    earliest,
    median_seconds,
    named,
    set_for_role,
)
from pgtop.core.plan import Act
from pgtop.core.session_labels import NO_APPLICATION, label, wait
from pgtop.core.text import duration, printable

_NO_WAIT: Final = "nothing: they are at work"


def find(scene: Scene) -> list[Finding]:
    """Return the statement that most of the slow sessions run, if there are enough."""
    limits = scene.thresholds
    slow = [
        each
        for each in scene.left
        if each.state == ACTIVE and not each.waits_on_lock and scene.rests_for(each, limits.slow)
    ]
    if len(slow) < scene.floor:
        return []
    alike: defaultdict[str, list[Backend]] = defaultdict(list)
    for each in slow:
        alike[fingerprint(each.query or "")].append(each)
    text, there = max(alike.items(), key=lambda item: len(item[1]))
    if not text or len(there) < max(scene.floor, limits.slow_alike * len(slow)):
        return []
    return [_of(scene, there)]


def _of(scene: Scene, there: list[Backend]) -> Finding:
    statement = shown_statement(there[0].query or "")
    middle = duration(median_seconds((each.query_start for each in there), scene.now))
    waits = Counter(printable(wait(each)) or _NO_WAIT for each in there).most_common()
    since = earliest(each.query_start for each in there)
    role = one_value(each.usename for each in there)
    alike = f"{len(there)}{_of_one(there)} run the same statement"
    return Finding(
        kind=Kind.SLOW_STATEMENTS,
        grade=Grade.LOOKS_LIKE,
        slots=len(there),
        sentence=(f"{alike} for {middle}: `{statement}`{_most(waits, len(there))}"),
        shorter=(
            f"{alike} for {middle}: `{statement}`",
            f"{alike} for {middle}: `{brief(statement)}`",
            f"{len(there)}{_of_one(there)} run for {middle}: `{brief(statement)}`",
            f"{alike} for {middle}",
            alike,
        ),
        backends=tuple(each.id for each in there),
        application_name=one_value(each.application_name for each in there),
        usename=role,
        datname=one_value(each.datname for each in there),
        addresses=addresses_of(there),
        since=since,
        evidence=(
            ("sessions that run it", str(len(there))),
            ("of", named(by_application(there))),
            ("median time so far", middle),
            ("running longest", age(since, scene.now)),
            ("they wait for", named(waits)),
        ),
        statements=(statement,),
        remedy=Remedy(Act.CANCEL, tuple(each.id for each in there)),
        advice=(
            Advice("Cancel the statement, not the sessions", key=ACT_KEYS),
            Advice(
                "Let the server end statements that run for too long, in sessions opened from now on",
                sql=set_for_role(role, "statement_timeout", "30s"),
            ),
        ),
    )


def _of_one(there: list[Backend]) -> str:
    """Return ` of web`, the application that all of them are of; "" if there is not one."""
    name = one_value(each.application_name for each in there)
    return f" of {label(name, NO_APPLICATION)}" if name else ""


def _most(waits: list[tuple[str, int]], number: int) -> str:
    """Return what more than half of them wait for; "" if there is no such thing."""
    event, most = waits[0]
    if most * 2 <= number:
        return ""
    return "; most wait for nothing, and are at work" if event == _NO_WAIT else f"; most wait for {event}"
