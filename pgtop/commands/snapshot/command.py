"""The command `pgtop snapshot`: its options and its output."""

import os
import time
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec
from click.core import ParameterSource

from pgtop.commands.command import USUAL_NOTES, Command
from pgtop.commands.password_prompt import with_password
from pgtop.commands.shared_options import (
    at_option,
    connection_options,
    json_option,
    other_options,
)
from pgtop.commands.standard_streams import (
    show,
    table_width,
    warn,
)
from pgtop.commands.text_table import text_of
from pgtop.core.text import printable
from pgtop.errors import UsageError
from pgtop.exit_codes import ExitCode
from pgtop.settings.defaults_and_bounds import Config, Given
from pgtop.settings.option_types import OUTPUT, Option
from pgtop.settings.options import LOOKING, setting_options
from pgtop.settings.resolve import config_and_target, config_of

if TYPE_CHECKING:
    from pgtop.postgres.conninfo.target import Target

_HIDDEN_STATES: Final = (
    'A role without pg_monitor cannot see states. The total is then an upper bound, shown as "≤ 83" '
    '("exact": false in the JSON), and the exit status is 0.'
)


_WATCHING: Final = frozenset({"interval_seconds", "login_probe_seconds"})
"""The settings that matter to --watch alone."""


def _snapshot(context: click.Context, /, **_: Any) -> int:
    given: Given | None = context.params["at"]
    if given is not None:
        return _at(context, given)
    _refuse_file(context.params["conninfo"])
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


def _refuse_file(conninfo: str | None) -> None:
    """Raise UsageError for a recording without --at: its name would be taken for a database's."""
    if conninfo is not None and conninfo.endswith(".sqlite3") and os.path.isfile(conninfo):  # noqa: PTH113
        raise UsageError(f"{printable(conninfo)} is a file", "give a moment of the recording: --at 03:12")


def _at(context: click.Context, given: Given) -> int:
    from pgtop.commands.recording_choice import chosen_recording, moment_in, need_polls
    from pgtop.commands.snapshot.past import look_back, past_lines, past_report
    from pgtop.commands.snapshot.table import render
    from pgtop.core.json_text import json_line

    if context.params["watch"]:
        raise UsageError(f"--watch and {given.source} exclude each other", "leave one of them out")
    config = config_of(context)
    recording = chosen_recording(context, config, context.params["conninfo"])
    need_polls(recording)
    moment = moment_in(recording, given)
    seen = look_back(recording, moment, config.warn_at, hides_queries=config.hide_queries)
    now = time.time_ns() // 1000
    if context.params["json"]:
        show(json_line(past_report(seen, config.warn_at, now)))
    else:
        width = table_width()
        table = render(
            seen.snapshot,
            warn_at=config.warn_at,
            idle_after_seconds=config.idle_after_seconds,
            width=width,
            hides_queries=config.hide_queries,
        )
        show(text_of([*past_lines(seen, now, width), ""], width) + table)
    for problem in recording.problems:
        warn(problem)
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
        at_option("a poll of the recorded past, not of now"),
        json_option(),
        *connection_options(),
        *setting_options(LOOKING | _WATCHING | {"wait_seconds", "record_dir"}),
        *other_options(show),
    ],
    help="""Print one look at a server: how full it is, which applications hold its
        connections, and every session, longest idle first. CONNINFO is a URI,
        key=value pairs or a database's name, as psql takes them; with --at also the
        FILE of a recording.""",
    examples=(
        ("pgtop snapshot -h db1", "a table, as wide as the terminal"),
        ("pgtop snapshot -h db1 --json | jq .usage", "for scripts"),
        ("pgtop snapshot -h db1 --at 03:12", "the past, as it was recorded"),
        ("pgtop snapshot -h db1 --watch --interval 5s", "plain lines, for a screen reader"),
    ),
    notes=(
        *USUAL_NOTES,
        _HIDDEN_STATES,
        "Exit status: 0 done, 1 unexpected, 2 usage, 3 cannot connect, 4 no slot left, 130 Ctrl-C.",
    ),
)
