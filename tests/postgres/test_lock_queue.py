"""The lock queue on servers of every version: rows, tables, advisory keys, other databases, odd text."""

import asyncio
from contextlib import AsyncExitStack

from pgtop.core.lock_tree import LockNode, LockQueue, lock_tree
from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.lock_queue import lock_queue
from pgtop.postgres.session.own_connection import OwnConnection
from tests.servers import create_role, execute, session, sessions, wait_until
from tests.support.reaping import as_role
from tests.support.targets import connection_on, target_of


async def waiting(own_connection: OwnConnection, number: int) -> LockQueue:
    """The lock queue, once that many sessions wait."""

    async def enough() -> LockQueue | None:
        found = await lock_queue(own_connection)
        return found if found.waiting == number else None

    queue: LockQueue = await wait_until(enough)
    return queue


def told(nodes: tuple[LockNode, ...]) -> list[tuple[int, int, str, str]]:
    """The depth, the pid, the mode and the object of each node."""
    sessions = [(each.depth, each.queued) for each in nodes]
    return [(depth, one.backend.pid, one.mode, one.target) for depth, one in sessions if one is not None]


async def test_rows_tables_and_keys_are_told_on_every_version(every_server: ThrowawayServer) -> None:
    async with AsyncExitStack() as stack:
        own_connection = await stack.enter_async_context(connection_on(target_of(every_server)))
        (root, head, reader, key_holder, key_waiter) = await stack.enter_async_context(
            sessions(every_server, 5)
        )
        await execute(every_server, "CREATE TABLE queued (i int)", "INSERT INTO queued VALUES (1)")
        await root.execute("BEGIN; UPDATE queued SET i = 2")
        await key_holder.execute("SELECT pg_advisory_lock(7, 8)")
        stuck = [
            asyncio.ensure_future(head.execute("UPDATE queued SET i = 3")),
            asyncio.ensure_future(key_waiter.execute("SELECT pg_advisory_lock(7, 8)")),
        ]
        await waiting(own_connection, 2)
        stuck.append(asyncio.ensure_future(reader.execute("UPDATE queued SET i = 4 WHERE i = 1")))
        queue = await waiting(own_connection, 3)
        pid = {each: each.get_server_pid() for each in (root, head, reader, key_holder, key_waiter)}
        nodes = lock_tree(queue)
        words = told(nodes)
        assert words[0][:3] == (0, pid[root], "ExclusiveLock")
        assert words[0][3].startswith("transaction ")
        assert words[1] == (1, pid[head], "ShareLock", words[0][3])
        assert words[2] == (2, pid[reader], "ExclusiveLock", "public.queued, tuple (0,1)")
        assert words[3:] == [
            (0, pid[key_holder], "ExclusiveLock", "advisory lock 7/8"),
            (1, pid[key_waiter], "ExclusiveLock", "advisory lock 7/8"),
        ]
        assert all(each.queued.wait_start for each in nodes if each.queued is not None and each.queued.waits)
        await root.execute("ROLLBACK")
        await key_holder.execute("SELECT pg_advisory_unlock_all()")
        await asyncio.gather(*stuck)
        assert (await lock_queue(own_connection)).sessions == ()
        await execute(every_server, "DROP TABLE queued")


async def test_a_role_without_rights_sees_the_tree_without_details(server: ThrowawayServer) -> None:
    """Neither the states of other roles' sessions nor the names of another database's relations."""
    role = await create_role(server)
    await execute(server, "CREATE DATABASE of_locks")
    async with AsyncExitStack() as stack:
        own_connection = await stack.enter_async_context(connection_on(as_role(role)))
        opened = await stack.enter_async_context(sessions(server, 2, database="of_locks"))
        await opened[0].execute("BEGIN; CREATE TABLE there (i int); COMMIT; BEGIN; LOCK TABLE there")
        stuck = asyncio.ensure_future(opened[1].execute("SELECT * FROM there"))
        root, leaf = lock_tree(await waiting(own_connection, 1))
        for node, connection in ((root, opened[0]), (leaf, opened[1])):
            assert node.queued is not None
            assert node.queued.backend.pid == connection.get_server_pid()
            assert node.queued.backend.is_hidden
            assert node.queued.is_client
            assert node.queued.target.startswith("relation ")
            assert node.queued.target.endswith(" in db of_locks")
        await opened[0].execute("ROLLBACK")
        await stuck
    await execute(server, "DROP DATABASE of_locks WITH (FORCE)")


async def test_hidden_queries_are_not_asked_for(server: ThrowawayServer) -> None:
    async with (
        connection_on(target_of(server)) as own_connection,
        session(server) as root,
        session(server, application_name="\x1b[2J[red]x") as leaf,
    ):
        await root.execute("SELECT pg_advisory_lock(11)")
        stuck = asyncio.ensure_future(leaf.execute("SELECT pg_advisory_lock(11) /* secret */"))
        queries = [each.backend.query for each in (await waiting(own_connection, 1)).sessions]
        assert any("secret" in (each or "") for each in queries)
        own_connection.hides_queries = True
        assert {each.backend.query for each in (await lock_queue(own_connection)).sessions} == {None}
        await root.execute("SELECT pg_advisory_unlock(11)")
        await stuck
