"""A survey: the findings of some paths, those that are silenced, and the places that run a statement."""

import ast
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from pgtop.leaks.check import Unreadable, findings_in, modules_of, room_for_recursion, sources
from pgtop.leaks.findings import STANDARD, Finding, Place, Rule
from pgtop.leaks.lifetimes import Lifetimes
from pgtop.leaks.modules import Module
from pgtop.leaks.ownership import place_of
from pgtop.leaks.project import Project
from pgtop.leaks.silencing import Kept, Settings, comments_in, silenced_by_comment
from pgtop.leaks.statements import Match, Statements


class Taking(NamedTuple):
    """A place that takes a connection, and at which no rule finds anything."""

    place: Place
    taken_by: str
    """The call that takes it."""
    function: str
    match: Match
    """The certainty that its function runs the statement that was looked for."""


class Ranked(NamedTuple):
    """A finding, and how surely its function runs the statement that was looked for."""

    finding: Finding
    match: Match


class Survey(NamedTuple):
    """The result of a survey."""

    findings: tuple[Ranked, ...]
    """Those that count, the surest to run the statement first, then in the order of the places."""
    silenced: tuple[Finding, ...]
    takings: tuple[Taking, ...]
    """The other places whose functions may run the statement, the surest first; none without a statement."""
    unreadable: tuple[Unreadable, ...]
    unused: tuple[Kept, ...]
    """The entries of the table that silence nothing."""
    files: int
    """The number of files that were looked at."""


@room_for_recursion()
def _ranked(
    found: Iterable[Finding], project: Project, statements: Statements | None, silenced: Iterable[Finding]
) -> tuple[list[Ranked], tuple[Taking, ...]]:
    ranked = [Ranked(each, _match(each, project, statements)) for each in found]
    ranked.sort(key=lambda each: -each.match)
    places = {each.place for each in [*found, *silenced]}
    return ranked, _takings(project, statements, places) if statements is not None else ()


def survey(
    paths: Sequence[Path],
    settings: Settings,
    *,
    tests: bool = False,
    rules: Iterable[Rule] = STANDARD,
    statement: str | None = None,
) -> Survey:
    """Check the Python files below some paths.

    With a `statement`, findings are ranked by whether their code runs it, and the other places that take a
    connection for it are listed, too.
    """
    rules = frozenset(rules)
    files = [each for each in sources(paths, tests=tests) if not settings.excludes(str(each[0]))]
    modules, unreadable = modules_of(files)
    project = Project(modules)
    found, silenced, used = _sorted_out(findings_in(project, rules), modules, settings)
    statements = Statements(project, statement) if statement is not None else None
    ranked, takings = _ranked(found, project, statements, silenced)
    return Survey(
        tuple(ranked),
        silenced,
        takings,
        tuple(unreadable),
        tuple(
            each
            for each in settings.judged([str(each) for each, _ in files], paths, rules)
            if each not in used
        ),
        len(files),
    )


def _sorted_out(
    findings: Iterable[Finding], modules: Iterable[Module], settings: Settings
) -> tuple[list[Finding], tuple[Finding, ...], set[Kept]]:
    """Return the findings that count, those that are silenced, and the entries that silence one."""
    comments = {module.path: comments_in(module.source) for module in modules}
    ends = {module.path: _call_ends(module) for module in modules if comments[module.path]}
    found, silenced, used = [], [], set()
    for each in findings:
        kept = settings.keeps(each)
        if kept is not None:
            used.add(kept)
        own = comments[each.place.path]
        last = ends[each.place.path].get((each.place.line, each.place.column), each.place.line) if own else 0
        reason = kept.reason if kept is not None else silenced_by_comment(each, own, last) if own else None
        if reason is None:
            found.append(each)
        else:
            silenced.append(msgspec.structs.replace(each, silenced=reason))
    return found, tuple(silenced), used


def _call_ends(module: Module) -> dict[tuple[int, int], int]:
    """Return the last line of each expression and statement, by the place where it begins."""
    return {
        module.position(node): node.end_lineno or node.lineno
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
    }


def _match(finding: Finding, project: Project, statements: Statements | None) -> Match:
    if statements is None:
        return Match.NO
    module = next(each for each in project.modules if each.path == finding.place.path)
    function = module.functions.get(finding.function)
    return statements.match(function) if function is not None else Match.NO


def _takings(project: Project, statements: Statements, found: set[Place]) -> tuple[Taking, ...]:
    """Return the places without a finding that take a connection for the statement."""
    lifetimes = Lifetimes(project)
    takings = [
        Taking(place, taken.handle.taken_by, function.name, statements.match(function))
        for module in project.modules
        for function in module.functions.values()
        for taken in lifetimes.taken_in(function)
        if (place := place_of(taken.call, function)) not in found
    ]
    kept = [each for each in takings if each.match > Match.SAME_FILE]
    return tuple(sorted(kept, key=lambda each: (-each.match, each.place)))
