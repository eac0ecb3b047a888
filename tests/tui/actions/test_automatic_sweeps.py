"""Automatic reaping in the dashboard: asked for, said, one turn after the other, and given up in order."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual import events

from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.leadership import Key
from pgtop.core.plan import ReapPolicy
from pgtop.core.retaken_slots import Patience
from pgtop.core.session_patterns import Patterns
from pgtop.core.text import cell_width
from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.advisory_keys import ReaperKeys
from pgtop.postgres.queries.advisory_keys import REAPER_CLASS
from pgtop.reaping.automatic import Turn
from pgtop.tui.lines.automatic_sweeps import AutomaticState, auto_lines, how_it_stands, rules
from pgtop.tui.screens import plan_dialog
from pgtop.tui.screens.automatic_dialog import AutomaticDialog
from pgtop.tui.screens.plan_dialog import ReportDialog
from tests.builders import backend, snapshot
from tests.conftest import ServerFactory
from tests.servers import create_role, session, sessions, wait_until
from tests.support.dashboards import Driven, count_stale, dashboard, is_painted
from tests.support.filling import TWENTY_SLOTS
from tests.support.reaping import hold_key

REAPING: dict[str, Any] = {"warn_at": 0.5, "every_seconds": 3600.0}


async def asked(driven: Driven) -> AutomaticDialog:
    """Presses A and waits for the question, until it takes a yes."""
    await driven.press("A")

    def armed() -> Any:
        screen = driven.app.screen
        return screen if isinstance(screen, AutomaticDialog) and screen.is_armed else None

    dialog: AutomaticDialog = await wait_until(armed, 15, "no dialog that is armed")
    return dialog


async def turned_on(driven: Driven) -> None:
    await asked(driven)
    await driven.press("y")
    await driven.shows("AUTO on")


async def stale_now(driven: Driven, number: int) -> None:
    """Waits until so many sessions are idle for long enough."""

    def are() -> bool:
        seen = driven.dashboard.state.snapshot
        return seen is not None and count_stale(seen) >= number

    await wait_until(are, 15, f"no {number} stale sessions")


async def holders(server: ThrowawayServer) -> list[int]:
    """Who holds the key."""
    async with session(server, application_name="test admin") as one:
        rows = await one.fetch(
            f"SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = {REAPER_CLASS}"
        )
        return [row["pid"] for row in rows]


@asynccontextmanager
async def reaping_already(server: ThrowawayServer, name: str) -> AsyncIterator[None]:
    """Another pgtop's session that holds the key, for as long as the block lasts."""
    async with session(server, application_name=name) as one:
        await hold_key(one)
        yield


async def test_a_says_what_it_will_do_before_it_does_anything(small: ThrowawayServer, tmp_path: Path) -> None:
    """With Cancel focused; n leaves all as it is."""
    async with sessions(small, 12), dashboard(small, tmp_path / "a", max_per_sweep=7, **REAPING) as driven:
        dialog = await asked(driven)
        assert dialog.focused is not None
        assert dialog.focused.id == "leave"
        await driven.shows("Above 50%", "for more than 1s", "at most every 1h", "7 sessions", "Patroni*")
        await driven.press("n")
        await wait_until(lambda: driven.app.screen is driven.dashboard)
        assert not driven.dashboard.automatic.is_on
        assert not driven.audit.exists()


