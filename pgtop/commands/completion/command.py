"""The command `pgtop completion`: it prints the script that makes a shell complete pgtop's command line."""

from typing import Any, Final

import click

from pgtop.commands.command import Command
from pgtop.commands.shared_options import other_options, settings_without_effect
from pgtop.commands.standard_streams import show
from pgtop.errors import UsageError
from pgtop.exit_codes import ExitCode

_NAMES: Final = ("bash", "zsh", "fish")


def _completion(context: click.Context, /, **_: Any) -> int:
    from pgtop.commands.completion.shells import SHELLS
    from pgtop.commands.completion.variables import VARIABLE

    asked_for: str | None = context.params["shell"]
    if asked_for not in SHELLS:
        problem = "no shell is named" if asked_for is None else "there is no completion for that shell"
        raise UsageError(problem, f"the shells are {', '.join(_NAMES)}")
    show(SHELLS[asked_for](context.command, {}, "pgtop", VARIABLE).source())
    return ExitCode.DONE


def _shells(_context: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in _NAMES if name.startswith(incomplete)]


COMPLETION: Final = Command(
    "completion",
    callback=click.pass_context(_completion),
    params=[
        click.Argument(["shell"], required=False, metavar="SHELL", shell_complete=_shells),
        *settings_without_effect(),
        *other_options(show),
    ],
    help="""Print the script that makes a shell complete commands, options, their values,
    and the servers of the configuration file (@prod). SHELL is bash, zsh or fish.""",
    examples=(
        ('eval "$(pgtop completion bash)"', "in ~/.bashrc"),
        ('eval "$(pgtop completion zsh)"', "in ~/.zshrc, after compinit"),
        ("pgtop completion fish | source", "in ~/.config/fish/config.fish"),
    ),
    notes=("Exit status: 0 done, 1 unexpected, 2 usage, 130 Ctrl-C.",),
)
