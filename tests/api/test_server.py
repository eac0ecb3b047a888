"""One server through the api: looked at, planned for and acted on, refused where every face refuses."""

import asyncio
import os
import pwd
import threading
from pathlib import Path

import msgspec
import pytest

import pgtop
from pgtop.api import connect
from pgtop.api.events import Polled
from pgtop.api.server import Server
from pgtop.api.settings import Settings
from pgtop.core.activity import Snapshot
from pgtop.core.plan import Act, DecidedBy, Outcome, ReapPolicy
from pgtop.core.session_patterns import Patterns
from pgtop.demo.server import ThrowawayServer
from pgtop.errors import AuditError, ConnectError, NotPermittedError, PgtopError, ReadOnlyError, UsageError
from pgtop.postgres.errors.kinds import FullError, PasswordNeededError
from pgtop.settings.defaults_and_bounds import Config
from tests.conftest import ServerFactory
from tests.servers import create_role, fetch_value, session, sessions, wait_until
from tests.support.apis import no_session_of_the_api, opened, unconfirmed
from tests.support.audit_logs import audit_lines, audited, audited_pids
from tests.support.filling import THREE_SLOTS, full, leave
from tests.support.pooler import pooler
from tests.support.reap_command import alive, stale
from tests.support.reaping import found, identities, lives, outcomes


async def test_a_snapshot_shows_the_sessions(server: ThrowawayServer) -> None:
    async with session(server, application_name="shown") as one, pgtop.connect(server.uri()) as opened_server:
        snapshot = await opened_server.snapshot()
        assert found(snapshot, one).application_name == "shown"
        own = next(each for each in snapshot.backends if each.pid == snapshot.own_pid)
        assert (own.application_name or "").startswith("pgtop api@")
        assert not opened_server.is_pooled
    await no_session_of_the_api(server)


async def test_a_diagnosis_names_what_fills_the_server(small: ThrowawayServer, audit: Path) -> None:
    async with sessions(small, 15, application_name="leaky") as held, opened(small, audit) as server:
        diagnosis = await server.diagnose()
        assert diagnosis.findings
        assert {each.get_server_pid() for each in held} <= {each.pid for each in diagnosis.snapshot.backends}
        plan = await server.plan_terminate(diagnosis.findings[0].backends, snapshot=diagnosis.snapshot)
        assert identities(plan) <= set(diagnosis.snapshot.by_id)


async def test_a_sweep_terminates_what_was_planned(server: ThrowawayServer, audit: Path) -> None:
    async with (
        stale(server, 3, application_name="leak") as victims,
        session(server, application_name="leak") as young,
        opened(server, audit, program="supervisor", applications=("leak",), idle_after_seconds=1.0) as api,
    ):
        await young.execute("BEGIN")
        plan = await api.plan_sweep()
        assert {each.backend.pid for each in plan.victims} == {each.get_server_pid() for each in victims}
        report = await api.run(plan)
        assert outcomes(report) == [Outcome.TERMINATED] * 3
        assert await alive(victims) == [False] * 3
        assert await lives(young)
    lines = audit_lines(audit)
    assert [each.event for each in lines] == ["attempt"] * 3 + ["outcome"] * 3
    assert {(each.face, each.decided_by, each.operator.program) for each in lines} == {
        ("api", DecidedBy.COMMAND, "supervisor")
    }
    assert lines[0].operator.user == pwd.getpwuid(os.getuid()).pw_name


async def test_selected_sessions_are_terminated_or_cancelled(server: ThrowawayServer, audit: Path) -> None:
    async with session(server) as idle, session(server) as busy, opened(server, audit) as api:
        sleeping = asyncio.ensure_future(busy.fetchval("SELECT pg_sleep(60)"))

        async def seen() -> Snapshot | None:
            snapshot = await api.snapshot()
            return snapshot if found(snapshot, busy).wait_event == "PgSleep" else None

        snapshot = await wait_until(seen)
        cancel = await api.plan_cancel([found(snapshot, busy).id], snapshot=snapshot)
        assert cancel.act is Act.CANCEL
        report = await api.run(cancel, decided_by=DecidedBy.PERSON)
        assert outcomes(report) == [Outcome.CANCELLED]
        with pytest.raises(Exception, match="cancel"):
            await sleeping
        report = await api.run(await api.plan_terminate([found(snapshot, idle).id]))
        assert outcomes(report) == [Outcome.TERMINATED]
        assert await alive([idle, busy]) == [False, True]
    assert [each.decided_by for each in audit_lines(audit)] == ["person", "person", "command", "command"]


