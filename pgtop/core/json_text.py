"""JSON that is safe to show in a terminal, and times in it: what every `--json` prints."""

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

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
        for character in {each for each in encoded if not each.isprintable()}:
            encoded = encoded.replace(character, _escape(character))
    return encoded + "\n"


def _escape(character: str) -> str:
    r"""A character as JSON escapes it: by its UTF-16 units.

    >>> _escape("\x9b"), _escape("\U000e0001")
    ('\\u009b', '\\udb40\\udc01')
    """
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[index : index + 4]}" for index in range(0, len(units), 4))
