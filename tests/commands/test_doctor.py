"""`pgtop doctor` on real servers: whom it promises entry gets in, whom it does not is refused, and what it
tells to paste mends what it found.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from pgtop.demo.server import ThrowawayServer
from tests.conftest import ServerFactory
from tests.servers import available, close, create_role, execute, fetch_value, session, sessions, wait_until
from tests.support.pooler import pooler
from tests.support.running import LIMIT_SECONDS, assert_one_line, run, start_on_terminal
from tests.support.targets import connection_on, target_of

KEYS = [
    "schema", "server", "role", "database", "gets_in_at_full", "gets_in_at_full_why", "may_reap",
    "may_reap_why", "findings",
]  # fmt: skip
TOPICS = [
    "login", "pooler", "rights", "sight", "signal", "optional_rights", "server", "slots",
    "superuser_reserved_connections",
    "privileged", "role", "database", "role_limits", "database_limits", "idle_session_timeout",
    "idle_in_transaction_session_timeout", "tcp_keepalives", "client_connection_check_interval",
    "authentication_timeout", "own_settings", "application_name",
]  # fmt: skip
RESERVING = 16
"""The first version that reserves slots for a role that is not a superuser."""


@pytest.fixture(params=list(available()) or [0], ids=lambda version: f"pg{version}")
def cramped(request: pytest.FixtureRequest, server_factory: ServerFactory) -> ThrowawayServer:
    """A server of each version in turn, with 12 connections, and what it keeps set as people set it."""
    return server_factory({"max_connections": "12"}, version=request.param)


async def doctor(
    home: Path, server: ThrowawayServer, *arguments: str, uri: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Runs the command, while this loop keeps its sessions alive."""
    return await asyncio.to_thread(run, home, "doctor", uri or server.uri(), *arguments)


async def told(home: Path, server: ThrowawayServer, **rest: str) -> dict[str, Any]:
    """What it prints as JSON; the status agrees with it."""
    done = await doctor(home, server, "--json", **rest)
    assert done.stderr == ""
    assert done.stdout.removesuffix("\n").isprintable()
    answer: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if answer["gets_in_at_full"] and answer["may_reap"] else 5)
    return answer


def finding(answer: dict[str, Any], topic: str) -> dict[str, str]:
    (found,) = [each for each in answer["findings"] if each["topic"] == topic]
    return found


def statements(answer: dict[str, Any]) -> list[str]:
    """Every statement that the mends tell to paste, each once."""
    lines = [line for each in answer["findings"] for line in each["mend"].splitlines()]
    return list(dict.fromkeys(line for line in lines if not line.startswith("-- ")))


async def gets_in(server: ThrowawayServer, user: str, database: str = "postgres") -> bool:
    """Whether a login succeeds at this moment."""
    try:
        async with session(server, user=user, database=database):
            return True
    except asyncpg.TooManyConnectionsError:
        return False


@asynccontextmanager
async def filled(server: ThrowawayServer, user: str, database: str = "postgres") -> AsyncIterator[int]:
    """As many sessions of a role as the server takes, and how many those are."""
    async with AsyncExitStack() as stack:
        number = 0
        while True:
            try:
                await stack.enter_async_context(session(server, user=user, database=database))
            except asyncpg.TooManyConnectionsError:
                break
            number += 1
        yield number


async def make_roles(server: ThrowawayServer) -> dict[str, str]:
    """A role of each kind, by kind."""
    kinds = ("superuser", "plain", "monitor", "operator")
    roles = {kind: (await create_role(server, kind)).name for kind in kinds}
    await execute(
        server, "CREATE ROLE aloof LOGIN NOINHERIT", "CREATE ROLE through LOGIN", "CREATE ROLE by_way"
    )
    if server.version >= RESERVING:
        await execute(
            server,
            "GRANT pg_use_reserved_connections TO aloof",
            "GRANT pg_use_reserved_connections TO by_way",
            "GRANT by_way TO through",
            "CREATE ROLE weaned LOGIN",
            "GRANT by_way TO weaned WITH INHERIT FALSE",
        )
        roles["weaned"] = "weaned"
    # A superuser's role that an ordinary one acts as: at the login it is ordinary.
    await execute(server, "CREATE ROLE actor LOGIN", f"GRANT {roles['superuser']} TO actor")
    await execute(server, f"ALTER ROLE actor SET role = '{roles['superuser']}'")
    return roles | {"aloof": "aloof", "through": "through", "actor": "actor"}


