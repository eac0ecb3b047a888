"""`pgtop diagnose` against real servers: the sentence, the JSON, and what it says of what it cannot see."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from pgtop.demo.server import ThrowawayServer
from tests.conftest import ServerFactory
from tests.servers import create_role, execute, session, sessions, wait_until
from tests.support.running import assert_one_line, run

SMALL = {"max_connections": "43"}
"""40 slots, so that five sessions are enough for a finding."""


async def test_a_lock_queue_is_named_by_root_and_head(server_factory: ServerFactory, tmp_path: Path) -> None:
    """And the advice is right: the head's end lets all behind it go on, and the root lives."""
    server = server_factory(SMALL)
    await execute(server, "CREATE TABLE orders (id int)")
    async with AsyncExitStack() as stack:
        root = await stack.enter_async_context(session(server, application_name="pg_dump"))
        await root.execute("BEGIN; LOCK TABLE orders IN ACCESS SHARE MODE")
        head = await stack.enter_async_context(session(server))
        crowd = await stack.enter_async_context(sessions(server, 6))
        queued = [asyncio.ensure_future(head.execute("ALTER TABLE orders ADD x int"))]
        await waits(server, 1)
        queued += [asyncio.ensure_future(each.execute("SELECT * FROM orders")) for each in crowd]
        await waits(server, 7)
        done = run(tmp_path, "diagnose", "--json", server.uri())
        assert done.returncode == 0
        hidden = run(tmp_path, "diagnose", "--hide-queries", server.uri())
        assert "lock queue: 6 wait behind pid" in hidden.stdout
        assert "orders" not in hidden.stdout
        report = json.loads(done.stdout)
        (found,) = report["findings"]
        assert (found["kind"], found["grade"], found["slots"]) == ("lock_queue", "is", 7)
        assert f"6 wait behind pid {head.get_server_pid()} (ALTER TABLE orders ADD x int" in found["sentence"]
        holder = f"pid {root.get_server_pid()} (pg_dump, idle in transaction"
        assert f"which waits for {holder}" in found["sentence"]
        assert set(found["pids"]) == {each.get_server_pid() for each in (head, *crowd)}
        await execute(server, found["advice"][0]["sql"])
        results = await asyncio.gather(*queued, return_exceptions=True)
        assert sum(isinstance(each, Exception) for each in results) == 1
        await root.execute("COMMIT")


@pytest.mark.parametrize("mode", ["ACCESS EXCLUSIVE", "ACCESS SHARE"])
async def test_a_head_is_cancelled_only_where_that_helps(
    server_factory: ServerFactory, tmp_path: Path, mode: str
) -> None:
    """Readers that wait for the root as well would go on waiting without the head."""
    server = server_factory(SMALL)
    await execute(server, "CREATE TABLE orders (id int)")
    async with AsyncExitStack() as stack:
        root = await stack.enter_async_context(session(server))
        head = await stack.enter_async_context(session(server))
        crowd = await stack.enter_async_context(sessions(server, 6))
        await root.execute(f"BEGIN; LOCK TABLE orders IN {mode} MODE")
        queued = [asyncio.ensure_future(head.execute("ALTER TABLE orders ADD x int"))]
        await waits(server, 1)
        queued += [asyncio.ensure_future(each.execute("SELECT * FROM orders")) for each in crowd]
        await waits(server, 7)
        (found,) = json.loads(run(tmp_path, "diagnose", "--json", server.uri()).stdout)["findings"]
        pids = {"ACCESS EXCLUSIVE": root, "ACCESS SHARE": head}
        ended = pids[mode].get_server_pid()
        assert f"({ended})" in found["advice"][0]["sql"]
        await execute(server, found["advice"][0]["sql"])
        await asyncio.gather(*queued[1:])


