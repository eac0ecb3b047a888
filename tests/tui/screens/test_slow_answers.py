"""Queries on demand: while the server is silent, they neither cost the connection nor block the screen."""

import importlib
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgtop.demo.server import ThrowawayServer
from pgtop.postgres import lock_queue
from pgtop.postgres.session.session_settings import STATEMENT_TIMEOUT_SECONDS
from pgtop.tui.screens.detail import DetailScreen
from pgtop.tui.screens.lock_tree import LockTreeScreen
from tests.servers import REPOSITORY, session, wait_until
from tests.support.dashboards import Driven, dashboard

SELDOM = 3_600.0
"""An interval in which no poll comes in between."""


@contextmanager
def silent_connection(driven: Driven) -> Iterator[None]:
    """The backend of pgtop's session answers nothing meanwhile."""
    pid = driven.own_connection.own_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def assert_connection_is_kept(driven: Driven, own_pid: int) -> None:
    own_connection = driven.own_connection
    await wait_until(lambda: not own_connection.is_busy)
    assert own_connection.is_held
    assert own_connection.own_pid == own_pid
    assert await own_connection.fetchrow("SELECT 1") is not None


async def test_closing_a_detail_before_its_answer_keeps_the_connection(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with session(server), dashboard(server, tmp_path / "a", interval_seconds=SELDOM) as driven:
        own_connection = driven.own_connection
        own_pid = own_connection.own_pid
        with silent_connection(driven):
            await driven.press("enter")
            await wait_until(lambda: isinstance(driven.app.screen, DetailScreen) and own_connection.is_busy)
            await driven.press("escape")
            await wait_until(lambda: driven.app.screen is driven.dashboard)
        await assert_connection_is_kept(driven, own_pid)


async def test_a_lock_tree_without_answers_shows_its_age(server: ThrowawayServer, tmp_path: Path) -> None:
    async with dashboard(server, tmp_path / "a", interval_seconds=SELDOM) as driven:
        await driven.press("b")
        await driven.shows("No lock waits")
        assert "as of" not in driven.text
        with silent_connection(driven):
            screen = driven.app.screen
            assert isinstance(screen, LockTreeScreen)
            screen.ask_soon()
            await wait_until(lambda: driven.own_connection.is_busy)
            screen.answered_at -= 60
            await driven.shows("No lock waits", "as of 1m 0")
            assert "✗" not in driven.text, "the question is still under way"


async def test_a_slow_lock_question_does_not_stop_the_polls(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends it; the polls go on over the same connection, and it is asked again only later."""
    slow = lock_queue.LOCK_QUEUE.replace("WHERE NOT l.granted\n", "WHERE pg_sleep(600) IS NOT NULL\n")
    assert slow != lock_queue.LOCK_QUEUE
    monkeypatch.setattr(lock_queue, "LOCK_QUEUE", slow)
    async with session(server), dashboard(server, tmp_path / "a") as driven:
        own_pid = driven.own_connection.own_pid
        await driven.press("b")
        await driven.shows("the server took more than 2 s to say which sessions wait for locks")
        revision = driven.dashboard.state.revision
        await wait_until(lambda: driven.dashboard.state.revision > revision + 10)
        assert "took more than 2 s" in driven.text
        assert driven.dashboard.state.outage is None
        await assert_connection_is_kept(driven, own_pid)
        await driven.press("escape", "enter")
        await driven.shows("the server took more than 2 s to say which sessions wait for locks")


def test_no_statement_is_given_up_before_the_server_ends_it() -> None:
    """Otherwise a server that halts for some seconds would cost pgtop its one connection."""
    for path in sorted((REPOSITORY / "pgtop").rglob("*.py")):
        for limit in re.findall(r"[(,]\s*limit_seconds=([^,)\s]+)", path.read_text(encoding="utf-8")):
            module = importlib.import_module(".".join(path.relative_to(REPOSITORY).with_suffix("").parts))
            if limit != "limit_seconds":
                assert getattr(module, limit) > STATEMENT_TIMEOUT_SECONDS, path


async def test_a_dialog_can_be_left_while_another_plan_is_asked_for(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """And an answer that comes after it is left does no harm."""
    async with session(server), dashboard(server, tmp_path / "a", interval_seconds=SELDOM) as driven:
        own_connection = driven.own_connection
        own_pid = own_connection.own_pid
        await driven.press("S")
        await driven.dialog()
        with silent_connection(driven):
            await driven.press("e")
            await wait_until(lambda: own_connection.is_busy)
            await driven.press("escape")
            await wait_until(lambda: driven.app.screen is driven.dashboard)
            assert own_connection.is_busy
        await assert_connection_is_kept(driven, own_pid)