@pytest.mark.parametrize("more", [0, 2])
async def test_only_roles_that_are_promised_entry_get_in(
    cramped: ThrowawayServer, tmp_path: Path, more: int
) -> None:
    """Each kind of role on each version, told before, and tried with no ordinary slot left."""
    reserves = cramped.version >= RESERVING and more > 0
    if more:
        kept = (
            f"reserved_connections = {more}" if reserves else f"superuser_reserved_connections = {3 + more}"
        )
        await execute(cramped, f"ALTER SYSTEM SET {kept}")
        cramped.restart()
    roles = await make_roles(cramped)
    answers = {
        kind: await told(tmp_path, cramped, uri=cramped.uri(user=name)) for kind, name in roles.items()
    }
    promised = {kind for kind, answer in answers.items() if answer["gets_in_at_full"]}
    assert promised == {"superuser", *(("operator", "through") if reserves else ())}
    async with filled(cramped, roles["plain"]) as number:
        assert number == 12 - 3 - more
        assert {kind for kind, name in roles.items() if await gets_in(cramped, name)} == promised
        for kind, name in roles.items():
            done = await doctor(tmp_path, cramped, uri=cramped.uri(user=name))
            if kind in promised:
                assert done.returncode == (5 if kind == "through" else 0)
                # Who sees no states has an upper bound, and is told no more than it knows.
                assert ("warn  slots: ≤" if kind == "through" else "bad   slots:") in done.stdout
            else:
                assert_one_line(done, 4, "is full")


async def test_no_slot_is_promised_if_superusers_have_none(cramped: ThrowawayServer, tmp_path: Path) -> None:
    await execute(cramped, "ALTER SYSTEM SET superuser_reserved_connections = 0", "CREATE ROLE filler LOGIN")
    cramped.restart()
    answer = await told(tmp_path, cramped)
    assert not answer["gets_in_at_full"]
    assert finding(answer, "superuser_reserved_connections")["status"] == "bad"
    async with filled(cramped, "filler") as number:
        assert number == 12
        assert not await gets_in(cramped, "postgres")
        assert_one_line(await doctor(tmp_path, cramped), 4, "is full")
    await execute(cramped, *statements(answer))
    cramped.restart()
    answer = await told(tmp_path, cramped)
    assert answer["gets_in_at_full"]
    async with filled(cramped, "filler"):
        assert await gets_in(cramped, "postgres")


@pytest.mark.parametrize("of", ["role", "database"])
async def test_a_connection_limit_refuses_when_it_says_so(
    every_server: ThrowawayServer, tmp_path: Path, of: str
) -> None:
    """What is used is counted as the server counts it: neither walsenders nor parallel workers."""
    role = await create_role(every_server, "operator", connection_limit=3 if of == "role" else -1)
    await execute(
        every_server,
        f"ALTER ROLE {role.name} REPLICATION",
        f"CREATE DATABASE {role.name} CONNECTION LIMIT {3 if of == 'database' else -1}",
    )
    uri = every_server.uri(user=role.name, database=role.name)
    where = {"user": role.name, "database": role.name}
    try:
        async with (
            session(every_server, **where, replication="database"),
            session(every_server, **where) as one,
        ):
            await one.execute("BEGIN")
            two = await told(tmp_path, every_server, uri=uri)
            async with session(every_server, **where) as other:
                await other.execute("BEGIN")
                last = await told(tmp_path, every_server, uri=uri)
                assert await gets_in(every_server, **where)
                async with session(every_server, **where):
                    assert not await gets_in(every_server, **where)
                    assert_one_line(await doctor(tmp_path, every_server, uri=uri), 3, "CONNECTION LIMIT")
        assert finding(two, of)["status"] == ("ok" if of == "role" else "warn")
        assert "2 of 3 used" in finding(two, of)["said"]
        assert finding(last, of)["status"] == "warn"
        assert "3 of 3 used (CONNECTION LIMIT): this check has the last one" in finding(last, of)["said"]
        held, mend = finding(last, of)["mend"].splitlines()
        assert held.startswith(f"-- {of} {role.name} is held by ")
        await execute(every_server, mend)
        async with sessions(every_server, 5, **where):
            assert await gets_in(every_server, **where)
    finally:
        await execute(every_server, f"DROP DATABASE {role.name} (FORCE)", f"DROP ROLE {role.name}")


NAMES = (
    ("ops", "INHERIT"),
    ("user", "NOINHERIT"),
    ("Ops Team", "INHERIT"),
    ('a"b', "NOINHERIT"),
    ('Ops "T\x1b[2J eam', "INHERIT"),
    ("a\\b  c\n'", "NOINHERIT"),
    ("größe\u202e", "INHERIT"),
)
"""Names that SQL writes differently each, some of which no terminal may be shown."""


