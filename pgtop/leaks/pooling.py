"""The rules about pools and what is done while a connection is held."""

import ast
from collections.abc import Iterator
from typing import Final

from pgtop.leaks.findings import Finding, Rule
from pgtop.leaks.libraries import CALLS, NETWORK_CALLS, NETWORK_CLIENTS, NETWORK_METHODS, SESSIONS, Kind
from pgtop.leaks.lifetimes import Lifetimes, Use
from pgtop.leaks.modules import Function, last_word, target_name
from pgtop.leaks.ownership import place_of
from pgtop.leaks.project import Project

_ROUTES: Final = frozenset(
    {"get", "post", "put", "patch", "delete", "head", "options", "route", "websocket", "api_route", "task",
     "shared_task", "command", "event", "on_message", "middleware", "job"}
)  # fmt: skip
"""Decorators of functions that run again and again."""
_STARTS: Final = frozenset(
    {"__aenter__", "__enter__", "startup", "on_startup", "lifespan", "main", "open", "start"}
)
"""Names of functions that run once, before anybody calls twice at a time."""

_LOOPS: Final = (ast.For, ast.AsyncFor, ast.While)
_A: Final = {Kind.POOL: "a", Kind.ENGINE: "an"}


def pooling(function: Function, lifetimes: Lifetimes, project: Project) -> Iterator[Finding]:
    """Yield what a function does wrong with pools and while it holds a connection."""
    yield from _pool_race(function, project)
    yield from _pool_per_call(function, lifetimes)
    yield from _held_across_network(function, project)
    yield from _generator_left_early(function, project)


def _finding(
    rule: Rule, node: ast.AST, function: Function, said: str, sink: ast.AST | None = None
) -> Finding:
    place = place_of(node, function)
    return Finding(rule, place, said, function.name, place_of(sink, function) if sink is not None else None)


def _pool_race(function: Function, project: Project) -> Iterator[Finding]:
    """`if POOL is None: POOL = await create_pool()`: two first callers make two pools, and one is lost."""
    if not function.is_async or function.name.rsplit(".", maxsplit=1)[-1] in _STARTS:
        return
    if any(isinstance(each.func, ast.Attribute) and _takes_lock(each.func) for each in function.calls):
        return
    for node in function.nodes:
        if not isinstance(node, ast.If):
            continue
        tested = _tested_for_none(node.test)
        if tested is None or (not tested.startswith("self.") and tested not in function.globals):
            continue
        if any(isinstance(each, ast.AsyncWith) for each in function.module.ancestors(node)):
            continue  # under a lock, it is to be hoped
        for inner in ast.walk(node):
            if not isinstance(inner, ast.Await) or not isinstance(inner.value, ast.Call):
                continue
            made = project.value_of(inner.value, function)
            assigned = inner in function.assigned.get(tested, [])
            if made is not None and assigned and made.kind in {Kind.POOL, Kind.CONNECTION}:
                if any(isinstance(each, ast.AsyncWith) for each in function.module.ancestors(inner)):
                    continue
                yield _finding(
                    Rule.POOL_RACE, inner, function,
                    f"two callers that both find `{tested}` to be None make two: the first is overwritten "
                    f"and never closed; check and make it under an asyncio.Lock",
                    node,
                )  # fmt: skip


def _takes_lock(called: ast.Attribute) -> bool:
    return called.attr == "acquire" and "lock" in last_word(called.value).lower()


def _tested_for_none(test: ast.expr) -> str | None:
    """Return the name that a test finds to be None or false; None if it tests something else."""
    match test:
        case ast.Compare(left=left, ops=[ast.Is() | ast.Eq()], comparators=[ast.Constant(value=None)]):
            return target_name(left)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return target_name(operand)
    return None


def _pool_per_call(function: Function, lifetimes: Lifetimes) -> Iterator[Finding]:
    """A pool that is made in a function which runs again and again."""
    for node in function.calls:
        dotted = function.module.dotted_name(node.func)
        made = CALLS.get(dotted or "")
        if made is None or made.kind not in {Kind.POOL, Kind.ENGINE}:
            continue
        first = lifetimes.use_of(node, function)
        loops = [each for each in function.module.ancestors(node) if isinstance(each, _LOOPS)]
        # A pool that a `with` closes in the same turn serves that turn alone, whichever server it is for.
        in_loop = any(first.use is Use.ENTERED or _repeats(each, node) for each in loops)
        is_route = bool(function.decorators & _ROUTES)
        if first.use is Use.ALIAS and first.name in function.globals:
            continue
        if (in_loop and not _is_retried(node, function)) or (is_route and first.use is not Use.GIVEN):
            often = "in a loop" if in_loop else "for each call"
            yield _finding(
                Rule.POOL_PER_CALL, node, function,
                f"`{dotted}()` makes {_A[made.kind]} {made.kind} {often}: make one for the process, and "
                f"share it",
            )  # fmt: skip


def _repeats(loop: ast.For | ast.AsyncFor | ast.While, node: ast.Call) -> bool:
    """Return whether a loop makes the same pool in each turn: not one for each of several servers."""
    if isinstance(loop, ast.While):
        return True
    turns = {each.id for each in ast.walk(loop.target) if isinstance(each, ast.Name)}
    return not any(isinstance(each, ast.Name) and each.id in turns for each in ast.walk(node))


