"""`python -m tests.screenshots`: makes `screenshots/` anew from the real program on a real server.

It takes about three minutes, since the demo fills up at its own pace; `--leak-every 0.5` is
quicker, with less of a curve. The `dev` extra brings what it needs.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.findings import Kind
from pgtop.core.diagnosis.thresholds import Thresholds
from pgtop.core.filter_sort import stale
from pgtop.demo.run import running_demo
from pgtop.demo.scenarios.catalogue import SCENARIOS
from pgtop.demo.server import ThrowawayServer
from pgtop.flight_recorder import FlightRecorder
from pgtop.history.recorder import Kept
from pgtop.history.store import RecordingStore, ServerKey
from pgtop.postgres.conninfo.resolve import resolve
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui.app import PgtopApp
from pgtop.tui.dashboard import DashboardScreen
from pgtop.tui.opening import FACE
from pgtop.tui.player import PlayerScreen
from pgtop.tui.screens.diagnosis import DiagnosisScreen
from pgtop.tui.screens.help import HelpScreen
from pgtop.tui.screens.lock_tree import LockTreeScreen
from pgtop.tui.screens.plan_dialog import PlanDialog
from pgtop.tui.state.host_watch import HostWatch
from pgtop.wiring import wire
from tests.servers import REPOSITORY, default_binaries, execute, sessions, wait_until
from tests.support.moving_picture import MovingPicture
from tests.support.pictures import BLANK_PICTURE, portable, to_png

PLACE = REPOSITORY / "screenshots"
LARGE, SMALL = (120, 40), (80, 24)
IDLE_AFTER_SECONDS = 20.0
LEAK_EVERY_SECONDS = 4.0
FILM = (100, 30)
FILM_LEAK_EVERY_SECONDS, FILM_IDLE_AFTER_SECONDS = 1.0, 8.0
"""The moving picture's own pace: an incident in some 20 seconds."""
REST_USAGE, OVER_USAGE = 0.6, 0.87
STALE_WANTED = 15
"""So many sessions a sweep should find."""
TRIES_WANTED, ENDED_WANTED = 37, 5
"""So many refused logins, and so many sessions that break-glass would end."""
POLLS_AFTER = 6
"""So many polls after the sweep, the curve shows the fall."""
LIMIT_SECONDS = 600.0
SERVER_NAME = "prod"
WAITING_WANTED = 12
"""So many sessions wait in the picture of the lock tree."""
TIME_FACTOR = 5.0
"""The diagnosis divides its times by this: a leak would be one only after two minutes."""


class Photographer:
    """Takes pictures of a running dashboard when the server has come to what they are to show."""

    def __init__(self, pilot: Pilot[None], dashboard: DashboardScreen, place: Path) -> None:
        self._pilot = pilot
        self._dashboard = dashboard
        self.place = place
        """The directory that the pictures are written to."""

    @property
    def snapshot(self) -> Snapshot:
        """What is on the screen."""
        if self._dashboard.state.shown is None:
            raise RuntimeError("the dashboard shows no snapshot")
        return self._dashboard.state.shown

    @property
    def stale(self) -> int:
        """How many sessions on the screen are stale."""
        now = self.snapshot.taken_at
        return sum(stale(each, now, IDLE_AFTER_SECONDS) for each in self.snapshot.backends)

    @property
    def cause(self) -> Kind | None:
        """The kind of the first finding; None without any."""
        found = self._dashboard.state.shown_findings
        return found[0].kind if found else None

    async def until(self, holds: Callable[[], object], what: str) -> None:
        """Waits for a condition, and then for the screen to have been painted."""
        await wait_until(holds, LIMIT_SECONDS, f"never seen: {what}")
        await self._pilot.pause()

    async def until_usage(self, usage: float) -> None:
        """Waits for so much usage."""
        await self.until(lambda: self.snapshot.usage >= usage, f"a usage of {usage:.0%}")

    async def polls(self, number: int) -> None:
        """Waits for so many more polls to be shown."""
        for _ in range(number):
            await self.until(partial(self._is_newer_than, self.snapshot.taken_at), "another poll")

    def _is_newer_than(self, taken_at: int) -> bool:
        return self.snapshot.taken_at > taken_at

    def picture(self) -> str:
        """Return what is on the screen, as SVG."""
        return portable(self._pilot.app.export_screenshot(title="pgtop"))

    def take(self, name: str) -> None:
        """Write one picture, as SVG and as PNG."""
        svg = self.picture()
        (self.place / f"{name}.svg").write_text(svg, encoding="utf-8")
        (self.place / f"{name}.png").write_bytes(to_png(svg))
        shown = self._dashboard.state.shown
        standing = "not connected" if shown is None else f"{shown.counts.total} of {shown.slots} slots"
        sys.stderr.write(f"{name}: {standing}\n")

    async def resize(self, size: tuple[int, int]) -> None:
        """Gives the terminal another size, and waits until it is painted."""
        await self._pilot.resize_terminal(*size)
        await self.polls(1)


