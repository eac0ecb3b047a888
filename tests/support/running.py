"""Helpers that run the real command, as a process that knows nothing of this machine's settings."""

import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pgtop
from tests.support.forking import FORKS

LIMIT_SECONDS = 60

_SOURCE = Path(pgtop.__file__).parents[1]

_ON_A_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(int(sys.argv[1]), termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)
"""Makes a descriptor the controlling terminal of a new session, and becomes the command that follows."""


def environment(home: Path, **variables: str) -> dict[str, str]:
    """The environment of the command: none of this machine's PostgreSQL or pgtop settings, and a home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PGTOP_"))}
    for name in ("COLUMNS", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        kept.pop(name, None)
    return {**kept, "HOME": str(home), "PYTHONPATH": str(_SOURCE), "PYTHONWARNINGS": "", **variables}


def command(*arguments: str) -> list[str]:
    """The command line that runs pgtop with these arguments."""
    return [sys.executable, "-m", "pgtop", *arguments]


def run(
    home: Path, *arguments: str, variables: Mapping[str, str] | None = None, **rest: Any
) -> subprocess.CompletedProcess[str]:
    """Run pgtop to its end, without any terminal.

    Where nothing but its arguments and variables are asked for, it is forked instead of started.
    """
    if rest or not FORKS.suits(variables or {}):
        return run_words(home, command(*arguments), variables=variables, **rest)
    found = FORKS.run(arguments, environment(home, **(variables or {})), home, LIMIT_SECONDS)
    return subprocess.CompletedProcess(command(*arguments), *found)


def run_words(
    home: Path, words: list[str], *, variables: Mapping[str, str] | None = None, **rest: Any
) -> subprocess.CompletedProcess[str]:
    """Run a program around pgtop to its end, without any terminal."""
    return subprocess.run(
        words,
        env=environment(home, **(variables or {})),
        cwd=home,
        stdin=rest.pop("stdin", subprocess.DEVNULL),
        stdout=rest.pop("stdout", subprocess.PIPE),
        stderr=rest.pop("stderr", subprocess.PIPE),
        encoding="utf-8",
        timeout=LIMIT_SECONDS,
        start_new_session=True,
        check=False,
        **rest,
    )


def redirected(home: Path, redirections: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pgtop to its end as a shell does with redirections such as `>&- 2>/dev/full`."""
    return run_words(home, ["/bin/sh", "-c", f'exec "$@" {redirections}', "sh", *command(*arguments)])


@contextmanager
def start(home: Path, *arguments: str, **rest: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """Start pgtop without any terminal, and end it at the end of the block in any case."""
    process = subprocess.Popen(
        command(*arguments),
        env=environment(home),
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=rest.pop("stdout", subprocess.PIPE),
        stderr=rest.pop("stderr", subprocess.PIPE),
        start_new_session=True,
        **rest,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def start_on_terminal(
    home: Path,
    *arguments: str,
    columns: int = 80,
    variables: Mapping[str, str] | None = None,
    **streams: Any,
) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Start pgtop with a controlling terminal of its own; yield the process and the terminal's other end.

    Streams that are not named are the terminal.
    """
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _ON_A_TERMINAL, str(theirs), *command(*arguments)],
            env=environment(home, **(variables or {})),
            cwd=home,
            pass_fds=[theirs],
            start_new_session=True,
            **{name: streams.get(name, theirs) for name in ("stdin", "stdout", "stderr")},
        )
    finally:
        os.close(theirs)
    try:
        with process:
            try:
                yield process, ours
            finally:
                process.kill()
    finally:
        os.close(ours)


def assert_one_line(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    """The command failed with a status, told it in one line that holds all the words, and printed nothing."""
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("pgtop: ")
    assert done.stderr.endswith("\n")
    line = done.stderr.removesuffix("\n")
    assert line.isprintable(), line
    assert "Traceback" not in line
    for word in words:
        assert word in line


def read_until(terminal: int, word: str) -> str:
    """Return what a program prints on its terminal, up to and with a word."""
    said = ""
    while word not in said:
        assert select.select([terminal], [], [], LIMIT_SECONDS)[0], said
        said += os.read(terminal, 65536).decode("utf-8", "replace")
    return said
