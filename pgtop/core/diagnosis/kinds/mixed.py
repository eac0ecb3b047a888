"""No single cause: a server over the line is never without a word, even if nobody is to blame."""

from collections import Counter
from typing import NamedTuple

from pgtop.core.activity import ACTIVE, FASTPATH, IDLE, STARTING
from pgtop.core.diagnosis.findings import Advice, Finding, Grade, Kind
from pgtop.core.diagnosis.scene import Scene
from pgtop.core.diagnosis.wording import named
from pgtop.core.outage import connecting_words
from pgtop.core.session_labels import LOCAL, NO_APPLICATION, TRACK_STATES, address, label, monitor_grant
from pgtop.core.stalled_logins import STALL_HELP
from pgtop.core.text import clock, percent, plural


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


def _who(scene: Scene, applications: list[tuple[str, int]], is_rest: bool) -> tuple[str, ...]:
    """Return whose the sessions are, the fullest form first.

    One application that has most of them is named as that. Those beside a cause are the rest: most of a rest
    is not what fills the server.
    """
    left = len(scene.left)
    if is_rest:
        rest = f"the other {plural(left, 'session')}"
        return tuple(f"{rest}: {named(applications, most)}" for most in (3, 2, 1))
    if (last := scene.before.undone) is not None:
        again = f"{label(last.application, NO_APPLICATION)} reopened {last.reopened}"
        said = f"{again} of {last.terminated} terminated at {clock(last.at, seconds=False)}"
        return f"{said}: {named(applications)}", said, again
    if applications and applications[0][1] * 2 > left:
        name, number = applications[0]
        said = f"most are of {name}, the reason is not clear yet"
        others = f" (others: {named(applications[1:])})" if applications[1:] else ""
        return f"{said}: {number} of {left}{others}", f"{said}: {number} of {left}", said
    return tuple(f"no single cause: {named(applications, most)}" for most in (3, 2, 1))


class _Description(NamedTuple):
    """The words on the sessions: the sentence with shorter ones, and what to do."""

    sentences: tuple[str, ...]
    advice: Advice


def _hidden(scene: Scene) -> _Description | None:
    """Return the words for a server that does not show what its sessions do; None for one that does."""
    counts = scene.snapshot.counts
    if counts.hidden:
        told = f"states of {counts.hidden} of {counts.total} sessions are hidden"
        advice = Advice("See all states", sql=monitor_grant(scene.snapshot))
        return _Description((f"{told}: the cause cannot be told", told), advice)
    if counts.disabled:
        told = f"states of {counts.disabled} of {counts.total} sessions are not tracked"
        advice = Advice("Let the server track states", sql=" ".join(TRACK_STATES))
        return _Description((f"{told} (track_activities = off): the cause cannot be told", told), advice)
    return None


def _connecting(connecting: int, taken: int) -> _Description:
    """Return the words for slots that are mostly held by clients still connecting."""
    said = f"most slots are held by clients still connecting: {connecting} of {taken}"
    advice = Advice(f"What helps if they do not finish: {STALL_HELP}")
    return _Description((said, f"{connecting} of {taken} slots: clients still connecting"), advice)


def _shown(scene: Scene, connecting: int, *, is_rest: bool) -> _Description:
    """Return the words for sessions whose states are known."""
    left = len(scene.left)
    shorter = _who(scene, _counted(scene), is_rest)
    idle = sum(each.state == IDLE for each in scene.left)
    sentence = f"{shorter[0]}; {idle} of {left} idle"
    advice = Advice("Group the sessions by application, user, database or address", key="g")
    if (last := scene.before.undone) is not None:
        name = label(last.application, NO_APPLICATION)
        advice = Advice(
            f"Terminating sessions won't hold: {name} opens them again at once. Make its pool smaller, or "
            "find what keeps them in use"
        )
    elif sum(each.state in (ACTIVE, FASTPATH) for each in scene.left) * 2 > left:
        sentence += ": most are at work"
        advice = Advice("This is load: a sweep or smaller pools would make requests wait")
    if connecting:
        sentence += f"; {connecting_words(connecting)}"
    return _Description((sentence, *shorter), advice)


def describe(scene: Scene, *, is_rest: bool = False) -> Finding:
    """Return what the server's sessions are, without a verdict; `is_rest` says that a cause was found."""
    snapshot = scene.snapshot
    connecting = snapshot.unlisted + sum(each.state == STARTING for each in scene.left)
    described, slots = _hidden(scene), len(scene.left)
    if described is None and connecting * 2 > snapshot.taken:
        described, slots = _connecting(connecting, snapshot.taken), connecting
    described = described or _shown(scene, connecting, is_rest=is_rest)
    applications = _counted(scene)
    return Finding(
        kind=Kind.MIXED,
        grade=Grade.MIXED,
        slots=slots,
        sentence=described.sentences[0],
        shorter=described.sentences[1:],
        evidence=(
            ("usage", percent(snapshot.usage)),
            *([("sessions by application", named(applications, 6))] if applications else []),
            ("idle", str(sum(each.state == IDLE for each in scene.left))),
            ("at work, or used in the last half minute", str(sum(map(scene.is_in_use, scene.left)))),
            *([("slots held by clients still connecting", str(connecting))] if connecting else []),
        ),
        advice=(described.advice, *_unknown(scene)),
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
