"""The command that an argument list names, and the arguments that remain."""

import re
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtop.commands.all_commands import COMMANDS
from pgtop.commands.command import LONG_SECTIONS, split_command
from pgtop.commands.dashboard import DASHBOARD
from pgtop.settings.option_types import Option
from tests.support.running import assert_one_line, read_until, run, start_on_terminal

ALL = (DASHBOARD, *COMMANDS.values())


@pytest.mark.parametrize(
    ("arguments", "name", "rest"),
    [
        ("", "pgtop", ""),
        ("shop", "pgtop", "shop"),
        ("snapshot", "snapshot", ""),
        ("snapshot shop", "snapshot", "shop"),
        ("-h db1 -p 5433 shop", "pgtop", "-h db1 -p 5433 shop"),
        ("snapshot -h db1", "snapshot", "-h db1"),
        ("-h db1 snapshot", "snapshot", "-h db1"),
        ("-hdb1 snapshot", "snapshot", "-hdb1"),
        ("-wh db1 snapshot shop", "snapshot", "-wh db1 shop"),
        ("--interval 5 snapshot", "snapshot", "--interval 5"),
        ("--interval=5 snapshot", "snapshot", "--interval=5"),
        ("--json snapshot", "snapshot", "--json"),
        ("-w --json snapshot -h db1", "snapshot", "-w --json -h db1"),
        ("--help demo", "demo", "--help"),
        ("-? demo", "demo", "-?"),
        ("--leak-every 1s demo --no-dashboard", "demo", "--leak-every 1s --no-dashboard"),
        ("-d snapshot", "pgtop", "-d snapshot"),
        ("-dsnapshot", "pgtop", "-dsnapshot"),
        ("-wd snapshot", "pgtop", "-wd snapshot"),
        ("--dbname=snapshot", "pgtop", "--dbname=snapshot"),
        ("-h snapshot demo", "demo", "-h snapshot"),
        ("-d demo snapshot", "snapshot", "-d demo"),
        ("-- snapshot", "pgtop", "-- snapshot"),
        ("snapshot -- demo", "snapshot", "-- demo"),
        ("-h", "pgtop", "-h"),
        ("--unknown snapshot", "snapshot", "--unknown"),
        ("shop snapshot", "pgtop", "shop snapshot"),
        ("snapshot snapshot", "snapshot", "snapshot"),
    ],
)
def test_a_commands_name_is_found_wherever_it_stands(arguments: str, name: str, rest: str) -> None:
    """The name is the first argument that is neither an option nor its value; after `--` there is none."""
    command, left = split_command(arguments.split(), COMMANDS, DASHBOARD)
    assert (command.name, left) == (name, rest.split())


@given(st.lists(st.text("-wh=snapdemo \0", max_size=9), max_size=6))
def test_no_argument_is_lost_or_reordered(arguments: list[str]) -> None:
    """Whatever the arguments, what is left are they, but for the command's name."""
    command, left = split_command(arguments, COMMANDS, DASHBOARD)
    if command is DASHBOARD:
        assert left == arguments
    else:
        position = next(index for index in range(len(arguments)) if arguments[index] == command.name)
        assert any(
            [*left[:index], str(command.name), *left[index:]] == arguments
            for index in range(position, len(arguments))
        )


def test_a_flag_takes_a_value_in_all_commands_or_in_none() -> None:
    """Otherwise an argument before the command's name could be read in two ways."""
    with_value: dict[str, set[bool]] = {}
    for command in ALL:
        for option in command.params:
            if isinstance(option, click.Option):
                for flag in option.opts:
                    with_value.setdefault(flag, set()).add(not option.is_flag)
    assert {flag for flag, kinds in with_value.items() if len(kinds) > 1} == set()


