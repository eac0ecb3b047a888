"""Abilities: what the terminal can show, as its environment says."""

import locale
import os
import re
import sys
from collections.abc import Mapping
from typing import Final

import msgspec

_UTF8: Final = re.compile(r"utf-?8", re.IGNORECASE)
_COERCED: Final = frozenset({"C.UTF-8", "C.utf8", "UTF-8"})
_DUMB: Final = frozenset({"dumb", "unknown"})


class Abilities(msgspec.Struct, frozen=True):
    """What may be sent to a terminal besides ASCII and the cursor's movements."""

    unicode: bool = True
    """False where every byte must be ASCII."""
    colour: bool = True
    """False where nobody wants colour, or where it is not known to exist."""


def abilities(environ: Mapping[str, str], *, was_c: bool = False, codeset: str = "") -> Abilities:
    """What the environment says of its terminal.

    `was_c` is True where Python found no usable locale and took UTF-8 by itself; `codeset` is the encoding of
    the locale in use, and asked only where the locale's name does not tell.

    >>> abilities({"LANG": "de_DE.UTF-8", "TERM": "xterm", "NO_COLOR": "1"})
    Abilities(unicode=True, colour=False)
    >>> abilities({"LC_ALL": "C", "LANG": "de_DE.UTF-8", "TERM": "linux"}, was_c=True)
    Abilities(unicode=False, colour=True)
    """
    dumb = environ.get("TERM", "") in _DUMB
    return Abilities(
        unicode=not dumb and _speaks_utf8(environ, was_c, codeset),
        colour=not dumb and not environ.get("NO_COLOR"),
    )


def own_abilities() -> Abilities:
    """What this process's terminal can show."""
    was_c = sys.flags.utf8_mode == 1 and os.environ.get("PYTHONUTF8") != "1"
    return abilities(os.environ, was_c=was_c, codeset=locale.getencoding())


def _speaks_utf8(environ: Mapping[str, str], was_c: bool, codeset: str) -> bool:
    """Goes by the name of the locale: one that is not installed here still tells what the terminal is."""
    for variable in ("LC_ALL", "LC_CTYPE", "LANG"):
        name = environ.get(variable, "")
        if not name or (variable == "LC_CTYPE" and was_c and name in _COERCED):
            continue  # Python itself sets LC_CTYPE where it finds the C locale
        if name in ("C", "POSIX"):
            return False
        if "." in name or _UTF8.fullmatch(name):
            return _UTF8.search(name) is not None
        return not was_c and _UTF8.fullmatch(codeset) is not None
    return False
