"""The lock tree on real queues, driven by keys: live, and acts on the session under the cursor."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from pgtop.core.lock_tree import LockNode
from pgtop.demo.server import ThrowawayServer
from pgtop.tui.screens.detail import DetailScreen
from pgtop.tui.screens.help import HelpScreen
from pgtop.tui.screens.lock_tree import LockTreeScreen
from pgtop.tui.widgets.lock_table import LockTable
from tests.conftest import ServerFactory
from tests.servers import session, sessions, wait_until
from tests.support.dashboards import Driven, dashboard

HOSTILE = "\x1b[2J[red]x"


@dataclass
class Queue:
    """A root in a transaction, a schema change that waits for it, and readers behind the change."""

    root: asyncpg.Connection
    head: asyncpg.Connection
    readers: list[asyncpg.Connection]
    stuck: list["asyncio.Future[str]"]

    async def over(self) -> None:
        """End the root's transaction, and wait for all others, whatever becomes of them."""
        if not self.root.is_closed():
            await self.root.execute("ROLLBACK")
        await asyncio.gather(*self.stuck, return_exceptions=True)


@asynccontextmanager
async def queue_of_three(server: ThrowawayServer) -> AsyncIterator[Queue]:
    """A lock queue; its table is dropped at the end."""
    async with AsyncExitStack() as stack:
        root, head, *readers = await stack.enter_async_context(sessions(server, 5, application_name=HOSTILE))
        owner = await stack.enter_async_context(session(server))
        await owner.execute("CREATE TABLE queued (i int)")
        await root.execute("BEGIN; SELECT * FROM queued")
        stuck = [asyncio.ensure_future(head.execute(f"ALTER TABLE queued ADD j int -- {HOSTILE}"))]
        await wait_until(lambda: owner.fetchval("SELECT count(*) = 1 FROM pg_locks WHERE NOT granted"))
        stuck += [asyncio.ensure_future(each.execute("SELECT * FROM queued")) for each in readers]
        await wait_until(lambda: owner.fetchval("SELECT count(*) = 4 FROM pg_locks WHERE NOT granted"))
        queue = Queue(root, head, readers, stuck)
        try:
            yield queue
        finally:
            await queue.over()
            await owner.execute("DROP TABLE queued")


def table(driven: Driven) -> LockTable:
    """The table of the tree, which is on the screen."""
    assert isinstance(driven.app.screen, LockTreeScreen)
    return driven.app.screen.query_one(LockTable)


def nodes(driven: Driven) -> list[LockNode]:
    """The nodes on the screen."""
    return list(table(driven).rows)


def pids(driven: Driven) -> list[int]:
    """The pids on the screen, from the top."""
    return [each.queued.backend.pid for each in nodes(driven) if each.queued is not None]


