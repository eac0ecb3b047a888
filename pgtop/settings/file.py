"""The configuration file: finding it, reading it, and checking every key, even those of unused servers."""

import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from pgtop.core.filter_sort import parse_filter
from pgtop.core.masking import masked_value
from pgtop.core.text import cell_width, clip, printable
from pgtop.errors import UsageError
from pgtop.postgres.conninfo.parse import parse_conninfo
from pgtop.safe_files import UnsafeFileError, read_trusted
from pgtop.settings.defaults_and_bounds import Given, in_force
from pgtop.settings.option_types import Duration, Fraction, Number, Option, Size, Words
from pgtop.settings.options import FILE_ONLY, NO_HISTORY, setting_options
from pgtop.settings.own_home import is_closed, own_path

_SERVERS: Final = "servers"
FILTERS: Final = "filters"
"""The section of the saved filters."""
_CONNINFO: Final = "conninfo"
_RESCUE: Final = "rescue"
_FLAG_MODES: Final = 0o077
_LONGEST_FILTER_NAME: Final = 40


class Server(msgspec.Struct, frozen=True):
    """One `[servers.NAME]` section."""

    settings: Mapping[str, Given]
    """The settings by field of Config."""
    conninfo: Given | None

    def __repr__(self) -> str:
        return "Server(…)"  # a conninfo may hold a password


class ConfigFile(msgspec.Struct, frozen=True):
    """The contents of the configuration file; empty if there is none."""

    path: Path
    settings: Mapping[str, Given] = {}
    servers: Mapping[str, Server] = {}
    filters: Mapping[str, str] = {}
    """The saved filters of the dashboard by name, in the order of the file."""

    def server(self, name: str) -> Server:
        """Return the server of that name. It raises UsageError, with the known names, if there is none."""
        if name in self.servers:
            return self.servers[name]
        problem = f"{self.path}: no server is named {_shown(name)}{_near(name, self.servers)}"
        known = ", ".join(_shown(each) for each in self.servers)
        raise UsageError(problem, f"there are {known}" if known else "add a section such as [servers.prod]")

    def settings_for(self, name: str | None) -> dict[str, Given]:
        """Return the file's settings. Those of the named server, if any, take precedence."""
        return {**self.settings, **(self.server(name).settings if name is not None else {})}

    def conninfo_of(self, name: str) -> str:
        """Return a server's conninfo. It raises UsageError if the conninfo is missing or malformed."""
        given = self.server(name).conninfo
        if given is None:
            where = f"{self.path}: {_SERVERS}.{_shown(name)}"
            raise UsageError(f"{where} has no conninfo", 'add conninfo = "host=db1" to its section')
        try:
            parse_conninfo(given.written)
        except UsageError as error:
            raise UsageError(f"{given.source}: {error.problem}", error.mend) from error
        return given.written


def default_path() -> Path:
    """Return the path of `config.toml` in the user's config directory."""
    from platformdirs import user_config_path

    path = own_path(lambda: user_config_path("pgtop", appauthor=False), ".config/pgtop")
    return path / "config.toml"


