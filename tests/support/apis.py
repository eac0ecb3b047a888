"""Programs that use pgtop.api, for its tests: what they open, and when they are cancelled."""

import asyncio
from collections.abc import Awaitable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pgtop.api import connect
from pgtop.api.server import Server
from pgtop.demo.server import ThrowawayServer
from tests.servers import fetch_value, wait_until
from tests.support.audit_logs import audit_lines

FAST = {"idle_after_seconds": 1.0, "emergency_idle_after_seconds": 1.0, "interval_seconds": 0.2}
WATCHED: dict[str, Any] = {**FAST, "every_seconds": 1.0, "warn_at": 0.05}
"""The line is at one of 20 slots, which is pgtop's own: all others that go stale are terminated."""


def opened(server: ThrowawayServer, audit: Path, **settings: Any) -> Server:
    """A server of the suite through the api, with an audit log of its own."""
    uri = settings.pop("uri", None) or server.uri()
    return connect(uri, audit_log=audit, **{**FAST, "read_only": False, **settings})


async def no_session_of_the_api(server: ThrowawayServer) -> None:
    """Wait until no session of the api's is left on a server."""
    query = "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'pgtop api@%'"
    await wait_until(lambda: fetch_value(server, query), complaint="a session of the api is left")


def unconfirmed(audit: Path) -> list[tuple[str, int]]:
    """Return the attempts of an audit log, by plan and pid, that do not have exactly one outcome."""
    if not audit.exists():
        return []
    lines = audit_lines(audit)
    outcomes = [(each.plan, each.pid) for each in lines if each.event == "outcome"]
    attempts = [(each.plan, each.pid) for each in lines if each.event == "attempt"]
    assert set(outcomes) <= set(attempts)
    return [each for each in attempts if outcomes.count(each) != 1]


class CancelledAt:
    """Some work that is cancelled when it waits for the n-th time."""

    def __init__(self, work: Awaitable[Any], number: int) -> None:
        self._work = work
        self._number = number
        self.count = 0
        """The times that it has waited so far."""

    def __await__(self) -> Generator[Any, Any, Any]:
        steps: Any = self._work.__await__()
        task = asyncio.current_task()
        assert task is not None
        try:
            waits_for = next(steps)
            while True:
                self.count += 1
                if self.count == self._number:
                    task.cancel()
                try:
                    sent = yield waits_for
                except BaseException as error:  # noqa: BLE001 - passed on to the work
                    waits_for = steps.throw(error)
                else:
                    waits_for = steps.send(sent)
        except StopIteration as done:
            return done.value

    async def is_cancelled(self) -> bool:
        """Do the work in a task of its own; return whether it ended by its cancellation."""

        async def work() -> None:
            await self

        task = asyncio.ensure_future(work())
        with suppress(asyncio.CancelledError):
            await task
        if self.count < self._number:
            assert not task.cancelled()
            return False
        assert task.cancelled(), f"swallowed the cancellation at await {self._number}"
        return True
