"""The command `pgtop demo`: the dashboard on a throw-away server that fills up, by a cause of choice."""

from pathlib import Path
from typing import Any, Final

import click
import msgspec

from pgtop.commands.command import USUAL_NOTES, Command
from pgtop.commands.dashboard import need_screen, open_dashboard
from pgtop.commands.shared_options import demo_options, other_options
from pgtop.commands.standard_streams import show, warn
from pgtop.core.diagnosis.thresholds import Thresholds
from pgtop.core.text import clip, printable
from pgtop.demo.scenarios.catalogue import SCENARIOS, Scenario
from pgtop.errors import UsageError
from pgtop.exit_codes import ExitCode
from pgtop.settings.defaults_and_bounds import Given, in_force
from pgtop.settings.file import ConfigFile
from pgtop.settings.options import RECORD_KEYS, SCREENING, setting_options
from pgtop.settings.resolve import config_of, given_of

_LISTED: Final = SCREENING - {"rescue"} - RECORD_KEYS
"""The settings that make a difference: it connects to its own server, and records nothing."""


def _demo(context: click.Context, /, **_: Any) -> int:
    # The file is meant for real servers: its idle_after or read_only could leave the demo nothing to show.
    asked_for = context.params["config"] is not None
    config = config_of(context) if asked_for else in_force(given_of(context, ConfigFile(Path())))
    scenario = _scenario(context.params["scenario"])
    on_screen = not context.params["no_dashboard"]
    if on_screen:
        need_screen(config, "use pgtop demo --no-dashboard")
    from pgtop.demo.run import check, running_demo, wait_for_signal
    from pgtop.postgres.conninfo.resolve import resolve

    leak_every: Given = context.params["leak_every"]
    max_connections, seconds = context.params["max_connections"], msgspec.convert(leak_every.value, float)
    check(max_connections, seconds)
    for line in _first_lines(scenario):
        warn(line)
    with running_demo(
        max_connections=max_connections,
        leak_every_seconds=seconds,
        scenario=scenario,
    ) as demo:
        if not on_screen:
            wait_for_signal(demo)
            return ExitCode.DONE
        # The environment is left out: PGPASSWORD and PGSERVICE are meant for other servers.
        unkept = msgspec.structs.replace(config, history=None)  # the server is gone after the demo
        target, faster = resolve(demo.uri, {}, {}), Thresholds(compression=scenario.compression)
        return open_dashboard(context, target, unkept, _note(scenario), faster)


def _scenario(given: Given) -> Scenario:
    """Return the scenario of a name. Raises UsageError, which lists all names."""
    found = SCENARIOS.get(given.written)
    if found is None:
        raise UsageError(
            f'{given.source} "{clip(printable(given.written), 40)}" is not a scenario',
            f"give one of {', '.join(SCENARIOS)}",
        )
    return found


def _first_lines(scenario: Scenario) -> list[str]:
    """Return what is said before the screen opens."""
    factor = "" if scenario.compression == 1 else f"--time-factor {scenario.compression:.0f} "
    return [
        f"scenario {scenario.name}: {scenario.summary}",
        f"in the dashboard, press {scenario.press}",
        f"within {scenario.seconds} s, pgtop diagnose {factor}with this server's URI says {scenario.kind}",
        *([scenario.pace] if scenario.pace else []),
    ]


def _note(scenario: Scenario) -> str:
    """Return the first notice of the dashboard."""
    return " · ".join(filter(None, (f"{scenario.name}: press {scenario.press}", scenario.pace)))


DEMO: Final = Command(
    "demo",
    callback=click.pass_context(_demo),
    params=[
        *demo_options(SCENARIOS),
        *setting_options(_LISTED, own_defaults={"idle_after_seconds": "20s"}),
        *other_options(show),
    ],
    help="""Start a real throw-away PostgreSQL server and applications that fill it, with
        the dashboard on it. Everything is removed at the end.""",
    scenarios=[(each.name, each.summary) for each in SCENARIOS.values()],
    examples=(
        ("pgtop demo", "watch it fill up, then press S and y"),
        ("pgtop demo --scenario locks", "another cause: a lock queue"),
        ("pgtop demo --leak-every 500ms", "fill up faster"),
        ("pgtop demo --no-dashboard", "just the server; prints its URI"),
    ),
    notes=(
        *USUAL_NOTES,
        "Exit status: 0 done, 1 unexpected, 2 usage, or PostgreSQL's programs are missing.",
    ),
)
