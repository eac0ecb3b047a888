"""The places to stop at in a recording: each event once, in words that are printable."""

import msgspec
import pytest

from pgtop.core.activity import MICROSECONDS
from pgtop.core.alerts import Alert
from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.outage import Outage, OutageKind
from pgtop.core.plan import Act, DecidedBy, Outcome, Trigger
from pgtop.core.recorded import Acted, AlertRaised, Diagnosed, Event, OutageBegan, OutageEnded, ServerChanged
from pgtop.core.recorded_stops import marks_of, next_stop, previous_stop, stop_words, stops_of
from pgtop.core.server_change import ServerChange
from tests.builders import HOSTILE, NOW


def at(seconds: float) -> int:
    return NOW + round(seconds * MICROSECONDS)


def leak(seconds: float, sessions: int, application: str = "web") -> Diagnosed:
    sentence = f"leak in {application}: {sessions} sessions"
    finding = Finding(Kind.LEAK, Grade.LOOKS_LIKE, sessions, sentence, application_name=application)
    return Diagnosed(at(seconds), (finding,))


ACTED = Acted(
    at=at(30),
    act=Act.TERMINATE,
    trigger=Trigger.USAGE,
    decided_by=DecidedBy.POLICY,
    operator="ops",
    face="daemon",
    outcomes=((Outcome.TERMINATED, 17), (Outcome.CHANGED, 2)),
    usage_before=0.9,
    usage_after=0.7,
    applications=(("web", 12), ("billing", 5)),
)


def test_two_programs_that_tell_of_one_event_make_one_stop() -> None:
    events: list[Event] = [
        AlertRaised(at(0), Alert.FULL),
        AlertRaised(at(3), Alert.FULL),
        AlertRaised(at(60), Alert.FULL),
    ]
    assert [each.at for each in stops_of(events, 0.8)] == [at(0), at(60)]


def test_a_verdict_is_a_stop_when_its_causes_change() -> None:
    events: list[Event] = [
        leak(0, 10),
        leak(30, 20),
        leak(60, 20, "api"),
        Diagnosed(at(70), ()),
        leak(90, 20, "api"),
    ]
    assert [(each.at, each.words) for each in stops_of(events, 0.8)] == [
        (at(0), "leak in web: 10 sessions"),
        (at(60), "leak in api: 20 sessions"),
        (at(90), "leak in api: 20 sessions"),
    ]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (AlertRaised(0, Alert.OVER), "over the 80% line"),
        (AlertRaised(0, Alert.RECOVERED), "recovered"),
        (AlertRaised(0, Alert.LIMIT), "a CONNECTION LIMIT is reached"),
        (AlertRaised(0, Alert.OUTAGE), "no answer from the server"),
        (AlertRaised(0, Alert.FILLING), "filling: full soon"),
        (ACTED, "terminated 17 sessions of web and billing: automatic, daemon"),
        (
            msgspec.structs.replace(
                ACTED,
                act=Act.CANCEL,
                decided_by=DecidedBy.PERSON,
                outcomes=((Outcome.CANCELLED, 1),),
                applications=(),
            ),
            "cancelled 1 query: ops, daemon",
        ),
        (ServerChanged(0, ServerChange.RESTARTED, "db1 was restarted"), "db1 was restarted"),
        (
            OutageBegan(0, Outage(OutageKind.LOST, "the connection was lost")),
            "no answer: the connection was lost",
        ),
        (OutageEnded(0), "the server answers again"),
    ],
)
def test_each_event_has_its_words(event: Event, words: str) -> None:
    assert stop_words(event, 0.8) == words


def test_text_from_a_file_is_printable() -> None:
    hostile = msgspec.structs.replace(ACTED, operator=HOSTILE, face=HOSTILE, applications=((HOSTILE, 1),))
    person = msgspec.structs.replace(hostile, decided_by=DecidedBy.PERSON)
    for event in (
        hostile,
        person,
        ServerChanged(0, ServerChange.ALIEN, HOSTILE),
        OutageBegan(0, Outage(OutageKind.LOST, HOSTILE)),
        Diagnosed(0, (Finding(Kind.LEAK, Grade.IS, 1, HOSTILE),)),
    ):
        assert stop_words(event, 0.8).isprintable()


def test_the_next_and_the_previous_stop_are_those_around_the_poll() -> None:
    stops = stops_of([AlertRaised(at(0), Alert.OVER), AlertRaised(at(9), Alert.FULL)], 0.8)
    assert next_stop(stops, at(1)) == stops[1]
    assert next_stop(stops, at(10)) is None
    assert previous_stop(stops, at(9)) == stops[0]
    assert previous_stop(stops, at(0)) is None


def test_the_marks_tell_sweeps_from_terminations() -> None:
    by_hand = msgspec.structs.replace(ACTED, trigger=Trigger.SELECTED)
    none_gone = msgspec.structs.replace(ACTED, outcomes=((Outcome.DENIED, 3),))
    events: list[Event] = [
        leak(0, 5),
        ACTED,
        by_hand,
        none_gone,
        ServerChanged(at(40), ServerChange.RESTARTED, ""),
        ServerChanged(at(50), ServerChange.PROMOTED, ""),
    ]
    found = [mark.words for mark in marks_of(events)]
    assert found == ["leak", "sweep 17", "terminated 17", "restart", "failover"]
