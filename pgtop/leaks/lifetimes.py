"""The fate of what is taken: whether it is closed, given away or lost, and whether on every path."""

import ast
from collections.abc import Iterator, Sequence
from enum import Enum
from functools import cached_property
from typing import NamedTuple

from pgtop.leaks.libraries import (
    CALLBACKS,
    CLOSING_METHODS,
    ENTERING,
    FLUENT,
    ONLY_LOOKED_AT,
    TAKING_BACK,
    Handle,
)
from pgtop.leaks.modules import Def, Function, last_word
from pgtop.leaks.project import Project, class_of


class Use(Enum):
    """The effect of one mention of a thing on it."""

    CLOSED = "closed"
    ENTERED = "entered"
    """A `with` on it begins."""
    GUARDED = "guarded"
    """It is told to be closed at the end, by an exit stack or a callback."""
    GIVEN = "given"
    """Somebody else has it now."""
    KEPT = "kept"
    """It is kept on `self`."""
    YIELDED = "yielded"
    ALIAS = "alias"
    USED = "used"


class Mention(NamedTuple):
    """One mention of a thing, and what it does."""

    node: ast.AST
    use: Use
    name: str = ""
    """The other name of an alias, or the attribute of `self` that keeps it."""


class Taken(NamedTuple):
    """A call that takes something, and what the expression around it does with the value."""

    call: ast.Call
    handle: Handle
    function: Function
    first: Mention
    """The use of the value at once; an alias names the variable that it is bound to."""


_WRAPPING = (ast.Await, ast.IfExp, ast.BoolOp, ast.NamedExpr, ast.Starred)
_TRIES = (ast.Try, ast.TryStar)
_CONTAINERS = (
    ast.List,
    ast.Tuple,
    ast.Set,
    ast.Dict,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
)
_TAKING_OVER = frozenset({Use.CLOSED, Use.ENTERED, Use.GUARDED, Use.GIVEN, Use.KEPT, Use.YIELDED})
"""The uses by which a function relieves its caller of what it was given."""


_DEEPEST = 100
"""The number of functions that an argument is followed through, from one to the next."""


