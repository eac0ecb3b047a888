"""The completion of a command line, in the real shells."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.config_files import write_config
from tests.support.running import environment, run
from tests.support.terminals import Terminal

SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
LOADING = {
    "bash": 'eval "$(pgtop completion bash)"',
    "zsh": 'autoload -U compinit; compinit -D -u; eval "$(pgtop completion zsh)"',
    "fish": "pgtop completion fish | source",
}

PROGRAM = """\
#!/bin/sh
if [ "$_PGTOP_COMPLETE" ] || [ "$1" = completion ]; then exec {python} -m pgtop "$@"; fi
echo "ran<$*>"
"""
"""A pgtop that prints its arguments where it is not asked for completions."""

TYPED = [
    ("pgtop snapsh\t", "snapshot"),
    ("pgtop -h db1 rea\t", "-h db1 reap"),
    ("pgtop snapshot --warn\t0.5", "snapshot --warn-at 0.5"),
    ("pgtop --theme co\t", "--theme colour-blind"),
    ("pgtop --theme=co\t", "--theme=colour-blind"),
    ("pgtop @prod-\t", "@prod-eu"),
    ("pgtop doctor --config other.to\t@te\t", "doctor --config other.toml @testing"),
    ("pgtop --config=other.to\t", "--config=other.toml"),
    ("pgtop docs troub\t", "docs troubleshooting"),
    ("pgtop reap --finding lea\t", "reap --finding leak"),
    ("pgtop record sc\t@prod-\t-o x", "record scrub @prod-eu -o x"),
    ("pgtop replay other.to\t--diagn\t", "replay other.toml --diagnose"),
]
"""What is typed, and the arguments that pgtop then has."""


@contextmanager
def shell(name: str, home: Path) -> Iterator[Terminal]:
    """An interactive shell that has loaded the completion, in a directory with two configuration files."""
    bin_dir = home / "bin"
    bin_dir.mkdir()
    program = bin_dir / "pgtop"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    write_config(home, '[servers.prod-eu]\nconninfo = "host=db1"\n')
    (home / "other.toml").write_text('[servers.testing]\nconninfo = "host=db2"\n')
    path = f"{bin_dir}:/usr/bin:/bin"
    variables = environment(home, PATH=path, TERM="xterm", LANG="C.UTF-8", PS1="$ ", TMPDIR=str(home))
    opened = Terminal(SHELLS[name], variables)
    try:
        opened.press(f"cd {home}; {LOADING[name]}; echo load''ed\r".encode())
        opened.shows("loaded")
        yield opened
    finally:
        opened.close()


@pytest.mark.parametrize("name", SHELLS)
def test_a_shell_completes_commands_options_values_and_servers(name: str, tmp_path: Path) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"no {name} here")
    with shell(name, tmp_path) as opened:
        for typed, arguments in TYPED:
            opened.press(f"{typed}\r".encode())
            opened.shows(f"ran<{arguments}>")


def test_a_completion_needs_no_screen_and_no_driver(tmp_path: Path) -> None:
    asked = {"_PGTOP_COMPLETE": "bash", "_PGTOP_LINE": "pgtop ", "PYTHONPROFILEIMPORTTIME": "1"}
    done = run(tmp_path, variables=asked)
    assert "plain\tsnapshot\n" in done.stdout
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert imported.isdisjoint({"textual", "rich", "plotext", "asyncpg", "asyncio"})


@pytest.mark.parametrize(
    "line", ['pgtop "', "pgtop --nonsense x y ", "pgtop --warn-at x --th", "pgtop -- sn", ""]
)
def test_a_line_that_is_wrong_or_unfinished_disturbs_nobody(line: str, tmp_path: Path) -> None:
    """Also where the configuration is bad."""
    write_config(tmp_path, "nonsense = 1\n")
    done = run(tmp_path, variables={"_PGTOP_COMPLETE": "zsh", "_PGTOP_LINE": line, "PGTOP_WARN_AT": "x"})
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_shell_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "completion", "csh")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the shells are bash, zsh, fish" in done.stderr
