"""A server as its own host sees it, for tests: the watcher, and a reaper that works by its hand."""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import msgspec

from pgtop.audit.log import AuditLog
from pgtop.core.activity import Backend, BackendId
from pgtop.core.break_glass_plan import Ask, plan_break_glass
from pgtop.core.plan import DecidedBy, Plan, ReapPolicy, Victim
from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.host import proc
from pgtop.postgres.host.proc import Process
from pgtop.postgres.host.server_settings import ask_settings
from pgtop.postgres.host.servers import HostServer, Wanted, choose, find_servers
from pgtop.postgres.host.terminate import HostTerminator
from pgtop.postgres.host.watcher import HostView, HostWatcher, Mark
from pgtop.reaping.reaper import Reaper, Report
from tests.servers import wait_until
from tests.support.reaping import OPERATOR

_OF_A_CLIENT = re.compile(r" \[local\]| \S+\([0-9]+\)")
"""The part of a title that tells where the client is."""

EVERYBODY = Ask(count=1000, older_than_seconds=0.0)
"""Whoever is idle, for however short."""


def host_server(server: ThrowawayServer) -> HostServer:
    """A server of the suite as it is found on this host."""
    return choose(find_servers(), Wanted(data_dir=str(server.data_dir)))


def process_of(pid: int) -> Process | None:
    """A process, whoever's it is: none of a test's keeps anybody waiting."""
    return proc.read_process(pid, proc.users(pid))


@dataclass
class HostFace:
    """The parts of a face on the server's host."""

    watcher: HostWatcher
    reaper: Reaper

    async def look(self) -> HostView:
        """One look."""
        return await asyncio.to_thread(self.watcher.look)

    async def plan(self, ask: Ask = EVERYBODY, policy: ReapPolicy | None = None) -> Plan:
        """The plan of break-glass over one look."""
        return plan_break_glass((await self.look()).snapshot, policy or ReapPolicy(), ask)

    async def run(self, plan: Plan) -> Report:
        """Carry a plan out as a person who confirmed it."""
        return await self.reaper.run(plan, decided_by=DecidedBy.PERSON)

    async def plan_for(self, *connections: asyncpg.Connection) -> Plan:
        """The plan that ends just these sessions, once all of them are idle."""
        pids = {connection.get_server_pid() for connection in connections}

        async def meant() -> Plan | None:
            plan = await self.plan()
            victims = tuple(each for each in plan.victims if each.backend.pid in pids)
            return replaced(plan, victims) if len(victims) == len(pids) else None

        plan = await wait_until(meant)
        assert isinstance(plan, Plan)
        return plan


def replaced(plan: Plan, victims: tuple[Victim, ...]) -> Plan:
    """The plan with other victims."""
    return msgspec.structs.replace(plan, victims=victims)


def face_on_host(server: ThrowawayServer, audit: Path) -> HostFace:
    """A face on the host of a server."""
    found = host_server(server)
    watcher = HostWatcher(found, ask_settings(found).answers())
    return HostFace(watcher, Reaper(HostTerminator(watcher), AuditLog(audit), "test", OPERATOR))


def seen(view: HostView, connection: asyncpg.Connection) -> Backend:
    """A session's backend in a view."""
    pid = connection.get_server_pid()
    return next(backend for backend in view.snapshot.backends if backend.pid == pid)


def title_of(pid: int) -> str:
    """Return the title of a process; empty where it is gone."""
    process = process_of(pid)
    return process.title if process else ""


def client_titles(server: ThrowawayServer) -> list[str]:
    """Return the titles of the processes that serve a client of a server; none where it is stopped."""
    titles = [title_of(pid) for pid in proc.children(server.pid)] if server.pid else []
    return [title for title in titles if _OF_A_CLIENT.search(title)]


def forge_mark(watcher: HostWatcher, identity: BackendId, mark: Mark) -> None:
    """Lets the watcher remember something else of one session than its last look saw."""
    remembered = watcher.mark

    def forged(each: BackendId) -> Mark | None:
        return mark if each == identity else remembered(each)

    watcher.mark = forged  # type: ignore[method-assign, assignment]
