"""Modules of the checked code: their trees, the names they import, their functions and classes."""

import ast
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

Def = ast.FunctionDef | ast.AsyncFunctionDef
MODULE_LEVEL = "<module>"
_MANAGERS = frozenset({"contextmanager", "asynccontextmanager"})


@dataclass(eq=False)
class Function:
    """A function or method; or the module's own statements, which run once."""

    module: "Module"
    name: str
    """The qualified name within the module."""
    node: Def | ast.Lambda | ast.Module
    cls: "Class | None" = None
    outer: "Function | None" = None
    """The function that it is defined in."""
    nodes: list[ast.AST] = field(default_factory=list)
    """The nodes of its own scope in the order of the text, without those of functions and classes inside."""
    inner: list["Function"] = field(default_factory=list)
    """The functions and lambdas that stand in it."""

    @property
    def is_async(self) -> bool:
        """Return whether it is an `async def`."""
        return isinstance(self.node, ast.AsyncFunctionDef)

    @property
    def is_module(self) -> bool:
        """Return whether it stands for the module's own statements."""
        return isinstance(self.node, ast.Module)

    @cached_property
    def parameters(self) -> list[ast.arg]:
        """The parameters, those by keyword last; none of a module."""
        if isinstance(self.node, ast.Module):
            return []
        given = self.node.args
        return [*given.posonlyargs, *given.args, *given.kwonlyargs]

    @cached_property
    def decorators(self) -> frozenset[str]:
        """The last words of the decorators' names: `lru_cache` of `@functools.lru_cache(None)`."""
        if not isinstance(self.node, Def):
            return frozenset()
        return frozenset(last_word(each) for each in self.node.decorator_list)

    @property
    def is_manager(self) -> bool:
        """Return whether it is a context manager, which is for a `with` alone."""
        return bool(self.decorators & _MANAGERS)

    @cached_property
    def calls(self) -> list[ast.Call]:
        """The calls of its own scope."""
        return [each for each in self.nodes if isinstance(each, ast.Call)]

    @cached_property
    def blocks(self) -> list[ast.With | ast.AsyncWith]:
        """The `with` statements of its own scope."""
        return [each for each in self.nodes if isinstance(each, ast.With | ast.AsyncWith)]

    @cached_property
    def stored(self) -> frozenset[str]:
        """The names that it binds."""
        return frozenset(
            each.id for each in self.nodes if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
        )

    @cached_property
    def loads(self) -> dict[str, list[ast.Name]]:
        """The mentions of each name that it reads, in the order of the text."""
        found: dict[str, list[ast.Name]] = {}
        for each in self.nodes:
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load):
                found.setdefault(each.id, []).append(each)
        return found

    @cached_property
    def assigned(self) -> dict[str, list[ast.expr]]:
        """The values that it gives to each name, and to each attribute as `self.x`."""
        found: dict[str, list[ast.expr]] = {}
        for node in self.nodes:
            match node:
                case ast.Assign(targets=targets, value=value):
                    names = [target_name(each) for each in targets]
                case (
                    ast.AnnAssign(target=target, value=ast.expr() as value)
                    | ast.NamedExpr(target=target, value=value)
                ):
                    names = [target_name(target)]
                case _:
                    continue
            for name in names:
                if name is not None:
                    found.setdefault(name, []).append(value)
        return found

    @cached_property
    def unpacked(self) -> dict[str, tuple[ast.Call, int]]:
        """The names that it unpacks from the tuple of a call: the call, and the index in the tuple."""
        found: dict[str, tuple[ast.Call, int]] = {}
        for node in self.nodes:
            match node:
                case ast.Assign(targets=[ast.Tuple(elts=elts)], value=ast.Call() as call):
                    names = {name: i for i, each in enumerate(elts) if (name := target_name(each))}
                    found |= {name: (call, index) for name, index in names.items()}
        return found

    @cached_property
    def entered(self) -> dict[str, list[ast.expr]]:
        """The context managers whose `with` binds each name, or attribute as `self.x`."""
        found: dict[str, list[ast.expr]] = {}
        for block in self.blocks:
            for item in block.items:
                if item.optional_vars is not None and (name := target_name(item.optional_vars)):
                    found.setdefault(name, []).append(item.context_expr)
        return found

    @cached_property
    def is_generator(self) -> bool:
        """Return whether it yields."""
        return any(isinstance(each, ast.Yield | ast.YieldFrom) for each in self.nodes)

    @cached_property
    def globals(self) -> frozenset[str]:
        """The names that it declares as global or nonlocal."""
        return frozenset(
            name for each in self.nodes if isinstance(each, ast.Global | ast.Nonlocal) for name in each.names
        )


@dataclass(eq=False)
class Class:
    """A class."""

    module: "Module"
    name: str
    node: ast.ClassDef
    methods: dict[str, Function] = field(default_factory=dict)


