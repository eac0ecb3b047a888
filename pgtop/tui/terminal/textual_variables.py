"""The environment variables of Textual's own that would keep the program from starting."""

import os
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Final

COLOR_SYSTEMS: Final = frozenset({"auto", "standard", "256", "truecolor", "windows"})
"""The values of TEXTUAL_COLOR_SYSTEM that rich knows."""


def drop_unusable(environ: MutableMapping[str, str]) -> None:
    """Drop TEXTUAL_LOG where it cannot be written, and TEXTUAL_COLOR_SYSTEM where it is not known.

    They are for developers: whoever has one in the environment by mistake still gets the dashboard. Call it
    before the first import of textual, which reads them then.

    >>> environ = {"TEXTUAL_COLOR_SYSTEM": "bogus", "TEXTUAL_LOG": "/nonexistent/log"}
    >>> drop_unusable(environ)
    >>> environ
    {}
    """
    if environ.get("TEXTUAL_COLOR_SYSTEM", "auto") not in COLOR_SYSTEMS:
        del environ["TEXTUAL_COLOR_SYSTEM"]
    log = environ.get("TEXTUAL_LOG")
    if log is None:
        return
    with suppress(OSError, ValueError):
        os.close(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600))
        return
    del environ["TEXTUAL_LOG"]
