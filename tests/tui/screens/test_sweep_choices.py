"""The keys of a sweep's dialog: other ages, keys typed ahead, and nothing ended but what was shown last."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from textual import events

from pgtop.core import age_steps
from pgtop.demo.server import ThrowawayServer
from pgtop.tui.screens import plan_dialog
from pgtop.tui.screens.plan_dialog import PlanDialog
from tests.servers import session, sessions, wait_until
from tests.support.dashboards import Driven, count_stale, dashboard, is_painted


async def test_the_sweeps_age_is_changed_and_told_as_it_was_used(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the dialog's words, in the victims, and in the audit log; never below the configured least."""
    monkeypatch.setattr(age_steps, "STEPS_SECONDS", (2.0, 3600.0))
    async with (
        sessions(server, 3, application_name="alpha") as leaked,
        sessions(server, 2, application_name="beta") as others,
        dashboard(server, tmp_path / "a", size=(80, 24)) as driven,
    ):
        await driven.press("slash", *"app:alpha", "enter")
        await wait_until(lambda: is_older(driven, "alpha", 2.0) == 3)
        await driven.press("S")
        dialog = await driven.dialog()
        await driven.shows("Sweep filter app:alpha: 3 of ", "for more than 1s", "+ - idle > 1s")
        await anew(driven, dialog, "plus")
        await driven.shows("for more than 2s", "+ - idle > 2s", "y  Terminate 3 ")
        await anew(driven, dialog, "plus")
        await driven.shows("No session that may be terminated is idle for more than 1h", "Esc close")
        assert not dialog.query_one("#confirm").display
        await driven.press("y")
        assert driven.app.screen is dialog
        await anew(driven, dialog, "minus")
        await anew(driven, dialog, "minus")
        least = dialog.plan
        await driven.press("minus")
        await is_painted(dialog)
        assert dialog.plan is least
        await anew(driven, dialog, "plus")
        await driven.press("y")
        await driven.shows("terminated 3 sessions")
        audited = driven.audited()
        assert {line["pid"] for line in audited} == {each.get_server_pid() for each in leaked}
        assert all(line["reason"].endswith("(> 2s)") for line in audited)
        assert driven.dashboard.poller.interval_seconds == 0.2, "the keys were the dialog's alone"
        assert not any(each.is_closed() for each in others)


async def test_an_emergencys_age_is_another_one(server: ThrowawayServer, tmp_path: Path) -> None:
    async with session(server), dashboard(server, tmp_path / "a", emergency_idle_after_seconds=1.0) as driven:
        await driven.press("S")
        dialog = await driven.dialog()
        await anew(driven, dialog, "e")
        await anew(driven, dialog, "plus")
        assert dialog.plan.policy.emergency_idle_after_seconds == age_steps.LEAST_SECONDS
        assert dialog.plan.policy.idle_after_seconds == 1.0
        await driven.press("n")


