"""A leak: sessions that an application took and does not give back.

A pool reuses an idle session before it opens another one. So a session that rests while its own client opened
a later one was overtaken: whoever holds it has lost it. Several processes behind one address overtake each
other too, but each only once a restart; a leak goes on and on.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from statistics import mean, pstdev
from typing import Final, NamedTuple

import msgspec

from pgtop.core.activity import IDLE, MICROSECONDS, Backend, BackendId
from pgtop.core.diagnosis.findings import ACT_KEYS, Advice, Finding, Grade, Kind, Remedy
from pgtop.core.diagnosis.forecast import at_pace
from pgtop.core.diagnosis.scene import Application, Scene, Traffic, addresses_of, one_value
from pgtop.core.diagnosis.statements import is_handed_back, is_keepalive
from pgtop.core.diagnosis.wording import (
    age,
    code_advice,
    last_of_most,
    origins,
    quoted,
    rate_words,
    set_for_role,
    since_words,
)
from pgtop.core.plan import Act
from pgtop.core.session_labels import address
from pgtop.core.text import span

MONITORING: Final = re.compile(
    r"exporter|datadog|zabbix|pgwatch|temboard|telegraf|prometheus|newrelic|nagios|munin|checkmk",
    re.IGNORECASE,
)


_TIMERS_SECONDS: Final = 5.0
"""A scraper or a cron job comes no more often than this; a loop does."""


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
    swept: frozenset[BackendId]
    """Those of them that pgtop terminated: they tell of the leak, and hold no slot."""


def find(scene: Scene, *, is_refused: bool = False) -> list[Finding]:
    """Return a finding for each program that leaks.

    `is_refused` says that its logins are refused, so that even a leak opens nothing any more. Sessions of one
    application_name are one program, whatever users and databases it logs in to: each may leak too little to
    be noticed alone. Sessions without a name are a program each for each user and database.
    """
    limits, slots = scene.thresholds, scene.snapshot.slots
    is_refused = is_refused or scene.free <= limits.full_share * slots
    least = max(limits.leak_sessions, limits.leak_share * slots)
    found: list[Finding] = []
    for name, rows in scene.by_name.items():
        for program in [rows] if name else [(row,) for row in rows]:
            swept = [scene.swept_by_application.get(application, ()) for application, _ in program]
            if sum(len(members) for _, members in program) + sum(map(len, swept)) >= least:
                evidence = [_evidence(scene, application, members) for application, members in program]
                found += _leaks(scene, [each for each in evidence if each is not None], is_refused)
    return found + [each for finding in _numbered(scene, is_refused) for each in finding]


def _numbered(scene: Scene, is_refused: bool) -> Iterator[list[Finding]]:
    """Yield the leaks of programs that put a number of their own into each name.

    Processes that are named so overtake each other: only sessions mostly used once tell of a leak.
    """
    limits = scene.thresholds
    for common, members in scene.by_numbered_name.items():
        by_owner: defaultdict[Application, list[Backend]] = defaultdict(list)
        for each in members:
            by_owner[Application(common, each.usename, each.datname)].append(each)
        for application, there in by_owner.items():
            if max(Counter(each.application_name for each in there).values()) >= limits.leak_sessions:
                continue
            evidence = _evidence(scene, application, tuple(there))
            if evidence is not None and _is_used_once(scene, evidence.lost):
                yield _leaks(scene, [evidence], is_refused)


def is_suspected(scene: Scene, application: Application, members: tuple[Backend, ...]) -> bool:
    """Return whether most sessions that an application seems to have lost were used only once.

    It may be too early to say since when it leaks, but its sessions are not those of a pool.
    """
    evidence = _evidence(scene, application, members)
    if evidence is None or len(evidence.lost) < scene.thresholds.leak_sessions:
        return False
    return _is_used_once(scene, evidence.lost)


def _is_used_once(scene: Scene, lost: tuple[Backend, ...]) -> bool:
    """Return whether most of some sessions rest since soon after they were opened."""
    once = sum(_used_share(scene, each) <= scene.thresholds.useful_share for each in lost)
    return once > len(lost) / 2


def _evidence(scene: Scene, application: Application, members: tuple[Backend, ...]) -> _Evidence | None:
    """Return the sessions that an application seems to have lost; None if it is in order."""
    limits = scene.thresholds
    swept = scene.swept_by_application.get(application, ())
    members = (*members, *swept)
    if _is_seen_to_grow(scene, application):
        members = tuple(map(_without_keepalive, members))
    # An application that is known to leak has its next sessions believed sooner.
    at_rest = scene.is_at_rest if swept else scene.is_parked
    parked = [each for each in members if at_rest(each) and each.query_start is not None]
    lost = [each for each in _overtaken(scene, members, parked) if not _is_given_back(scene, each)]
    if len(lost) < limits.leak_least or len(lost) < limits.leak_of_parked * len(parked):
        return None
    if _came_and_went(scene, application):
        return None
    return _Evidence(application, members, tuple(lost), frozenset(each.id for each in swept))


def _leaks(scene: Scene, rows: list[_Evidence], is_refused: bool) -> list[Finding]:
    """Return the leak of a program as one finding, or else that of each of its users alone."""
    limits = scene.thresholds
    lost = [each for row in rows for each in row.lost]
    least = max(limits.leak_sessions, limits.leak_share * scene.snapshot.slots)
    if len(lost) < max(least, limits.leak_of_address * len({address(each) for each in lost})):
        return []
    swept = frozenset[BackendId]().union(*(row.swept for row in rows))
    living = [each for each in lost if each.id not in swept]
    if len(living) < limits.leak_least:
        return []
    growth = _growth(scene, [each for row in rows for each in row.members], lost, is_refused)
    if growth is not None:
        terminated = len(lost) - len(living)
        return [_of(scene, tuple(row.application for row in rows), living, growth, terminated)]
    return [] if len(rows) == 1 else [each for row in rows for each in _leaks(scene, [row], is_refused)]


def _overtaken(scene: Scene, members: tuple[Backend, ...], parked: list[Backend]) -> list[Backend]:
    """Return the parked sessions whose own client opened another one after them."""
    if not parked:
        return []
    last: defaultdict[str | None, int] = defaultdict(int)
    for each in members:
        start, place = each.backend_start, address(each)
        if start is not None and start > last[place]:
            last[place] = start
    allowance = scene.thresholds.micros(scene.thresholds.overtaken)
    return [
        each
        for each in parked
        if each.state_change is not None and last[address(each)] > each.state_change + allowance
    ]


def _is_given_back(scene: Scene, lost: Backend) -> bool:
    """Return whether a pool holds the session: its last statement is the pool's, and it was used for long.

    A session that ran nothing else since it was opened is lost all the same: a check of health, perhaps, that
    opens a session for its SELECT 1, or a job that rolls back and forgets to close.
    """
    return is_handed_back(lost.query) and _used_share(scene, lost) > scene.thresholds.useful_share


def _used_share(scene: Scene, backend: Backend) -> float:
    """Return the part of a session's life until it came to rest; 0 if unknown."""
    start, stop = backend.backend_start, backend.state_change
    return 0.0 if start is None or stop is None else (stop - start) / max(1, scene.now - start)


