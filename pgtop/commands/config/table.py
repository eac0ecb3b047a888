"""The output of `pgtop config`: each setting in force with the source of its value."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from pgtop.core.masking import masked
from pgtop.core.text import printable
from pgtop.settings.defaults_and_bounds import Config, Given
from pgtop.settings.file import FILTERS, ConfigFile, file_keys

DEFAULT = "default"


class Line(msgspec.Struct, frozen=True):
    """One setting in force."""

    value: object
    source: str
    """The flag, the variable, the file with the key, or `default`."""


def lines(config: Config, given: Mapping[str, Given], rescue: str | None) -> dict[str, Line]:
    """Return the lines by key of the configuration file; durations are in seconds, sizes in bytes.

    `rescue` is a label of the rescue role's target, shown in place of its conninfo, which may hold a
    password.
    """
    found = {}
    for key, option in file_keys().items():
        field = option.name or key
        value = getattr(config, field)
        if field == "rescue":
            value = rescue
        if field == "audit_log":
            value = "-" if value is None else str(value)
        if field == "history":
            value = False if value is None else str(value)
        if isinstance(value, Path):
            value = str(value)
        if isinstance(value, str):  # the alert command may have a password among its arguments
            value = masked(value)
        found[key] = Line(value, given[field].source if field in given else DEFAULT)
    return found


def filter_lines(file: ConfigFile) -> dict[str, Line]:
    """Return the saved filters by name, in the order of the file."""
    return {name: Line(masked(text), f"{file.path}: {FILTERS}.{name}") for name, text in file.filters.items()}


class Report(msgspec.Struct, frozen=True):
    """The JSON output. Its fields and the order of these are a contract."""

    schema: int
    server: str
    """The server and the role that pgtop would use."""
    file: str
    settings: dict[str, Line]
    filters: dict[str, Line]
    """The saved filters of the dashboard by name."""


def report(server: str, path: Path, settings: dict[str, Line], filters: dict[str, Line]) -> Report:
    """Return the settings and the saved filters as the report that becomes JSON."""
    return Report(1, server, str(path), settings, filters)


def render(
    server: str, path: Path, settings: Mapping[str, Line], filters: Mapping[str, Line] = MappingProxyType({})
) -> str:
    """Return the table: the settings, and the saved filters below them."""
    rows = [(key, _shown(key, line.value), line.source) for key, line in settings.items()]
    rows += [(f"{FILTERS}.{name}", printable(str(line.value)), line.source) for name, line in filters.items()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    table = [f"{key:<{widths[0]}}  {value:<{widths[1]}}  {printable(source)}" for key, value, source in rows]
    there = "" if path.exists() else " (not there)"
    return "\n".join((f"server: {printable(server)}", f"file: {printable(str(path))}{there}", "", *table, ""))


def _shown(key: str, value: object) -> str:
    """Return a value as a person would write it."""
    field = file_keys()[key].name or key
    if field.endswith("_seconds") and isinstance(value, int | float):
        return f"{value:g}s"
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return printable(", ".join(value) if isinstance(value, tuple) else str(value))
