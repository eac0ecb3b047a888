"""The import contracts of pyproject.toml notice what would break the house."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sources import parsed

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package with its contracts, to plant offences in."""
    shutil.copytree(
        REPOSITORY / "pgtop", tmp_path / "pgtop", ignore=shutil.ignore_patterns("__pycache__", "*.md")
    )
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def lint(copy: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of a copy."""
    script = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", script, "--no-cache"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=150,
    )


def test_the_contracts_hold(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("path", "imported"),
    [
        ("commands/standard_streams.py", "pgtop.daemon.daemon"),
        ("commands/text_table.py", "pgtop.reaping.reaper"),
        ("commands/snapshot/table.py", "textual"),
        ("core/text.py", "pgtop.errors"),
        ("core/session_groups.py", "time"),
        ("daemon/log.py", "pgtop.tui.themes"),
        ("demo/server.py", "pgtop.daemon.systemd"),
        ("pool/places.py", "pgtop.core.text"),
        ("pool/places.py", "msgspec"),
        ("postgres/host/proc.py", "asyncpg"),
        ("postgres/session/connection.py", "pgtop.reaping.reaper"),
        ("settings/defaults_and_bounds.py", "pgtop.audit.log"),
        ("tui/lines/bars.py", "pgtop.tui.widgets.painted_lines"),
    ],
)
def test_an_import_that_climbs_is_red(copy: Path, path: str, imported: str) -> None:
    with (copy / "pgtop" / path).open("a") as file:
        file.write(f"\nimport {imported}\n")
    done = lint(copy)
    assert done.returncode == 1
    assert imported in done.stdout


@pytest.mark.parametrize(
    "path", ["new_room.py", "postgres/new_room.py", "tui/new_room.py", "commands/new_room.py"]
)
def test_a_module_that_stands_in_no_layer_is_red(copy: Path, path: str) -> None:
    (copy / "pgtop" / path).write_text("")
    done = lint(copy)
    assert done.returncode == 1
    assert "new_room" in done.stdout


def defined_names(module: ast.Module) -> set[str]:
    """Return the names that a module defines itself, inside `if` and `try` too."""
    names: set[str] = set()
    waiting: list[ast.AST] = list(module.body)
    while waiting:
        node = waiting.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= {
                    each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)
                }
            case ast.If() | ast.Try():
                waiting += ast.iter_child_nodes(node)
            case ast.ExceptHandler():
                waiting += node.body
    return names


def test_a_name_is_imported_from_where_it_is_defined() -> None:
    trees = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts): parsed(path.read_text())
        for folder in ("pgtop", "tests")
        for path in Path(REPOSITORY, folder).rglob("*.py")
    }
    modules = {name.removesuffix(".__init__"): defined_names(tree) for name, tree in trees.items()}
    borrowed = [
        f"{name}: {node.module}.{alias.name}"
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in modules
        for alias in node.names
        if alias.name not in modules[node.module] and f"{node.module}.{alias.name}" not in modules
    ]
    assert not borrowed
