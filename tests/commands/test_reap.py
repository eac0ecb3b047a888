"""`pgtop reap` as a script sees it: what it does, prints and returns, on real servers."""

import asyncio
import json
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from pgtop.demo.server import ThrowawayServer
from tests.conftest import ServerFactory
from tests.servers import create_role, execute, session, sessions, wait_until
from tests.support.audit_logs import audited
from tests.support.reap_command import STALE, alive, answer, reap, stale
from tests.support.reaping import confirming, face_on, found, queued
from tests.support.running import assert_one_line, command, environment, run
from tests.support.targets import stopped

VICTIM_KEYS = [
    "pid", "backend_start", "state_change", "application_name", "usename", "datname", "client_addr", "state",
    "idle_seconds", "reason", "outcome", "blocked_sessions",
]  # fmt: skip


async def test_up_to_the_line_it_does_nothing_and_says_so(small: ThrowawayServer, tmp_path: Path) -> None:
    """Status 0, trigger none, no line in the audit log; 15 and its own are 16 of 20: on the line."""
    async with stale(small, 15) as opened:
        told = await answer(tmp_path, small, *STALE)
        assert told["trigger"] == "none"
        assert told["usage_before"] == told["usage_after"] == 0.8
        assert (told["victims"], told["spared"], told["status"]) == ([], [], 0)
        done = await reap(tmp_path, small, *STALE)
        assert (done.returncode, done.stderr) == (0, "")
        assert "nothing to do: 16 of 20 slots, 80%, not above the 80% line" in done.stdout
        assert all(await alive(opened))
    assert not audited(tmp_path / "audit.jsonl")


