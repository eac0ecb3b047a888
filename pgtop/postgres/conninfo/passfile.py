"""The password file (~/.pgpass), read as libpq reads it."""

import stat
from pathlib import Path

from pgtop.postgres.conninfo.target import Endpoint, Target
from pgtop.safe_files import read_regular


def stored_password(target: Target, endpoint: Endpoint) -> str | None:
    """The password of the file's first line that fits; None without one, and from a file others may read."""
    path = target.passfile
    if path is None or unsafe(path):
        return None
    # Any other socket's line names its directory as it is written in the conninfo.
    host = "localhost" if endpoint.host == target.default_directory else endpoint.host
    wanted = (host, str(endpoint.port), target.database, target.user)
    try:
        lines = read_regular(path).decode("utf-8", "surrogateescape").split("\n")
    except OSError:
        return None
    for line in lines:
        fields = split_line(line)
        if len(fields) >= 5 and all(f in ("*", w) for f, w in zip(fields, wanted, strict=False)):
            return fields[4]
    return None


def unsafe(path: Path) -> bool:
    """Return whether the file is not a plain file, or group or others may read it: libpq ignores it then."""
    try:
        status = path.stat()
    except OSError:
        return False
    return not stat.S_ISREG(status.st_mode) or bool(status.st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def split_line(line: str) -> list[str]:
    r"""The fields of one line; a backslash takes the next character as it is; a comment has none.

    >>> split_line(r"db\:1:5432:*:app:a\\b")
    ['db:1', '5432', '*', 'app', 'a\\b']
    """
    line = line.rstrip("\r\n")
    if not line or line.startswith("#"):
        return []
    fields = [""]
    characters = iter(line)
    for character in characters:
        if character == "\\":
            fields[-1] += next(characters, "")
        elif character == ":" and len(fields) < 5:
            fields.append("")
        elif character == ":":
            break
        else:
            fields[-1] += character
    return fields
