"""The diagnosis on simulated servers: how often it is right, and what must not change a verdict."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from cProfile import Profile
from functools import cache
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtop.core.activity import Backend, ConnectionLimit, Limits, Snapshot
from pgtop.core.diagnosis.diagnose import diagnose, is_said_beside
from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.diagnosis.scene import Before
from pgtop.core.diagnosis.thresholds import Thresholds
from pgtop.core.text import printable
from tests.builders import HOSTILE, NOW
from tests.core.diagnosis.incidents import (
    DECOYS,
    INCIDENTS,
    NAMES,
    Case,
    World,
    case_of,
    leaks_kept_alive,
    pools_in_use,
)

SEEDS = 50
"""The scenes of each incident."""
DECOY_SEEDS = 20
FEW = 2
"""The scenes of each incident in which something else is changed."""

WRONG = 0.02
"""The most verdicts of all that are said that may be wrong."""
ABSTAINS = 0.15
"""The most incidents on which nothing may be said."""
RECALL = 0.9
"""The least incidents of a kind that must be found, from one snapshot alone."""

SPEAKS = 0.72
"""The usage of a scene that is judged by its sessions, a little above that from which a word is said."""
AT_ANY_USAGE = {Kind.LIMIT, Kind.LOGIN_STALL, Kind.LOCK_QUEUE}

Scene = Callable[[World], None]


@cache
def scene(make: Scene, seed: int, is_structure: bool = False) -> Case:
    """A scene by its seed; the server is full enough for a word, unless it follows from the structure."""
    return case_of(make, seed, 0.0 if is_structure else SPEAKS)


def incident(kind: Kind, make: Scene, seed: int) -> Case:
    """A scene that has a cause of this kind."""
    return scene(make, seed, kind in AT_ANY_USAGE)


def few() -> Iterator[Case]:
    """A few scenes of each incident."""
    for kind, make in INCIDENTS:
        for seed in range(FEW):
            yield incident(kind, make, seed)


def verdicts(case: Case, snapshot: Snapshot | None = None, **known: Any) -> list[Finding]:
    """The findings that are shown and blame somebody."""
    found = diagnose(snapshot or case.snapshot, facts=case.facts, **known)
    return [
        each
        for nth, each in enumerate(found)
        if each.grade is not Grade.MIXED and (nth == 0 or is_said_beside(found[0], each))
    ]


def is_right(case: Case, finding: Finding) -> bool:
    """Return whether the scene has this cause, and most of the sessions blamed belong to it."""
    culprits = case.culprits.get(finding.kind)
    if culprits is None or finding.kind is Kind.LOGIN_STALL:
        return culprits is not None
    return len(culprits.intersection(finding.backends)) > len(finding.backends) / 2


class Score(NamedTuple):
    """The verdicts on all scenes of one kind."""

    name: str
    kind: Kind | None
    scenes: int
    right: int
    """The scenes whose cause was found."""
    said: int
    wrong: int
    silent: int

    def __str__(self) -> str:
        """The score as a row of a table."""
        return (
            f"{self.name:22}{self.kind or '-':22}{self.right:4} of {self.scenes}, said {self.said}, "
            f"wrong {self.wrong}, silent {self.silent}"
        )


def score(kind: Kind | None, make: Scene, cases: Iterable[Case], **known: Any) -> Score:
    """The score of a diagnosis on these scenes."""
    scenes = right = said = wrong = silent = 0
    for case in cases:
        found = verdicts(case, **known)
        good = [each for each in found if is_right(case, each)]
        scenes += 1
        said += len(found)
        wrong += len(found) - len(good)
        right += any(each.kind is kind for each in good)
        silent += not found
    return Score(make.__name__, kind, scenes, right, said, wrong, silent)


def bars_missed(scores: list[Score]) -> list[str]:
    """The bars that these scores do not reach, in words."""
    incidents = [each for each in scores if each.kind is not None]
    said, wrong = sum(each.said for each in scores), sum(each.wrong for each in scores)
    scenes, silent = sum(each.scenes for each in incidents), sum(each.silent for each in incidents)
    missed = []
    if wrong > WRONG * said:
        missed.append(f"wrong in {wrong} of {said}")
    if silent > ABSTAINS * scenes:
        missed.append(f"abstains in {silent} of {scenes}")
    for kind in {each.kind for each in incidents}:
        rows = [each for each in incidents if each.kind is kind]
        if sum(each.right for each in rows) < RECALL * sum(each.scenes for each in rows):
            missed.append(f"finds too few: {kind}")
    return missed


def test_one_snapshot_is_enough() -> None:
    """The bars of the diagnosis, over all incidents and all scenes that only look like one."""
    scores = [
        score(kind, make, (incident(kind, make, seed) for seed in range(SEEDS))) for kind, make in INCIDENTS
    ]
    scores += [score(None, make, (scene(make, seed) for seed in range(DECOY_SEEDS))) for make in DECOYS]
    table = "\n".join(map(str, scores))
    print(table)  # noqa: T201 - shown where the test fails, and with -s
    assert not bars_missed(scores), table


def test_a_bar_that_is_missed_is_noticed() -> None:
    kind, make = INCIDENTS[0]
    good = Score(make.__name__, kind, 50, 46, 50, 1, 3)
    assert not bars_missed([good])
    assert bars_missed([good._replace(wrong=2)]) == ["wrong in 2 of 50"]
    assert bars_missed([good._replace(silent=8)]) == ["abstains in 8 of 50"]
    assert bars_missed([good._replace(right=44)]) == ["finds too few: leak"]


def changed(snapshot: Snapshot, change: Callable[[Backend], dict[str, Any]], **fields: Any) -> Snapshot:
    """The snapshot with other values in its sessions."""
    backends = tuple(msgspec.structs.replace(each, **change(each)) for each in snapshot.backends)
    return msgspec.structs.replace(snapshot, backends=backends, **fields)


def wrong_of(cases: Iterable[Case], change: Callable[[Backend], dict[str, Any]]) -> tuple[int, int]:
    """The wrong verdicts, and all of them, on scenes whose sessions are changed."""
    said = wrong = 0
    for case in cases:
        found = verdicts(case, changed(case.snapshot, change))
        said += len(found)
        wrong += sum(not is_right(case, each) for each in found)
    return wrong, said


def everything() -> list[Case]:
    """Scenes of all incidents but a role's limit, and of all that only look like one."""
    cases = [
        incident(kind, make, seed) for kind, make in INCIDENTS if kind is not Kind.LIMIT for seed in range(8)
    ]
    return cases + [scene(make, seed) for make in DECOYS for seed in range(8)]