@asynccontextmanager
async def nameless(server: ThrowawayServer, count: int, name: str) -> AsyncIterator[None]:
    """Sessions of a role in its own database whose client says no application's name."""
    async with AsyncExitStack() as stack:
        for _ in range(count):
            opened = await asyncpg.connect(server.uri(user=name, database=name), ssl=False)
            stack.push_async_callback(close, opened)
            await opened.execute("BEGIN")
        yield


async def test_the_suggested_statements_mend_what_was_found(cramped: ThrowawayServer, tmp_path: Path) -> None:
    """Every statement runs as it stands, and nothing that has one is found again, whatever the names."""
    await execute(cramped, "ALTER ROLE ALL SET client_connection_check_interval = 0")
    before = {}
    for name, inherits in NAMES:
        quoted = '"' + name.replace('"', '""') + '"'
        await execute(
            cramped,
            f"CREATE ROLE {quoted} LOGIN {inherits} CONNECTION LIMIT 4",
            f"GRANT pg_monitor TO {quoted}",
            f"CREATE DATABASE {quoted} CONNECTION LIMIT 4",
            f"ALTER DATABASE {quoted} SET idle_in_transaction_session_timeout = 0",
        )
        async with nameless(cramped, 3, name):
            before[name] = await told(tmp_path, cramped, uri=cramped.uri(user=name, database=name))
        assert not before[name]["gets_in_at_full"]
        assert not before[name]["may_reap"]
        # PostgreSQL 14 shows states to every member.
        sees = inherits == "INHERIT" or cramped.version < 15
        assert finding(before[name], "sight")["status"] == ("ok" if sees else "bad")
        for topic in ("role", "database", "application_name", "idle_in_transaction_session_timeout"):
            assert finding(before[name], topic)["status"] == "warn", (name, topic)
        for statement in statements(before[name]):
            assert statement.isprintable()
            await execute(cramped, statement)
    cramped.restart()
    for name, _ in NAMES:
        async with nameless(cramped, 3, name):
            after = await told(tmp_path, cramped, uri=cramped.uri(user=name, database=name))
        assert (after["role"], after["database"]) == (name, name)
        assert after["may_reap"]
        assert after["gets_in_at_full"] is (cramped.version >= RESERVING)
        found = {each["topic"] for each in after["findings"] if each["status"] != "ok"}
        # Its limit, raised, is still below the slots there; the mend is another database.
        assert found == ({"login", "database"} if cramped.version < RESERVING else set())
        assert statements(after) == []


async def test_no_name_hides_a_role_or_a_superusers_session(cramped: ThrowawayServer, tmp_path: Path) -> None:
    """Neither pgtop's nor a backup's: pgtop's own sessions are told by the key that they hold."""
    await execute(
        cramped,
        "CREATE ROLE web LOGIN",
        "ALTER ROLE web SET idle_session_timeout = '1h'",
        "CREATE ROLE hog LOGIN",
        "CREATE ROLE ops LOGIN IN ROLE pg_monitor, pg_signal_backend",
    )
    async with session(cramped, user="web"), connection_on(target_of(cramped, user="ops")):
        found = finding(await told(tmp_path, cramped), "idle_session_timeout")
        assert (found["status"], found["mend"]) == ("ok", "")
        for name in ("worker", "pgtop x", "pgBackRest [backup]"):
            async with session(cramped, user="hog", application_name=name):
                found = finding(await told(tmp_path, cramped), "idle_session_timeout")
                assert found["status"] == "warn"
                assert found["said"].startswith("off: idle sessions of hog stay forever")
    nobody = "no session but pgtop's can take reserved connections"
    async with connection_on(target_of(cramped)):
        assert finding(await told(tmp_path, cramped), "privileged")["said"] == nobody
        async with sessions(cramped, 4, application_name="pgtop x"):
            privileged = finding(await told(tmp_path, cramped), "privileged")
            assert privileged["said"].startswith("4 sessions of superusers")


