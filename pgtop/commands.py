"""The commands: what each takes, and the face it hands over to.

The one place that knows every face. A face is imported inside its command, so that `pgtop --version` is
quick, and `pgtop snapshot` needs no screen.
"""

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from pgtop.break_glass_command import BREAK_GLASS
from pgtop.command import DURATIONS_NOTE, VARIABLES_NOTE, Command
from pgtop.config import Config, Given, in_force
from pgtop.configfile import ConfigFile
from pgtop.connecting import config_of, file_of, given_of, refuse_read_only, target_of, with_password
from pgtop.doctor_command import DOCTOR
from pgtop.errors import ExitCode, UsageError
from pgtop.options import (
    audit_options,
    connection_options,
    demo_options,
    json_option,
    other_options,
    reap_options,
)
from pgtop.setting_options import LOOKING, REAPING, SCREENING, setting_options
from pgtop.terminal import need_terminal, show, show_if_read, table_width, warn

if TYPE_CHECKING:
    from pgtop.postgres.target import Target

_NOTES: Final = (
    VARIABLES_NOTE,
    DURATIONS_NOTE,
    "Exit status: 0 done, 1 unexpected, 2 usage, 3 cannot connect, 4 no slot left, 5 not permitted.",
)

_REAP_STATUS: Final = (
    "Exit status: 0 done, or nothing to do; 1 unexpected, 2 usage, or the audit log cannot be written, "
    "3 cannot connect, 4 no slot left, 5 nobody could be ended for want of permission, 6 done in part."
)

_HIDDEN_STATES: Final = (
    'A role without pg_monitor does not see states. The total is then an upper bound, shown as "≤ 83" '
    '("exact": false in the JSON), and the exit status is 0.'
)


def _dashboard(context: click.Context, /, **_: Any) -> int:
    config = config_of(context)
    target = target_of(context)
    _need_screen(config, "use pgtop snapshot")
    return _run_dashboard(context, target, config)


def _need_screen(config: Config, instead: str) -> None:
    """Raises UsageError where the dashboard cannot be opened, before anything else is begun."""
    if config.on_alert is not None:
        from pgtop.alert_command import command_words

        command_words(config.on_alert)
    need_terminal("the dashboard", instead)


def _run_dashboard(context: click.Context, target: "Target", config: Config) -> int:
    gc.disable()  # until the first frame is painted: what is imported for it is no garbage
    from pgtop.tui.app import run_dashboard

    return with_password(context, target, lambda known: run_dashboard(known, config))


def _snapshot(context: click.Context, /, **_: Any) -> int:
    config = config_of(context)
    target = target_of(context)
    from pgtop.core.json_text import json_line
    from pgtop.snapshot import look, report
    from pgtop.table import render

    seen = with_password(
        context,
        target,
        lambda known: look(known, config.wait_seconds, warn, hides_queries=config.hide_queries),
    )
    if seen.pooled:
        warn(
            f"a pooler answers at {seen.snapshot.server.address}, and its sessions are not its clients: "
            "connect to the server itself"
        )
    if context.params["json"]:
        show(json_line(report(seen, config.warn_at)))
    else:
        table = render(
            seen.snapshot,
            warn_at=config.warn_at,
            idle_after_seconds=config.idle_after_seconds,
            width=table_width(),
            connecting=seen.connecting,
            hides_queries=config.hide_queries,
        )
        show(table)
    return ExitCode.DONE


def _reap(context: click.Context, /, **_: Any) -> int:
    config = config_of(context)
    target = target_of(context)
    if not context.params["dry_run"]:
        refuse_read_only(config)
    if context.params["watch"]:
        return _watch(context, target, config)
    from pgtop.core.json_text import json_line
    from pgtop.reap import reap
    from pgtop.reap_report import as_report
    from pgtop.reap_table import render

    dry_run, always = context.params["dry_run"], context.params["always"]
    answer = with_password(
        context, target, lambda known: reap(known, config, dry_run=dry_run, always=always, tell=warn)
    )
    if answer.warning:
        warn(answer.warning)
    show_if_read(json_line(as_report(answer)) if context.params["json"] else render(answer, table_width()))
    return answer.exit_code


def _watch(context: click.Context, target: "Target", config: Config) -> int:
    for flag in ("json", "always"):
        if context.params[flag]:
            mend = "--log-format json" if flag == "json" else "leave one of them out"
            raise UsageError(f"--{flag} and --watch contradict each other", mend)
    from pgtop.daemon import watch
    from pgtop.daemon_log import DaemonLog

    queries = config.log_queries and not config.hide_queries
    log = DaemonLog(sys.stderr, as_json=config.log_format == "json", queries=queries)
    dry_run = context.params["dry_run"]

    def read_config() -> tuple[Config, "Target"]:
        return config_of(context), target_of(context)

    return with_password(
        context,
        target,
        lambda known: watch(known, config, log, read_config=read_config, dry_run=dry_run),
    )


def _audit(context: click.Context, /, **_: Any) -> int:
    from pgtop.audit_report import Question, show_json, show_table

    config = config_of(context)
    path = config.audit_log
    if path is None:
        raise UsageError("an audit log on standard error cannot be read back", "give --audit-log PATH")
    since: Given | None = context.params["since"]
    # Not from the configuration: a filter there is for whom a sweep means, and would hide what was done.
    applications: Given | None = context.params["applications"]
    question = Question(
        path,
        named=context.params["audit_log"] is not None,
        since_seconds=None if since is None else msgspec.convert(since.value, float),
        applications=() if applications is None else msgspec.convert(applications.value, tuple[str, ...]),
        hides_queries=config.hide_queries,
    )
    if context.params["json"]:
        show_json(question, show, warn)
    else:
        show_table(question, table_width, show, warn)
    return ExitCode.DONE


