"""psql, the reference of connecting, where this machine has one."""

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.servers import available

LIMIT_SECONDS = 60
REFERENCE = 17
"""The version whose libpq is the reference: older ones know neither sslrootcert=system nor direct TLS."""


@functools.cache
def newest_psql() -> str:
    """The newest psql at hand that is built with TLS; skips the test where it is older than REFERENCE."""
    beside = [path / "psql" for _, path in sorted(available().items(), reverse=True)]
    for program in (*map(str, filter(Path.exists, beside)), *filter(None, [shutil.which("psql")])):
        asked = subprocess.run(
            [program, "-XAtqw", "-c", "", "-d", "host=/nonexistent sslmode=require"],
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SECONDS,
        )
        if "not compiled in" not in asked.stderr and _major(program) >= REFERENCE:
            return program
    pytest.skip(f"no psql {REFERENCE} with TLS at hand: python -m tests.servers fetch")


def _major(program: str) -> int:
    told = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
    )
    found = re.search(r"\d+", told.stdout)
    return int(found[0]) if found else 0


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def psql_gets_in(conninfo: str, home: Path, environ: Mapping[str, str] | None = None) -> bool:
    """Whether psql gets in, as a user with this home, and without a question."""
    done = subprocess.run(
        [newest_psql(), "-XAtqw", "-c", "SELECT 1", "-d", conninfo],
        env={**_environment(), "HOME": str(home), **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    return done.returncode == 0
