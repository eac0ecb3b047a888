"""The form of a command: a help with sections and examples, and a name that is found among the arguments."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from pgtop.commands.help_text import HELP_ALL, IN_FULL, HelpText
from pgtop.commands.standard_streams import shows_styles
from pgtop.core.near_words import nearest
from pgtop.core.text import printable
from pgtop.errors import UsageError
from pgtop.settings.option_types import RULES, Option

VARIABLES_NOTE: Final = (
    "Every option has a variable, such as PGTOP_WARN_AT for --warn-at; the option beats it. "
    "PGHOST, PGPASSWORD, ~/.pgpass and the rest of libpq's work as in psql."
)
DURATIONS_NOTE: Final = "A DURATION is seconds, or has a unit: 250ms, 20s, 5min, 1.5h, 2d."
USUAL_NOTES: Final = (VARIABLES_NOTE, DURATIONS_NOTE)
"""The notes of most commands: variables and durations. Each adds its own exit status."""
LONG_SECTIONS: Final = frozenset({RULES})
"""The sections whose options only --help-all lists: they are many, and few of them are typed by hand."""


class Command(click.Command):
    """A command whose help has sections and examples, and whose errors name the remedy."""

    def __init__(
        self,
        name: str,
        *,
        examples: Sequence[tuple[str, str]],
        notes: Sequence[str],
        commands: Sequence[tuple[str, str]] = (),
        scenarios: Sequence[tuple[str, str]] = (),
        **rest: Any,
    ) -> None:
        super().__init__(name, add_help_option=False, **rest)
        self.commands = commands
        """All commands, each with a description, for the help of `pgtop` itself."""
        self.scenarios = scenarios
        """The scenarios of the demo, each with a description."""
        self.examples = examples
        """Example command lines, each with a description."""
        self.notes = notes
        """The paragraphs at the end of the help."""
        self.allow_extra_args = True
        for option in self.params:
            if isinstance(option, Option) and option.long_flag == HELP_ALL:
                option.hidden = not any(
                    isinstance(other, Option) and not other.hidden and other.section in LONG_SECTIONS
                    for other in self.params
                )

    def get_help(self, ctx: click.Context) -> str:
        """Return the help, styled for standard output."""
        text = HelpText(width=ctx.terminal_width, max_width=ctx.max_content_width, is_styled=shows_styles())
        self.format_help(ctx, text)
        return text.getvalue().rstrip("\n")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments as click does, with a better error for an unexpected argument."""
        rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            # The argument is not repeated: an unquoted CONNINFO may have a password in any of its words.
            if "conninfo" not in ctx.params:
                raise UsageError("unexpected argument", f"{ctx.command_path} takes none")
            mend = 'quote a CONNINFO with blanks ("host=db1 dbname=shop"), and name the role with -U'
            raise UsageError(f"unexpected argument for {ctx.command_path}", mend)
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, scenarios and examples, then the options by section."""
        lists = (("Commands", self.commands), ("Scenarios", self.scenarios), ("Examples", self.examples))
        for title, lines in lists:
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines, col_max=44)
        sections: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx)
            if record and isinstance(option, Option):
                sections.setdefault(option.section, []).append(record)
        for title, records in sections.items():
            is_short = title in LONG_SECTIONS and not ctx.meta.get(IN_FULL)
            with formatter.section(title):
                if is_short:
                    pointer = f"{ctx.command_path} {HELP_ALL}"
                    formatter.write_dl([(pointer, f"lists these {len(records)} options")], col_max=44)
                else:
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the notes."""
        for note in self.notes:
            formatter.write_paragraph()
            formatter.write_text(note)


def split_command(
    arguments: Sequence[str], commands: Mapping[str, click.Command], otherwise: click.Command
) -> tuple[click.Command, list[str]]:
    """Return the named command, wherever its name stands, and the arguments without the name.

    The first argument that is neither an option nor an option's value is the name, if a command has that
    name. After `--` no argument is a name. The commands themselves tell which options take a value.

    >>> snapshot = click.Command("snapshot", params=[click.Option(["-h", "--host"])])
    >>> command, rest = split_command(["-h", "db1", "snapshot", "shop"], {"snapshot": snapshot}, snapshot)
    >>> command.name, rest
    ('snapshot', ['-h', 'db1', 'shop'])
    """
    if not any(argument in commands for argument in arguments):
        return otherwise, list(arguments)  # so that no command is imported for its options
    position = _first_word(arguments, commands, otherwise)
    if position is None or arguments[position] not in commands:
        return otherwise, list(arguments)
    return commands[arguments[position]], [*arguments[:position], *arguments[position + 1 :]]


def refuse_misspelt(
    arguments: Sequence[str], commands: Mapping[str, click.Command], otherwise: click.Command
) -> None:
    """Raise UsageError if the first word is nearly a command's name, with that name.

    Otherwise it would be taken for a database, and the error would come from a server.

    >>> refuse_misspelt(["shop"], {"snapshot": click.Command("snapshot")}, click.Command("pgtop"))
    """
    if not any(argument not in commands and nearest(argument, commands) for argument in arguments):
        return  # so that no command is imported for its options
    position = _first_word(arguments, commands, otherwise)
    word = arguments[position] if position is not None else ""
    if word in commands:
        return
    near = nearest(word, commands)
    if near is not None:
        shown = printable(word)
        mend = f"did you mean {near}? A database of that name: -d {shown}"
        raise UsageError(f"unknown command {shown}", mend)


def _first_word(
    arguments: Sequence[str], commands: Mapping[str, click.Command], otherwise: click.Command
) -> int | None:
    """Return the position of the first argument that is neither an option nor an option's value."""
    with_value: set[str] | None = None
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        if argument == "--":
            return None
        if argument in commands or not argument.startswith("-") or argument == "-":
            return position
        if with_value is None:  # it needs the options of all commands, which are imported for that
            with_value = _flags_with_value(*commands.values(), otherwise)
        position += 2 if _takes_the_next(argument, with_value) else 1
    return None


def _flags_with_value(*commands: click.Command) -> set[str]:
    return {
        flag
        for command in commands
        for option in command.params
        if isinstance(option, click.Option) and not option.is_flag
        for flag in option.opts
    }


def _takes_the_next(argument: str, with_value: set[str]) -> bool:
    """Return whether the value of an option is the argument after it.

    >>> flags = {"-h", "--host"}
    >>> [_takes_the_next(a, flags) for a in ("-h", "--host", "-wh", "-hdb1", "--host=db1", "-w")]
    [True, True, True, False, False, False]
    """
    if argument.startswith("--"):
        return argument in with_value
    for index, letter in enumerate(argument[1:], start=1):
        if f"-{letter}" in with_value:
            return index == len(argument) - 1
    return False
