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
    oldest = earliest(each.state_change for each in idle)
    resting = f"; {len(idle)} of them idle, the longest for {age(oldest, scene.now)}" if idle else ""
    leaks = leak.find(scene.of(there), is_refused=True)
    holders = [
        (row.application, row.total)
        for row in group(there, GroupBy.APPLICATION, scene.now, scene.snapshot.slots)
    ]
    culprit = f"; leak in {_leaking(leaks[0])}" if leaks else ""
    room = f", although {plural(scene.free, 'slot')} {'is' if scene.free == 1 else 'are'} free"
    sentence = (
        f"{use.owner} has {use.used} of its own {use.limit.most}: its next login is refused"
        f"{room if scene.free else ''}{resting}{culprit}"
    )
    advice = [Advice("See who holds them first", key=f"/{_filter(use)}")]
    if leaks:
        advice += leaks[0].advice
    elif sum(map(scene.is_in_use, there)) * 2 < len(there):
        advice.append(Advice("Most are idle: do not raise the limit before you know why"))
    else:
        advice.append(
            Advice(
                "Most are in use, or just were: pgtop doctor says whether the limit may be raised, "
                "and by how much"
            )
        )
    return [
        Finding(
            kind=Kind.LIMIT,
            grade=Grade.IS,
            slots=len(there),
            sentence=sentence,
            backends=tuple(each.id for each in there),
            application_name=leaks[0].application_name if leaks else None,
            usename=use.limit.name if use.limit.of is LimitOf.ROLE else None,
            datname=use.limit.name if use.limit.of is LimitOf.DATABASE else None,
            addresses=addresses_of(there),
            evidence=(
                ("CONNECTION LIMIT", str(use.limit.most)),
                ("sessions that count against it", str(use.used)),
                ("held by", named(holders)),
                ("idle", str(len(idle))),
                ("free slots of the server", str(scene.free)),
            ),
            advice=tuple(advice),
            remedy=_remedy(leaks, [each for each in idle if not scene.is_in_use(each)]),
        )
    ]


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
