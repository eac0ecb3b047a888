"""The command `pgtop config`: its options and its output."""

from typing import Any, Final

import click

from pgtop.commands.command import USUAL_NOTES, Command
from pgtop.commands.shared_options import (
    connection_options,
    json_option,
    other_options,
)
from pgtop.commands.standard_streams import (
    show,
)
from pgtop.exit_codes import ExitCode
from pgtop.settings.options import REAPING, SCREENING, setting_options
from pgtop.settings.resolve import settings_of, target_of


def _config(context: click.Context, /, **_: Any) -> int:
    from pgtop.commands.config.table import filter_lines, lines, render, report
    from pgtop.core.json_text import json_line

    found = settings_of(context)
    target = target_of(context, found)
    settings = lines(found.config, found.given, target.rescue.label if target.rescue else None)
    filters, server = filter_lines(found.file), target.label
    if context.params["json"]:
        show(json_line(report(server, found.file.path, settings, filters)))
    else:
        show(render(server, found.file.path, settings, filters))
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
