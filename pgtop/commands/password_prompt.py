"""The run of a command that connects, with the question for a password if one is needed."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from msgspec.structs import replace

from pgtop.commands.standard_streams import ask_password, can_ask, run_until_sigterm
from pgtop.errors import UsageError

if TYPE_CHECKING:
    from pgtop.postgres.conninfo.target import Target


_Answer = TypeVar("_Answer")


def with_password(
    context: click.Context, target: "Target", face: Callable[["Target"], Coroutine[Any, Any, _Answer]]
) -> _Answer:
    """Run a face that connects.

    The password is asked for beforehand with -W, or once if the server demands it.
    """
    never, first = _password_flags(context)
    if first:
        target = replace(target, password=ask_password(target.user))
    from pgtop.postgres.errors.kinds import PasswordNeededError

    try:
        return run_until_sigterm(face(target))
    except PasswordNeededError:
        if never or not can_ask():
            raise
    return run_until_sigterm(face(replace(target, password=ask_password(target.user))))


def _password_flags(context: click.Context) -> tuple[bool, bool]:
    """Return whether -w and whether -W is set. A flag takes precedence over a variable.

    It raises UsageError if both are set in the same way.
    """
    never, first = context.params.get("no_password", False), context.params.get("password", False)
    if never and first:
        by_flag = ParameterSource.COMMANDLINE
        sources = [context.get_parameter_source(name) is by_flag for name in ("no_password", "password")]
        if sources[0] == sources[1]:
            raise UsageError("-w and -W cannot be used together", "give one of them")
        never, first = sources
    return never, first