def _watched(scene: Scene, application: Application) -> Traffic | None:
    """Return the sessions that came and went; None if nobody watched for long."""
    if scene.before.watched_seconds < scene.thresholds.watched / scene.thresholds.compression:
        return None
    return scene.before.traffic.get(application)


def _came_and_went(scene: Scene, application: Application) -> bool:
    """Return whether the watching shows that the application closes what it opens.

    One that opens nothing is told by the time since its last session: a slow leak may open none for a while,
    and a pool beside it may close one.
    """
    traffic = _watched(scene, application)
    return traffic is not None and traffic.closed > 1 + scene.thresholds.closed_of_opened * traffic.opened


def _is_seen_to_grow(scene: Scene, application: Application) -> bool:
    """Return whether the watching shows that the application opens one session after the other."""
    traffic = _watched(scene, application)
    return (
        traffic is not None
        and traffic.opened >= scene.thresholds.leak_sessions
        and not _came_and_went(scene, application)
    )


def _without_keepalive(backend: Backend) -> Backend:
    """Return the session as it would be without its keepalive, which hides for how long it has been at rest.

    From one snapshot, a leak whose sessions are kept alive looks like a pool at rest.
    """
    if backend.state != IDLE or not is_keepalive(backend.query):
        return backend
    return msgspec.structs.replace(backend, state_change=backend.backend_start)


def _growth(scene: Scene, members: list[Backend], lost: list[Backend], is_refused: bool) -> _Growth | None:
    """Return the course of the leak; None if it is a burst, or has stopped."""
    limits = scene.thresholds
    stops = sorted(each.state_change for each in lost if each.state_change is not None)
    # A program that leaks may have a pool in order too, of which some sessions have rested for days.
    stops = stops[int(limits.leak_older * len(stops)) :]
    span = stops[-1] - stops[0]
    # A full server keeps a fast leak from going on for longer. Its sessions were used once, and rest.
    once = is_refused and all(_used_share(scene, each) <= limits.useful_share for each in lost)
    if span < limits.micros(limits.leak_span_when_full if once else limits.leak_span):
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


