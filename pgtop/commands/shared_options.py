"""The options that commands share."""

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from pgtop import __version__
from pgtop.commands.help_text import HELP_ALL, IN_FULL
from pgtop.errors import UsageError
from pgtop.settings.defaults_and_bounds import Given
from pgtop.settings.option_types import (
    CONNECTION,
    OTHER,
    OUTPUT,
    SERVER,
    Duration,
    Number,
    Option,
    Port,
    Word,
    Words,
)
from pgtop.settings.options import setting_options

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_PLAIN_NAME: Final = re.compile(r"[\w.-]+")
"""A server's name that needs no quotes in any shell."""
_HIGHEST_FACTOR: Final = 1000


def connection_options() -> list[click.Parameter]:
    """Return CONNINFO and the options for the server and the role, named as psql names them."""

    def option(*flags: str, help: str, **rest: Any) -> click.Parameter:  # noqa: A002 - click's own word
        return Option(flags, section=CONNECTION, help=help, **rest)

    return [
        click.Argument(["conninfo"], required=False, metavar="[CONNINFO]", shell_complete=_first_words),
        option("-h", "--host", metavar="HOST", help="host name, address, or socket directory"),
        option("-p", "--port", metavar="PORT", type=Port(), help="port"),
        option("-U", "--username", metavar="ROLE", help="role to connect as"),
        option("-d", "--dbname", metavar="DBNAME", help="database, or a CONNINFO"),
        option("--service", metavar="NAME", help="entry of the connection service file"),
        option("-w", "--no-password", is_flag=True, help="never ask for a password"),
        option("-W", "--password", is_flag=True, help="ask for a password first"),
    ]


def recorded_server_options() -> list[click.Parameter]:
    """Return CONNINFO, which may be a recording's FILE, and the options for the server it was made of."""
    asking = {"no_password", "password"}
    server = [each for each in connection_options() if each.name not in asking]
    server[0] = click.Argument(
        ["conninfo"], required=False, metavar="[CONNINFO|FILE]", shell_complete=_servers_and_files
    )
    return server


def _servers_and_files(
    context: click.Context, param: click.Parameter, incomplete: str
) -> "list[CompletionItem[str]]":
    """Return the file's servers, and leave the files to the shell, which knows them."""
    from click.shell_completion import CompletionItem

    servers = _first_words(context, param, incomplete)
    return servers if incomplete.startswith("@") else [*servers, CompletionItem(incomplete, type="file")]


def time_factor_option() -> click.Parameter:
    """Return the option --time-factor, which `time_factor` reads."""
    return Option(
        ["--time-factor"],
        section=OUTPUT,
        type=Number(),
        metavar="NUMBER",
        help="judge as if time ran so many times faster, for pgtop demo (1)",
    )


def time_factor(context: click.Context) -> float:
    """Return the value of --time-factor, at least 1. Raises UsageError for one that is out of bounds."""
    given: Given | None = context.params["time_factor"]
    if given is None:
        return 1.0
    factor = msgspec.convert(given.value, float)
    if not 1 <= factor <= _HIGHEST_FACTOR:
        raise UsageError(f"{given.source} {given.written} is not between 1 and {_HIGHEST_FACTOR}")
    return factor


def at_option(what: str) -> click.Parameter:
    """Return the option --at, the moment of a recording at which `what` happens."""
    return Option(
        ["--at"],
        section=OUTPUT,
        type=Word(),
        metavar="TIME",
        help=f"{what}: 03:12, '2026-11-30 03:12', or -15min before the end",
    )


def _first_words(
    context: click.Context, _param: click.Parameter, incomplete: str
) -> "list[CompletionItem[str]]":
    """Return what a CONNINFO may be completed to: the command's own commands, and the file's servers."""
    from click.shell_completion import CompletionItem

    commands: Iterable[tuple[str, str]] = getattr(context.command, "commands", ())
    names = [(each.partition(" ")[2], about) for each, about in commands]
    found = [CompletionItem(name, help=about) for name, about in names if name]
    if not incomplete or incomplete.startswith("@"):
        found += [CompletionItem(f"@{name}", help="server") for name in _server_names(context)]
    return [item for item in found if item.value.startswith(incomplete)]