async def tell(photographer: Photographer, pilot: Pilot[None]) -> None:
    """The story: at rest, over the line, the question, the answer."""
    await photographer.until_usage(REST_USAGE)
    photographer.take("at-rest")
    await photographer.until_usage(OVER_USAGE)
    await photographer.until(lambda: photographer.cause is Kind.LEAK, "the leak")
    photographer.take("over-the-line")
    await pilot.press("d")
    await photographer.until(lambda: isinstance(pilot.app.screen, DiagnosisScreen), "the diagnosis")
    await photographer.polls(1)
    photographer.take("diagnosis")
    await pilot.press("escape")
    await photographer.until(lambda: isinstance(pilot.app.screen, DashboardScreen), "the dashboard again")
    await pilot.press("w")
    await photographer.polls(1)
    photographer.take("wall")
    await pilot.press("w")
    await photographer.resize(SMALL)
    photographer.take("80x24")
    await photographer.resize(LARGE)
    await photographer.until(lambda: photographer.stale >= STALE_WANTED, f"{STALE_WANTED} stale sessions")
    await pilot.press("S")
    await photographer.until(lambda: isinstance(pilot.app.screen, PlanDialog), "the sweep's dialog")
    dialog = pilot.app.screen
    if not isinstance(dialog, PlanDialog) or not dialog.plan.victims:
        raise RuntimeError("the sweep's dialog has nobody to end")
    await photographer.until(lambda: dialog.is_armed, "a dialog that takes a yes")
    photographer.take("sweep-dialog")
    await pilot.press("y")
    await photographer.until(lambda: isinstance(pilot.app.screen, DashboardScreen), "the dashboard again")
    await photographer.polls(POLLS_AFTER)
    photographer.take("after-the-sweep")
    await pilot.press("left")
    await photographer.until(lambda: isinstance(pilot.app.screen, PlayerScreen), "the player")
    await pilot.press("comma")
    player = pilot.app.screen
    if not isinstance(player, PlayerScreen):
        raise RuntimeError("the player is gone")
    await photographer.until(lambda: player.notices.current is not None, "an event of the recording")
    photographer.take("replay")
    await pilot.press("end")


async def tell_of_locks(photographer: Photographer, pilot: Pilot[None]) -> None:
    """A lock queue: the line below the head, the tree, and the details of its root."""
    await photographer.until(lambda: photographer.cause is Kind.LOCK_QUEUE, "the lock queue")
    await photographer.until(
        lambda: photographer.snapshot.waiting_on_locks >= WAITING_WANTED, f"{WAITING_WANTED} that wait"
    )
    await pilot.press("b")
    await photographer.until(lambda: isinstance(pilot.app.screen, LockTreeScreen), "the lock tree")
    await photographer.polls(3)
    photographer.take("lock-tree")
    await pilot.press("escape")
    await pilot.press("f1")
    await photographer.until(lambda: isinstance(pilot.app.screen, HelpScreen), "the help")
    await photographer.polls(1)
    photographer.take("help")
    await pilot.press("escape")


async def tell_of_no_slot(photographer: Photographer, pilot: Pilot[None]) -> None:
    """The other story: no slot is left, and this is the server's own host."""
    dashboard = pilot.app.screen
    if not isinstance(dashboard, DashboardScreen):
        raise RuntimeError(f"{dashboard} is not the dashboard")

    def seen() -> bool:
        outage, plan = dashboard.state.outage, dashboard.host_watch and dashboard.host_watch.plan()
        return bool(outage and outage.tries >= TRIES_WANTED and plan and len(plan.victims) >= ENDED_WANTED)

    await photographer.until(seen, "a plan for the full server")
    photographer.take("no-slot-left")
    await pilot.press("B")
    await photographer.until(lambda: isinstance(pilot.app.screen, PlanDialog), "the dialog of break-glass")
    photographer.take("break-glass")
    await pilot.press("escape")


