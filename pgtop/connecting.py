"""From what was given on a command line to settings in force, a target, and a password that is typed."""

import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource
from msgspec.structs import replace

from pgtop.config import Config, in_force
from pgtop.errors import UsageError
from pgtop.terminal import ask_password, can_ask, run_until_sigterm

if TYPE_CHECKING:
    from pgtop.postgres.target import Target

_Answer = TypeVar("_Answer")


def config_of(context: click.Context) -> Config:
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


def target_of(context: click.Context) -> "Target":
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


def with_password(
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
