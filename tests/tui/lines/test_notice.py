"""The dashboard's words about its data: notices, the list's title, and the keys that work now."""

import os
import signal
from pathlib import Path

import msgspec
import pytest

from pgtop.core.activity import MICROSECONDS, Limits
from pgtop.core.filter_sort import SortColumn
from pgtop.core.plan import Outcome, Result
from pgtop.core.policy import plan_terminate
from pgtop.core.session_groups import GroupBy
from pgtop.core.text import cell_width
from pgtop.demo.server import ThrowawayServer
from pgtop.reaping.reaper import Report
from pgtop.tui.lines import notice
from pgtop.tui.lines.sessions_title import Listed, sessions_title
from pgtop.tui.screens.help import help_lines
from pgtop.tui.widgets.groups_table import GroupsTable
from tests.builders import backend, policy, server_of, snapshot
from tests.servers import session, sessions, wait_until
from tests.support.dashboards import dashboard
from tests.support.reaping import face_on


async def test_a_notice_is_folded_and_not_cut() -> None:
    long = "the server could not be asked which sessions hold advisory locks: the connection was lost: "
    said = notice.Notice(long + "nothing was terminated; try again")
    lines = ["".join(cell.text for cell in line) for line in notice.lines(said, 80, 3)]
    assert all(cell_width(line) == 80 for line in lines)
    assert lines[0].endswith("Esc dismiss ")
    assert lines[-1].rstrip().endswith("try again")


def test_the_usage_after_an_action_is_measured_and_kept_up_to_date() -> None:
    """Sessions that waited for a victim end a moment later, too; what is still wrong is said."""
    crowd = [backend(10 + n) for n in range(10)]
    before = snapshot(*crowd, server=server_of(Limits(10, 0)))
    plan = plan_terminate(before, policy(), [crowd[0].id])
    shown = notice.of_report(Report(plan, (Result(plan.victims[0], Outcome.TERMINATED),)))
    assert "→" not in text(shown)
    for seconds, total, words in (
        (1, 10, "100% → 100%, still full  "),
        (3, 9, "100% → 90%, still over 80%  "),
        (5, 2, "100% → 20%  "),
        (11 + notice.SETTLE_SECONDS, 9, "100% → 20%, now 90%, over 80% again  "),
        (12 + notice.SETTLE_SECONDS, 3, "100% → 20%, now 30%  "),
    ):
        at = before.taken_at + seconds * MICROSECONDS
        after = msgspec.structs.replace(before, backends=tuple(crowd[:total]), taken_at=at)
        shown = notice.with_usage(shown, after)
        assert f" · {words}" in text(shown)
    assert "100% → 20%  " in text(notice.with_usage(shown, None)), "the usage in an outage is not known"


def test_a_notice_tells_its_age_after_a_minute() -> None:
    said = notice.Notice("copied session 4711")
    assert " copied session 4711  " in text(said._replace(age_seconds=59))
    assert " copied session 4711 · 2m ago  " in text(said._replace(age_seconds=179))


def text(shown: notice.Notice) -> str:
    """The notice on one wide line."""
    return "".join(cell.text for cell in notice.lines(shown, 200, 1)[0])


@pytest.mark.parametrize("width", [80, 120, 200])
async def test_the_title_keeps_the_tags_whole(server: ThrowawayServer, tmp_path: Path, width: int) -> None:
    async with sessions(server, 3), face_on(server, tmp_path / "a") as face:
        snapshot = await face.snapshot()
        rows = snapshot.backends[:1]
        listed = Listed(
            chosen="an-application-with-a-long-name",
            filter="-state:idle and-more-words-than-one",
            column=SortColumn.SESSION_AGE,
            tagged=frozenset(backend.id for backend in snapshot.backends),
            idle_after_seconds=0.0,
        )
        title = "".join(cell.text for cell in sessions_title(snapshot, rows, listed, width))
        assert cell_width(title) <= width
        assert f"{len(snapshot.backends)} tagged, {len(snapshot.backends) - 1} not listed" in title


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_title_of_an_empty_list_says_why(width: int) -> None:
    seen = snapshot(backend())
    problem = "unknown field stat: (state?)"
    for listed, why in (
        (Listed("leaky-worker", "", SortColumn.IDLE_AGE, frozenset(), 300.0), "no match · Esc clears"),
        (Listed("", "stat:x", SortColumn.IDLE_AGE, frozenset(), 300.0, problem=problem), problem),
    ):
        title = "".join(cell.text for cell in sessions_title(seen, [], listed, width))
        assert why in title
        assert cell_width(title) <= width


async def test_while_a_filter_is_typed_the_keys_are_its_own(server: ThrowawayServer, tmp_path: Path) -> None:
    async with (
        session(server, application_name="app"),
        dashboard(server, tmp_path / "a", size=(80, 24)) as driven,
    ):
        await driven.press("slash", *"app:app")
        await driven.shows("Enter apply", "Esc clear", "F10 quit")
        assert "K terminate" not in driven.text
        await driven.press("enter")
        await driven.shows("Enter details", "Esc clear filter", "q quit")


async def test_tab_changes_the_table_also_beside_a_filter(server: ThrowawayServer, tmp_path: Path) -> None:
    """And the filter's line goes when there is nothing in it."""
    async with session(server, application_name="one"), dashboard(server, tmp_path / "a") as driven:
        await driven.press("slash", *"app:one", "enter")
        table = driven.dashboard.query_one(GroupsTable)
        for expected in (table, driven.backends, table):
            await driven.press("tab")
            assert driven.dashboard.focused is expected
        await driven.press("g")
        assert table.by is GroupBy.USER
        assert driven.dashboard.panels.filter.value == "app:one"
        await driven.press("slash", "ctrl+u")
        await wait_until(lambda: driven.dashboard.focused is driven.dashboard.panels.filter)
        driven.dashboard.set_focus(table)
        await wait_until(lambda: not driven.dashboard.panels.filter.display)


async def test_between_the_yes_and_the_outcome_it_says_what_goes_on(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """A session that takes no signal; and `O` tells of it also after another notice took the line."""
    async with session(server) as one:
        pid = one.get_server_pid()
        async with dashboard(server, tmp_path / "a") as driven:
            await driven.press("O")
            assert driven.app.screen is driven.dashboard
            await driven.select(pid)
            os.kill(pid, signal.SIGSTOP)
            try:
                await driven.press("K")
                await driven.dialog()
                await driven.press("y")
                await driven.shows("terminating 1 session …")
                await driven.shows("terminated 0 of 1 session: 1 survived")
            finally:
                os.kill(pid, signal.SIGCONT)
            await driven.press("c", "O")
            await driven.shows("survived", str(pid))


def test_the_help_fits_into_80_columns() -> None:
    """Beside its border, its padding and its scroll bar."""
    for line in help_lines():
        assert cell_width("".join(cell.text for cell in line)) <= 69


async def test_the_tag_of_a_session_that_left_goes_with_it(server: ThrowawayServer, tmp_path: Path) -> None:
    async with session(server) as staying, dashboard(server, tmp_path / "a") as driven:
        async with session(server) as leaving:
            for each in (staying, leaving):
                await driven.select(each.get_server_pid())
                await driven.press("space")
            await driven.shows("K terminate 2 tagged")
        await driven.shows("K terminate 1 tagged")
        assert {identity.pid for identity in driven.backends.tagged} == {staying.get_server_pid()}
