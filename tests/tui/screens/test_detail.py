"""The detail of a session: it is whole at 80 columns, it stays live, and its keys mean this session."""

import asyncio
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual import events

from pgtop.core.lock_tree import is_other_session
from pgtop.core.plan import Act
from pgtop.core.text import cell_width
from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.backend_detail import backend_detail
from pgtop.tui.lines.session_detail import detail_lines
from pgtop.tui.screens.detail import DetailScreen
from tests.builders import backend
from tests.servers import create_role, fetch_value, session, sessions, wait_until
from tests.support.dashboards import as_text, dashboard
from tests.support.reaping import face_on, found
from tests.support.terminals import terminal

POLLED = "SELECT max(query_start) FROM pg_stat_activity WHERE application_name LIKE 'pgtop dashboard%'"


async def test_ages_are_whole_at_80_columns_and_live(server: ThrowawayServer, tmp_path: Path) -> None:
    """Also how long it has been idle in its transaction, which is not the idle age that a sweep goes by."""
    async with session(server) as one:
        await one.execute("BEGIN; SELECT FROM pg_class LIMIT 1")
        async with dashboard(server, tmp_path / "a", size=(80, 40)) as driven:
            await driven.select(one.get_server_pid())
            await driven.press("enter")
            await driven.shows(
                "idle in transaction for ", "in a transaction: it keeps its locks", "session began"
            )
            assert "…" not in next(line for line in driven.text.splitlines() if "transaction for" in line)
            await one.execute("ROLLBACK; SELECT 4711 AS newer")
            await driven.shows("idle for", "4711 AS newer")
            assert "in a transaction" not in driven.text


async def test_the_locked_object_is_named_once(server: ThrowawayServer, tmp_path: Path) -> None:
    async with session(server) as one, face_on(server, tmp_path / "a") as face:
        await one.execute("BEGIN; LOCK TABLE pg_am IN SHARE MODE; SELECT txid_current()")
        detail = await backend_detail(face.own_connection, found(await face.snapshot(), one).id)
        assert detail is not None
        lines = as_text(detail_lines(detail, 69))
        text = "\n".join(lines)
        assert " holds  ShareLock on pg_am\n" in text
        assert "on transaction " in text
        assert all(cell_width(line) <= 69 for line in lines)
        await one.execute("ROLLBACK")