async def test_read_only_is_the_default_and_refuses(server: ThrowawayServer, audit: Path) -> None:
    async with session(server) as one, connect(server.uri(), audit_log=audit) as api:
        plan = await api.plan_terminate([found(await api.snapshot(), one).id])
        assert plan.victims
        with pytest.raises(ReadOnlyError):
            await api.run(plan)
        assert await lives(one)
    assert not audited(audit)


async def test_a_plan_of_another_server_is_refused(
    server: ThrowawayServer, server_factory: ServerFactory, audit: Path
) -> None:
    other = server_factory()
    async with (
        session(server) as one,
        opened(server, audit) as api,
        opened(other, audit) as another,
    ):
        plan = await api.plan_terminate([found(await api.snapshot(), one).id])
        with pytest.raises(PgtopError, match="of another server"):
            await another.run(plan)
        assert await lives(one)
    assert not audited(audit)


async def test_a_plan_from_before_a_lost_connection_is_refused(server: ThrowawayServer, audit: Path) -> None:
    async with session(server) as one, opened(server, audit) as api:
        snapshot = await api.snapshot()
        plan = await api.plan_terminate([found(snapshot, one).id])
        await fetch_value(server, "SELECT pg_terminate_backend($1)", snapshot.own_pid)

        async def refused() -> bool:
            try:
                await api.run(plan)
            except PgtopError as error:
                return "the connection was lost after planning" in str(error)
            raise AssertionError("the plan was carried out")

        await wait_until(refused)
        assert await lives(one)
        again = await api.plan_terminate([found(await api.snapshot(), one).id])
        assert outcomes(await api.run(again)) == [Outcome.TERMINATED]
    assert set(audited_pids(audit)) == {one.get_server_pid()}


async def test_a_plan_from_before_a_restart_is_refused(small: ThrowawayServer, audit: Path) -> None:
    async with session(small) as one, opened(small, audit) as api:
        plan = await api.plan_terminate([found(await api.snapshot(), one).id])
        await asyncio.to_thread(small.restart)
        with pytest.raises(PgtopError, match=r"before a restart|lost"):
            await api.run(plan)
        assert (await api.snapshot()).server.identity != plan.server.identity
    assert not audited(audit)


async def test_a_log_that_cannot_be_written_ends_no_session(server: ThrowawayServer, tmp_path: Path) -> None:
    async with session(server) as one, opened(server, tmp_path / "missing" / "file" / "a") as api:
        (tmp_path / "missing").write_text("a file where a directory should be")
        plan = await api.plan_terminate([found(await api.snapshot(), one).id])
        with pytest.raises(AuditError):
            await api.run(plan)
        assert await lives(one)


async def test_hidden_states_are_refused(server: ThrowawayServer, audit: Path) -> None:
    role = await create_role(server)
    async with session(server), opened(server, audit, uri=role.uri()) as api:
        assert not (await api.snapshot()).counts.exact
        with pytest.raises(NotPermittedError, match="hidden"):
            await api.plan_sweep()
        with pytest.raises(NotPermittedError, match="hidden"):
            await anext(api.watch())


async def test_a_pooler_in_between_is_refused(server: ThrowawayServer, audit: Path) -> None:
    uri = "postgresql://postgres@127.0.0.1:{}/postgres?sslmode=disable"
    async with session(server) as one, opened(server, audit) as direct:
        plan = await direct.plan_terminate([found(await direct.snapshot(), one).id])
        with pooler(server) as port:
            async with opened(server, audit, uri=uri.format(port)) as api:
                assert api.is_pooled
                assert (await api.snapshot()).counts.total
                for refused in (
                    api.plan_sweep(),
                    api.plan_terminate([]),
                    api.plan_cancel([]),
                    api.run(plan),
                    anext(api.watch()),
                ):
                    with pytest.raises(ConnectError, match="pooler"):
                        await refused
        assert await lives(one)
    assert not audited(audit)


