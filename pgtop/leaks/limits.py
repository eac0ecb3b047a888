"""The opt-in rules about limits: a pool and its connections that nothing bounds, or that give no name."""

import ast
from collections.abc import Iterator
from typing import Final

from pgtop.leaks.findings import Finding, Rule
from pgtop.leaks.libraries import CALLS, Handle, Kind
from pgtop.leaks.modules import Function, last_word
from pgtop.leaks.ownership import place_of
from pgtop.leaks.project import Project

_SIZES: Final = {
    "asyncpg": ("max_size",),
    "aiopg": ("maxsize",),
    "psycopg_pool": ("max_size",),
    "psycopg2": ("maxconn",),
    "sqlalchemy": ("pool_size", "poolclass"),
    "sqlmodel": ("pool_size", "poolclass"),
    "databases": ("max_size",),
}
"""The argument that bounds a pool, by library."""
_MAXCONN: Final = 2
"""psycopg2's pools take it as their second argument."""
_TIMEOUTS: Final = ("command_timeout", "statement_timeout", "options", "timeout_ms")
_TIMERS: Final = frozenset({"wait_for", "timeout", "timeout_at", "fail_after", "move_on_after"})
_NAMES: Final = ("application_name", "fallback_application_name")
_WAITS_FOR_EVER: Final = frozenset({"asyncpg", "aiopg"})
"""The libraries whose `acquire` waits for ever by default; psycopg_pool waits 30 s, SQLAlchemy too."""


def limits(function: Function, project: Project) -> Iterator[Finding]:
    """Yield the calls of a function that set no limit or no name."""
    for node in function.nodes:
        if not isinstance(node, ast.Call) or any(each.arg is None for each in node.keywords):
            continue  # `**options` may have it
        dotted = function.module.dotted_name(node.func) or ""
        made = CALLS.get(dotted)
        if made is not None:
            yield from _of_making(made, dotted, node, function)
        elif isinstance(node.func, ast.Attribute) and node.func.attr == "acquire":
            yield from _of_acquiring(node, function, project)


def _of_making(made: Handle, dotted: str, call: ast.Call, function: Function) -> Iterator[Finding]:
    if made.kind in {Kind.POOL, Kind.ENGINE}:
        sizes = _SIZES.get(made.library, ())
        by_place = made.library == "psycopg2" and len(call.args) >= _MAXCONN
        if sizes and not by_place and not _says(call, sizes):
            said = f"`{dotted}()` leaves the size of its {made.kind} to the default: give `{sizes[0]}`"
            yield _finding(Rule.NO_MAX_SIZE, call, function, said)
    if made.kind in {Kind.POOL, Kind.ENGINE, Kind.CONNECTION}:
        if not _says(call, _TIMEOUTS):
            how = "`command_timeout`" if made.library in {"asyncpg", "databases"} else "a `statement_timeout`"
            said = f"statements of `{dotted}()` may run for ever: give {how}"
            yield _finding(Rule.NO_COMMAND_TIMEOUT, call, function, said)
        if not _says(call, _NAMES):
            said = f"sessions of `{dotted}()` have no name on the server: give `application_name`"
            yield _finding(Rule.NO_APPLICATION_NAME, call, function, said)


def _of_acquiring(call: ast.Call, function: Function, project: Project) -> Iterator[Finding]:
    held = project.value_of(call, function)
    if held is None or held.kind is not Kind.POOLED or held.library not in {*_WAITS_FOR_EVER, ""}:
        return
    if not _says(call, ("timeout",)) and not _is_timed(call, function):
        said = f"`{held.taken_by}` waits for ever while the pool is empty: give `timeout`"
        yield _finding(Rule.NO_ACQUIRE_TIMEOUT, call, function, said)


def _is_timed(call: ast.Call, function: Function) -> bool:
    """Return whether code around a call ends its waiting: `wait_for`, or a `with` of a timeout."""
    for each in function.module.ancestors(call):
        if isinstance(each, ast.Call) and last_word(each) in _TIMERS:
            return True
        if isinstance(each, ast.AsyncWith | ast.With) and any(
            last_word(item.context_expr) in _TIMERS for item in each.items
        ):
            return True
    return False


def _says(call: ast.Call, words: tuple[str, ...]) -> bool:
    """Return whether an argument of a call has one of the words as its name, or anywhere in its text."""
    if any(each.arg in words for each in call.keywords):
        return True
    return any(
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and any(word in node.value for word in words)
        for each in [*call.args, *(keyword.value for keyword in call.keywords)]
        for node in ast.walk(each)
    )


def _finding(rule: Rule, call: ast.Call, function: Function, said: str) -> Finding:
    return Finding(rule, place_of(call, function), said, function.name)
