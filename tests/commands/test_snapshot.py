"""`pgtop snapshot` for scripts and for people: the JSON's contract, the table, a server that goes silent."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from pgtop.demo.server import ThrowawayServer
from tests.conftest import ServerFactory
from tests.servers import create_role, session, sessions, wait_until
from tests.support.filling import TWENTY_SLOTS
from tests.support.running import LIMIT_SECONDS, assert_one_line, run, start_on_terminal

KEYS = [
    "schema", "server", "taken_at", "poll_seconds", "counts", "usage", "warn_at",
    "connection_limits", "applications", "findings", "backends"
]  # fmt: skip
SERVER_KEYS = {
    "host": str, "port": int, "version_num": int, "max_connections": int,
    "superuser_reserved_connections": int, "reserved_connections": int, "slots": int, "in_recovery": bool,
    "system_identifier": str,
}  # fmt: skip
COUNT_KEYS = [
    "total", "idle", "active", "idle_in_transaction", "idle_in_transaction_aborted", "fastpath", "disabled",
    "starting", "hidden", "exact",
]  # fmt: skip
APPLICATION_KEYS = [
    "application_name", "usename", "datname", "total", "idle", "active", "idle_in_transaction",
    "oldest_idle_seconds",
]  # fmt: skip
BACKEND_KEYS = [
    "pid", "backend_start", "state_change", "application_name", "usename", "datname", "client_addr",
    "client_port", "state", "idle_seconds", "xact_seconds", "wait_event_type", "wait_event", "query",
]  # fmt: skip

HOSTILE = "[@click=app.quit]x[/] \x1b[2J\x1b]52;c;aGk=\x07 \x9b1m \u202e \U0001f600 e\u0301"


@pytest.fixture
def still(server_factory: ServerFactory) -> ThrowawayServer:
    """A server of 20 slots that nobody else uses."""
    return server_factory(TWENTY_SLOTS)


async def snapshot(
    home: Path, server: ThrowawayServer, *arguments: str, uri: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Runs the command, while this loop keeps its sessions alive."""
    return await asyncio.to_thread(run, home, "snapshot", uri or server.uri(), *arguments)


async def answer(home: Path, server: ThrowawayServer, *arguments: str, uri: str = "") -> dict[str, Any]:
    """What it prints as JSON."""
    done = await snapshot(home, server, "--json", *arguments, uri=uri)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("}\n")
    assert done.stdout.removesuffix("\n").isprintable()
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def moment(text: str) -> datetime:
    """A time with its zone and its microseconds."""
    found = datetime.fromisoformat(text)
    assert found.tzinfo is not None
    assert "." in text
    return found


async def test_the_json_is_the_contract(every_server: ThrowawayServer, tmp_path: Path) -> None:
    """Each key in its order and of its type, on every version; times agree with ages, ages are seconds."""
    async with session(every_server, application_name="one") as one:
        await one.fetchval("SELECT 1")
        told = await answer(tmp_path, every_server)
    assert list(told) == KEYS
    assert told["schema"] == 1
    assert {name: type(value) for name, value in told["server"].items()} == SERVER_KEYS
    assert told["server"]["port"] == every_server.port
    assert told["server"]["version_num"] // 10_000 == every_server.version
    assert told["server"]["slots"] == 97
    assert list(told["counts"]) == COUNT_KEYS
    assert told["counts"]["exact"] is True
    assert all(list(each) == APPLICATION_KEYS for each in told["applications"])
    assert all(list(each) == BACKEND_KEYS for each in told["backends"])
    assert told["warn_at"] == 0.8
    assert told["usage"] == told["counts"]["total"] / 97
    assert 0 < told["poll_seconds"] < 10
    backend = next(each for each in told["backends"] if each["application_name"] == "one")
    age = (moment(told["taken_at"]) - moment(backend["state_change"])).total_seconds()
    assert backend["idle_seconds"] == pytest.approx(age, abs=1e-5)
    assert moment(backend["backend_start"]) <= moment(backend["state_change"])
    assert (backend["state"], backend["xact_seconds"], backend["query"]) == ("idle", None, "SELECT 1")
    assert (backend["client_addr"], backend["usename"]) == ("127.0.0.1", "postgres")


async def test_counts_are_what_was_opened(still: ThrowawayServer, tmp_path: Path) -> None:
    """pgtop's own session counts; the applications add up to all, the largest first."""
    async with (
        sessions(still, 4, application_name="web") as web,
        session(still, application_name="job") as job,
    ):
        await web[0].execute("BEGIN")
        await job.execute("BEGIN")
        with pytest.raises(asyncpg.DivisionByZeroError):
            await job.fetchval("SELECT 1/0")
        told = await answer(tmp_path, still)
    counts = told["counts"]
    assert (counts["total"], counts["idle"], counts["active"]) == (6, 3, 1)
    assert (counts["idle_in_transaction"], counts["idle_in_transaction_aborted"]) == (1, 1)
    assert len(told["backends"]) == 6
    names = [each["application_name"].split("@")[0] for each in told["applications"]]
    assert names[0] == "web"
    assert sorted(names) == ["job", "pgtop snapshot", "web"]
    web_row = told["applications"][0]
    assert (web_row["total"], web_row["idle"], web_row["active"], web_row["idle_in_transaction"]) == (
        4,
        3,
        0,
        1,
    )
    assert sum(each["total"] for each in told["applications"]) == 6
    idle = [each["idle_seconds"] for each in told["backends"] if each["state"] == "idle"]
    assert idle == sorted(idle, reverse=True)
    assert web_row["oldest_idle_seconds"] == max(idle)


