"""Statements: a fingerprint without literals, and those that a pool sends by itself."""

import re
from functools import lru_cache
from typing import Final

from pgtop.core.text import clip, printable

LITERAL: Final = "?"
_SHOWN_CELLS: Final = 60
# PostgreSQL's comments nest; one that nests deeper than this hides all that follows.
_COMMENT_PART: Final = r"(?:(?!/\*|\*/).)"
_INNER_COMMENT: Final = rf"/\*{_COMMENT_PART}*\*/"
_NESTED_COMMENT: Final = rf"/\*(?:{_COMMENT_PART}|{_INNER_COMMENT})*\*/"
_TOKEN: Final = re.compile(
    rf"""(?P<comment>/\*(?:{_COMMENT_PART}|{_NESTED_COMMENT})*(?:\*/|.*\Z)|--[^\n\r]*)
      | (?P<text>[Ee]'(?:[^'\\]|''|\\(?:.|\Z))*(?:'|\Z)
                 |[BbXxNn]?'(?:[^'\\]|''|\\\\|\\(?!\\*'))*(?:'|.*\Z))
      | (?P<dollar>\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z))
      | (?P<parameter>\$\d+)
      | (?P<name>"(?:[^"]|"")*(?:"|\Z)|[^\W\d][\w$]*)
      | (?P<number>0[xXoObB][0-9A-Fa-f_]+|\d[\d_]*(?:\.[\d_]*)?(?:[eE][+-]?\d[\d_]*)?)
      | (?P<blank>\s+)""",
    re.VERBOSE | re.DOTALL,
)
_LIST: Final = re.compile(r"\(\s*\?(?:\s*,\s*\?)+\s*\)")
_VALUES: Final = re.compile(r"(\(\?\))(?:\s*,\s*\(\?\))+")
_HANDED_BACK: Final = re.compile(
    r"\s*(?:SELECT\s+pg_advisory_unlock_all\(\)|DISCARD\s+ALL|RESET\s+ALL|ROLLBACK|SELECT\s+[1?]\s*;?\s*\Z)",
    re.IGNORECASE,
)

# Also as a recording has it, without its literal.
_KEEPALIVE: Final = re.compile(r"\s*(?:SELECT\s+[1?]\s*)?;?\s*", re.IGNORECASE)


@lru_cache(maxsize=4096)
def fingerprint(query: str) -> str:
    """Return a statement without its literals, comments and spacing, so that statements alike are equal.

    The text may be cut in the middle, as the poll's is. A backslash before the end of a plain literal means
    one of two things, by a setting of the session's: the literal then goes on to the end.

    >>> fingerprint("SELECT *\\n FROM jobs WHERE id = 42 AND kind IN ('a', 'b') -- retry")
    'SELECT * FROM jobs WHERE id = ? AND kind IN (?)'
    >>> fingerprint("INSERT INTO t1 VALUES ($1, 'it''s'), ($2, 'never ending")
    'INSERT INTO t1 VALUES (?)'
    """
    plain = _TOKEN.sub(_replaced, query)
    plain = re.sub(r"\s+", " ", plain).strip()
    plain = re.sub(r"\(\s*\?(?:\s*,\s*\?)*\s*\Z", "(?)", plain)
    return _VALUES.sub(r"\1", _LIST.sub("(?)", plain))


def _replaced(match: re.Match[str]) -> str:
    if match["name"] is not None:
        return match["name"]
    return " " if match["comment"] is not None or match["blank"] is not None else LITERAL


def shown_statement(query: str) -> str:
    """Return a statement's fingerprint as a sentence shows it: printable, and not longer than a line."""
    return clip(printable(fingerprint(query)), _SHOWN_CELLS)


def is_handed_back(query: str | None) -> bool:
    """Return whether the last statement is one that a pool sends when a session is given back.

    asyncpg resets with `SELECT pg_advisory_unlock_all()`, SQLAlchemy with ROLLBACK, others with DISCARD ALL
    or RESET ALL; `SELECT 1` is a keepalive's.

    >>> is_handed_back("ROLLBACK"), is_handed_back("SELECT 1"), is_handed_back("SELECT 1 FROM jobs")
    (True, True, False)
    """
    return query is not None and _HANDED_BACK.match(query) is not None


def is_keepalive(query: str | None) -> bool:
    """Return whether a statement does nothing but keep a session alive; some drivers send an empty one.

    >>> is_keepalive("select 1;"), is_keepalive(""), is_keepalive("SELECT 1 FROM jobs"), is_keepalive(None)
    (True, True, False, False)
    >>> is_keepalive(fingerprint("SELECT 1")), is_handed_back(fingerprint("SELECT 1"))
    (True, True)
    """
    return query is not None and _KEEPALIVE.fullmatch(query) is not None