def _server_names(context: click.Context) -> list[str]:
    """Return the names of the configuration file's servers; none if it cannot be read."""
    from pgtop.settings.file import read_config_file

    try:
        servers = read_config_file(context.params.get("config")).servers
    except UsageError:
        return []
    return [name for name in servers if _PLAIN_NAME.fullmatch(name)]


def settings_without_effect() -> list[click.Parameter]:
    """Return the options of all settings, hidden and without their variables.

    They may stand before any command's name, as in `alias pgtop='pgtop --interval 5'`. A bad variable must
    not stop a command that reads no setting.
    """
    options = setting_options(frozenset())
    for option in options:
        option.envvar = None
        if isinstance(option, click.Option):
            option.hidden = True
    return options


def reap_options() -> list[click.Parameter]:
    """Return the options that decide what `pgtop reap` does with its plan."""

    def flag(name: str, help: str) -> click.Parameter:  # noqa: A002 - click's own word
        return Option([name], section=OUTPUT, is_flag=True, help=help)

    return [
        flag("--dry-run", "show the plan only"),
        flag("--always", "sweep at any usage"),
        flag("--canary", "first one session of each application; the rest only of those that stay away"),
        flag("--watch", "run as a daemon"),
        json_option(),
    ]


def json_option() -> click.Parameter:
    """Return the option --json."""
    return Option(["--json"], section=OUTPUT, is_flag=True, help="one JSON object instead of a table")


def audit_options() -> list[click.Parameter]:
    """Return the options that select entries of the audit log and their format."""
    return [
        Option(["--json"], section=OUTPUT, is_flag=True, help="JSON lines, one for each session"),
        Option(
            ["--since"],
            section=OUTPUT,
            type=Duration(),
            metavar="DURATION",
            help="only the last 30min, 1h, 2d",
        ),
        Option(
            ["--server"],
            section=OUTPUT,
            type=Words(),
            metavar="GLOB",
            multiple=True,
            help="only this server, as the table names it, or its host",
        ),
    ]


def demo_options(scenarios: Iterable[str]) -> list[click.Parameter]:
    """Return the options for the demo's server and workload, which plays one of the scenarios."""
    return [
        Option(
            ["--scenario"],
            section=SERVER,
            type=Word(lambda: scenarios),
            default="leak",
            metavar="NAME",
            help="the cause to play (leak)",
        ),
        Option(
            ["--max-connections"],
            section=SERVER,
            type=int,
            default=60,
            metavar="NUMBER",
            help="the server's max_connections (60)",
        ),
        Option(
            ["--leak-every"],
            section=SERVER,
            type=Duration(),
            default="2s",
            metavar="DURATION",
            help="time between two leaked sessions of the scenario leak (2s)",
        ),
        Option(
            ["--no-dashboard"],
            section=SERVER,
            is_flag=True,
            help="print the connection URI instead, until Ctrl-C or a signal",
        ),
    ]


def other_options(show: Callable[[str], None]) -> list[click.Parameter]:
    """Return the options --help, --help-all and --version; `show` prints their text."""

    def tell(text: Callable[[click.Context], str]) -> Callable[[click.Context, click.Parameter, bool], None]:
        def callback(context: click.Context, _: click.Parameter, asked: bool) -> None:
            if asked and not context.resilient_parsing:
                show(text(context) + "\n")
                context.exit()

        return callback

    def option(*flags: str, help: str, callback: Any) -> click.Parameter:  # noqa: A002 - click's own word
        return Option(
            flags,
            section=OTHER,
            has_variable=False,
            is_flag=True,
            is_eager=True,
            expose_value=False,
            help=help,
            callback=callback,
        )

    def whole_help(context: click.Context) -> str:
        context.meta[IN_FULL] = True
        return context.get_help()

    return [
        option("-?", "--help", help="show this and exit", callback=tell(lambda context: context.get_help())),
        option(HELP_ALL, help="show this with every option, and exit", callback=tell(whole_help)),
        option(
            "--version", help="show the version and exit", callback=tell(lambda _: f"pgtop {__version__}")
        ),
    ]