async def test_a_yes_before_the_question_was_seen_is_dropped(
    small: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_dialog, "ARM_SECONDS", 3600.0)
    async with dashboard(small, tmp_path / "a") as driven:
        for key in ("A", "y"):
            driven.app.post_message(events.Key(key, key))
        await wait_until(lambda: isinstance(driven.app.screen, AutomaticDialog))
        dialog = driven.app.screen
        assert isinstance(dialog, AutomaticDialog)
        await is_painted(dialog)
        await driven.press("y", "tab", "enter")
        await driven.pilot.click("#confirm")
        assert driven.app.screen is dialog
        assert not driven.dashboard.automatic.is_on


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (80, 12), (40, 9), (10, 3)])
async def test_the_question_has_its_buttons_at_every_size(
    small: ThrowawayServer, tmp_path: Path, size: tuple[int, int]
) -> None:
    """What does not fit can be scrolled to."""
    async with dashboard(small, tmp_path / "a", size=size) as driven:
        await asked(driven)
        if size[0] >= 40:
            await driven.shows("n  Keep off", "y  Turn on")
            await driven.press(*["down"] * 20)
            await driven.shows("A turns it off")
        await driven.press("n")
        await wait_until(lambda: driven.app.screen is driven.dashboard)


async def test_it_sweeps_by_itself_and_leaves_a_notice_and_audit_lines(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """Also while paused; then the line says when the next sweep may come."""
    async with (
        sessions(small, 4, application_name="keep", user="postgres", database="template1"),
        sessions(small, 9, application_name="leak"),
        dashboard(small, tmp_path / "a", protect_databases=("template1",), **REAPING) as driven,
    ):
        await stale_now(driven, 13)
        await driven.press("p")
        await turned_on(driven)
        await driven.shows("auto: terminated 9 sessions", "% → ", "O details", "keeps running while paused")
        await driven.shows("below the 50% line", "next sweep in ≥ ")
        await driven.press("O")
        await wait_until(lambda: isinstance(driven.app.screen, ReportDialog))
        await driven.shows("terminated")
        keys = ("face", "trigger", "decided_by", "event")
        assert {tuple(line[key] for key in keys) for line in driven.audited()} == {
            ("dashboard", "usage", "policy", "attempt"),
            ("dashboard", "usage", "policy", "outcome"),
        }
        assert len(driven.audited()) == 18


async def test_an_emergency_is_acted_on_in_the_poll_that_shows_it(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    async with dashboard(small, tmp_path / "a", **REAPING) as driven:
        await turned_on(driven)
        async with sessions(small, 19, application_name="leak"):
            await driven.shows("auto: terminated")
        assert {line["trigger"] for line in driven.audited()} == {"emergency"}


async def test_over_the_line_it_counts_down_to_the_next_sweep(small: ThrowawayServer, tmp_path: Path) -> None:
    async with dashboard(small, tmp_path / "a", warn_at=0.5, every_seconds=40.0) as driven:
        async with sessions(small, 12, application_name="leak"):
            await stale_now(driven, 12)
            await turned_on(driven)
            await driven.shows("auto: terminated 12 sessions")
        async with sessions(small, 12, application_name="leak"):
            await driven.shows("over the 50% line, next sweep in ")
            first = driven.dashboard.automatic.standing(False).seconds_to_sweep
            assert 0 < first <= 40
            await wait_until(lambda: driven.dashboard.automatic.standing(False).seconds_to_sweep < first)
            assert {line["event"] for line in driven.audited()} == {"attempt", "outcome"}
            assert len(driven.audited()) == 24


async def test_a_again_turns_it_off_at_once_and_gives_the_key_back(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """Without a question, and without a poll; from then on nobody is ended."""
    async with dashboard(small, tmp_path / "a", interval_seconds=3600.0, **REAPING) as driven:
        await turned_on(driven)
        own = driven.own_connection.own_pid

        async def held(pids: list[int]) -> bool:
            return await holders(small) == pids

        await wait_until(lambda: held([own]))
        await driven.press("A")
        assert driven.app.screen is driven.dashboard
        await driven.shows("automatic sweeps are off")
        assert "AUTO on" not in driven.text
        await wait_until(lambda: held([]))
        driven.dashboard.poller.interval_seconds = 0.2
        async with sessions(small, 12, application_name="leak"):
            await stale_now(driven, 12)
            shown = driven.shown
            await wait_until(lambda: driven.shown is not shown)
            assert not driven.audit.exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [("pgtop daemon@host-a", "daemon on host-a"), ("pgtop dashboard@b", "dashboard on b")],
)
async def test_a_says_that_another_reaps_already(
    small: ThrowawayServer, tmp_path: Path, name: str, said: str
) -> None:
    async with reaping_already(small, name), dashboard(small, tmp_path / "a") as driven:
        await driven.press("A")
        await driven.shows(f"{said} is already sweeping this server")
        assert driven.app.screen is driven.dashboard
        assert not driven.dashboard.automatic.is_on


async def test_another_reaper_that_begins_meanwhile_is_not_doubled(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    async with dashboard(small, tmp_path / "a") as driven:
        await asked(driven)
        async with reaping_already(small, "pgtop daemon@host-a"):
            await driven.press("y")
            await driven.shows("daemon on host-a is already sweeping this server")
        assert not driven.dashboard.automatic.is_on


async def test_an_older_one_reaps_and_this_one_stands_by(small: ThrowawayServer, tmp_path: Path) -> None:
    """And takes over when that one has gone."""
    async with (
        session(small, application_name="pgtop daemon@host-a") as older,
        sessions(small, 12, application_name="leak"),
        dashboard(small, tmp_path / "a", **REAPING) as driven,
    ):
        await hold_key(older)
        await stale_now(driven, 12)
        driven.dashboard.automatic.is_on = True
        await driven.shows("standing by: daemon on host-a is active")
        assert not driven.audit.exists()
        await older.execute("SELECT pg_advisory_unlock_all()")
        await driven.shows("auto: terminated 12 sessions")


async def test_it_goes_on_by_itself_after_an_outage(server_factory: ServerFactory, tmp_path: Path) -> None:
    server = server_factory(TWENTY_SLOTS)
    async with dashboard(server, tmp_path / "a", **REAPING) as driven:
        await turned_on(driven)
        server.stop()
        await driven.shows("✗", "AUTO on · no answer")
        server.start()
        async with sessions(server, 12, application_name="leak"):
            await wait_until(lambda: driven.dashboard.state.outage is None, 30)
            await driven.shows("auto: terminated")


async def test_no_turn_begins_while_a_persons_plan_is_open(small: ThrowawayServer, tmp_path: Path) -> None:
    async with (
        dashboard(small, tmp_path / "a", **REAPING) as driven,
        sessions(small, 2, application_name="keep") as kept,
    ):
        await turned_on(driven)
        await driven.select(kept[0].get_server_pid())
        await driven.press("K")
        await driven.dialog()
        async with sessions(small, 12, application_name="leak"):
            await stale_now(driven, 12)
            await driven.shows("paused while a dialog is open")

            async def nobody_holds_the_key() -> bool:
                return await holders(small) == []

            await wait_until(nobody_holds_the_key, complaint="it keeps others from reaping meanwhile")
            assert not driven.audit.exists()
            await driven.press("n")
            await driven.shows("auto: terminated")


async def test_two_runs_are_never_at_once(small: ThrowawayServer, tmp_path: Path) -> None:
    """A person's yes while a sweep goes on waits for its end."""
    async with sessions(small, 12) as some, dashboard(small, tmp_path / "a", **REAPING) as driven:
        plan_actions = driven.dashboard.plan_actions
        await wait_until(lambda: some[0].get_server_pid() in driven.listed)
        async with plan_actions.one_run:
            await driven.select(some[0].get_server_pid())
            await driven.press("K")
            await driven.dialog()
            await driven.press("y")
            await driven.shows("terminating 1 session")
            assert not driven.audit.exists()
        await driven.shows("terminated 1 session")


async def test_an_unwritable_audit_log_ends_nobody_and_is_shown(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """No audit line, nobody ended; that is said until the next sweep, which goes on once the log is there."""
    async with (
        sessions(small, 12, application_name="leak"),
        dashboard(small, tmp_path / "there" / "a", **REAPING) as driven,
    ):
        (tmp_path / "there").write_text("in the way")
        await stale_now(driven, 12)
        await turned_on(driven)
        await driven.shows("nothing terminated · retry in ", "audit log")
        auto = driven.dashboard.automatic
        last = auto.standing(paused=False).turn
        await wait_until(lambda: auto.standing(paused=False).turn is not last)
        assert "audit log" in auto.standing(paused=False).problem
        (tmp_path / "there").unlink()
        auto.engine.every_seconds = 0.0
        await driven.shows("auto: terminated 12 sessions")
        assert "nothing terminated" not in driven.text


async def test_a_role_that_may_terminate_nothing_is_told(server: ThrowawayServer, tmp_path: Path) -> None:
    role = await create_role(server, "monitor")
    other = await create_role(server)
    there = session(server, user=other.name, password=other.password, application_name="web")
    async with there, dashboard(server, tmp_path / "a", user=role.name) as driven:
        await driven.shows("web")
        await driven.press("A")
        await driven.shows("It can terminate nothing", "pg_signal_backend")


async def test_a_role_that_does_not_see_states_is_refused(server: ThrowawayServer, tmp_path: Path) -> None:
    role = await create_role(server, "plain")
    async with session(server), dashboard(server, tmp_path / "a", user=role.name) as driven:
        await driven.press("A")
        await driven.shows("hidden from role", "GRANT pg_monitor")
        assert driven.app.screen is driven.dashboard


async def test_quitting_waits_for_what_is_being_ended(small: ThrowawayServer, tmp_path: Path) -> None:
    """The victims hang: their outcome is written before the connection ends, and the key goes with it."""
    async with (
        sessions(small, 12, application_name="leak") as leak,
        dashboard(small, tmp_path / "a", **REAPING) as driven,
    ):
        await stale_now(driven, 12)
        hung = [each.get_server_pid() for each in leak]
        for pid in hung:
            os.kill(pid, signal.SIGSTOP)
        try:
            await turned_on(driven)
            await wait_until(driven.audit.exists)
            await driven.press("q")
            await driven.dashboard.finish()
        finally:
            for pid in hung:
                os.kill(pid, signal.SIGCONT)
        lines = driven.audited()
        assert [line["event"] for line in lines] == ["attempt"] * 12 + ["outcome"] * 12
        await driven.own_connection.release()
        assert await holders(small) == []


async def test_quitting_does_not_wait_for_a_silent_server(
    small: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn that has ended nobody yet is broken off."""
    async with dashboard(small, tmp_path / "a", **REAPING) as driven:
        await turned_on(driven)
        turns: list[asyncio.Task[Any]] = []

        async def silent(_: ReaperKeys) -> Any:
            turn = asyncio.current_task()
            assert turn is not None
            turns.append(turn)
            await asyncio.Event().wait()

        monkeypatch.setattr(ReaperKeys, "seen", silent)
        await wait_until(lambda: turns)
        (task,) = turns
        await driven.press("q")
        async with asyncio.timeout(15):
            await driven.dashboard.finish()
            await asyncio.wait({task})
        assert task.cancelled()


async def test_a_rest_is_said_with_the_name_of_who_takes_the_room(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    async with sessions(small, 12), dashboard(small, tmp_path / "a", **REAPING) as driven:
        await stale_now(driven, 12)
        await turned_on(driven)
        await driven.shows("auto: terminated 12 sessions")
        engine = driven.dashboard.automatic.engine
        engine.patience = Patience(3, 600.0, time.monotonic() + 570.0, "pool\x1b[2J")
        await driven.shows("paused for 9m", "takes its slots back at once")
        assert "\x1b" not in driven.text


async def test_the_interval_still_changes(small: ThrowawayServer, tmp_path: Path) -> None:
    async with dashboard(small, tmp_path / "a", interval_seconds=1.0) as driven:
        await turned_on(driven)
        await driven.press("plus")
        await driven.shows("every 2s", "AUTO on")


def test_all_rules_are_told() -> None:
    policy = ReapPolicy(
        only=Patterns(applications=("web*", "")),
        protected=Patterns(users=("etl",), addresses=("10.0.0.0/8",)),
        include_idle_in_transaction_seconds=600.0,
        include_advisory_locks=True,
        include_listeners=True,
        max_per_sweep=3,
    )
    told = " ".join(said for said, _ in rules(policy, 90.0))
    for word in ("80%", "than 5m, at", "1m 30s", "30s", "web*", "etl", "10.0.0.0/8", "10m", "3 sessions"):
        assert word in told
    assert "LISTEN" not in told.partition("Never")[2]
    assert "LISTEN" in " ".join(said for said, _ in rules(ReapPolicy(), 60.0))
    bound = rules(ReapPolicy(), 60.0, (Kind.LEAK, Kind.TOOLS))
    assert "Only sessions of such findings: leak, tools." in [said for said, _ in bound]


async def test_its_hands_are_off_what_was_not_asked_for(small: ThrowawayServer, tmp_path: Path) -> None:
    """New sessions of a server that was just started are a surge: they stay, however stale."""
    kinds = (Kind.LEAK, Kind.SILENT_CLIENTS)
    async with (
        sessions(small, 16, application_name="web") as opened,
        dashboard(small, tmp_path / "a", findings=kinds, **REAPING) as driven,
    ):
        for each in opened:
            await each.fetchval("SELECT 1")
        await stale_now(driven, 16)
        await turned_on(driven)
        await driven.shows("over the 50% line", "what fills it is a surge: --only leak,silent_clients")
        assert not driven.audited()


def test_its_line_says_that_a_sweep_will_not_hold() -> None:
    """Or that it has its hands off; both while the server is over the line, and before any sweep."""
    key = Key(1, 1, None, "pgtop dashboard@here", "ops", True, 12, 0, True, False)
    surge = Finding(Kind.SURGE, Grade.LOOKS_LIKE, 40, "", application_name="web")
    turn = Turn((key,), True, Patience(), wont_hold=surge)
    standing = AutomaticState(ReapPolicy(), snapshot(), turn, 0.0, 0.0, False, False, False, "")
    assert "sweeping will not hold: a surge of web comes back at once" in how_it_stands(standing)[0]
    off = msgspec.structs.replace(turn, wont_hold=None, hands_off="what fills it is a surge: --only leak")
    assert "what fills it is a surge: --only leak" in how_it_stands(standing._replace(turn=off))[0]
    plain = standing._replace(turn=msgspec.structs.replace(turn, wont_hold=None))
    assert how_it_stands(plain)[0] == "below the 80% line"


def test_its_line_says_that_the_sessions_alone_count() -> None:
    """At 82% of 97 slots with one session nothing is due, and no time for a next sweep is promised."""
    seen, turn = snapshot(backend(), unlisted=79), Turn((), True, Patience())
    standing = AutomaticState(ReapPolicy(), seen, turn, 60.0, 0.0, False, False, False, "")
    said = "".join(cell.text for line in auto_lines(standing, 120, 1) for cell in line)
    assert "AUTO on · the sessions alone are not over the 80% line" in said
    assert "next sweep" not in said


@pytest.mark.parametrize("width", [24, 40, 80, 120])
@pytest.mark.parametrize("most", [1, 2])
def test_its_line_has_exactly_the_width(width: int, most: int) -> None:
    seen = snapshot(backend())
    standing = AutomaticState(ReapPolicy(), seen, None, 0.0, 0.0, False, False, True, "")
    for each in (standing, standing._replace(out=True), standing._replace(problem="a 長い word " * 30)):
        for line in auto_lines(each, width, most):
            assert sum(cell_width(cell.text) for cell in line) == width
