"""`pgtop reap --watch` where logins are refused and the view shows slots that are free."""

from pathlib import Path

import pytest

from tests.cli.test_reap import stale
from tests.cli.test_watch import watching
from tests.conftest import ServerFactory
from tests.filling import stalled_in_authentication
from tests.servers import create_role, fetch_value


async def test_slots_that_no_view_shows_are_an_emergency(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """Just as many are ended as if those slots were shown, once, until logins are no longer refused."""
    settings = {"max_connections": "23", "superuser_reserved_connections": "3"}
    server = server_factory(settings, version=15, auth="scram-sha-256")
    operator, app = await create_role(server, "operator"), await create_role(server)
    fast = ("--interval", "200ms", "--emergency-idle-after", "1s", "--login-probe", "1s")
    with watching(tmp_path, operator.uri(), *fast) as daemon:
        await daemon.says("active: this daemon reaps")
        async with stale(server, 12, application_name="leak", user=app.name, password=app.password):
            with stalled_in_authentication(server.port, app, 7):
                await daemon.says("WARNING a login was refused: no slot is left")
                await daemon.says("emergency: ended 5 of 5 sessions, usage 65% → 40%")
                await daemon.says("logins are no longer refused")
                query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leak'"
                assert await fetch_value(server, query) == 7
            assert daemon.end() == 0


@pytest.mark.parametrize("version", [14, 15, 17, 18])
async def test_whoever_is_connecting_takes_slots_on_every_version(
    server_factory: ServerFactory, tmp_path: Path, version: int
) -> None:
    """Held by clients stalled in authentication (starting, from 18 on): the idle make room all the same."""
    settings = {"max_connections": "23", "superuser_reserved_connections": "3"}
    server = server_factory(settings, version=version, auth="scram-sha-256")
    role, other = await create_role(server, "operator"), await create_role(server)
    rules = (
        "--login-probe",
        "1s",
        "--idle-after",
        "1h",
        "--emergency-idle-after",
        "1s",
        "--interval",
        "200ms",
    )
    with watching(tmp_path, role.uri(), *rules) as daemon:
        await daemon.says("active")
        async with stale(server, 6, user=other.name, password=other.password) as idle:
            with stalled_in_authentication(server.port, other, 23 - 1 - len(idle)):
                await daemon.says("emergency: ended ")
                ended = [line for line in daemon.audited() if line["event"] == "outcome"]
                assert {line["usename"] for line in ended} == {other.name}
                assert len(ended) >= 5
