"""The entry point: it reads the command line, runs the command, and prints an error in one line.

This is the one place that prints errors.
"""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from pgtop.commands.all_commands import COMMANDS
from pgtop.commands.command import refuse_misspelt, split_command
from pgtop.commands.completion.variables import VARIABLE
from pgtop.commands.dashboard import DASHBOARD
from pgtop.commands.standard_streams import (
    DEBUG_VARIABLE,
    ReaderGoneError,
    hold_standard_descriptors,
    leave_on_sigterm,
    show,
    warn,
)
from pgtop.errors import PgtopError, UsageError
from pgtop.exit_codes import ExitCode
from pgtop.settings.option_types import Option

INTERRUPTED: Final = 128 + signal.SIGINT
"""The exit status after Ctrl-C, as shells have it. After SIGTERM, which is sent on purpose, it is 0."""


def main() -> NoReturn:
    """Run the command line of this process, and exit."""
    hold_standard_descriptors()
    if shell := os.environ.get(VARIABLE):
        sys.exit(_complete(shell))
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit status. Every error is printed on standard error."""
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
    except Exception as error:  # noqa: BLE001 - the one place where a bug of ours becomes a line
        _trace()
        warn(f"unexpected error: {type(error).__name__}: {error} (set {DEBUG_VARIABLE}=1 for the traceback)")
        return ExitCode.UNEXPECTED


def _complete(shell: str) -> int:
    """Print the completions of a line for a shell. An error leaves it without any: nobody would read it."""
    from pgtop.commands.completion.answers import answer

    try:
        show(answer(shell, COMMANDS, DASHBOARD))
    except Exception:  # noqa: BLE001 - a line that is being typed must not be disturbed
        _trace()
        return ExitCode.UNEXPECTED
    return ExitCode.DONE


def _run(arguments: Sequence[str]) -> int:
    refuse_misspelt(arguments, COMMANDS, DASHBOARD)
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
    """Print the traceback if it was asked for, through `warn`, since its text may come from a server."""
    if os.environ.get(DEBUG_VARIABLE):
        for line in traceback.format_exc().splitlines():
            warn(line.replace("    ", "  "))


def _usage_error(error: click.ClickException, path: str) -> UsageError:
    """Return an error of click's as a UsageError of one line, with the remedy."""
    problem = error.format_message()
    option = getattr(error, "param", None)
    if isinstance(error, click.NoSuchOption):
        close = error.possibilities
        problem = f"no such option: {error.option_name}" + (f" (did you mean {close[0]}?)" if close else "")
    elif isinstance(error, click.BadParameter) and isinstance(option, Option):
        # The value of a flag is not repeated: PGTOP_PASSWORD may hold a password by mistake.
        said = "takes 1 for yes or 0 for no" if option.is_flag else error.message
        problem = f"{option.source(error.ctx)}: {said}"
    else:
        problem = problem[:1].lower() + problem[1:]
    return UsageError(problem.rstrip("."), f"try {path} --help")
