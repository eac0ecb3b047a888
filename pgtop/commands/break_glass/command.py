"""The command `pgtop break-glass`: its options, its question and its output.

It imports no driver and no screen, because the host may be short of resources.
"""

import contextlib
import gc
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec
from click.core import ParameterSource
from msgspec.structs import replace

import pgtop.core.password_search  # noqa: F401 - an error may come when no file can be opened any more
from pgtop.commands.command import DURATIONS_NOTE, Command
from pgtop.commands.shared_options import json_option, other_options
from pgtop.commands.standard_streams import (
    confirm,
    need_output,
    run_until_sigterm,
    show,
    show_if_read,
    show_outcome,
    table_width,
    warn,
)
from pgtop.core.break_glass_plan import Ask
from pgtop.core.text import printable
from pgtop.errors import NotPermittedError, UsageError
from pgtop.exit_codes import ExitCode
from pgtop.settings.defaults_and_bounds import Config, Given
from pgtop.settings.option_types import OUTPUT, Duration, Fraction, Number, Option
from pgtop.settings.options import AUDIT_KEYS, setting_options
from pgtop.settings.resolve import config_of, refuse_read_only

if TYPE_CHECKING:
    from pgtop.core.plan import Plan

_WHICH: Final = "Which server"
_HOW_MANY: Final = "How many"

_LISTED: Final = AUDIT_KEYS | {
    "emergency_idle_after_seconds",
    "include_idle_in_transaction_seconds",
    "users",
    "databases",
    "addresses",
    "protect_users",
    "protect_databases",
    "protect_addresses",
    "max_per_sweep",
    "read_only",
}

_UNSEEN: Final = {
    "applications": "use --user and --database",
    "protect_applications": "use --protect-user, --protect-database or --protect-address",
    "default_protections": "leave it out: those protections are by application",
    "include_advisory_locks": "leave it out: holders of advisory locks are not skipped here",
    "include_listeners": "leave it out: sessions that LISTEN are not skipped here",
}
"""The rules about facts that the host does not show, each with what to do instead."""

_LEAST_AGE_SECONDS: Final = 1.0

_DESCRIPTORS: Final = 9
"""The file descriptors needed beyond those open at the start, measured; victims do not add any."""
_ENOUGH_FILES: Final = 64


def _options() -> list[click.Parameter]:
    def which(*flags: str, help: str, **rest: Any) -> click.Parameter:  # noqa: A002 - click's own word
        return Option(flags, section=_WHICH, help=help, **rest)

    def how_many(flag: str, help: str, **rest: Any) -> click.Parameter:  # noqa: A002 - click's own word
        return Option([flag], section=_HOW_MANY, help=help, **rest)

    return [
        which("-p", "--port", metavar="PORT", type=Number(), help="the server on this port"),
        which("--socket-dir", metavar="PATH", help="the server with its socket in this directory"),
        which("--data-dir", metavar="PATH", help="the server with this data directory"),
        how_many(
            "--down-to",
            "until usage is below this (80%)",
            metavar="FRACTION",
            type=Fraction(),
        ),
        how_many("--count", "this many, the longest idle first", metavar="NUMBER", type=Number()),
        how_many(
            "--older-than",
            "only idle for longer than this (30s)",
            metavar="DURATION",
            type=Duration(),
        ),
        how_many(
            "--stalled-logins",
            "instead of sessions, clients logging in for longer than this: all, or --count of them",
            metavar="AGE",
            type=Duration(),
        ),
        Option(["--dry-run"], section=OUTPUT, is_flag=True, help="show the plan only"),
        Option(["-y", "--yes"], section=OUTPUT, is_flag=True, help="terminate without asking"),
        json_option(),
    ]


