"""Faults on the way to the server, for real: silence, loss, refusal, another server, a lost name."""

import asyncio
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pgtop.demo.server import ThrowawayServer
from pgtop.postgres import snapshot_probe as probe
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.tui.screens.detail import DetailScreen
from tests.conftest import ServerFactory
from tests.servers import fetch_value, session, wait_until
from tests.support.clusters import make_standby
from tests.support.dashboards import Driven
from tests.support.outages import OWN_SESSIONS, dashboard_on, is_back, is_live, is_out, unfolded
from tests.support.relay import Relay, relay
from tests.support.targets import target_of

replace = msgspec.structs.replace


async def test_a_stall_shorter_than_a_polls_limit_costs_no_connection(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with relay(server) as way, dashboard_on(way.target(), tmp_path) as driven:
        await is_live(driven)
        own_connection = driven.own_connection
        pid = own_connection.own_pid
        way.stall()
        await is_late(driven)
        await way.listen()
        await is_back(driven, server)
        assert own_connection.own_pid == pid


async def is_late(driven: Driven) -> None:
    """Waits until it says that no answer comes, before anybody can say that none will."""
    await driven.shows("does not answer · reconnecting", "no answer, ", " old")
    assert "● live" not in driven.text
    assert driven.backends.has_class("-greyed")
    assert driven.dashboard.panels.graph.greyed
    before = driven.backends.sort_column
    await driven.press("s")
    assert driven.backends.sort_column is not before


@pytest.mark.parametrize("way_of", ["stall", "swallow", "black_hole"])
async def test_a_silent_network_is_given_up_and_found_again(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way_of: str
) -> None:
    """Held data, lost data, and a host that does not even refuse.

    The last one for longer than the kernel takes to lose patience with its own attempts.
    """
    monkeypatch.setattr(probe, "POLL_LIMIT_SECONDS", 1.0)
    async with relay(server) as way:
        target = replace(way.target(), connect_timeout_seconds=60.0 if way_of == "black_hole" else 2.0)
        async with dashboard_on(target, tmp_path) as driven:
            await is_live(driven)
            getattr(way, way_of)()
            await is_out(driven, "did not answer within 1 s", "retrying")
            if way_of == "black_hole":
                await asyncio.sleep(4.0)
            else:
                await is_out(driven, "does not answer in time", "retrying")
            await way.listen()
            await is_back(driven, server)


async def test_a_connection_that_breaks_and_a_port_where_nobody_listens(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with relay(server) as way, dashboard_on(way.target(), tmp_path) as driven:
        await is_live(driven)
        way.refuse()
        await is_out(driven, f"no server listens at 127.0.0.1:{way.port} (connection refused)", "retrying")
        await way.listen()
        await is_back(driven, server)


async def test_a_name_that_is_not_known_for_a_while(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resolver forgets the name of a server that is restarted meanwhile, and learns it again."""
    known = True
    real = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        if host not in ("db.example", b"db.example"):
            return real(host, *arguments, **options)
        if not known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with relay(server) as way:
        target = replace(way.target(), hosts=("db.example",))
        async with dashboard_on(target, tmp_path) as driven:
            await is_live(driven)
            known = False
            shown = driven.dashboard.state.snapshot
            await wait_until(lambda: driven.dashboard.state.snapshot is not shown)
            await is_live(driven)
            way.switch(server)
            await is_out(driven, 'host name "db.example" is not known', "retrying")
            known = True
            await is_back(driven, server)


async def test_no_second_connection_is_left_behind_by_many_outages(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    async with relay(server) as way, dashboard_on(way.target(), tmp_path) as driven:
        for _ in range(5):
            await is_live(driven)
            await breaks(way, server, driven)
            await is_back(driven, server)
        tasks = len(asyncio.all_tasks())
        await breaks(way, server, driven)
        await is_back(driven, server)
        await wait_until(lambda: len(asyncio.all_tasks()) <= tasks + 2)


async def breaks(way: Relay, server: ThrowawayServer, driven: Driven) -> None:
    """Break the connection, and wait until that was noticed: the next one may be there in milliseconds."""
    await wait_until(lambda: driven.own_connection.is_held, 15, "no connection to break")
    before = driven.own_connection.interruptions
    way.switch(server)
    await wait_until(lambda: driven.own_connection.interruptions > before)


# Another server at the address


async def test_a_failover_to_another_cluster_drops_all_of_the_old_one(
    server: ThrowawayServer, server_factory: ServerFactory, tmp_path: Path
) -> None:
    """It says so; tags, the open detail, and the past are those of the old one, and gone."""
    other = server_factory()
    async with (
        session(server, application_name="old") as old,
        session(other, application_name="new") as new,
        relay(server) as way,
        dashboard_on(way.target(), tmp_path) as driven,
    ):
        await driven.select(old.get_server_pid())
        await driven.press("space")
        await driven.shows("K terminate 1 tagged")
        await driven.select(old.get_server_pid())
        await driven.press("enter")
        await wait_until(lambda: isinstance(driven.app.screen, DetailScreen))
        past = driven.dashboard.state.history
        way.switch(other)
        await driven.shows("ANOTHER DATABASE CLUSTER answers at", "the graph shows its own history")
        await is_back(driven, other)
        await wait_until(lambda: driven.app.screen is driven.dashboard)
        await wait_until(lambda: new.get_server_pid() in driven.listed)
        assert not driven.backends.tagged
        assert driven.dashboard.state.history is not past
        assert await fetch_value(server, OWN_SESSIONS) == 0


async def test_tags_go_with_their_server_also_from_a_picture_that_is_paused(
    server: ThrowawayServer, server_factory: ServerFactory, tmp_path: Path
) -> None:
    other = server_factory()
    async with (
        session(server, application_name="old") as old,
        relay(server) as way,
        dashboard_on(way.target(), tmp_path) as driven,
    ):
        await driven.select(old.get_server_pid())
        await driven.press("space", "p")
        await driven.shows("K terminate 1 tagged", "‖ paused")
        way.switch(other)
        await driven.shows("ANOTHER DATABASE CLUSTER answers at")
        assert old.get_server_pid() in driven.listed
        assert not driven.backends.tagged


async def test_a_failover_within_a_cluster_is_told_from_a_restart(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """A copy that began before the old server was last seen cannot be the old one, begun again."""
    first = server_factory()
    second = await asyncio.to_thread(copy_of, first, server_factory)
    async with relay(first) as way, dashboard_on(way.target(), tmp_path) as driven:
        await is_live(driven)
        past = driven.dashboard.state.history
        way.switch(second)
        await wait_until(lambda: "ANOTHER SERVER answers at" in unfolded(driven), 30)
        await is_back(driven, second)
        assert driven.dashboard.state.history is past


def copy_of(first: ThrowawayServer, server_factory: ServerFactory) -> ThrowawayServer:
    """A server of the same cluster, as a standby that was promoted is: its files, copied while it stands."""
    second = server_factory()
    second.stop()
    first.stop()
    owner = second.data_dir.stat()
    shutil.rmtree(second.data_dir)
    shutil.copytree(first.data_dir, second.data_dir, symlinks=True)
    for folder, names, files in os.walk(second.data_dir):
        for name in (*names, *files, "."):
            os.chown(Path(folder, name), owner.st_uid, owner.st_gid)
    second.data_dir.chmod(0o700)
    second.start()
    first.start()
    return second


async def test_a_promotion_is_said(server_factory: ServerFactory, tmp_path: Path) -> None:
    """The same server, a primary from now on."""
    server = server_factory()
    await asyncio.to_thread(make_standby, server)
    async with dashboard_on(target_of(server), tmp_path) as driven:
        await driven.shows("standby", "● live")
        async with session(server) as admin:
            await admin.execute("SELECT pg_promote(false)")
        await driven.shows("was promoted: it is a primary now", "  primary")
        await is_back(driven, server)


async def test_a_host_that_was_silent_is_reached_before_it_is_logged_in_to(server: ThrowawayServer) -> None:
    """And one that answers is not: each of its logins is one connection."""
    async with relay(server) as way:
        own_connection = OwnConnection(way.target(), "test")
        try:
            await own_connection.take()
            per_login = way.connections
            own_connection.drop()
            await own_connection.take()
            assert way.connections == 2 * per_login + 1
            await own_connection.release()
            await own_connection.take()
            assert way.connections == 3 * per_login + 1
        finally:
            await own_connection.release()
