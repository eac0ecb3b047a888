"""The command `pgtop doctor`: its options and its output."""

from typing import Any, Final

import click

from pgtop.commands.command import VARIABLES_NOTE, Command
from pgtop.commands.options import connection_options, json_option, other_options
from pgtop.commands.password import with_password
from pgtop.commands.terminal import show, show_if_read, table_width, warn
from pgtop.errors import ExitCode
from pgtop.settings.options import setting_options
from pgtop.settings.resolve import config_and_target

_STATUS: Final = (
    "Exit status: 0 this role gets in at 100% and may reap, 5 it does not, or may not; 1 unexpected, "
    "2 usage, 3 cannot connect, 4 no slot is left now: it does not get in."
)


def _doctor(context: click.Context, /, **_: Any) -> int:
    config, target = config_and_target(context)
    from pgtop.commands.doctor.examination import examine, report
    from pgtop.commands.doctor.table import render
    from pgtop.core.json_text import json_line

    examination = with_password(
        context, target, lambda known: examine(known, config.warn_at, config.wait_seconds, warn)
    )
    as_json = context.params["json"]
    show_if_read(json_line(report(examination)) if as_json else render(examination, table_width()))
    return ExitCode.DONE if examination.is_well else ExitCode.NOT_PERMITTED


DOCTOR: Final = Command(
    "doctor",
    callback=click.pass_context(_doctor),
    params=[
        json_option(),
        *connection_options(),
        *setting_options({"rescue", "wait_seconds", "warn_at"}),
        *other_options(show),
    ],
    help="""Say whether this role would still get in when all slots are taken, and
    could then make room, and what to grant or set where not. Nothing is changed.
    CONNINFO is a URI, key=value pairs or a database's name, as psql takes them.""",
    examples=(
        ("pgtop doctor -h db1 -U ops", "before you need it"),
        ("pgtop doctor -h db1 --json | jq .gets_in_at_full", "for scripts"),
    ),
    notes=(VARIABLES_NOTE, _STATUS),
)
