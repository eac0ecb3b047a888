"""The checked code as a whole: which function a call means, and what an expression holds."""

import ast
from collections.abc import Iterable
from functools import cached_property

from pgtop.leaks.libraries import (
    ANNOTATIONS,
    BOUNDED,
    CALLS,
    DRIVERS,
    FLUENT,
    GUESSED,
    METHODS,
    OF_A_CONNECTION,
    SESSION_FACTORY,
    SESSIONS,
    Handle,
    Kind,
    With,
)
from pgtop.leaks.modules import Class, Function, Module, last_word, target_name

_SHARING: frozenset[str] = frozenset(
    {
        "lru_cache",
        "cache",
        "cached",
        "cached_property",
        "cache_resource",
        "singleton",
        "alru_cache",
        "memoize",
    }
)
"""Decorators whose function gives the same value again."""
_DEEPEST = 12
"""The number of calls that a value is followed through."""
_MOST_NAMES = 100
"""The number of names that a value is followed through, from one to the next."""


class Project:
    """All modules, and the answers that need more than one of them."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self.modules = list(modules)
        self._by_dotted: dict[str, list[Module]] = {}
        for module in self.modules:
            parts = module.dotted.split(".")
            for start in range(len(parts)):
                self._by_dotted.setdefault(".".join(parts[start:]), []).append(module)
        self._given: dict[Function, Handle | None] = {}
        self._globals: dict[tuple[Module, str], Handle | None] = {}
        self._locals: dict[tuple[Function, str], Handle | None] = {}
        self._elements: dict[Function, list[tuple[int, Handle]]] = {}
        self._depth = 0
        self._names_deep = 0

    @cached_property
    def packages(self) -> frozenset[str]:
        """The packages that are imported anywhere."""
        return frozenset(
            origin.split(".", maxsplit=1)[0] for module in self.modules for origin in module.imports.values()
        )

    @cached_property
    def _methods(self) -> dict[str, list[Function]]:
        found: dict[str, list[Function]] = {}
        for module in self.modules:
            for cls in module.classes.values():
                for name, method in cls.methods.items():
                    found.setdefault(name, []).append(method)
        return found

    # Which function is meant

    def called(self, call: ast.Call, function: Function) -> Function | None:
        """Return the function of the project that a call runs; None if it is not known."""
        match call.func:
            case ast.Name(id=name):
                return self._named(name, function)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=attr):
                cls = class_of(function)
                return self._method(cls, attr) if cls is not None else None
            case ast.Attribute(value=value, attr=attr):
                dotted = function.module.dotted_name(call.func)
                found = self._by_path(dotted) if dotted is not None else None
                made = self._class_of_value(value, function) or self._class_named(value, function.module)
                own = self._method(made, attr) if made is not None else None
                return found or own or self._only_method(value, attr)
        return None

    def _class_of_value(self, node: ast.expr, function: Function) -> Class | None:
        """Return the class of the project that an expression holds one of; None if it is not known."""
        if isinstance(node, ast.Call):
            return self.class_called(node, function)
        name = target_name(node)
        if name is None or name in function.module.classes:
            return None
        given = next((each.annotation for each in function.parameters if each.arg == name), None)
        if given is not None:
            return self._class_named(given, function.module)
        scopes = [function, function.module.main]
        if name.startswith("self.") and (cls := class_of(function)) is not None:
            scopes = list(cls.methods.values())
        made = [value for scope in scopes for value in scope.assigned.get(name, [])]
        if not made and name in function.module.imports:
            found = self._split(function.module.imports[name])
            if found is None or "." in found[1]:
                return None
            function, made = found[0].main, found[0].main.assigned.get(found[1], [])
        return self.class_called(made[0], function) if made and isinstance(made[0], ast.Call) else None

    def constructor(self, call: ast.Call, function: Function) -> Function | None:
        """Return the `__init__` that a call of a class of the project runs, if the class has its own."""
        made = self.class_called(call, function)
        return made.methods.get("__init__") if made is not None else None

    def class_called(self, call: ast.Call, function: Function) -> Class | None:
        """Return the class of the project that a call makes one of; None if it is not known."""
        return self._class_named(call.func, function.module)

    def _named(self, name: str, function: Function) -> Function | None:
        scope: Function | None = function
        while scope is not None:
            inner = scope.module.functions.get(f"{scope.name}.{name}")
            if inner is not None and inner.cls is None:
                return inner
            scope = scope.outer
        if name in function.module.functions:
            return function.module.functions[name]
        origin = function.module.imports.get(name)
        return self._by_path(origin) if origin is not None else None

    def _by_path(self, dotted: str) -> Function | None:
        seen: set[str] = set()
        origin: str | None = dotted
        while origin is not None and origin not in seen:
            seen.add(origin)  # modules may import a name from each other in a circle
            found = self._split(origin)
            if found is None:
                return None
            module, name = found
            if name in module.functions:
                return module.functions[name]
            origin = module.imports.get(name)
        return None

    def _split(self, dotted: str) -> tuple[Module, str] | None:
        """Return the module and the name within it that a full name means."""
        parts = dotted.split(".")
        for end in range(len(parts) - 1, 0, -1):
            modules = self._by_dotted.get(".".join(parts[:end]), [])
            if len(modules) == 1:
                return modules[0], ".".join(parts[end:])
        return None

    def _method(self, cls: Class, name: str) -> Function | None:
        seen: set[Class] = set()
        pending = [cls]
        while pending:
            each = pending.pop()
            if name in each.methods:
                return each.methods[name]
            if each not in seen:
                seen.add(each)
                bases = (self._class_named(base, each.module) for base in reversed(each.node.bases))
                pending += [base for base in bases if base is not None]
        return None

    def _class_named(self, node: ast.expr, module: Module) -> Class | None:
        dotted = module.dotted_name(node)
        if dotted is None:
            return None
        found = self._split(dotted)
        return module.classes.get(dotted) or (found[0].classes.get(found[1]) if found is not None else None)

    def _only_method(self, receiver: ast.expr, name: str) -> Function | None:
        """Return the only method of that name, if the name is a telling one."""
        found = self._methods.get(name, [])
        if len(found) != 1 or not _is_telling(name):
            return None
        return found[0] if last_word(receiver) else None

    # What an expression holds

    def value_of(self, node: ast.expr, function: Function) -> Handle | None:
        """Return what an expression holds, if it is something that is taken; None otherwise."""
        match node:
            case ast.Await(value=value) | ast.NamedExpr(value=value):
                return self.value_of(value, function)
            case ast.IfExp(body=body, orelse=orelse):
                return self._either([body, orelse], function)
            case ast.BoolOp(values=values):
                return self._either(values, function)
            case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in FLUENT:
                return self.value_of(value, function)
            case ast.Call():
                return self._called_value(node, function)
            case ast.Name(id=name):
                return self.name_value(name, function)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=attr):
                return self._attribute_value(attr, function)
            case ast.Attribute():
                return self._global_by_path(function.module.dotted_name(node))
        return None

    def _either(self, nodes: list[ast.expr], function: Function) -> Handle | None:
        found = [value for each in nodes if (value := self.value_of(each, function)) is not None]
        return next((each for each in found if each.must_be_closed), found[0] if found else None)

    def _called_value(self, call: ast.Call, function: Function) -> Handle | None:
        dotted = function.module.dotted_name(call.func)
        if dotted is not None and dotted in CALLS and dotted.split(".", maxsplit=1)[0] in DRIVERS:
            return self._made(CALLS[dotted], call, function)
        if dotted in BOUNDED and call.args:
            return self.value_of(call.args[0], function)
        if dotted == "typing.cast" and len(call.args) > 1:
            return self.value_of(call.args[1], function)
        own = self.called(call, function)
        if own is not None:
            given = self.given_by(own)
            return given._replace(taken_by=f"{_written(call)}()") if given is not None else None
        if isinstance(call.func, ast.Attribute):
            found = self._method_value(call, call.func, function)
            if found is not None:
                return found
        return self._session_made(call, function)

    def _made(self, handle: Handle, call: ast.Call, function: Function) -> Handle:
        """Return what a library's function gives: a session on somebody else's connection takes none."""
        if handle.kind not in {Kind.SESSION, Kind.FACTORY} or not self._is_bound(call, function):
            return handle
        return handle._replace(is_owned=False, is_bound=True)

    def _is_bound(self, call: ast.Call, function: Function) -> bool:
        """Return whether a session or its factory is told to use a connection, rather than an engine."""
        given = next((each.value for each in call.keywords if each.arg == "bind"), None)
        bind = given if given is not None else next(iter(call.args), None)
        if bind is None:
            return False
        held = self.value_of(bind, function)
        if held is not None:
            return held.kind in {Kind.CONNECTION, Kind.POOLED}
        made = function.assigned.get(bind.id, []) if isinstance(bind, ast.Name) else []
        return any(last_word(each).lower() in OF_A_CONNECTION for each in [bind, *made])

    def _session_made(self, call: ast.Call, function: Function) -> Handle | None:
        """Return the session that the call of a factory gives."""
        factory = self.value_of(call.func, function)
        if factory is not None:
            taken_by = f"{_written(call)}()"
            if factory.kind is Kind.FACTORY:
                is_owned = not factory.is_bound and not self._is_bound(call, function)
                return Handle(Kind.SESSION, factory.library, With.CLOSES, taken_by, is_owned)
            if factory.kind is Kind.SCOPED:
                return Handle(Kind.SESSION, factory.library, With.CLOSES, taken_by, factory.is_owned)
            return None
        if call.args or call.keywords or not self.packages & {"sqlalchemy", "sqlmodel"}:
            return None
        name = last_word(call.func)
        if isinstance(call.func, ast.Subscript) and isinstance(call.func.slice, ast.Constant):
            name = str(call.func.slice.value)
        if not SESSION_FACTORY.match(name) or self.class_called(call, function) is not None:
            return None
        if _is_called_later(call, function):
            return None
        return Handle(Kind.SESSION, "sqlalchemy", With.CLOSES, f"{_written(call)}()")

    def _method_value(self, call: ast.Call, called: ast.Attribute, function: Function) -> Handle | None:
        receiver = self.value_of(called.value, function)
        if receiver is not None:
            known = METHODS.get((receiver.kind, receiver.library, called.attr))
            if known is None:
                return None
            return Handle(known[0], receiver.library, known[1], f"{_written_name(called)}()")
        word = last_word(called.value).lower()
        for guess in GUESSED.get(called.attr, ()):
            if guess.is_bare and (call.args or call.keywords):
                continue
            if guess.drivers and not guess.drivers & self.packages:
                continue
            if any(each in word for each in guess.words):
                return Handle(guess.kind, "", guess.leaving, f"{_written_name(called)}()")
        return None

    def elements_of(self, call: ast.Call, function: Function) -> list[tuple[int, Handle]]:
        """Return what must be closed in the tuple that a function of the project returns, by its index."""
        own = self.called(call, function)
        if own is None or own.is_generator or isinstance(own.node, ast.Lambda) or own.decorators & _SHARING:
            return []
        if own not in self._elements:
            self._elements[own] = []
            for node in own.nodes:
                value = node.value if isinstance(node, ast.Return) else None
                value = value.value if isinstance(value, ast.Await) else value
                if isinstance(value, ast.Tuple):
                    held = [self.value_of(each, own) for each in value.elts]
                    self._elements[own] += [
                        (index, each)
                        for index, each in enumerate(held)
                        if each is not None and each.must_be_closed
                    ]
                elif isinstance(value, ast.Call):
                    self._elements[own] += self.elements_of(value, own)
        by_index = dict(self._elements[own])
        return [(index, each._replace(taken_by=f"{_written(call)}()")) for index, each in by_index.items()]

    def given_by(self, function: Function) -> Handle | None:
        """Return what a function gives to whoever calls it; None if that is nothing to be closed."""
        if function in self._given:
            return self._given[function]
        self._given[function] = None  # a function that calls itself gives nothing by that
        if self._depth > _DEEPEST or function.is_generator:
            return None
        self._depth += 1
        try:
            found = self._returned(function)
        finally:
            self._depth -= 1
        if found is not None and (function.decorators & _SHARING):
            found = found._replace(is_owned=False)
        self._given[function] = found
        return found

    def gives(self, function: Function) -> bool:
        """Return whether a function returns something that is followed, itself or in a tuple."""
        if self.given_by(function) is not None:
            return True
        return any(
            isinstance(each, ast.Return)
            and isinstance(each.value, ast.Tuple)
            and any(self.value_of(inner, function) is not None for inner in each.value.elts)
            for each in function.nodes
        )

    def _returned(self, function: Function) -> Handle | None:
        if isinstance(function.node, ast.Lambda):
            return self.value_of(function.node.body, function)
        values = [
            self.value_of(each.value, function)
            for each in function.nodes
            if isinstance(each, ast.Return) and each.value is not None
        ]
        found = [each for each in values if each is not None]
        shared = next((each for each in found if not each.is_owned), None)
        return shared if shared is not None else (found[0] if found else None)

    def name_value(self, name: str, function: Function) -> Handle | None:
        """Return what a name holds in a function."""
        key = (function, name)
        if key in self._locals:
            return self._locals[key]
        if self._names_deep > _MOST_NAMES:
            return None
        self._locals[key] = None
        self._names_deep += 1
        try:
            found = self._local_value(name, function)
        finally:
            self._names_deep -= 1
        self._locals[key] = found
        return found

    def _local_value(self, name: str, function: Function) -> Handle | None:
        if function.is_module:
            return self.global_value(function.module, name)
        if name in function.globals:
            shared = self.global_value(function.module, name)
            own = self._assigned_value(name, function)
            held = shared or own
            return held._replace(is_owned=False) if held is not None else None
        if any(each.arg == name for each in function.parameters):
            given = self._annotated(next(each for each in function.parameters if each.arg == name), function)
            return given or self._assigned_value(name, function)
        assigned = self._assigned_value(name, function)
        if assigned is not None or name in function.stored:
            return assigned
        if function.outer is not None:
            outer = self.name_value(name, function.outer)
            return outer._replace(is_owned=False) if outer is not None else None
        return self.global_value(function.module, name)

    def _annotated(self, parameter: ast.arg, function: Function) -> Handle | None:
        if parameter.annotation is None:
            return None
        node: ast.expr = parameter.annotation
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                node = ast.parse(node.value, mode="eval").body
            except SyntaxError:
                return None
        if isinstance(node, ast.BinOp):
            node = node.left
        if isinstance(node, ast.Subscript):
            node = node.value
        made = ANNOTATIONS.get(function.module.dotted_name(node) or "")
        return CALLS[made]._replace(is_owned=False) if made is not None else None

    def _assigned_value(self, name: str, function: Function) -> Handle | None:
        values = [self.value_of(each, function) for each in function.assigned.get(name, [])]
        found = [each for each in values if each is not None]
        if not found and name in function.unpacked:
            element = self._element_value(*function.unpacked[name], function)
            found += [element] if element is not None else []
        for manager in function.entered.get(name, []):
            entered = self.value_of(manager, function)
            if entered is not None:
                found.append(entered._replace(is_owned=False))  # the `with` closes it
        return next((each for each in found if each.must_be_closed), found[0] if found else None)

    def _element_value(self, call: ast.Call, index: int, function: Function) -> Handle | None:
        """Return what one element of the tuple that a function of the project returns holds."""
        own = self.called(call, function)
        if own is None:
            return None
        for node in own.nodes:
            if (
                isinstance(node, ast.Return)
                and isinstance(node.value, ast.Tuple)
                and index < len(node.value.elts)
            ):
                return self.value_of(node.value.elts[index], own)
        return None

    def global_value(self, module: Module, name: str) -> Handle | None:
        """Return what a name of a module holds; it is shared by all."""
        key = (module, name)
        if key in self._globals:
            return self._globals[key]
        self._globals[key] = None
        found = self._assigned_value(name, module.main)
        for function in module.functions.values():
            if found is None and name in function.globals:
                found = self._assigned_value(name, function)
        if found is None and name in module.imports:
            found = self._global_by_path(module.imports[name])
        held = found._replace(is_owned=False) if found is not None else None
        self._globals[key] = held
        return held

    def _global_by_path(self, dotted: str | None) -> Handle | None:
        found = self._split(dotted) if dotted is not None else None
        return self.global_value(*found) if found is not None else None

    def _attribute_value(self, attr: str, function: Function) -> Handle | None:
        cls = class_of(function)
        if cls is None:
            return None
        key = (cls.methods.get("__init__", function), f"self.{attr}")
        if key not in self._locals:
            self._locals[key] = None
            values = [
                self.value_of(value, method)
                for method in cls.methods.values()
                for value in method.assigned.get(f"self.{attr}", [])
            ]
            found = next((each for each in values if each is not None), None)
            self._locals[key] = found._replace(is_owned=False) if found is not None else None
        return self._locals[key]

    def lends(self, function: Function) -> bool:
        """Return whether a function is a generator that yields something which must be closed."""
        if not function.is_generator:
            return False
        yielded = [
            each.value for each in function.nodes if isinstance(each, ast.Yield) and each.value is not None
        ]
        return any(
            (held := self.value_of(each, function)) is not None and held.kind in SESSIONS for each in yielded
        )


def giving_names(project: Project) -> frozenset[str]:
    """Return the names by which other files get what is taken: of functions, classes, pools and factories.

    A method is found by its class's name, unless its own is a telling one.
    """
    found: set[str] = set()
    for module in project.modules:
        for function in module.functions.values():
            if project.lends(function) or project.gives(function):
                word = function.name.rsplit(".", maxsplit=1)[-1]
                is_plain = function.cls is not None and not _is_telling(word)
                found.add(function.name.split(".", maxsplit=1)[0] if is_plain else word)
        shared = set(module.main.stored).union(*(each.globals for each in module.functions.values()))
        found |= {name for name in shared if project.global_value(module, name) is not None}
    found |= {
        cls.name
        for module in project.modules
        for cls in module.classes.values()
        if any(last_word(base) in found for base in cls.node.bases)
    }
    return frozenset(found)


def kept_attributes(project: Project) -> frozenset[str]:
    """Return the attributes of `self` that keep something which must be closed: other files may close it."""
    return frozenset(
        name.removeprefix("self.")
        for module in project.modules
        for function in module.by_node.values()
        for name, values in function.assigned.items()
        if name.startswith("self.")
        and any((held := project.value_of(each, function)) and held.must_be_closed for each in values)
    )


def _is_telling(name: str) -> bool:
    return "conn" in name.lower() or "session" in name.lower()


def class_of(function: Function) -> Class | None:
    """Return the class whose `self` a function sees."""
    scope: Function | None = function
    while scope is not None:
        if scope.cls is not None:
            return scope.cls
        scope = scope.outer
    return None


def _is_called_later(call: ast.Call, function: Function) -> bool:
    """Return whether what a call gives is called itself: a factory of factories."""
    names = {name for name, values in function.assigned.items() if call in values}
    return any(target_name(each.func) in names for each in function.calls) or any(
        each.func is call for each in function.calls
    )


def _written(call: ast.Call) -> str:
    return _written_name(call.func)


def _written_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            base = _written_name(value)
            return f"{base}.{attr}" if base else attr
        case ast.Call(func=called):
            return f"{_written_name(called)}()"
        case ast.Await(value=value):
            return _written_name(value)
        case ast.Subscript():
            return ast.unparse(node)
    return ""
