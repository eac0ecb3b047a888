"""The commands: reads a command line, hands over to one face, and tells what went wrong in one line.

The one place that knows every face and prints every error. A face is imported inside its command, so that
`pgtop --version` is quick, and `pgtop snapshot` needs no screen.
"""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click
import msgspec
from click.core import ParameterSource
from msgspec.structs import replace

from pgtop.command import Command, split_command
from pgtop.config import Config, Given, in_force
from pgtop.errors import ExitCode, PgtopError, UsageError
from pgtop.options import (
    Option,
    audit_options,
    connection_options,
    demo_options,
    json_option,
    other_options,
    setting_options,
)
from pgtop.terminal import (
    ReaderGoneError,
    ask_password,
    can_ask,
    leave_on_sigterm,
    need_terminal,
    run_until_sigterm,
    show,
    table_width,
    warn,
)

if TYPE_CHECKING:
    from pgtop.postgres.target import Target

_Answer = TypeVar("_Answer")

DEBUG_VARIABLE: Final = "PGTOP_DEBUG"

INTERRUPTED: Final = 128 + signal.SIGINT
"""What shells make of a program ended by Ctrl-C; SIGTERM, which is sent on purpose, is 0."""

_NOTES: Final = (
    (
        "Every option has its variable, such as PGTOP_WARN_AT for --warn-at; a flag beats it. "
        "PGHOST, PGPASSWORD, ~/.pgpass and the rest of libpq's count as for psql."
    ),
    "A DURATION is seconds, or has a unit: 250ms, 20s, 5min, 1.5h, 2d.",
    "Exit status: 0 done, 1 unexpected, 2 usage, 3 cannot connect, 4 no slot left, 5 not permitted.",
)

_HIDDEN_STATES: Final = (
    'A role without pg_monitor does not see states. The total is then an upper bound, shown as "≤ 83" '
    '("exact": false in the JSON), and the exit status is 0.'
)


def main() -> NoReturn:
    """Runs the command line of this process, and exits."""
    if not os.environ.get(DEBUG_VARIABLE):
        # asyncio tells of a connection that broke when nobody waited for it any more.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line; gives the exit status, with every error told on standard error."""
    leave_on_sigterm()
    try:
        return _run(arguments)
    except PgtopError as error:
        _trace()
        warn(str(error))
        return error.exit_code
    except ReaderGoneError:
        return ExitCode.DONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the one place where a fault of our own becomes a line
        _trace()
        warn(f"unexpected error: {type(error).__name__}: {error} (set {DEBUG_VARIABLE}=1 for the traceback)")
        return ExitCode.UNEXPECTED


def _run(arguments: Sequence[str]) -> int:
    command, rest = split_command(arguments, COMMANDS, DASHBOARD)
    path = "pgtop" if command is DASHBOARD else f"pgtop {command.name}"
    try:
        with command.make_context(path, rest) as context:
            return int(command.invoke(context))
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        raise _usage_error(error, path) from error


def _trace() -> None:
    """The traceback, for who asked for it: its text may come from a server, too."""
    if os.environ.get(DEBUG_VARIABLE):
        for line in traceback.format_exc().splitlines():
            warn(line.replace("    ", "  "))


def _usage_error(error: click.ClickException, path: str) -> UsageError:
    """What click refuses, in one line with the mend."""
    problem = error.format_message()
    option = getattr(error, "param", None)
    if isinstance(error, click.NoSuchOption):
        close = error.possibilities
        problem = f"no such option: {error.option_name}" + (f" (did you mean {close[0]}?)" if close else "")
    elif isinstance(error, click.BadParameter) and isinstance(option, Option):
        # What was given for a yes or no is not repeated: PGTOP_PASSWORD may hold a password by mistake.
        said = "takes 1 for yes or 0 for no" if option.is_flag else error.message
        problem = f"{option.source(error.ctx)}: {said}"
    else:
        problem = problem[:1].lower() + problem[1:]
    return UsageError(problem.rstrip("."), f"try {path} --help")


def _dashboard(context: click.Context, /, **_: Any) -> int:
    config = _config(context)
    target = _target(context)
    need_terminal("the dashboard", "use pgtop snapshot")
    return _run_dashboard(context, target, config)


def _run_dashboard(context: click.Context, target: "Target", config: Config) -> int:
    from pgtop.tui.app import run_dashboard

    return _with_password(context, target, lambda known: run_dashboard(known, config))


def _snapshot(context: click.Context, /, **_: Any) -> int:
    config = _config(context)
    target = _target(context)
    from pgtop.snapshot import look, report, to_json
    from pgtop.table import render

    snapshot, pooled = _with_password(context, target, look)
    if pooled:
        warn(
            f"a pooler answers at {snapshot.server.address}, and its sessions are not its clients: "
            "connect to the server itself"
        )
    if context.params["json"]:
        show(to_json(report(snapshot, config.warn_at)))
    else:
        width, idle_after = table_width(), config.idle_after_seconds
        show(render(snapshot, warn_at=config.warn_at, idle_after_seconds=idle_after, width=width))
    return ExitCode.DONE


