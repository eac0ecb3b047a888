"""Protections and filters by name, on the names that each version shows for what a client gave."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec
import pytest

from pgtop.core.activity import Snapshot
from pgtop.core.filter_sort import parse_filter
from pgtop.core.name_patterns import LONGEST_NAME_BYTES
from pgtop.core.plan import Outcome, ReapPolicy, SparedFor
from pgtop.core.policy import plan_sweep
from pgtop.core.session_patterns import Patterns
from pgtop.demo.server import ThrowawayServer
from tests.servers import execute, session, sessions
from tests.support.reaping import Face, face_on, found, outcomes
from tests.support.targets import target_of

NAMES = {
    "an accent": "café-billing",
    "Japanese": "経理バッチ",
    "an emoji": "worker 🐘 7",
    "77 characters": "billing-" + "x" * 69,
    "cut in an accent": "a" * 62 + "é and more",
    "cut in Japanese": "a" * 61 + "経理",
    "all accents": "é" * 40,
    "brackets": "sidekiq 7.2.4 shop [0 of 5 busy]",
    "a bracket at the end": "puma: cluster worker 0: 12 [shop]",
    "an open bracket": "web [",
    "a class that is empty": "web [z-a]",
    "a backslash": r"C:\bin\app",
    "wildcards": "what? *why*",
    "blanks around": " web ",
}
"""What clients give as application_name."""


@asynccontextmanager
async def called(server: ThrowawayServer, name: str, *, at_login: bool) -> AsyncIterator[asyncpg.Connection]:
    """An idle session that gives itself a name: in its startup packet, or by SET."""
    if at_login:
        async with session(server, application_name=name) as one:
            await one.fetchval("SELECT 1")
            yield one
    else:
        async with session(server) as one:
            await one.execute("SELECT pg_catalog.set_config('application_name', $$" + name + "$$, false)")
            yield one


def fate(snapshot: Snapshot, one: asyncpg.Connection, **patterns: Patterns) -> str | SparedFor:
    """`end` where a sweep would end a session, `stay` where it is not meant, or why it is skipped."""
    plan = plan_sweep(snapshot, ReapPolicy(idle_after_seconds=0.0, **patterns))
    pid = one.get_server_pid()
    if pid in {victim.backend.pid for victim in plan.victims}:
        return "end"
    return next((each.spared_for for each in plan.spared if each.backend.pid == pid), "stay")


@pytest.mark.parametrize("at_login", [True, False], ids=["at login", "by SET"])
async def test_the_dashboards_filter_finds_a_name_as_given(
    every_server: ThrowawayServer, tmp_path: Path, at_login: bool
) -> None:
    """In its field, in any field and in capitals, as `--application` does; and not another name."""

    def lists(text: str) -> bool:
        return parse_filter(text).matches(backend, 0)

    async with face_on(every_server, tmp_path / "a") as face:
        for name in NAMES.values():
            async with called(every_server, name, at_login=at_login) as one:
                backend = found(await face.snapshot(), one)
            part = name.strip()[1:] if len(name.encode()) <= LONGEST_NAME_BYTES else name
            for typed in (name, name.upper(), part):
                assert lists(f'app:"{typed}"'), (name, typed, backend.application_name)
                assert lists(f'"{typed}"'), (name, typed)
                assert not lists(f'-app:"{typed}"'), (name, typed)
            assert not lists(f'app:"y{name}"'), name
            assert not lists(f'user:"{name}"'), name


async def test_the_filter_finds_a_long_user_and_database(
    every_server: ThrowawayServer, tmp_path: Path
) -> None:
    """By the name that was given to CREATE, of which the server kept 63 bytes."""
    name = "é" * 31 + f"{os.urandom(4).hex()}"
    await execute(every_server, f'CREATE ROLE "{name}" LOGIN', f'CREATE DATABASE "{name}"')
    try:
        kept = name.encode()[:63].decode("utf-8", "ignore")
        async with (
            session(every_server, user=kept, database=kept) as one,
            face_on(every_server, tmp_path / "a") as face,
        ):
            backend = found(await face.snapshot(), one)
            for field in ("user", "db"):
                assert parse_filter(f"{field}:{name}").matches(backend, 0)
                assert not parse_filter(f"{field}:y{name}").matches(backend, 0)
    finally:
        await execute(every_server, f'DROP DATABASE "{kept}" (FORCE)', f'DROP ROLE "{kept}"')


@pytest.mark.parametrize("at_login", [True, False], ids=["at login", "by SET"])
async def test_a_name_as_given_protects_and_selects_on_every_version(
    every_server: ThrowawayServer, tmp_path: Path, at_login: bool
) -> None:
    """As it stands; in other letters of the same; with a star for its end; and not by another name."""
    async with face_on(every_server, tmp_path / "a") as face:
        for name in NAMES.values():
            async with called(every_server, name, at_login=at_login) as one:
                seen = await face.snapshot()
                for pattern in (name, name.upper(), name[: max(3, len(name) // 2)] + "*"):
                    protected = Patterns(applications=(pattern,))
                    assert fate(seen, one, protected=protected) is SparedFor.NAMED, (name, pattern)
                assert fate(seen, one, only=Patterns(applications=(name,))) == "end", name
                other = Patterns(applications=("x" + name,))
                assert fate(seen, one, protected=other) == "end", name
                assert fate(seen, one, only=other) == "stay", name


async def test_a_protected_name_is_skipped_by_a_real_sweep(
    every_server: ThrowawayServer, tmp_path: Path
) -> None:
    name = NAMES["an accent"]
    async with (
        sessions(every_server, 1, application_name=name) as (precious,),
        session(every_server, application_name="café-shop") as other,
        face_on(every_server, tmp_path / "a") as face,
    ):
        for each in (precious, other):
            await each.fetchval("SELECT 1")
        meant = Patterns(applications=("café*",))
        policy = ReapPolicy(idle_after_seconds=0.0, only=meant, protected=Patterns(applications=(name,)))
        plan = await face.reaper.plan_sweep(await face.snapshot(), policy)
        assert outcomes(await face.run(plan)) == [Outcome.TERMINATED]
        assert await precious.fetchval("SELECT 1") == 1
        assert other.is_closed() or await is_gone(other)


async def is_gone(connection: asyncpg.Connection) -> bool:
    try:
        await asyncio.wait_for(connection.fetchval("SELECT 1"), 10)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return True
    return False


@pytest.mark.parametrize(
    ("created_in", "read_in"),
    [("UTF8", "LATIN1"), ("LATIN1", "UTF8"), ("UTF8", "KOI8R"), ("KOI8R", "LATIN1"), ("KOI8R", "WIN1251")],
)
async def test_a_name_created_in_another_encoding_is_protected(
    server: ThrowawayServer, tmp_path: Path, created_in: str, read_in: str
) -> None:
    """A database's and a role's, while pgtop is connected to a database of yet another encoding."""
    name = "Договор" if created_in == "KOI8R" else "Ünïcødé"
    suffix = os.urandom(3).hex()
    database, role = f"{name}_{suffix}", f"{name.lower()}_{suffix}"
    async with in_encoding(server, created_in) as maker, in_encoding(server, read_in) as reader:
        await execute(server, f'CREATE DATABASE "{database}"', database=maker)
        await execute(server, f'CREATE ROLE "{role}" LOGIN', database=maker)
        async with session(server, database=maker) as there:
            oids = [
                await there.fetchval("SELECT oid FROM pg_database WHERE datname = $1", database),
                await there.fetchval("SELECT oid FROM pg_roles WHERE rolname = $1", role),
            ]
        assert all(oids)
        target = msgspec.structs.replace(target_of(server), database=reader)
        try:
            async with (
                session(server) as one,
                face_on(server, tmp_path / "a", target=target) as face,
            ):
                await one.fetchval("SELECT 1")
                seen = await shown_names(face, oids)
                snapshot = await face.snapshot()
                row = found(snapshot, one)
                for patterns, changed in (
                    (Patterns(databases=(f"{name}*",)), {"datname": seen[0]}),
                    (Patterns(users=(role,)), {"usename": seen[1]}),
                ):
                    backend = msgspec.structs.replace(row, **changed)
                    assert patterns.protecting(backend) is not None or backend.is_not_text, seen
        finally:
            await execute(server, f'DROP DATABASE "{database}"', f'DROP ROLE "{role}"', database=maker)


async def shown_names(face: Face, oids: list[int]) -> list[str]:
    """The names of a database and a role as pgtop's own session reads them."""
    row = await face.own_connection.fetchrow(
        "SELECT textsend(d.datname::text) AS datname, textsend(r.rolname::text) AS rolname"
        f" FROM pg_database d, pg_roles r WHERE d.oid = {oids[0]} AND r.oid = {oids[1]}"
    )
    assert row is not None
    return [bytes(value).decode("utf-8", "replace") for value in row.values()]


@asynccontextmanager
async def in_encoding(server: ThrowawayServer, encoding: str) -> AsyncIterator[str]:
    """A database of an encoding."""
    name = f"enc_{os.urandom(4).hex()}"
    await execute(
        server,
        f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    try:
        yield name
    finally:
        await execute(server, f"DROP DATABASE {name} WITH (FORCE)")
