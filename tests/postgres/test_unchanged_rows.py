"""A poll that asks for what changed shows the same as one that asks for everything."""

import random
import struct

import pytest
from msgspec.structs import replace

from pgtop.core.activity import ACTIVE, IDLE, Backend, Snapshot
from pgtop.demo.server import ThrowawayServer
from pgtop.postgres import unchanged_rows
from pgtop.postgres.queries.poll import POLL_CHANGES
from pgtop.postgres.snapshot_probe import Probe
from pgtop.postgres.unchanged_rows import WHOLE_EVERY_SECONDS, UnchangedRows
from tests.servers import close, execute, session, sessions, wait_until
from tests.support.targets import connection_on, target_of

NOW = 1_790_000_000_000_000


def backend(pid: int, state_change: int, state: str = IDLE) -> Backend:
    texts = ("web", "app", "shop", None, -1, "Client", "ClientRead")
    return Backend(pid, NOW - 10**9, state_change, None, state_change, state, *texts, False, "SELECT 1")


def array(code: str, values: list[int]) -> bytes:
    return bytes(20) + b"".join(struct.pack(f">i{code}", 4, value) for value in values)


def sent(*at_rest: Backend) -> tuple[bytes, bytes]:
    """What the server would say of these."""
    changes = [each.state_change - 946_684_800_000_000 for each in at_rest if each.state_change is not None]
    return array("i", [each.pid for each in at_rest]), array("q", changes)


def knowing(*backends: Backend) -> UnchangedRows:
    known = UnchangedRows()
    known.know_all(backends, NOW, 0.01, 100.0)
    return known


def test_a_session_that_rests_is_the_very_object_known() -> None:
    one, two = backend(1, NOW - 10**8), backend(2, NOW - 10**8)
    joined = knowing(one, two).joined((), *sent(two, one), NOW + 10**6, 0.01)
    assert joined is not None
    assert joined[0] is two
    assert joined[1] is one


def test_an_unknown_row_makes_all_rows_be_asked_for() -> None:
    one = backend(1, NOW - 10**8)
    known = knowing(one, backend(3, NOW - 10**8, ACTIVE))
    later = replace(one, state_change=NOW - 10**8 + 1)
    assert known.joined((), *sent(later), NOW, 0.01) is None
    assert known.joined((), *sent(one, backend(2, NOW - 10**8)), NOW, 0.01) is None
    assert known.joined((), *sent(backend(3, NOW - 10**8)), NOW, 0.01) is None


def test_all_rows_are_fetched_first_after_a_while_and_when_forgotten() -> None:
    known = UnchangedRows()
    assert known.since(100.0) is None
    known.know_all((), NOW, 0.0, 100.0)
    assert known.since(100.0 + WHOLE_EVERY_SECONDS - 1) == NOW - 10**6
    assert known.since(100.0 + WHOLE_EVERY_SECONDS) is None
    known.forget()
    assert known.since(101.0) is None


def test_all_rows_are_asked_for_while_most_of_them_change() -> None:
    still, busy = backend(1, NOW - 10**8), [backend(pid, NOW, ACTIVE) for pid in range(2, 5)]
    known = knowing(still)
    assert known.joined(tuple(busy), *sent(still), NOW, 0.01) is not None
    asked = [known.since(101.0) is None for _ in range(11)]
    assert asked == [True] * 10 + [False]


async def statements_of(probe: Probe, asked_for: list[str]) -> Snapshot:
    """One poll, with what it asked."""
    asked = probe.own_connection.fetchrow_prepared

    async def noted(query: str, *args: object, limit_seconds: float, limit_bytes: int) -> object:
        asked_for.append(query)
        return await asked(query, *args, limit_seconds=limit_seconds, limit_bytes=limit_bytes)

    probe.own_connection.fetchrow_prepared = noted  # type: ignore[method-assign, assignment]
    try:
        return await probe.snapshot()
    finally:
        probe.own_connection.fetchrow_prepared = asked  # type: ignore[method-assign]


def others(snapshot: Snapshot) -> dict[int, Backend]:
    """All but pgtop's own sessions, which differ from poll to poll."""
    return {each.pid: each for each in snapshot.backends if not each.is_pgtop}


async def test_changes_are_shown_just_as_a_whole_poll_shows_them(
    every_server: ThrowawayServer,
) -> None:
    chance = random.Random(1)  # noqa: S311 - a workload, not a secret
    target = target_of(every_server)
    async with (
        connection_on(target) as own_connection,
        connection_on(target) as other,
        sessions(every_server, 8) as opened,
    ):
        probe, asked = Probe(own_connection), []
        await probe.snapshot()
        for round_number in range(30):
            one = chance.choice(opened)
            await one.execute(chance.choice(["BEGIN", "ROLLBACK", f"SELECT {round_number}", "LISTEN jobs"]))
            await one.execute(f"SET application_name = 'round {round_number}'")
            if round_number == 10:
                await close(opened[-1])
                opened.pop()

            async def same() -> bool:
                seen, whole = await statements_of(probe, asked), await Probe(other).snapshot()
                return others(seen) == others(whole) and seen.counts.total == whole.counts.total

            await wait_until(same)
        assert POLL_CHANGES in asked


async def test_one_poll_is_one_statement(server: ThrowawayServer) -> None:
    async with connection_on(target_of(server)) as own_connection, sessions(server, 10):
        probe = Probe(own_connection)
        await probe.snapshot()
        for _ in range(20):
            asked: list[str] = []
            await statements_of(probe, asked)
            assert len(asked) == 1


async def test_a_renamed_role_shows_with_the_next_whole_poll(
    server: ThrowawayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await execute(server, "CREATE ROLE called_before LOGIN")
    try:
        async with (
            connection_on(target_of(server)) as own_connection,
            session(server, user="called_before") as one,
        ):
            probe = Probe(own_connection)
            await probe.snapshot()
            await execute(server, "ALTER ROLE called_before RENAME TO called_after")
            monkeypatch.setattr(unchanged_rows, "WHOLE_EVERY_SECONDS", 0.0)
            row = others(await probe.snapshot())[one.get_server_pid()]
            assert row.usename == "called_after"
    finally:
        await execute(server, "DROP ROLE IF EXISTS called_before, called_after")


async def test_a_listener_is_known_for_as_long_as_it_rests(server: ThrowawayServer) -> None:
    async with connection_on(target_of(server)) as own_connection, session(server) as one:
        await one.execute("LISTEN jobs")
        probe = Probe(own_connection)
        for _ in range(4):
            seen = await probe.snapshot()
            assert [each.pid for each in seen.listeners] == [one.get_server_pid()]


async def test_a_connection_whose_prepared_statements_are_gone_polls_on(server: ThrowawayServer) -> None:
    """As behind a pooler that could not be told."""
    async with connection_on(target_of(server)) as own_connection, session(server) as one:
        probe = Probe(own_connection)
        await probe.snapshot()
        await probe.snapshot()
        await own_connection.fetch("DEALLOCATE ALL")
        for _ in range(3):
            assert one.get_server_pid() in others(await probe.snapshot())


def test_the_margin_covers_what_is_written_while_the_rows_are_read() -> None:
    known = UnchangedRows()
    known.know_all((), NOW, 2.5, 0.0)
    assert known.since(0.0) == NOW - unchanged_rows.MARGIN_MICROSECONDS - 2_500_000
