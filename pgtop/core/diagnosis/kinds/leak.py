"""A leak: sessions that an application took and does not give back.

A pool reuses an idle session before it opens another one. So a session that rests while its own client opened
a later one was overtaken: whoever holds it has lost it. Several processes behind one address overtake each
other too, but each only once a restart; a leak goes on and on.
"""

import re
from collections import Counter, defaultdict
from itertools import pairwise
from statistics import mean, median, pstdev
from typing import Final, NamedTuple

from pgtop.core.activity import MICROSECONDS, Backend
from pgtop.core.diagnosis.findings import Advice, Finding, Grade, Kind
from pgtop.core.diagnosis.scene import Application, Client, Scene, addresses_of, client_of
from pgtop.core.diagnosis.statements import is_handed_back, shown_statement
from pgtop.core.diagnosis.wording import age, origins, quoted, rate_words, set_for_role, since_words
from pgtop.core.text import clock, duration

_MONITORING: Final = re.compile(
    r"exporter|datadog|zabbix|pgwatch|temboard|telegraf|prometheus|newrelic|nagios|munin|checkmk",
    re.IGNORECASE,
)


class _Growth(NamedTuple):
    """The course of a leak in time."""

    since: int
    per_minute: float
    gap_seconds: float
    is_periodic: bool


def find(scene: Scene) -> list[Finding]:
    """Return a finding for each application that leaks."""
    return [
        finding
        for application, members in scene.by_application.items()
        if (finding := _leak(scene, application, members)) is not None
    ]


def _leak(scene: Scene, application: Application, members: tuple[Backend, ...]) -> Finding | None:
    limits = scene.thresholds
    parked = [each for each in members if scene.is_parked(each)]
    lost = _overtaken(scene, members, parked)
    least = max(limits.leak_sessions, limits.leak_share * scene.snapshot.slots)
    if len(lost) < least or len(lost) < limits.leak_of_parked * len(parked):
        return None
    if _was_given_back(scene, lost) or _came_and_went(scene, application):
        return None
    growth = _growth(scene, members, lost)
    return None if growth is None else _of(scene, application, lost, growth)


def _overtaken(scene: Scene, members: tuple[Backend, ...], parked: list[Backend]) -> list[Backend]:
    """Return the parked sessions whose own client opened another one after them."""
    last: defaultdict[Client, int] = defaultdict(int)
    for each in members:
        if each.backend_start is not None:
            last[client_of(each)] = max(last[client_of(each)], each.backend_start)
    allowance = scene.thresholds.micros(scene.thresholds.overtaken)
    return [
        each
        for each in parked
        if each.state_change is not None and last[client_of(each)] > each.state_change + allowance
    ]


def _was_given_back(scene: Scene, lost: list[Backend]) -> bool:
    """Return whether these are sessions of several pools behind one address, given back and at rest."""
    limits, now = scene.thresholds, scene.now
    returned = sum(is_handed_back(each.query) for each in lost)
    useful = [
        (each.state_change - each.backend_start) / max(1, now - each.backend_start)
        for each in lost
        if each.state_change is not None and each.backend_start is not None
    ]
    return returned > limits.returned_share * len(lost) and median(useful) > limits.useful_share


def _came_and_went(scene: Scene, application: Application) -> bool:
    """Return whether the watching shows that the application closes what it opens, or opens nothing."""
    limits, before = scene.thresholds, scene.before
    traffic = before.traffic.get(application)
    if traffic is None or before.watched_seconds < limits.watched / limits.compression:
        return False
    return traffic.opened == 0 or traffic.closed > limits.closed_of_opened * traffic.opened


def _growth(scene: Scene, members: tuple[Backend, ...], lost: list[Backend]) -> _Growth | None:
    """Return the course of the leak; None if it is a burst, or has stopped."""
    limits = scene.thresholds
    stops = sorted(each.state_change for each in lost if each.state_change is not None)
    span = stops[-1] - stops[0]
    if span < limits.micros(limits.leak_span):
        return None
    quarters = Counter(min(3, (stop - stops[0]) * 4 // span) for stop in stops)
    if any(quarters[number] < limits.leak_quarter * len(stops) for number in range(4)):
        return None
    starts = sorted(each.backend_start for each in members if each.backend_start is not None)
    gap = span / (len(stops) - 1)
    pause = max(limits.micros(limits.leak_pause), int(limits.leak_gaps * gap))
    if scene.now - starts[-1] > pause:
        return None
    gaps = [later - earlier for earlier, later in pairwise(stops)]
    is_periodic = (
        len(stops) >= limits.periodic_sessions
        and mean(gaps) > 0
        and pstdev(gaps) < limits.periodic * mean(gaps)
    )
    per_minute = (len(stops) - 1) / (span / MICROSECONDS / 60)
    return _Growth(stops[0], per_minute, gap / MICROSECONDS, is_periodic)


def _of(scene: Scene, application: Application, lost: list[Backend], growth: _Growth) -> Finding:
    addresses = addresses_of(lost)
    statements = Counter(shown_statement(each.query) for each in lost if each.query)
    statement, number = statements.most_common(1)[0] if statements else ("", 0)
    full_at = scene.now + int(scene.free / growth.per_minute * 60 * MICROSECONDS)
    return Finding(
        kind=Kind.LEAK,
        grade=Grade.LOOKS_LIKE,
        slots=len(lost),
        sentence=_sentence(scene, application, lost, growth, (statement, number), full_at),
        backends=tuple(each.id for each in lost),
        application_name=application.application_name,
        usename=application.usename,
        datname=application.datname,
        addresses=addresses,
        since=growth.since,
        per_minute=growth.per_minute,
        full_at=full_at,
        evidence=(
            ("idle sessions, overtaken by newer ones of the same client", str(len(lost))),
            ("first of them came to rest", age(growth.since, scene.now)),
            ("one more each", duration(growth.gap_seconds)),
            ("addresses", origins(addresses, 6)),
            *([("last statement of most", f"{statement} ({number})")] if statement else []),
        ),
        advice=_advice(application, lost),
    )


def _sentence(
    scene: Scene,
    application: Application,
    lost: list[Backend],
    growth: _Growth,
    statement: tuple[str, int],
    full_at: int,
) -> str:
    every = duration(growth.gap_seconds)
    is_monitoring = _MONITORING.search(f"{application.application_name} {application.usename}") is not None
    who = f"your monitoring leaks: {application.name}" if is_monitoring else f"leak in {application.name}"
    pace = f"{rate_words(growth.per_minute)} (one each {every})"
    if growth.is_periodic:
        pace = f"one each {every}: a scraper or cron"
    full = f", full at {clock(full_at, seconds=False)}" if scene.free else ""
    text, number = statement
    last = f"; {number} last ran `{text}`" if text and number > len(lost) / 2 else ""
    return (
        f"{who}{since_words(growth.since)}: {len(lost)} parked, {pace}{full}{last}; "
        f"from {origins(addresses_of(lost))}"
    )


def _advice(application: Application, lost: list[Backend]) -> tuple[Advice, ...]:
    role = application.usename
    found = [Advice(f"Sweep the sessions of {application.name} alone", key="K on its row, or d K")]
    if role is not None:
        fence = max(10, len(lost) // 2)
        found.append(
            Advice(
                "Until the code is mended, let the server bound it",
                sql=f"ALTER ROLE {quoted(role)} CONNECTION LIMIT {fence};\n"
                + set_for_role(role, "idle_session_timeout", "10min"),
            )
        )
    return tuple(found)
