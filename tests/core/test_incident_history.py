"""The history put together: each act, outage and change at one place, and what was not recorded."""

import msgspec

from pgtop.core.activity import MICROSECONDS
from pgtop.core.episodes import episodes_of
from pgtop.core.history_json import history_report
from pgtop.core.incident_history import IncidentHistory, ToldOutage, incident_history, outages_in
from pgtop.core.load_over_time import Gap, Load
from pgtop.core.outage import Outage, OutageKind
from pgtop.core.recorded import Event, OutageBegan, ServerChanged
from pgtop.core.recorded_acts import ToldAct, told_act
from pgtop.core.server_change import ServerChange
from tests.builders import acted


def at(seconds: float) -> int:
    return round(seconds * MICROSECONDS)


LOADS = [
    Load(at(0), at(100), 2, 10),
    Load(at(100), at(160), 9, 10),
    Load(at(160), at(170), 0, 0),
    Load(at(170), at(600), 2, 10),
    Load(at(800), at(810), 0, 0),
    Load(at(810), at(1000), 2, 10),
    Load(at(1000), at(1010), 0, 0),
]


def act(seconds: float) -> ToldAct:
    return told_act(acted(at=at(seconds)))


def told(events: tuple[Event, ...] = (), acts: tuple[ToldAct, ...] = ()) -> IncidentHistory:
    episodes = [(each, ()) for each in episodes_of(LOADS, 0.8)]
    return incident_history("db1", (0, at(1200)), 0.8, LOADS, episodes, events, acts)


def began(seconds: float) -> OutageBegan:
    return OutageBegan(at(seconds), Outage(OutageKind.LOST, f"lost at {seconds}"))


def changed(seconds: float) -> ServerChanged:
    return ServerChanged(at(seconds), ServerChange.RESTARTED, "db1 was restarted")


def test_outages_are_told_with_their_first_failure() -> None:
    """Of the last one it is not known that it ended."""
    assert outages_in(LOADS, [began(160), began(162), began(1000)]) == [
        ToldOutage(at(160), at(170), is_over=True, message="lost at 160", kind=OutageKind.LOST),
        ToldOutage(at(800), at(810), is_over=True, message=""),
        ToldOutage(at(1000), at(1010), is_over=False, message="lost at 1000", kind=OutageKind.LOST),
    ]


def test_acts_of_an_episode_are_told_in_it_alone() -> None:
    history = told((changed(170), changed(900)), (act(150), act(500)))
    (episode,) = history.episodes
    assert [each.at for each in episode.acts] == [at(150)]
    assert [each.start for each in episode.outages] == [at(160)]
    assert [each.at for each in episode.changes] == [at(170)]
    assert [each.at for each in history.acts] == [at(500)]
    assert [each.start for each in history.outages] == [at(800), at(1000)]
    assert [each.at for each in history.changes] == [at(900)]


def test_a_change_that_several_programs_told_of_is_told_once() -> None:
    history = told((changed(900), changed(902), changed(990)))
    assert [each.at for each in history.changes] == [at(900), at(990)]


def test_only_a_longer_time_without_polls_is_told() -> None:
    assert told().gaps == (Gap(at(600), at(800)), Gap(at(1010), at(1200)))


def test_the_json_has_all_of_it() -> None:
    report = msgspec.json.decode(msgspec.json.encode(history_report(told((), (act(150), act(500))))))
    (episode,) = report["episodes"]
    assert (report["schema"], report["server"], report["warn_at"]) == (1, "db1", 0.8)
    assert (episode["started_at"], episode["ended_at"]) == (
        "1970-01-01T00:01:40.000000Z",
        "1970-01-01T00:02:40.000000Z",
    )
    assert episode["ending"] == "no_answer"
    assert episode["peak"] == {"at": "1970-01-01T00:01:40.000000Z", "total": 9, "slots": 10, "usage": 0.9}
    assert episode["acts"][0]["gone"] == 2
    assert episode["acts"][0]["outcomes"] == [
        {"outcome": "terminated", "total": 2},
        {"outcome": "changed", "total": 1},
    ]
    assert [each["ended_at"] is None for each in report["outages"]] == [False, True]
    assert len(report["acts"]) == 1
    assert len(report["unrecorded"]) == 2
