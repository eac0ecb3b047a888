"""The connection service file (~/.pg_service.conf), read as libpq reads it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pgtop.core.text import printable
from pgtop.errors import UsageError
from pgtop.postgres.conninfo.parameters import normalised, shown
from pgtop.safe_files import read_regular

_USUAL_SYSTEM_DIRECTORY: Final = "/etc/postgresql-common"


def service_parameters(name: str, environ: Mapping[str, str], home: Path | None) -> dict[str, str]:
    """The parameters of a service; raises UsageError where no file defines it, or a file cannot be read."""
    places = _places(environ, home)
    for path in places:
        found = _section(path, name)
        if found is not None:
            return found
    looked = " and ".join(printable(str(path)) for path in places) or "no file at all"
    raise UsageError(
        f"definition of service {shown(name)} not found", f"looked in {looked}; see PGSERVICEFILE"
    )


def _places(environ: Mapping[str, str], home: Path | None) -> list[Path]:
    asked = environ.get("PGSERVICEFILE")
    if asked and not _is_there(Path(asked)):
        raise UsageError(f"service file {shown(asked)} not found", "check PGSERVICEFILE")
    mine = Path(asked) if asked else home / ".pg_service.conf" if home else None
    system = Path(environ.get("PGSYSCONFDIR") or _USUAL_SYSTEM_DIRECTORY) / "pg_service.conf"
    return [path for path in (mine, system) if path is not None and _is_there(path)]


def _is_there(path: Path) -> bool:
    """Return False also for a file in a directory that this user may not enter."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def _section(path: Path, wanted: str) -> dict[str, str] | None:
    try:
        lines = read_regular(path).decode("utf-8", "surrogateescape").split("\n")
    except OSError as error:
        raise UsageError(
            f"service file {shown(str(path))} cannot be read ({error.strerror})", "check PGSERVICEFILE"
        ) from error
    found: dict[str, str] | None = None
    for number, line in enumerate(lines, 1):
        text = line.strip(" \t\n\v\f\r")
        if not text or text.startswith("#"):
            continue
        if text.startswith("["):
            if found is not None:
                break
            if text.startswith(f"[{wanted}]"):
                found = {}
        elif found is not None:
            key, value = _setting(text, path, number)
            found.setdefault(key, value)
    return found


def _setting(line: str, path: Path, number: int) -> tuple[str, str]:
    place = f"{shown(str(path))}, line {number}"
    if line.startswith("ldap"):
        raise UsageError(
            f"service file {place}: pgtop does not support LDAP", "write the parameters down instead"
        )
    name, equals, value = line.partition("=")
    if not equals:
        raise UsageError(f"syntax error in service file {place}", "write name=value, without blanks at the =")
    if name == "service":
        raise UsageError(f"service file {place}: a service cannot name another", "remove the line")
    try:
        return normalised(name, value)
    except UsageError as error:
        raise UsageError(f"service file {place}: {error.problem}", error.mend) from error
