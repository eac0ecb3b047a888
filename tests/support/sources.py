"""The Python sources of pgtop and its tests, as syntax trees."""

import ast
import gc


def parsed(source: str, path: str = "<text>") -> ast.Module:
    """A source's syntax tree.

    The garbage collector waits: where it ends something in the middle of `ast.parse` that parses in turn, as
    the traceback of a warning does, CPython 3.11 raises a SystemError
    (https://github.com/python/cpython/issues/106905).
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source, path)
    finally:
        if was_on:
            gc.enable()