async def test_a_queue_is_counted_for_the_root_it_waits_for(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """An idle session can hold an advisory lock: it is not said to run."""
    server = server_factory(SMALL)
    async with AsyncExitStack() as stack:
        roots = await stack.enter_async_context(sessions(server, 2, application_name="cron"))
        crowd = await stack.enter_async_context(sessions(server, 6))
        for key, root in enumerate(roots):
            await root.execute(f"SELECT pg_advisory_lock({key})")
        queued = [
            asyncio.ensure_future(each.execute(f"SELECT pg_advisory_lock_shared({number // 4})"))
            for number, each in enumerate(crowd)
        ]
        await waits(server, 6)
        (found,) = json.loads(run(tmp_path, "diagnose", "--json", server.uri()).stdout)["findings"]
        holder = f"pid {roots[0].get_server_pid()} (cron, idle for "
        assert f"6 sessions wait for locks, 4 of them behind {holder}" in found["sentence"]
        assert "holds an advisory lock" in found["advice"][0]["text"]
        for root in roots:
            await root.execute("SELECT pg_advisory_unlock_all()")
        await asyncio.gather(*queued)


async def test_a_way_out_names_the_right_that_it_takes(server_factory: ServerFactory, tmp_path: Path) -> None:
    """And with it the way out is open."""
    server = server_factory(SMALL)
    monitor = await create_role(server, "monitor")
    await execute(
        server, "CREATE ROLE app LOGIN", "CREATE TABLE orders (id int)", "ALTER TABLE orders OWNER TO app"
    )
    async with AsyncExitStack() as stack:
        root = await stack.enter_async_context(session(server, user="app"))
        await root.execute("BEGIN; LOCK TABLE orders")
        crowd = await stack.enter_async_context(sessions(server, 6, user="app"))
        queued = [asyncio.ensure_future(each.execute("SELECT * FROM orders")) for each in crowd]
        await waits(server, 6)
        for is_granted in (False, True):
            done = await asyncio.to_thread(run, tmp_path, "diagnose", "--json", monitor.uri())
            (found,) = json.loads(done.stdout)["findings"]
            grants = [each["sql"] for each in found["advice"] if "may not end" in each["text"]]
            assert grants == ([] if is_granted else [f"GRANT pg_signal_backend TO {monitor.name};"])
            await execute(server, *grants)
        async with session(server, user=monitor.name, password=monitor.password) as mine:
            await mine.execute(found["advice"][0]["sql"])
        await asyncio.gather(*queued)


async def waits(server: ThrowawayServer, number: int) -> None:
    """Wait until so many sessions wait for a lock."""
    async with session(server, application_name="looking") as looking:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"

        async def enough() -> bool:
            return bool(await looking.fetchval(asked) >= number)

        await wait_until(enough, 20)


async def test_a_limit_is_told_on_a_calm_server(server: ThrowawayServer, tmp_path: Path) -> None:
    role = await create_role(server, connection_limit=2)
    async with sessions(server, 2, user=role.name, password=role.password, application_name="bill"):
        done = run(tmp_path, "diagnose", server.uri())
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    assert f"▲ role {role.name} has 2 of its own 2: its next login is refused, although" in text
    assert "→ See who holds them first" in text


async def test_a_calm_server_gets_a_plain_word(server_factory: ServerFactory, tmp_path: Path) -> None:
    server = server_factory(SMALL)
    done = run(tmp_path, "diagnose", "--for", "1s", server.uri())
    assert done.returncode == 0
    assert "nothing fills this server: it is below the 80% line" in done.stdout
    told = json.loads(run(tmp_path, "diagnose", "--json", server.uri()).stdout)
    assert (told["findings"], told["schema"]) == ([], 1)
    assert_one_line(run(tmp_path, "diagnose", "--for", "soon", server.uri()), 2, "--for", "not a duration")
    for factor in ("0", "1001"):
        done = run(tmp_path, "diagnose", "--time-factor", factor, server.uri())
        assert_one_line(done, 2, f"--time-factor {factor}", "not between 1 and 1000")


async def test_time_runs_faster_by_the_factor(server_factory: ServerFactory, tmp_path: Path) -> None:
    """For the demo: nobody waits there until tools have been idle for half an hour."""
    server = server_factory(SMALL)
    async with sessions(server, 34, application_name="DBeaver") as opened:
        for each in opened:
            await each.execute("SELECT 1")
        rested = "SELECT now() - max(state_change) > '1.8 s' FROM pg_stat_activity WHERE state = 'idle'"
        async with session(server) as looking:
            await wait_until(lambda: looking.fetchval(rested))
        calm = json.loads(run(tmp_path, "diagnose", "--json", server.uri()).stdout)
        fast = run(tmp_path, "diagnose", "--json", "--time-factor", "1000", server.uri()).stdout
    assert "tools" not in {each["kind"] for each in calm["findings"]}
    assert json.loads(fast)["findings"][0]["kind"] == "tools"


async def test_hidden_states_are_said_and_no_cause_is_guessed(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    server = server_factory(SMALL)
    role = await create_role(server)
    async with sessions(server, 34):
        done = run(tmp_path, "diagnose", server.uri(user=role.name, password=role.password))
    assert done.returncode == 5
    assert "hidden from this role" in done.stdout
    assert f"GRANT pg_monitor TO {role.name};" in done.stdout
    assert "the cause cannot be told" in done.stdout
