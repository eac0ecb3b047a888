"""The search for passwords in a text, by patterns.

The patterns are compiled when a text is first searched, and kept by `re`: most starts search none.
"""

import re
from itertools import takewhile
from typing import Final
from urllib.parse import unquote

MASK: Final = "***"
"""The text shown in place of one secret, whatever its length."""

_KEY: Final = r"(?:passw(?:or)?d|\bpass(?:phrase)?|\bpwd|secret|scram_(?:client|server)_key)"
# The text may come from a hostile server. Repeats that are tried from many places are therefore bounded in
# length and possessive (`+` after a quantifier), so that the time grows with the length of the text and no
# faster.
_PORT: Final = r"[0-9]{1,5}+(?:[/?,][^\s@]{0,1000}+)?+(?:[\s\"'),:;]|$)"
"""A port rather than a password: no @ follows it in the same word."""

_SCHEME: Final = r"(?i)[a-z][a-z0-9+.-]{0,20}:/+"
_USER: Final = r"[^\s:\"']*:"
"""The user of a URI. It may hold an @, as it does at some cloud services."""
_NO_PASSWORD: Final = rf"{re.escape(MASK)}@|{_PORT}"
_URI_WITHOUT_HOST: Final = (
    rf"(?i)([a-z][a-z0-9+.-]{{0,20}}:/+[^\s:/?#@\"']*:)(?!{re.escape(MASK)})(?!{_PORT})[^\s\"'/@]+"
)
_QUERY: Final = rf"(?i)([?&][\w.%-]{{0,40}}{_KEY}=)(?!{re.escape(MASK)})[^\s&\"']+"
_PAIR: Final = (
    rf"(?is)({_KEY}[\"']?\s*[=]\s*)(?!{re.escape(MASK)})"
    r"(?:'(?:\\.|[^'\\])*(?:'|$)|\"(?:\\.|[^\"\\])*(?:\"|$)|(?:\\.|[^\s\\])+|\\$)"
)
_JSON: Final = (
    rf"(?is)([\"'][\w.-]{{0,40}}{_KEY}[\"']\s*:\s*)(?:'(?:\\.|[^'\\])*(?:'|$)|\"(?:\\.|[^\"\\])*(?:\"|$))"
)
_SQL: Final = r"(?is)(\bpassword\s+)E?'(?:''|\\.|[^'\\])*(?:'|$)"
_PASSFILE: Final = (
    r"(?<![^\s\"'(])((?:\\.|[^\s:\\\"'(]){1,255}+:(?:[0-9]{1,5}+|\*):"
    rf"(?:(?:\\.|[^\s:\\]){{1,255}}+:){{2}})(?!{re.escape(MASK)})(?:\\.|[^\s\\])+"
)
_ADDRESS: Final = r"[\[\]0-9a-fA-F:.%/]*"

_WHOLE_URI: Final = r"(?is)(\s*[a-z][a-z0-9+.-]{0,20}:/++[^:]*+:)(?=.*@)"
"""A URI that is the whole value: all text before an @ may then be a password, even what looks like a port."""

LONGEST: Final = 16_384
"""The number of characters of a text that are searched. The rest is cut off."""

_KINDS: Final = (_URI_WITHOUT_HOST, _QUERY, _PAIR, _JSON, _SQL)


def mask_passwords(text: str) -> str:
    """Return a text with MASK in place of what looks like a password.

    >>> mask_passwords("postgresql://app:p@ss@db1:5432/shop?sslpassword=x&sslmode=require cannot be reached")
    'postgresql://app:***@db1:5432/shop?sslpassword=***&sslmode=require cannot be reached'
    >>> mask_passwords("host=db1 password = 'a b\\\\' c' dbname=shop")
    'host=db1 password = *** dbname=shop'
    >>> mask_passwords("postgresql://db1:5432/shop does not answer in time")
    'postgresql://db1:5432/shop does not answer in time'
    """
    if len(text) > LONGEST:
        text = text[:LONGEST] + "…"
    text = _mask_uris(text)
    for kind in _KINDS:
        text = re.sub(kind, _masked, text)
    return re.sub(_PASSFILE, _masked_line, text)


def mask_value(value: str) -> str:
    """Return one whole value that a person gave, cut off at the beginning of its first password.

    >>> mask_value("postgresql://app:my secret@db1/shop")
    'postgresql://app:***'
    """
    if (whole := re.match(_WHOLE_URI, value)) is not None:
        return whole[1] + MASK
    value = value[:LONGEST]
    known = mask_passwords(value)
    if known == value:
        # The name of a parameter may be percent-encoded in a URI.
        return value if mask_passwords(decoded := unquote(value)) == decoded else MASK
    same = takewhile(lambda pair: pair[0] == pair[1], zip(value, known, strict=False))
    return "".join(character for character, _ in same).rstrip("*") + MASK


def _mask_uris(text: str) -> str:
    """Mask each URI from the end of its user to the last @ before the next PostgreSQL URI.

    This is done without a pattern: one that looks for the last @ from many places takes far too long.
    """
    schemes = list(re.finditer(_SCHEME, text))
    parts: list[str] = []
    done, end = 0, len(text)
    ends = []
    for scheme in reversed(schemes):
        ends.append(end)
        if scheme[0].lower().startswith("postgres"):
            end = scheme.start()
    for scheme, limit in zip(schemes, reversed(ends), strict=True):
        last = text.rfind("@", scheme.end(), limit)
        user = re.compile(_USER).match(text, scheme.end(), max(last, scheme.end()))
        if (
            scheme.start() < done
            or user is None
            or re.compile(_NO_PASSWORD).match(text, user.end())
            or last == user.end()
        ):
            continue
        parts.append(text[done : user.end()] + MASK)
        done = last
    return "".join(parts) + text[done:]


def _masked(found: "re.Match[str]") -> str:
    return found[1] + MASK


def _masked_line(found: "re.Match[str]") -> str:
    return found[0] if re.fullmatch(_ADDRESS, found[0]) else found[1] + MASK
