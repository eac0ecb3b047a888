"""Dialogs that are closed before they are on the screen, as by S and Esc in one breath on a busy machine."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from textual.app import App
from textual.screen import Screen

from pgtop.core.plan import Plan
from pgtop.core.policy import plan_sweep
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.reaping.reaper import Report
from pgtop.tui.screens.automatic_dialog import AutomaticDialog
from pgtop.tui.screens.detail import DetailScreen
from pgtop.tui.screens.help import HelpScreen
from pgtop.tui.screens.lock_tree import LockTreeScreen
from pgtop.tui.screens.plan_dialog import PlanDialog, ReportDialog
from pgtop.tui.screens.session_acts import SessionActs, live_source
from tests.builders import backend, policy, snapshot

PLAN: Plan = plan_sweep(snapshot(backend(10), backend(11)), policy())

NOWHERE = Target(("nowhere.invalid",), (1,), "ops", "shop")

ACTS = SessionActs(
    source=live_source(OwnConnection(NOWHERE, "dashboard")),
    plan=lambda _act, _backend, _said: None,
    show_in_list=lambda _backend: None,
    show_lock_tree=lambda: None,
    current_notice=lambda: None,
    dismiss_notice=lambda: False,
    show_outcomes=lambda: None,
)

DIALOGS: dict[str, Callable[[], Screen[Any]]] = {
    "plan": lambda: PlanDialog(PLAN),
    "detail": lambda: DetailScreen(ACTS, backend(10)),
    "lock tree": lambda: LockTreeScreen(ACTS),
    "report": lambda: ReportDialog(Report(PLAN, ())),
    "automatic": lambda: AutomaticDialog([("Sweep by itself", "")]),
    "help": HelpScreen,
}


@pytest.mark.parametrize("name", DIALOGS)
@pytest.mark.parametrize("steps", range(6))
async def test_a_dialog_closed_at_once(name: str, steps: int) -> None:
    """After any number of steps of the loop, mounted or half mounted."""
    app: App[None] = App()
    async with app.run_test() as pilot:
        app.push_screen(DIALOGS[name]())
        for _ in range(steps):
            await asyncio.sleep(0)
        app.pop_screen()
        await pilot.pause()
        assert len(app.screen_stack) == 1
