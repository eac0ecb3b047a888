"""Fixtures of the demo's tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def temporary_directory() -> Iterator[Path]:
    """A directory for temporary files of the test's own, open to the server's user."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place)
