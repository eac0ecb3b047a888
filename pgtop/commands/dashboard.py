"""The command `pgtop` itself: the dashboard."""

import gc
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from pgtop.commands.command import USUAL_NOTES, Command
from pgtop.commands.password_prompt import with_password
from pgtop.commands.shared_options import (
    connection_options,
    other_options,
)
from pgtop.commands.standard_streams import (
    need_terminal,
    show,
)
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.settings.defaults_and_bounds import Config
from pgtop.settings.options import SCREENING, setting_options
from pgtop.settings.resolve import server_name, settings_of, target_of

if TYPE_CHECKING:
    from pgtop.postgres.conninfo.target import Target


def _dashboard(context: click.Context, /, **_: Any) -> int:
    settings = settings_of(context)
    config, target = settings.config, target_of(context, settings)
    need_screen(config, "use pgtop snapshot")
    return open_dashboard(context, target, config, filters=settings.file.filters, name=server_name(context))


def need_screen(config: Config, instead: str) -> None:
    """Raise UsageError, before anything else is begun, if the dashboard cannot be opened."""
    if config.on_alert is not None:
        from pgtop.tui.alerts.command_hook import command_words

        command_words(config.on_alert)
    need_terminal("the dashboard", instead)


def open_dashboard(
    context: click.Context,
    target: "Target",
    config: Config,
    note: str = "",
    thresholds: Thresholds = STANDARD,
    filters: Mapping[str, str] | None = None,
    name: str | None = None,
) -> int:
    gc.disable()  # until the first frame is painted: collecting during the imports would find no garbage
    from pgtop.tui.terminal.textual_variables import drop_unusable

    drop_unusable(os.environ)
    from pgtop.tui.opening import run_dashboard

    return with_password(
        context, target, lambda known: run_dashboard(known, config, note, thresholds, filters, name)
    )


DASHBOARD: Final = Command(
    "pgtop",
    callback=click.pass_context(_dashboard),
    params=[*connection_options(), *setting_options(SCREENING), *other_options(show)],
    help="""See which sessions hold a PostgreSQL server's connections, and terminate
    exactly those you see. CONNINFO is a URI, key=value pairs or a database's name, as
    psql takes them.""",
    commands=(
        ("pgtop", "the dashboard"),
        ("pgtop snapshot", "one look, as a table or as JSON"),
        ("pgtop reap", "terminate stale sessions, once or as a daemon"),
        ("pgtop diagnose", "what fills the server, and what to do"),
        ("pgtop replay", "the recorded past on the same screens"),
        ("pgtop record", "list recordings, and make one fit to be sent"),
        ("pgtop doctor", "can you connect when it is full, and make room"),
        ("pgtop break-glass", "make room from the server's own host"),
        ("pgtop leaks", "where Python code loses connections"),
        ("pgtop audit", "what was terminated, when, why and by whom"),
        ("pgtop config", "the settings in force, and where each comes from"),
        ("pgtop demo", "the dashboard on a throw-away server that fills up"),
        ("pgtop docs", "the manual, page by page"),
        ("pgtop completion", "the script for completion in bash, zsh or fish"),
    ),
    examples=(
        ("pgtop -h db1", "the dashboard of db1"),
        ("pgtop postgresql://ops@db1:5433/shop", "another port, role and database"),
        ("pgtop snapshot -h db1 --json", "for scripts"),
        ("pgtop @prod", "the server [servers.prod] of the configuration file"),
        ("pgtop -d snapshot", "a database with a command's name"),
    ),
    notes=(
        *USUAL_NOTES,
        (
            "Filter (key /): words that must all be found, app:web user:ops db:shop addr:10.0 state:idle "
            'pid:123 query:"order by", idle>5m txn>=30s age<1h; - in front excludes. F1: all keys.'
        ),
        "Exit status: 0 done, 1 unexpected, 2 usage, or not a terminal, 3 cannot connect.",
    ),
)