async def test_its_keys_act_on_this_session_and_it_says_when_it_is_gone(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """Whatever is tagged in the list behind it."""
    async with (
        sessions(server, 3) as (one, tagged, _),
        dashboard(server, tmp_path / "a", size=(80, 24)) as driven,
    ):
        await driven.select(tagged.get_server_pid())
        await driven.press("space")
        await driven.select(one.get_server_pid())
        await driven.press("enter")
        await driven.shows("session began")
        await driven.press("C")
        assert not (await driven.dialog()).plan.victims
        await driven.shows("Nothing to cancel")
        await driven.press("escape", "K")
        dialog = await driven.dialog()
        assert [each.backend.pid for each in dialog.plan.victims] == [one.get_server_pid()]
        await driven.press("y")
        await driven.shows("is gone", "terminated 1 session")
        assert isinstance(driven.app.screen, DetailScreen)
        await driven.press("K")
        await driven.shows(f"session {one.get_server_pid()} is gone")
        await driven.press("escape")
        await wait_until(lambda: driven.dashboard.notices.current is None)
        await driven.press("escape")
        assert driven.app.screen is driven.dashboard


async def test_arrows_go_through_the_list_as_it_was(server: ThrowawayServer, tmp_path: Path) -> None:
    """Sessions that come, go or change places meanwhile do not move it."""
    async with (
        sessions(server, 3, application_name="needle") as opened,
        dashboard(server, tmp_path / "a") as driven,
    ):
        await driven.press("slash", *"app:needle", "enter")
        await wait_until(lambda: len(driven.listed) == 3)
        listed = driven.listed
        await driven.press("home", "enter")
        await driven.shows(f"Session {listed[0]}", "1 of 3")
        await opened[0].fetchval("SELECT 1")
        async with session(server, application_name="needle"):
            for number, key in enumerate(["right", "right", "right", "left"]):
                await driven.press(key)
                place = [1, 2, 0, 2][number]
                await driven.shows(f"Session {listed[place]} ", f"{place + 1} of 3", "session began")


async def test_copy_has_the_whole_query_printable(server: ThrowawayServer, tmp_path: Path) -> None:
    async with session(server) as one, dashboard(server, tmp_path / "a") as driven:
        await one.execute("SELECT 1,\n  '\x1b]52;c;eA==\x07' AS odd, '" + "x" * 300 + "end'")
        await driven.select(one.get_server_pid())
        await driven.press("enter")
        await driven.shows("session began")
        await driven.press("c")
        await driven.shows("copied session")
        first, *query = driven.app.clipboard.splitlines()
        assert f"pid {one.get_server_pid()}" in first
        assert query[0] == "SELECT 1,"
        assert query[1].endswith("xend'")
        assert all(line.isprintable() for line in query)


async def test_nothing_is_done_for_a_transaction_that_has_ended(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with session(server) as one, dashboard(server, tmp_path / "a") as driven:
        await one.execute("BEGIN; SELECT 1")
        await driven.select(one.get_server_pid())
        row = driven.backends.cursor_row
        assert row is not None
        older = replace(row, state="idle in transaction", xact_start=1)
        await driven.dashboard.plan_actions.act_on_shown(Act.TERMINATE, older, "")
        await driven.shows("has ended the transaction that was shown: nothing was done")
        assert not driven.audit.exists()


async def test_a_pager_that_cannot_be_is_told(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with session(server) as one, dashboard(server, tmp_path / "a", read_only=True) as driven:
        await one.execute("SELECT 1")
        await driven.select(one.get_server_pid())
        await driven.press("enter")
        await driven.shows("session began")
        monkeypatch.setenv("PAGER", "no-such-pager -x; true")
        await driven.press("v")
        await driven.shows("$PAGER is not a program that can be found")
        monkeypatch.setenv("PAGER", "cat")
        await driven.press("v")
        await driven.shows("this terminal cannot be given to a pager")
        await driven.press("K")
        await driven.shows("read-only: nothing can be terminated")


async def test_the_query_is_read_in_the_pager_while_polls_go_on(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """No shell sees the query; Ctrl+C is the pager's, and the screen is as it was afterwards."""
    pager = tmp_path / "pager.py"
    pager.write_text(
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, lambda *_: print('pager interrupted', flush=True))\n"
        "print('PAGED', sys.argv[1:], sys.stdin.read(), flush=True)\n"
        "open('/dev/tty').readline()\n"
    )
    environment = {"PAGER": f"{sys.executable} {pager} '-a b'"}
    async with session(server, application_name="needle") as one:
        await one.execute('SELECT 1 AS "$(touch x)`;" -- \x1b[2J')
        with terminal(server, tmp_path, environment=environment) as opened:
            opened.shows("needle")
            opened.press(b"/")
            opened.shows("words, app:web")
            opened.press(b"app:needle\r")
            opened.shows("filter: app:needle")
            opened.press(b"\r")
            opened.shows("session began")
            opened.press(b"v")
            opened.shows("PAGED ['-a b'] SELECT 1 AS \"$(touch x)`;\" -- ·[2J")
            before = await fetch_value(server, POLLED)

            async def polled() -> bool:
                return bool(await fetch_value(server, POLLED) > before)  # type: ignore[operator]

            await wait_until(polled)
            opened.press(b"\x03")
            opened.shows("pager interrupted")
            opened.wipe()  # what was there before the pager must not pass for what comes after
            opened.press(b"\r")
            opened.shows("session began")
            opened.press(b"qq")
            assert opened.ends() == 0


async def test_enter_pressed_twice_at_once_opens_one_detail(server: ThrowawayServer, tmp_path: Path) -> None:
    async with session(server), dashboard(server, tmp_path / "a") as driven:
        await driven.press("down")
        for _ in range(2):
            driven.app.post_message(events.Key("enter", "\r"))
        await driven.shows("session began")
        await driven.pilot.pause()
        assert driven.app.screen_stack[:-1] == [driven.dashboard]


async def test_a_session_known_by_its_pid_alone_is_not_acted_on(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """Its start is hidden from this role: by now, the pid may be another session's."""
    role = await create_role(server)
    async with (
        session(server) as other,
        session(server) as late,
        dashboard(server, tmp_path / "a", user=role.name, password=role.password) as driven,
    ):
        await other.execute("SELECT pg_advisory_lock(21)")
        stuck = asyncio.ensure_future(late.execute("SELECT pg_advisory_lock(21)"))
        await driven.select(other.get_server_pid())
        await driven.press("enter")
        await driven.shows(
            "known by its pid alone: its start is hidden, so it may be another by now", "Esc close"
        )
        assert "K terminate" not in driven.text
        for key in ("K", "C"):
            await driven.press(key)
            await driven.shows(
                f"nothing can be done to session {other.get_server_pid()}: its start is hidden"
            )
        await driven.press("escape", "b")
        await driven.shows("1 session waits for locks", "1 of them for nothing else")
        assert "K frees" not in driven.text
        assert "K terminate" not in driven.text
        await driven.press("K")
        await driven.shows(f"nothing can be done to session {other.get_server_pid()}: its start is hidden")
        assert not driven.audit.exists()
        await other.execute("SELECT pg_advisory_unlock(21)")
        await stuck


def test_a_pid_of_another_user_is_another_session() -> None:
    hidden = replace(backend(5, usename="app"), backend_start=None)
    assert is_other_session(hidden, replace(hidden, usename="web"))
    assert is_other_session(hidden, replace(hidden, datname="elsewhere"))
    assert not is_other_session(hidden, replace(hidden, application_name="named anew"))
    assert not is_other_session(backend(5), replace(backend(5), usename="web")), "its start tells"
