"""The check of a tree of sources."""

import gc
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from pgtop.leaks.findings import STANDARD, Finding, Rule
from pgtop.leaks.libraries import CLOSING_METHODS
from pgtop.leaks.lifetimes import Lifetimes
from pgtop.leaks.limits import limits
from pgtop.leaks.modules import Module
from pgtop.leaks.ownership import ownership
from pgtop.leaks.pooling import pooling
from pgtop.leaks.project import Project, giving_names, kept_attributes

_LEFT_OUT: Final = frozenset(
    {
        "node_modules",
        "__pycache__",
        "site-packages",
        "venv",
        "env",
        "build",
        "dist",
        "_vendor",
        "vendor",
        "vendored",
    }
)
_CALLS_DEEP: Final = 10_000
_TESTS: Final = re.compile(r"(?:^|/)(?:tests?|testing|conftest\.py$|test_[^/]*\.py$|[^/]*_test\.py$)(?:/|$)")
_TAKES: Final = re.compile(
    rb"asyncpg|psycopg|sqlalchemy|sqlmodel|aiopg|from databases|import databases"
    rb"|create_connection|connection\.copy|\.getconn\(|\.raw_connection\(|engine\.connect\(\)"
)
"""The words that stand in every file that can take a connection by itself."""


class Unreadable(NamedTuple):
    """A file that could not be checked."""

    path: str
    reason: str


class Checked(NamedTuple):
    """The result of a check."""

    findings: tuple[Finding, ...]
    unreadable: tuple[Unreadable, ...]
    files: int
    """The number of files that were looked at."""


def sources(paths: Sequence[Path], *, tests: bool = False) -> Iterator[tuple[Path, Path]]:
    """Yield the Python files below some paths, each with the path it was found from, in order.

    Hidden folders, virtual environments and vendored code are left out, and tests unless `tests` is set. A
    file that is named itself is always taken. One that two paths reach is yielded once: checked twice, its
    functions would stand for two, and nothing could be followed through them.
    """
    seen: set[Path] = set()
    for path in paths:
        for found, root in _below(path, tests=tests):
            real = found.resolve()
            if real not in seen:
                seen.add(real)
                yield found, root


def _below(path: Path, *, tests: bool) -> Iterator[tuple[Path, Path]]:
    if path.is_file():
        yield path, path.parent
        return
    for found in sorted(path.rglob("*.py")):
        parts = found.relative_to(path).parts
        if any(part in _LEFT_OUT or part.startswith(".") for part in parts[:-1]):
            continue
        if (tests or not _TESTS.search("/".join(parts))) and found.is_file():
            yield found, path


def check(paths: Sequence[Path], *, tests: bool = False, rules: Iterable[Rule] = STANDARD) -> Checked:
    """Check the Python files below some paths."""
    files = list(sources(paths, tests=tests))
    modules, unreadable = modules_of(files)
    return Checked(findings_in(Project(modules), rules), tuple(unreadable), len(files))


@contextmanager
def _without_collection() -> Iterator[None]:
    """Hold the garbage collector: it would walk all trees again and again, and none of them becomes free."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def room_for_recursion() -> Iterator[None]:
    """Let the check follow what the parser let through: it needs several calls for one level of nesting.

    Only for the check itself. The parser trusts the limit, and with a higher one could overflow the C stack.
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _CALLS_DEEP))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@_without_collection()
@room_for_recursion()
def findings_in(project: Project, rules: Iterable[Rule] = STANDARD) -> tuple[Finding, ...]:
    """Return what some rules find in a project, in the order of the places."""
    chosen, lifetimes = frozenset(rules), Lifetimes(project)
    found = [
        finding
        for module in project.modules
        for function in list(module.by_node.values())
        for finding in (
            *ownership(function, lifetimes),
            *pooling(function, lifetimes, project),
            *limits(function, project),
        )
        if finding.rule in chosen
    ]
    return tuple(sorted(found, key=lambda each: (each.place, each.rule)))


@_without_collection()
def modules_of(files: Sequence[tuple[Path, Path]]) -> tuple[list[Module], list[Unreadable]]:
    """Parse the files that take a connection, and then those that name what these give: the others cannot."""
    modules: list[Module] = []
    unreadable: list[Unreadable] = []
    texts: dict[tuple[Path, Path], bytes] = {}
    for path, root in files:
        try:
            texts[path, root] = path.read_bytes()
        except OSError as error:
            unreadable.append(Unreadable(str(path), error.strerror or str(error)))
    wanted: re.Pattern[bytes] = _TAKES
    while chosen := [each for each, raw in texts.items() if wanted.search(raw)]:
        for path, root in chosen:
            parsed = _parsed(path, root, texts.pop((path, root)))
            if isinstance(parsed, Module):
                modules.append(parsed)
            else:
                unreadable.append(parsed)
        wanted = _naming(Project(modules))
    return sorted(modules, key=lambda each: each.path), sorted(unreadable)


@room_for_recursion()
def _naming(project: Project) -> re.Pattern[bytes]:
    """Return a pattern for the files that get what functions of a project give, or close what objects keep.

    A file gets it by an import of its name, by a call through its module or object, or by taking from a pool
    that it reaches so.
    """
    given = "|".join(re.escape(each) for each in sorted(giving_names(project))) or "(?!)"
    kept = "|".join(re.escape(each) for each in sorted(kept_attributes(project))) or "(?!)"
    closing = "|".join(sorted(CLOSING_METHODS))
    return re.compile(
        rf"^[ \t]*(?:from|import)\b[^\n(]*(?:\([^)]*)?\b(?:{given})\b"
        rf"|\.(?:{given})(?:\(|\.(?:acquire|connect|getconn|raw_connection)\()"
        rf"|\.(?:{kept})\.(?:{closing})\(".encode(),
        re.MULTILINE,
    )


def _parsed(path: Path, root: Path, raw: bytes) -> Module | Unreadable:
    try:
        source = _decoded(raw)
        dotted = _dotted_name(path, root)
        return Module(str(path), dotted, source)
    except (RecursionError, MemoryError):  # the parser says either
        return Unreadable(str(path), "its code is nested too deeply")
    except (SyntaxError, ValueError, LookupError) as error:
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        return Unreadable(str(path), f"{line}{reason}")


def _dotted_name(path: Path, root: Path) -> str:
    """Return the module's full name: the root itself may lie within a package."""
    above = root.resolve()
    outer = []
    while (above / "__init__.py").is_file():
        outer.append(above.name)
        above = above.parent
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join([*reversed(outer), *(parts[:-1] if parts[-1] == "__init__" else parts)])


def _decoded(raw: bytes) -> str:
    return raw.decode(tokenize.detect_encoding(io.BytesIO(raw).readline)[0])
