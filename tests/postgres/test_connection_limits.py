"""The CONNECTION LIMITs of a real server: read for all roles and databases, shown by every command."""

import json
from pathlib import Path

from pgtop.core.activity import ConnectionLimit, LimitOf
from pgtop.core.connection_limits import limit_uses, reached
from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.connection_limits import READ_EVERY_SECONDS, KnownLimits
from pgtop.postgres.snapshot_probe import Probe
from tests.servers import create_role, execute, session, sessions
from tests.support.daemons import FAST, watching
from tests.support.dashboards import dashboard
from tests.support.running import run
from tests.support.targets import connection_on, target_of


async def test_they_are_those_that_refuse_a_login(every_server: ThrowawayServer) -> None:
    """A role's, a database's, none of a superuser's; also for a role that sees no states."""
    bill = await create_role(every_server, connection_limit=2)
    watching = await create_role(every_server, "monitor")
    await execute(
        every_server,
        f"CREATE DATABASE {bill.name} CONNECTION LIMIT 3",
        "ALTER ROLE postgres CONNECTION LIMIT 1",
    )
    there = {"database": bill.name}
    target = target_of(every_server, f"password={watching.password}", user=watching.name)
    try:
        async with (
            connection_on(target) as own,
            sessions(every_server, 2, user=bill.name, password=bill.password, **there),
            session(every_server, **there),
        ):
            uses = limit_uses(await Probe(own).snapshot())
            assert {(use.limit.of, use.limit.name, use.limit.most, use.used) for use in uses} == {
                (LimitOf.ROLE, bill.name, 2, 2),
                (LimitOf.DATABASE, bill.name, 3, 3),
            }
            assert len(reached(uses)) == 2
    finally:
        await execute(
            every_server, "ALTER ROLE postgres CONNECTION LIMIT -1", f"DROP DATABASE {bill.name} (FORCE)"
        )


async def test_a_limit_that_is_raised_meanwhile_is_noticed(server: ThrowawayServer) -> None:
    role = await create_role(server, connection_limit=5)
    async with (
        connection_on(target_of(server)) as own,
        session(server, user=role.name, password=role.password),
    ):
        known = KnownLimits(own)
        before, after = (ConnectionLimit(LimitOf.ROLE, role.name, most) for most in (5, 9))
        assert before in await known.at(100.0)
        await execute(server, f"ALTER ROLE {role.name} CONNECTION LIMIT 9")
        assert before in await known.at(100.0 + READ_EVERY_SECONDS - 1)
        assert after in await known.at(100.0 + READ_EVERY_SECONDS)


async def test_a_reached_limit_is_seen_by_whoever_looks(server: ThrowawayServer, tmp_path: Path) -> None:
    """Head, groups and wall of the dashboard, the table and the JSON of a snapshot."""
    role = await create_role(server, connection_limit=3)
    as_bill = {"user": role.name, "password": role.password, "application_name": "billing"}
    async with sessions(server, 2, **as_bill), dashboard(server, tmp_path / "a") as driven:
        await driven.shows("2/3 limit", "below the 80% line")
        async with session(server, **as_bill):
            await driven.shows("3/3 limit", "LIMIT", f"role {role.name} at its limit of 3")
            await driven.press("w")
            await driven.shows(f"▲ role {role.name} at its limit of 3")
            done = run(tmp_path, "snapshot", server.uri())
            assert f"role {role.name} at its limit of 3: the next login is refused" in done.stdout
            assert "3/3" in done.stdout
            told = json.loads(run(tmp_path, "snapshot", "--json", server.uri()).stdout)
    assert {"kind": "role", "name": role.name, "limit": 3, "used": 3} in told["connection_limits"]


async def test_the_daemon_logs_a_reached_limit(server: ThrowawayServer, tmp_path: Path) -> None:
    role = await create_role(server, connection_limit=2)
    as_bill = {"user": role.name, "password": role.password}
    with watching(tmp_path / "d", server.uri(), *FAST, "--log-format", "json") as daemon:
        await daemon.says("connected")
        async with sessions(server, 2, **as_bill):
            await daemon.says("limit_reached")
    (event,) = [each for each in daemon.events() if each["event"] == "limit_reached"]
    assert (event["kind"], event["name"], event["limit"], event["used"]) == ("role", role.name, 2, 2)