class Lifetimes:
    """The lives of what the functions of a project take."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._closes: dict[tuple[Function, int], bool] = {}
        self._depth = 0

    def taken_in(self, function: Function) -> Iterator[Taken]:
        """Yield what a function takes by its own statements, in the order of the text."""
        for node in function.calls:
            if last_word(node) in FLUENT:
                continue  # it is the connection that it is called on
            handle = self._project.value_of(node, function)
            if handle is not None and handle.must_be_closed and not self._is_manager(node, function):
                yield Taken(node, handle, function, self.use_of(node, function))
            elif handle is None:
                for index, element in self._project.elements_of(node, function):
                    yield Taken(node, element, function, self._use_of_element(node, index, function))

    def _use_of_element(self, call: ast.Call, index: int, function: Function) -> Mention:
        """Return what is done with one element of the tuple that a call returns."""
        node: ast.AST = function.module.parents[call]
        node = function.module.parents[node] if isinstance(node, ast.Await) else node
        match node:
            case ast.Expr():
                return Mention(node, Use.USED)
            case ast.Assign(targets=[ast.Tuple(elts=elts)]) if index < len(elts) and not any(
                isinstance(each, ast.Starred) for each in elts
            ):
                return self._assigned(node, elts[index])
        return Mention(node, Use.GIVEN)

    def _is_manager(self, call: ast.Call, function: Function) -> bool:
        own = self._project.called(call, function)
        return own is not None and own.is_manager

    # One mention

    def use_of(self, node: ast.expr, function: Function) -> Mention:
        """Return what the expression around a value does with it."""
        around = self._beyond_wrapping(node, function)
        if isinstance(around, Mention):
            return around
        child, parent = around
        match parent:
            case ast.withitem():
                return Mention(parent, Use.ENTERED)
            case ast.Return() | ast.Lambda():
                return Mention(parent, Use.GIVEN)
            case ast.Yield() | ast.YieldFrom():
                return Mention(parent, Use.YIELDED)
            case ast.Assign(targets=targets):
                return self._assigned_to_all(parent, targets, function)
            case ast.AnnAssign(target=target):
                return self._assigned(parent, target)
            case ast.Attribute(attr=attr):
                return self._method_used(parent, attr, function)
            case ast.Call() | ast.keyword():
                return self._passed(child, parent, function)
        is_kept = isinstance(parent, ast.Subscript) and child is not parent.value
        if is_kept or isinstance(parent, (*_CONTAINERS, ast.comprehension)):
            return Mention(parent, Use.GIVEN)
        return Mention(node, Use.USED)

    def _beyond_wrapping(self, node: ast.expr, function: Function) -> Mention | tuple[ast.AST, ast.AST]:
        """Return the outermost expression that still has the value, and what stands around it."""
        parents = function.module.parents
        child: ast.AST = node
        parent = parents[node]
        while isinstance(parent, _WRAPPING) or _is_fluent(parent):
            if isinstance(parent, ast.NamedExpr) and child is parent.value:
                return Mention(parent, Use.ALIAS, parent.target.id)
            if isinstance(parent, ast.IfExp) and child is parent.test:
                return Mention(node, Use.USED)
            child, parent = parent, parents[parent]
            if isinstance(parent, ast.Call) and parent.func is child and _is_fluent(child):
                child, parent = parent, parents[parent]
        return child, parent

    def _assigned_to_all(self, statement: ast.AST, targets: list[ast.expr], function: Function) -> Mention:
        """Return what `a = b = value` does with the value: the target that keeps it longest counts."""
        kept = [each for each in targets if not isinstance(each, ast.Name)]
        target = kept[0] if kept else targets[-1]
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            base = target.value.id
            around = function.module.ancestors(statement)
            if any(isinstance(each, ast.ExceptHandler) and each.name == base for each in around):
                return Mention(statement, Use.USED)  # it is told to whoever reads the exception
        return self._assigned(statement, target)

    def _assigned(self, statement: ast.AST, target: ast.expr) -> Mention:
        match target:
            case ast.Name(id=name):
                return Mention(statement, Use.ALIAS, name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=attr):
                return Mention(statement, Use.KEPT, attr)
        return Mention(statement, Use.GIVEN)

    def _method_used(self, node: ast.Attribute, attr: str, function: Function) -> Mention:
        parent = function.module.parents[node]
        if attr in CLOSING_METHODS:
            is_called = isinstance(parent, ast.Call) and parent.func is node
            return Mention(node, Use.CLOSED if is_called else Use.GUARDED)
        return Mention(node, Use.USED)

    def _passed(self, child: ast.AST, parent: ast.AST, function: Function) -> Mention:
        call = function.module.parents[parent] if isinstance(parent, ast.keyword) else parent
        if not isinstance(call, ast.Call) or call.func is child:
            return Mention(child, Use.USED if isinstance(call, ast.Call) else Use.GIVEN)
        name = last_word(call.func)
        if name in TAKING_BACK:
            return Mention(call, Use.CLOSED)
        if name in ENTERING:
            return Mention(call, Use.GUARDED)
        if name in CALLBACKS:
            return Mention(call, Use.GIVEN)
        own = self._project.called(call, function) or self._project.constructor(call, function)
        if own is not None:
            keyword = parent.arg if isinstance(parent, ast.keyword) else None
            return Mention(call, self._use_by(own, call, child, keyword))
        return Mention(call, Use.USED if name in ONLY_LOOKED_AT else Use.GIVEN)

    def _use_by(self, own: Function, call: ast.Call, argument: ast.AST, keyword: str | None) -> Use:
        """Return what a function of the project does with an argument."""
        names = [each.arg for each in own.parameters]
        if keyword is None:
            if argument not in call.args:
                return Use.GIVEN
            index = call.args.index(argument)
            if own.cls is not None and names[:1] in (["self"], ["cls"]):
                index += 1
            keyword = names[index] if index < len(names) else None
        if keyword not in names:
            return Use.GIVEN
        key = (own, names.index(keyword))
        if key not in self._closes:
            if self._depth > _DEEPEST:
                return Use.GIVEN
            self._closes[key] = False
            self._depth += 1
            # A context manager that yields what it was given lends it back.
            taking = _TAKING_OVER - {Use.YIELDED} if own.is_manager else _TAKING_OVER
            self._closes[key] = any(
                self.owner_closes(each.name, own) if each.use is Use.KEPT else each.use in taking
                for each in self.mentions(keyword, own)
            )
            self._depth -= 1
        return Use.GIVEN if self._closes[key] else Use.USED

    # All mentions

    def mentions(self, name: str, function: Function) -> list[Mention]:
        """Return what a function, and the functions inside it, do with what a name holds."""
        found: list[Mention] = []
        names = [name]  # its aliases join as they are found, each once
        for each in names:
            for node in function.loads.get(each, []):
                use = self.use_of(node, function)
                found.append(use)
                if use.use is Use.ALIAS and use.name not in names:
                    names.append(use.name)
            found += self._by_inner(each, function)
            if each in function.globals:
                found.append(Mention(function.node, Use.GIVEN))
        return found

    def _by_inner(self, name: str, function: Function) -> Iterator[Mention]:
        """Yield what functions inside do with it: one that closes it is a callback."""
        for inner in function.inner:
            if any(each.arg == name for each in inner.parameters):
                continue
            uses = [each.use for each in self.mentions(name, inner)]
            if any(each in {Use.CLOSED, Use.ENTERED, Use.GUARDED, Use.KEPT, Use.GIVEN} for each in uses):
                yield Mention(inner.node, Use.GUARDED)

    def owner_closes(self, attr: str, function: Function) -> bool:
        """Return whether a method of the object, or anything else of the project, closes its attribute."""
        cls = class_of(function)
        methods = list(cls.methods.values()) if cls is not None else []
        return (
            any(self._closes_attribute(attr, method) for method in methods) or attr in self._closed_attributes
        )

    def _closes_attribute(self, attr: str, method: Function) -> bool:
        for node in method.nodes:
            if isinstance(node, ast.Attribute) and node.attr == attr and isinstance(node.ctx, ast.Load):
                use = self.use_of(node, method).use
                if use in {Use.CLOSED, Use.ENTERED, Use.GUARDED, Use.GIVEN}:
                    return True
                if use is Use.ALIAS:
                    name = self.use_of(node, method).name
                    if any(
                        each.use in {Use.CLOSED, Use.GUARDED, Use.ENTERED}
                        for each in self.mentions(name, method)
                    ):
                        return True
        return False

    @cached_property
    def _closed_attributes(self) -> frozenset[str]:
        """The attributes that anything in the project closes, by whatever path it reaches them."""
        return frozenset(
            node.func.value.attr
            for module in self._project.modules
            for function in module.by_node.values()
            for node in function.calls
            if isinstance(node.func, ast.Attribute)
            and node.func.attr in CLOSING_METHODS
            and isinstance(node.func.value, ast.Attribute)
            and not (isinstance(node.func.value.value, ast.Name) and node.func.value.value.id == "self")
        )


def _is_fluent(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in FLUENT


class Escape(NamedTuple):
    """The first place at which a thing may be left behind."""

    node: ast.AST
    is_return: bool
    """True for a `return`; False for a statement that may raise."""


def unprotected(taken: Taken, closings: list[Mention]) -> Escape | None:
    """Return the first place that may leave a function before what was taken is closed; None if none does.

    `closings` are the mentions that close it. A `finally`, a handler for every exception, or a `with` that
    begins before anything can fail protects it.
    """
    module = taken.function.module
    closing = {module.statement_of(each.node) for each in closings}
    statement = module.statement_of(taken.call)
    while True:
        block, index, parent = _block_of(statement, module.parents)
        if isinstance(parent, _TRIES) and block is not parent.finalbody and _holds(parent.finalbody, closing):
            return None
        for each in block[index + 1 :]:
            if _protects(each, closing):
                return None
            if each in closing or (isinstance(each, ast.If) and _holds([each], closing)):
                return None
            escape = _escape_in(each, closing)
            is_caught = isinstance(parent, _TRIES) and block is parent.body and _goes_on(parent, closing)
            if escape is not None and (escape.is_return or not is_caught):
                return escape
        if parent is None or isinstance(parent, Def | ast.Lambda | ast.Module):
            return None
        if isinstance(parent, _TRIES) and (
            _holds(parent.handlers, closing) and block is not parent.finalbody
        ):
            return None
        statement = module.statement_of(parent)


def _protects(statement: ast.stmt, closing: set[ast.stmt]) -> bool:
    match statement:
        case (
            ast.Try(finalbody=finalbody, handlers=handlers)
            | ast.TryStar(finalbody=finalbody, handlers=handlers)
        ):
            return _holds(finalbody, closing) or _holds(handlers, closing)
        case ast.With() | ast.AsyncWith():
            return statement in closing
    return False


def _holds(nodes: Sequence[ast.AST], closing: set[ast.stmt]) -> bool:
    return any(inner in closing for each in nodes for inner in ast.walk(each))


def _block_of(
    statement: ast.stmt, parents: dict[ast.AST, ast.AST]
) -> tuple[list[ast.stmt], int, ast.AST | None]:
    parent = parents.get(statement)
    for name in ("body", "orelse", "finalbody"):
        block = getattr(parent, name, None)
        if isinstance(block, list) and statement in block:
            return block, block.index(statement), parent
    return [statement], 0, parent


def _escape_in(statement: ast.AST, closing: set[ast.stmt], only_return: bool = False) -> Escape | None:
    """Return the first part of a statement that may leave the function."""
    if isinstance(statement, Def | ast.ClassDef | ast.Lambda | ast.Import | ast.ImportFrom):
        return None
    if isinstance(statement, ast.Return):
        return Escape(statement, is_return=True)
    if not only_return and _may_raise(statement):
        return Escape(statement, is_return=False)
    for child in ast.iter_child_nodes(statement):
        is_caught = isinstance(statement, _TRIES) and child in statement.body and _goes_on(statement, closing)
        found = _escape_in(child, closing, only_return or is_caught)
        if found is not None:
            return found
    return None


def _may_raise(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise | ast.Await | ast.Assert | ast.Yield):
        return True
    return isinstance(node, ast.Call) and last_word(node.func) not in _HARMLESS


def _goes_on(node: ast.Try | ast.TryStar, closing: set[ast.stmt]) -> bool:
    """Return whether an error in its body leads past its handlers to what closes the thing behind it."""
    if _holds(node.body, closing):
        return False  # the error leads past the closing
    if not any(
        each.type is None or last_word(each.type) in {"Exception", "BaseException"} for each in node.handlers
    ):
        return False
    return not any(
        isinstance(inner, ast.Raise | ast.Return) for each in node.handlers for inner in ast.walk(each)
    )


_HARMLESS = frozenset(
    {
        "debug",
        "info",
        "warning",
        "error",
        "exception",
        "print",
        "len",
        "str",
        "monotonic",
        "perf_counter",
        "time",
        "isinstance",
    }
)
