"""Capabilities: the characters and colours that the terminal can show, according to the environment."""

import locale
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

_UTF8: Final = re.compile(r"utf-?8", re.IGNORECASE)
_COERCED: Final = frozenset({"C.UTF-8", "C.utf8", "UTF-8"})
_DUMB: Final = frozenset({"dumb", "unknown"})
_WITHOUT_TITLE: Final = ("linux", "ansi", "vt", "cons25")
"""The beginnings of the names of terminals that have no title, and may print the text of one."""


class Capabilities(msgspec.Struct, frozen=True):
    """The output a terminal accepts besides ASCII and cursor movements."""

    unicode: bool = True
    """False if every byte must be ASCII."""
    colour: bool = True
    """False if colour is unwanted, or not known to be available."""
    title: bool = True
    """False if the terminal is not known to have a window with a title."""


def capabilities(environ: Mapping[str, str], *, was_c: bool = False, codeset: str = "") -> Capabilities:
    """Return the capabilities of the terminal that an environment describes.

    `was_c` is True if Python found no usable locale and may have set LC_CTYPE itself; `codeset` is the
    encoding of the locale in use, and counts only if the locale's name does not name one.

    >>> capabilities({"LANG": "de_DE.UTF-8", "TERM": "xterm", "NO_COLOR": "1"})
    Capabilities(unicode=True, colour=False, title=True)
    >>> capabilities({"LC_ALL": "C", "LANG": "de_DE.UTF-8", "TERM": "linux"})
    Capabilities(unicode=False, colour=True, title=False)
    >>> capabilities({"LANG": "de_DE"}, codeset="ISO-8859-1").unicode, capabilities({}).unicode
    (False, False)
    >>> by_hand = {"LC_CTYPE": "C.UTF-8"}
    >>> capabilities(by_hand).unicode, capabilities(by_hand, was_c=True).unicode
    (True, False)
    """
    name = environ.get("TERM", "").lower()
    dumb = name in _DUMB
    return Capabilities(
        unicode=not dumb and _speaks_utf8(environ, was_c, codeset),
        colour=not dumb and not environ.get("NO_COLOR"),
        title=bool(name) and not dumb and not name.startswith(_WITHOUT_TITLE),
    )


def own_abilities() -> Capabilities:
    """Return the capabilities of this process's terminal."""
    given = _environ_at_start()
    was_c = given is None and sys.flags.utf8_mode == 1 and os.environ.get("PYTHONUTF8") != "1"
    codeset = "" if sys.flags.utf8_mode else locale.getencoding()
    return capabilities(given or os.environ, was_c=was_c, codeset=codeset)


def hide_dumbness() -> None:
    """Set TERM so that neither this process nor those it starts treat the terminal as a dumb one.

    rich takes a dumb terminal to be 80 by 25, so that the screen would be laid out for two sizes in turn,
    over and over.
    """
    if os.environ.get("TERM", "").lower() in _DUMB:
        os.environ["TERM"] = "ansi"


def _environ_at_start() -> dict[str, str] | None:
    """Return the environment before Python set a locale in it; None if the system does not show it."""
    try:
        pairs = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return {name: value for name, _, value in (os.fsdecode(pair).partition("=") for pair in pairs) if name}


def _speaks_utf8(environ: Mapping[str, str], was_c: bool, codeset: str) -> bool:
    """Return whether the locale's name means UTF-8; even one that is not installed describes the terminal."""
    for variable in ("LC_ALL", "LC_CTYPE", "LANG"):
        name = environ.get(variable, "")
        if not name or (variable == "LC_CTYPE" and was_c and name in _COERCED):
            continue
        if name in ("C", "POSIX"):
            return False
        if "." in name or _UTF8.fullmatch(name):
            return _UTF8.search(name) is not None
        return _UTF8.fullmatch(codeset) is not None
    return False
