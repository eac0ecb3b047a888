"""The rules about giving back: never-closed, not-in-finally, with-psycopg2 and with-getconn."""

import ast
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from pgtop.leaks.findings import Finding, Place, Rule
from pgtop.leaks.libraries import Kind, With
from pgtop.leaks.lifetimes import Escape, Lifetimes, Mention, Taken, Use, unprotected
from pgtop.leaks.modules import Def, Function

_ENDING: Final = frozenset({Use.CLOSED, Use.ENTERED, Use.GUARDED})
_HOW: Final = {
    Kind.CONNECTION: "close it in `finally`, or take it in a `with`",
    Kind.POOLED: "give it back in `finally`, or take it in a `with`",
    Kind.SESSION: "close it in `finally`, or take it in a `with`",
    Kind.POOL: "close it in `finally`, or make it once for the process",
}


def place_of(node: ast.AST, function: Function) -> Place:
    """Return the place of a node."""
    return Place(function.module.path, *function.module.position(node))


def ownership(function: Function, lifetimes: Lifetimes) -> Iterator[Finding]:
    """Yield what a function takes and does not give back for certain."""
    for taken in lifetimes.taken_in(function):
        found = _judged(taken, lifetimes)
        if found is not None:
            yield found


def _judged(taken: Taken, lifetimes: Lifetimes) -> Finding | None:
    first = taken.first
    match first.use:
        case Use.ENTERED:
            return _entered(taken, first, lifetimes)
        case Use.CLOSED | Use.GUARDED | Use.GIVEN:
            return None
        case Use.YIELDED:
            return None
        case Use.KEPT:
            return _kept(taken, first.name, lifetimes)
        case Use.ALIAS:
            return _named(taken, first.name, lifetimes)
    if _is_for_the_process(taken):
        return None
    return _finding(Rule.NEVER_CLOSED, taken, "is used and dropped: nothing can close it any more")


def _entered(taken: Taken, first: Mention, lifetimes: Lifetimes) -> Finding | None:
    """Judge what a `with` is opened on at once."""
    bound = first.node.optional_vars if isinstance(first.node, ast.withitem) else None
    name = bound.id if isinstance(bound, ast.Name) else None
    if name is not None and taken.handle.leaving in {With.COMMITS, With.KEEPS_SLOT}:
        later = [each for each in lifetimes.mentions(name, taken.function) if each.use is Use.CLOSED]
        if later:
            return None
    return _left_open(taken)


def _left_open(taken: Taken) -> Finding | None:
    if taken.handle.leaving is With.COMMITS and not _is_for_the_process(taken):
        return _finding(
            Rule.WITH_PSYCOPG2,
            taken,
            "stays open after its `with`, which only ends the transaction: close it, too",
        )
    if taken.handle.leaving is With.KEEPS_SLOT:
        return _finding(
            Rule.WITH_GETCONN, taken, "never goes back to its pool: a `with` on it does not call `putconn`"
        )
    return None


def _kept(taken: Taken, attr: str, lifetimes: Lifetimes) -> Finding | None:
    """Judge what is kept on `self`: its owner must have a way to close it."""
    if taken.handle.kind is Kind.POOL or lifetimes.owner_closes(attr, taken.function):
        return None
    if _is_for_the_process(taken):
        return None
    return _finding(
        Rule.NEVER_CLOSED,
        taken,
        f"is kept as `self.{attr}`, and nothing closes that: give its class a `close`",
    )


def _named(taken: Taken, name: str, lifetimes: Lifetimes) -> Finding | None:
    """Judge what is bound to a variable."""
    function = taken.function
    if function.is_module and not _is_in_loop(taken):
        return None  # it lives as long as the process
    if name in function.globals:
        return None
    mentions = lifetimes.mentions(name, function)
    closings = [each for each in mentions if each.use in _ENDING]
    uses = {each.use for each in mentions}
    if _is_overwritten(taken, name, mentions):
        return _finding(
            Rule.NEVER_CLOSED,
            taken,
            "is overwritten by the next turn of the loop: leave the loop once it is there",
        )
    if Use.GIVEN in uses:
        return None
    if Use.KEPT in uses:
        kept = next(each for each in mentions if each.use is Use.KEPT)
        return _kept(taken, kept.name, lifetimes)
    entered = [each for each in closings if each.use is Use.ENTERED]
    closed = [each for each in closings if each.use is not Use.ENTERED]
    if entered and not closed and (found := _left_open(taken)) is not None:
        return found
    if taken.handle.leaving in {With.COMMITS, With.KEEPS_SLOT, With.UNSUPPORTED}:
        closings = closed
    if Use.YIELDED in uses and not closings:
        return _yielded(taken)
    return None if _is_for_the_process(taken) else _closed_somewhere(taken, closings, Use.YIELDED in uses)


