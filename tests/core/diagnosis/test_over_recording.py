"""The diagnosis of recorded polls: which causes it names, from when to when, and what a sweep means to it."""

from collections.abc import Iterable, Sequence

import msgspec
import pytest

from pgtop.core.activity import IDLE, MICROSECONDS, Snapshot
from pgtop.core.alerts import Alert
from pgtop.core.diagnosis.examples import idle_in_transaction, server
from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.diagnosis.over_recording import DiagnosisOfRecording, Said, Verdicts, in_order, verdicts_of
from pgtop.core.diagnosis.thresholds import Thresholds
from pgtop.core.outage import Outage, OutageKind
from pgtop.core.plan import Act, DecidedBy, Outcome, Trigger
from pgtop.core.recorded import Acted, AlertRaised, Event, OutageEnded, Seen
from pgtop.demo.scenarios.catalogue import SCENARIOS
from pgtop.history.recording import Recording
from tests.builders import NOW, SERVER, snapshot
from tests.recordings import PLACE

LEAK = Finding(Kind.LEAK, Grade.LOOKS_LIKE, 10, "leak in a", application_name="a")
LARGER = msgspec.structs.replace(LEAK, slots=20, sentence="leak in a, larger")
MIXED = Finding(Kind.MIXED, Grade.MIXED, 5, "no single cause")
EVERY = 2 * MICROSECONDS


def said(
    shown: Iterable[Sequence[Finding]], snapshots: Iterable[Snapshot] | None = None
) -> list[tuple[int, int | None, str, int]]:
    """The verdicts on polls that are 2 s apart, with their times in polls."""
    verdicts = Verdicts()
    for number, findings in enumerate(shown):
        verdicts.take(snapshot(taken_at=NOW + number * EVERY), findings)
    return [in_polls(each) for each in verdicts.so_far()]


def in_polls(each: Said) -> tuple[int, int | None, str, int]:
    end = None if each.ended_at is None else (each.ended_at - NOW) // EVERY
    return ((each.began_at - NOW) // EVERY, end, each.first.sentence, each.heaviest.slots)


def test_a_cause_lasts_from_its_first_poll_to_the_first_without() -> None:
    shown = [[], [LEAK], [LARGER], [LEAK], *[[]] * 9]
    assert said(shown) == [(1, 4, "leak in a", 20)]


def test_a_cause_that_lasts_has_no_end() -> None:
    assert said([[], [LEAK, MIXED]]) == [(1, None, "leak in a", 10), (1, None, "no single cause", 5)]


def test_a_cause_that_is_back_soon_goes_on() -> None:
    assert said([[LEAK], *[[]] * 7, [LEAK]]) == [(0, None, "leak in a", 10)]
    assert said([[LEAK], *[[]] * 9, [LEAK]]) == [(0, 1, "leak in a", 10), (10, None, "leak in a", 10)]


def test_a_cause_that_is_missing_at_the_end_is_over() -> None:
    assert said([[LEAK], [LEAK], []]) == [(0, 2, "leak in a", 10)]


def test_another_server_ends_all_of_it() -> None:
    other = msgspec.structs.replace(
        SERVER, identity=msgspec.structs.replace(SERVER.identity, postmaster_start=2)
    )
    verdicts = Verdicts()
    verdicts.take(snapshot(taken_at=NOW), [LEAK])
    verdicts.take(snapshot(taken_at=NOW + EVERY, server=other), [LEAK])
    assert [in_polls(each)[:2] for each in verdicts.so_far()] == [(0, 1), (1, None)]


def test_a_clock_that_is_set_back_ends_all_of_it() -> None:
    verdicts = Verdicts()
    verdicts.take(snapshot(taken_at=NOW), [LEAK])
    verdicts.take(snapshot(taken_at=NOW - 100 * EVERY), [])
    assert [in_polls(each)[:2] for each in verdicts.so_far()] == [(0, 0)]


def test_an_event_stands_before_the_poll_after_it() -> None:
    polls = [Seen(at, Outage(OutageKind.LOST, "…"), 2.0) for at in (1, 3)]
    events: list[Event] = [OutageEnded(1), AlertRaised(2, Alert.OVER), OutageEnded(4)]
    assert [(each.at, type(each)) for each in in_order(polls, events)] == [
        (1, OutageEnded),
        (1, Seen),
        (2, AlertRaised),
        (3, Seen),
        (4, OutageEnded),
    ]


def test_an_outage_ends_no_cause() -> None:
    shown = idle_in_transaction()
    at = shown.taken_at
    later = msgspec.structs.replace(shown, taken_at=at + 60 * MICROSECONDS)
    polls = [
        Seen(at, shown, 2.0),
        Seen(at + 30 * MICROSECONDS, Outage(OutageKind.LOST, "…"), 2.0),
        Seen(later.taken_at, later, 2.0),
    ]
    (found,) = verdicts_of(polls, [], 0.8)
    assert (found.first.kind, found.ended_at) == (Kind.IDLE_IN_TRANSACTION, None)


def test_nothing_is_said_of_a_server_in_order() -> None:
    assert verdicts_of([Seen(NOW, server(), 2.0)], [], 0.8) == []


# A sweep


def swept_at(poll: int, act: Act = Act.TERMINATE) -> tuple[list[Seen], Acted]:
    """The leak's recording, as it had been if the leaked sessions had been terminated after a poll."""
    recording = Recording([PLACE / "leak.sqlite3"])
    polls = list(recording.between(0, recording.last_at))
    last = polls[poll].result
    assert isinstance(last, Snapshot)
    gone = frozenset(
        each.id for each in last.backends if each.application_name == "leaky-worker" and each.state == IDLE
    )
    after = []
    for seen in polls[poll + 1 :]:
        assert isinstance(seen.result, Snapshot)
        left = tuple(each for each in seen.result.backends if each.id not in gone)
        after.append(
            msgspec.structs.replace(seen, result=msgspec.structs.replace(seen.result, backends=left))
        )
    # It is told after the next poll has seen it.
    acted = Acted(
        after[0].at + 1,
        act,
        Trigger.SELECTED,
        DecidedBy.PERSON,
        "ann",
        "dashboard",
        ((Outcome.TERMINATED, len(gone)),),
        0.9,
        0.5,
        (("leaky-worker", len(gone)),),
        tuple(gone),
    )
    return [*polls[: poll + 1], *after], acted


@pytest.mark.parametrize(("act", "is_told"), [(Act.TERMINATE, True), (Act.CANCEL, False)])
def test_a_sweep_is_told_to_the_diagnosis(act: Act, *, is_told: bool) -> None:
    """So that the leak goes on for it, and what was terminated is said."""
    polls, acted = swept_at(24, act)
    diagnosis = DiagnosisOfRecording(0.3, Thresholds(compression=SCENARIOS["leak"].compression))
    for each in in_order(polls, [acted]):
        diagnosis.take(each)
    said = " ".join(found.sentence for found in diagnosis.findings)
    assert "leak in leaky-worker" in said or not is_told
    assert ("pgtop terminated" in said) == is_told
