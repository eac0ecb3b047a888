"""The gate between what a server answers and what pgtop trusts: rows become typed values, or one error.

A server may be broken, hostile, or not PostgreSQL at all. Behind this gate every value has its type and its
range.
"""

import re
from collections.abc import Iterable
from typing import Final, TypeVar

import asyncpg
import msgspec

from pgtop.core.server_encodings import UTF8, as_text
from pgtop.postgres.errors.kinds import UnreadableError

MARGIN: Final = 1024
"""The rows beyond max_connections that a view may show: if backend types are hidden, parallel workers
and logical walsenders are taken for client backends."""

_TEXT_OR_ARRAY: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|\[', re.DOTALL)
"""Each match begins behind the last, whatever is malformed: never a second look at the same bytes."""
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*+\\u0000")

_ARRAY: Final = ord("[")

T = TypeVar("T")


def decoded(raw: object, decoder: msgspec.json.Decoder[T], most_rows: int, encoding: str = UTF8) -> T:
    """Return an answer in JSON, given in bytes, as typed values; `most_rows` bounds the arrays in it.

    Bytes that are not valid in `encoding` (a statement of a database in another one) become U+FFFD. Raises
    UnreadableError for everything else that is not what was asked for.
    """
    if not isinstance(raw, bytes):
        raise UnreadableError(f"no bytes where JSON was asked for, but {type(raw).__name__}")
    # Counted before anything is built of it: a million rows take a gigabyte. Text may hold brackets, too.
    if raw.count(b"[") > most_rows and _has_more_arrays(raw, most_rows):
        raise UnreadableError(f"more than {most_rows} rows, which are more than the server can have")
    if b"\\u0000" in raw and _NUL.search(raw):
        raise UnreadableError("a NUL in a text")
    if encoding == UTF8:
        try:
            return decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        except RecursionError as error:
            raise UnreadableError("arrays nested without end") from error
    try:
        return decoder.decode(as_text(raw, encoding))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(str(error)) from error


def _has_more_arrays(raw: bytes, most: int) -> bool:
    """Return whether more than `most` arrays begin in the JSON, outside its texts; builds nothing of it."""
    number = 0
    for found in _TEXT_OR_ARRAY.finditer(raw):
        number += raw[found.start()] == _ARRAY
        if number > most:
            return True
    return False


def typed(rows: Iterable[asyncpg.Record], kind: type[T], most_rows: int) -> list[T]:
    """Rows as values of a struct, whose fields are the columns' names; raises UnreadableError."""
    found: list[T] = []
    for row in rows:
        if len(found) >= most_rows:
            raise UnreadableError(f"more than {most_rows} rows")
        try:
            found.append(msgspec.convert(dict(row), kind))
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise UnreadableError(str(error)) from error
    return found


def the_one(row: asyncpg.Record | None, kind: type[T]) -> T:
    """The only row that a statement has; raises UnreadableError, also where there is none."""
    if row is None:
        raise UnreadableError("no row where there is always one")
    return typed((row,), kind, 1)[0]