def _break_glass(context: click.Context, /, **_: Any) -> int:
    gc.disable()  # the run is short, and its imports leave no garbage
    _have_descriptors()
    config = config_of(context)
    dry_run, yes, as_json = (context.params[name] for name in ("dry_run", "yes", "json"))
    _refuse_unseen(context)
    ask, config = _wish(context, config)
    if config.protect_applications:
        warn("protections by application have no effect: the host does not show applications")
    _refuse_contradictions(config, dry_run=dry_run, yes=yes, as_json=as_json)
    if not dry_run:
        need_output()
    from pgtop.commands.break_glass.run import carry_out, find, not_ended, prepare
    from pgtop.commands.break_glass.table import render_answer, render_plan
    from pgtop.core.json_text import json_line
    from pgtop.core.plan import DecidedBy
    from pgtop.postgres.host.servers import ClosedError, HostServer, Wanted
    from pgtop.reaping.report_json import as_report

    port: Given | None = context.params["port"]
    wanted = Wanted(_number(port), context.params["socket_dir"], context.params["data_dir"])
    server: HostServer | None = None
    try:
        server = find(wanted)
        prepared = prepare(server, config.policy, ask, warn)
        answer = not_ended(prepared, dry_run=dry_run)
        if not as_json:
            # With --yes the plan need not be read. A person who is asked a question must be able to read it.
            tell = show_if_read if yes else show
            tell(render_plan(prepared, table_width(), dry_run=dry_run))
        if not dry_run and prepared.plan.victims:
            prepared.check_rights()
            if not yes and not _confirmed(prepared.plan):
                warn("nothing was terminated")
                return ExitCode.DONE
            decided_by = DecidedBy.COMMAND if yes else DecidedBy.PERSON
            answer = run_until_sigterm(carry_out(prepared, config, decided_by=decided_by))
    except ClosedError as error:
        raise NotPermittedError(error.problem, _again(error.uid, server.port if server else None)) from error
    if answer.warning:
        warn(answer.warning)

    def told() -> str:
        return json_line(as_report(answer)) if as_json else render_answer(prepared, answer, table_width())

    if answer.report is not None:
        return show_outcome(told, answer.exit_code)
    show_if_read(told())
    return answer.exit_code


def _refuse_unseen(context: click.Context) -> None:
    """Raise UsageError for a flag about what the host does not show: it would be without effect.

    A variable or a file may hold such a rule for other commands. A protection of theirs is told as missing.
    """
    for name, mend in _UNSEEN.items():
        given: Given | None = context.params[name]
        if given is not None and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            if name == "applications" and given.written == "*":
                continue
            raise UsageError(f"{given.source} has no effect: the host does not show that", mend)


def _have_descriptors() -> None:
    """Increase a low limit of file descriptors if that is allowed; raise UsageError if too few are left.

    This is checked before any session is signalled: an event loop that runs out of descriptors fails
    half-way.
    """
    import resource

    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= now < _ENOUGH_FILES:
        allowed = _ENOUGH_FILES if most < 0 else min(most, _ENOUGH_FILES)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    held: list[int] = []
    try:
        while len(held) < _DESCRIPTORS:
            held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise UsageError(
            f"only {len(held)} more files can be opened ({error.strerror}), and {_DESCRIPTORS} are needed",
            "raise the limit: ulimit -n 64",
        ) from error
    finally:
        for descriptor in held:
            os.close(descriptor)


def _wish(context: click.Context, config: Config) -> tuple[Ask, Config]:
    """Return the request, and the configuration with --down-to in place of the line. It raises UsageError."""
    down_to: Given | None = context.params["down_to"]
    count = _number(context.params["count"])
    older_than: Given | None = context.params["older_than"]
    if down_to is not None and count is not None:
        raise UsageError("--down-to and --count cannot be used together", "give one of them")
    if count is not None and count < 1:
        raise UsageError("--count cannot be 0", "give 1 or more")
    if down_to is not None:
        fraction = msgspec.convert(down_to.value, float)
        if not 0 < fraction <= 1:
            raise UsageError(
                f'{down_to.source} cannot be "{printable(down_to.written)}"',
                "give more than 0 and at most 1, or a percentage such as 60%",
            )
        config = replace(config, warn_at=fraction)
    stalled: Given | None = context.params["stalled_logins"]
    for name, other in (("--down-to", down_to), ("--older-than", older_than)):
        if stalled is not None and other is not None:
            problem = (
                f"--stalled-logins and {name} cannot be used together: it terminates clients, not sessions"
            )
            raise UsageError(problem, "give one of them")
    for name in ("include_idle_in_transaction_seconds", "emergency_idle_after_seconds"):
        given: Given | None = context.params[name]
        if (
            stalled is not None
            and given is not None
            and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        ):
            problem = f"--stalled-logins and {given.source} cannot be used together: it terminates clients"
            raise UsageError(problem, "give one of them")
    ask = Ask(count=count, older_than_seconds=_age(older_than), stalled_logins_seconds=_age(stalled))
    return ask, config