async def tell_an_incident(photographer: Photographer, pilot: Pilot[None]) -> None:
    """The story that moves: calm, the line climbs, the plan, the sweep, room."""
    film = MovingPicture()
    while photographer.snapshot.usage < OVER_USAGE or photographer.stale < STALE_WANTED:
        await photographer.polls(1)
        film.add(photographer.picture(), 0.35)
    film.add(photographer.picture(), 1.0)
    await pilot.press("S")
    await photographer.until(lambda: isinstance(pilot.app.screen, PlanDialog), "the sweep's dialog")
    dialog = pilot.app.screen
    if not isinstance(dialog, PlanDialog):
        raise RuntimeError("the sweep's dialog is gone")
    await photographer.until(lambda: dialog.is_armed, "a dialog that takes a yes")
    film.add(photographer.picture(), 4.0)
    await pilot.press("y")
    await photographer.until(lambda: isinstance(pilot.app.screen, DashboardScreen), "the dashboard again")
    for _ in range(POLLS_AFTER):
        await photographer.polls(1)
        film.add(photographer.picture(), 0.35)
    film.add(photographer.picture(), 3.0)
    film.write(photographer.place / "incident.gif")
    sys.stderr.write(f"incident: {film.seconds:.0f} s\n")


Story = Callable[[Photographer, Pilot[None]], Coroutine[Any, Any, None]]


async def run(uri: str, config: Config, place: Path, size: tuple[int, int], story: Story) -> None:
    """Opens the dashboard as `pgtop` does, but on no terminal, and photographs it."""
    wiring = wire(resolve(uri, {}, {}), config, FACE)
    recordings = Path(config.audit_log).parent / "recordings" / story.__name__
    store = RecordingStore(recordings, ServerKey(SERVER_NAME, 1))
    try:
        first = await wiring.poller.next()
        host_watch = HostWatch(wiring.own_connection.target, config.policy, wiring.reaper)
        dashboard = DashboardScreen(
            wiring=wiring,
            config=config,
            first=first,
            host_watch=host_watch,
            recorder=FlightRecorder(store, Kept.FINGERPRINTS, FACE, "ops"),
            name=SERVER_NAME,
            thresholds=Thresholds(compression=TIME_FACTOR),
        )
        app = PgtopApp(dashboard, theme=config.theme)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await story(Photographer(pilot, dashboard, place), pilot)
    finally:
        await wiring.own_connection.release()


async def run_without_slot(audit_log: Path, place: Path) -> None:
    """The same on a server of which every slot is taken, the superusers' too."""
    settings = {"max_connections": "40", "superuser_reserved_connections": "3"}
    with ThrowawayServer(default_binaries(), settings=settings) as server:
        roles = {"shop_web": 22, "leaky_worker": 15}
        await execute(server, *(f"CREATE ROLE {role} LOGIN" for role in (*roles, "ops")))
        config = Config(audit_log=audit_log, emergency_idle_after_seconds=3.0, interval_seconds=0.5)
        async with AsyncExitStack() as stack:
            for role, number in (*roles.items(), ("postgres", 3)):
                await stack.enter_async_context(sessions(server, number, user=role))
            await run(server.uri(user="ops"), config, place, SMALL, tell_of_no_slot)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.screenshots", description="Makes screenshots/ anew."
    )
    parser.add_argument("--leak-every", type=float, default=LEAK_EVERY_SECONDS, metavar="SECONDS")
    parser.add_argument("--into", type=Path, default=PLACE, metavar="DIRECTORY")
    chosen = parser.parse_args()
    os.environ.pop("NO_COLOR", None)
    os.environ.setdefault("PGTOP_PG_BIN", str(default_binaries()))
    try:
        to_png(BLANK_PICTURE)
    except (FileNotFoundError, ModuleNotFoundError) as lacking:
        parser.error(f"{lacking} (pip install --editable '.[dev]' brings the modules)")
    chosen.into.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as temporary,
        running_demo(leak_every_seconds=chosen.leak_every) as demo,
    ):
        audit_log = Path(temporary, "audit.jsonl")
        asyncio.run(run_without_slot(audit_log, chosen.into))
        config = Config(audit_log=audit_log, idle_after_seconds=IDLE_AFTER_SECONDS)
        asyncio.run(run(demo.uri, config, chosen.into, LARGE, tell))
    with tempfile.TemporaryDirectory() as temporary, running_demo(scenario=SCENARIOS["locks"]) as demo:
        config = Config(audit_log=Path(temporary, "audit.jsonl"))
        asyncio.run(run(demo.uri, config, chosen.into, LARGE, tell_of_locks))
    with (
        tempfile.TemporaryDirectory() as temporary,
        running_demo(leak_every_seconds=FILM_LEAK_EVERY_SECONDS) as demo,
    ):
        config = Config(
            audit_log=Path(temporary, "audit.jsonl"),
            idle_after_seconds=FILM_IDLE_AFTER_SECONDS,
            interval_seconds=1.0,
        )
        asyncio.run(run(demo.uri, config, chosen.into, FILM, tell_an_incident))


if __name__ == "__main__":
    main()
