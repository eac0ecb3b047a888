"""With hide_queries no statement of anybody's leaves the server, and none is on any screen or in any log."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from pgtop.core.activity import Snapshot
from pgtop.demo.server import HOST, ThrowawayServer
from pgtop.poller import Poller
from pgtop.postgres.backend_detail import backend_detail
from pgtop.postgres.conninfo.resolve import resolve
from pgtop.postgres.snapshot_probe import Probe, is_listen
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui import dashboard as dashboard_module
from pgtop.tui import opening
from pgtop.wiring import Wiring
from tests.conftest import ServerFactory
from tests.servers import execute, fetch_value, session, wait_until
from tests.support.dashboards import Driven, waiting_dashboard
from tests.support.raw_statements import ENCODINGS, speaking_raw
from tests.support.secret_statements import SECRET, secretive
from tests.support.targets import connection_on, target_of


@asynccontextmanager
async def overheard(server: ThrowawayServer) -> AsyncIterator[tuple[int, bytearray]]:
    """A port that leads to the server, and all that the server says through it."""
    heard = bytearray()

    async def tunnel(here: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(HOST, server.port)

        async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, note: bool) -> None:
            with suppress(ConnectionError):
                while data := await source.read(65536):
                    if note:
                        heard.extend(data)
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pass_on(here, back, note=False), pass_on(there, out, note=True))

    async with await asyncio.start_server(tunnel, HOST) as listening:
        yield listening.sockets[0].getsockname()[1], heard


async def walked(driven: Driven, some: dict[str, asyncpg.Connection]) -> str:
    """All that is shown, and copied, on a way through every screen."""
    seen: list[str] = []

    def look() -> None:
        seen.extend((driven.text, driven.app.export_screenshot()))

    await driven.select(some["idle"].get_server_pid())
    look()
    for name, connection in some.items():
        await driven.select(connection.get_server_pid())
        await driven.press("enter")
        await driven.shows("session began", "query")
        look()
        await driven.press("escape", "c")
        await driven.shows("copied")
        seen.append(driven.app.clipboard)
        assert str(connection.get_server_pid()) in driven.app.clipboard, name
    await driven.press(*"ssssssssss")
    look()
    await driven.press("f1")
    look()
    await driven.press("escape", "escape", "S")
    await driven.dialog()
    look()
    await driven.press("i")
    await driven.dialog()
    look()
    await driven.press("n")
    for key, name in (("K", "idle"), ("C", "active")):
        await driven.select(some[name].get_server_pid())
        await driven.press(key)
        await driven.dialog()
        look()
        await driven.press("y")
        await driven.shows("O details")
        look()
        await driven.press("O")
        await driven.shows("Esc close")
        look()
        await driven.press("escape", "escape")
    await driven.press("A")
    await driven.shows("y ")
    look()
    await driven.press("n", "b")
    await driven.shows("No lock waits")
    look()
    return "\n".join(seen)


@pytest.mark.parametrize("hides", [True, False])
async def test_no_statement_leaves_the_server_on_any_screen_or_action(
    server_factory: ServerFactory, tmp_path: Path, hides: bool
) -> None:
    """Not to the list, the detail, a dialog, an outcome, the clipboard, a picture or the audit log.

    Without hide_queries the same way finds it in all of them, and on the wire.
    """
    server = server_factory()
    async with (
        secretive(server) as some,
        overheard(server) as (port, heard),
        waiting_dashboard(
            target_of(server, port=str(port)),
            tmp_path / "a",
            size=(220, 50),
            hide_queries=hides,
            idle_after_seconds=1.0,
        ) as driven,
    ):
        shown = await walked(driven, some)
        assert ("query: hidden" in shown) is hides
        found = [SECRET in shown, SECRET.encode() in heard, SECRET.encode() in (tmp_path / "a").read_bytes()]
        assert found == [not hides] * 3
        assert len(heard) > 10_000
        assert {line["query"] is None for line in driven.audited()} == {hides}


@pytest.mark.parametrize("word", [SECRET, f"query:{SECRET}", "query:select"])
async def test_a_filter_finds_nothing_by_what_is_hidden(
    server: ThrowawayServer, tmp_path: Path, word: str
) -> None:
    target = target_of(server)
    async with (
        secretive(server) as some,
        waiting_dashboard(target, tmp_path / "a", hide_queries=True) as driven,
    ):
        await driven.select(some["idle"].get_server_pid())
        await driven.press("slash", *word, "enter")
        await wait_until(lambda: driven.listed == [])


LISTENING = ["LISTEN a", " \n\tlisten a", "Listen", "LISTEN;", 'listen"a"', "LISTEN\na"]
OTHERS = ["SELECT 1", "LISTENER()", "listen_1", "listen1", "SELECT 'LISTEN a'", "/* LISTEN a */ SELECT 1"]


async def test_listeners_are_known_all_the_same(every_server: ThrowawayServer) -> None:
    """Also where it ran another statement since; the same sessions as with statements."""
    async with (
        connection_on(target_of(every_server)) as shown,
        connection_on(target_of(every_server)) as hidden,
    ):
        hidden.hides_queries = True
        with_text, without = Probe(shown), Probe(hidden)
        for statement in (*LISTENING, *OTHERS):
            async with session(every_server) as one:
                with suppress(asyncpg.PostgresError):
                    await one.execute(statement)
                assert is_listen(statement) is (statement in LISTENING)
                for probe in (with_text, without):
                    listening = {each.pid for each in (await probe.snapshot()).listeners}
                    assert (one.get_server_pid() in listening) is (statement in LISTENING), statement
                await one.fetchval("SELECT 1")
                last = await without.snapshot()
                assert (one.get_server_pid() in {each.pid for each in last.listeners}) is (
                    statement in LISTENING
                )
                assert {backend.query for backend in last.backends} == {None}


async def test_listeners_are_known_where_statements_are_not_text(server_factory: ServerFactory) -> None:
    """From databases in every kind of encoding; and none of the bytes are sent."""
    server = server_factory()
    for name, encoding in list(ENCODINGS.items())[1:]:
        await execute(
            server,
            f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
        )
    async with (
        speaking_raw(server, b"LISTEN \xe9\x81") as listener,
        speaking_raw(server, b"SELECT 1 -- \x81\xe9") as other,
    ):
        for name in ENCODINGS:
            target = resolve(server.uri(database=name), {}, {"HOME": "/nonexistent"})
            async with connection_on(target) as own_connection:
                own_connection.hides_queries = True
                probe = Probe(own_connection)
                for _ in range(2):
                    snapshot = await probe.poll()
                    assert isinstance(snapshot, Snapshot), name
                    listening = {each.pid for each in snapshot.listeners}
                    assert (listener in listening, other in listening) == (True, False), name
                    assert {backend.query for backend in snapshot.backends} == {None}


async def test_earlier_statements_are_hidden_too(server: ThrowawayServer) -> None:
    """As it is where a daemon reads its configuration again."""
    async with secretive(server), connection_on(target_of(server)) as own_connection:
        poller = Poller(Probe(own_connection), 0.1)
        first = await poller.next()
        assert isinstance(first, Snapshot)
        assert any(SECRET in (backend.query or "") for backend in first.backends)
        own_connection.hides_queries = True
        for _ in range(3):
            snapshot = await poller.next()
            assert isinstance(snapshot, Snapshot)
            assert {backend.query for backend in snapshot.backends} == {None}


async def test_the_detail_says_that_it_is_hidden(server: ThrowawayServer, tmp_path: Path) -> None:
    async with (
        secretive(server) as some,
        waiting_dashboard(target_of(server), tmp_path / "a", hide_queries=True) as driven,
    ):
        await driven.select(some["idle"].get_server_pid())
        await driven.press("enter")
        await driven.shows("last query", "hidden (hide_queries)")
        row = driven.backends.cursor_row
        assert row is not None
        detail = await backend_detail(driven.own_connection, row.id)
        assert detail is not None
        assert (detail.query, detail.backend.query) == (None, None)


async def test_the_program_takes_a_connection_that_hides(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Screen:
        def __init__(self, *, wiring: Wiring, **_: object) -> None:
            assert wiring.own_connection.hides_queries
            raise LookupError

    monkeypatch.setattr(dashboard_module, "DashboardScreen", Screen)
    with pytest.raises(LookupError):
        await opening.run_dashboard(
            target_of(server), Config(audit_log=tmp_path / "a", history=None, hide_queries=True)
        )
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgtop %'"
    assert await fetch_value(server, query) == 0
