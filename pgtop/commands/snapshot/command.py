"""The command `pgtop snapshot`: its options and its output."""

from typing import TYPE_CHECKING, Any, Final

import click
import msgspec
from click.core import ParameterSource

from pgtop.commands.command import USUAL_NOTES, Command
from pgtop.commands.password_prompt import with_password
from pgtop.commands.shared_options import (
    connection_options,
    json_option,
    other_options,
)
from pgtop.commands.standard_streams import (
    show,
    table_width,
    warn,
)
from pgtop.exit_codes import ExitCode
from pgtop.settings.defaults_and_bounds import Config
from pgtop.settings.option_types import OUTPUT, Option
from pgtop.settings.options import LOOKING, setting_options
from pgtop.settings.resolve import config_and_target

if TYPE_CHECKING:
    from pgtop.postgres.conninfo.target import Target

_HIDDEN_STATES: Final = (
    'A role without pg_monitor cannot see states. The total is then an upper bound, shown as "≤ 83" '
    '("exact": false in the JSON), and the exit status is 0.'
)


_WATCHING: Final = frozenset({"interval_seconds", "login_probe_seconds"})
"""The settings that matter to --watch alone."""


def _snapshot(context: click.Context, /, **_: Any) -> int:
    config, target = config_and_target(context)
    if context.params["watch"]:
        return _watch(context, target, config)
    from pgtop.commands.snapshot.run import look, report
    from pgtop.commands.snapshot.table import render
    from pgtop.core.json_text import json_line

    seen = with_password(
        context,
        target,
        lambda known: look(
            known,
            config.wait_seconds,
            warn,
            hides_queries=config.hide_queries,
            diagnoses_at=config.warn_at if context.params["json"] else None,
        ),
    )
    if seen.pooled:
        from pgtop.postgres.errors.network_and_driver import pooled_sentence

        warn(pooled_sentence(seen.snapshot.server.address))
    if context.params["json"]:
        show(json_line(report(seen, config.warn_at)))
    else:
        table = render(
            seen.snapshot,
            warn_at=config.warn_at,
            idle_after_seconds=config.idle_after_seconds,
            width=table_width(),
            hides_queries=config.hide_queries,
        )
        show(table)
    return ExitCode.DONE


def _watch(context: click.Context, target: "Target", config: Config) -> int:
    from pgtop.commands.snapshot.watch import watch
    from pgtop.commands.snapshot.watch_lines import JsonLines, TextLines

    if context.get_parameter_source("every_seconds") is ParameterSource.COMMANDLINE:
        config = msgspec.structs.replace(config, interval_seconds=config.every_seconds)
    lines = JsonLines(config.warn_at) if context.params["json"] else TextLines(config.warn_at)
    return with_password(context, target, lambda known: watch(known, config, lines, warn))


SNAPSHOT: Final = Command(
    "snapshot",
    callback=click.pass_context(_snapshot),
    params=[
        Option(["--watch"], section=OUTPUT, is_flag=True, help="a line for each poll, until Ctrl-C"),
        json_option(),
        *connection_options(),
        *setting_options(LOOKING | _WATCHING | {"wait_seconds"}),
        *other_options(show),
    ],
    help="""Print one look at a server: how full it is, which applications hold its
        connections, and every session, longest idle first. CONNINFO is a URI,
        key=value pairs or a database's name, as psql takes them.""",
    examples=(
        ("pgtop snapshot -h db1", "a table, as wide as the terminal"),
        ("pgtop snapshot -h db1 --json | jq .usage", "for scripts"),
        ("pgtop snapshot -h db1 --watch --interval 5s", "plain lines, for a screen reader"),
    ),
    notes=(
        *USUAL_NOTES,
        _HIDDEN_STATES,
        "Exit status: 0 done, 1 unexpected, 2 usage, 3 cannot connect, 4 no slot left, 130 Ctrl-C.",
    ),
)
