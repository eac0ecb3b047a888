"""SQL that mends: text to be pasted into a superuser's session as it stands, a statement or a comment a line.

What SQL cannot do (connect elsewhere, name an application) is said in an SQL comment, so that all of a mend
can always be pasted. ALTER SYSTEM runs in no transaction: each statement is sent on its own, as psql does.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from pgtop.core.text import printable

_RELOAD: Final = "SELECT pg_reload_conf();"
_AFTER_RESTART: Final = "needs a restart"


class Identifier(msgspec.Struct, frozen=True, array_like=True):
    """A name of the server's, and how it is written in SQL there."""

    name: str
    quoted: str
    """By the server's own quote_ident(), which knows the key words of its version."""

    @property
    def shown(self) -> str:
        """The name, safe to print."""
        return printable(self.name)

    @property
    def sql(self) -> str:
        r"""How it is written in SQL that can be shown, and copied from a terminal without loss.

        A name that cannot be shown as it is becomes an identifier with Unicode escapes.

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
        """False for bytes that are no text, which no SQL from here can name."""
        return "\ufffd" not in self.name


def _escaped(character: str) -> str:
    if character.isascii() and (character.isalnum() or character == "_"):
        return character
    code = ord(character)
    return f"\\{code:04x}" if code <= 0xFFFF else f"\\+{code:06x}"


def literal(text: str) -> str:
    r"""A text as an SQL literal that can be shown, and copied from a terminal without loss.

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
    """A line that is no SQL; `text` is printable."""
    return f"-- {text}"


def lines(*parts: str) -> str:
    """One mend of several; empty ones are left out."""
    return "\n".join(part for part in parts if part)


def altered_system(values: Iterable[str], *, restart: bool = False) -> str:
    """Server settings, each as `name = value`; they count after a reload, or after a restart."""
    after = f"  {comment(_AFTER_RESTART)}" if restart else ""
    return lines(*(f"ALTER SYSTEM SET {each};{after}" for each in values), "" if restart else _RELOAD)


def granted(group: str, role: Identifier, *, version_num: int, inherits: bool) -> str:
    """Gives a role the privileges of a group.

    From PostgreSQL 16 on each grant says whether its privileges are inherited, before that the role does.
    `inherits` is false for a role that would not use them (NOINHERIT), or is a member already without.
    """
    if version_num >= 160_000:
        return f"GRANT {group} TO {role.sql}{'' if inherits else ' WITH INHERIT TRUE'};"
    return lines("" if inherits else f"ALTER ROLE {role.sql} INHERIT;", f"GRANT {group} TO {role.sql};")