def test_behind_one_address_nobody_is_wronged() -> None:
    """All clients come through one address: much cannot be told, and then it is not."""
    wrong, said = wrong_of(everything(), lambda _: {"client_addr": "10.0.0.1"})
    assert said > 100
    assert wrong <= WRONG * said


def test_without_names_hardly_anybody_is_wronged() -> None:
    """All clients are one user without an application_name: people's tools cannot be told from programs."""
    cases = [case for case in everything() if Kind.TOOLS not in case.culprits]
    wrong, said = wrong_of(cases, lambda _: {"application_name": "", "usename": "app"})
    assert said > 100
    assert wrong <= WRONG * said


def test_hidden_states_are_described_and_not_guessed() -> None:
    hidden = {
        "backend_start": None, "state_change": None, "query_start": None, "xact_start": None, "state": None,
        "client_addr": None, "client_port": None, "wait_event_type": None, "query": None,
    }  # fmt: skip
    for case in few():
        snapshot = changed(case.snapshot, lambda _: hidden, connection_limits=())
        for found in diagnose(snapshot):
            assert found.kind is Kind.MIXED
            assert "hidden" in found.sentence


def test_a_watch_sees_the_leak_that_a_keepalive_hides() -> None:
    """From one snapshot it looks like a pool, and nobody is blamed."""
    cases = [scene(leaks_kept_alive, seed) for seed in range(20)]
    cold = score(Kind.LEAK, leaks_kept_alive, cases)
    assert (cold.wrong, cold.said) == (0, 0)
    watched = [verdicts(case, before=case.before) for case in cases]
    assert sum(any(each.kind is Kind.LEAK for each in found) for found in watched) >= RECALL * len(cases)


