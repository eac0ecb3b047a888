"""Silent clients: addresses all of whose sessions stopped at once, while the application works elsewhere.

A host that crashed or was cut off, a replaced container, an old release: nobody closed the sessions, and the
server notices only when its keepalives fail.
"""

from collections import defaultdict
from typing import Final, NamedTuple

from pgtop.core.activity import IDLE, Backend
from pgtop.core.diagnosis.findings import ACT_KEYS, Advice, Finding, Grade, Kind, Remedy
from pgtop.core.diagnosis.scene import Application, Scene, addresses_of, application_of
from pgtop.core.diagnosis.wording import age, origins, since_words
from pgtop.core.plan import Act
from pgtop.core.session_labels import LOCAL, address
from pgtop.core.text import clock, plural

_KEEPALIVES = Advice(
    "Let the server look for silent clients sooner",
    sql="ALTER SYSTEM SET tcp_keepalives_idle = 60; SELECT pg_reload_conf();",
)


_MAY_BE_BACK: Final = "The room lasts while these hosts are away: back again, they open new sessions"


class _Silent(NamedTuple):
    address: str
    backends: tuple[Backend, ...]
    stopped_at: int
    is_together: bool
    """False if only one or a few of the sessions were in use before."""


def find(scene: Scene) -> list[Finding]:
    """Return a finding for each application whose silent addresses hold enough sessions."""
    found = []
    for application, members in scene.by_application.items():
        if len(members) <= scene.floor:
            continue  # some of them must be at work elsewhere
        silent = _silent_addresses(scene, application, members)
        if sum(len(each.backends) for each in silent) >= scene.floor:
            found.append(_of(scene, application, members, silent))
    return found


def _silent_addresses(scene: Scene, application: Application, members: tuple[Backend, ...]) -> list[_Silent]:
    limits, now = scene.thresholds, scene.now
    by_address: defaultdict[str, list[Backend]] = defaultdict(list)
    for backend in members:
        # A Unix socket's client is this host, which is not silent; a hidden address tells nothing.
        place = address(backend)
        if place is not None and place != LOCAL:
            by_address[place].append(backend)
    if len(by_address) < 2:
        return []
    silent = [
        each for place, there in by_address.items() if (each := _silent(scene, place, there)) is not None
    ]
    if silent:
        # A host whose other sessions hang in a statement that an earlier finding explains is not silent.
        awake = _awake(scene, application)
        silent = [each for each in silent if each.address not in awake]
    if not silent:
        return []
    quiet = {each.address for each in silent}
    elsewhere = limits.micros(limits.silent_elsewhere)
    last = {
        place: min((_quiet_for(scene, each) for each in there), default=now)
        for place, there in by_address.items()
        if place not in quiet
    }
    if min(last.values(), default=now) > elsewhere:
        return []
    # The slowest of the others tells how long an address may rest by chance.
    long = max(limits.micros(limits.silent_alone), limits.silent_gaps * max(last.values()))
    return [each for each in silent if each.is_together or now - each.stopped_at > long]


def _awake(scene: Scene, application: Application) -> set[str | None]:
    """Return the addresses where a session of the application does something, explained or not."""
    backends = scene.snapshot.backends
    return {address(each) for each in backends if each.state != IDLE and application_of(each) == application}


def _quiet_for(scene: Scene, backend: Backend) -> int:
    """Return the time for which a session has rested, microseconds; 0 for one at work."""
    if backend.state != IDLE:
        return 0
    return scene.now if backend.state_change is None else max(0, scene.now - backend.state_change)


def _has_worked(scene: Scene, backend: Backend) -> bool:
    """Return whether a session was in use some time after it was opened."""
    start, stop = backend.backend_start or 0, backend.state_change or 0
    return stop - start > scene.thresholds.micros(scene.thresholds.parked)


def _silent(scene: Scene, place: str, there: list[Backend]) -> _Silent | None:
    """Return an address that may be silent: all its sessions rest, and it was at work for a while before.

    A leaked session stops after one statement, and one that was opened in advance has not begun.
    """
    limits = scene.thresholds
    if len(there) < limits.silent_sessions or any(each.state_change is None for each in there):
        return None
    if any(each.state != IDLE or each.id in scene.snapshot.listeners for each in there):
        return None
    stop = max(each.state_change or 0 for each in there)
    if stop >= scene.ago(limits.silent):
        return None
    worked = [each for each in there if _has_worked(scene, each)]
    if not any(each.state_change == stop for each in worked):
        return None
    within = limits.micros(limits.silent_together)
    together = sum(stop - (each.state_change or 0) <= within for each in worked)
    return _Silent(place, tuple(there), stop, 2 * together >= len(there))


def _of(
    scene: Scene, application: Application, members: tuple[Backend, ...], silent: list[_Silent]
) -> Finding:
    there = [backend for each in silent for backend in each.backends]
    since = max(each.stopped_at for each in silent)
    first = min(each.stopped_at for each in silent)
    quiet = {each.address for each in silent}
    starts: dict[str | None, int] = {}
    for backend in members:
        if address(backend) not in quiet and backend.backend_start is not None:
            place = address(backend)
            starts[place] = min(starts.get(place, backend.backend_start), backend.backend_start)
    allowance = scene.thresholds.micros(scene.thresholds.silent)
    new = [place for place, start in starts.items() if start >= first - allowance]
    sentence, *shorter = _sentences(scene, application, there, len(silent), len(new), since)
    return Finding(
        kind=Kind.SILENT_CLIENTS,
        grade=Grade.LOOKS_LIKE,
        slots=len(there),
        sentence=sentence,
        shorter=tuple(shorter),
        backends=tuple(each.id for each in there),
        application_name=application.application_name,
        usename=application.usename,
        datname=application.datname,
        addresses=addresses_of(there),
        since=since,
        evidence=(
            ("silent addresses", origins(addresses_of(there), 6)),
            ("last sign of them", age(since, scene.now)),
            ("new addresses of the application since", str(len(new))),
            ("at work elsewhere", plural(len(starts), "address", "addresses")),
        ),
        remedy=Remedy(Act.TERMINATE, tuple(each.id for each in there), _MAY_BE_BACK),
        advice=(
            Advice("Terminate what these addresses left behind", key=ACT_KEYS),
            _KEEPALIVES,
        ),
    )


def _sentences(
    scene: Scene, application: Application, there: list[Backend], silent: int, new: int, since: int
) -> tuple[str, ...]:
    """Return the sentence and shorter ones; `silent` and `new` are numbers of addresses."""
    addresses, keep = plural(silent, "address", "addresses"), plural(len(there), "session")
    stopped = since_words(since)
    if new:
        old = f"old release of {application.name}?"
        kept = f"{old} {addresses} silent{stopped} keep {keep}"
        return f"{kept}; {new} new took over", kept, f"{old} it keeps {keep}"
    clients, places = f"silent clients of {application.name}:", origins(addresses_of(there))
    cut_off = f"{clients} {places} silent{stopped}: crashed or cut off"
    return (
        f"{cut_off}{_noticed(scene, since)}",
        cut_off,
        f"{clients} {places} silent{stopped}",
        f"{clients} {places}{stopped}",
        f"{clients} {keep} of {addresses}",
        f"{clients} {keep}",
    )


def _noticed(scene: Scene, since: int) -> str:
    """Return when the server itself will notice."""
    seconds = scene.facts.keepalive_seconds
    if not seconds:
        return ""
    at = clock(since + int(seconds * 1_000_000), seconds=False)
    return f"; the server notices after {at} (tcp_keepalives_idle {seconds:.0f} s)"