def test_every_option_has_its_variable() -> None:
    """`PGTOP_` and the long flag, but for help and version, and for the settings that a command ignores."""
    for command in ALL:
        for option in command.params:
            if isinstance(option, click.Option):
                flag = next(flag for flag in option.opts if flag.startswith("--"))
                without = flag in ("--help", "--help-all", "--version") or (
                    command.name in ("docs", "completion", "leaks") and option.hidden
                )
                expected = None if without else "PGTOP_" + flag[2:].replace("-", "_").upper()
                assert option.envvar == expected


@pytest.mark.parametrize(
    "arguments",
    ["--help", "-?", "snapshot --help", "--help snapshot", "demo -?", "--help-all", "reap --help-all"],
)
def test_help_fits_eighty_columns_and_lists_every_option(arguments: str, tmp_path: Path) -> None:
    """Help goes to standard output, no wider than 80 columns, and in a pipe without any style.

    A hidden option is not in it, and those of a long section only where all are asked for.
    """
    done = run(tmp_path, *arguments.split(), variables={"COLUMNS": "200"})
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    command, _ = split_command(arguments.split(), COMMANDS, DASHBOARD)
    assert done.stdout.startswith("Usage: pgtop")
    words = re.split(r"[\s,]+", done.stdout)
    for option in command.params:
        if isinstance(option, Option):
            is_left_out = option.section in LONG_SECTIONS and "--help-all" not in arguments
            assert (option.opts[-1] in words) != (option.hidden or is_left_out)
    assert "\x1b" not in done.stdout


def test_the_help_names_where_the_options_of_a_long_section_are(tmp_path: Path) -> None:
    short, snapshot = (run(tmp_path, *words).stdout for words in (("reap", "--help"), ("snapshot", "--help")))
    assert re.search(r"Sessions to terminate:\n  pgtop reap --help-all +lists these \d+ options", short)
    assert "--help-all" not in snapshot


@pytest.mark.parametrize(
    ("variables", "is_styled"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False)],
)
def test_the_help_has_styles_where_the_terminal_shows_them(
    tmp_path: Path, variables: dict[str, str], is_styled: bool
) -> None:
    """The same words stand in the same places as in a pipe."""
    with start_on_terminal(tmp_path, "reap", "--help", variables={"NO_COLOR": "", **variables}) as opened:
        process, terminal = opened
        shown = read_until(terminal, "130 Ctrl-C.").replace("\r\n", "\n")
        assert process.wait(30) == 0
    assert ("\x1b[" in shown) == is_styled
    assert click.unstyle(shown).strip() == run(tmp_path, "reap", "--help").stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("snapshto", "snapshot"),
        ("-h db1 snapsht --json", "snapshot"),
        ("raep", "reap"),
        ("brek-glass", "break-glass"),
    ],
)
def test_a_mistyped_command_is_named_and_no_server_is_asked(
    tmp_path: Path, arguments: str, meant: str
) -> None:
    done = run(tmp_path, *arguments.split())
    assert_one_line(done, 2, f": did you mean {meant}? A database of that name: -d ")


@pytest.mark.parametrize(
    "arguments", ["shop", "-d snapshto", "-- snapshto", "snap", "postgres", "dbname=snapsht"]
)
def test_a_database_is_not_taken_for_a_mistyped_command(tmp_path: Path, arguments: str) -> None:
    done = run(tmp_path, *arguments.split())
    assert_one_line(done, 2, "the dashboard needs a terminal")


def test_the_version_is_told(tmp_path: Path) -> None:
    """--version gives name and version, also among other options, and whatever PGTOP_VERSION holds."""
    done = run(tmp_path, "-h", "db1", "--version", variables={"PGTOP_VERSION": "7", "PGTOP_HELP": "1"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("pgtop ")


def test_the_version_and_help_need_no_screen_and_no_driver(tmp_path: Path) -> None:
    """`pgtop --version` imports neither the screen's libraries nor the driver's."""
    for argument in ("--version", "--help"):
        done = run(tmp_path, argument, variables={"PYTHONPROFILEIMPORTTIME": "1"})
        imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
        assert "click" in imported
        assert imported.isdisjoint({"textual", "rich", "plotext", "asyncpg", "asyncio", "platformdirs"})