def test_load_is_described_and_nobody_is_told_to_sweep() -> None:
    """Pools whose sessions are at work are not too large, however many they are."""
    at_work = 0
    for seed in range(DECOY_SEEDS):
        case = scene(pools_in_use, seed)
        for found in diagnose(case.snapshot):
            assert found.kind is Kind.MIXED
            at_work += "most are at work" in found.sentence
    assert at_work > DECOY_SEEDS / 3


def test_a_watch_makes_the_verdicts_no_worse() -> None:
    """Sessions that came and went in the ten minutes before do not put the blame on others."""
    scores = [
        score(kind, make, [incident(kind, make, seed)], before=incident(kind, make, seed).before)
        for kind, make in INCIDENTS
        for seed in range(8)
    ]
    assert not bars_missed(scores), "\n".join(map(str, scores))


# What must not change a verdict


def kinds(findings: Iterable[Finding]) -> list[tuple[Kind, int]]:
    """The verdicts without names."""
    return [(each.kind, each.slots) for each in findings]


def renamed(snapshot: Snapshot) -> Snapshot:
    """The snapshot with other names of programs, users, databases and addresses."""
    programs = {name: f"program-{nth}" for nth, name in enumerate((*NAMES, "shopfront"))}

    def change(backend: Backend) -> dict[str, Any]:
        address = backend.client_addr
        return {
            "application_name": programs.get(backend.application_name or "", backend.application_name),
            "usename": f"u_{backend.usename}",
            "datname": f"d_{backend.datname}",
            "client_addr": None if address is None else f"2001:db8::{address.replace('.', ':')}",
        }

    limits = tuple(
        ConnectionLimit(each.of, f"u_{each.name}", each.most) for each in snapshot.connection_limits
    )
    return changed(snapshot, change, connection_limits=limits)


def test_other_names_change_no_verdict() -> None:
    for case in few():
        assert kinds(verdicts(case, renamed(case.snapshot))) == kinds(verdicts(case))


def test_some_healthy_sessions_change_no_verdict() -> None:
    """Slots are added with them: only the room of too large pools depends on what others hold."""
    for case in few():
        first = case.snapshot.backends[0]
        added = tuple(
            msgspec.structs.replace(
                first,
                pid=500_000 + nth,
                backend_start=NOW - 7200_000_000,
                state_change=NOW - 1_000_000 * nth,
                query_start=NOW - 1_000_000 * nth,
                xact_start=None,
                state="idle",
                wait_event_type="Client",
                wait_event="ClientRead",
                application_name="healthy",
                usename="healthy",
                client_addr="192.0.2.1",
                query="SELECT 1",
            )
            for nth in range(3)
        )
        limits = Limits(case.snapshot.server.limits.max_connections + 3, 3)
        server = msgspec.structs.replace(case.snapshot.server, limits=limits)
        more = msgspec.structs.replace(case.snapshot, backends=case.snapshot.backends + added, server=server)
        assert [each.kind for each in verdicts(case, more)] == [each.kind for each in verdicts(case)]


def test_a_finding_ends_with_its_sessions() -> None:
    ended = Counter[Kind]()
    for case in few():
        for first in verdicts(case)[:1]:
            if first.backends:
                left = tuple(each for each in case.snapshot.backends if each.id not in set(first.backends))
                rest = diagnose(msgspec.structs.replace(case.snapshot, backends=left), facts=case.facts)
                again = [(each.kind, each.application_name) for each in rest]
                assert (first.kind, first.application_name) not in again, first.sentence
                ended[first.kind] += 1
    assert len(ended) >= 9, "a finding of nearly each kind was ended"


def test_a_session_belongs_to_one_finding() -> None:
    for case in few():
        found = diagnose(case.snapshot, facts=case.facts)
        times = Counter(backend for each in found for backend in each.backends)
        assert set(times.values()) <= {1}
        seen = case.snapshot.by_id.keys()
        for each in found:
            assert seen >= set(each.backends)
            assert each.slots <= case.snapshot.slots
            if each.backends:
                assert each.slots <= len(each.backends)