async def test_settings_are_those_of_ordinary_sessions(cramped: ThrowawayServer, tmp_path: Path) -> None:
    """Neither pgtop's own nor those of its URI; a database's own count, a role's hide what others get."""
    await execute(
        cramped,
        "ALTER SYSTEM SET idle_session_timeout = '20min'",
        "ALTER SYSTEM SET tcp_keepalives_idle = 100",
        "ALTER SYSTEM SET tcp_keepalives_interval = 10",
        "ALTER SYSTEM SET tcp_keepalives_count = 6",
        "ALTER SYSTEM SET client_connection_check_interval = '4s'",
        "ALTER DATABASE postgres SET idle_in_transaction_session_timeout = '250ms'",
        "CREATE ROLE own LOGIN",
        "ALTER ROLE own SET idle_session_timeout = '3min'",
        "SELECT pg_reload_conf()",
    )
    # A reload reaches the postmaster, and with it new sessions, a little later.
    await wait_until(lambda: _shows(cramped, "client_connection_check_interval", "4s"))
    given = "-c idle_session_timeout=1h -c client_connection_check_interval=9s -c tcp_keepalives_idle=7"
    for place in (cramped.uri(), cramped.socket_uri()):
        separator = "&" if "?" in place else "?"
        answer = await told(tmp_path, cramped, uri=f"{place}{separator}options={quote(given)}")
        assert finding(answer, "idle_session_timeout")["said"].endswith("20m")
        assert finding(answer, "client_connection_check_interval")["said"].endswith(" 4s")
        assert finding(answer, "tcp_keepalives")["said"].endswith("for 2m 40s")
        within = finding(answer, "idle_in_transaction_session_timeout")["said"]
        assert within.endswith("250ms (in this database)")
    own = finding(await told(tmp_path, cramped, uri=cramped.uri(user="own")), "idle_session_timeout")
    assert (own["status"], own["said"]) == (
        "warn",
        "3m for this role: the value for other roles is hidden",
    )
    settings = finding(await told(tmp_path, cramped), "own_settings")["said"]
    assert "role own: idle_session_timeout=3min" in settings
    assert "database postgres: idle_in_transaction_session_timeout=250ms" in settings


async def _shows(server: ThrowawayServer, name: str, value: str) -> bool:
    return await fetch_value(server, f"SHOW {name}") == value


