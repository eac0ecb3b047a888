"""`pgtop reap` and the diagnosis: it says what fills the server, and can be bound to one cause."""

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from pgtop.commands.reap.run import reap as reap_once
from pgtop.core.diagnosis.findings import Kind
from pgtop.demo.server import ThrowawayServer
from pgtop.reaping.report_json import Answer
from pgtop.settings.defaults_and_bounds import Config
from tests.conftest import ServerFactory
from tests.servers import session, sessions, wait_until
from tests.support.audit_logs import audited
from tests.support.leaking import QUICK, leaked
from tests.support.reap_command import STALE, alive, answer, reap, stale
from tests.support.running import assert_one_line, run
from tests.support.targets import target_of

FORTY_SLOTS = {"max_connections": "43"}
RESTS_SECONDS = 5.2
"""Longer than a transaction may wait for its client before it counts."""


async def in_transaction(
    stack: AsyncExitStack, server: ThrowawayServer, number: int
) -> list[asyncpg.Connection]:
    """Sessions of `api` that have waited for their client in the middle of a transaction."""
    opened = await stack.enter_async_context(sessions(server, number, application_name="api"))
    for each in opened:
        await each.execute("BEGIN; SELECT 1")
    clock = await stack.enter_async_context(session(server, application_name="clock"))
    enough = f"""SELECT count(*) = {number} FROM pg_stat_activity WHERE application_name = 'api'
                 AND clock_timestamp() - state_change > '{RESTS_SECONDS}s'"""
    await wait_until(lambda: clock.fetchval(enough), 30)
    return opened


async def test_a_sweep_says_why_and_ends_one_cause_only(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """Stale sessions that no finding of that kind explains stay, whatever the usage is after it."""
    server = server_factory(FORTY_SLOTS)
    config = Config(audit_log=tmp_path / "a", idle_after_seconds=1, findings=(Kind.LEAK,), warn_at=0.7)

    async def once(dry_run: bool) -> Answer:
        return await reap_once(target_of(server), config, dry_run=dry_run, always=False, thresholds=QUICK)

    async with stale(server, 18, application_name="web") as pool, leaked(server, application_name="leaky"):

        async def planned() -> Answer | None:
            found = await once(dry_run=True)
            return found if found.plan.victims else None

        dry = await wait_until(planned)
        assert not audited(tmp_path / "a")
        done = await once(dry_run=False)
        assert all(await alive(pool))
    for each in (dry, done):
        assert {victim.backend.application_name for victim in each.plan.victims} == {"leaky"}
        assert not each.plan.spared, "what the finding does not list is left out"
        assert each.findings is not None
        assert each.findings[0].kind is Kind.LEAK
    assert len(done.plan.victims) >= 6
    assert {line["application_name"] for line in audited(tmp_path / "a")} == {"leaky"}


async def test_sessions_in_transaction_are_meant_when_named(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    """With the age of --include-idle-in-transaction, or else that of --idle-after."""
    server = server_factory(FORTY_SLOTS)
    asked = ("--finding", "leak,idle_in_transaction", "--idle-after", "5s")
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(sessions(server, 6, application_name="web"))
        opened = await in_transaction(stack, server, 30)
        pids = {each.get_server_pid() for each in opened}
        later = await answer(tmp_path, server, *asked, "--dry-run", "--include-idle-in-transaction", "1h")
        assert (later["trigger"], later["victims"], later["status"]) == ("usage", [], 0)
        few = await answer(tmp_path, server, *asked, "--dry-run", "--max-per-sweep", "3")
        assert len(few["victims"]) == 3
        dry = await reap(tmp_path, server, *asked, "--dry-run")
        assert "▲ 30 of api idle in transaction (median" in dry.stdout
        assert "dry run: Terminate 30 sessions" in dry.stdout
        told = await answer(tmp_path, server, *asked)
        assert {each["pid"] for each in told["victims"]} == pids
        assert {each["outcome"] for each in told["victims"]} == {"terminated"}
        assert told["only"] == ["leak", "idle_in_transaction"]
        assert (told["findings"][0]["kind"], set(told["findings"][0]["pids"])) == (
            "idle_in_transaction",
            pids,
        )
        assert all(await alive(pool))


async def test_without_such_a_finding_nothing_is_done(small: ThrowawayServer, tmp_path: Path) -> None:
    """Not even with --always, and although stale sessions fill the server."""
    async with stale(small, 18) as opened:
        for extra in ((), ("--always",), ("--dry-run",)):
            told = await answer(tmp_path, small, *STALE, "--finding", "leak", *extra)
            assert (told["trigger"], told["victims"], told["spared"]) == ("none", [], [])
            assert (told["status"], told["only"]) == (0, ["leak"])
        done = await reap(tmp_path, small, *STALE, "--only", "leak", "--only", "tools")
        assert (done.returncode, done.stderr) == (0, "")
        assert "nothing to do: no leak or tools left open were found" in done.stdout
        assert all(await alive(opened))
    assert not audited(tmp_path / "audit.jsonl")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("leek", ('"leek"', "give leak, silent_clients, idle_in_transaction or tools")),
        ("", ("--finding", "give leak, silent_clients, idle_in_transaction or tools")),
        ("lock_queue", ('"lock_queue" (a sweep does not help a lock queue: cancel its head)',)),
        ("leak,surge", ('"surge" (a sweep does not help in a surge',)),
        *((each, (f'"{each}" (a sweep',)) for each in ("pool_arithmetic", "login_stall", "limit", "mixed")),
        ("slow_statements", ('"slow_statements" (a sweep',)),
    ],
)
def test_a_kind_that_cannot_be_swept_is_refused(tmp_path: Path, kind: str, words: tuple[str, ...]) -> None:
    assert_one_line(run(tmp_path, "reap", "postgresql:///", "--finding", kind), 2, *words)


def test_the_kinds_come_from_every_source(tmp_path: Path) -> None:
    """Option, variable and file, as with any list."""
    place = tmp_path / "config.toml"
    place.write_text('finding = ["leak", "tools"]\n')
    place.chmod(0o600)
    file, variable = ("--config", str(place)), {"PGTOP_FINDING": "silent_clients, leak"}

    def kinds(*arguments: str, **options: Any) -> str:
        done = run(tmp_path, "config", "--json", *arguments, **options)
        return " ".join(json.loads(done.stdout)["settings"]["finding"]["value"])

    assert kinds(*file) == "leak tools"
    assert kinds(*file, variables=variable) == "silent_clients leak"
    assert kinds(*file, "--only", "tools,idle_in_transaction", variables=variable) == (
        "tools idle_in_transaction"
    )