def _age(given: Given | None) -> float | None:
    """Return a duration of at least a second. It raises UsageError."""
    if given is None:
        return None
    age = msgspec.convert(given.value, float)
    if age < _LEAST_AGE_SECONDS:
        raise UsageError(f'{given.source} cannot be "{printable(given.written)}"', "give 1s or more")
    return age


def _number(given: Given | None) -> int | None:
    return None if given is None else msgspec.convert(given.value, int)


def _refuse_contradictions(config: Config, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    if not dry_run:
        refuse_read_only(config)
    if config.applications and "*" not in config.applications:
        raise UsageError(
            "a filter by application is set, but the host cannot see applications",
            "remove it with --application '*', and use --user and --database",
        )
    if dry_run and yes:
        raise UsageError("--dry-run and --yes cannot be used together", "give one of them")
    if as_json and not (dry_run or yes):
        raise UsageError("--json cannot ask for confirmation", "add --dry-run or --yes")


def _confirmed(plan: "Plan") -> bool:
    from pgtop.reaping.plan_wording import plural_victims

    whom = plural_victims(plan)
    whom = f"this {whom.removeprefix('1 ')}" if len(plan.victims) == 1 else f"these {whom}"
    answer = confirm(f"Terminate {whom}? [y/N] ")
    if answer is None:
        raise UsageError(
            "there is no terminal to ask on, and nothing was terminated",
            "use --yes to terminate without asking",
        )
    return answer


def _again(uid: int, port: int | None) -> str:
    """Return the same command line, to be run as a user who may do it."""
    from pgtop.postgres.host.servers import user_name

    words = ["sudo", *(["-u", user_name(uid)] if uid else []), "pgtop", *sys.argv[1:]]
    if port is not None and not any(word.startswith(("-p", "--port", "--data-dir")) for word in words):
        words += ["--port", str(port)]
    return shlex.join(os.fsencode(word).decode("utf-8", "replace") for word in words)


BREAK_GLASS: Final = Command(
    "break-glass",
    callback=click.pass_context(_break_glass),
    params=[*_options(), *setting_options(_LISTED), *other_options(show)],
    help="""On the database's own host, make room on a full server: no connection is
        needed. Shows which users hold the slots and a plan, then asks; terminates the
        longest idle sessions, by SIGTERM, until usage is below the 80% line. Linux
        only; as root, or as the user that runs the server.""",
    examples=(
        ("sudo -u postgres pgtop break-glass", "show the plan, then ask"),
        ("pgtop break-glass --port 5433 --dry-run", "one of several servers; show the plan only"),
        ("pgtop break-glass --down-to 60% --user web", "more room, from one user's sessions"),
        ("pgtop break-glass --count 3 --yes", "three, without asking"),
        ("pgtop break-glass --stalled-logins 10s", "clients that never finish their login"),
    ),
    notes=(
        "Every option has a variable, such as PGTOP_DATA_DIR for --data-dir; the option beats it.",
        DURATIONS_NOTE,
        (
            "Over Unix sockets the idle age is a lower bound, shown as ≥ 30s. Applications, advisory "
            "locks and LISTEN are not visible from the host."
        ),
        (
            "--stalled-logins terminates clients that stopped in the middle of their login, not sessions. "
            "A filter or protection by user or database applies only if the client has sent the name."
        ),
        (
            "Exit status: 0 done, or nothing to do; 1 unexpected, 2 usage, or the audit log cannot be "
            "written, 3 no such server here, 5 not permitted (the error names the command to run), 6 done in "
            "part, 130 Ctrl-C."
        ),
    ),
)
