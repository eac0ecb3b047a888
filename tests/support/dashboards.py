"""The dashboard on a real server, driven through Textual's pilot."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.segment import Segment
from textual.pilot import Pilot
from textual.screen import Screen
from textual.strip import Strip

from pgtop.audit.log import AuditLog
from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.demo.server import ThrowawayServer
from pgtop.flight_recorder import FlightRecorder
from pgtop.poller import Poller
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.postgres.snapshot_probe import Probe
from pgtop.postgres.terminate import SqlTerminator
from pgtop.reaping.reaper import Reaper
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui.app import PgtopApp
from pgtop.tui.dashboard import DashboardScreen
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.screens.plan_dialog import PlanDialog
from pgtop.tui.state.history_keeper import HistoryKeeper
from pgtop.tui.state.host_watch import HostWatch
from pgtop.tui.widgets.sessions_table import SessionsTable
from pgtop.wiring import Wiring
from tests.servers import wait_until
from tests.support.audit_logs import audited
from tests.support.reaping import OPERATOR
from tests.support.targets import connection_on, target_of


@dataclass
class Driven:
    """A dashboard under test."""

    app: PgtopApp
    pilot: Pilot[None]
    audit: Path

    @property
    def dashboard(self) -> DashboardScreen:
        """The dashboard, also while a dialog is over it."""
        screen = self.app.screen_stack[0]
        assert isinstance(screen, DashboardScreen)
        return screen

    @property
    def own_connection(self) -> OwnConnection:
        """The dashboard's own connection."""
        return self.dashboard.poller.probe.own_connection

    @property
    def shown(self) -> Snapshot | None:
        """The snapshot on the screen."""
        return self.dashboard.state.shown

    @property
    def history_keeper(self) -> HistoryKeeper:
        """What keeps the dashboard's past in a file."""
        keeper = self.dashboard.history_keeper
        assert keeper is not None
        return keeper

    @property
    def backends(self) -> SessionsTable:
        """The list of backends."""
        return self.dashboard.query_one(SessionsTable)

    @property
    def listed(self) -> list[int]:
        """The pids in the list, as they stand."""
        return [row.pid for row in self.backends.rows]

    @property
    def text(self) -> str:
        """Return the text on the screen, line by line, without what is blank between two styles."""
        return screen_text(self.app)

    @property
    def strips(self) -> list[Strip]:
        """The lines of the screen as they go to the terminal. Textual has no public name for them."""
        return self.app.screen._compositor.render_strips()

    async def shows(self, *words: str) -> None:
        """Wait until all words are on the screen."""

        def shown() -> bool:
            text = self.text
            return all(word in text for word in words)

        await wait_until(shown, complaint=f"no {words} on the screen")

    async def press(self, *keys: str) -> None:
        """Presses keys, one after the other."""
        await self.pilot.press(*keys)

    async def select(self, pid: int) -> None:
        """Wait until a session is listed, and put the cursor on it."""
        await wait_until(lambda: pid in self.listed, complaint=f"{pid} is not listed")
        row = next(row for row in self.backends.rows if row.pid == pid)
        assert self.backends.move_to(row.id)

    async def dialog(self) -> PlanDialog:
        """Wait for the dialog, until it accepts a yes."""

        def armed() -> Any:
            screen = self.app.screen
            return screen if isinstance(screen, PlanDialog) and screen.is_armed else None

        found: PlanDialog = await wait_until(armed, complaint="no dialog that is armed")
        return found

    def audited(self) -> list[dict[str, Any]]:
        """The audit log's lines; none where there is no log."""
        return audited(self.audit)


def screen_text(app: PgtopApp) -> str:
    """Return the text on a program's screen, line by line, without what is blank between two styles."""
    lines = []
    for strip in app.screen._compositor.render_strips():
        said = (each.text for each in Segment.simplify(strip) if not each.text.isspace())
        lines.append("".join(said).replace("\xa0", " "))
    return "\n".join(line for line in lines if line)


@asynccontextmanager
async def dashboard(
    server: ThrowawayServer,
    audit: Path,
    *,
    size: tuple[int, int] = (120, 40),
    idle_after_seconds: float = 1.0,
    interval_seconds: float = 0.2,
    user: str = "postgres",
    password: str | None = None,
    recorder: FlightRecorder | None = None,
    thresholds: Thresholds = STANDARD,
    filters: Mapping[str, str] | None = None,
    name: str | None = None,
    **settings: Any,
) -> AsyncIterator[Driven]:
    """A dashboard on a server, as the superuser, with an audit log of its own; `settings` are Config's.

    Its past is recorded where `recorder` is given; `thresholds` are those of its diagnosis, `filters` the
    saved ones. `name` is the server's in the configuration file.
    """
    target = target_of(server, user=user)
    if password is not None:
        target = msgspec.structs.replace(target, password=password)
    async with connection_on(target, "dashboard") as own_connection:
        config = Config(
            interval_seconds=interval_seconds,
            idle_after_seconds=idle_after_seconds,
            audit_log=audit,
            **settings,
        )
        async with _running(
            own_connection, config, audit, size, recorder, thresholds, filters, name
        ) as driven:
            yield driven


@asynccontextmanager
async def waiting_dashboard(
    target: Target, audit: Path, *, size: tuple[int, int] = (120, 40), **settings: Any
) -> AsyncIterator[Driven]:
    """A dashboard that is not connected yet."""
    own_connection = OwnConnection(target, "dashboard")
    try:
        config = Config(audit_log=audit, **{"interval_seconds": 0.2, **settings})
        async with _running(own_connection, config, audit, size) as driven:
            yield driven
    finally:
        await own_connection.release()


@asynccontextmanager
async def _running(
    own_connection: OwnConnection,
    config: Config,
    audit: Path,
    size: tuple[int, int],
    recorder: FlightRecorder | None = None,
    thresholds: Thresholds = STANDARD,
    filters: Mapping[str, str] | None = None,
    name: str | None = None,
) -> AsyncIterator[Driven]:
    own_connection.hides_queries = config.hide_queries
    poller = Poller(Probe(own_connection), config.interval_seconds)
    reaper = Reaper(
        SqlTerminator(own_connection), AuditLog(audit), "dashboard", OPERATOR, read_only=config.read_only
    )
    wiring = Wiring(own_connection, poller, reaper)
    host_watch = HostWatch(own_connection.target, config.policy, reaper)
    first = await poller.next()
    screen = DashboardScreen(
        wiring=wiring,
        config=config,
        first=first,
        host_watch=host_watch,
        recorder=recorder,
        thresholds=thresholds,
        filters=filters,
        name=name,
    )
    app = PgtopApp(screen, theme=config.theme)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield Driven(app, pilot, audit)
    await screen.finish()


def count_stale(shown: Snapshot | None) -> int:
    """Return how many sessions of a snapshot have been idle for more than a second."""
    assert shown is not None
    return sum((row.idle_seconds(shown.taken_at) or 0) > 1 for row in shown.backends)


def as_text(lines: Sequence[Sequence[Cell]]) -> list[str]:
    """Return lines of cells as plain text."""
    return ["".join(cell.text for cell in line) for line in lines]


async def is_painted(screen: Screen[Any]) -> None:
    """Waits until a screen has been painted with what it shows by now."""
    painted = asyncio.Event()
    screen.call_after_refresh(painted.set)
    await painted.wait()