async def test_keys_typed_before_the_dialog_was_there_are_kept(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that change the plan; a `y` among them counts for nothing, whatever is shown in the end."""
    monkeypatch.setattr(plan_dialog, "ARM_SECONDS", 3600.0)
    async with session(server, application_name="app") as one, dashboard(server, tmp_path / "a") as driven:
        await one.execute("BEGIN")
        pid = one.get_server_pid()
        await wait_until(lambda: is_in_transaction(driven, pid))
        for key in ("S", "i", "y", "plus", "minus", "y"):
            driven.app.post_message(events.Key(key, key))
        await wait_until(lambda: isinstance(driven.app.screen, PlanDialog))
        dialog = driven.app.screen
        assert isinstance(dialog, PlanDialog)
        await wait_until(lambda: pid in {each.backend.pid for each in dialog.plan.victims})
        await is_painted(dialog)
        assert driven.dashboard.poller.interval_seconds == 0.2
        await driven.press("y", "i")
        await wait_until(lambda: pid not in {each.backend.pid for each in dialog.plan.victims})
        await driven.press("y", "escape")
        assert driven.app.screen is driven.dashboard
        assert not driven.audit.exists()
        await one.execute("ROLLBACK")


async def test_the_list_shows_client_transaction_and_query(server: ThrowawayServer, tmp_path: Path) -> None:
    """In place of an age that is told already; of a skipped session it shows the reason."""
    async with (
        session(server, application_name="app") as one,
        session(server, application_name="Patroni x") as kept,
    ):
        await one.fetchval("SELECT 'the evidence'")
        await kept.fetchval("SELECT 1")
        async with dashboard(server, tmp_path / "a") as driven:
            await wait_until(lambda: count_stale(driven.shown) >= 2)
            await driven.press("S")
            await driven.dialog()
            await driven.shows("client", "query · why skipped", "SELECT 'the evidence'")
            await driven.shows("protected")
            assert "(> 1s)" not in driven.text
            assert not any("PID" in line and "idle age in txn" in line for line in driven.text.splitlines())
            await driven.press("n")


async def test_at_80_columns_the_list_still_shows_the_client(server: ThrowawayServer, tmp_path: Path) -> None:
    """Whole, with its port or without, and the age of a transaction beside it."""
    async with (
        session(server, application_name="app") as one,
        session(server, application_name="app") as other,
        dashboard(server, tmp_path / "a", size=(80, 24)) as driven,
    ):
        await one.fetchval("SELECT 'the evidence'")
        await other.execute("BEGIN; SELECT 'kept open'")
        await wait_until(lambda: count_stale(driven.shown) >= 1)
        await driven.press("slash", *"app:app", "enter", "asterisk")
        for number, key in enumerate(("U", "asterisk")):
            await driven.press(key)
            await driven.select((other if number else one).get_server_pid())
            await driven.press("K")
            await driven.dialog()
            await driven.shows("client", "127.0.0.1:", "SELECT 'the", *(["in txn"] if number else []))
            await driven.press("n")
        await other.execute("ROLLBACK")


async def test_c_puts_the_longest_running_query_first(server: ThrowawayServer, tmp_path: Path) -> None:
    async with sessions(server, 2, application_name="app") as (one, other):
        async with dashboard(server, tmp_path / "a") as driven:
            first = asyncio.ensure_future(other.execute("SELECT pg_sleep(60)"))
            await wait_until(lambda: is_active(driven, other.get_server_pid()))
            second = asyncio.ensure_future(one.execute("SELECT pg_sleep(60)"))
            await wait_until(lambda: is_active(driven, one.get_server_pid()))
            await driven.press("slash", *"app:app", "enter", "asterisk", "C")
            dialog = await driven.dialog()
            ordered = [each.backend.pid for each in dialog.plan.victims]
            assert ordered == [other.get_server_pid(), one.get_server_pid()]
            await driven.shows("running", "pg_sleep")
            await driven.press("y")
            await driven.shows("cancelled 2 queries")
        for each in (first, second):
            with pytest.raises(asyncpg.QueryCanceledError):
                await each


def is_active(driven: Driven, pid: int) -> bool:
    rows = driven.shown.backends if driven.shown is not None else ()
    return any(row.pid == pid and row.state == "active" for row in rows)


def is_in_transaction(driven: Driven, pid: int) -> bool:
    """Return whether a session has been idle in transaction for more than a second."""
    shown = driven.shown
    rows = shown.backends if shown is not None else ()
    now = shown.taken_at if shown is not None else 0
    return any(
        row.pid == pid and row.state == "idle in transaction" and (row.state_seconds(now) or 0) > 1
        for row in rows
    )


def is_older(driven: Driven, application: str, seconds: float) -> int:
    """Return how many sessions of an application have been idle for longer."""
    shown = driven.shown
    rows = shown.backends if shown is not None else ()
    now = shown.taken_at if shown is not None else 0
    return sum(row.application_name == application and (row.idle_seconds(now) or 0) > seconds for row in rows)


async def anew(driven: Driven, dialog: PlanDialog, key: str) -> None:
    """Press a key that makes another plan, and wait until a yes would count for that one."""
    before = dialog.plan
    await driven.press(key)
    await wait_until(lambda: dialog.plan is not before and dialog.is_armed)
