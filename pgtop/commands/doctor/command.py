"""The command `pgtop doctor`: its options and its output."""

from typing import Any, Final

import click

from pgtop.commands.command import USUAL_NOTES, Command
from pgtop.commands.password_prompt import with_password
from pgtop.commands.shared_options import connection_options, json_option, other_options
from pgtop.commands.standard_streams import show, show_if_read, table_width, warn
from pgtop.exit_codes import ExitCode
from pgtop.settings.options import setting_options
from pgtop.settings.resolve import config_and_target

_STATUS: Final = (
    "Exit status: 0 this role can connect when the server is full and can terminate sessions, 5 otherwise; "
    "1 unexpected, 2 usage, 3 cannot connect, 4 the server is full now and did not let it in, 130 Ctrl-C."
)


def _doctor(context: click.Context, /, **_: Any) -> int:
    config, target = config_and_target(context)
    from pgtop.commands.doctor.run import examine, report
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
    help="""Check whether this role could still connect when all slots are taken, and
    then make room; if not, say what to grant or set. Changes nothing.
    CONNINFO is a URI, key=value pairs or a database's name, as psql takes them.""",
    examples=(
        ("pgtop doctor -h db1 -U ops", "before you need it"),
        ("pgtop doctor -h db1 --json | jq .gets_in_at_full", "for scripts"),
    ),
    notes=(*USUAL_NOTES, _STATUS),
)
