"""The api's page of the manual: its supervisor runs, and nothing of the api is missing."""

import asyncio
import inspect
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from pgtop.api import connect, events
from pgtop.api.server import Diagnosis, Server
from pgtop.api.settings import Settings
from pgtop.demo.server import ThrowawayServer
from tests.servers import wait_until
from tests.support.apis import WATCHED, no_session_of_the_api, unconfirmed
from tests.support.audit_logs import audit_lines
from tests.support.manual_pages import blocks, codes, page, rows, section
from tests.support.reap_command import alive, stale

LIMIT_SECONDS = 60.0


def supervisor() -> dict[str, Any]:
    """The names of the page's supervisor."""
    found = re.search(r"<!-- supervisor -->\n```python\n(.*?)```", page("api"), re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(compile(found[1], "api.md", "exec"), names)  # noqa: S102 - the manual's own
    return names


async def test_the_supervisor_sweeps_and_tells(small: ThrowawayServer, audit: Path) -> None:
    """Healthy while polls succeed, not while the server is down; its metrics count what it terminated."""
    registry = CollectorRegistry()
    guard = supervisor()["ConnectionGuard"](
        small.uri(), registry, read_only=False, audit_log=audit, **WATCHED
    )
    assert guard.health()[0] == 503
    async with stale(small, 2, application_name="leak") as victims:
        running = asyncio.ensure_future(guard.run())
        try:
            terminated = "orchestrator_pg_terminated_total"
            await wait_until(lambda: registry.get_sample_value(terminated) == 2, LIMIT_SECONDS)
            assert await alive(victims) == [False] * 2
            await wait_until(lambda: guard.health() == (200, "ok"), LIMIT_SECONDS)
            assert registry.get_sample_value("orchestrator_pg_usage_ratio")
            await asyncio.to_thread(small.stop)
            await wait_until(lambda: guard.health()[0] == 503, LIMIT_SECONDS)
            await asyncio.to_thread(small.start)
            await wait_until(lambda: guard.health() == (200, "ok"), LIMIT_SECONDS)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
    assert {each.operator.program for each in audit_lines(audit)} == {"orchestrator"}
    assert not unconfirmed(audit)
    await no_session_of_the_api(small)


def test_each_example_is_python() -> None:
    for each in blocks(page("api"), "python"):
        compile(each, "api.md", "exec")


def test_each_event_has_its_row_and_fields() -> None:
    table = {codes(row[0])[0]: row[1] for row in rows(section(page("api"), "Watch"))}
    family = get_args(events.Event)
    assert table.keys() == {each.__name__ for each in family}
    for kind in family:
        for field in msgspec.structs.fields(kind):
            assert f"`{field.name}`" in table[kind.__name__], field.name


def test_each_method_and_argument_has_its_row() -> None:
    table = {codes(row[0])[0].partition("(")[0] for row in rows(section(page("api"), "The server"))}
    methods = {name for name, _ in inspect.getmembers(Server, inspect.isfunction) if not name.startswith("_")}
    arguments = set(inspect.signature(connect).parameters) - {"conninfo", "settings"}
    assert table == methods | arguments
    for field in msgspec.structs.fields(Diagnosis):
        assert f"`{field.name}`" in page("api")


@pytest.mark.parametrize("name", sorted(Settings.__annotations__))
def test_each_setting_is_named(name: str) -> None:
    assert f"`{name}`" in section(page("api"), "Settings")
