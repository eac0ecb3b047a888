"""The rules of the tests themselves: where they stand, what they import and touch, how they are named."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutation.mutants import MUTANTS
from tests.servers import REPOSITORY
from tests.support.sources import parsed

TESTS = REPOSITORY / "tests"
FILES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in TESTS.rglob("*.py")
    if TESTS / "leaks" / "modules" not in path.parents  # code that is checked, and no part of the suite
)
MODULES = [path for path in FILES if path.rpartition("/")[2].startswith("test_")]

LONGEST_STATEMENT = 60
"""Characters of a test's name after `test_`."""

CLAUSE = re.compile("test_(what|who|where|how|whether)")
"""The beginning of a name that is not a statement."""

OUTSIDE_PGTOP = {"bench", "mutation", "support"}
"""Folders of tests/ that mirror no folder of pgtop/."""


def tree_of(path: str) -> ast.Module:
    """A file's syntax tree."""
    return parsed((REPOSITORY / path).read_text(encoding="utf-8"), path)


def is_private(name: str) -> bool:
    """Return whether a name is private: one underscore, and more than that."""
    return name.startswith("_") and not name.startswith("__") and name != "_"


def defined(tree: ast.AST) -> Iterator[str]:
    """Every name that a file gives to a function, a class, a variable or an attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def touched(tree: ast.AST) -> Iterator[str]:
    """Every name that a file takes from something else: by import, as an attribute, or to patch it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute):
            if not is_own(node):
                yield node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if called in ("setattr", "delattr", "getattr") and not is_others(node.args):
                yield from (each.value for each in node.args if _is_text(each))  # type: ignore[attr-defined]


def is_own(node: ast.Attribute) -> bool:
    """Return whether it is an attribute of the object itself."""
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def is_others(arguments: list[ast.expr]) -> bool:
    """Return whether what is patched is the driver's, not pgtop's."""
    return bool(arguments) and ast.unparse(arguments[0]).startswith("asyncpg.")


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@pytest.fixture(scope="module")
def private_names() -> frozenset[str]:
    """The private names of pgtop."""
    sources = (path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "pgtop").rglob("*.py"))
    return frozenset(name for path in sources for name in defined(tree_of(path)) if is_private(name))


def test_the_folders_mirror_those_of_pgtop() -> None:
    for path in FILES:
        folder = Path(path).parent.relative_to("tests")
        if folder.parts and folder.parts[0] not in OUTSIDE_PGTOP:
            assert (REPOSITORY / "pgtop" / folder).is_dir(), path


def test_no_file_imports_from_a_test() -> None:
    """What two tests need stands in builders.py, in support/ or in a conftest."""
    for path in FILES:
        text = (REPOSITORY / path).read_text(encoding="utf-8")
        scripts = [node.value for node in ast.walk(tree_of(path)) if _is_text(node)]  # type: ignore[attr-defined]
        for each in (text, *scripts):
            for line in each.splitlines():
                words = line.split()
                if words[:1] in (["from"], ["import"]) and len(words) > 1 and words[1].startswith("tests."):
                    assert ".test_" not in words[1], (path, line)


def test_no_private_name_of_pgtop_is_touched(private_names: frozenset[str]) -> None:
    for path in FILES:
        assert not {name for name in touched(tree_of(path)) if is_private(name)} & private_names, path


def test_a_private_name_is_noticed_wherever_it_is_touched(private_names: frozenset[str]) -> None:
    assert "_session" in private_names
    ways = (
        "reaper._session",
        "from pgtop.x import _session",
        'monkeypatch.setattr(reaper, "_session", None)',
    )
    for way in ways:
        assert "_session" in set(touched(parsed(way)))
    assert "_session" not in set(touched(parsed("self._session")))


def test_every_mutant_fits_the_code() -> None:
    """Its text stands exactly once in the file, and its tests are there."""
    for mutant in MUTANTS:
        assert (REPOSITORY / mutant.path).read_text(encoding="utf-8").count(mutant.old) == 1, mutant
        assert all((REPOSITORY / each.partition("::")[0]).exists() for each in mutant.tests), mutant


def test_a_tests_name_is_a_short_statement() -> None:
    for path in MODULES:
        for name in defined(tree_of(path)):
            if name.startswith("test_"):
                assert len(name.removeprefix("test_")) <= LONGEST_STATEMENT, (path, name)
                assert not CLAUSE.match(name), (path, name)