def read_config_file(asked_for: str | None) -> ConfigFile:
    """Read the file that was asked for, or the default one, which may be missing.

    It raises UsageError, which names the file and the key.
    """
    try:
        path = Path(asked_for).expanduser() if asked_for else default_path()
    except RuntimeError as error:
        raise UsageError("there is no such home directory", "name the file in full with --config") from error
    try:
        data, mode = read_trusted(path)
        import tomllib  # most starts have no configuration file

        document = tomllib.loads(data.decode())
    except (FileNotFoundError, NotADirectoryError) as error:
        if asked_for is None:
            return ConfigFile(path)
        raise UsageError(f"{path}: there is no such file", "name one with --config") from error
    except UnsafeFileError as error:
        if asked_for is None and not os.path.lexists(path):
            return ConfigFile(path)
        raise UsageError(
            f"{path} is not read: {error.problem}", f"{error.mend}, or name another with --config"
        ) from error
    except OSError as error:
        if asked_for is None and is_closed(path):
            return ConfigFile(path)
        raise UsageError(
            f"{path} cannot be read ({error.strerror})",
            "let its owner read it, or name another with --config",
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:  # ValueError: also for a number with too many digits
        raise UsageError(f"{path} is not TOML: {error}") from error
    found = _checked(path, document)
    conninfos = [found.settings.get(_RESCUE)]
    for server in found.servers.values():
        conninfos += [server.conninfo, server.settings.get(_RESCUE)]
    if mode & _FLAG_MODES and any(map(_has_password, conninfos)):
        raise UsageError(f"{path} holds a password, and others may read it", f"chmod 600 {path}")
    return found


@cache
def file_keys() -> dict[str, Option]:
    """Return the keys of the file, each with the option that reads its value."""
    options = (option for option in (*setting_options(frozenset()), *FILE_ONLY) if isinstance(option, Option))
    return {
        option.long_flag.removeprefix("--").removeprefix("no-").replace("-", "_"): option
        for option in options
        if option.name not in ("config", NO_HISTORY)
    }


def _checked(path: Path, document: dict[str, Any]) -> ConfigFile:
    sections = document.pop(_SERVERS, {})
    if not isinstance(sections, dict) or not all(isinstance(each, dict) for each in sections.values()):
        raise UsageError(f"{path}: {_SERVERS} is not a table", "write [servers.prod]")
    filters = _filters(path, document.pop(FILTERS, {}))
    settings = _settings(path, "", document, (FILTERS,))
    servers = {}
    for name, section in sections.items():
        prefix = f"{_SERVERS}.{_shown(name)}."
        source = f"{path}: {prefix}{_CONNINFO}"
        conninfo = section.pop(_CONNINFO, None)
        if conninfo is not None and not isinstance(conninfo, str):
            raise UsageError(f"{source} is not text", 'write it as "host=db1"')
        given = Given(conninfo, conninfo, source) if conninfo else None
        servers[name] = Server(_settings(path, prefix, section, (_CONNINFO,)), given)
    return ConfigFile(path, settings, servers, filters)


def _filters(path: Path, table: object) -> dict[str, str]:
    """Return the saved filters. It raises UsageError, which names the one that is not a filter."""
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {FILTERS} is not a table", 'write [filters] and stale-web = "app:web"')
    for name, text in table.items():
        source = f"{path}: {FILTERS}.{_shown(name)}"
        if not name.strip() or name != printable(name) or cell_width(name) > _LONGEST_FILTER_NAME:
            raise UsageError(
                f"{source} is not a name for a filter", f"give 1 to {_LONGEST_FILTER_NAME} printable letters"
            )
        if not isinstance(text, str):
            raise UsageError(f"{source} is not text", 'write it as "app:web state:idle"')
        wanted = parse_filter(text)
        if wanted.problem:
            raise UsageError(source, wanted.problem)
        if text != printable(text) or not wanted.narrows:
            raise UsageError(f'{source} cannot be "{_shown(text)}"', "give words, as app:web state:idle")
    return table


def _settings(path: Path, prefix: str, table: Mapping[str, Any], others: tuple[str, ...]) -> dict[str, Given]:
    keys = file_keys()
    found = {}
    for key, value in table.items():
        source = f"{path}: {prefix}{_shown(key)}"
        if key not in keys:
            raise UsageError(f"{source} is not a setting{_near(key, (*keys, *others))}")
        option = keys[key]
        try:
            found[option.name or key] = Given(_value(option, value), _written(value), source)
        except ValueError as error:
            raise UsageError(source, str(error)) from error
    in_force(found)
    return found


def _value(option: Option, value: object) -> object:
    """Return a value as its option reads it. It raises ValueError, which says what is accepted."""
    kind = option.type
    if option.is_flag:
        if not isinstance(value, bool):
            raise ValueError("give true or false")
        return value
    if option.name == "history" and value is False:
        return value
    if isinstance(kind, Words):
        words = value if isinstance(value, list) else [value]
        if not all(isinstance(word, str) for word in words):
            raise ValueError("give a text, or a list of texts")
        return tuple(words)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and isinstance(kind, Duration | Fraction | Number | Size):
        return value
    if not isinstance(value, str):
        raise ValueError("give a text")
    return kind.read(value) if hasattr(kind, "read") else value


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _has_password(conninfo: Given | None) -> bool:
    if conninfo is None:
        return False
    try:
        return any(name in parse_conninfo(conninfo.written) for name in ("password", "sslpassword"))
    except UsageError:
        return "password" in conninfo.written or "@" in conninfo.written


def _near(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # for an error only

    near = get_close_matches(name, list(known), n=1)
    return f" (did you mean {_shown(near[0])}?)" if near else ""


def _shown(name: str) -> str:
    return clip(printable(masked_value(name)), 40)
