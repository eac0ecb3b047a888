"""A surge: many new sessions at work. Terminating them helps nobody: they come back."""

from collections import Counter, defaultdict
from typing import Final

from pgtop.core.activity import MICROSECONDS, Backend
from pgtop.core.diagnosis.findings import Advice, Finding, Grade, Kind
from pgtop.core.diagnosis.scene import Scene, addresses_of, one_value
from pgtop.core.diagnosis.wording import median_seconds, since_words
from pgtop.core.session_labels import NO_APPLICATION, address, label
from pgtop.core.text import duration, plural

_SHORT_LIVES: Final = 30.0
_LOGINS_A_SESSION: Final = 2.0
"""So many logins a minute for each session mean that hardly any session is used twice."""
_MANY_ADDRESSES: Final = 10
_FEW_EACH: Final = 1.5


def find(scene: Scene) -> list[Finding]:
    """Return a finding for each application_name with enough new sessions."""
    limits = scene.thresholds
    least = max(limits.surge_sessions, limits.surge_share * scene.snapshot.slots)
    by_name: defaultdict[str, list[Backend]] = defaultdict(list)
    for backend in scene.left:
        by_name[backend.application_name or ""].append(backend)
    found = []
    for members in by_name.values():
        young = [each for each in members if scene.is_young(each)]
        busy = sum(map(scene.is_in_use, young))
        if len(young) >= least and busy > limits.surge_in_use * len(young):
            found.append(_of(scene, members, young, busy))
    return found


def _of(scene: Scene, members: list[Backend], young: list[Backend], busy: int) -> Finding:
    name = label(young[0].application_name, NO_APPLICATION)
    since = min((each.backend_start for each in young if each.backend_start is not None), default=None)
    addresses = addresses_of(young)
    life = duration(median_seconds((each.backend_start for each in young), scene.now))
    return Finding(
        kind=Kind.SURGE,
        grade=Grade.LOOKS_LIKE,
        slots=len(young),
        sentence=f"surge of {name}: {_shape(scene, members, young)}{since_words(since)}; {busy} in use",
        backends=tuple(each.id for each in young),
        application_name=young[0].application_name or "",
        usename=one_value(each.usename for each in young),
        datname=one_value(each.datname for each in young),
        addresses=addresses,
        since=since,
        evidence=(
            ("new sessions", str(len(young))),
            ("of them in use, or just used", str(busy)),
            ("median age", life),
            ("addresses", str(len(addresses))),
        ),
        advice=(
            Advice("A sweep won't hold: they come back at once"),
            Advice("Put a pooler in between, or bound what one instance opens"),
        ),
    )


def _shape(scene: Scene, members: list[Backend], young: list[Backend]) -> str:
    """Return the shape of the surge in words: how its sessions came to be so many."""
    new = Counter(address(each) for each in young)
    old = {address(each) for each in members if not scene.is_young(each)}
    restarted = scene.snapshot.server.identity.postmaster_start
    number = plural(len(young), "new session")
    if scene.now - restarted <= scene.thresholds.micros(scene.thresholds.young):
        return f"{number} after the server's start {duration((scene.now - restarted) / MICROSECONDS)} ago"
    logins, life = scene.facts.logins_per_minute, median_seconds((y.backend_start for y in young), scene.now)
    is_short = life * scene.thresholds.compression < _SHORT_LIVES
    if logins is not None and is_short and logins >= _LOGINS_A_SESSION * len(members):
        return f"no pool: {logins:.0f} logins a minute, {number}"
    if len(new) >= _MANY_ADDRESSES and len(young) <= _FEW_EACH * len(new):
        return f"serverless? {len(new)} addresses with about one each"
    added = new.keys() - old
    if old and len(added) >= max(2, len(old)):
        return f"scaled out {len(old)} → {len(old) + len(added)} addresses, {number}"
    return f"{number} from {plural(len(new), 'address', 'addresses')}"
