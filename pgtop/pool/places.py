"""The place in the code that takes a connection: found cheaply, spelled out only where it is shown."""

import sys
from pathlib import Path
from types import CodeType
from typing import Final, NamedTuple

import asyncpg

_OWN_FILES: Final = tuple(f"{Path(file).parent}/" for file in (asyncpg.__file__, __file__))
"""The folders whose frames are never a place: those of asyncpg and of this package."""


Call = tuple[CodeType, int]
"""A place as it is kept: a bare tuple is made in half the time."""


class Place(NamedTuple):
    """One call in the code: a code object, and the offset of the instruction in it."""

    code: CodeType
    offset: int

    @property
    def line(self) -> int:
        """Its line; finding it costs more than the rest of a checkout, and so waits until it is asked for."""
        for start, end, line in self.code.co_lines():
            if start <= self.offset < end and line is not None:
                return line
        return self.code.co_firstlineno

    @property
    def file_name(self) -> str:
        """The name of its file without the folder."""
        return Path(self.code.co_filename).name

    def __str__(self) -> str:
        path = Path(self.code.co_filename)
        here = Path.cwd()
        shown = path.relative_to(here) if path.is_relative_to(here) else path
        return f"{shown}:{self.line}"


def calling_place() -> Call:
    """Return the nearest caller outside asyncpg and this package."""
    frame = sys._getframe(2)  # inspect would cost a hundred times as much
    while frame.f_code.co_filename.startswith(_OWN_FILES) and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code, frame.f_lasti