def _config(context: click.Context, /, **_: Any) -> int:
    from pgtop.config_table import lines, render, report
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


def _demo(context: click.Context, /, **_: Any) -> int:
    # The file is about real servers: its idle_after or read_only would keep the demo from showing anything.
    asked_for = context.params["config"] is not None
    config = config_of(context) if asked_for else in_force(given_of(context, ConfigFile(Path())))
    on_screen = not context.params["no_dashboard"]
    if on_screen:
        _need_screen(config, "use pgtop demo --no-dashboard")
    from pgtop.demo.run import running_demo, wait_for_signal
    from pgtop.postgres.conninfo import resolve

    leak_every: Given = context.params["leak_every"]
    with running_demo(
        max_connections=context.params["max_connections"],
        leak_every_seconds=msgspec.convert(leak_every.value, float),
    ) as demo:
        if not on_screen:
            wait_for_signal(demo)
            return ExitCode.DONE
        # Without the environment: PGPASSWORD and PGSERVICE are for other servers than this one.
        unkept = msgspec.structs.replace(config, history=None)  # its server is gone with it
        return _run_dashboard(context, resolve(demo.uri, {}, {}), unkept)


DASHBOARD: Final = Command(
    "pgtop",
    callback=click.pass_context(_dashboard),
    params=[*connection_options(), *setting_options(SCREENING), *other_options(show)],
    help="""See who holds a PostgreSQL server's connections, and end exactly the
    sessions you see. CONNINFO is a URI, key=value pairs or a database's name, as
    psql takes them.""",
    commands=(
        ("pgtop", "the dashboard"),
        ("pgtop snapshot", "one look, as a table or as JSON"),
        ("pgtop reap", "end what is idle for too long, once or as a daemon"),
        ("pgtop doctor", "would you get in when it is full, and could you make room"),
        ("pgtop break-glass", "on the server's own host, when it lets nobody in"),
        ("pgtop audit", "who was ended, when, why and by whom"),
        ("pgtop config", "the settings in force, and where each comes from"),
        ("pgtop demo", "the dashboard on a throw-away server that fills up"),
    ),
    examples=(
        ("pgtop -h db1", "the dashboard of db1"),
        ("pgtop postgresql://ops@db1:5433/shop", "another port, role and database"),
        ("pgtop snapshot -h db1 --json", "for scripts"),
        ("pgtop @prod", "the server [servers.prod] of the configuration file"),
        ("pgtop -d snapshot", "a database that is named as a command"),
    ),
    notes=_NOTES,
)

COMMANDS: Final = {
    "snapshot": Command(
        "snapshot",
        callback=click.pass_context(_snapshot),
        params=[
            json_option(),
            *connection_options(),
            *setting_options(LOOKING | {"wait_seconds"}),
            *other_options(show),
        ],
        help="""Print one look at a server: how full it is, which applications hold its
        connections, and every session, the longest idle first. CONNINFO is a URI,
        key=value pairs or a database's name, as psql takes them.""",
        examples=(
            ("pgtop snapshot -h db1", "a table, as wide as the terminal"),
            ("pgtop snapshot -h db1 --json | jq .usage", "for scripts"),
        ),
        notes=(*_NOTES[:2], _HIDDEN_STATES, *_NOTES[2:]),
    ),
    "doctor": DOCTOR,
    "reap": Command(
        "reap",
        callback=click.pass_context(_reap),
        params=[
            *reap_options(),
            *connection_options(),
            *setting_options(REAPING, own_defaults={"interval_seconds": "5s"}),
            *other_options(show),
        ],
        help="""End the sessions that are idle for too long, where the usage is above the
        line; where no slot is left, just enough of the longest idle. The rules are
        those of the dashboard's sweep. With --watch, go on as a daemon.""",
        examples=(
            ("pgtop reap -h db1 --dry-run", "who would be ended, and why"),
            ("pgtop reap -h db1 --application 'web*'", "only of these applications"),
            ("pgtop reap -h db1 --watch", "keep the server from filling up"),
        ),
        notes=(*_NOTES[:2], _REAP_STATUS),
    ),
    "break-glass": BREAK_GLASS,
    "audit": Command(
        "audit",
        callback=click.pass_context(_audit),
        params=[
            *audit_options(),
            *setting_options({"applications", "audit_log", "hide_queries"}),
            *other_options(show),
        ],
        help="""Read the audit log back: each session that was to be ended, or whose
        statement was to be cancelled, the newest last, with what became of it.""",
        examples=(
            ("pgtop audit --since 1h", "the last hour"),
            ("pgtop audit --application 'leaky*' --json", "one application's, for scripts"),
        ),
        notes=_NOTES,
    ),
    "config": Command(
        "config",
        callback=click.pass_context(_config),
        params=[
            json_option(),
            *connection_options(),
            *setting_options(REAPING | SCREENING),
            *other_options(show),
        ],
        help="""Print the settings in force and where each comes from: default, file,
        variable or flag; and the server that would be reached. Nothing connects.""",
        examples=(("pgtop config @prod", "those of the server [servers.prod]"),),
        notes=_NOTES[:2],
    ),
    "demo": Command(
        "demo",
        callback=click.pass_context(_demo),
        params=[
            *demo_options(),
            *setting_options(SCREENING, own_defaults={"idle_after_seconds": "20s"}),
            *other_options(show),
        ],
        help="""Start a real throw-away PostgreSQL server and a workload that leaks
        connections, with the dashboard on it. Nothing of it is left when it ends.""",
        examples=(
            ("pgtop demo", "watch it fill up, then press S and y"),
            ("pgtop demo --leak-every 500ms", "fill up faster"),
            ("pgtop demo --no-dashboard", "just the server; prints its URI"),
        ),
        notes=_NOTES,
    ),
}
