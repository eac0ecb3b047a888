"""The marks of the graph: bounded, moved with the server's clock, and no finding is new twice."""

from pgtop.core.activity import MICROSECONDS
from pgtop.core.event_marks import KEPT, QUIET_SECONDS, Event, EventMarks, Mark


def test_marks_move_back_with_the_clock() -> None:
    """An event of 100 s before a clock was set back by 40 s was at 60 s by the clock as it is now."""
    marks = EventMarks()
    marks.add(Mark(100, Event.SWEEP, 17), 0)
    marks.add(Mark(70, Event.FULL), 40)
    assert [each.at for each in marks.shown(40)] == [60, 70]
    assert [each.at for each in marks.shown(0)] == [100, 110]


def test_the_oldest_marks_go_first() -> None:
    """Weeks of events take no more room than a day of them."""
    marks = EventMarks()
    for at in range(KEPT + 3):
        marks.add(Mark(at, Event.OVER), 0)
    shown = marks.shown(0)
    assert (len(shown), shown[0].at) == (KEPT, 3)


def test_a_finding_is_new_once() -> None:
    """What stood there at the first look, or came back within a minute, is not new."""
    marks, second = EventMarks(), MICROSECONDS
    quiet = int(QUIET_SECONDS)
    looks = (
        (0, ["leak"]),
        (2, ["leak", "surge"]),
        (4, ["leak"]),
        (30, ["leak", "surge"]),
        (31 + quiet, ["surge"]),
        (32 + quiet, ["leak"]),
    )
    for at, names in looks:
        marks.add_findings(names, at * second, 0)
    assert [(each.at // second, each.words) for each in marks.shown(0)] == [
        (2, "surge"),
        (31 + quiet, "surge"),
        (32 + quiet, "leak"),
    ]
