"""The head: true while the server is silent, whole at 80 columns, and still while figures grow."""

import os
import signal
from itertools import product
from pathlib import Path

import asyncpg
import msgspec
import pytest

from pgtop.core.activity import MICROSECONDS, ConnectionLimit, LimitOf, Snapshot
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.filter_sort import SortColumn
from pgtop.core.leadership import Key
from pgtop.core.outage import Limit, Outage, OutageKind
from pgtop.core.sample_history import Since
from pgtop.core.text import cell_width
from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.queries.advisory_keys import REAPER_CLASS
from pgtop.tui.lines.automatic_sweeps import daemons
from pgtop.tui.lines.head import BADGE_WIDTH, Standing, head_lines
from pgtop.tui.lines.outage import outage_lines
from pgtop.tui.lines.server_label import ServerLabel, server_label
from tests.builders import holding
from tests.servers import create_role, session, wait_until
from tests.support.dashboards import as_text, dashboard
from tests.support.reaping import real_snapshot


async def test_a_server_that_does_not_answer_is_not_called_live(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """And keys go on working meanwhile."""
    async with dashboard(server, tmp_path / "a") as driven:
        await driven.shows("● live")
        pid = driven.own_connection.own_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            await driven.shows("no answer, ", "s old")
            assert "● live" not in driven.text
            await driven.press("s")
            assert driven.backends.sort_column is SortColumn.SESSION_AGE
        finally:
            os.kill(pid, signal.SIGCONT)
        await driven.shows("● live")


async def test_a_full_server_is_said_in_whole_words_at_80_columns(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    full = holding(await real_snapshot(server, tmp_path / "a"), 97, 97)
    standing = Standing(full, 0.8, 2.0, Since(full.taken_at, is_exact=True))
    for width in (80, 120):
        line = as_text(head_lines(standing, width))[1]
        assert line.startswith(" FULL  97 of 97 slots · 100% · new connections are refused")
        assert "…" not in line
        assert cell_width(line) <= width


async def test_a_line_crossed_days_ago_is_not_told_by_the_time_of_day(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    full = holding(await real_snapshot(server, tmp_path / "a"), 90, 97)
    day = 86_400 * 1_000_000
    for at, is_exact, words in (
        (full.taken_at - day + 1, True, "line since "),
        (full.taken_at - day + 1, False, "line at least since "),
        (full.taken_at - 2 * day, True, "line for 2d 00h"),
        (full.taken_at - 2 * day, False, "line for at least 2d 00h"),
    ):
        assert words in as_text(head_lines(Standing(full, 0.8, 2.0, Since(at, is_exact)), 80))[1]


@pytest.mark.parametrize("width", [80, 120])
async def test_a_reached_limit_is_in_the_head_at_any_usage(
    server: ThrowawayServer, tmp_path: Path, width: int
) -> None:
    """At 80 columns it is more than since when usage is over the line."""
    seen = await real_snapshot(server, tmp_path / "a")
    limit = (ConnectionLimit(LimitOf.ROLE, "postgres", 1),)
    for total in (20, 90):
        held = msgspec.structs.replace(holding(seen, total, 97), connection_limits=limit)
        used = sum(each.usename == "postgres" for each in held.backends)
        assert used, "a session of the role"
        since = Since(held.taken_at, is_exact=False) if total == 90 else None
        line = as_text(head_lines(Standing(held, 0.8, 2.0, since), width))[1]
        assert "role postgres at its limit of 1" in line
        assert cell_width(line) <= width


@pytest.mark.parametrize("width", [80, 120, 200])
async def test_the_bar_stands_still_while_figures_grow(
    server: ThrowawayServer, tmp_path: Path, width: int
) -> None:
    snapshot = await real_snapshot(server, tmp_path / "a")
    bars = set()
    for total in (1, 9, 10, 99, 100, 700):
        line = as_text(head_lines(Standing(holding(snapshot, total, 1_000), 0.8, 2.0, None), width))[1]
        bars.add(line.index("▕"))
    assert len(bars) == 1


async def test_hidden_states_are_not_counted_as_none(server: ThrowawayServer, tmp_path: Path) -> None:
    role = await create_role(server, "plain")
    snapshot = await real_snapshot(server, tmp_path / "a", role.name)
    line = as_text(head_lines(Standing(snapshot, 0.8, 2.0, None), 80))[2]
    assert "idle ≥ 0" in line
    assert "GRANT pg_monitor" in line
    assert cell_width(line) <= 80


async def test_an_interval_that_was_changed_is_seen_at_80_columns(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    snapshot = await real_snapshot(server, tmp_path / "a")
    since = snapshot.taken_at - 200 * 86_400 * 1_000_000
    identity = msgspec.structs.replace(snapshot.server.identity, postmaster_start=since)
    aged = msgspec.structs.replace(
        snapshot, server=msgspec.structs.replace(snapshot.server, identity=identity)
    )
    assert "every 0.5s" in as_text(head_lines(Standing(aged, 0.8, 0.5, None, paused=True), 80))[0]


def test_an_outage_keeps_its_mend_and_its_age() -> None:
    outage = Outage(
        OutageKind.UNREACHABLE,
        "no server listens at db1:5432 (refused): check " + "that " * 12 + "it is running",
    )
    lines = as_text(outage_lines(outage, 72.0, 80, 3))
    assert all(cell_width(line) <= 80 for line in lines)
    assert "it is running · retrying · data 1m 12s old" in " ".join(line.strip() for line in lines)
    assert as_text(outage_lines(outage, 72.0, 80, 1))[0].rstrip().endswith("…")
    cut = " ".join(line.strip() for line in as_text(outage_lines(outage, 72.0, 73, 2)))
    assert cut.endswith("it is running · retrying"), "an age in half is none, and the head has it whole"


async def test_a_pause_in_an_outage_is_still_a_pause(server_factory, tmp_path: Path) -> None:
    server = server_factory()
    async with dashboard(server, tmp_path / "a") as driven:
        await driven.press("p")
        server.stop()
        await driven.shows("‖ paused", "✗", " old")
        server.start()
        await wait_until(lambda: driven.dashboard.state.outage is None, 30)
        await driven.press("p")
        await driven.shows("● live")


async def hold_key(connection: asyncpg.Connection) -> None:
    """Takes the key of a daemon that promises to be heard of within an hour."""
    await connection.execute(f"SELECT pg_advisory_lock_shared({REAPER_CLASS}, 3600)")


async def test_the_head_names_the_daemon_that_reaps(server: ThrowawayServer, tmp_path: Path) -> None:
    """The oldest is the active one; at 80 columns what is counted is never given up for it."""
    async with (
        session(server, application_name="pgtop daemon@host-a") as one,
        session(server, application_name="pgtop daemon@host-b") as other,
        session(server, application_name="pgtop dry-run@host-c"),
    ):
        await hold_key(one)
        await hold_key(other)
        async with dashboard(server, tmp_path / "a", size=(80, 24)) as driven:
            await driven.shows("reaper: daemon on host-a +1")
            await driven.pilot.resize_terminal(120, 40)
            await driven.shows("reaper: daemon on host-a, active, +1 standing by", "in transaction")
            assert "host-c" not in driven.text.splitlines()[2]


async def test_the_head_names_no_client_in_disguise(server: ThrowawayServer, tmp_path: Path) -> None:
    """Neither one without the key, nor one whose role may end nobody's session but its own."""
    role = await create_role(server)
    async with (
        session(server, application_name="pgtop daemon@nameless"),
        session(
            server, application_name="pgtop daemon@mallory", user=role.name, password=role.password
        ) as disguised,
        session(server, application_name="pgtop daemon@host-a") as daemon,
    ):
        await hold_key(disguised)
        await hold_key(daemon)
        async with dashboard(server, tmp_path / "a", size=(120, 40)) as driven:
            await driven.shows("reaper: daemon on host-a, active")
            assert "+" not in driven.text.splitlines()[2]
            assert "mallory" not in driven.text.splitlines()[2]


DAEMON = Key(
    pid=7,
    backend_start=1,
    state_change=1,
    application_name="pgtop daemon@" + "host" * 20,
    usename="postgres",
    is_shared=True,
    promise_seconds=12,
    rules=None,
    may_signal=True,
    is_same_role=True,
)


@pytest.mark.parametrize("width", [80, 100, 120])
async def test_the_reaper_gives_way_to_what_is_counted(
    server: ThrowawayServer, tmp_path: Path, width: int
) -> None:
    snapshot = await real_snapshot(server, tmp_path / "a")
    stuck = msgspec.structs.replace(snapshot.backends[0], state="active", wait_event_type="Lock")
    for backends in (snapshot.backends, (*snapshot.backends, *[stuck] * 12_345)):
        crowded = msgspec.structs.replace(snapshot, backends=backends)
        line = as_text(head_lines(Standing(crowded, 0.8, 2.0, None, reapers=(DAEMON,)), width))[2]
        assert cell_width(line) <= width
        assert "in transaction" in line
        assert ("waiting on locks · b lock tree" in line) is (len(backends) > 99)
        assert "reaper: daemon" in line or len(backends) > 99


async def test_a_daemons_own_login_is_not_taken_for_another_daemon(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """It tries each minute whether a login is refused, under its own name, for a few milliseconds."""
    async with session(server, application_name="pgtop daemon@host-a"):
        snapshot = await real_snapshot(server, tmp_path / "a")
    daemon = next(each for each in snapshot.backends if each.application_name == "pgtop daemon@host-a")
    settled = msgspec.structs.replace(daemon, backend_start=snapshot.taken_at - 5_000_000)
    for start in (snapshot.taken_at + 1, snapshot.taken_at, snapshot.taken_at - 100_000):
        probe_login = msgspec.structs.replace(daemon, pid=daemon.pid + 1, backend_start=start)
        assert daemons(msgspec.structs.replace(snapshot, backends=(settled, probe_login))) == {settled.id}


@pytest.mark.parametrize(
    ("total", "slots", "line"),
    [(83, 97, " HIGH  83/97 85%"), (97, 97, " FULL  97/97 100%"), (4100, 4997, " HIGH  4100/4997 82%")],
)
async def test_20_cells_hold_the_figures_and_the_word(
    server: ThrowawayServer, tmp_path: Path, total: int, slots: int, line: str
) -> None:
    standing = Standing(holding(await real_snapshot(server, tmp_path / "a"), total, slots), 0.8, 2.0, None)
    assert as_text(head_lines(standing, 20))[1] == line


async def test_the_head_tells_when_the_server_is_full(server: ThrowawayServer, tmp_path: Path) -> None:
    """Also below the line, as long as a trend holds; not once it is full."""
    seen = await real_snapshot(server, tmp_path / "a")
    for total, said in ((60, True), (90, True), (97, False)):
        held = holding(seen, total, 97)
        soon = Forecast(held.taken_at + 10 * 60 * MICROSECONDS)
        over = Since(held.taken_at, is_exact=True) if total > 77 else None
        line = as_text(head_lines(Standing(held, 0.8, 2.0, over, forecast=soon), 120))[1]
        assert ("full at about" in line) is said


async def test_badge_and_figures_stand_still_whatever_the_state(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """In every width and state, with a configured name or none; no line is wider than the screen."""
    seen = await real_snapshot(server, tmp_path / "a")
    labels = (
        ServerLabel(),
        server_label("prod", "db1:5432", "shop"),
        server_label("long-" * 20, "h:1", "d" * 60),
    )
    for standing, word in every_state(seen):
        for width, label in product(range(20, 201), labels):
            first, usage, _ = as_text(head_lines(standing._replace(label=label), width))
            assert usage.startswith(f" {word} "), width
            assert usage[BADGE_WIDTH:].lstrip("≤ ")[0].isdigit(), (usage, width)
            assert label.name[:3] in first or "no answer" in first, width
            assert max(map(cell_width, (first, usage))) <= width, (first, usage)


def every_state(seen: Snapshot) -> list[tuple[Standing, str]]:
    """A standing for each word of the badge, and the words that stand for something else in its place."""
    since = Since(seen.taken_at - 14 * 60 * MICROSECONDS, is_exact=False)
    down = Outage(OutageKind.UNREACHABLE, "no server listens")
    limit = (ConnectionLimit(LimitOf.ROLE, "postgres", 1),)
    hidden = [msgspec.structs.replace(each, backend_start=None) for each in seen.backends]

    def at(total: int, **known: object) -> Standing:
        held = holding(seen, total, 97)
        over = since if total > 77 else None
        soon = Forecast(held.taken_at + 600 * MICROSECONDS)
        return Standing(held, 0.8, 2.0, over, forecast=soon)._replace(**known)  # type: ignore[arg-type]

    limited = msgspec.structs.replace(holding(seen, 20, 97), connection_limits=limit)
    unseen = msgspec.structs.replace(seen, backends=tuple(hidden))
    return [
        (at(20), "OK"),
        (at(83), "HIGH"),
        (at(83, paused=True, read_only=True), "HIGH"),
        (at(83, late=True, age_seconds=90_000.0), "HIGH"),
        (at(97), "FULL"),
        (at(60, refusing=Limit.CLIENTS), "FULL"),
        (at(20, snapshot=limited), "LIMIT"),
        (at(20, snapshot=unseen), "OK"),
        (at(83, outage=down, age_seconds=72.0), "DOWN"),
        (at(83, outage=Outage(OutageKind.REFUSED, "wrong password")), "ERROR"),
        (at(97, outage=Outage(OutageKind.FULL, "full", limit=Limit.EVERY)), "FULL"),
        (at(20, outage=Outage(OutageKind.LIMIT, "limit", limit=Limit.ROLE)), "LIMIT"),
    ]


async def test_the_first_line_drops_the_least_needed_first(server: ThrowawayServer, tmp_path: Path) -> None:
    """Name and login stay until the end; a rescue role's login is never shown as an ordinary one."""
    seen = await real_snapshot(server, tmp_path / "a")
    named = Standing(seen, 0.8, 2.0, None, label=server_label("prod", "db1:5432", "shop"))
    host = seen.server.address
    needed = ["prod", "postgres@shop", "primary", "every 2s", "PostgreSQL ", "server up ", host]
    for width in range(140, 19, -1):
        line = as_text(head_lines(named, width))[0]
        shown = [part in line for part in needed]
        assert shown == sorted(shown, reverse=True), line
    assert as_text(head_lines(named, 30))[0].startswith(" prod  postgres@shop ")
    rescued = named._replace(snapshot=msgspec.structs.replace(seen, is_rescue=True))
    assert " rescue: postgres@shop " in as_text(head_lines(rescued, 80))[0]
    assert as_text(head_lines(named, 140, is_named=False))[0].startswith(" postgres@shop ")
    unnamed = named._replace(label=server_label(None, host, "shop"))
    assert as_text(head_lines(unnamed, 140))[0].startswith(f" {host}  postgres@shop ")
    assert as_text(head_lines(unnamed, 140))[0].count(host) == 1
