"""The dashboard's state remembers what the graph marks: acts, alerts, changes of the server, new findings."""

import msgspec
import pytest

from pgtop.core.activity import MICROSECONDS, ServerIdentity, Snapshot
from pgtop.core.alerts import Alert
from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.event_marks import Event
from pgtop.core.outage import Outage, OutageKind
from pgtop.core.plan import Act, Outcome, Result, Trigger
from pgtop.core.policy import plan_sweep
from pgtop.reaping.reaper import Report
from pgtop.tui.state.dashboard_state import DashboardState
from tests.builders import NOW, backend, policy, server_of, snapshot

ONE = ServerIdentity("7000", NOW - 10**9, False)


def seen(identity: ServerIdentity = ONE, later: float = 0.0) -> Snapshot:
    """A snapshot of a server with that identity."""
    shown = snapshot(backend(10), backend(11), server=server_of(identity=identity))
    return msgspec.structs.replace(shown, taken_at=NOW + int(later * MICROSECONDS))


def state_of(*snapshots: Snapshot) -> DashboardState:
    """The state after these polls."""
    state = DashboardState(0.8)
    for each in snapshots:
        state.take(each, 2.0)
    return state


@pytest.mark.parametrize(
    ("identity", "event"),
    [
        (ONE, None),
        (ServerIdentity("7000", NOW + MICROSECONDS, False), Event.RESTART),
        (ServerIdentity("7000", NOW - 10**9, True), Event.FAILOVER),
        (ServerIdentity("7000", NOW - 10**6, False), Event.FAILOVER),
        (ServerIdentity("7001", NOW - 10**9, False), Event.FAILOVER),
    ],
)
def test_a_changed_server_is_marked(identity: ServerIdentity, event: Event | None) -> None:
    """A restart as such, a promotion and any other server as a failover."""
    state = state_of(seen(), seen(identity, 2.0))
    assert [mark.event for mark in state.shown_marks] == ([event] if event else [])


@pytest.mark.parametrize(
    ("act", "trigger", "words"),
    [
        (Act.TERMINATE, Trigger.ALWAYS, ["sweep 2"]),
        (Act.TERMINATE, Trigger.EMERGENCY, ["sweep 2"]),
        (Act.TERMINATE, Trigger.SELECTED, ["terminated 2"]),
        (Act.CANCEL, Trigger.SELECTED, []),
    ],
)
def test_sessions_that_are_gone_are_marked(act: Act, trigger: Trigger, words: list[str]) -> None:
    """A sweep and a termination with their count; a cancelled statement leaves its session."""
    plan = msgspec.structs.replace(plan_sweep(seen(), policy()), act=act, trigger=trigger)
    state = state_of(seen())
    state.reaped(Report(plan, tuple(Result(victim, Outcome.DENIED) for victim in plan.victims)))
    assert not state.shown_marks
    gone = Outcome.TERMINATED if act is Act.TERMINATE else Outcome.CANCELLED
    state.reaped(Report(plan, tuple(Result(victim, gone) for victim in plan.victims)))
    assert [mark.words for mark in state.shown_marks] == words


def test_alerts_of_the_usage_are_marked() -> None:
    """A recovery and an outage show by themselves."""
    state = state_of(seen())
    for alert in Alert:
        state.alerted(alert)
    assert {mark.event for mark in state.shown_marks} == {Event.OVER, Event.FULL, Event.LIMIT}


def test_a_new_finding_is_marked_with_its_kind() -> None:
    """A mere description is not one."""
    state = state_of(seen())
    state.diagnosed((), None)
    found = Finding(Kind.LOCK_QUEUE, Grade.IS, 5, "a lock queue")
    state.diagnosed((found, Finding(Kind.MIXED, Grade.MIXED, 9, "mixed")), None)
    assert [mark.words for mark in state.shown_marks] == ["lock queue"]


def test_a_forecast_is_told_while_it_can_still_come_true() -> None:
    """Neither in an outage nor after its time: "full at 12:10" at 12:20 is wrong, in the finding too."""
    soon = Forecast(NOW + 600 * MICROSECONDS)
    words = ", full at about 12:10"
    leak = Finding(
        Kind.LEAK,
        Grade.LOOKS_LIKE,
        9,
        f"leak in web{words}; from a",
        full_at=soon.full_at,
        forecast_words=words,
    )
    quiet = ((leak.without_forecast(),), None)
    assert quiet[0][0].sentence == "leak in web; from a"

    state = state_of(seen())
    state.diagnosed((leak,), soon)
    assert state.diagnosis_to_show() == ((leak,), soon)
    state.take(Outage(OutageKind.UNREACHABLE, "connection refused"), 2.0)
    assert state.diagnosis_to_show() == quiet
    state.take(seen(later=2.0), 2.0)
    assert state.diagnosis_to_show() == ((leak,), soon)

    state.toggle_pause()
    state.take(seen(later=601.0), 2.0)
    assert state.diagnosis_to_show() == quiet


def test_marks_move_back_with_the_servers_clock() -> None:
    """A clock that is set back by a minute takes the marks with it, as it does the history."""
    state = state_of(seen())
    state.alerted(Alert.FULL)
    before = state.shown_marks[0].at
    state.take(seen(later=-60.0), 2.0)
    assert before - state.shown_marks[0].at == state.history.clock_shift >= 60 * MICROSECONDS
