"""A CONNECTION LIMIT that is reached: some logins are refused, although the server has room."""

from pgtop.core.activity import IDLE, Backend, LimitOf
from pgtop.core.connection_limits import LimitUse, limit_uses, reached
from pgtop.core.diagnosis.findings import Advice, Finding, Grade, Kind, Remedy
from pgtop.core.diagnosis.kinds import leak
from pgtop.core.diagnosis.scene import Scene, addresses_of
from pgtop.core.diagnosis.wording import age, earliest, named
from pgtop.core.plan import Act
from pgtop.core.session_groups import GroupBy, group
from pgtop.core.session_labels import NO_USER, label
from pgtop.core.text import plural, printable


def find(scene: Scene) -> list[Finding]:
    """Return a finding for each limit that is reached."""
    found: list[Finding] = []
    for use in reached(limit_uses(scene.snapshot)):
        found += _of(scene.without(found), use)
    return found


def _of(scene: Scene, use: LimitUse) -> list[Finding]:
    there = [backend for backend in scene.left if _counts(backend, use)]
    if not there:
        return []
    idle = [backend for backend in there if backend.state == IDLE]
    leaks = leak.find(scene.of(there), is_refused=True)
    return [
        Finding(
            kind=Kind.LIMIT,
            grade=Grade.IS,
            slots=len(there),
            sentence=_sentence(scene, use, idle, leaks),
            shorter=_shorter(use, len(idle), leaks),
            backends=tuple(each.id for each in there),
            application_name=leaks[0].application_name if leaks else None,
            usename=use.limit.name if use.limit.of is LimitOf.ROLE else None,
            datname=use.limit.name if use.limit.of is LimitOf.DATABASE else None,
            addresses=addresses_of(there),
            evidence=_evidence(scene, use, there, idle),
            advice=_advice(scene, use, there, leaks),
            remedy=_remedy(leaks, [each for each in idle if not scene.is_in_use(each)]),
        )
    ]


def _sentence(scene: Scene, use: LimitUse, idle: list[Backend], leaks: list[Finding]) -> str:
    oldest = earliest(each.state_change for each in idle)
    resting = f"; {len(idle)} of them idle, the longest for {age(oldest, scene.now)}" if idle else ""
    culprit = f"; leak in {_leaking(leaks[0])}" if leaks else ""
    room = f", although {plural(scene.free, 'slot')} {'is' if scene.free == 1 else 'are'} free"
    return (
        f"{use.owner} has {use.used} of its own {use.limit.most}: its next login is refused"
        f"{room if scene.free else ''}{resting}{culprit}"
    )


def _shorter(use: LimitUse, idle: int, leaks: list[Finding]) -> tuple[str, ...]:
    refused = f"{use.owner} has {use.used} of its own {use.limit.most}: its next login is refused"
    held = f"{use.owner} is at its own limit of {use.limit.most}"
    if leaks:
        culprit = f"leak in {_leaking(leaks[0])}"
        return f"{refused}; {culprit}", f"{held}: {culprit}", held
    resting = (f"{refused}; {idle} of them idle", f"{held}: logins refused, {idle} idle") if idle else ()
    return *resting, refused, f"{held}: logins refused", held


def _evidence(
    scene: Scene, use: LimitUse, there: list[Backend], idle: list[Backend]
) -> tuple[tuple[str, str], ...]:
    holders = [
        (row.application, row.total)
        for row in group(there, GroupBy.APPLICATION, scene.now, scene.snapshot.slots)
    ]
    return (
        ("CONNECTION LIMIT", str(use.limit.most)),
        ("sessions that count against it", str(use.used)),
        ("held by", named(holders)),
        ("idle", str(len(idle))),
        ("free slots of the server", str(scene.free)),
    )


def _advice(scene: Scene, use: LimitUse, there: list[Backend], leaks: list[Finding]) -> tuple[Advice, ...]:
    first = Advice("See who holds them first", key=f"/{_filter(use)}")
    if leaks:
        return first, *leaks[0].advice
    if sum(map(scene.is_in_use, there)) * 2 < len(there):
        return first, Advice("Most are idle: do not raise the limit before you know why")
    said = "Most are in use, or just were: pgtop doctor says whether the limit may be raised, and by how much"
    return first, Advice(said)


def _leaking(leak_found: Finding) -> str:
    """Return the program that leaks; one that gives each session another name has none of its own."""
    if leak_found.application_name is None:
        return f"clients of {label(leak_found.usename, NO_USER)}"
    return label(leak_found.application_name, "a client without a name")


def _remedy(leaks: list[Finding], idle: list[Backend]) -> Remedy | None:
    """Return the leaked sessions to terminate, or else those that have been idle; None without either.

    A session that was just in use is left alone: it has changed before it can be terminated.
    """
    if leaks:
        return leaks[0].remedy
    said = "These are its idle sessions: a pool in order would open them again"
    return Remedy(Act.TERMINATE, tuple(each.id for each in idle), said) if idle else None


def _counts(backend: Backend, use: LimitUse) -> bool:
    return use.limit.name == (backend.usename if use.limit.of is LimitOf.ROLE else backend.datname)


def _filter(use: LimitUse) -> str:
    field, name = "user" if use.limit.of is LimitOf.ROLE else "db", printable(use.limit.name)
    return f'{field}:"{name}"' if " " in name else f"{field}:{name}"
