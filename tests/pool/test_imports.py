"""Importing the pool brings asyncpg and the standard library, and nothing else."""

import subprocess
import sys

from tests.servers import REPOSITORY

SCRIPT = """
import sys
{first}
before = set(sys.modules)
import pgtop.pool
print(*sorted(set(sys.modules) - before))
"""


def brought(first: str) -> list[str]:
    """Return the modules that the import of the pool adds, after another import."""
    script = SCRIPT.format(first=first)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.split()


def test_the_pool_imports_asyncpg_and_the_standard_library_alone() -> None:
    others = {
        name
        for name in brought("import asyncpg")
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith("pgtop.pool.")
    }
    assert others == {"pgtop", "pgtop.pool"}


def test_asyncpg_is_among_what_it_brings() -> None:
    assert "asyncpg.pool" in brought("")
