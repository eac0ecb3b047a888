"""The dialogs at every size: what is asked is never cut off, and the buttons are always there."""

from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import msgspec
import pytest

from pgtop.core.activity import Privileges
from pgtop.core.plan import Outcome, ReapPolicy, Result
from pgtop.core.policy import plan_emergency, plan_sweep, plan_terminate
from pgtop.core.text import cell_width
from pgtop.demo.server import ThrowawayServer
from pgtop.reaping.plan_wording import headline
from pgtop.reaping.reaper import Report
from pgtop.tui.lines.notice import of_report
from pgtop.tui.lines.plan_summary import plan_lines
from pgtop.tui.screens import plan_dialog
from pgtop.tui.screens.automatic_dialog import AutomaticDialog
from pgtop.tui.screens.plan_dialog import PlanDialog
from tests.builders import backend, snapshot
from tests.servers import create_role, execute, session, sessions, wait_until
from tests.support.dashboards import Driven, count_stale, dashboard
from tests.support.reaping import face_on, queued
from tests.support.targets import target_of


async def test_a_dialog_fits_the_screen_after_it_changed_its_size(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with sessions(server, 30, application_name="leak"), dashboard(server, tmp_path / "a") as driven:
        await wait_until(lambda: count_stale(driven.shown) >= 30)
        await driven.press("S")
        await driven.dialog()
        await driven.shows("n  Keep", "y  Terminate")
        for size in ((80, 24), (80, 12), (120, 40), (60, 9)):
            await driven.pilot.resize_terminal(*size)
            await driven.shows("n  Keep", "y  Terminate")
        for size in ((20, 5), (10, 3), (80, 24)):
            await driven.pilot.resize_terminal(*size)
            await driven.pilot.pause()
        await driven.shows("n  Keep", "y  Terminate")
        await driven.press("y")
        await driven.shows("terminated 30")
        await driven.press("O")
        await driven.shows("Esc close", "terminated")
        await driven.pilot.resize_terminal(80, 12)
        await driven.shows("Esc close", "terminated")


async def test_a_sweep_covers_what_is_listed_and_one_key_widens_it(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """A filter and a chosen group bind both plans, that of a sweep and the emergency's."""
    async with (
        sessions(server, 4, application_name="alpha") as alpha,
        sessions(server, 3, application_name="beta") as beta,
        dashboard(server, tmp_path / "a", emergency_idle_after_seconds=1.0) as driven,
    ):
        listed, others = ({each.get_server_pid() for each in group} for group in (alpha, beta))
        await wait_until(lambda: count_stale(driven.shown) >= 7)
        await driven.press("slash", *"app:alpha", "enter")
        await driven.shows("sessions: 4,", "4 stale")
        await driven.press("S")
        dialog = await driven.dialog()
        assert planned(dialog) == listed
        await driven.shows("Sweep filter app:alpha: 4 of ", "a all sessions", "Terminate 4 sessions")
        await anew(driven, dialog, "e")
        assert planned(dialog) <= listed
        await anew(driven, dialog, "e")
        await anew(driven, dialog, "a")
        assert planned(dialog) >= listed | others
        await driven.shows("All sessions, also those that are not listed", "a only listed")
        await anew(driven, dialog, "i")
        assert planned(dialog) >= listed | others
        await anew(driven, dialog, "a")
        assert planned(dialog) == listed
        await driven.press("y")
        await driven.shows("terminated 4 sessions")
        assert {line["pid"] for line in driven.audited()} == listed
        await driven.press("escape", "escape")
        await driven.shows("beta")
        driven.dashboard.panels.groups.focus()
        await choose(driven, "beta")
        await driven.press("S")
        assert planned(await driven.dialog()) == others
        await driven.shows("Sweep beta: 3 of ")
        await driven.press("n")
        await driven.press("w", "S")
        assert planned(await driven.dialog()) >= others
        await driven.shows("Sweep all sessions: ")
        assert "listed" not in driven.text


def planned(dialog: PlanDialog) -> set[int]:
    """The pids of the sessions that a dialog's plan would terminate."""
    return {victim.backend.pid for victim in dialog.plan.victims}


async def anew(driven: Driven, dialog: PlanDialog, key: str) -> None:
    """Press a key that makes another plan, and wait until a yes would count for that one."""
    before = dialog.plan
    await driven.press(key)
    await wait_until(lambda: dialog.plan is not before and dialog.is_armed)


async def choose(driven: Driven, name: str) -> None:
    """Choose an application's group."""
    table = driven.dashboard.panels.groups
    row = next(row for row in table.rows if row.key.application_name == name)
    table.move_to(row.key)
    await driven.press("enter")
    await driven.shows(f"of {name}")


@pytest.mark.parametrize("size", [(20, 5), (10, 3)])
async def test_no_yes_counts_where_it_cannot_be_read(
    server: ThrowawayServer, tmp_path: Path, size: tuple[int, int]
) -> None:
    """Neither to a plan nor to automatic reaping; a larger terminal shows the same plan."""
    async with sessions(server, 3, application_name="leak"), dashboard(server, tmp_path / "a") as driven:
        await wait_until(lambda: count_stale(driven.shown) >= 3)
        await driven.press("S")
        dialog = await driven.dialog()
        await driven.pilot.resize_terminal(*size)
        await driven.press("y")
        await driven.pilot.pause()
        assert driven.app.screen is dialog
        assert "Too" in driven.text
        assert not driven.audit.exists()
        await driven.pilot.resize_terminal(80, 24)
        await driven.shows("y  Terminate")
        await driven.press("n", "A")
        question = await wait_until(
            lambda: (
                isinstance(driven.app.screen, AutomaticDialog)
                and driven.app.screen.is_armed
                and driven.app.screen
            )
        )
        await driven.pilot.resize_terminal(*size)
        await driven.press("y")
        await driven.pilot.pause()
        assert driven.app.screen is question
        assert not driven.dashboard.automatic.is_on


@pytest.mark.parametrize("width", [24, 52, 71])
async def test_a_dialogs_text_is_folded_and_not_cut(
    server: ThrowawayServer, tmp_path: Path, width: int
) -> None:
    """Also why no plan can be made, which is a long sentence with the mend at its end."""
    role = await create_role(server, "plain")
    target = target_of(server, user=role.name)
    async with session(server), face_on(server, tmp_path / "a", target=target) as face:
        plan = plan_emergency(await face.snapshot(), ReapPolicy())
        assert plan.refusal
        lines = ["".join(cell.text for cell in line) for line in plan_lines(plan, width, "a caution " * 20)]
        assert all(cell_width(line) <= width for line in lines)
        assert plan.refusal in " ".join(line.strip() for line in lines)


async def test_an_emergency_below_the_line_says_that_nobody_needs_to_go(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with session(server), face_on(server, tmp_path / "a") as face:
        policy = ReapPolicy(emergency_idle_after_seconds=0.0)
        plan = plan_emergency(await face.snapshot(), policy)
        assert not plan.victims
        assert plan.spared
        assert "Nothing to do: usage is" in headline(plan)


async def test_the_headline_says_that_no_session_is_left_to_end(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """pgtop's own session is never ended, and has no statement that could be cancelled meanwhile."""
    async with face_on(server, tmp_path / "a") as face:
        snapshot = await face.snapshot()
        own = [backend.id for backend in snapshot.backends if backend.pid == snapshot.own_pid]
        ending = await face.reaper.plan_terminate(snapshot, ReapPolicy(), own)
        assert headline(ending) == "Nothing to terminate"
        cancelling = await face.reaper.plan_cancel(snapshot, ReapPolicy(), own)
        assert headline(cancelling) == "Nothing to cancel"


def test_a_refusal_and_a_problem_are_read_to_their_end_in_80_columns() -> None:
    """The mend stands at the end of each; a role's name is whatever its maker liked."""
    seen = snapshot(backend(state=None, backend_start=None, state_change=None))
    nobody = Privileges("x" * 40 + "\x1b[2J", is_superuser=False, may_signal=False)
    refused = plan_sweep(msgspec.structs.replace(seen, privileges=nobody), ReapPolicy())
    selected = plan_terminate(snapshot(backend()), ReapPolicy(), [backend().id])
    for lines, mend in (
        (plan_lines(refused, 70), "Run: GRANT pg_monitor TO"),
        (plan_lines(selected, 70, problem="the server " + "did not answer " * 9 + "try again"), "try again"),
    ):
        texts = ["".join(cell.text for cell in line) for line in lines]
        assert mend in " ".join(text.strip() for text in texts)
        assert all(text.isprintable() and cell_width(text) <= 70 for text in texts)


def test_failures_of_acts_and_audit_are_told_in_red() -> None:
    plan = plan_terminate(snapshot(backend()), ReapPolicy(), [backend().id])
    for outcome, style in (
        (Outcome.TERMINATED, "note"),
        (Outcome.CHANGED, "note"),
        (Outcome.DENIED, "alarm"),
        (Outcome.SURVIVED, "alarm"),
        (Outcome.FAILED, "alarm"),
        (Outcome.UNKNOWN, "alarm"),
    ):
        assert of_report(Report(plan, (Result(plan.victims[0], outcome),))).style == style
    unwritten = of_report(Report(plan, (Result(plan.victims[0], Outcome.TERMINATED),), "disk full"))
    assert unwritten.style == "alarm"
    assert "NOT in the audit log" in unwritten.said


async def test_dialogs_tell_who_waits_behind_a_victim(server: ThrowawayServer, tmp_path: Path) -> None:
    """At 80x24, that of K and that of a sweep, which says of the rest that it does not help them."""
    try:
        async with (
            face_on(server, tmp_path / "unused") as face,
            sessions(server, 3, application_name="queue") as (holder, *waiting),
            queued(face, holder, *waiting),
            dashboard(server, tmp_path / "a", size=(80, 24), idle_after_seconds=0.1) as driven,
        ):
            pid = holder.get_server_pid()
            said = f"2 sessions wait for locks behind {pid}"
            await driven.select(pid)
            await driven.press("K")
            await driven.dialog()
            await driven.shows(said, "y  Terminate 1", "blocks 2 · ")
            await driven.press("n", "S")
            dialog = await driven.dialog()
            await driven.shows("2 sessions are waiting on locks. A sweep won't help them")
            await anew(driven, dialog, "i")
            await driven.shows(said, "n  Keep", "y  Terminate")
            assert "won't help" not in driven.text
            await driven.press("n")
    finally:
        await execute(server, "DROP TABLE waited_for")


async def test_no_lock_is_asked_for_while_none_waits(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question takes exclusive access to the lock manager: a plan asks it only where sessions wait."""
    async with face_on(server, tmp_path / "a") as face, session(server) as one:
        await one.execute("BEGIN")
        asked: list[str] = []
        ask = face.own_connection.fetch

        async def noted(query: str, *arguments: object, **limits: int) -> list[asyncpg.Record]:
            asked.append(query)
            return await ask(query, *arguments, **limits)

        monkeypatch.setattr(face.own_connection, "fetch", noted)
        plan = await face.plan_for(one)
    assert plan.blocked_sessions == 0
    assert asked
    assert not [query for query in asked if "pg_blocking_pids" in query]


async def test_the_button_has_room_for_a_longer_number(small: ThrowawayServer, tmp_path: Path) -> None:
    async with sessions(small, 10) as opened, dashboard(small, tmp_path / "a", size=(80, 24)) as driven:
        await opened[0].execute("BEGIN")

        def are_old() -> bool:
            shown = driven.shown
            if shown is None or shown.counts.in_transaction != 1:
                return False
            return sum((each.state_seconds(shown.taken_at) or 0.0) > 1.0 for each in shown.backends) >= 10

        await wait_until(are_old)
        await driven.press("S")
        dialog = await driven.dialog()
        await driven.shows("y  Terminate 9 ")
        await anew(driven, dialog, "i")
        await driven.shows("y  Terminate 10 ")


async def test_the_dialog_names_the_right_that_the_role_lacks(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """Of a session that the server would not let it terminate: nothing is offered, and nothing promised."""
    monitor, other = await create_role(server, "monitor"), await create_role(server)
    async with (
        session(server, user=other.name, password=other.password) as one,
        dashboard(server, tmp_path / "a", user=monitor.name, password=monitor.password) as driven,
    ):
        await driven.select(one.get_server_pid())
        await driven.press("K")
        await driven.shows(
            "Nothing to terminate", "may not terminate 1 session", "GRANT pg_signal_backend TO"
        )


async def test_a_canary_spares_what_comes_back(small: ThrowawayServer, tmp_path: Path) -> None:
    """`c` in the dialog: the pool that opens its session again keeps the others, the leak loses all."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(sessions(small, 3, application_name="pool"))
        leak = await stack.enter_async_context(sessions(small, 3, application_name="leak"))
        driven = await stack.enter_async_context(
            dashboard(small, tmp_path / "a", size=(80, 24), idle_after_seconds=0.1)
        )
        driven.dashboard.plan_actions.canary_seconds = 1.0
        await wait_until(lambda: count_stale_of(driven, "pool", "leak") == 6)
        await driven.press("S")
        dialog = await driven.dialog()
        await driven.shows("c try one first", "y  Terminate 6 ")
        await driven.press("c")
        await driven.shows(
            "Canary: one session of each application first", "y  Terminate 2 of 6", "c all at once"
        )
        await wait_until(lambda: dialog.is_armed)
        await driven.press("y")
        await wait_until(lambda: sum(each.is_closed() for each in (*pool, *leak)) == 2)
        await stack.enter_async_context(session(small, application_name="pool"))
        await driven.shows("pool came back with 3 of 3: left alone", "the other 2 terminated")
        await wait_until(lambda: all(each.is_closed() for each in leak))
        assert sum(each.is_closed() for each in pool) == 1
        outcomes = [line["application_name"] for line in driven.audited() if line["event"] == "outcome"]
        assert sorted(outcomes) == ["leak", "leak", "leak", "pool"]


async def test_a_canary_ends_with_the_program(small: ThrowawayServer, tmp_path: Path) -> None:
    """Whoever closes pgtop in the pause leaves the others alone, and does not wait for it."""
    async with sessions(small, 3, application_name="leak") as leak:
        async with dashboard(small, tmp_path / "a", idle_after_seconds=0.1) as driven:
            driven.dashboard.plan_actions.canary_seconds = 3600.0
            await wait_until(lambda: count_stale_of(driven, "leak") == 3)
            await driven.press("S")
            dialog = await driven.dialog()
            await driven.press("c")
            await wait_until(lambda: dialog.is_armed)
            await driven.press("y")
            await wait_until(lambda: sum(each.is_closed() for each in leak) == 1)
        assert sum(each.is_closed() for each in leak) == 1


def count_stale_of(driven: Driven, *names: str) -> int:
    """Return how many sessions of these applications have been idle for more than a second."""
    shown = driven.shown
    rows = shown.backends if shown is not None else ()
    return sum(
        each.application_name in names and (each.idle_seconds(shown.taken_at if shown else 0) or 0) > 1
        for each in rows
    )


async def test_a_dialog_that_was_out_of_sight_has_to_be_seen_first(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command palette stood above it, or a pager in place of pgtop: `y` waits again."""
    monkeypatch.setattr(plan_dialog, "ARM_SECONDS", 2.0)  # more than a busy machine takes from key to key
    async with session(server), dashboard(server, tmp_path / "a") as driven:
        await driven.press("K")
        dialog = await driven.dialog()
        driven.app.action_command_palette()
        await wait_until(lambda: driven.app.screen is not dialog)
        with monkeypatch.context() as slow:
            slow.setattr(plan_dialog, "ARM_SECONDS", 3600.0)
            await driven.press("escape", "y")
            assert driven.app.screen is dialog
        driven.app.app_resume_signal.publish(driven.app)
        await driven.dialog()
        with monkeypatch.context() as slow:
            slow.setattr(plan_dialog, "ARM_SECONDS", 3600.0)
            driven.app.app_resume_signal.publish(driven.app)
            await wait_until(lambda: not dialog.is_armed)
            await driven.press("y")
            assert driven.app.screen is dialog
        assert not driven.audited()