def _audit(context: click.Context, /, **_: Any) -> int:
    from pgtop.audit_report import Question, show_json, show_table

    path = _config(context).audit_log
    if path is None:
        raise UsageError("an audit log on standard error cannot be read back", "give --audit-log PATH")
    since: Given | None = context.params["since"]
    question = Question(
        path,
        named=context.params["audit_log"] is not None,
        since_seconds=None if since is None else msgspec.convert(since.value, float),
        application=context.params["application"],
    )
    if context.params["json"]:
        show_json(question, show, warn)
    else:
        show_table(question, table_width, show, warn)
    return ExitCode.DONE


def _demo(context: click.Context, /, **_: Any) -> int:
    config = _config(context)
    on_screen = not context.params["no_dashboard"]
    if on_screen:
        need_terminal("the dashboard", "use pgtop demo --no-dashboard")
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
        return _run_dashboard(context, resolve(demo.uri, {}, {}), config)


def _config(context: click.Context) -> Config:
    """The settings in force, from what flags and variables gave."""
    return in_force(
        {name: value for name in Config.__struct_fields__ if (value := context.params[name]) is not None}
    )


_LIBPQ: Final = (
    ("host", "host", "PGHOST"),
    ("port", "port", "PGPORT"),
    ("user", "username", "PGUSER"),
    ("dbname", "dbname", "PGDATABASE"),
    ("service", "service", "PGSERVICE"),
)
"""libpq's parameters, the options that set them, and libpq's variables for them."""


def _target(context: click.Context) -> "Target":
    """Where to connect: a PGTOP_ variable beats libpq's own, and whatever is typed beats both.

    Raises UsageError.
    """
    from pgtop.postgres.conninfo import resolve

    conninfo: str | None = context.params["conninfo"]
    flags: dict[str, str | None] = {}
    environ = dict(os.environ)
    for parameter, option, variable in _LIBPQ:
        value = context.params[option]
        if context.get_parameter_source(option) is not ParameterSource.ENVIRONMENT:
            flags[parameter] = value
        elif parameter == "dbname" and ("=" in value or "://" in value):
            conninfo = value if conninfo is None else conninfo
        else:
            environ[variable] = value
    return resolve(conninfo, flags, environ)


def _with_password(
    context: click.Context, target: "Target", face: Callable[["Target"], Coroutine[Any, Any, _Answer]]
) -> _Answer:
    """Runs a face that connects; asks for the password before (-W), or once when the server asks for it."""
    never, first = _password_flags(context)
    if first:
        target = replace(target, password=ask_password(target.user))
    from pgtop.postgres.outages import PasswordNeededError

    try:
        return run_until_sigterm(face(target))
    except PasswordNeededError:
        if never or not can_ask():
            raise
    return run_until_sigterm(face(replace(target, password=ask_password(target.user))))


def _password_flags(context: click.Context) -> tuple[bool, bool]:
    """Whether -w and whether -W holds; a flag beats a variable. Raises UsageError where both do."""
    never, first = context.params.get("no_password", False), context.params.get("password", False)
    if never and first:
        by_flag = ParameterSource.COMMANDLINE
        sources = [context.get_parameter_source(name) is by_flag for name in ("no_password", "password")]
        if sources[0] == sources[1]:
            raise UsageError("-w and -W contradict each other", "give one of them")
        never, first = sources
    return never, first


DASHBOARD: Final = Command(
    "pgtop",
    callback=click.pass_context(_dashboard),
    params=[*connection_options(), *setting_options(polls=True), *other_options(show)],
    help="""See who holds a PostgreSQL server's connections, and end exactly the
    sessions you see. CONNINFO is a URI, key=value pairs or a database's name, as
    psql takes them.""",
    commands=(
        ("pgtop", "the dashboard"),
        ("pgtop snapshot", "one look, as a table or as JSON"),
        ("pgtop audit", "who was ended, when, why and by whom"),
        ("pgtop demo", "the dashboard on a throw-away server that fills up"),
    ),
    examples=(
        ("pgtop -h db1", "the dashboard of db1"),
        ("pgtop postgresql://ops@db1:5433/shop", "another port, role and database"),
        ("pgtop snapshot -h db1 --json", "for scripts"),
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
            *setting_options(polls=False),
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
    "audit": Command(
        "audit",
        callback=click.pass_context(_audit),
        params=[*audit_options(), *other_options(show)],
        help="""Read the audit log back: each session that was to be ended, or whose
        statement was to be cancelled, the newest last, with what became of it.""",
        examples=(
            ("pgtop audit --since 1h", "the last hour"),
            ("pgtop audit --application 'leaky*' --json", "one application's, for scripts"),
        ),
        notes=_NOTES,
    ),
    "demo": Command(
        "demo",
        callback=click.pass_context(_demo),
        params=[*demo_options(), *setting_options(polls=True, idle_after="20s"), *other_options(show)],
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