async def test_above_the_line_it_ends_the_stale(every_server: ThrowawayServer, tmp_path: Path) -> None:
    """And nobody else; the JSON is that of the contract, on every version."""
    async with stale(every_server, 4, application_name="leaky") as old, session(every_server) as fresh:
        await execute_now(fresh)
        told = await answer(tmp_path, every_server, *STALE, "--warn-at", "0.01", "--application", "leaky")
        assert list(told) == [
            "schema", "trigger", "usage_before", "usage_after", "dry_run", "victims", "spared",
            "blocked_sessions", "findings", "status",
        ]  # fmt: skip
        assert (told["schema"], told["trigger"], told["dry_run"], told["status"]) == (1, "usage", False, 0)
        assert [list(victim) for victim in told["victims"]] == [VICTIM_KEYS] * 4
        assert {victim["pid"] for victim in told["victims"]} == {each.get_server_pid() for each in old}
        assert {victim["outcome"] for victim in told["victims"]} == {"terminated"}
        assert all(
            victim["idle_seconds"] > 1 and "idle for" in victim["reason"] for victim in told["victims"]
        )
        assert told["usage_after"] < told["usage_before"]
        assert await alive(old) == [False] * 4
        assert await alive([fresh]) == [True]
    lines = audited(tmp_path / "audit.jsonl")
    assert {(line["decided_by"], line["usage_before"]) for line in lines} == {
        ("command", told["usage_before"])
    }
    assert {line["usage_after"] for line in lines[len(lines) // 2 :]} == {told["usage_after"]}
    events = [(line["event"], line.get("outcome")) for line in lines]
    assert events == [("attempt", None)] * 4 + [("outcome", "terminated")] * 4


async def execute_now(connection: asyncpg.Connection) -> None:
    assert await connection.fetchval("SELECT 1") == 1


async def test_a_plan_tells_who_waits_behind_its_victims(
    every_server: ThrowawayServer, tmp_path: Path
) -> None:
    """Behind a transaction that is included; a plan without it says that it does not help those that wait."""
    sweep = (*STALE, "--always", "--dry-run", "--application", "queue")
    included = (*sweep, "--include-idle-in-transaction", "1s")
    try:
        async with (
            face_on(every_server, tmp_path / "unused") as face,
            sessions(every_server, 3, application_name="queue") as (holder, *waiting),
            queued(face, holder, *waiting),
        ):
            pid = holder.get_server_pid()

            async def is_old() -> bool:
                seen = await face.snapshot()
                return (found(seen, holder).state_seconds(seen.taken_at) or 0.0) > 1.1

            await wait_until(is_old)
            told = await answer(tmp_path, every_server, *included)
            assert [(each["pid"], each["blocked_sessions"]) for each in told["victims"]] == [(pid, 2)]
            assert told["blocked_sessions"] == 2
            done = await reap(tmp_path, every_server, *included)
            assert f"2 sessions wait for locks behind {pid}\n" in done.stdout
            assert "blocks 2, idle in transaction" in done.stdout
            done = await reap(tmp_path, every_server, *sweep)
            assert "2 sessions wait for locks, and this does not help there" in done.stdout
    finally:
        await execute(every_server, "DROP TABLE waited_for")


async def test_a_dry_run_ends_nobody_and_means_the_same_sessions(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    """No signal and no line in the audit log; the plan's usage_after, outcome null; then the real run."""
    async with stale(small, 17) as opened:
        dry = await answer(tmp_path, small, *STALE, "--dry-run")
        assert dry["dry_run"] is True
        assert dry["usage_after"] == pytest.approx(1 / 20)
        assert {victim["outcome"] for victim in dry["victims"]} == {None}
        assert not audited(tmp_path / "audit.jsonl")
        pids = {each.get_server_pid() for each in opened}
        real = await answer(tmp_path, small, *STALE, "--dry-run")
        assert {victim["pid"] for victim in dry["victims"]} == {v["pid"] for v in real["victims"]} == pids
        real = await answer(tmp_path, small, *STALE)
        assert {victim["pid"] for victim in real["victims"]} == pids
        assert real["usage_after"] == pytest.approx(1 / 20)
        assert not any(await alive(opened))


async def test_a_plan_in_a_pipe_is_whole(small: ThrowawayServer, tmp_path: Path) -> None:
    """No name is cut and no column is left out."""
    name = "a" * 63
    async with stale(small, 1, application_name=name):
        done = await reap(tmp_path, small, *STALE, "--always", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    titles = next(line for line in done.stdout.splitlines() if "pid" in line.split())
    assert titles.split() == [
        "pid",
        "application",
        "user",
        "database",
        "client",
        "state",
        "idle",
        "age",
        "why",
    ]
    assert any(f" {name}  postgres " in line for line in done.stdout.splitlines())
    assert "…" not in done.stdout


async def test_always_sweeps_whatever_the_usage(small: ThrowawayServer, tmp_path: Path) -> None:
    async with stale(small, 2):
        told = await answer(tmp_path, small, *STALE, "--always")
    assert told["trigger"] == "always"
    assert len(told["victims"]) == 2


async def test_on_a_full_server_it_makes_just_enough_room(small: ThrowawayServer, tmp_path: Path) -> None:
    """The emergency: the longest idle first, until the usage is below the line."""
    async with stale(small, 10, application_name="older") as older, stale(small, 10) as younger:
        told = await answer(tmp_path, small, "--idle-after", "300", "--emergency-idle-after", "1s")
        assert told["trigger"] == "emergency"
        assert told["usage_before"] == pytest.approx(21 / 20)
        assert told["usage_after"] == pytest.approx(15 / 20)
        assert len(told["victims"]) == 6
        assert {victim["pid"] for victim in told["victims"]} <= {each.get_server_pid() for each in older}
        assert all(await alive(younger))


@pytest.mark.parametrize(
    ("rules", "ended"),
    [
        ((), {"web", "job"}),
        (("--application", "we?"), {"web"}),
        (("--application", "x", "--application", "job"), {"job"}),
        (("--user", "other_*"), set()),
        (("--user", "postgres", "--database", "post*"), {"web", "job"}),
        (("--address", "127.0.0.0/8"), {"web", "job"}),
        (("--address", "local"), set()),
        (("--protect-application", "WEB"), {"job"}),
        (("--protect-user", "postgres"), set()),
        (("--protect-database", "postgres"), set()),
        (("--protect-address", "127.0.0.1"), set()),
        (("--max-per-sweep", "1"), {"web"}),
    ],
)
async def test_filters_and_protections(
    server: ThrowawayServer, tmp_path: Path, rules: tuple[str, ...], ended: set[str]
) -> None:
    """Each by its option, on sessions over TCP; the protected are told as spared, the filtered are not."""
    async with stale(server, 1, application_name="web"), stale(server, 1, application_name="job"):
        told = await answer(tmp_path, server, *STALE, "--always", "--dry-run", *rules)
    of_ours = {"web", "job"}
    assert {victim["application_name"] for victim in told["victims"]} & of_ours == ended
    spared = {each["application_name"] for each in told["spared"]} & of_ours
    assert spared == (of_ours - ended if any(r.startswith(("--protect", "--max")) for r in rules) else set())
    assert all("outcome" not in each for each in told["spared"])


async def test_the_protected_unless_asked_for(server: ThrowawayServer, tmp_path: Path) -> None:
    """Advisory locks, LISTEN, idle in transaction and Patroni: spared with a reason, ended if asked for."""
    async with AsyncExitStack() as stack:
        named = [
            await stack.enter_async_context(session(server, application_name=name))
            for name in ("holder", "listener", "in_txn", "Patroni x")
        ]
        await named[0].execute("SELECT pg_advisory_lock(7)")
        await named[1].execute("LISTEN jobs")
        await named[2].execute("BEGIN")
        await stack.enter_async_context(stale(server, 1, application_name="plain"))
        arguments = (*STALE, "--always", "--dry-run")
        told = await answer(tmp_path, server, *arguments)
        reasons = {each["application_name"]: each["reason"] for each in told["spared"]}
        assert reasons["holder"] == "holds an advisory lock"
        assert reasons["listener"] == "was seen running LISTEN"
        assert reasons["in_txn"].startswith("idle in transaction for")
        assert reasons["Patroni x"] == "protected by its name: Patroni*"
        asked = await answer(
            tmp_path, server, *arguments, "--include-advisory-locks", "--include-listeners",
            "--include-idle-in-transaction", "1s", "--no-default-protections",
        )  # fmt: skip
        ended = {victim["application_name"] for victim in asked["victims"]}
        assert {"holder", "listener", "in_txn", "Patroni x", "plain"} <= ended
        older = await answer(tmp_path, server, *arguments, "--include-idle-in-transaction", "1h")
        assert "in_txn" not in {each["application_name"] for each in older["victims"] + older["spared"]}


async def test_a_role_that_may_end_nobody(small: ThrowawayServer, tmp_path: Path) -> None:
    """Without pg_signal_backend each is skipped: status 5 and nobody ended; 6 where its own session went.

    A dry run promises no more, and both name the grant that helps.
    """
    monitor = await create_role(small, "monitor")
    other = await create_role(small)
    async with stale(small, 2, user=other.name, password=other.password) as opened:
        for dry_run in ([], ["--dry-run"]):
            told = await answer(tmp_path, small, *STALE, "--always", *dry_run, uri=monitor.uri())
            assert not told["victims"]
            reasons = {each["reason"] for each in told["spared"] if each["usename"] == other.name}
            assert reasons == {f"role {monitor.name} may not terminate sessions of {other.name}"}
            assert (told["status"], told["usage_after"]) == (5, told["usage_before"])
            mend = f"Run: GRANT pg_signal_backend TO {monitor.name};"
            assert told["permission"] == f"role {monitor.name} may not terminate 2 sessions. {mend}"
        async with stale(small, 1, user=monitor.name, password=monitor.password):
            dry = await answer(tmp_path, small, *STALE, "--always", "--dry-run", uri=monitor.uri())
            assert (len(dry["victims"]), dry["status"]) == (1, 0)
            assert dry["usage_before"] - dry["usage_after"] == pytest.approx(1 / 20, abs=0.02)
            told = await answer(tmp_path, small, *STALE, "--always", uri=monitor.uri())
            assert [victim["outcome"] for victim in told["victims"]] == ["terminated"]
            assert told["status"] == 6
        assert all(await alive(opened))


async def test_superusers_are_spared_by_who_is_none(small: ThrowawayServer, tmp_path: Path) -> None:
    operator = await create_role(small, "operator")
    async with stale(small, 1) as opened:
        told = await answer(tmp_path, small, *STALE, "--always", uri=operator.uri())
        assert not told["victims"]
        assert "belongs to a superuser, and pgtop's role is not one" in {
            each["reason"] for each in told["spared"]
        }
        assert all(await alive(opened))


async def test_a_role_that_does_not_see_states_reaps_nothing(small: ThrowawayServer, tmp_path: Path) -> None:
    """Status 5 with every GRANT that mends it, also where nothing would be done."""
    plain, other = await create_role(small), await create_role(small)
    async with session(small, user=other.name, password=other.password):
        done = await reap(tmp_path, small, "--always", uri=plain.uri())
        grants = f"GRANT pg_monitor TO {plain.name}; GRANT pg_signal_backend TO {plain.name};"
        assert_one_line(done, 5, "hidden from role", grants)
        await execute(small, grants)

        async def is_planned() -> bool:
            told = await answer(tmp_path, small, "--always", "--dry-run", *STALE, uri=plain.uri())
            return len(told["victims"]) == 1 and "permission" not in told

        await wait_until(is_planned, 20)


async def test_survivors_are_told(server: ThrowawayServer, tmp_path: Path) -> None:
    """Survived: status 6."""
    async with stale(server, 1, application_name="stuck") as opened:
        with stopped(opened[0].get_server_pid()):
            told = await answer(tmp_path, server, *STALE, "--always", "--application", "stuck")
    assert [victim["outcome"] for victim in told["victims"]] == ["survived"]
    assert told["status"] == 6


async def test_without_an_audit_log_nobody_is_ended(server: ThrowawayServer, tmp_path: Path) -> None:
    async with stale(server, 1, application_name="lucky") as opened:
        only = ("--always", "--application", "lucky", "--audit-log", str(tmp_path))
        done = await asyncio.to_thread(run, tmp_path, "reap", server.uri(), *STALE, *only)
        assert_one_line(done, 2, "audit log", "--audit-log")
        assert all(await alive(opened))


async def test_the_table_tells_who_and_why_and_the_room(small: ThrowawayServer, tmp_path: Path) -> None:
    """Hostile names included, which stay whole."""
    name = "[@click=app.quit]\x1b[2J" + "x" * 30
    async with stale(small, 17, application_name=name) as opened:
        dry = await reap(tmp_path, small, *STALE, "--dry-run")
        done = await reap(tmp_path, small, *STALE)
    assert (dry.returncode, done.returncode, dry.stderr, done.stderr) == (0, 0, "", "")
    assert "dry run: Terminate 17 sessions idle for more than 1s: 90% → 5%" in dry.stdout
    assert "terminated 17 sessions: 90% → 5%" in done.stdout
    assert done.stdout.count("\nterminated ") == 1 + len(opened)  # the headline, and each session
    for line in (dry.stdout + done.stdout).splitlines():
        assert line.isprintable()


async def test_read_only_ends_nobody(server: ThrowawayServer, tmp_path: Path) -> None:
    done = await reap(tmp_path, server, "--always", "--read-only")
    assert_one_line(done, 2, "read_only")
    dry = await reap(tmp_path, server, "--always", "--read-only", "--dry-run")
    assert dry.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--include-idle-in-transaction", "requires an argument"),
        ("--include-idle-in-transaction never", "--include-idle-in-transaction|is not a duration"),
        ("--address 10.0.0.300", '--address cannot be "10.0.0.300"|networks'),
        ("--protect-address db1", '--protect-address cannot be "db1"'),
        ("--max-per-sweep 0", '--max-per-sweep cannot be "0"'),
        ("--max-per-sweep some", "--max-per-sweep|is not a whole number"),
        ("--emergency-idle-after 0", "--emergency-idle-after cannot be"),
        ("--every 0", '--every cannot be "0"|1s to 1d'),
        ("--login-probe 10ms", "--login-probe cannot be|0 for none"),
        ("--log-format xml", '--log-format cannot be "xml"|text or json'),
        ("--metrics-listen 9432", '--metrics-listen cannot be "9432"|HOST:PORT'),
        ("--audit-max-size 1kB", "--audit-max-size cannot be|64KiB"),
        ("--audit-keep 0", "--audit-keep cannot be"),
        ("--watch --json", "--json|--watch|--log-format json"),
        ("--watch --always", "--always|--watch"),
    ],
)
def test_bad_rules_are_named(tmp_path: Path, arguments: str, words: str) -> None:
    """Status 2, before any server is asked."""
    assert_one_line(run(tmp_path, "reap", *arguments.split()), 2, *words.split("|"))


def test_rules_come_by_variables_too(tmp_path: Path) -> None:
    """Several are separated by commas; a bad one is named as the variable."""
    done = run(tmp_path, "reap", variables={"PGTOP_PROTECT_ADDRESS": "10.0.0.0/8, nowhere"})
    assert_one_line(done, 2, 'PGTOP_PROTECT_ADDRESS cannot be "10.0.0.0/8, nowhere"')


async def test_states_that_are_not_tracked_are_told(server_factory: ServerFactory, tmp_path: Path) -> None:
    """Status 5 with the remedy; the doctor finds it, too. A part of them is skipped with the reason."""
    server = server_factory(
        {"max_connections": "20", "superuser_reserved_connections": "3", "track_activities": "off"}
    )
    async with sessions(server, 15, application_name="leak") as leak:
        done = await asyncio.to_thread(run, tmp_path, "reap", server.uri(), "--idle-after", "1s")
        assert_one_line(done, 5, "track_activities = off", "ALTER SYSTEM SET track_activities = on")
        others = await asyncio.to_thread(
            run, tmp_path, "reap", server.uri(), "--application", "web", "--always"
        )
        assert others.returncode == 0, "they are not meant"
        told = await asyncio.to_thread(run, tmp_path, "doctor", server.uri(), "--json")
        findings = {each["topic"]: each for each in json.loads(told.stdout)["findings"]}
        assert findings["sight"]["status"] == "bad"
        assert "track_activities" in findings["sight"]["mend"]
        for each in leak[:5]:
            await each.execute("SET track_activities = on")
            await each.fetchval("SELECT 1")
        arguments = ("--always", "--idle-after", "1s", "--json")

        async def swept() -> str:
            return (await asyncio.to_thread(run, tmp_path, "reap", server.uri(), *arguments)).stdout

        report = json.loads(await wait_until(swept))
        assert len(report["victims"]) == 5
        skipped = [each["reason"] for each in report["spared"]]
        assert skipped.count("its state is not tracked (track_activities = off)") >= 10


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_an_interruption_leaves_no_attempt_open(
    server: ThrowawayServer, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """It is interrupted while it waits for a session that hangs and lives on as long as it does."""
    audit = tmp_path / "audit.jsonl"
    arguments = ("--always", "--application", "hangs", "--audit-log", str(audit), *STALE)
    async with stale(server, 1, application_name="hangs") as (victim,):
        with stopped(victim.get_server_pid()):
            process = await asyncio.create_subprocess_exec(
                *command("reap", server.uri(), *arguments),
                env=environment(tmp_path),
                cwd=tmp_path,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                await confirming(server, "reap")
                process.send_signal(number)
                assert await asyncio.wait_for(process.wait(), 30.0) == status
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
    assert [each["outcome"] for each in audited(audit)] == [None, "survived"]
