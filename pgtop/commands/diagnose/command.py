"""The command `pgtop diagnose`: its options and its output."""

from typing import Any, Final

import click
import msgspec

from pgtop.commands.command import USUAL_NOTES, Command
from pgtop.commands.password_prompt import with_password
from pgtop.commands.shared_options import (
    connection_options,
    json_option,
    other_options,
    time_factor,
    time_factor_option,
)
from pgtop.commands.standard_streams import show, table_width, warn
from pgtop.exit_codes import ExitCode
from pgtop.settings.defaults_and_bounds import Given
from pgtop.settings.option_types import OUTPUT, Duration, Option
from pgtop.settings.options import setting_options
from pgtop.settings.resolve import config_and_target

_STATUS: Final = (
    "Exit status: 0 done, also if there is nothing to say; 1 unexpected, 2 usage, 3 cannot connect, "
    "4 no slot left, 5 states are hidden from this role or not tracked, 130 Ctrl-C."
)


def _diagnose(context: click.Context, /, **_: Any) -> int:
    config, target = config_and_target(context)
    from pgtop.commands.diagnose.run import examine
    from pgtop.commands.diagnose.table import render
    from pgtop.core.diagnosis.report import diagnosis_report
    from pgtop.core.diagnosis.thresholds import Thresholds
    from pgtop.core.json_text import json_line

    given: Given | None = context.params["for"]
    seconds = 0.0 if given is None else msgspec.convert(given.value, float)
    thresholds = Thresholds(compression=time_factor(context))
    diagnosed = with_password(
        context,
        target,
        lambda known: examine(
            known,
            config.warn_at,
            seconds,
            config.wait_seconds,
            warn,
            hides_queries=config.hide_queries,
            thresholds=thresholds,
        ),
    )
    if diagnosed.pooled:
        from pgtop.postgres.errors.network_and_driver import pooled_sentence

        warn(pooled_sentence(diagnosed.snapshot.server.address))
    if context.params["json"]:
        show(
            json_line(
                diagnosis_report(diagnosed.snapshot, diagnosed.findings, config.warn_at, diagnosed.forecast)
            )
        )
    else:
        show(render(diagnosed, config.warn_at, table_width()))
    counts = diagnosed.snapshot.counts
    return ExitCode.NOT_PERMITTED if counts.hidden or counts.disabled else ExitCode.DONE


DIAGNOSE: Final = Command(
    "diagnose",
    callback=click.pass_context(_diagnose),
    params=[
        Option(
            ["--for"],
            section=OUTPUT,
            type=Duration(),
            metavar="DURATION",
            help="look for this long first (30s)",
        ),
        time_factor_option(),
        json_option(),
        *connection_options(),
        *setting_options({"rescue", "wait_seconds", "warn_at", "hide_queries"}),
        *other_options(show),
    ],
    help="""Say what fills a server: one sentence for each cause, the heaviest first, with
    its evidence and what to do. Changes nothing.
    CONNINFO is a URI, key=value pairs or a database's name, as psql takes them.""",
    examples=(
        ("pgtop diagnose -h db1", "a leak, a lock queue, pools that are too large?"),
        ("pgtop diagnose -h db1 --for 2min", "also what came and went"),
        ("pgtop diagnose -h db1 --json | jq '.findings[0].sentence'", "for scripts"),
    ),
    notes=(*USUAL_NOTES, _STATUS),
)