def _of(
    scene: Scene,
    applications: tuple[Application, ...],
    lost: list[Backend],
    growth: _Growth,
    terminated: int,
) -> Finding:
    addresses = addresses_of(lost)
    statement, number = last_of_most(lost)
    # A count of n that come by chance deviates by about the root of n.
    full_at = at_pace(scene.snapshot, growth.per_minute, len(lost) ** -0.5)
    forecast_words = f", {said}" if full_at is not None and (said := full_at.words(scene.now)) else ""
    return Finding(
        kind=Kind.LEAK,
        grade=Grade.LOOKS_LIKE,
        slots=len(lost),
        sentence=_sentence(applications, lost, growth, (statement, number), forecast_words)
        + (f"; pgtop terminated {terminated} before" if terminated else ""),
        shorter=_shorter(applications, lost, growth, forecast_words),
        backends=tuple(each.id for each in lost),
        application_name=one_value(each.application_name for each in lost),
        usename=one_value(each.usename for each in applications),
        datname=one_value(each.datname for each in applications),
        addresses=addresses,
        since=growth.since,
        per_minute=growth.per_minute,
        full_at=full_at.full_at if full_at is not None else None,
        forecast_words=forecast_words,
        evidence=(
            ("idle, newer ones opened since", str(len(lost))),
            ("first of them came to rest", age(growth.since, scene.now)),
            ("one more each", _gap(growth.gap_seconds)),
            ("addresses", origins(addresses, 6)),
            *([("most frequent last statement", f"{statement} ({number})")] if statement else []),
            *_seen(scene, applications),
            *([("terminated by pgtop before", str(terminated))] if terminated else []),
        ),
        statements=(statement,) if statement else (),
        advice=_advice(applications, lost, statement),
        remedy=Remedy(Act.TERMINATE, tuple(each.id for each in lost)),
    )


def _sentence(
    applications: tuple[Application, ...],
    lost: list[Backend],
    growth: _Growth,
    statement: tuple[str, int],
    forecast_words: str,
) -> str:
    every = _gap(growth.gap_seconds)
    pace = f"{rate_words(growth.per_minute)} (one each {every})"
    if growth.is_periodic and growth.gap_seconds >= _TIMERS_SECONDS:
        pace = f"one each {every}: a scraper or cron"
    text, number = statement
    last = f"; {number} last ran `{text}`" if text and number > len(lost) / 2 else ""
    return (
        f"{_blamed(applications)}{since_words(growth.since)}: {len(lost)} left idle, "
        f"{pace}{forecast_words}{last}; from {origins(addresses_of(lost))}"
    )


def _shorter(
    applications: tuple[Application, ...], lost: list[Backend], growth: _Growth, forecast_words: str
) -> tuple[str, ...]:
    blamed, left = _blamed(applications), f"{len(lost)} left idle"
    since, pace = since_words(growth.since), rate_words(growth.per_minute)
    return (
        f"{blamed}{since}: {left}, {pace}{forecast_words}; from {origins(addresses_of(lost))}",
        f"{blamed}{since}: {left}, {pace}{forecast_words}",
        f"{blamed}{since}: {left}, {pace}",
        f"{blamed}: {left}, {pace}",
        f"{blamed}: {left}",
    )


def _blamed(applications: tuple[Application, ...]) -> str:
    """Return the program that leaks, and that it is one of those that should watch, not leak."""
    first = applications[0]
    roles = {each.usename for each in applications}
    name = first.name if len(roles) == 1 else f"{first.name} ({len(roles)} roles)"
    if MONITORING.search(f"{first.application_name} {first.usename}") is not None:
        return f"your monitoring leaks: {name}"
    return f"leak in {name}"


def _seen(scene: Scene, applications: tuple[Application, ...]) -> list[tuple[str, str]]:
    """Return what came and went while somebody watched, as evidence; none without a minute of that."""
    minutes = int(scene.before.watched_seconds * scene.thresholds.compression / 60)
    seen = [found for each in applications if (found := scene.before.traffic.get(each)) is not None]
    if not minutes or not seen:
        return []
    opened, closed = sum(each.opened for each in seen), sum(each.closed for each in seen)
    clients = Counter(
        {
            client.address or "?": traffic.opened
            for client, traffic in scene.before.client_traffic.items()
            if client.application in applications and traffic.opened
        }
    )
    said = [(f"in the last {span(minutes * 60)}", f"{opened} opened, {closed} closed")]
    return [*said, ("opened from", origins(clients.most_common(), 6))] if clients else said


def _gap(seconds: float) -> str:
    """Return the time between two sessions: also less than a second says something.

    >>> _gap(26.4), _gap(1.9), _gap(0.25)
    ('26s', '2s', '0.2s')
    """
    # Rounded, so that it agrees with the number a minute beside it.
    return span(round(seconds)) if seconds >= 1 else f"{seconds:.1g}s"


def _advice(applications: tuple[Application, ...], lost: list[Backend], statement: str) -> tuple[Advice, ...]:
    role = one_value(each.usename for each in applications)
    found = [
        Advice(f"Terminate these sessions of {applications[0].name}, and none of its others", key=ACT_KEYS)
    ]
    if role is not None:
        fence = max(10, len(lost) // 2)
        found.append(
            Advice(
                "Until the code is mended, let the server bound it",
                sql=f"ALTER ROLE {quoted(role)} CONNECTION LIMIT {fence};\n"
                + set_for_role(role, "idle_session_timeout", "10min"),
            )
        )
    return *found, *code_advice(
        "In the directory of its code: find where it does not give them back", statement
    )
