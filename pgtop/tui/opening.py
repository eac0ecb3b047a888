"""The dashboard from its start to its end: the server is reached while the screen is imported."""

import asyncio
import contextlib
import io
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.core.outage import Outage, OutageKind
from pgtop.exit_codes import ExitCode
from pgtop.poller import Poller
from pgtop.postgres.conninfo.target import Target
from pgtop.postgres.errors.kinds import FullError, LimitReachedError
from pgtop.postgres.session.own_connection import OwnConnection
from pgtop.settings.defaults_and_bounds import Config
from pgtop.wiring import Wiring, wire

if TYPE_CHECKING:
    from pgtop.tui.app import PgtopApp
    from pgtop.tui.dashboard import DashboardScreen

FACE: Final = "dashboard"
OPENS_AFTER_SECONDS: Final = 1.0
"""The seconds after which the screen opens although the rescue role has no answer yet."""


async def _first(own_connection: OwnConnection, poller: Poller) -> Snapshot | Outage:
    """Return the result that the screen opens with.

    Raises PgtopError if no connection can be made for another reason than a lack of slots.
    """
    taking = asyncio.ensure_future(own_connection.take())
    taking.add_done_callback(lambda done: done.cancelled() or done.exception())
    begun = time.monotonic()
    while not (await asyncio.wait({taking}, timeout=OPENS_AFTER_SECONDS / 10))[0]:
        if own_connection.refused is not None and time.monotonic() - begun > OPENS_AFTER_SECONDS:
            # The ordinary role was refused, and the rescue role has no answer yet: the screen waits for it.
            kind = OutageKind.FULL if own_connection.refused.is_the_servers else OutageKind.LIMIT
            waited = "no answer yet"
            limit = own_connection.refused
            return Outage(kind, str(limit), limit=limit, tries=1, rescue_problem=waited)
    with contextlib.suppress(FullError, LimitReachedError):
        taking.result()
    return await poller.next()


async def run_dashboard(
    target: Target,
    config: Config,
    note: str = "",
    thresholds: Thresholds = STANDARD,
    filters: Mapping[str, str] | None = None,
    name: str | None = None,
) -> int:
    """Open the dashboard on a server, stay until it is closed, and return the exit code.

    `note` is the first notice, `thresholds` are those of the diagnosis, `filters` the saved ones by
    name. `name` is that of the server in the configuration file.

    Raises PgtopError before the screen opens if the server cannot be reached; a server that has no slot left
    is tried again on the screen.
    """
    later = io.StringIO()
    wiring = wire(target, config, FACE, later)
    try:
        # The import takes longer than the login, so that the server is waited for meanwhile.
        importing = asyncio.ensure_future(asyncio.to_thread(_import_screen))
        first = await _first(wiring.own_connection, wiring.poller)
        await importing
        app, dashboard = _app(wiring, config, first, thresholds, filters, name)
        if note:
            from pgtop.tui.lines.notice import Notice

            dashboard.notices.post(Notice(note))
        await app.run_async()
        await dashboard.finish()
        if app.failure is not None:
            raise app.failure
    finally:
        await wiring.own_connection.release()
        # The screen owns standard error while it is open. The terminal may be gone by now, or not reading:
        # then even an empty write would block.
        if said := later.getvalue():
            with contextlib.suppress(OSError):
                sys.stderr.write(said)
                sys.stderr.flush()
    return app.return_code or ExitCode.DONE


def _import_screen() -> None:
    # textual takes most of the time that a start takes
    import pgtop.tui.app
    import pgtop.tui.dashboard  # noqa: F401


def _app(
    wiring: Wiring,
    config: Config,
    first: Snapshot | Outage,
    thresholds: Thresholds,
    filters: Mapping[str, str] | None,
    name: str | None,
) -> "tuple[PgtopApp, DashboardScreen]":
    """Return the program over a first result, and its screen; its modules are imported by now."""
    from pgtop.flight_recorder import flight_recorder
    from pgtop.tui.app import PgtopApp
    from pgtop.tui.dashboard import DashboardScreen
    from pgtop.tui.state.host_watch import HostWatch
    from pgtop.tui.terminal.capabilities import hide_dumbness, own_abilities

    able = own_abilities()
    hide_dumbness()
    dashboard = DashboardScreen(
        wiring=wiring,
        config=config,
        first=first,
        host_watch=HostWatch(wiring.own_connection.target, config.policy, wiring.reaper),
        recorder=flight_recorder(wiring.own_connection.target, config, FACE),
        thresholds=thresholds,
        filters=filters,
        ascii_only=not able.unicode,
        name=name,
    )
    return PgtopApp(dashboard, theme=config.theme, able=able), dashboard
