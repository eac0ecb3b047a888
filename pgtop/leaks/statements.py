"""Which code runs a statement: the texts of SQL in the sources, compared by their fingerprints."""

import ast
import re
from collections.abc import Iterator
from enum import IntEnum
from functools import cached_property
from typing import Final

from pgtop.core.diagnosis.statements import fingerprint
from pgtop.leaks.modules import Function, Module
from pgtop.leaks.project import Project

_VERB: Final = re.compile(
    r"""\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*
    (?:SELECT|INSERT|UPDATE|DELETE|WITH|MERGE|CALL|COPY|LOCK|TRUNCATE|REFRESH|VACUUM|LISTEN|NOTIFY|BEGIN|COMMIT
      |ROLLBACK|CREATE|ALTER|DROP|SET)\b""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_CUT_VALUE: Final = re.compile(r"\?:(?::[\w ]*)?\Z")
_PLACEHOLDER: Final = re.compile(r"%\(\w+\)s|%s|(?<![:\w]):[A-Za-z_]\w*")
_FORMATTED: Final = re.compile(r"(?<!%)%(?:\(\w+\))?[sdr]")
_FIELD: Final = re.compile(r"\{\w*\}")
"""A field of `format()`: a name of a table as well as a value."""
_HOLE: Final = "\x00"
"""Stands for a part of an f-string that is only known when the code runs."""
_VALUE: Final = "\x01"
"""Stands for a placeholder."""
_VALUES: Final = re.compile(
    r"(?P<value>\?|\(\?\)|true|false|null|array\[[^\]]*\])"
    r"(?:::\w+(?: varying| precision| with(?:out)? time zone)?(?:\(\?\))?(?:\[\])?)?"
)
"""A pattern for what a driver writes in place of one."""
_HOLES: Final = re.compile(f"([{_HOLE}{_VALUE}])")
_TABLE: Final = re.compile(
    r"\b(?:FROM|JOIN|INTO|UPDATE|TABLE)\s+(?:ONLY\s+)?\"?(?:\w+\"?\.\"?)?(\w+)", re.IGNORECASE
)
_CALLS_FOLLOWED: Final = 4
_LEAST_PREFIX: Final = 20


class Match(IntEnum):
    """A degree of certainty that a function runs the statement; the surest is the highest."""

    NO = 0
    SAME_FILE = 1
    """Another function of the file runs it."""
    SAME_TABLE = 2
    """It mentions a model class of a table that the statement names."""
    CALLS = 3
    """It calls a function that runs it."""
    RUNS = 4
    """Its own text has the statement."""


class Statements:
    """The statement that is looked for, and the functions that run it."""

    def __init__(self, project: Project, statement: str) -> None:
        self._project = project
        self._wanted = _comparable(fingerprint(statement.strip().rstrip("…").rstrip(";")))
        self._is_cut = statement.rstrip().endswith("…") or len(self._wanted) >= 1000
        self._tables = {each.lower() for each in _TABLE.findall(statement)}
        self._matches: dict[Function, Match] = {}

    def match(self, function: Function) -> Match:
        """Return how surely a function runs the statement."""
        if function not in self._matches:
            self._matches[function] = self._match(function)
        return self._matches[function]

    def _match(self, function: Function) -> Match:
        if function in self._running:
            return Match.RUNS
        if self._calls(function, _CALLS_FOLLOWED, set()):
            return Match.CALLS
        if self._models and any(
            isinstance(each, ast.Name) and each.id in self._models for each in function.nodes
        ):
            return Match.SAME_TABLE
        if function.module in self._running_modules:
            return Match.SAME_FILE
        return Match.NO

    @cached_property
    def _running(self) -> frozenset[Function]:
        return frozenset(
            function
            for module in self._project.modules
            for function in module.by_node.values()
            if any(self._fits(text) for text in self._texts(function))
        )

    @cached_property
    def _running_modules(self) -> frozenset[Module]:
        return frozenset(function.module for function in self._running)

    def _calls(self, function: Function, depth: int, seen: set[Function]) -> bool:
        if depth == 0 or function in seen:
            return False
        seen.add(function)
        for node in function.nodes:
            if not isinstance(node, ast.Call):
                continue
            called = self._project.called(node, function)
            if called is not None and (called in self._running or self._calls(called, depth - 1, seen)):
                return True
        return False

    @cached_property
    def _models(self) -> frozenset[str]:
        """The classes that stand for a table which the statement names."""
        found = set()
        for module in self._project.modules:
            for cls in module.classes.values():
                for node in cls.node.body:
                    match node:
                        case ast.Assign(
                            targets=[ast.Name(id="__tablename__")], value=ast.Constant(value=str() as table)
                        ) if table.lower() in self._tables:
                            found.add(cls.name.rsplit(".", maxsplit=1)[-1])
        return frozenset(found)

    def _texts(self, function: Function) -> Iterator[str]:
        """Yield the statements in a function's own text, and in the constants of its module that it names."""
        inside: set[ast.AST] = set()
        for node in function.nodes:
            if node in inside or not isinstance(node, ast.expr):
                continue
            text = text_of(node)
            if text is not None:
                inside.update(ast.walk(node))
                if _VERB.match(text):
                    yield text
            elif isinstance(node, ast.Name) and not function.is_module:
                yield from self._constant(node.id, function.module)

    def _constant(self, name: str, module: Module) -> Iterator[str]:
        for node in module.tree.body:
            match node:
                case (
                    ast.Assign(targets=[ast.Name(id=bound)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=bound), value=ast.expr() as value)
                ) if bound == name:
                    text = text_of(value)
                    if text is not None and _VERB.match(text):
                        yield text

    def _fits(self, text: str) -> bool:
        # A driver that puts values into the text itself sends `true` and `NULL` for some: no literals to see.
        text = _FIELD.sub(_HOLE, text)
        return self._equals(_PLACEHOLDER.sub("$1", text)) or self._equals(_PLACEHOLDER.sub(_VALUE, text))

    def _equals(self, text: str) -> bool:
        written = _comparable(fingerprint(text.replace("%%", "%").strip().rstrip(";")))
        if _HOLE not in written and _VALUE not in written:
            is_begun = (
                self._is_cut and len(self._wanted) >= _LEAST_PREFIX and written.startswith(self._wanted)
            )
            return written == self._wanted or is_begun
        return self._fits_with_holes([part for part in _HOLES.split(written) if part])

    def _fits_with_holes(self, parts: list[str]) -> bool:
        """Return whether the statement that is looked for has these parts, holes and values included.

        It walks along all places that a part may end at together: a pattern would try them one by one, for
        ever in a statement with many holes.
        """
        wanted, ends, literal = self._wanted, {0}, 0
        for part in parts:
            if self._is_cut and any(
                literal + len(wanted) - end >= _LEAST_PREFIX
                and (part.startswith(wanted[end:]) or (part == _VALUE and _CUT_VALUE.match(wanted, end)))
                for end in ends
            ):
                return True  # the cut comes within this part, or right before it
            if part == _HOLE:
                ends = set(range(min(ends, default=len(wanted)) + 1, len(wanted) + 1))
            elif part == _VALUE:
                found = [each for end in ends if (each := _VALUES.match(wanted, end))]
                ends = {each.end() for each in found} | {each.end("value") for each in found}
            else:
                ends = {end + len(part) for end in ends if wanted.startswith(part, end)}
                literal += len(part)
            if not ends:
                return False
        return len(wanted) in ends


def _comparable(statement: str) -> str:
    return re.sub(r"\s*([(),=<>])\s*", r"\1", statement).casefold()


def text_of(node: ast.expr) -> str | None:
    """Return the text of a literal, of an f-string or of a sum of them; a hole is a NUL. None for others.

    >>> text_of(ast.parse("f'SELECT * FROM {table} ' + 'WHERE id = %s'", mode="eval").body)
    'SELECT * FROM \\x00 WHERE id = %s'
    """
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_part(each) for each in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            parts = text_of(left), text_of(right)
            if parts == (None, None):
                return None
            return "".join(_HOLE if part is None else part for part in parts)
        case ast.BinOp(left=left, op=ast.Mod()):
            form = text_of(left)
            return None if form is None else _FORMATTED.sub(_HOLE, form).replace("%%", "%")
        case ast.Call(func=ast.Attribute(value=value, attr="format" | "strip" | "join")):
            return text_of(value)
    return None


def _part(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else _HOLE
