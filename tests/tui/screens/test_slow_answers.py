"""Queries on demand: while the server is silent, they neither cost the connection nor block the screen."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgtop.demo.server import ThrowawayServer
from pgtop.tui.screens.detail import DetailScreen
from tests.servers import session, wait_until
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
