"""What a recording shows at each position: the poll as it was, and all that the screen said of it."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.alerts import Alert
from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.diagnosis.over_time import DiagnosisOverTime
from pgtop.core.outage import Outage, OutageKind
from pgtop.core.recorded import AlertRaised, Diagnosed, Event, OutageBegan, OutageEnded, Seen
from pgtop.core.session_groups import GroupBy, GroupKey
from pgtop.errors import HistoryError
from pgtop.history.recording import Position, Recording
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui.state.playback import GroupPast, Playback, opened
from tests.builders import NOW, backend, snapshot
from tests.support.recordings import recording, seen

WARN_AT = 0.8
LOST = Outage(OutageKind.LOST, "the connection was lost")


def poll(seconds: float, sessions: int = 10) -> Seen:
    """A poll of a server with sessions of one application."""
    sleeping = tuple(backend(10 + n, application_name="web") for n in range(sessions))
    return seen(snapshot(*sleeping, taken_at=NOW + round(seconds * MICROSECONDS)))


def polls(totals: Sequence[int], every: float = 2.0) -> list[Seen]:
    return [poll(number * every, total) for number, total in enumerate(totals)]


def played(root: Path, made: Sequence[Seen], events: Sequence[Event] = ()) -> Playback:
    return Playback(recording(root, made, events), WARN_AT)


def place(playback: Playback, number: int) -> Position:
    """The position of a poll by its number, of which 0 is the first."""
    first = playback.recording.first()
    assert first is not None
    return playback.step(first, number)


def test_each_position_shows_the_poll_that_was_recorded(tmp_path: Path) -> None:
    made = polls([10, 12, 80, 90, 14])
    playback = played(tmp_path, made)
    for number, each in enumerate(made):
        shown = playback.show(place(playback, number))
        assert shown.seen == each
        assert shown.snapshot == each.result
        assert shown.number == number + 1
        assert shown.age_seconds == 0
    assert playback.recording.polls == len(made)


def test_the_findings_are_those_of_a_diagnosis_that_saw_it_all(tmp_path: Path) -> None:
    """Played poll by poll, and from one jump on."""
    made = polls([10 + number // 2 for number in range(160)])
    diagnosis, said = DiagnosisOverTime(WARN_AT), {}
    for number, each in enumerate(made):
        assert isinstance(each.result, Snapshot)
        said[number] = diagnosis.take(each.result, each.facts)
    playback = played(tmp_path, made)
    for number in range(150, 160):
        assert playback.show(place(playback, number)).findings == said[number]
    other = played(tmp_path / "other", made)
    kinds = [each.kind for each in other.show(place(other, 159)).findings]
    assert kinds == [each.kind for each in said[159]]
    assert kinds


def test_a_step_stops_at_the_ends(tmp_path: Path) -> None:
    playback = played(tmp_path, polls([1, 2, 3]))
    assert playback.step(place(playback, 0), -1) == place(playback, 0)
    assert playback.step(place(playback, 2), 1) == place(playback, 2)
    assert playback.step(place(playback, 2), -2) == place(playback, 0)


def test_a_minute_is_a_minute_or_at_least_a_poll(tmp_path: Path) -> None:
    made = [poll(seconds) for seconds in (0, 2, 60, 62, 64, 600)]
    playback = played(tmp_path, made)
    assert playback.by_seconds(place(playback, 1), 60) == place(playback, 3)
    assert playback.by_seconds(place(playback, 3), -60) == place(playback, 1)
    assert playback.by_seconds(place(playback, 4), 60) == place(playback, 5)
    assert playback.by_seconds(place(playback, 5), -60) == place(playback, 4)


def test_playing_goes_as_far_as_the_time_does(tmp_path: Path) -> None:
    playback = played(tmp_path, polls([1] * 20))
    assert playback.later(place(playback, 3), 1.9) == place(playback, 3)
    assert playback.later(place(playback, 3), 2.0) == place(playback, 4)
    assert playback.later(place(playback, 3), 11.0) == place(playback, 8)
    assert playback.later(place(playback, 3), 3600.0) == place(playback, 19)


def test_a_gap_is_told_and_passed_at_once(tmp_path: Path) -> None:
    playback = played(tmp_path, [poll(0), poll(2), poll(902), poll(904)])
    assert playback.later(place(playback, 1), 0.1) == place(playback, 2)
    gap = playback.show(place(playback, 2)).gap
    assert gap == (NOW + 2 * MICROSECONDS, NOW + 902 * MICROSECONDS)
    assert playback.show(place(playback, 1)).gap is None
    assert playback.show(place(playback, 3)).gap is None


def test_a_clock_that_was_set_back_stops_nothing(tmp_path: Path) -> None:
    made = [poll(number) for number in (100, 102, 50, 52, 54)]
    playback = played(tmp_path, made)
    here = place(playback, 0)
    numbers = [playback.show(here).number]
    while numbers[-1] < 5:
        here = playback.later(here, 2.0)
        numbers.append(playback.show(here).number)
    assert numbers == [1, 2, 3, 4, 5]
    assert playback.show(place(playback, 2)).gap is None


def test_an_outage_shows_the_last_snapshot_and_its_age(tmp_path: Path) -> None:
    playback = played(tmp_path, [poll(0), poll(2, 90), seen(LOST, 4), seen(LOST, 6), poll(8)])
    shown = playback.show(place(playback, 3))
    assert shown.outage == LOST
    assert shown.snapshot == poll(2, 90).result
    assert shown.age_seconds == 4
    assert playback.show(place(playback, 4)).outage is None


def test_an_outage_longer_than_the_warm_up_has_its_snapshot(tmp_path: Path) -> None:
    silent = [seen(LOST, seconds) for seconds in range(4, 2000, 10)]
    playback = played(tmp_path, [poll(0), poll(2, 90), *silent])
    assert playback.show(place(playback, 200)).snapshot == poll(2, 90).result


def test_a_recording_that_begins_with_an_outage_has_no_snapshot(tmp_path: Path) -> None:
    playback = played(tmp_path, [seen(LOST, 0), poll(2)])
    shown = playback.show(place(playback, 0))
    assert shown.snapshot is None
    assert shown.outage == LOST
    assert playback.show(place(playback, 1)).snapshot == poll(2).result


def leak(at: float, sentence: str, kind: Kind = Kind.LEAK) -> Diagnosed:
    finding = Finding(kind, Grade.LOOKS_LIKE, 44, sentence, application_name="web")
    return Diagnosed(NOW + round(at * MICROSECONDS), (finding,))


EVENTS: list[Event] = [
    AlertRaised(NOW + 4 * MICROSECONDS + 100, Alert.OVER),
    leak(8, "leak in web: 44 sessions"),
    leak(10, "leak in web: 45 sessions"),
    AlertRaised(NOW + 10 * MICROSECONDS + 1, Alert.FULL),
    AlertRaised(NOW + 12 * MICROSECONDS, Alert.FULL),
    OutageBegan(NOW + 14 * MICROSECONDS, LOST),
    OutageEnded(NOW + 18 * MICROSECONDS),
]


def test_the_events_are_gone_to_one_by_one(tmp_path: Path) -> None:
    """A verdict whose causes stay is not news, nor is an alert that a second program told too."""
    made = [*polls([1] * 7), seen(LOST, 14), seen(LOST, 16), poll(18), poll(20)]
    playback = played(tmp_path, made, EVENTS)
    here, told = place(playback, 0), []
    while (found := playback.to_stop(here, 1)) is not None:
        here = found
        shown = playback.show(here)
        told.append((shown.number, [each.words for each in shown.stops]))
    assert told == [
        (3, ["over the 80% line"]),
        (5, ["leak in web: 44 sessions"]),
        (6, ["FULL: new connections are refused"]),
        (8, ["no answer: the connection was lost"]),
        (10, ["the server answers again"]),
    ]
    back = []
    while (found := playback.to_stop(here, -1)) is not None:
        here = found
        back.append(playback.show(here).number)
    assert back == [8, 6, 5, 3]


def test_the_marks_are_those_of_the_live_graph(tmp_path: Path) -> None:
    playback = played(tmp_path, polls([1] * 10), EVENTS)
    assert [mark.words for mark in playback.marks] == ["over the line", "leak", "full", "full"]


def test_usage_over_the_line_has_its_beginning(tmp_path: Path) -> None:
    playback = played(tmp_path, polls([10, 10, 90, 90, 90, 10]))
    since = playback.show(place(playback, 4)).over_since
    assert since is not None
    assert (since.at, since.is_exact) == (NOW + 4 * MICROSECONDS, True)
    assert playback.show(place(playback, 5)).over_since is None


def test_the_graph_has_what_follows_too(tmp_path: Path) -> None:
    made = polls([10, 20, 30, 40])
    playback = played(tmp_path, made)
    graph = playback.show(place(playback, 0)).graph
    assert (graph.begin, graph.end, graph.is_whole) == (made[0].at, made[-1].at, True)
    assert graph.history.latest is not None
    assert graph.history.latest.total == 40


def test_the_window_around_stands_still_while_it_is_played(tmp_path: Path) -> None:
    playback = played(tmp_path, polls([1] * 720, every=5.0))
    playback.zoom = 900.0
    spans = [playback.show(place(playback, number)).graph for number in (0, 40, 360, 361, 719)]
    for number, graph in zip((0, 40, 360, 361, 719), spans, strict=True):
        assert graph.begin <= NOW + number * 5 * MICROSECONDS <= graph.end
        assert graph.seconds == 900
        assert not graph.is_whole
    assert spans[0][1:] == spans[1][1:]
    assert spans[2][1:] == spans[3][1:]
    assert spans[4].end == NOW + 719 * 5 * MICROSECONDS


def test_a_group_tells_its_change_over_the_last_minutes(tmp_path: Path) -> None:
    playback = played(tmp_path, polls([10 + number // 10 for number in range(100)]))
    shown = playback.show(place(playback, 99))
    history = GroupPast().history(GroupBy.APPLICATION, shown)
    assert history.change(GroupKey(application_name="web"), 19, shown.seen.at) == 9


def test_a_time_is_the_last_poll_at_or_before_it(tmp_path: Path) -> None:
    playback = played(tmp_path, polls([1, 2, 3]))
    assert playback.at(NOW + 3 * MICROSECONDS) == place(playback, 1)
    assert playback.at(NOW - 1) == place(playback, 0)
    assert playback.at(NOW + 3600 * MICROSECONDS) == place(playback, 2)


def test_a_recording_opens_at_its_last_poll_or_at_a_time(tmp_path: Path) -> None:
    found = recording(tmp_path, polls([1, 2, 3]))
    assert opened(found, Config())[1].number == 3
    assert opened(found, Config(), at=NOW + 2 * MICROSECONDS)[1].number == 2


def test_hidden_queries_are_not_shown(tmp_path: Path) -> None:
    found = recording(tmp_path, [*polls([3, 3]), seen(LOST, 4)])
    for at in (0, 2, 4):
        shown = opened(found, Config(hide_queries=True), at=NOW + at * MICROSECONDS)[1]
        assert shown.snapshot is not None
        assert [each.query for each in shown.snapshot.backends] == [None] * 3
        assert shown.findings == opened(found, Config(), at=NOW + at * MICROSECONDS)[1].findings


def test_a_recording_without_polls_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="no polls"):
        opened(Recording([]), Config())


def test_the_end_of_a_seek_is_its_whole(tmp_path: Path) -> None:
    playback = played(tmp_path, polls([1] * 300))
    playback.show(place(playback, 299))
    assert playback.progress == 1.0


def test_two_servers_in_one_recording_are_played_in_turn(tmp_path: Path) -> None:
    """The second one's findings do not build on the first one's sessions."""
    first, second = poll(0, 30), poll(2, 30)
    assert isinstance(second.result, Snapshot)
    server = second.result.server
    alien = msgspec.structs.replace(
        server, identity=msgspec.structs.replace(server.identity, system_identifier="8")
    )
    other = msgspec.structs.replace(second, result=msgspec.structs.replace(second.result, server=alien))
    playback = played(tmp_path, [first, other])
    shown = playback.show(place(playback, 1))
    assert shown.snapshot is not None
    assert shown.snapshot.server.identity.system_identifier == "8"
