"""The application_name of pgtop's own session, by which one pgtop knows another."""

from typing import Final

from pgtop.core.activity import PGTOP_PREFIX

_LONGEST_NAME: Final = 63
"""The server cuts an application_name at this number of bytes."""


def own_session_name(face: str, host: str) -> str:
    """Return the application_name of pgtop's session: at most 63 ASCII characters, whatever the host's name.

    >>> own_session_name("dashboard", "jump1")
    'pgtop dashboard@jump1'
    """
    name = f"{PGTOP_PREFIX}{face}@{host}"
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in name)[:_LONGEST_NAME]
