"""The command `pgtop leaks`: it checks Python sources, and prints where they lose connections."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pgtop.commands.command import Command
from pgtop.commands.shared_options import other_options, settings_without_effect
from pgtop.commands.standard_streams import show, warn
from pgtop.core.near_words import nearest
from pgtop.core.text import printable
from pgtop.errors import UsageError
from pgtop.exit_codes import ExitCode
from pgtop.settings.option_types import OUTPUT, Option

if TYPE_CHECKING:
    from pgtop.leaks.findings import Rule

FOUND: Final = 1
"""The exit status if something was found, as linters have it."""
CHECK: Final = "Check"


def _leaks(context: click.Context, /, **_: Any) -> int:
    from pgtop.commands.leaks.formats import github_text, json_text, sarif_text
    from pgtop.commands.leaks.table import notes, table
    from pgtop.leaks.silencing import settings_near
    from pgtop.leaks.survey import survey

    asked: dict[str, Any] = context.params
    formats = [name for name in ("json", "sarif", "github") if asked[name]]
    if len(formats) > 1:
        raise UsageError(f"--{formats[0]} and --{formats[1]} exclude each other", "give one of them")
    paths = _paths(asked["paths"])
    rules = _rules(asked["rule"], limits=asked["limits"])
    settings = settings_near(paths[0] if paths[0].is_dir() else paths[0].parent)
    result = survey(paths, settings, tests=asked["tests"], rules=rules, statement=asked["statement"])
    if not result.files:
        raise UsageError(
            "no Python file is there to check", "name a directory or a file; --tests takes tests, too"
        )
    match formats:
        case ["json"]:
            show(json_text(result, asked["statement"]))
        case ["sarif"]:
            show(sarif_text(result))
        case ["github"]:
            show(github_text(result))
        case _:
            show(table(result, asked["statement"]))
    for note in notes(result):
        warn(note)
    return FOUND if result.findings else ExitCode.DONE


def _paths(given: tuple[str, ...]) -> list[Path]:
    """Return the paths. Raises UsageError if there is none, or if one does not exist."""
    if not given:
        raise UsageError("no PATH is named", "name the directory of the sources, such as pgtop leaks src")
    paths = [Path(each) for each in given]
    for name in given:
        must = os.R_OK if os.path.isdir(name) else os.F_OK  # noqa: PTH112 - Path.is_dir may raise
        if not os.access(name, must):
            said = "cannot be read" if os.path.lexists(name) else "does not exist"
            raise UsageError(
                f"{printable(name) or 'an empty PATH'} {said}", "name a file or a directory of Python sources"
            )
    return paths


def _rules(given: tuple[str, ...], *, limits: bool) -> "list[Rule]":
    """Return the rules that are asked for. Raises UsageError for a name that is not a rule's."""
    from pgtop.leaks.findings import STANDARD, Rule

    names = [each.value for each in Rule]
    for name in given:
        if name not in names:
            near = nearest(name, names)
            hint = f" (did you mean {near}?)" if near else ""
            raise UsageError(
                f'there is no rule "{printable(name)}"{hint}', f"the rules are {', '.join(names)}"
            )
    chosen = [Rule(each) for each in given] or sorted(STANDARD)
    return [*chosen, *(set(Rule) - STANDARD)] if limits else chosen


def _rule_names(_context: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from pgtop.leaks.findings import Rule

    return [each.value for each in Rule if each.value.startswith(incomplete)]


LEAKS: Final = Command(
    "leaks",
    callback=click.pass_context(_leaks),
    params=[
        click.Argument(["paths"], nargs=-1, metavar="PATH…", type=click.Path()),
        Option(
            ["--statement"],
            section=CHECK,
            metavar="SQL",
            help="put the code that runs it first, as pgtop diagnose names it",
        ),
        Option(
            ["--rule"],
            section=CHECK,
            metavar="RULE",
            multiple=True,
            shell_complete=_rule_names,
            help="check this rule alone; may be repeated",
        ),
        Option(["--limits"], section=CHECK, is_flag=True, help="check timeouts, sizes and names, too"),
        Option(["--tests"], section=CHECK, is_flag=True, help="check tests, too"),
        Option(["--json"], section=OUTPUT, is_flag=True, help="one JSON object"),
        Option(["--sarif"], section=OUTPUT, is_flag=True, help="SARIF 2.1.0, for code scanning"),
        Option(["--github"], section=OUTPUT, is_flag=True, help="annotations of a GitHub workflow"),
        *settings_without_effect(),
        *other_options(show),
    ],
    help="""Find where Python code takes a connection and does not give it back.
    The sources are read, and nothing of them is imported or run. Needs no server.""",
    examples=(
        ("pgtop leaks src", "the usual rules"),
        ("pgtop leaks . --statement 'SELECT * FROM jobs'", "from the diagnosis into the code"),
        ("pgtop leaks src --github", "in a workflow"),
    ),
    notes=(
        "A comment `# pgtop: kept` with a reason silences a line; see pgtop docs leaks.",
        "Exit status: 0 none found, 1 some found, or unexpected, 2 usage, 130 Ctrl-C.",
    ),
)
