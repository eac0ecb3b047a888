"""The command `pgtop config`: its options, and what it prints."""

from typing import Any, Final

import click

from pgtop.commands.command import USUAL_NOTES, Command
from pgtop.commands.options import (
    connection_options,
    json_option,
    other_options,
)
from pgtop.commands.terminal import (
    show,
)
from pgtop.errors import ExitCode
from pgtop.settings.config import in_force
from pgtop.settings.options import REAPING, SCREENING, setting_options
from pgtop.settings.resolve import file_of, given_of, target_of


def _config(context: click.Context, /, **_: Any) -> int:
    from pgtop.commands.config.table import lines, render, report
    from pgtop.core.json_text import json_line

    file = file_of(context)
    given = given_of(context, file)
    target = target_of(context)
    settings = lines(in_force(given), given, target.rescue.label if target.rescue else None)
    server = target.label
    if context.params["json"]:
        show(json_line(report(server, file.path, settings)))
    else:
        show(render(server, file.path, settings))
    return ExitCode.DONE


CONFIG: Final = Command(
    "config",
    callback=click.pass_context(_config),
    params=[
        json_option(),
        *connection_options(),
        *setting_options(REAPING | SCREENING),
        *other_options(show),
    ],
    help="""Print the settings in force and where each comes from: default, file,
        variable or option; and the server they lead to. Does not connect.""",
    examples=(("pgtop config @prod", "for the server [servers.prod]"),),
    notes=(
        *USUAL_NOTES,
        "Exit status: 0 done, 1 unexpected, 2 usage, or a bad configuration, 130 Ctrl-C.",
    ),
)
