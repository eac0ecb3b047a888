"""The command `pgtop demo`: the dashboard on a throw-away server that fills up."""

from pathlib import Path
from typing import Any, Final

import click
import msgspec

from pgtop.commands.command import USUAL_NOTES, Command
from pgtop.commands.dashboard import need_screen, open_dashboard
from pgtop.commands.shared_options import (
    demo_options,
    other_options,
)
from pgtop.commands.standard_streams import (
    show,
)
from pgtop.exit_codes import ExitCode
from pgtop.settings.defaults_and_bounds import Given, in_force
from pgtop.settings.file import ConfigFile
from pgtop.settings.options import NO_HISTORY, SCREENING, setting_options
from pgtop.settings.resolve import config_of, given_of

_LISTED: Final = SCREENING - {"rescue", "history", NO_HISTORY}
"""The settings that make a difference: it connects to its own server, and keeps no history."""


def _demo(context: click.Context, /, **_: Any) -> int:
    # The file is meant for real servers: its idle_after or read_only could leave the demo nothing to show.
    asked_for = context.params["config"] is not None
    config = config_of(context) if asked_for else in_force(given_of(context, ConfigFile(Path())))
    on_screen = not context.params["no_dashboard"]
    if on_screen:
        need_screen(config, "use pgtop demo --no-dashboard")
    from pgtop.demo.run import running_demo, wait_for_signal
    from pgtop.postgres.conninfo.resolve import resolve

    leak_every: Given = context.params["leak_every"]
    with running_demo(
        max_connections=context.params["max_connections"],
        leak_every_seconds=msgspec.convert(leak_every.value, float),
    ) as demo:
        if not on_screen:
            wait_for_signal(demo)
            return ExitCode.DONE
        # The environment is left out: PGPASSWORD and PGSERVICE are meant for other servers.
        unkept = msgspec.structs.replace(config, history=None)  # the server is gone after the demo
        return open_dashboard(context, resolve(demo.uri, {}, {}), unkept)


DEMO: Final = Command(
    "demo",
    callback=click.pass_context(_demo),
    params=[
        *demo_options(),
        *setting_options(_LISTED, own_defaults={"idle_after_seconds": "20s"}),
        *other_options(show),
    ],
    help="""Start a real throw-away PostgreSQL server and a workload that leaks
        connections, with the dashboard on it. Everything is removed at the end.""",
    examples=(
        ("pgtop demo", "watch it fill up, then press S and y"),
        ("pgtop demo --leak-every 500ms", "fill up faster"),
        ("pgtop demo --no-dashboard", "just the server; prints its URI"),
    ),
    notes=(
        *USUAL_NOTES,
        "Exit status: 0 done, 1 unexpected, 2 usage, or PostgreSQL's programs are missing.",
    ),
)
