"""Fixtures of the demo's tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def temporary_directory() -> Iterator[Path]:
    """A directory for temporary files of the test's own, open to the server's user.

    Its path is short whatever TMPDIR is, so that a socket below it has a path that a client can take.
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o755)
        yield Path(place)
