"""JSON that is safe to show in a terminal, and times in it: what every `--json` prints and every log has."""

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
    """ISO 8601 in UTC, always with microseconds, so that two of them compare as text.

    >>> timestamp(1_700_000_000_000_000)
    '2023-11-14T22:13:20.000000Z'
    """
    moment = _EPOCH + timedelta(microseconds=microseconds)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def optional_timestamp(microseconds: int | None) -> str | None:
    """The same for a time that may be missing."""
    return None if microseconds is None else timestamp(microseconds)


def json_line(value: object) -> str:
    r"""A value as one line of JSON.

    JSON leaves C1 bytes, DEL and bidi overrides as they are, and a terminal obeys them: whatever is not
    printable is written as its escape, which every reader of JSON turns back into the same text.

    >>> json_line({"usename": "a\x9b"})
    '{"usename":"a\\u009b"}\n'
    """
    encoded = msgspec.json.encode(value).decode("utf-8")
    if not encoded.isprintable():
        # In one pass: whoever writes a statement also chooses how many different characters are in it.
        encoded = _UNSURE.sub(lambda found: _escape(found[0]), encoded)
    return encoded + "\n"


def _escape(character: str) -> str:
    r"""A character as it may stand in JSON that is shown: as it is, or by its UTF-16 units.

    >>> _escape("\x9b"), _escape("\U000e0001"), _escape("é")
    ('\\u009b', '\\udb40\\udc01', 'é')
    """
    if character.isprintable():
        return character
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[index : index + 4]}" for index in range(0, len(units), 4))


def cut(text: str, most_bytes: int) -> str:
    r"""A text that takes at most so many bytes in a line of JSON, escapes and all; `…` ends one that was cut.

    >>> cut("abcdef", 6), cut("abcdefg", 6), cut("a\x01b", 8), cut("a\x01b", 7)
    ('abcdef', 'abc…', 'a\x01b', 'a…')
    """
    if len(text) <= most_bytes and _size(text) <= most_bytes:
        return text
    room = most_bytes - _size(ELLIPSIS)
    return text[: sum(1 for _ in takewhile(room.__ge__, accumulate(map(_size_of_one, text))))] + ELLIPSIS


def _size(text: str) -> int:
    """How many bytes a text takes in a line of JSON, without its quotes."""
    return len(json_line(text).encode()) - len('""\n')


_size_of_one: Final = lru_cache(maxsize=4096)(_size)
"""The same for one character."""
