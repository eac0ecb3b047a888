"""The command `pgtop reap`, once or as a daemon: its options and its output."""

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from pgtop.commands.command import USUAL_NOTES, Command
from pgtop.commands.password_prompt import with_password
from pgtop.commands.shared_options import (
    connection_options,
    other_options,
    reap_options,
    time_factor,
    time_factor_option,
)
from pgtop.commands.standard_streams import (
    need_output,
    show,
    show_if_read,
    show_outcome,
    table_width,
    warn,
)
from pgtop.core.diagnosis.thresholds import Thresholds
from pgtop.errors import UsageError
from pgtop.settings.defaults_and_bounds import Config
from pgtop.settings.options import REAPING, setting_options
from pgtop.settings.resolve import config_and_target, refuse_read_only

if TYPE_CHECKING:
    from pgtop.postgres.conninfo.target import Target

_REAP_STATUS: Final = (
    "Exit status: 0 done, or nothing to do; 1 unexpected, 2 usage, or the audit log cannot be written, "
    "3 cannot connect, 4 no slot left, 5 permission denied, 6 done in part, 130 Ctrl-C."
)


def _reap(context: click.Context, /, **_: Any) -> int:
    config, target = config_and_target(context)
    if not context.params["dry_run"]:
        refuse_read_only(config)
    if context.params["watch"]:
        return _watch(context, target, config)
    if context.params["time_factor"] is not None:
        raise UsageError("--time-factor is for the daemon", "add --watch")
    from pgtop.commands.reap.run import reap
    from pgtop.commands.reap.table import render
    from pgtop.core.canary import CANARY_SECONDS
    from pgtop.core.json_text import json_line
    from pgtop.reaping.report_json import as_report

    dry_run, always, canary = (context.params[name] for name in ("dry_run", "always", "canary"))
    pause_seconds = CANARY_SECONDS if canary else None
    if not dry_run:
        need_output()
    answer = with_password(
        context,
        target,
        lambda known: reap(
            known, config, dry_run=dry_run, always=always, pause_seconds=pause_seconds, tell=warn
        ),
    )
    if answer.warning:
        warn(answer.warning)

    def told() -> str:
        return json_line(as_report(answer)) if context.params["json"] else render(answer, table_width())

    if answer.report is not None:
        return show_outcome(told, answer.exit_code)
    show_if_read(told())
    return answer.exit_code


def _watch(context: click.Context, target: "Target", config: Config) -> int:
    for flag in ("json", "always", "canary"):
        if context.params[flag]:
            mend = "--log-format json" if flag == "json" else "leave one of them out"
            raise UsageError(f"--{flag} and --watch cannot be used together", mend)
    from pgtop.daemon.daemon import watch
    from pgtop.daemon.log import DaemonLog

    queries = config.log_queries and not config.hide_queries
    log = DaemonLog(sys.stderr, as_json=config.log_format == "json", queries=queries)
    dry_run, thresholds = context.params["dry_run"], Thresholds(compression=time_factor(context))

    try:
        return with_password(
            context,
            target,
            lambda known: watch(
                known,
                config,
                log,
                read_config=lambda: config_and_target(context),
                dry_run=dry_run,
                thresholds=thresholds,
            ),
        )
    finally:
        log.close()


REAP: Final = Command(
    "reap",
    callback=click.pass_context(_reap),
    params=[
        *reap_options(),
        *connection_options(),
        *setting_options(REAPING, own_defaults={"interval_seconds": "5s"}),
        time_factor_option(),
        *other_options(show),
    ],
    help="""Terminate stale sessions, if usage is above the 80% line; if no slot is left,
        only as many of the longest idle as needed. The rules are those of the
        dashboard's sweep. With --watch, run as a daemon.""",
    examples=(
        ("pgtop reap -h db1 --dry-run", "show the plan only"),
        ("pgtop reap -h db1 --application 'web*'", "only these applications"),
        ("pgtop reap -h db1 --watch", "keep the server from filling up"),
    ),
    notes=(*USUAL_NOTES, _REAP_STATUS),
)