async def test_a_role_that_does_not_see_states(still: ThrowawayServer, tmp_path: Path) -> None:
    """An upper bound, said so in both forms; never "0 idle"."""
    role = await create_role(still)
    async with sessions(still, 3, application_name="web"):
        told = await answer(tmp_path, still, uri=role.uri())
        done = await snapshot(tmp_path, still, uri=role.uri())
    assert told["counts"]["exact"] is False
    assert told["counts"]["hidden"] >= 3
    hidden = [each for each in told["backends"] if each["application_name"] == "web"]
    assert [(each["state"], each["backend_start"], each["client_addr"]) for each in hidden] == [
        (None, None, None)
    ] * 3
    assert f"≤ {told['counts']['total']} of 20 slots" in done.stdout
    assert "? idle" in done.stdout
    assert "0 idle" not in done.stdout
    assert f"GRANT pg_monitor TO {role.name};" in done.stdout


async def test_hostile_text_is_whole_in_json_and_harmless_in_the_table(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """The JSON reads back what the server has; no line of the table obeys it or breaks, or is cut."""
    query = f"SELECT $q${HOSTILE} " + "y" * 10_000 + "$q$"
    async with session(server, application_name="[bold]a[/]\x1b[31m") as one:
        await one.fetchval(query)
        told = await answer(tmp_path, server)
        done = await snapshot(tmp_path, server)
        name = await one.fetchval("SHOW application_name")
    mine = [each for each in told["backends"] if each["application_name"] == name]
    assert [each["query"] for each in mine] == [query[:200]]
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert all(line.isprintable() for line in lines)
    assert any("[@click" in line and line.endswith("y" * 100) for line in lines)
    assert any("[bold]a[/]" in line for line in lines)


async def test_the_table_follows_what_is_asked_for(still: ThrowawayServer, tmp_path: Path) -> None:
    """--warn-at is the line, --idle-after what is marked; 5 and its own are 6 of 20."""
    async with sessions(still, 5, application_name="web") as opened:
        below = await snapshot(tmp_path, still)
        assert "6 of 20 slots · 30% · below the 80% line" in below.stdout
        assert "0 stale: idle for more than 5m" in below.stdout
        over = await snapshot(tmp_path, still, "--warn-at", "25%")
        assert "6 of 20 slots · 30% · over the 25% line" in over.stdout
        at_it = await snapshot(tmp_path, still, "--warn-at", "0.3")
        assert "30% · at the 30% line" in at_it.stdout
        oldest = (
            "SELECT min(now() - state_change) > '1s' FROM pg_stat_activity WHERE application_name = 'web'"
        )

        async def are_stale() -> bool:
            async with session(still, application_name="clock") as clock:
                return bool(await clock.fetchval(oldest))

        await wait_until(are_stale)
        stale = await snapshot(tmp_path, still, "--idle-after", "1s")
        assert "stale: idle for more than 1s, marked *" in stale.stdout
        marked = [line for line in stale.stdout.splitlines() if line.startswith("*") and " web " in line]
        assert len(marked) == len(opened)


Cut = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def proxy(server: ThrowawayServer, after_login: str) -> AsyncIterator[int]:
    """A port that passes everything on until the poll is asked for, then is silent, or hangs up."""

    async def serve(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", server.port)
        back = asyncio.ensure_future(_pass_on(from_server, to_client))
        while data := await client.read(65_536):
            if b"pg_stat_get_activity(NULL)" in data:
                if after_login == "hangs up":
                    break
                await client.read()  # until pgtop has had enough
                break
            to_server.write(data)
        back.cancel()
        for writer in (to_server, to_client):
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1]


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)


@pytest.mark.parametrize(
    ("after_login", "words"), [("hangs up", "was lost"), ("is silent", "did not answer within")]
)
@pytest.mark.parametrize("command", ["snapshot", "reap"])
async def test_a_server_that_lets_it_in_and_then_fails(
    server: ThrowawayServer, tmp_path: Path, command: str, after_login: str, words: str
) -> None:
    """Status 3 in bounded time, with one line; a reap ends nobody."""
    async with session(server, application_name="idle") as one, proxy(server, after_login) as port:
        uri = f"postgresql://postgres:{server.password}@127.0.0.1:{port}/postgres?sslmode=disable"
        rest = ("--always", "--idle-after", "1s") if command == "reap" else ()
        done = await asyncio.to_thread(run, tmp_path, command, uri, *rest)
        assert_one_line(done, 3, words)
        assert await one.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("columns", [80, 120, 200])
async def test_on_a_terminal_no_line_is_wider_than_it(
    server: ThrowawayServer, tmp_path: Path, columns: int
) -> None:
    """However long names and statements are: nothing wraps."""
    async with session(server, application_name="a" * 63) as one:
        await one.fetchval("SELECT 1 -- " + "y" * 300)
        text = await asyncio.to_thread(on_terminal, tmp_path, columns, server.uri())
    lines = text.replace("\r\n", "\n").splitlines()
    assert any(line.startswith("sessions, by idle age") for line in lines)
    assert columns - 20 <= max(map(len, lines)) <= columns
    assert any(line.startswith(f"not shown at {columns} columns: ") for line in lines) is (columns < 200)


def on_terminal(home: Path, columns: int, uri: str) -> str:
    """What the command writes to a terminal of that width."""
    with start_on_terminal(home, "snapshot", uri, columns=columns) as (process, terminal):
        written = b""
        while True:
            try:
                data = os.read(terminal, 65_536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            written += data
        assert process.wait(LIMIT_SECONDS) == 0
    return written.decode()
