"""The settings in force and the target, from the command line, the environment and the file."""

import os
from typing import TYPE_CHECKING, Final, NamedTuple

import click
from click.core import ParameterSource

from pgtop.errors import ReadOnlyError, UsageError
from pgtop.settings.defaults_and_bounds import Config, Given, in_force
from pgtop.settings.file import ConfigFile, read_config_file
from pgtop.settings.options import NO_HISTORY

if TYPE_CHECKING:
    from pgtop.postgres.conninfo.target import Target


_FILE_WINS: Final = ("read_only", "hide_queries")
"""The settings that flags and variables cannot turn off if the file has them on.

They protect a server from anyone who opens it in a hurry.
"""


class Settings(NamedTuple):
    """The settings in force, and where they come from."""

    config: Config
    given: dict[str, Given]
    """The values given in place of the defaults, by field of Config."""
    file: ConfigFile


def settings_of(context: click.Context) -> Settings:
    """Return the settings in force. The file is read once, and anew at each call. It raises UsageError."""
    file = read_config_file(context.params["config"])
    given = given_of(context, file)
    return Settings(in_force(given), given, file)


def config_of(context: click.Context) -> Config:
    """Return the settings in force, for a command that connects to no server. It raises UsageError."""
    return settings_of(context).config


def config_and_target(context: click.Context) -> "tuple[Config, Target]":
    """Return the settings in force and the target, from one reading of the file. It raises UsageError."""
    settings = settings_of(context)
    return settings.config, target_of(context, settings)


def refuse_read_only(config: Config) -> None:
    """Raise ReadOnlyError if the configuration is read-only."""
    if config.read_only:
        raise ReadOnlyError


def given_of(context: click.Context, file: ConfigFile) -> dict[str, Given]:
    """Return the values given in place of the defaults, by field of Config.

    Settings in _FILE_WINS that are true in the file take precedence over flags and variables. It raises
    UsageError for a server that the file does not name.
    """
    own_defaults: dict[str, Given] = {}
    typed: dict[str, Given] = {}
    for name in Config.__struct_fields__:
        value: Given | None = context.params.get(name)  # none for a setting that only the file has
        if value is not None:
            is_default = context.get_parameter_source(name) is ParameterSource.DEFAULT
            (own_defaults if is_default else typed)[name] = value
    typed.update(_without_history(context))
    from_file = file.settings_for(server_name(context))
    for name in _FILE_WINS:
        setting = from_file.get(name)
        if setting is not None and setting.value is True:
            typed[name] = setting
    return {**own_defaults, **from_file, **typed}


def _without_history(context: click.Context) -> dict[str, Given]:
    """Return the setting of --no-history; nothing if a --history flag overrides its variable.

    It raises UsageError if both are flags, or both are variables.
    """
    without: Given | None = context.params[NO_HISTORY]
    if without is None or without.value is not False:
        return {}
    sources = [context.get_parameter_source(name) for name in (NO_HISTORY, "history")]
    if sources[0] == sources[1]:
        raise UsageError(f"{without.source} contradicts the path of a history", "leave one of them out")
    return {} if sources[1] is ParameterSource.COMMANDLINE else {"history": without}


def server_name(context: click.Context) -> str | None:
    """Return the name after the `@` if CONNINFO names a server of the file; else None."""
    conninfo = context.params.get("conninfo")
    return conninfo[1:] if conninfo and conninfo.startswith("@") else None


_LIBPQ: Final = (
    ("host", "host", "PGHOST"),
    ("port", "port", "PGPORT"),
    ("user", "username", "PGUSER"),
    ("dbname", "dbname", "PGDATABASE"),
    ("service", "service", "PGSERVICE"),
)
"""The parameters of libpq, each with the option that sets it and with libpq's variable for it."""


def target_of(context: click.Context, settings: Settings) -> "Target":
    """Return the target to connect to, with the rescue role if one is given.

    A PGTOP_ variable takes precedence over libpq's own, and the command line over both.

    It raises UsageError.
    """
    from pgtop.postgres.conninfo.resolve import resolve

    name = server_name(context)
    conninfo: str | None = context.params["conninfo"] if name is None else settings.file.conninfo_of(name)
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
    target = resolve(conninfo, flags, environ)
    rescue = settings.given.get("rescue")
    if rescue is None or not rescue.written:
        return target
    from pgtop.postgres.conninfo.rescue_role import with_rescue

    return with_rescue(target, rescue.written, rescue.source, environ)
