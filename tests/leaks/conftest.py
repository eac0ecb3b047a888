"""Trees of sources to check."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

collect_ignore = ["modules"]
"""The modules that the check is tried on are never run: pytest must not import them."""


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Write files, by their paths within a directory, and return the directory."""

    def write(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text), encoding="utf-8")
        return tmp_path

    return write
