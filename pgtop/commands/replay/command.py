"""The command `pgtop replay`: its options and its output."""

from typing import TYPE_CHECKING, Any, Final

import click

from pgtop.commands.command import USUAL_NOTES, Command
from pgtop.commands.shared_options import (
    at_option,
    other_options,
    recorded_server_options,
    time_factor,
    time_factor_option,
)
from pgtop.commands.standard_streams import need_terminal, show, table_width, warn
from pgtop.errors import UsageError
from pgtop.exit_codes import ExitCode
from pgtop.settings.defaults_and_bounds import Given
from pgtop.settings.option_types import OUTPUT, Option
from pgtop.settings.options import setting_options
from pgtop.settings.resolve import config_of, server_name, settings_of

if TYPE_CHECKING:
    from pgtop.history.recording import Recording
    from pgtop.settings.defaults_and_bounds import Config

_STATUS: Final = "Exit status: 0 done, 1 unexpected, 2 usage, or there is no such recording, 130 Ctrl-C."
_LISTED: Final = frozenset({"warn_at", "idle_after_seconds", "hide_queries", "theme", "record_dir"})


def _replay(context: click.Context, /, **_: Any) -> int:
    from pgtop.commands.recording_choice import chosen_recording, moment_in, need_polls

    config = config_of(context)
    if context.params["json"] and not context.params["diagnose"]:
        raise UsageError("--json needs --diagnose", "add --diagnose, or see pgtop snapshot --at TIME --json")
    factor = time_factor(context)
    recording = chosen_recording(context, config, context.params["conninfo"])
    need_polls(recording)
    given: Given | None = context.params["at"]
    at = None if given is None else moment_in(recording, given)
    if context.params["diagnose"]:
        _diagnose(recording, at, config, factor, as_json=context.params["json"])
        return ExitCode.DONE
    need_terminal("the player", "add --diagnose, or see pgtop snapshot --at TIME")
    from pgtop.core.diagnosis.thresholds import Thresholds
    from pgtop.tui.replaying import run_replay

    return run_replay(
        recording,
        at=at,
        config=config,
        name=server_name(context),
        thresholds=Thresholds(compression=factor),
        filters=settings_of(context).file.filters,
    )


def _diagnose(
    recording: "Recording", at: int | None, config: "Config", factor: float, *, as_json: bool
) -> None:
    from pgtop.commands.replay.diagnosis import diagnose_recording
    from pgtop.commands.replay.lines import json_lines, text_lines
    from pgtop.core.diagnosis.thresholds import Thresholds

    thresholds = Thresholds(compression=factor)
    diagnosed = diagnose_recording(
        recording, at, config.warn_at, thresholds, hides_queries=config.hide_queries
    )
    if as_json:
        show("".join(json_lines(diagnosed)))
    else:
        show(text_lines(diagnosed, config.warn_at, table_width()))
    for problem in recording.problems:
        warn(problem)


REPLAY: Final = Command(
    "replay",
    callback=click.pass_context(_replay),
    params=[
        at_option("begin at this time"),
        Option(
            ["--diagnose"],
            section=OUTPUT,
            is_flag=True,
            help="print what the diagnosis would have said when, instead of the screen",
        ),
        Option(["--json"], section=OUTPUT, is_flag=True, help="with --diagnose: JSON lines"),
        time_factor_option(),
        *recorded_server_options(),
        *setting_options(_LISTED),
        *other_options(show),
    ],
    help="""Play back what was recorded of a server, on the same screens. Nothing can be
    terminated there, and no server is needed. CONNINFO is as for the dashboard;
    FILE is a recording, or a directory of a server's recordings.""",
    examples=(
        ("pgtop replay -h db1 --at 03:12", "the screen of that minute"),
        ("pgtop replay incident.sqlite3", "a recording that somebody sent"),
        ("pgtop replay @prod --diagnose", "what filled the server, and when"),
    ),
    notes=(*USUAL_NOTES, _STATUS),
)
