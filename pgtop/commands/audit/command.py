"""The command `pgtop audit`: its options and its output."""

from typing import Any, Final

import click
import msgspec

from pgtop.commands.command import USUAL_NOTES, Command
from pgtop.commands.shared_options import (
    audit_options,
    other_options,
)
from pgtop.commands.standard_streams import (
    show,
    table_width,
    warn,
)
from pgtop.errors import UsageError
from pgtop.exit_codes import ExitCode
from pgtop.settings.defaults_and_bounds import Given
from pgtop.settings.option_types import OUTPUT
from pgtop.settings.options import setting_options
from pgtop.settings.resolve import config_of


def _audit(context: click.Context, /, **_: Any) -> int:
    from pgtop.commands.audit.report import Question, show_json, show_table

    config = config_of(context)
    path = config.audit_log
    if path is None:
        raise UsageError("an audit log on standard error cannot be read back", "give --audit-log PATH")
    since: Given | None = context.params["since"]
    # Not from the configuration: a filter there selects what a sweep may terminate, and would hide actions.
    applications: Given | None = context.params["applications"]
    question = Question(
        path,
        named=context.params["audit_log"] is not None,
        since_seconds=None if since is None else msgspec.convert(since.value, float),
        applications=() if applications is None else msgspec.convert(applications.value, tuple[str, ...]),
        servers=tuple(str(each.value) for each in context.params["server"]),
        hides_queries=config.hide_queries,
    )
    if context.params["json"]:
        show_json(question, show, warn)
    else:
        show_table(question, table_width, show, warn)
    return ExitCode.DONE


AUDIT: Final = Command(
    "audit",
    callback=click.pass_context(_audit),
    params=[
        *audit_options(),
        *setting_options({"applications", "audit_log", "hide_queries"}, filters=OUTPUT),
        *other_options(show),
    ],
    help="""Read the audit log back: each session that was to be terminated, or
        whose query was to be cancelled, with the outcome, newest last.""",
    examples=(
        ("pgtop audit --since 1h", "the last hour"),
        ("pgtop audit --application 'leaky*' --json", "one application, for scripts"),
        ("pgtop audit --server db1 | less -S", "one server; in a pipe the table is complete"),
    ),
    notes=(
        *USUAL_NOTES,
        (
            "Exit status: 0 done, 1 unexpected, 2 usage, or the log cannot be read or lacks the server, "
            "130 Ctrl-C."
        ),
    ),
)
