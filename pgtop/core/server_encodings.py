"""Texts as a server sends them that converts nothing: which codec reads each of its encodings.

Source: PostgreSQL, src/common/encnames.c (the names) and src/include/mb/pg_wchar.h (those up to
PG_ENCODING_BE_LAST are a server's); Python, Standard Encodings.
"""

from typing import Final

UTF8: Final = "UTF8"
"""The encoding that a converting server sends."""

_UTF_8: Final = "utf-8"
_NONE: Final = "ascii"
"""For an encoding that Python has no codec for: what is not ASCII becomes U+FFFD, and no other letter."""

CODECS: Final = {
    "EUC_JP": "euc_jp",
    "EUC_CN": "gb2312",
    "EUC_KR": "euc_kr",
    "EUC_TW": _NONE,
    "EUC_JIS_2004": "euc_jis_2004",
    UTF8: _UTF_8,
    "MULE_INTERNAL": _NONE,
    "LATIN1": "iso8859_1",
    "LATIN2": "iso8859_2",
    "LATIN3": "iso8859_3",
    "LATIN4": "iso8859_4",
    "LATIN5": "iso8859_9",
    "LATIN6": "iso8859_10",
    "LATIN7": "iso8859_13",
    "LATIN8": "iso8859_14",
    "LATIN9": "iso8859_15",
    "LATIN10": "iso8859_16",
    "WIN1256": "cp1256",
    "WIN1258": "cp1258",
    "WIN866": "cp866",
    "WIN874": "cp874",
    "KOI8R": "koi8_r",
    "WIN1251": "cp1251",
    "WIN1252": "cp1252",
    "ISO_8859_5": "iso8859_5",
    "ISO_8859_6": "iso8859_6",
    "ISO_8859_7": "iso8859_7",
    "ISO_8859_8": "iso8859_8",
    "WIN1250": "cp1250",
    "WIN1253": "cp1253",
    "WIN1254": "cp1254",
    "WIN1255": "cp1255",
    "WIN1257": "cp1257",
    "KOI8U": "koi8_u",
}
"""A server's encodings, but for SQL_ASCII: what bytes mean there, nobody knows, and UTF-8 is the best guess.
In each of them a byte below 0x80 is that ASCII character and no part of any other."""

_AS_THE_SERVER: Final = {
    "EUC_JP": str.maketrans("〜‖−¢£¬¦", "～∥－￠￡￢￤"),
    "EUC_JIS_2004": str.maketrans("￣―￥⦅⦆", "‾—¥｟｠"),
}
"""Characters that the codec reads otherwise than the server converts: a name must be the same either way."""

_MORE: Final = b" " * 16


def as_text(raw: bytes, encoding: str) -> str:
    r"""Decode bytes sent as they are by a server of that encoding; what is not text there becomes U+FFFD.

    >>> as_text(b"\xb7\xd0\xcd\xfd", "EUC_JP"), as_text("経理".encode(), "UTF8")
    ('経理', '経理')

    No ASCII character is lost, whatever stands before it, so that JSON stays what it is.

    >>> as_text(b'"\x8f"', "EUC_JP")
    '"\ufffd"'
    """
    # A decoder that comes to the end in the middle of a character takes all that is left for broken, ASCII
    # too. So there is always more.
    text = (raw + _MORE).decode(CODECS.get(encoding, _UTF_8), "replace")[: -len(_MORE)]
    table = _AS_THE_SERVER.get(encoding)
    return text if table is None else text.translate(table)