async def test_a_full_server_is_a_clear_error_in_time(server_factory: ServerFactory, audit: Path) -> None:
    server = server_factory(THREE_SLOTS)
    role = await create_role(server)
    async with full(server, 3, user=role.name, password=role.password):
        for wait_seconds, said in ((0.0, "slot"), (0.5, "refused in")):
            with pytest.raises(FullError, match=said):
                async with opened(server, audit, uri=role.uri(), wait_seconds=wait_seconds):
                    raise AssertionError("it got in")
    async with opened(server, audit, uri=role.uri(), wait_seconds=20.0) as api:
        assert await api.snapshot()


async def test_a_password_is_never_asked_for(server_factory: ServerFactory) -> None:
    server = server_factory(auth="scram-sha-256")
    role = await create_role(server)
    with pytest.raises(PasswordNeededError):
        async with connect(server.uri(user=role.name)):
            raise AssertionError("it got in")


async def test_it_is_used_inside_of_its_async_with(server: ThrowawayServer, audit: Path) -> None:
    api = opened(server, audit)
    with pytest.raises(UsageError, match="not open"):
        await api.snapshot()
    async with api:
        plan = await api.plan_sweep()
        with pytest.raises(UsageError, match="open already"):
            async with api:
                pass
        assert await api.snapshot()
    for refused in (api.snapshot(), api.diagnose(), api.plan_sweep(), api.run(plan), anext(api.watch())):
        with pytest.raises(UsageError, match="not open"):
            await refused
    async with api:
        assert await api.snapshot()
    await no_session_of_the_api(server)


async def test_two_servers_at_once_keep_apart(
    server: ThrowawayServer, small: ThrowawayServer, tmp_path: Path
) -> None:
    logs = tmp_path / "one", tmp_path / "two"
    async with (
        session(server) as one,
        session(small) as two,
        opened(server, logs[0]) as first,
        opened(small, logs[1]) as second,
    ):
        seen = await asyncio.gather(first.snapshot(), second.snapshot())
        plans = await asyncio.gather(
            first.plan_terminate([found(seen[0], one).id]), second.plan_terminate([found(seen[1], two).id])
        )
        reports = await asyncio.gather(first.run(plans[0]), second.run(plans[1]))
        assert [outcomes(each) for each in reports] == [[Outcome.TERMINATED]] * 2
    assert set(audited_pids(logs[0])) == {one.get_server_pid()}
    assert set(audited_pids(logs[1])) == {two.get_server_pid()}


async def test_two_loops_at_once_keep_apart(server: ThrowawayServer, audit: Path) -> None:
    """Each in a thread of its own, where a signal handler could not even be set."""
    swept: list[list[Outcome]] = []

    async def sweep(name: str) -> None:
        async with opened(server, audit, applications=(name,)) as api:
            swept.append(outcomes(await api.run(await api.plan_sweep())))

    async with (
        stale(server, 2, application_name="of-one") as one,
        stale(server, 2, application_name="of-two") as two,
    ):
        threads = [
            threading.Thread(target=lambda name=name: asyncio.run(sweep(name)))
            for name in ("of-one", "of-two")
        ]
        for each in threads:
            each.start()
        for each in threads:
            await asyncio.to_thread(each.join, 60)
        assert swept == [[Outcome.TERMINATED] * 2] * 2
        assert await alive([*one, *two]) == [False] * 4
    assert not unconfirmed(audit)


async def test_calls_of_several_tasks_do_not_mix(server: ThrowawayServer, audit: Path) -> None:
    async with session(server) as one, opened(server, audit) as api:
        looks = [api.snapshot() for _ in range(5)]
        thoughts = [api.diagnose() for _ in range(5)]
        seen = [*await asyncio.gather(*looks), *(each.snapshot for each in await asyncio.gather(*thoughts))]
        assert {each.own_pid for each in seen} == {seen[0].own_pid}
        assert all(found(each, one) for each in seen)