class Module:
    """A parsed file."""

    def __init__(self, path: str, dotted: str, source: str) -> None:
        """Parse a file. Raises SyntaxError or ValueError if it is not Python that this Python can parse."""
        self.path = path
        self.dotted = dotted
        self.source = source
        self.tree = ast.parse(source, path)
        self.parents: dict[ast.AST, ast.AST] = {}
        self.functions: dict[str, Function] = {}
        self.classes: dict[str, Class] = {}
        self.by_node: dict[ast.AST, Function] = {}
        self.imports: dict[str, str] = {}
        self.main = self._add(Function(self, MODULE_LEVEL, self.tree))
        self._read(self.tree, self.main, self.main.nodes, None, "")

    @cached_property
    def lines(self) -> list[str]:
        """The lines as the parser counts them: a form feed ends none."""
        return io.StringIO(self.source, newline=None).readlines()

    def position(self, node: ast.AST) -> tuple[int, int]:
        """Return the line and the column of a node, from 1; the column in characters."""
        line, offset = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        if offset == 0 or self.source.isascii():
            return line, offset + 1
        return line, len(self.lines[line - 1].encode()[:offset].decode(errors="replace")) + 1

    def _add(self, function: Function) -> Function:
        self.functions[function.name] = function
        self.by_node[function.node] = function
        return function

    def _read(
        self, node: ast.AST, function: Function, nodes: list[ast.AST], cls: Class | None, prefix: str
    ) -> None:
        for child in _children(node):
            self.parents[child] = node
            nodes.append(child)
            if type(child) not in _SCOPES:
                self._read(child, function, nodes, cls, prefix)
            elif isinstance(child, Def):
                outer = None if function.is_module else function
                inner = self._add(Function(self, f"{prefix}{child.name}", child, cls, outer))
                function.inner.append(inner)
                if cls is not None:
                    cls.methods.setdefault(child.name, inner)
                self._read(child, inner, inner.nodes, None, f"{prefix}{child.name}.")
            elif isinstance(child, ast.Lambda):
                inner = Function(self, f"{prefix}<lambda>", child, None, function)
                self.by_node[child] = inner
                function.inner.append(inner)
                self._read(child, inner, inner.nodes, None, prefix)
            elif isinstance(child, ast.ClassDef):
                inner_class = Class(self, f"{prefix}{child.name}", child)
                self.classes[inner_class.name] = inner_class
                self._read(child, function, [], inner_class, f"{prefix}{child.name}.")
            elif isinstance(child, ast.Import | ast.ImportFrom):
                self._import(child)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if isinstance(node, ast.Import):
                first = alias.name.split(".", maxsplit=1)[0]
                self.imports[alias.asname or first] = alias.name if alias.asname else first
            else:
                origin = self._origin(node)
                self.imports[alias.asname or alias.name] = f"{origin}.{alias.name}" if origin else alias.name

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.dotted.split(".")
        package = parts if self.path.endswith("__init__.py") else parts[:-1]
        base = package[: len(package) - node.level + 1]
        return ".".join([*base, *([node.module] if node.module else [])])

    def dotted_name(self, node: ast.AST) -> str | None:
        """Return the full name of a name or attribute: `psycopg2.connect`; None if it has none."""
        match node:
            case ast.Name(id=name):
                return self.imports.get(name, name)
            case ast.Attribute(value=value, attr=attr):
                base = self.dotted_name(value)
                return None if base is None else f"{base}.{attr}"
        return None

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the nodes around a node, the nearest first, up to the one of its function."""
        while node in self.parents:
            node = self.parents[node]
            yield node
            if node in self.by_node:
                return

    def statement_of(self, node: ast.AST) -> ast.stmt:
        """Return the statement that a node stands in."""
        while not isinstance(node, ast.stmt):
            node = self.parents[node]
        return node


_SCOPES = frozenset(
    {ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.Import, ast.ImportFrom}
)
_NOT_READ = frozenset({"ctx", "op", "ops", "type_params", "type_comment"})


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes right below a node, without those that only say which operator or context it is."""
    for name in node._fields:
        if name in _NOT_READ:
            continue
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            yield value
        elif isinstance(value, list):
            for each in value:
                if isinstance(each, ast.AST):
                    yield each


def last_word(node: ast.AST) -> str:
    """Return the last word of a name, an attribute or the call of one; "" for anything else."""
    match node:
        case ast.Call(func=called):
            return last_word(called)
        case ast.Attribute(attr=attr):
            return attr
        case ast.Name(id=name):
            return name
    return ""


def target_name(node: ast.AST) -> str | None:
    """Return the name that a target binds, as `self.x` for an attribute; None for any other target."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=attr):
            return f"self.{attr}"
    return None
