"""The command `pgtop history`: its options and its output."""

import time
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from pgtop.commands.command import USUAL_NOTES, Command
from pgtop.commands.shared_options import json_option, other_options, recorded_server_options
from pgtop.commands.standard_streams import show, table_width
from pgtop.errors import UsageError
from pgtop.exit_codes import ExitCode
from pgtop.settings.defaults_and_bounds import Given
from pgtop.settings.option_types import OUTPUT, Duration, Option
from pgtop.settings.options import setting_options
from pgtop.settings.resolve import config_of

if TYPE_CHECKING:
    from pgtop.commands.history.reading import Question
    from pgtop.core.incident_history import IncidentHistory
    from pgtop.history.recording import Recording
    from pgtop.settings.defaults_and_bounds import Config

_STATUS: Final = "Exit status: 0 done, 1 unexpected, 2 usage, or there is no such recording, 130 Ctrl-C."
_LISTED: Final = frozenset({"warn_at", "hide_queries", "audit_log", "record_dir"})
_DAY_SECONDS: Final = 86_400.0
_EVER: Final = 2**62


def _history(context: click.Context, /, **_: Any) -> int:
    from pgtop.commands.history.report import report
    from pgtop.commands.history.table import render
    from pgtop.core.history_json import history_report
    from pgtop.core.json_text import json_line
    from pgtop.core.scrubbed_history import scrubbed_history
    from pgtop.core.scrubbing import Scrubber

    if context.params["json"] and context.params["report"]:
        raise UsageError("--json and --report contradict each other", "leave one of them out")
    history = _read(context, config_of(context))
    if context.params["scrub"]:
        history = scrubbed_history(history, Scrubber())
    if context.params["json"]:
        show(json_line(history_report(history)))
    elif context.params["report"]:
        show(report(history, is_scrubbed=context.params["scrub"]))
    else:
        show(render(history, table_width()))
    return ExitCode.DONE


def _read(context: click.Context, config: "Config") -> "IncidentHistory":
    from pgtop.commands.history.reading import read_history
    from pgtop.commands.progress import Progress
    from pgtop.commands.recording_choice import chosen_recording

    with Progress("reading the recording") as progress:
        recording = chosen_recording(context, config, context.params["conninfo"])
        return read_history(recording, _question(context, config, recording), progress.at)


def _question(context: click.Context, config: "Config", recording: "Recording") -> "Question":
    from pgtop.commands.history.reading import Question
    from pgtop.commands.recording_choice import named_file
    from pgtop.core.activity import MICROSECONDS

    is_file = named_file(context.params["conninfo"]) is not None
    since: Given | None = context.params["since"]
    now = recording.server_time(time.time_ns() // 1000)
    first, last = _reach(recording) if is_file else (0, now)
    end = last if is_file or recording.is_empty else max(now, recording.last_at)
    start = first if is_file else end - round(_DAY_SECONDS * MICROSECONDS)
    if since is not None:
        start = end - round(msgspec.convert(since.value, float) * MICROSECONDS)
    return Question(
        start=start,
        end=end,
        now=None if is_file else now,
        warn_at=config.warn_at,
        # The acts on this host are not those on the server that somebody's file is of.
        audit_log=config.audit_log,
        has_audit=not is_file or context.params["audit_log"] is not None,
        hides_queries=config.hide_queries,
    )


def _reach(recording: "Recording") -> tuple[int, int]:
    """Return the first and the last time of a recording (microseconds). Raises UsageError if it is empty."""
    times = [each.at for run in recording.counts(-_EVER, _EVER) for each in run.counts]
    if not times:
        raise UsageError("this recording is empty", "name another FILE; see pgtop record list")
    return min(times), max(times) + 1


HISTORY: Final = Command(
    "history",
    callback=click.pass_context(_history),
    params=[
        Option(
            ["--since"],
            section=OUTPUT,
            type=Duration(),
            metavar="DURATION",
            help="only the last 30min, 6h, 2d (24h; of a FILE all of it)",
        ),
        json_option(),
        Option(
            ["--report"],
            section=OUTPUT,
            is_flag=True,
            help="Markdown to paste into a post-mortem, with a graph and times in UTC",
        ),
        Option(
            ["--scrub"],
            section=OUTPUT,
            is_flag=True,
            help="other names in place of those of applications, users, hosts and addresses",
        ),
        *recorded_server_options(),
        *setting_options(_LISTED),
        *other_options(show),
    ],
    help="""Tell what happened to a server: each time it was over the 80% line or full, what
    filled it, which applications grew, and every act on its sessions. It reads what the dashboard and
    pgtop reap --watch recorded, and the audit log; no server is needed.
    CONNINFO is as for the dashboard; FILE is a recording, or a directory of a server's recordings.""",
    examples=(
        ("pgtop history -h db1", "the last 24 hours"),
        ("pgtop history @prod --since 2h --report > incident.md", "for the post-mortem"),
        ("pgtop history incident.sqlite3 --report --scrub", "to be shown to somebody else"),
        ("pgtop history -h db1 --json | jq '.episodes[].filled_by.sentence'", "for scripts"),
    ),
    notes=(*USUAL_NOTES, _STATUS),
)
