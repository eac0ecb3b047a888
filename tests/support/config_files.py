"""Configuration files, and the settings that `pgtop config` tells of."""

import json
from pathlib import Path
from typing import Any

from tests.support.running import run


def write_config(home: Path, text: str, name: str = ".config/pgtop/config.toml") -> Path:
    """Writes the configuration file of a home; returns its path."""
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def settings_in_force(home: Path, *arguments: str, **rest: Any) -> dict[str, Any]:
    """What `pgtop config --json` answers."""
    done = run(home, "config", "--json", *arguments, **rest)
    assert (done.returncode, done.stderr) == (0, "")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