async def test_a_keepalive_left_to_the_system_is_told_as_the_socket_has_it(
    every_server: ThrowawayServer, tmp_path: Path
) -> None:
    """Over TCP the server says what its system does; over a Unix socket nobody can, and it is not made up."""
    over_tcp = finding(await told(tmp_path, every_server), "tcp_keepalives")
    asked = "SELECT array_agg(setting::int ORDER BY name) FROM pg_settings WHERE name ~ '^tcp_keepalives'"
    count, idle, interval = await fetch_value(every_server, asked)  # type: ignore[misc]
    hours, minutes = divmod((idle + count * interval) // 60, 60)
    assert (over_tcp["status"], over_tcp["said"].endswith(f"for {hours}h {minutes:02}m")) == ("warn", True)
    over_socket = finding(await told(tmp_path, every_server, uri=every_server.socket_uri()), "tcp_keepalives")
    assert over_socket["said"].startswith("system default")


async def test_a_role_that_may_not_even_ask_gets_the_grants(cramped: ThrowawayServer, tmp_path: Path) -> None:
    role = await create_role(cramped, "operator", name="ops")
    await execute(
        cramped,
        "REVOKE EXECUTE ON FUNCTION pg_stat_get_activity(integer) FROM public",
        "REVOKE EXECUTE ON FUNCTION pg_terminate_backend(integer, bigint) FROM public",
        "REVOKE EXECUTE ON FUNCTION pg_lock_status() FROM public",
    )
    answer = await told(tmp_path, cramped, uri=role.uri())
    rights = finding(answer, "rights")
    assert (rights["status"], answer["may_reap"]) == ("bad", False)
    assert len(rights["mend"].splitlines()) == 3
    assert finding(answer, "slots")["status"] == "warn"
    await execute(cramped, *rights["mend"].splitlines())
    answer = await told(tmp_path, cramped, uri=role.uri())
    assert (finding(answer, "rights")["status"], answer["may_reap"]) == ("ok", True)


async def test_a_name_that_is_not_text_costs_nothing_but_its_mend(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """A role named in bytes of another encoding, with a setting of its own."""
    server = server_factory({"max_connections": "12"})
    made = "DO $$BEGIN EXECUTE replace('CREATE ROLE \"?\" LOGIN CONNECTION LIMIT 1', '?', %s); END$$"
    altered = "DO $$BEGIN EXECUTE replace('ALTER ROLE \"?\" SET statement_timeout = 5000', '?', %s); END$$"
    odd = "encode('b', 'escape') || convert_from('\\xff'::bytea, 'SQL_ASCII')"
    await execute(server, "CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0")
    await execute(server, made % odd, altered % odd, database="bytes")
    for database in ("bytes", "postgres"):
        answer = await told(tmp_path, server, uri=server.uri(database=database))
        assert "role b\ufffd: statement_timeout=5000" in finding(answer, "own_settings")["said"]
        assert answer["gets_in_at_full"]


async def test_on_a_standby_what_writes_is_for_the_primary(cramped: ThrowawayServer, tmp_path: Path) -> None:
    """A GRANT cannot run there and says so; the server's own settings are changed in place."""
    await execute(cramped, "CREATE ROLE ops LOGIN")
    cramped.stop()
    signal_file = cramped.data_dir / "standby.signal"
    signal_file.touch()
    owner = cramped.data_dir.stat()
    os.chown(signal_file, owner.st_uid, owner.st_gid)
    cramped.start()
    answer = await told(tmp_path, cramped, uri=cramped.uri(user="ops"))
    assert answer["server"]["in_recovery"]
    assert finding(answer, "sight")["mend"].splitlines() == ["-- on the primary", "GRANT pg_monitor TO ops;"]
    system = [
        statement for statement in statements(answer) if statement.startswith(("ALTER SYSTEM", "SELECT"))
    ]
    assert len(system) > 5
    await execute(cramped, *system)


async def test_through_a_pooler_nothing_is_promised(server: ThrowawayServer, tmp_path: Path) -> None:
    with pooler(server) as port:
        uri = f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable"
        answer = await told(tmp_path, server, uri=uri)
    assert (answer["gets_in_at_full"], answer["may_reap"]) == (False, False)
    assert finding(answer, "pooler")["status"] == "bad"


async def test_the_json_is_the_contract(every_server: ThrowawayServer, tmp_path: Path) -> None:
    answer = await told(tmp_path, every_server)
    assert list(answer) == KEYS
    assert answer["schema"] == 1
    assert answer["server"] == {
        "host": "127.0.0.1",
        "port": every_server.port,
        "version_num": answer["server"]["version_num"],
        "in_recovery": False,
        "slots": 97,
    }
    assert answer["server"]["version_num"] // 10_000 == every_server.version
    assert [each["topic"] for each in answer["findings"]] == TOPICS
    for each in answer["findings"]:
        assert list(each) == ["topic", "status", "said", "mend"]
        assert each["status"] in ("ok", "warn", "bad")
        assert each["said"]
    assert (answer["role"], answer["database"]) == ("postgres", "postgres")
    assert answer["gets_in_at_full"]
    assert answer["may_reap"]


async def test_it_leaves_nothing_and_changes_nothing(server: ThrowawayServer, tmp_path: Path) -> None:
    """One session while it looks, none after, and no setting of the server is another."""
    settings = "SELECT string_agg(name || setting, ',' ORDER BY name) FROM pg_settings"
    before = await fetch_value(server, settings)
    await told(tmp_path, server)
    assert await fetch_value(server, settings) == before
    doctors = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgtop doctor%'"

    async def nobody() -> bool:
        return await fetch_value(server, doctors) == 0

    await wait_until(nobody)


@pytest.mark.parametrize("columns", [40, 80, 160])
async def test_text_fits_the_width_and_commands_stay_whole(
    server: ThrowawayServer, tmp_path: Path, columns: int
) -> None:
    """The worst first; a mend stands on lines of its own, whole, however narrow the terminal is."""
    name = "long_" + "x" * 50
    role = await create_role(server, "plain", name=name)
    try:
        answer = await told(tmp_path, server, uri=role.uri())
        with start_on_terminal(tmp_path, "doctor", role.uri(), columns=columns) as (process, terminal):
            text = await asyncio.to_thread(_read_all, terminal)
            assert process.wait(LIMIT_SECONDS) == 5
    finally:
        await execute(server, f"DROP ROLE {name}")
    lines = text.replace("\r\n", "\n").splitlines()
    mends = [line for each in answer["findings"] for line in each["mend"].splitlines()]
    pasted = [line.strip() for line in lines if line.startswith(" " * 8)]
    assert sorted(pasted) == sorted(mends)
    assert max(len(line) for line in lines if not line.startswith(" " * 8)) <= columns
    statuses = [word for line in lines if (word := line.partition(" ")[0]) in ("bad", "warn", "ok")]
    assert statuses == sorted(statuses, key=["bad", "warn", "ok"].index)
    assert len(statuses) == len(TOPICS)
    assert "can connect when full: NO, see login" in " ".join(line.strip() for line in lines)


def _read_all(terminal: int) -> str:
    pieces: list[bytes] = []
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the process has gone
            piece = b""
        if not piece:
            return b"".join(pieces).decode()
        pieces.append(piece)


async def test_without_a_server_it_says_so(tmp_path: Path) -> None:
    done = await asyncio.to_thread(run, tmp_path, "doctor", "-h", str(tmp_path))
    assert_one_line(done, 3, "there is no server socket")