async def test_the_head_is_marked_cancelled_and_frees_those_behind(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """The plan has exactly the session under the cursor, which stays on its session while others go."""
    async with (
        queue_of_three(server) as queue,
        dashboard(server, tmp_path / "a", size=(80, 24)) as driven,
    ):
        root, head = queue.root.get_server_pid(), queue.head.get_server_pid()
        await driven.press("b")
        await driven.shows("4 sessions wait for locks", "C frees 3", "K frees 4")
        assert pids(driven)[:2] == [root, head]
        assert set(pids(driven)[2:]) == {each.get_server_pid() for each in queue.readers}
        assert [each.depth for each in nodes(driven)] == [0, 1, 2, 2, 2]
        await driven.press("down")
        await driven.shows(
            f"└ {head} ", "queued AccessExcl", "cancelling its query (C) frees 3", "ALTER TABLE"
        )
        assert "\x1b[2J" not in driven.text
        await driven.press("C")
        dialog = await driven.dialog()
        assert [each.backend.pid for each in dialog.plan.victims] == [head]
        await driven.shows(
            f"3 sessions wait for locks behind {head}",
            "Frees 3 waiting sessions. Its transaction is rolled back",
            "rolled back",
        )
        await driven.press("y")
        await driven.shows("No lock waits", "cancelled 1 query")
        assert isinstance(driven.app.screen, LockTreeScreen), "it stays live"
        done = await asyncio.gather(*queue.stuck, return_exceptions=True)
        assert isinstance(done[0], asyncpg.QueryCanceledError)
        assert done[1:] == ["SELECT 0"] * 3
        assert [each["pid"] for each in driven.audited()] == [head, head]
        await driven.press("escape")
        await wait_until(lambda: driven.dashboard.notices.current is None)
        await driven.press("b")
        assert isinstance(driven.app.screen, LockTreeScreen), "`b K` never means the list"
        await driven.press("f10")
        await wait_until(lambda: driven.app.screen is driven.dashboard)


async def test_the_root_is_terminated_and_the_cursor_stays_on_its_session(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with (
        queue_of_three(server) as queue,
        session(server) as holder,
        session(server) as late,
        dashboard(server, tmp_path / "a") as driven,
    ):
        await driven.press("f5")
        await driven.shows("way out")
        await wait_until(lambda: len(pids(driven)) == 5)
        await driven.press("end")
        chosen = table(driven).cursor_key
        await holder.execute("SELECT pg_advisory_lock(5)")
        stuck = asyncio.ensure_future(late.execute("SELECT pg_advisory_lock(5)"))
        await driven.shows("5 sessions wait for locks in 2 trees", "advisory lock 0/5")
        assert table(driven).cursor_key == chosen
        assert pids(driven)[-2:] == [holder.get_server_pid(), late.get_server_pid()], "the largest tree first"
        await driven.press("home", "K")
        dialog = await driven.dialog()
        assert [each.backend.pid for each in dialog.plan.victims] == [queue.root.get_server_pid()]
        await driven.shows("4 sessions wait for locks behind", "rolled back")
        await driven.press("y")
        await driven.shows("terminated 1 session", "1 session waits for locks")
        await holder.execute("SELECT pg_advisory_unlock(5)")
        await stuck
        queue.root.terminate()


async def test_enter_opens_its_detail_l_the_list_and_c_copies(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with queue_of_three(server) as queue, dashboard(server, tmp_path / "a") as driven:
        head = queue.head.get_server_pid()
        await driven.press("b")
        await driven.shows("way out")
        await driven.press("down", "c")
        assert f"pid {head}" in driven.app.clipboard
        assert "AccessExclusiveLock on public.queued" in driven.app.clipboard
        assert driven.app.clipboard.isprintable()
        await driven.press("enter")
        await driven.shows(f"Session {head}", "lock tree: blocks 3 sessions", "▸└ ", "2 of 5")
        await driven.press("left")
        await driven.shows(
            f"Session {queue.root.get_server_pid()}", "in a transaction", "lock tree: blocks 4 sessions"
        )
        await driven.press("escape")
        assert isinstance(driven.app.screen, LockTreeScreen)
        await driven.press("enter")
        assert isinstance(driven.app.screen, DetailScreen)
        await driven.press("l")
        await wait_until(lambda: driven.app.screen is driven.dashboard)
        row = driven.backends.cursor_row
        assert row is not None
        assert row.pid == head


async def test_a_prepared_transaction_is_a_root_that_no_key_ends(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    server = server_factory({"max_prepared_transactions": "2"})
    async with sessions(server, 2) as (root, waiting):
        await root.execute("CREATE TABLE queued (i int)")
        await root.execute("BEGIN; LOCK TABLE queued; PREPARE TRANSACTION 'two''phase'")
        stuck = asyncio.ensure_future(waiting.execute("SELECT * FROM queued"))
        async with dashboard(server, tmp_path / "a") as driven:
            await driven.press("b")
            await driven.shows("prepared", "two'phase", "only COMMIT PREPARED or ROLLBACK PREPARED ends it")
            for key in ("K", "C", "enter"):
                await driven.press(key)
                await driven.shows("A prepared transaction is not a session")
                assert isinstance(driven.app.screen, LockTreeScreen)
            await driven.press("c")
            await root.execute(driven.app.clipboard)
            await stuck
            await driven.shows("No lock waits")


async def test_a_deadlock_is_told_and_ended(server: ThrowawayServer, tmp_path: Path) -> None:
    async with (
        sessions(server, 2, deadlock_timeout="1h") as (one, other),
        dashboard(server, tmp_path / "a") as driven,
    ):
        await one.execute("SELECT pg_advisory_lock(1)")
        await other.execute("SELECT pg_advisory_lock(2)")
        stuck = [
            asyncio.ensure_future(one.execute("SELECT pg_advisory_lock(2)")),
            asyncio.ensure_future(other.execute("SELECT pg_advisory_lock(1)")),
        ]
        await driven.press("b")
        await driven.shows("2 sessions wait for locks", "deadlock", "waits for itself by way of others")
        assert len(pids(driven)) == 2
        await driven.press("C")
        dialog = await driven.dialog()
        assert [each.backend.pid for each in dialog.plan.victims] == pids_below(driven)[:1]
        await driven.press("y")
        await driven.shows("cancelled 1 query", "1 session waits for locks")
        await one.execute("SELECT pg_advisory_unlock_all()") if stuck[0].done() else None
        await other.execute("SELECT pg_advisory_unlock_all()") if stuck[1].done() else None
        await asyncio.gather(*stuck, return_exceptions=True)


def pids_below(driven: Driven) -> list[int]:
    """The pids in the tree that a dialog is over."""
    tree = next(each for each in driven.app.screen_stack if isinstance(each, LockTreeScreen))
    return [each.queued.backend.pid for each in tree.query_one(LockTable).rows if each.queued is not None]


async def test_it_is_asked_for_only_while_it_is_on_the_screen(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dashboard(server, tmp_path / "a", interval_seconds=0.1) as driven:
        asked: list[str] = []
        ask = driven.own_connection.fetch

        async def noted(query: str, *arguments: object, **limits: int) -> list[asyncpg.Record]:
            asked.append(query)
            return await ask(query, *arguments, **limits)

        monkeypatch.setattr(driven.own_connection, "fetch", noted)

        def times() -> int:
            return sum("pg_blocking_pids" in query for query in asked)

        await driven.press("b")
        await driven.shows("No lock waits", "stays live")
        await wait_until(lambda: times() >= 2)

        async def none_is_asked() -> None:
            before, revision = times(), driven.dashboard.state.revision
            # More polls than there are in the time between two questions.
            await wait_until(lambda: driven.dashboard.state.revision > revision + 25)
            assert times() == before

        await driven.app.push_screen(HelpScreen())
        await none_is_asked()
        asked_before = times()
        await driven.press("escape")
        await wait_until(lambda: times() > asked_before)
        await driven.press("tab")
        await wait_until(lambda: driven.app.screen is driven.dashboard)
        await none_is_asked()


async def test_read_only_says_why_a_key_does_nothing(server: ThrowawayServer, tmp_path: Path) -> None:
    async with queue_of_three(server), dashboard(server, tmp_path / "a", read_only=True) as driven:
        await driven.press("b")
        await driven.shows("way out")
        assert "K terminate" not in driven.text
        for key in ("K", "C"):
            await driven.press(key)
            await driven.shows("read-only: nothing can be terminated or cancelled")
            assert isinstance(driven.app.screen, LockTreeScreen)
        assert not driven.audit.exists()


async def test_no_cancel_is_said_to_free_an_advisory_lock(server: ThrowawayServer, tmp_path: Path) -> None:
    """Its session keeps it, whatever it runs: only the session's end frees the waiting one."""
    async with (
        session(server) as root,
        session(server) as late,
        dashboard(server, tmp_path / "a") as driven,
    ):
        await root.execute("SELECT pg_advisory_lock(6)")
        stuck = asyncio.ensure_future(late.execute("SELECT pg_advisory_lock(6)"))
        await driven.press("b")
        await driven.shows("K frees 1", "terminating it (K) frees 1")
        await driven.press("C")
        await driven.shows("Nothing to cancel")
        assert "Frees" not in driven.text
        await driven.press("escape")
        ran = asyncio.ensure_future(root.execute("SELECT pg_sleep(600)"))
        await driven.shows("runs its query", "K frees 1", "terminating it (K) frees 1")
        await driven.press("C")
        await driven.dialog()
        await driven.shows("May free none: a session can keep its advisory lock")
        await driven.press("y")
        await asyncio.gather(ran, return_exceptions=True)
        await driven.shows("cancelled 1 query", "1 session waits for locks")
        await driven.press("K")
        await driven.dialog()
        await driven.shows("Frees 1 waiting session")
        await driven.press("y")
        await stuck


async def test_a_waiting_session_keeps_its_advisory_lock_when_cancelled(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """What waits for that lock is not promised to go on, and does not; the reader behind the head does."""
    async with (
        queue_of_three(server) as queue,
        session(server) as holder,
        session(server) as late,
        dashboard(server, tmp_path / "a") as driven,
    ):
        await holder.execute("SELECT pg_advisory_lock(7)")
        stuck = asyncio.ensure_future(holder.execute("DROP TABLE queued"))
        waits = asyncio.ensure_future(late.execute("SELECT pg_advisory_lock(7)"))
        await driven.press("b")
        await driven.shows("6 sessions wait for locks")
        pid = holder.get_server_pid()
        row = next(each for each in nodes(driven) if each.queued and each.queued.backend.pid == pid)
        assert table(driven).move_to(row.key)
        await driven.shows("terminating it (K) frees 1")
        await driven.press("C")
        await driven.dialog()
        await driven.shows("May free none: a session can keep its advisory lock")
        await driven.press("y")
        with pytest.raises(asyncpg.QueryCanceledError):
            await stuck
        await driven.shows("cancelled 1 query", "5 sessions wait for locks")
        assert not waits.done()
        await holder.execute("SELECT pg_advisory_unlock(7)")
        await waits
        await queue.over()


async def test_a_restart_under_the_tree_leaves_nothing_of_the_old(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """It is greyed and offers no act during the outage, keys then say so, and it is live again after it."""
    server = server_factory()
    async with AsyncExitStack() as stack:
        root, late = await stack.enter_async_context(sessions(server, 2))
        await root.execute("SELECT pg_advisory_lock(9)")
        stuck = asyncio.ensure_future(late.execute("SELECT pg_advisory_lock(9)"))
        driven = await stack.enter_async_context(dashboard(server, tmp_path / "a"))
        await driven.press("b")
        await driven.shows("1 session waits for locks", "K terminate")
        server.stop("immediate")
        await asyncio.gather(stuck, return_exceptions=True)
        await driven.press("r")
        await driven.shows("✗ as of", "1 session waits for locks")
        assert "K terminate" not in driven.text
        await driven.press("K")
        await wait_until(lambda: driven.dashboard.notices.current is not None)
        assert isinstance(driven.app.screen, LockTreeScreen), "no plan is made of it"
        server.start()
        await driven.shows("No lock waits", "was restarted at")
        assert "✗" not in driven.text
        assert not driven.audit.exists()
