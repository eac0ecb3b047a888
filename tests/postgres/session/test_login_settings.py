"""Settings that pgtop's session has, and its login has not: the login finds what psql's finds."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from pgtop.demo.server import SUPERUSER, ThrowawayServer
from pgtop.exit_codes import ExitCode
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.session.login_probe import LoginProbe, probe_login
from pgtop.postgres.session.session_settings import SETTINGS
from tests.conftest import ServerFactory
from tests.servers import available, execute, fetch_value, session
from tests.support.running import run
from tests.support.targets import connection_on, target_of

OLDEST_WITH_LOGIN_TRIGGERS = 17
TRIGGERED = "triggered"

DOCUMENTED = """
CREATE FUNCTION init_session() RETURNS event_trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
DECLARE
  hour integer = EXTRACT('hour' FROM current_time at time zone 'utc');
  rec boolean;
BEGIN
  SELECT pg_is_in_recovery() INTO rec;
  IF rec THEN
    RETURN;
  END IF;
  IF hour BETWEEN 8 AND 20 THEN
    EXECUTE 'REVOKE night_worker FROM ' || quote_ident(session_user);
    EXECUTE 'GRANT day_worker TO ' || quote_ident(session_user);
  ELSE
    EXECUTE 'REVOKE day_worker FROM ' || quote_ident(session_user);
    EXECUTE 'GRANT night_worker TO ' || quote_ident(session_user);
  END IF;
  CREATE TEMP TABLE session_storage (x float, y integer);
  ALTER TABLE session_storage OWNER TO session_user;
  INSERT INTO user_login_log VALUES (session_user, current_timestamp);
END;
$$
"""
"""The example of PostgreSQL's manual, without its check of the time of day. Source: PostgreSQL
documentation, Event Triggers, A Database Login Event Trigger Example."""

SEEN = """
CREATE FUNCTION init_session() RETURNS event_trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.seen SELECT current_setting('application_name'), s.name, s.setting
  FROM pg_catalog.pg_settings s WHERE s.context = 'user';
END;
$$
"""
"""Keeps each setting of a login."""

DECIDING = """
CREATE FUNCTION init_session() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config(name, setting, false) FROM (VALUES
    ('search_path', 'public'), ('statement_timeout', '1h'), ('lock_timeout', '1h'), ('jit', 'on'),
    ('default_transaction_isolation', 'serializable'), ('default_transaction_deferrable', 'on'),
    ('default_transaction_read_only', 'off'), ('transaction_timeout', '1h'), ('idle_session_timeout', '1h'),
    ('idle_in_transaction_session_timeout', '1h'), ('exit_on_error', 'on'), ('client_min_messages', 'log')
  ) s(name, setting);
END;
$$
"""
"""Sets for the session what pgtop sets, too."""

PINNED = frozenset(
    {
        *("statement_timeout", "lock_timeout", "transaction_timeout"),
        *("idle_in_transaction_session_timeout", "idle_session_timeout"),
        *("client_connection_check_interval", "client_min_messages", "local_preload_libraries"),
        "exit_on_error",
    }
)
"""The settings of a login that are not left to the database: without them the first statement may fail."""


@pytest.fixture(
    params=[each for each in available() if each >= OLDEST_WITH_LOGIN_TRIGGERS] or [0], ids="pg{}".format
)
def own_server(request: pytest.FixtureRequest, server_factory: ServerFactory) -> ThrowawayServer:
    """A server of its own, of each version that has login triggers."""
    return server_factory(version=request.param)


async def triggered(server: ThrowawayServer, function: str) -> Target:
    """A database with a login trigger, and a plain role's target on it."""
    await execute(
        server,
        f"CREATE DATABASE {TRIGGERED}",
        "CREATE ROLE day_worker",
        "CREATE ROLE night_worker",
        "CREATE ROLE watcher LOGIN",
        "GRANT pg_monitor, pg_signal_backend, pg_use_reserved_connections TO watcher",
    )
    await execute(
        server,
        'CREATE TABLE user_login_log ("user" text, session_start timestamptz)',
        "CREATE TABLE seen (who text, name text, setting text)",
        function,
        "CREATE EVENT TRIGGER init_session ON login EXECUTE FUNCTION init_session()",
        "ALTER EVENT TRIGGER init_session ENABLE ALWAYS",
        database=TRIGGERED,
    )
    return msgspec.structs.replace(target_of(server, user="watcher"), database=TRIGGERED)


