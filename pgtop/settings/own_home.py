"""The home directory of this user, where HOME is missing, or another's as some set-ups of sudo leave it."""

import os
import pwd
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

NO_HOME: Final = Path("/nonexistent")
"""The home of users who have none, by the convention of passwd(5)'s packagers."""


def own_path(found: Callable[[], Path], below_home: str) -> Path:
    """Return the path that `found` gives, or the one below the user's own home where that is not the user's.

    It is not if there is no HOME, if root runs pgtop with another user's HOME, who could put a link there, or
    if another user's directory on the way is closed to this one.
    """
    try:
        path = found()
    except RuntimeError:  # neither HOME nor an entry in passwd
        return NO_HOME / below_home
    if not path.is_absolute():
        return NO_HOME / below_home
    with suppress(OSError, RuntimeError):
        home = Path.home()
        if os.geteuid() == 0 and path.is_relative_to(home) and home.stat().st_uid != 0:
            return _home_of_passwd() / path.relative_to(home)
    return _home_of_passwd() / below_home if is_closed(path) else path


def is_closed(path: Path) -> bool:
    """Return whether a directory of another user's keeps this one from seeing whether the file is there."""
    for directory in reversed(path.parents):
        try:
            (directory / ".").stat()
        except PermissionError:
            return not _is_own(directory)
        except OSError:
            return False
    return False


def _is_own(path: Path) -> bool:
    try:
        return path.stat().st_uid == os.geteuid()
    except OSError:
        return False


def _home_of_passwd() -> Path:
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        return NO_HOME
