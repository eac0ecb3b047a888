"""SQL remedies: text to paste unchanged into a superuser's session, one statement or comment a line.

A step that SQL cannot do (connecting elsewhere, naming an application) is an SQL comment, so that the whole
remedy can always be pasted. ALTER SYSTEM cannot run in a transaction: each statement is sent on its own, as
psql does.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from pgtop.core.text import printable

_RELOAD: Final = "SELECT pg_reload_conf();"
_AFTER_RESTART: Final = "needs a restart"


class Identifier(msgspec.Struct, frozen=True, array_like=True):
    """A name from the server, with its form in SQL."""

    name: str
    quoted: str
    """The name as the server's own quote_ident() returns it, which knows the key words of its version."""

    @property
    def shown(self) -> str:
        """The name, safe to print."""
        return printable(self.name)

    @property
    def sql(self) -> str:
        r"""The name in SQL that can be shown and copied from a terminal without loss.

        A name that is not safe to show becomes an identifier with Unicode escapes.

        >>> Identifier("Ops Team", '"Ops Team"').sql
        '"Ops Team"'
        >>> Identifier("a\x1b[2J", '"a\x1b[2J"').sql
        'U&"a\\001b\\005b2J"'
        """
        if printable(self.quoted) == self.quoted:
            return self.quoted
        return 'U&"' + "".join(map(_escaped, self.name)) + '"'

    @property
    def is_exact(self) -> bool:
        """False if the name has bytes that could not be decoded: SQL written here cannot name it."""
        return "\ufffd" not in self.name


def _escaped(character: str) -> str:
    if character.isascii() and (character.isalnum() or character == "_"):
        return character
    code = ord(character)
    return f"\\{code:04x}" if code <= 0xFFFF else f"\\+{code:06x}"


def literal(text: str) -> str:
    r"""Return a text as an SQL literal that can be shown and copied from a terminal without loss.

    >>> print(literal("it's"), literal("a\\b"), literal("a\x1b"))
    'it''s' E'a\\b' E'a\u001b'
    """
    if printable(text) == text and "\\" not in text:
        return "'" + text.replace("'", "''") + "'"
    return "E'" + "".join(map(_escaped_in_literal, text)) + "'"


def _escaped_in_literal(character: str) -> str:
    if character in "'\\":
        return f"\\{character}"
    if printable(character) == character:
        return character
    if character == " ":
        return r"\x20"
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def comment(text: str) -> str:
    """Return `text`, which is printable, as an SQL comment."""
    return f"-- {text}"


def lines(*parts: str) -> str:
    """Join several remedies to one. Empty ones are left out."""
    return "\n".join(part for part in parts if part)


def altered_system(values: Iterable[str], *, restart: bool = False) -> str:
    """Return the ALTER SYSTEM statements for `values`, each `name = value`.

    They take effect with the reload at their end, or with the `restart` that a comment asks for.
    """
    after = f"  {comment(_AFTER_RESTART)}" if restart else ""
    return lines(*(f"ALTER SYSTEM SET {each};{after}" for each in values), "" if restart else _RELOAD)


def granted(group: str, role: Identifier, *, version_num: int, inherits: bool) -> str:
    """Return the SQL that gives a role the privileges of a group.

    From PostgreSQL 16 on, each grant has its own INHERIT option; before that, the role has one for all.
    `inherits` is False if the role is NOINHERIT, or is already a member without the privileges.
    """
    if version_num >= 160_000:
        return f"GRANT {group} TO {role.sql}{'' if inherits else ' WITH INHERIT TRUE'};"
    return lines("" if inherits else f"ALTER ROLE {role.sql} INHERIT;", f"GRANT {group} TO {role.sql};")