def test_pgtops_own_sessions_are_never_in_a_verdict() -> None:
    for case in few():
        own = changed(case.snapshot, lambda _: {"application_name": "pgtop dashboard@ops"})
        for found in diagnose(own, facts=case.facts):
            assert not found.backends, found.sentence


def faster(case: Case, factor: int) -> Case:
    """The scene with all its times divided."""

    def near(moment: int | None) -> int | None:
        return None if moment is None else NOW - round((NOW - moment) / factor)

    times = ("backend_start", "state_change", "xact_start", "query_start")
    begun = near(case.snapshot.server.identity.postmaster_start)
    identity = msgspec.structs.replace(case.snapshot.server.identity, postmaster_start=begun or 0)
    server = msgspec.structs.replace(case.snapshot.server, identity=identity)
    snapshot = changed(
        case.snapshot, lambda each: {name: near(getattr(each, name)) for name in times}, server=server
    )
    growth = case.before.growth_per_minute
    before = msgspec.structs.replace(
        case.before,
        watched_seconds=case.before.watched_seconds / factor,
        growth_per_minute=None if growth is None else growth * factor,
    )
    return msgspec.structs.replace(case, snapshot=snapshot, before=before)


def test_compressed_times_give_the_same_verdicts() -> None:
    for case in few():
        quick = faster(case, 60)
        for before, soon in ((Before(), Before()), (case.before, quick.before)):
            found = verdicts(quick, before=soon, thresholds=Thresholds(compression=60))
            assert kinds(found) == kinds(verdicts(case, before=before))


def calls(snapshot: Snapshot) -> int:
    """The calls of functions that a diagnosis takes: a measure of its cost that no other process disturbs."""
    profile = Profile()
    profile.runcall(diagnose, snapshot)
    return sum(each.callcount for each in profile.getstats())


def times_as_large(snapshot: Snapshot, factor: int) -> Snapshot:
    """The snapshot with that many times the sessions, the slots and the addresses."""
    backends = tuple(
        msgspec.structs.replace(each, pid=each.pid + 1_000_000 * nth, client_addr=f"{each.client_addr}{nth}")
        for nth in range(factor)
        for each in snapshot.backends
    )
    limits = Limits(factor * snapshot.slots + 3, 3)
    return msgspec.structs.replace(
        snapshot, backends=backends, server=msgspec.structs.replace(snapshot.server, limits=limits)
    )


def test_the_cost_grows_no_faster_than_the_sessions() -> None:
    for case in list(few())[::4]:
        large, larger = (times_as_large(case.snapshot, factor) for factor in (4, 20))
        assert calls(larger) <= 6 * calls(large)
        assert calls(large) <= 40 * len(large.backends)


def texts_of(finding: Finding) -> Iterator[str]:
    """All texts of a finding that are shown."""
    yield finding.sentence
    for measured, value in finding.evidence:
        yield measured
        yield value
    for advice in finding.advice:
        yield from (advice.text, advice.key, advice.command, *advice.sql.splitlines())


@settings(max_examples=12, deadline=None)
@given(name=st.text(max_size=40) | st.just(HOSTILE), query=st.text(max_size=60) | st.just(HOSTILE))
@pytest.mark.parametrize(("kind", "make"), INCIDENTS)
def test_no_text_can_harm_a_terminal(kind: Kind, make: Scene, name: str, query: str) -> None:
    def change(backend: Backend) -> dict[str, Any]:
        text = {"usename": name, "datname": name + "d", "query": query + (backend.query or "")}
        if kind is not Kind.TOOLS:
            text["application_name"] = name
        return text

    case = incident(kind, make, 0)
    limits = tuple(ConnectionLimit(each.of, name, each.most) for each in case.snapshot.connection_limits)
    for found in diagnose(changed(case.snapshot, change, connection_limits=limits), facts=case.facts):
        for text in texts_of(found):
            assert printable(text) == text
