"""A leak: sessions that an application took and does not give back.

A pool reuses an idle session before it opens another one. So a session that rests while its own client opened
a later one was overtaken: whoever holds it has lost it. Several processes behind one address overtake each
other too, but each only once a restart; a leak goes on and on.
"""

import re
from collections import Counter, defaultdict
from itertools import pairwise
from statistics import mean, pstdev
from typing import Final, NamedTuple

from pgtop.core.activity import MICROSECONDS, Backend
from pgtop.core.diagnosis.findings import Advice, Finding, Grade, Kind
from pgtop.core.diagnosis.scene import Application, Client, Scene, addresses_of, client_of, one_value
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


class _Evidence(NamedTuple):
    """The sessions that an application seems to have lost, among all that it has."""

    application: Application
    members: tuple[Backend, ...]
    lost: tuple[Backend, ...]


def find(scene: Scene, *, is_refused: bool = False) -> list[Finding]:
    """Return a finding for each program that leaks.

    `is_refused` says that its logins are refused, so that even a leak opens nothing any more. Sessions of one
    application_name are one program, whatever users and databases it logs in to: each may leak too little to
    be noticed alone. Sessions without a name are a program each for each user and database.
    """
    is_refused = is_refused or scene.free <= scene.thresholds.full_share * scene.snapshot.slots
    programs: defaultdict[str | Application, list[_Evidence]] = defaultdict(list)
    for application, members in scene.by_application.items():
        evidence = _evidence(scene, application, members)
        if evidence is not None:
            programs[application.application_name or application].append(evidence)
    return [finding for each in programs.values() for finding in _leaks(scene, each, is_refused)]


def _evidence(scene: Scene, application: Application, members: tuple[Backend, ...]) -> _Evidence | None:
    """Return the sessions that an application seems to have lost; None if it is in order."""
    limits = scene.thresholds
    parked = [each for each in members if scene.is_parked(each) and each.query_start is not None]
    lost = [each for each in _overtaken(scene, members, parked) if not _is_given_back(scene, each)]
    if len(lost) < limits.leak_least or len(lost) < limits.leak_of_parked * len(parked):
        return None
    return None if _came_and_went(scene, application) else _Evidence(application, members, tuple(lost))


def _leaks(scene: Scene, rows: list[_Evidence], is_refused: bool) -> list[Finding]:
    """Return the leak of a program as one finding, or else that of each of its users alone."""
    limits = scene.thresholds
    lost = [each for row in rows for each in row.lost]
    if len(lost) < max(limits.leak_sessions, limits.leak_share * scene.snapshot.slots):
        return []
    growth = _growth(scene, [each for row in rows for each in row.members], lost, is_refused)
    if growth is not None:
        return [_of(scene, tuple(row.application for row in rows), lost, growth)]
    return [] if len(rows) == 1 else [each for row in rows for each in _leaks(scene, [row], is_refused)]


def _overtaken(scene: Scene, members: tuple[Backend, ...], parked: list[Backend]) -> list[Backend]:
    """Return the parked sessions whose own client opened another one after them."""
    last: defaultdict[Client, int] = defaultdict(int)
    for each in members:
        if each.backend_start is not None:
            client = client_of(each)
            last[client] = max(last[client], each.backend_start)
    allowance = scene.thresholds.micros(scene.thresholds.overtaken)
    return [
        each
        for each in parked
        if each.state_change is not None and last[client_of(each)] > each.state_change + allowance
    ]


def _is_given_back(scene: Scene, lost: Backend) -> bool:
    """Return whether a pool holds the session: its last statement is the pool's, and it was used for long.

    A session that ran nothing else since it was opened is lost all the same: a check of health, perhaps, that
    opens a session for its SELECT 1, or a job that rolls back and forgets to close.
    """
    if not is_handed_back(lost.query) or lost.state_change is None or lost.backend_start is None:
        return False
    used, lived = lost.state_change - lost.backend_start, max(1, scene.now - lost.backend_start)
    return used > scene.thresholds.useful_share * lived


def _came_and_went(scene: Scene, application: Application) -> bool:
    """Return whether the watching shows that the application closes what it opens, or opens nothing."""
    limits, before = scene.thresholds, scene.before
    traffic = before.traffic.get(application)
    if traffic is None or before.watched_seconds < limits.watched / limits.compression:
        return False
    return traffic.opened == 0 or traffic.closed > limits.closed_of_opened * traffic.opened