def psql(server: ThrowawayServer, statement: str, database: str, user: str = SUPERUSER) -> str:
    """What psql of the same version prints, or nothing where it does not get in."""
    program = server.bin_dir / "psql"
    if not program.exists():
        pytest.skip("no psql beside this server")
    uri = server.uri(user=user, database=database)
    words = [str(program), "-XAtq", "-c", statement, uri]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=30).stdout.strip()


@pytest.mark.parametrize("face", ["snapshot", "doctor", "reap --dry-run"])
async def test_the_manuals_login_trigger_lets_every_face_in(
    own_server: ThrowawayServer, tmp_path: Path, face: str
) -> None:
    """It writes, and names its table without a schema."""
    await triggered(own_server, DOCUMENTED)
    assert psql(own_server, "SELECT 1", TRIGGERED, "watcher") == "1"
    name, *rest = face.split()
    done = run(tmp_path, name, own_server.uri(user="watcher", database=TRIGGERED), *rest)
    assert done.returncode in (ExitCode.DONE, ExitCode.NOT_PERMITTED), done.stderr
    assert done.stderr == ""


async def test_a_login_trigger_sees_the_settings_of_the_database(own_server: ThrowawayServer) -> None:
    """All of them, those apart which could end the login before it is one."""
    target = await triggered(own_server, SEEN)
    async with connection_on(target) as own_connection:
        name = own_connection.application_name
        assert await probe_login(own_connection) == LoginProbe(None)
    async with session(own_server, application_name="plain", user="watcher", database=TRIGGERED):
        pass
    async with session(own_server, database=TRIGGERED) as admin:
        rows = await admin.fetch(
            "SELECT name, setting FROM seen WHERE who = $1 "
            "EXCEPT SELECT name, setting FROM seen WHERE who = 'plain'",
            name,
        )
        assert await admin.fetchval("SELECT count(*) > 100 FROM seen WHERE who = $1", name)
    assert {row["name"] for row in rows} <= PINNED | {"application_name"}


async def test_a_login_trigger_decides_none_of_pgtops_settings(own_server: ThrowawayServer) -> None:
    target = await triggered(own_server, DECIDING)
    async with connection_on(target) as own_connection:
        assert not own_connection.pooled
        rows = await own_connection.fetch(
            "SELECT name, pg_catalog.current_setting(name) AS value FROM pg_catalog.pg_settings"
        )
        values = {row["name"]: row["value"] for row in rows}
    wanted = {**SETTINGS, "transaction_timeout": "0"}
    assert {name: values[name] for name in wanted} == wanted


@pytest.mark.parametrize("is_standby", [True, False], ids=["standby", "primary"])
async def test_serializable_and_deferrable_by_default_bar_no_login(
    server_factory: ServerFactory, tmp_path: Path, is_standby: bool
) -> None:
    """A standby refuses the one, and the other waits for whoever writes."""
    server = server_factory()
    await execute(
        server,
        "CREATE TABLE t (x int)",
        "CREATE DATABASE odd",
        "ALTER DATABASE odd SET default_transaction_isolation = serializable",
        "ALTER DATABASE odd SET default_transaction_deferrable = on",
        "ALTER DATABASE odd SET default_transaction_read_only = on",
    )
    if is_standby:
        await to_standby(server)
        assert psql(server, "SELECT 1", "odd") == ""  # the default is what it refuses
    else:
        assert await fetch_value(server, "SELECT 1") == 1
    async with session(server) as writer:
        if not is_standby:
            await writer.execute("BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO t VALUES (1)")
        for face in ("snapshot", "doctor"):
            done = run(tmp_path, face, server.uri(database="odd"))
            assert (done.returncode, done.stderr) == (ExitCode.DONE, "")


async def to_standby(server: ThrowawayServer) -> None:
    """Make a server a hot standby without a primary."""
    signal_file = server.data_dir / "standby.signal"
    server.stop()
    signal_file.touch()
    owner = server.data_dir.stat()
    with suppress(PermissionError):
        os.chown(signal_file, owner.st_uid, owner.st_gid)
    server.start()


async def test_a_trigger_bars_no_login_to_a_standby(own_server: ThrowawayServer) -> None:
    """It makes the session's transactions serializable, which psql bears until its first statement."""
    target = await triggered(own_server, DECIDING)
    await to_standby(own_server)
    async with connection_on(target) as own_connection:
        assert (await own_connection.fetchrow("SELECT pg_is_in_recovery() AS is")) is not None