def _is_retried(node: ast.AST, function: Function) -> bool:
    """Return whether it is made in a loop that ends as soon as it is made: one that tries again."""
    for around in function.module.ancestors(node):
        if isinstance(around, ast.For | ast.AsyncFor | ast.While):
            return any(isinstance(each, ast.Try | ast.TryStar) for each in ast.walk(around)) and any(
                isinstance(each, ast.Break | ast.Return) for each in ast.walk(around)
            )
    return False


def _held_across_network(function: Function, project: Project) -> Iterator[Finding]:
    """A call that waits for somebody else inside the `with` of a connection or transaction."""
    for node in function.blocks:
        held = next((each for item in node.items if (each := _held_by(item, function, project))), None)
        if held is None:
            continue
        waiting = next((each for each in _own_calls(node) if _waits(each, function)), None)
        if waiting is not None:
            name = _written(waiting.func)
            yield _finding(
                Rule.HELD_ACROSS_NETWORK, node, function,
                f"{held} is held while `{name}()` on line {waiting.lineno} waits: call it before or after",
                waiting,
            )  # fmt: skip


def _is_autocommit(keyword: ast.keyword) -> bool:
    return (
        keyword.arg == "autocommit"
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is True
    )


def _own_calls(node: ast.With | ast.AsyncWith) -> Iterator[ast.Call]:
    pending: list[ast.AST] = list(reversed(node.body))
    while pending:
        each = pending.pop()
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(each, ast.Call):
            yield each
        pending += reversed(list(ast.iter_child_nodes(each)))


def _held_by(item: ast.withitem, function: Function, project: Project) -> str | None:
    manager = item.context_expr
    if isinstance(manager, ast.Await):
        manager = manager.value
    if not isinstance(manager, ast.Call):
        return None
    handle = project.value_of(manager, function)
    if handle is not None and handle.kind in SESSIONS:
        if handle.kind is Kind.CONNECTION and any(_is_autocommit(each) for each in manager.keywords):
            return None  # its own connection, without a transaction: one that waits for notifications
        return f"the {handle.kind} of `{handle.taken_by}`"
    if isinstance(manager.func, ast.Attribute) and manager.func.attr in {"transaction", "begin"}:
        receiver = project.value_of(manager.func.value, function)
        if receiver is not None:
            return "the transaction"
    return None


def _waits(call: ast.Call, function: Function) -> bool:
    dotted = function.module.dotted_name(call.func)
    if dotted in NETWORK_CALLS:
        return not _is_nothing(call)
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in NETWORK_METHODS:
        return False
    receiver = target_name(call.func.value)
    if receiver is None:
        return False
    made = [*function.assigned.get(receiver, []), *function.entered.get(receiver, [])]
    return any(
        isinstance(each, ast.Call) and function.module.dotted_name(each.func) in NETWORK_CLIENTS
        for each in made
    )


def _is_nothing(call: ast.Call) -> bool:
    """Return whether it is `sleep(0)`, which waits for nobody."""
    return bool(call.args) and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0


def _generator_left_early(function: Function, project: Project) -> Iterator[Finding]:
    """A generator that lends a connection and is not run to its end."""
    for node in function.nodes:
        match node:
            case ast.AsyncFor(iter=ast.Call() as call) if _lends(call, function, project):
                leaving = next((each for each in _leavings(node)), None)
                if leaving is not None:
                    word = "return" if isinstance(leaving, ast.Return) else "break"
                    yield _finding(
                        Rule.GENERATOR_LEFT_EARLY, call, function,
                        f"the `{word}` on line {leaving.lineno} leaves `{_written(call.func)}()` before "
                        f"its end, where it gives its connection back: use contextlib.aclosing, or an "
                        f"asynccontextmanager",
                        leaving,
                    )  # fmt: skip
            case ast.Call(args=[ast.Call() as call, *_]) if last_word(node) in {"next", "anext"} and _lends(
                call, function, project
            ):
                yield _finding(
                    Rule.GENERATOR_LEFT_EARLY, node, function,
                    f"`{last_word(node)}` takes the connection out of `{_written(call.func)}()`, which never "
                    f"runs to its end: use it in a `with` as a context manager",
                )  # fmt: skip


def _lends(call: ast.Call, function: Function, project: Project) -> bool:
    """Return whether a call makes a generator of the project that yields something which must be closed."""
    own = project.called(call, function)
    return own is not None and not own.is_manager and project.lends(own)


def _leavings(loop: ast.AsyncFor) -> Iterator[ast.Break | ast.Return]:
    """Yield the statements that leave a loop early."""
    pending: list[tuple[ast.AST, bool]] = [(each, False) for each in loop.body]
    while pending:
        node, is_inner = pending.pop(0)
        if isinstance(node, ast.Return) or (isinstance(node, ast.Break) and not is_inner):
            yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        inner = is_inner or isinstance(node, ast.For | ast.AsyncFor | ast.While)
        pending += [(each, inner) for each in ast.iter_child_nodes(node)]


def _written(node: ast.expr) -> str:
    return ast.unparse(node)