async def test_calls_at_the_end_of_the_rescue_do_not_mix(server_factory: ServerFactory, audit: Path) -> None:
    """The ordinary role gets the connection back between the calls of several tasks, and in none of them."""
    server = server_factory(THREE_SLOTS)
    role = await create_role(server, "monitor")

    async def until_given_back(api: Server) -> None:
        while (await api.snapshot()).is_rescue:
            pass

    async with (
        full(server, 3, user=role.name, password=role.password) as held,
        opened(server, audit, uri=role.uri(), rescue="user=postgres") as api,
    ):
        assert (await api.snapshot()).is_rescue
        await leave(held)
        async with asyncio.timeout(30.0):
            await asyncio.gather(*(until_given_back(api) for _ in range(5)))


def test_each_setting_is_one_of_the_configuration() -> None:
    """By name, and a default that is not the configuration's would be another one."""
    kinds = {each.name for each in msgspec.structs.fields(Config)}
    assert kinds > Settings.__annotations__.keys()
    left = kinds - Settings.__annotations__.keys()
    screen = {"theme", "color", "wall", "bell", "on_alert"}
    record = {"history", *(name for name in kinds if name.startswith("record"))}
    assert left == screen | record | {"read_only", "log_format", "log_queries", "metrics_listen"}


def test_the_defaults_are_those_of_the_configuration() -> None:
    api = connect("host=127.0.0.1")
    assert api.read_only
    assert api.policy == Config().policy
    assert connect("host=127.0.0.1", warn_at=0.5, users=("app",)).policy.warn_at == 0.5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"warn_at": 2.0}, 'warn_at cannot be "2.0"'),
        ({"theme": "dark"}, "theme is not a setting of the api"),
        ({"audit_log": "-"}, "audit_log cannot be"),
        ({"audit_log": None}, "audit_log cannot be"),
        ({"rescue": "password=secret"}, "rescue"),
        ({"applications": "web"}, 'applications cannot be "web"'),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        connect("host=127.0.0.1", **settings)  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (ReapPolicy(idle_after_seconds=float("nan")), "policy.idle_after_seconds"),
        (ReapPolicy(emergency_idle_after_seconds=-1.0), "policy.emergency_idle_after_seconds"),
        (ReapPolicy(warn_at=80), "policy.warn_at"),
        (ReapPolicy(max_per_sweep=-1), "policy.max_per_sweep"),
        (ReapPolicy(only=Patterns(applications="web*")), "policy.only.applications"),  # type: ignore[arg-type]
        (ReapPolicy(protected=Patterns(users="app")), "policy.protected.users"),  # type: ignore[arg-type]
        (ReapPolicy(only=("web",)), "policy.only is"),  # type: ignore[arg-type]
        ({"warn_at": 0.5}, "policy is"),
    ],
)
async def test_rules_out_of_bounds_are_refused(
    server: ThrowawayServer, audit: Path, policy: ReapPolicy, said: str
) -> None:
    """A name in place of a tuple would protect none, or match all."""
    async with session(server) as one, opened(server, audit) as api:
        chosen = [found(await api.snapshot(), one).id]
        for plan in (api.plan_sweep(policy), api.plan_terminate(chosen, policy), anext(api.watch(policy))):
            with pytest.raises(UsageError) as caught:
                await plan
            assert said in str(caught.value)
        assert isinstance(await anext(api.watch()), Polled)


@pytest.mark.parametrize("arguments", [{"conninfo": 5}, {"program": 5}])
def test_an_argument_of_another_type_is_named(arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(arguments))} is not a text"):
        connect(**arguments)  # type: ignore[arg-type]


def test_no_variable_of_pgtop_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq's are: a bad one of those is an error."""
    monkeypatch.setenv("PGTOP_WARN_AT", "nonsense")
    assert connect("host=127.0.0.1").policy.warn_at == 0.8
    monkeypatch.setenv("PGPORT", "nonsense")
    with pytest.raises(UsageError):
        connect("host=127.0.0.1")
