"""The line of keys as values: none without effect, the most needed first, and no place that jumps."""

from typing import Any

import pytest

from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.text import cell_width
from pgtop.tui.lines.key_situation import Focus, Incident, Situation, incident_of, run_queries
from pgtop.tui.lines.keys import NARROW, key_line, replay_keys, table_keys, waiting_keys, wall_keys
from pgtop.tui.lines.replay_banner import Replayed
from tests.builders import backend, snapshot
from tests.support.dashboards import as_text

BUSY = Situation(
    listed=40,
    groups=4,
    can_terminate=True,
    can_cancel=True,
    sweepable=24,
    sweep_digits=3,
    waits_on_locks=True,
)
"""A list where every key has an effect."""

SITUATIONS = {
    "waiting": None,
    "calm": BUSY,
    "leak": BUSY._replace(incident=Incident.SWEEPABLE),
    "locks": BUSY._replace(incident=Incident.OTHER),
    "full": BUSY._replace(incident=Incident.SWEEPABLE, break_glass=True),
    "tagged": BUSY._replace(tagged=12),
    "groups": BUSY._replace(focus=Focus.GROUPS),
    "read-only": BUSY._replace(read_only=True),
    "outage": BUSY._replace(outage=True),
    "empty": Situation(filtered=True),
    "filter": BUSY._replace(focus=Focus.FILTER, has_filters=True, saved_filter="stale-web"),
    "paused": BUSY._replace(paused=True),
}


def line(situation: Situation | None, width: int) -> str:
    keys = table_keys(situation) if situation is not None else waiting_keys(break_glass=True)
    return as_text([key_line(keys, width)])[0]


def names(situation: Situation) -> list[str]:
    return [key.key for key in table_keys(situation)]


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_line_is_full_and_ends_with_help_and_quit(name: str) -> None:
    for width in range(20, 201):
        shown = line(SITUATIONS[name], width)
        assert cell_width(shown) == width
        margin = " " if width >= NARROW else ""  # the head ends there, too
        assert shown.endswith(f"F1 help  {'F10' if name == 'filter' else 'q'} quit{margin}")


@pytest.mark.parametrize(
    ("name", "width", "shown"),
    [
        ("calm", 40, " / filter  Enter open    F1 help  q quit"),
        ("calm", 60, " d why  / filter  Enter open  S sweep 24     F1 help  q quit"),
        ("leak", 40, " d why  K term  S sweep  F1 help  q quit"),
        ("locks", 40, " d why  K term  b locks  F1 help  q quit"),
        ("full", 40, " B free slots  d why     F1 help  q quit"),
        ("leak", 80, " d diagnosis  K terminate  / filter  Enter open  S sweep 24     F1 help  q quit "),
        ("locks", 80, " d diagnosis  K terminate  / filter  Enter open  b lock tree    F1 help  q quit "),
        ("calm", 80, " d diagnosis  K terminate  / filter  Enter open  S sweep 24     F1 help  q quit "),
        ("tagged", 60, " K term 12  / filter  C cancel 12  U untag   F1 help  q quit"),
        ("empty", 40, " / filter  Esc clear     F1 help  q quit"),
        ("filter", 40, " Enter ok  Esc clear   F1 help  F10 quit"),
    ],
)
def test_the_most_needed_keys_have_room(name: str, width: int, shown: str) -> None:
    assert line(SITUATIONS[name], width) == shown


def order(shown: str) -> list[str]:
    """The keys of a line from left to right, without the last two."""
    known = {key.key for each in SITUATIONS.values() if each is not None for key in table_keys(each)}
    longest_first = sorted(known, key=len, reverse=True)
    entries = [each.strip() for each in shown.split("F1 help")[0].split("  ") if each.strip()]
    return [next(name for name in longest_first if each.startswith(name)) for each in entries]


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_two_keys_stand_in_the_same_order_in_every_situation(width: int) -> None:
    typed = {"filter", "waiting"}
    lines = [order(line(each, width)) for name, each in SITUATIONS.items() if name not in typed]
    assert any(len(each) > 2 for each in lines)
    for one in lines:
        for other in lines:
            both = [key for key in one if key in other]
            assert both == [key for key in other if key in one]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_key_stands_still_when_trouble_comes_and_goes(width: int) -> None:
    """From rest to a leak or a lock queue, what one pressed a moment ago is where it was."""
    calm = line(SITUATIONS["calm"], width)
    for trouble in ("leak", "locks"):
        shown = line(SITUATIONS[trouble], width)
        for said in ("d diagnosis", "K terminate", "/ filter", "Enter "):
            assert said in calm
            assert calm.index(said) == shown.index(said)


@pytest.mark.parametrize("name", ["leak", "calm", "groups"])
def test_no_key_moves_as_the_count_grows(name: str) -> None:
    situation = SITUATIONS[name]
    assert situation is not None
    for width in (40, 80, 120):
        few, many = (line(situation._replace(sweepable=count), width) for count in (1, 432))
        assert few.replace("sweep 1  ", "sweep 432") == many


