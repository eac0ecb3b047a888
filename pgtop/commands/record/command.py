"""The command `pgtop record`: its options and its output."""

from pathlib import Path
from typing import Any, Final

import click

from pgtop.commands.command import USUAL_NOTES, Command
from pgtop.commands.shared_options import (
    other_options,
    recorded_server_options,
    time_factor,
    time_factor_option,
)
from pgtop.commands.standard_streams import show, table_width, warn
from pgtop.core.near_words import nearest
from pgtop.core.text import printable
from pgtop.errors import HistoryError, UsageError
from pgtop.exit_codes import ExitCode
from pgtop.settings.defaults_and_bounds import Config, Given
from pgtop.settings.option_types import OUTPUT, FilePath, Option
from pgtop.settings.options import setting_options
from pgtop.settings.resolve import config_of

LIST: Final = "list"
SCRUB: Final = "scrub"
_ACTIONS: Final = (LIST, SCRUB)
_STATUS: Final = "Exit status: 0 done, 1 unexpected, 2 usage, or there is no such recording, 130 Ctrl-C."


def _record(context: click.Context, /, **_: Any) -> int:
    action: str | None = context.params["action"]
    config = config_of(context)
    if action == SCRUB:
        _scrub(context, config)
    elif action == LIST:
        _list(context, config)
    else:
        near = nearest(action, _ACTIONS) if action else None
        problem = "nothing is named to do" if action is None else f'there is no "{printable(action)}"'
        hint = f" (did you mean {near}?)" if near else ""
        raise UsageError(
            f"{problem}{hint}",
            "pgtop record list, or pgtop record scrub FILE -o OUT; the dashboard and the daemon record "
            "by themselves",
        )
    return ExitCode.DONE


def _list(context: click.Context, config: Config) -> None:
    from pgtop.commands.record.listing import directories, report_of, table
    from pgtop.commands.recording_choice import chosen_recording
    from pgtop.core.json_text import json_line
    from pgtop.history.file_safety import shown
    from pgtop.history.store import recorded_files

    if context.params["output"] is not None:
        raise UsageError("-o belongs to pgtop record scrub", "leave it out")
    named: str | None = context.params["conninfo"]
    if named is not None:
        files = chosen_recording(context, config, named).files
        found = [(files[0] if len(files) == 1 else files[0].parent, list(files))]
    else:
        found = [(each, recorded_files(each)) for each in directories(config.record_dir)]
    reports = [report_of(*each) for each in found]
    if context.params["json"]:
        show("".join(map(json_line, reports)))
    elif reports:
        show(table(reports, table_width()))
    else:
        show(f"nothing was recorded yet in {shown(config.record_dir)}\n")
    for each in reports:
        for problem in each.problems:
            warn(problem)


def _scrub(context: click.Context, config: Config) -> None:
    from pgtop.commands.progress import Progress
    from pgtop.commands.record.listing import size_words
    from pgtop.commands.recording_choice import chosen_recording, need_polls
    from pgtop.core.diagnosis.thresholds import Thresholds
    from pgtop.history.scrubbed_file import write_scrubbed
    from pgtop.history.store import SUFFIX

    if context.params["json"]:
        raise UsageError("--json belongs to pgtop record list", "leave it out")
    output: Given | None = context.params["output"]
    if output is None:
        raise UsageError("no file is named to write", "name it with -o, such as -o incident.sqlite3")
    if not output.written.endswith(SUFFIX):  # a word without it is taken for a database
        raise UsageError(
            f'{output.source} "{printable(output.written)}" does not end in {SUFFIX}',
            "pgtop replay knows a recording by it, such as incident.sqlite3",
        )
    thresholds = Thresholds(compression=time_factor(context))
    recording = chosen_recording(context, config, context.params["conninfo"])
    need_polls(recording)
    path = Path(output.written)
    try:
        with Progress("scrubbing") as progress:
            size = write_scrubbed(recording, path, config.warn_at, thresholds, progress.at)
    except HistoryError as error:
        raise UsageError(error.problem, error.mend) from error
    show(f"{printable(str(path))}: {size_words(size)}, {recording.polls} polls\n")
    for problem in recording.problems:
        warn(problem)


def _actions(_context: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    return [each for each in _ACTIONS if each.startswith(incomplete)]


RECORD: Final = Command(
    "record",
    callback=click.pass_context(_record),
    params=[
        click.Argument(["action"], required=False, metavar="list|scrub", shell_complete=_actions),
        Option(["--json"], section=OUTPUT, is_flag=True, help="list: JSON lines"),
        Option(
            ["-o", "--output"],
            section=OUTPUT,
            type=FilePath(),
            metavar="PATH",
            help="scrub: the file to write; it must not exist",
        ),
        time_factor_option(),
        *recorded_server_options(),
        *setting_options({"record_dir", "warn_at"}),
        *other_options(show),
    ],
    help="""List the recordings that the dashboard and the daemon made, or write one again
    with other names, addresses and statements, so that it can be sent to somebody.
    CONNINFO is as for the dashboard; FILE is a recording, or a directory of them.""",
    examples=(
        ("pgtop record list", "all servers that were recorded"),
        ("pgtop record scrub @prod -o incident.sqlite3", "a copy to send"),
        ("pgtop replay incident.sqlite3", "as whoever gets it reads it"),
    ),
    notes=(*USUAL_NOTES, _STATUS),
)
