r"""Takes passwords out of text that is shown: a conninfo given by mistake as a host comes back in an error.

A password is known by where it stands: behind the user in a URI, behind `password=` and its like, as
`PASSWORD '…'` in SQL, or as the fifth field of a line of ~/.pgpass. One that stands alone looks like any
other word, and is not known.
"""

import re
from itertools import takewhile
from typing import Final
from urllib.parse import unquote

MASK: Final = "***"
"""Stands for one secret, whatever its length."""

_KEY: Final = r"(?:passw(?:or)?d|\bpass(?:phrase)?|\bpwd|secret|scram_(?:client|server)_key)"
# A text may be a hostile server's. What is looked for from each of many places is therefore bounded in length
# and never taken back (`+` behind a quantifier): a text takes time as it has characters, and no more.
_PORT: Final = r"[0-9]{1,5}+(?:[/?,][^\s@]{0,1000}+)?+(?:[\s\"'),:;]|$)"
"""A port and no password: nothing of the same word has an @ behind it."""

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,20}:/+", re.IGNORECASE)
_USER: Final = re.compile(r"[^\s:\"']*:")
"""Of a URI; it may hold an @ (some clouds' do)."""
_NO_PASSWORD: Final = re.compile(rf"{re.escape(MASK)}@|{_PORT}")
_URI_WITHOUT_HOST: Final = re.compile(
    rf"([a-z][a-z0-9+.-]{{0,20}}:/+[^\s:/?#@\"']*:)(?!{re.escape(MASK)})(?!{_PORT})[^\s\"'/@]+", re.IGNORECASE
)
_QUERY: Final = re.compile(rf"([?&][\w.%-]{{0,40}}{_KEY}=)(?!{re.escape(MASK)})[^\s&\"']+", re.IGNORECASE)
_PAIR: Final = re.compile(
    rf"({_KEY}[\"']?\s*[=]\s*)(?!{re.escape(MASK)})"
    r"(?:'(?:\\.|[^'\\])*(?:'|$)|\"(?:\\.|[^\"\\])*(?:\"|$)|(?:\\.|[^\s\\])+|\\$)",
    re.IGNORECASE | re.DOTALL,
)
_JSON: Final = re.compile(
    rf"([\"'][\w.-]{{0,40}}{_KEY}[\"']\s*:\s*)(?:'(?:\\.|[^'\\])*(?:'|$)|\"(?:\\.|[^\"\\])*(?:\"|$))",
    re.IGNORECASE | re.DOTALL,
)
_SQL: Final = re.compile(r"(\bpassword\s+)E?'(?:''|\\.|[^'\\])*(?:'|$)", re.IGNORECASE | re.DOTALL)
_PASSFILE: Final = re.compile(
    r"(?<![^\s\"'(])((?:\\.|[^\s:\\\"'(]){1,255}+:(?:[0-9]{1,5}+|\*):"
    rf"(?:(?:\\.|[^\s:\\]){{1,255}}+:){{2}})(?!{re.escape(MASK)})(?:\\.|[^\s\\])+",
)
_ADDRESS: Final = re.compile(r"[\[\]0-9a-fA-F:.%/]*")

_WHOLE_URI: Final = re.compile(r"(\s*[a-z][a-z0-9+.-]{0,20}:/++[^:]*+:)(?=.*@)", re.IGNORECASE | re.DOTALL)
"""As a value of its own: whatever stands before an @ may be a password then, a port as well."""

LONGEST: Final = 16_384
"""Characters of a text that are looked at; what is beyond is cut off."""

_KINDS: Final = (_URI_WITHOUT_HOST, _QUERY, _PAIR, _JSON, _SQL)


def masked(text: str) -> str:
    """Return a text with MASK in place of what looks like a password.

    >>> masked("postgresql://app:p@ss@db1:5432/shop?sslpassword=x&sslmode=require cannot be reached")
    'postgresql://app:***@db1:5432/shop?sslpassword=***&sslmode=require cannot be reached'
    >>> masked("host=db1 password = 'a b\\\\' c' dbname=shop")
    'host=db1 password = *** dbname=shop'
    >>> masked("postgresql://db1:5432/shop does not answer in time")
    'postgresql://db1:5432/shop does not answer in time'
    """
    if ":" not in text and "=" not in text and "'" not in text:
        return text
    if len(text) > LONGEST:
        text = text[:LONGEST] + "…"
    text = _mask_uris(text)
    for kind in _KINDS:
        text = kind.sub(_masked, text)
    return _PASSFILE.sub(_masked_line, text)


def masked_value(value: str) -> str:
    """Return one whole value that a person gave, cut off where its first password begins.

    Its end is known, unlike that of a value within a sentence: a password with blanks or quotes in it goes
    with all of them.

    >>> masked_value("postgresql://app:my secret@db1/shop"), masked_value("db1")
    ('postgresql://app:***', 'db1')
    """
    if (whole := _WHOLE_URI.match(value)) is not None:
        return whole[1] + MASK
    value = value[:LONGEST]
    known = masked(value)
    if known == value:
        # A name of a parameter may be percent-encoded in a URI, too.
        return value if masked(decoded := unquote(value)) == decoded else MASK
    same = takewhile(lambda pair: pair[0] == pair[1], zip(value, known, strict=False))
    return "".join(character for character, _ in same).rstrip("*") + MASK


def holds_password(value: str) -> bool:
    """Return whether a value looks like one with a password in it."""
    return masked_value(value) != value


def _mask_uris(text: str) -> str:
    """Mask from behind each URI's user to the last @ before the next URI of PostgreSQL's.

    No pattern does it, since one that looks for the last @ from each of many places takes far too long.
    """
    schemes = list(_SCHEME.finditer(text))
    parts: list[str] = []
    done, end = 0, len(text)
    ends = []
    for scheme in reversed(schemes):
        ends.append(end)
        if scheme[0].lower().startswith("postgres"):
            end = scheme.start()
    for scheme, limit in zip(schemes, reversed(ends), strict=True):
        last = text.rfind("@", scheme.end(), limit)
        user = _USER.match(text, scheme.end(), max(last, scheme.end()))
        if (
            scheme.start() < done
            or user is None
            or _NO_PASSWORD.match(text, user.end())
            or last == user.end()
        ):
            continue
        parts.append(text[done : user.end()] + MASK)
        done = last
    return "".join(parts) + text[done:]


def _masked(found: "re.Match[str]") -> str:
    return found[1] + MASK


def _masked_line(found: "re.Match[str]") -> str:
    return found[0] if _ADDRESS.fullmatch(found[0]) else found[1] + MASK