def _growth(scene: Scene, members: list[Backend], lost: list[Backend], is_refused: bool) -> _Growth | None:
    """Return the course of the leak; None if it is a burst, or has stopped."""
    limits = scene.thresholds
    stops = sorted(each.state_change for each in lost if each.state_change is not None)
    # A program that leaks may have a pool in order too, of which some sessions have rested for days.
    stops = stops[int(limits.leak_older * len(stops)) :]
    span = stops[-1] - stops[0]
    if span < limits.micros(limits.leak_span):
        return None
    if not _is_steady(scene, stops) or not _is_in_order(scene, lost):
        return None
    starts = sorted(each.backend_start for each in members if each.backend_start is not None)
    gap = span / (len(stops) - 1)
    pause = max(limits.micros(limits.leak_pause), int(limits.leak_gaps * gap))
    if scene.now - starts[-1] > pause and not is_refused:
        return None
    gaps = [later - earlier for earlier, later in pairwise(stops)]
    is_periodic = (
        len(stops) >= limits.periodic_sessions
        and mean(gaps) > 0
        and pstdev(gaps) < limits.periodic * mean(gaps)
    )
    per_minute = (len(stops) - 1) / (span / MICROSECONDS / 60)
    return _Growth(stops[0], per_minute, gap / MICROSECONDS, is_periodic)


def _is_steady(scene: Scene, stops: list[int]) -> bool:
    """Return whether sessions were lost all the time, not in a burst."""
    limits, span = scene.thresholds, stops[-1] - stops[0]
    parts = 4 if len(stops) >= limits.leak_quarters_from else 3
    counted = Counter(min(parts - 1, (stop - stops[0]) * parts // span) for stop in stops)
    least = max(1, int(limits.leak_part * len(stops)))
    return all(counted[part] >= least for part in range(parts))


def _is_in_order(scene: Scene, lost: list[Backend]) -> bool:
    """Return whether the sessions were lost about in the order in which they were opened.

    Processes that rest do so in any order, whenever they were begun anew.
    """
    by_start = sorted(range(len(lost)), key=lambda nth: lost[nth].backend_start or 0)
    by_stop = sorted(range(len(lost)), key=lambda nth: lost[nth].state_change or 0)
    place = {nth: rank for rank, nth in enumerate(by_stop)}
    apart = sum((rank - place[nth]) ** 2 for rank, nth in enumerate(by_start))
    number = len(lost)
    return 1 - 6 * apart / (number * (number**2 - 1)) >= scene.thresholds.leak_order


def _of(scene: Scene, applications: tuple[Application, ...], lost: list[Backend], growth: _Growth) -> Finding:
    addresses = addresses_of(lost)
    statements = Counter(shown_statement(each.query) for each in lost if each.query)
    statement, number = statements.most_common(1)[0] if statements else ("", 0)
    full_at = scene.now + int(scene.free / growth.per_minute * 60 * MICROSECONDS)
    return Finding(
        kind=Kind.LEAK,
        grade=Grade.LOOKS_LIKE,
        slots=len(lost),
        sentence=_sentence(scene, applications, lost, growth, (statement, number), full_at),
        backends=tuple(each.id for each in lost),
        application_name=applications[0].application_name,
        usename=one_value(each.usename for each in applications),
        datname=one_value(each.datname for each in applications),
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
        advice=_advice(applications, lost),
    )


def _sentence(
    scene: Scene,
    applications: tuple[Application, ...],
    lost: list[Backend],
    growth: _Growth,
    statement: tuple[str, int],
    full_at: int,
) -> str:
    every = duration(growth.gap_seconds)
    first = applications[0]
    is_monitoring = _MONITORING.search(f"{first.application_name} {first.usename}") is not None
    roles = {each.usename for each in applications}
    name = first.name if len(roles) == 1 else f"{first.name} ({len(roles)} roles)"
    who = f"your monitoring leaks: {name}" if is_monitoring else f"leak in {name}"
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


def _advice(applications: tuple[Application, ...], lost: list[Backend]) -> tuple[Advice, ...]:
    role = one_value(each.usename for each in applications)
    found = [Advice(f"Sweep the sessions of {applications[0].name} alone", key="K on its row, or d K")]
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
