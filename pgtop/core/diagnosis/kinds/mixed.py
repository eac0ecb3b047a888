"""No single cause: a server over the line is never without a word, even if nobody is to blame."""

from collections import Counter

from pgtop.core.activity import ACTIVE, FASTPATH, IDLE, STARTING
from pgtop.core.diagnosis.findings import Advice, Finding, Grade, Kind
from pgtop.core.diagnosis.scene import Scene
from pgtop.core.diagnosis.wording import named
from pgtop.core.outage import connecting_words
from pgtop.core.session_labels import LOCAL, NO_APPLICATION, TRACK_STATES, address, label, monitor_grant
from pgtop.core.stalled_logins import STALL_HELP
from pgtop.core.text import percent, plural


def _counted(scene: Scene) -> list[tuple[str, int]]:
    """Return the programs with the number of sessions of each, the largest first; printable."""
    counted: Counter[str] = Counter()
    numbered = scene.by_numbered_name
    alike = {each.application_name for members in numbered.values() for each in members}
    for common, members in numbered.items():
        counted[label(common, NO_APPLICATION)] += len(members)
    for name, rows in scene.by_name.items():
        if name not in alike:
            counted[label(name, NO_APPLICATION)] += sum(len(members) for _, members in rows)
    return counted.most_common()


def _who(scene: Scene, applications: list[tuple[str, int]], is_rest: bool) -> str:
    """Return whose the sessions are; one application that has most of them is named as that.

    Those beside a cause are the rest: most of a rest is not what fills the server.
    """
    if is_rest:
        return f"the other {plural(len(scene.left), 'session')}: {named(applications)}"
    if applications and applications[0][1] * 2 > len(scene.left):
        name, number = applications[0]
        others = f" (others: {named(applications[1:])})" if applications[1:] else ""
        return f"most are of {name}, the reason is not clear yet: {number} of {len(scene.left)}{others}"
    return f"no single cause: {named(applications)}"


def describe(scene: Scene, *, is_rest: bool = False) -> Finding:
    """Return what the server's sessions are, without a verdict; `is_rest` says that a cause was found."""
    snapshot = scene.snapshot
    hidden = snapshot.counts.hidden
    connecting = snapshot.unlisted + sum(each.state == STARTING for each in scene.left)
    slots = len(scene.left)
    applications = _counted(scene)
    idle = sum(each.state == IDLE for each in scene.left)
    if hidden:
        sentence = (
            f"states of {hidden} of {snapshot.counts.total} sessions are hidden: the cause cannot be told"
        )
        advice = (Advice("See all states", sql=monitor_grant(snapshot)),)
    elif snapshot.counts.disabled:
        sentence = (
            f"states of {snapshot.counts.disabled} of {snapshot.counts.total} sessions are not tracked "
            "(track_activities = off): the cause cannot be told"
        )
        advice = (Advice("Let the server track states", sql=" ".join(TRACK_STATES)),)
    elif connecting * 2 > snapshot.taken:
        slots = connecting
        sentence = f"most slots are held by clients still connecting: {connecting} of {snapshot.taken}"
        advice = (Advice(f"What helps if they do not finish: {STALL_HELP}"),)
    else:
        sentence = f"{_who(scene, applications, is_rest)}; {idle} of {len(scene.left)} idle"
        advice = (Advice("Group the sessions by application, user, database or address", key="g"),)
        if sum(each.state in (ACTIVE, FASTPATH) for each in scene.left) * 2 > len(scene.left):
            sentence += ": most are at work"
            advice = (Advice("This is load: a sweep or smaller pools would make requests wait"),)
        if connecting:
            sentence += f"; {connecting_words(connecting)}"
    return Finding(
        kind=Kind.MIXED,
        grade=Grade.MIXED,
        slots=slots,
        sentence=sentence,
        evidence=(
            ("usage", percent(snapshot.usage)),
            *([("sessions by application", named(applications, 6))] if applications else []),
            ("idle", str(idle)),
            ("at work, or used in the last half minute", str(sum(map(scene.is_in_use, scene.left)))),
            *([("slots held by clients still connecting", str(connecting))] if connecting else []),
        ),
        advice=(*advice, *_unknown(scene)),
    )


def _unknown(scene: Scene) -> list[Advice]:
    """Return what keeps programs and hosts from being told apart, and what mends that."""
    found = []
    unnamed = sum(not each.application_name for each in scene.left)
    if unnamed * 2 > len(scene.left):
        said = (
            "Most sessions have no application_name: set it in the connection strings to tell programs apart"
        )
        found.append(Advice(said))
    places = {address(each) for each in scene.left}
    if len(places) == 1 and places not in ({LOCAL}, {None}):
        said = (
            "All come from one address, a pooler or a proxy perhaps: hosts can only be told apart behind it"
        )
        found.append(Advice(said))
    return found
