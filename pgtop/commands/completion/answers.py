"""The answers to a shell that completes a command line."""

from collections.abc import Mapping

import click

from pgtop.commands.command import split_command
from pgtop.commands.completion.shells import SHELLS
from pgtop.commands.completion.variables import VARIABLE


def answer(shell: str, commands: Mapping[str, click.Command], otherwise: click.Command) -> str:
    """Return the completions of the line in the environment, one a line; "" for an unknown shell.

    `otherwise` is the command of a line that names none.
    """
    if shell not in SHELLS:
        return ""
    kind = SHELLS[shell]
    words, incomplete = kind(otherwise, {}, "pgtop", VARIABLE).get_completion_args()
    command, rest = split_command(words, commands, otherwise)
    completer = kind(command, {}, "pgtop", VARIABLE)
    found = completer.get_completions(rest, incomplete)
    return "".join(f"{completer.format_completion(each)}\n" for each in found)
