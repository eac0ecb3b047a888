"""A scrubbed file: its events, its findings, and that it is there whole or not at all."""

from pathlib import Path

import msgspec
import pytest

from pgtop.core.activity import MICROSECONDS
from pgtop.core.alerts import Alert
from pgtop.core.diagnosis.examples import idle_in_transaction
from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.outage import Outage, OutageKind
from pgtop.core.plan import Act, DecidedBy, Outcome, Trigger
from pgtop.core.recorded import Acted, AlertRaised, Diagnosed, Event, OutageBegan, OutageEnded, Seen
from pgtop.errors import HistoryError
from pgtop.history.recording import Recording
from pgtop.history.scrubbed_file import write_scrubbed
from tests.support.recordings import recorded

SHOWN = idle_in_transaction()
AT = SHOWN.taken_at
OUT = Outage(OutageKind.LOST, "db1 in the cellar did not answer")
SAID = Finding(
    Kind.IDLE_IN_TRANSACTION, Grade.LOOKS_LIKE, 28, "28 of api read policies", application_name="api"
)
EVENTS: list[Event] = [
    Diagnosed(AT, (SAID,)),
    AlertRaised(AT + 1, Alert.OVER),
    Acted(
        AT + 2,
        Act.TERMINATE,
        Trigger.SELECTED,
        DecidedBy.PERSON,
        "ann",
        "dashboard",
        ((Outcome.TERMINATED, 1),),
        0.9,
        0.8,
        (("api", 1),),
        (SHOWN.backends[0].id,),
    ),
    OutageBegan(AT + 30 * MICROSECONDS, OUT),
    OutageEnded(AT + 60 * MICROSECONDS),
    Diagnosed(AT + 60 * MICROSECONDS, ()),
]


@pytest.fixture
def original(tmp_path: Path) -> Recording:
    """A minute of sessions that wait in their transactions, with an act and an outage."""
    later = msgspec.structs.replace(SHOWN, taken_at=AT + 60 * MICROSECONDS, backends=())
    polls = [
        Seen(AT, SHOWN, 2.0),
        Seen(AT + 30 * MICROSECONDS, OUT, 2.0),
        Seen(later.taken_at, later, 2.0),
    ]
    return Recording(recorded(tmp_path / "rec", polls, EVENTS))


@pytest.fixture
def scrubbed(original: Recording, tmp_path: Path) -> Recording:
    write_scrubbed(original, tmp_path / "copy.sqlite3", 0.8)
    return Recording([tmp_path / "copy.sqlite3"])


def test_all_events_are_there_with_other_names(scrubbed: Recording) -> None:
    events = scrubbed.events(0, AT + 90 * MICROSECONDS)
    assert sorted((each.at, type(each).__name__) for each in events) == sorted(
        (each.at, type(each).__name__) for each in EVENTS
    )
    text = repr(events)
    for name in ("ann", "api", "cellar", "db1", "policies"):
        assert f"'{name}" not in text
        assert f" {name}" not in text
    (acted,) = (each for each in events if isinstance(each, Acted))
    assert (acted.operator, acted.face, acted.gone, acted.backends) == (
        "operator-a",
        "dashboard",
        1,
        (SHOWN.backends[0].id,),
    )


def test_the_findings_are_said_again_in_full(scrubbed: Recording) -> None:
    """Their sentences tell what they told, with the evidence: they are made of the scrubbed polls."""
    first, last = (each for each in scrubbed.events(0, AT + 90 * MICROSECONDS) if isinstance(each, Diagnosed))
    (finding,) = first.findings
    assert finding.sentence.startswith("28 of app-")
    assert "SELECT * FROM name_a" in finding.sentence
    assert finding.evidence
    assert last.findings == ()


def test_an_outage_is_told_by_its_kind(scrubbed: Recording) -> None:
    (seen,) = scrubbed.between(AT + 1, AT + 40 * MICROSECONDS)
    assert seen.result == Outage(OutageKind.LOST, "the connection was lost")


def test_progress_rises_to_the_end(original: Recording, tmp_path: Path) -> None:
    parts: list[float] = []
    write_scrubbed(original, tmp_path / "copy.sqlite3", 0.8, progress=parts.append)
    assert parts == [0.0, 0.5, 1.0]


def test_a_file_that_came_meanwhile_is_left(original: Recording, tmp_path: Path) -> None:
    path = tmp_path / "copy.sqlite3"

    def meanwhile(_: float) -> None:
        path.write_text("somebody's")

    with pytest.raises(HistoryError, match=r"copy\.sqlite3 is there already"):
        write_scrubbed(original, path, 0.8, progress=meanwhile)
    assert path.read_text() == "somebody's"


def test_work_that_is_broken_off_leaves_nothing(original: Recording, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scrubbed(original, tmp_path / "copy.sqlite3", 0.8, progress=interrupted)
    assert set(tmp_path.iterdir()) == before