@pytest.mark.parametrize(
    ("changed", "void"),
    [  # on the groups, Enter and Tab mean something else
        ({"read_only": True, "break_glass": False}, "KCSA"),
        ({"outage": True}, ["K", "C", "S", "A", "b", "Enter"]),
        (
            {"listed": 0, "can_terminate": False, "can_cancel": False, "sweepable": 0},
            ["K", "C", "S", "Enter"],
        ),
        ({"listed": 0}, ["Space", "o", "n", "Enter"]),
        ({"can_cancel": False}, "C"),
        ({"can_terminate": False}, "K"),
        ({"sweepable": 0}, "S"),
        ({"waits_on_locks": False}, "b"),
        ({"tagged": 0}, "U"),
        ({"searches": False}, "n"),
        ({"searches": True, "filtered": True}, "n"),
        ({"groups": 0}, ["Tab"]),
        ({"filtered": False, "grouped": False}, ["Esc"]),
        ({"filtered": True, "has_notice": True}, ["Esc"]),
    ],
)
def test_no_key_is_without_effect(changed: dict[str, Any], void: str | list[str]) -> None:
    everything = BUSY._replace(tagged=2, searches=True, grouped=True)
    for focus in (Focus.LIST, Focus.GROUPS):
        gone = set(void) - ({"Enter", "Tab"} if focus is Focus.GROUPS else set())
        for incident in Incident:
            before = everything._replace(focus=focus, incident=incident)
            after = names(before._replace(**changed))
            assert focus is Focus.GROUPS or gone <= set(names(before))
            assert not gone & set(after)
            assert len(after) == len(set(after))


def test_the_need_follows_the_situation() -> None:
    assert names(BUSY)[:4] == ["/", "Enter", "d", "S"]
    assert names(BUSY).index("S") < names(BUSY).index("A")
    assert names(BUSY._replace(incident=Incident.SWEEPABLE))[:3] == ["d", "S", "K"]
    assert names(BUSY._replace(incident=Incident.OTHER))[:4] == ["d", "b", "K", "/"]
    assert names(BUSY._replace(tagged=3, incident=Incident.SWEEPABLE))[:3] == ["K", "C", "U"]
    assert names(BUSY._replace(break_glass=True, incident=Incident.SWEEPABLE))[0] == "B"
    assert names(BUSY._replace(paused=True))[0] == "p"
    assert names(Situation(filtered=True))[0] == "Esc"
    walls = [[key.key for key in wall_keys(BUSY._replace(incident=each))][:2] for each in Incident]
    assert walls == [["w", "S"], ["d", "S"], ["d", "b"]]
    assert not {"K", "C", "/", "Enter", "Space"} & {key.key for key in wall_keys(BUSY)}


def test_the_incident_is_that_of_the_first_finding() -> None:
    assert incident_of([], is_full=False) is Incident.NONE
    assert incident_of([], is_full=True) is Incident.SWEEPABLE
    for kind, incident in (
        (Kind.LEAK, Incident.SWEEPABLE),
        (Kind.MIXED, Incident.SWEEPABLE),
        (Kind.LOCK_QUEUE, Incident.OTHER),
        (Kind.SURGE, Incident.OTHER),
    ):
        assert incident_of([Finding(kind, Grade.LOOKS_LIKE, 9, "")], is_full=True) is incident


def test_the_key_to_cancel_does_not_blink() -> None:
    """A session that finished a query a moment ago is about to run the next; pgtop's own never counts."""
    active, just, long = backend(21, state="active"), backend(22, age=1.0), backend(23, age=60.0)
    shown = snapshot(active, just, long)
    assert run_queries([active], shown)
    assert run_queries([just], shown)
    assert not run_queries([long], shown)
    assert not run_queries([just, long], shown)
    assert not run_queries([], shown)
    assert not run_queries([backend(shown.own_pid, state="active")], shown)


REPLAY = Replayed(0, 1, 10)


def played(situation: Situation, replay: Replayed = REPLAY) -> list[str]:
    return [key.key for key in replay_keys(situation, replay)]


def test_the_player_has_no_key_that_acts() -> None:
    for focus in (Focus.LIST, Focus.GROUPS):
        for wall in (False, True):
            situation = BUSY._replace(read_only=True, tagged=2, focus=focus, on_the_wall=wall)
            assert not {"K", "C", "S", "A", "B"} & set(played(situation))


def test_the_player_names_playing_first() -> None:
    assert played(BUSY)[:2] == ["p", "← →"]
    assert "End" not in played(BUSY)
    assert "End" in played(BUSY, REPLAY._replace(is_over_live=True))
    line = as_text([key_line(replay_keys(BUSY, REPLAY), 80)])[0]
    assert line == " p play  ← → one poll  . next event  [ ] a minute  t time       F1 help  q quit "
    playing = replay_keys(BUSY, REPLAY._replace(is_playing=True))
    assert playing[0].label == "pause"


def test_the_player_on_the_wall_has_no_key_of_the_list() -> None:
    assert not {"/", "Enter", "Tab", "o", "Space"} & set(played(BUSY._replace(on_the_wall=True)))


def test_back_in_time_is_a_key_where_polls_are_recorded() -> None:
    assert "←" not in names(BUSY)
    assert "←" in names(BUSY._replace(is_recorded=True))