def _closed_somewhere(taken: Taken, closings: list[Mention], is_lent: bool) -> Finding | None:
    """Judge by the mentions that close it: there is one, and none of the ways out leads past it."""
    if not closings:
        return _finding(Rule.NEVER_CLOSED, taken, f"is never closed: {_HOW[taken.handle.kind]}")
    if any(each.use is Use.GUARDED for each in closings) or taken.handle.kind is Kind.POOL:
        return None
    if is_lent and not taken.function.is_manager:
        return None  # whoever drives a generator runs it to its end
    escape = unprotected(taken, closings)
    return _not_in_finally(taken, escape) if escape is not None else None


def _yielded(taken: Taken) -> Finding | None:
    if not taken.function.is_manager:
        return None
    return _finding(Rule.NEVER_CLOSED, taken, "is lent by `yield` and never closed: close it in `finally`")


def _not_in_finally(taken: Taken, escape: Escape) -> Finding:
    line = getattr(escape.node, "lineno", 0)
    how = "the return" if escape.is_return else "an error"
    said = f"stays open if {how} on line {line} comes first: {_HOW[taken.handle.kind]}"
    return _finding(Rule.NOT_IN_FINALLY, taken, said, escape.node)


def _finding(rule: Rule, taken: Taken, said: str, sink: ast.AST | None = None) -> Finding:
    function = taken.function
    what = f"the {taken.handle.kind} of `{taken.handle.taken_by}`"
    return Finding(
        rule,
        place_of(taken.call, function),
        f"{what} {said}",
        function.name,
        place_of(sink, function) if sink is not None else None,
    )


def _is_in_loop(taken: Taken) -> bool:
    """Return whether a loop takes it again and again: not one that ends as soon as it is there."""
    around = [taken.call, *taken.function.module.ancestors(taken.call)]
    loop = next((each for each in around if isinstance(each, ast.For | ast.While | ast.AsyncFor)), None)
    if loop is None:
        return False
    for each, parent in pairwise(around[: around.index(loop) + 1]):
        block = getattr(parent, "body", [])
        if isinstance(block, list) and each in block and any(isinstance(later, ast.Break) for later in block):
            return False
    return True


def _is_overwritten(taken: Taken, name: str, mentions: list[Mention]) -> bool:
    """Return whether a loop takes one in each of its turns, and keeps only the last."""
    around = list(taken.function.module.ancestors(taken.call))
    index = next(
        (i for i, each in enumerate(around) if isinstance(each, ast.For | ast.AsyncFor | ast.While)), None
    )
    if index is None:
        return False
    loop, between = around[index], around[:index]
    inside = set(ast.walk(loop))
    if any(each.use is not Use.USED for each in mentions if each.node in inside):
        return False
    if all(each.node in inside for each in mentions):
        return False  # it is judged as one that is never closed
    if any(isinstance(each, ast.Break | ast.Return | ast.Yield) for each in inside):
        return False
    if any(isinstance(each, ast.If) and name in _names(each.test) for each in between):
        return False
    return not isinstance(loop, ast.While) or not _names(loop.test) & {
        name, *(each for node in inside if isinstance(node, ast.Assign) for each in _names(node))
    }  # fmt: skip


def _names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _is_for_the_process(taken: Taken) -> bool:
    """Return whether it is taken once, by a script's main part: the end of the process closes it."""
    function = taken.function
    if _is_in_loop(taken):
        return False
    return function.is_module or (isinstance(function.node, Def) and function.name == "main")
