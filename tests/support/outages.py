"""A dashboard in trouble: what must hold of its screen in every outage, and once it is over."""

import time
from pathlib import Path

from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.conninfo.target import Target
from tests.servers import fetch_value, wait_until
from tests.support.dashboards import Driven, waiting_dashboard

QUIET = {"login_probe_seconds": 0.0, "idle_after_seconds": 0.5}
"""No second login by itself, so that each connection of pgtop's on the server is one that it keeps."""
LIMIT_SECONDS = 30.0
OWN_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgtop dashboard@%'"


def dashboard_on(target: Target, home: Path, **settings: object):  # type: ignore[no-untyped-def]
    """A dashboard on a target, quiet but for its polls."""
    return waiting_dashboard(target, home / "audit", **{**QUIET, **settings})


async def is_live(driven: Driven) -> None:
    """Waits until it shows the truth, and nothing of an outage."""
    await driven.shows("● live")
    assert not driven.backends.has_class("-greyed")


async def is_out(driven: Driven, *words: str) -> None:
    """Waits until the banner says what is wrong, and holds the rest of the screen against what it must be.

    The last good data stay, greyed, with their age; nothing is called live; keys answer.
    """
    listed = driven.listed
    assert listed
    wanted = ("✗ ", " old", *words)
    try:
        await wait_until(lambda: all(word in unfolded(driven) for word in wanted), LIMIT_SECONDS)
    except AssertionError:
        raise AssertionError(f"no {wanted} in {driven.text}") from None
    assert "● live" not in driven.text
    assert driven.listed
    for panel in (driven.backends, driven.dashboard.query_one("#head"), driven.dashboard.panels.groups):
        assert panel.has_class("-greyed")
    assert driven.dashboard.panels.graph.greyed
    before = driven.backends.sort_column
    await driven.press("s")
    assert driven.backends.sort_column is not before


def unfolded(driven: Driven) -> str:
    """What stands on the screen, as if its lines had no end."""
    return " ".join(driven.text.split())


async def is_back(driven: Driven, server: ThrowawayServer, since: float | None = None) -> None:
    """Waits until it is live again by itself, with one connection on the server and no second one."""
    begun = time.monotonic() if since is None else since
    await wait_until(lambda: "● live" in driven.text, LIMIT_SECONDS, "not live again")
    print(f"live after {time.monotonic() - begun:.2f} s")  # noqa: T201 - shown by pytest -rP
    await is_live(driven)

    async def one_connection() -> bool:
        return await fetch_value(server, OWN_SESSIONS) == 1

    await wait_until(one_connection, LIMIT_SECONDS, "not one connection")
    assert driven.app.is_running
