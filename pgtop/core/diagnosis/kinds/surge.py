"""A surge: many new sessions at work. Terminating them helps nobody: they come back."""

from collections import defaultdict
from collections.abc import Callable
from typing import Final

from pgtop.core.activity import IDLE, Backend
from pgtop.core.diagnosis.findings import Advice, Finding, Grade, Kind, Remedy
from pgtop.core.diagnosis.scene import Scene, addresses_of, one_value
from pgtop.core.diagnosis.wording import earliest, median_seconds, since_words
from pgtop.core.plan import Act
from pgtop.core.session_labels import NO_APPLICATION, address, label
from pgtop.core.text import clock, duration, plural

_THEY_COME_BACK: Final = "Terminating sessions won't hold: they are used, and opened again at once"
_SHORT_LIVES: Final = 30.0
_LOGINS_A_SESSION: Final = 2.0
"""So many logins a minute for each session mean that hardly any session is used twice."""
_FEW_LIVES: Final = 4.0
_GOES_ON: Final = 0.35
"""If lives are short, a tenth of the ages is below this part of nearly the highest."""
_MANY_ADDRESSES: Final = 10
_FEW_EACH: Final = 1.5
_OPENED_ALL_THE_TIME: Final = 0.5
"""A pool that renews its sessions opens them over at least this part of the time in which one is young."""


def find(scene: Scene) -> list[Finding]:
    """Return a finding for each application_name with enough new sessions."""
    limits = scene.thresholds
    least = max(limits.surge_sessions, limits.surge_share * scene.snapshot.slots)
    found = []
    for name, rows in scene.by_name.items():
        members = [each for _, there in rows for each in there]
        if len(members) < least:
            continue
        young = [each for each in members if scene.is_young(each)]
        if len(young) < least or _is_consequence(scene, name, members, young):
            continue
        if sum(map(_is_at_work(scene, members, young), young)) > limits.surge_in_use * len(young):
            found.append(_of(scene, members, young, sum(map(scene.is_in_use, young))))
    return found


def _is_at_work(scene: Scene, members: list[Backend], young: list[Backend]) -> Callable[[Backend], bool]:
    """Return the test for a session at work.

    Where hosts were added, or each session has a host or a request of its own, one that was used just now is.
    A deploy, or a pool that renews its sessions at an age, uses each of them too, and is not a surge: without
    a shape only those count that work at this moment.
    """
    if _is_restarted(scene) or _is_one_each(young) or _is_without_pool(scene, members):
        return scene.is_in_use
    if len(young) <= scene.thresholds.surge_new * len(members):
        return lambda _: False
    old, new = _addresses(scene, members, young)
    if _is_scaled_out(old, new - _renewed(scene, young)):
        return scene.is_in_use
    return lambda backend: backend.state != IDLE


def _is_consequence(scene: Scene, name: str, members: list[Backend], young: list[Backend]) -> bool:
    """Return whether the new sessions replace those that an earlier finding explains.

    What waits for a lock, or belongs to a dead host, does no work: the application opens others for it.
    """
    total = sum((each.application_name or "") == name for each in scene.snapshot.backends)
    return total - len(members) >= scene.thresholds.surge_replaced * len(young)


def _of(scene: Scene, members: list[Backend], young: list[Backend], busy: int) -> Finding:
    name = label(young[0].application_name, NO_APPLICATION)
    since = earliest(each.backend_start for each in young)
    addresses = addresses_of(young)
    begun = "" if _is_restarted(scene) else since_words(since)
    shape = _shape(scene, members, young)
    working = sum(scene.is_in_use(each) and each.state != IDLE for each in young)
    life = duration(median_seconds((each.backend_start for each in young), scene.now))
    return Finding(
        kind=Kind.SURGE,
        grade=Grade.LOOKS_LIKE,
        slots=len(young),
        sentence=f"surge of {name}: {shape}{begun}; {_use_words(working, busy - working)}",
        shorter=(
            f"surge of {name}: {shape}{begun}",
            f"surge of {name}: {shape}",
            f"surge of {name}: {shape.partition(', ')[0]}",
            f"surge of {name}: {len(young)} new",
        ),
        backends=tuple(each.id for each in young),
        application_name=young[0].application_name or "",
        usename=one_value(each.usename for each in young),
        datname=one_value(each.datname for each in young),
        addresses=addresses,
        since=since,
        evidence=(
            ("new sessions", str(len(young))),
            ("of them at work", str(working)),
            ("idle, but used a moment ago", str(busy - working)),
            ("median age", life),
            ("addresses", str(len(addresses))),
        ),
        remedy=Remedy(Act.TERMINATE, tuple(each.id for each in young), _THEY_COME_BACK),
        advice=(
            Advice(_THEY_COME_BACK),
            Advice("Put a pooler in between, or bound what one instance opens"),
        ),
    )


