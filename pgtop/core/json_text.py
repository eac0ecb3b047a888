"""JSON that is safe to show in a terminal, and its times: for every `--json` and every log."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import accumulate, takewhile
from typing import Final

import msgspec

from pgtop.core.text import ELLIPSIS

_UNSURE: Final = re.compile("[^ -~]")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(microseconds: int) -> str:
    """Return a time in ISO 8601, UTC, always with microseconds, so that two times compare as text.

    >>> timestamp(1_700_000_000_000_000)
    '2023-11-14T22:13:20.000000Z'
    """
    moment = _EPOCH + timedelta(microseconds=microseconds)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def optional_timestamp(microseconds: int | None) -> str | None:
    """Return the same for a time that may be missing; None for None."""
    return None if microseconds is None else timestamp(microseconds)


def json_line(value: object) -> str:
    r"""Return a value as one line of JSON.

    JSON leaves C1 control characters, DEL and bidi overrides as they are, and a terminal obeys them. Every
    character that is not printable is therefore escaped; every JSON parser turns the escape back into the
    same text.

    >>> json_line({"usename": "a\x9b"})
    '{"usename":"a\\u009b"}\n'
    """
    encoded = msgspec.json.encode(value).decode("utf-8")
    if not encoded.isprintable():
        # One pass, not one a character: the author of a statement chooses how many different ones it holds.
        encoded = _UNSURE.sub(lambda found: _escape(found[0]), encoded)
    return encoded + "\n"


def _escape(character: str) -> str:
    r"""Return a character if it is printable, else its JSON escape in UTF-16 units.

    >>> _escape("\x9b"), _escape("\U000e0001"), _escape("é")
    ('\\u009b', '\\udb40\\udc01', 'é')
    """
    if character.isprintable():
        return character
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[index : index + 4]}" for index in range(0, len(units), 4))


def cut(text: str, most_bytes: int) -> str:
    r"""Return a text cut to at most `most_bytes` in a line of JSON, escapes included; `…` marks a cut.

    >>> cut("abcdef", 6), cut("abcdefg", 6), cut("a\x01b", 8), cut("a\x01b", 7)
    ('abcdef', 'abc…', 'a\x01b', 'a…')
    """
    if len(text) <= most_bytes and _size(text) <= most_bytes:
        return text
    room = most_bytes - _size(ELLIPSIS)
    return text[: sum(1 for _ in takewhile(room.__ge__, accumulate(map(_size_of_one, text))))] + ELLIPSIS


def _size(text: str) -> int:
    """Return the bytes that a text takes in a line of JSON, without its quotes."""
    return len(json_line(text).encode()) - len('""\n')


_size_of_one: Final = lru_cache(maxsize=4096)(_size)
"""`_size` of one character, cached."""