def _use_words(working: int, just_used: int) -> str:
    """Return the use of the new sessions: one that waits for its next statement counts as idle in the head.

    >>> _use_words(48, 0), _use_words(2, 46), _use_words(0, 48)
    ('48 at work', '2 at work, 46 used a moment ago', '48 used a moment ago')
    """
    parts = [f"{working} at work"] if working or not just_used else []
    return ", ".join([*parts, *([f"{just_used} used a moment ago"] if just_used else [])])


def _shape(scene: Scene, members: list[Backend], young: list[Backend]) -> str:
    """Return the shape of the surge in words: how its sessions came to be so many."""
    old, new = _addresses(scene, members, young)
    number = plural(len(young), "new session")
    logins = scene.facts.logins_per_minute
    if _is_without_pool(scene, members) and not _is_one_each(young):
        if logins is not None and logins >= scene.thresholds.compression * _LOGINS_A_SESSION * len(members):
            return f"no pool: {logins:.0f} logins a minute, {number}"
        return f"no pool? {number}, half of them younger than {_median_age(scene, young)}"
    if _is_restarted(scene):
        restarted = scene.snapshot.server.identity.postmaster_start
        return f"{number} after the server's start at {clock(restarted, seconds=False)}"
    if _is_one_each(young):
        return f"serverless? {len(new)} addresses with about one each"
    if _is_scaled_out(old, new):
        return f"scaled out {len(old)} → {len(old | new)} addresses, {number}"
    return f"{number} from {plural(len(new), 'address', 'addresses')}"


def _addresses(
    scene: Scene, members: list[Backend], young: list[Backend]
) -> tuple[set[str | None], set[str | None]]:
    """Return the addresses of the old sessions, and of the new."""
    return {address(each) for each in members if not scene.is_young(each)}, {address(each) for each in young}


def _renewed(scene: Scene, young: list[Backend]) -> set[str | None]:
    """Return the addresses whose sessions were opened all the time, as a pool does that renews them.

    A new host opens most of its sessions when it begins.
    """
    starts: defaultdict[str | None, list[int]] = defaultdict(list)
    for each in young:
        starts[address(each)].append(each.backend_start or 0)
    wide = scene.thresholds.micros(scene.thresholds.young) * _OPENED_ALL_THE_TIME
    return {place for place, there in starts.items() if max(there) - min(there) > wide}


def _is_scaled_out(old: set[str | None], new: set[str | None]) -> bool:
    return bool(old) and len(new - old) >= max(2, len(old))


def _is_restarted(scene: Scene) -> bool:
    restarted = scene.snapshot.server.identity.postmaster_start
    return scene.now - restarted <= scene.thresholds.micros(scene.thresholds.young)


def _is_one_each(young: list[Backend]) -> bool:
    """Return whether about each session has an address of its own, as functions without a server have."""
    number = len({address(each) for each in young})
    return number >= _MANY_ADDRESSES and len(young) <= _FEW_EACH * number


def _is_without_pool(scene: Scene, members: list[Backend]) -> bool:
    """Return whether the sessions live for seconds, and new ones come all the time.

    A pool that has just been filled is as young, but all its sessions are of about one age.
    """
    ages = sorted(scene.now - each.backend_start for each in members if each.backend_start is not None)
    if not ages:
        return False
    young, middle, old = (ages[len(ages) * tenth // 10] for tenth in (1, 5, 9))
    short = scene.thresholds.micros(_SHORT_LIVES)
    return middle < short and old < _FEW_LIVES * short and young < _GOES_ON * old


def _median_age(scene: Scene, young: list[Backend]) -> str:
    return duration(median_seconds((each.backend_start for each in young), scene.now) + 1)
