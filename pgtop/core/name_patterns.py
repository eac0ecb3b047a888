r"""Globs for names, matched against the names that a server shows.

A server does not show every name as it was given:

- An application_name becomes ASCII: a byte that is not becomes `?` up to 15, and `\xNN` from 16 on.
- A name is cut at 63 bytes, in a startup packet also in the middle of a character.
- The name of a role or a database is stored in the encoding of the database where it was created, and read in
  that of the database where it is looked at.

A pattern is a glob (`*`, `?`, `[a-z]`), and it is also the name as it stands: `worker [0 of 5 busy]` matches
that very name. Whatever matches is remembered, since the same names come with each poll.
Source: PostgreSQL, src/common/string.c (pg_clean_ascii), src/backend/utils/misc/guc.c (GUC_IS_NAME) and
src/backend/postmaster/postmaster.c (ProcessStartupPacket).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from unicodedata import normalize

from pgtop.core.server_encodings import CODECS

LONGEST_NAME_BYTES: Final = 63
"""The longest name that a standard build keeps: NAMEDATALEN less one."""

_CODECS: Final = tuple(dict.fromkeys(codec for codec in CODECS.values() if codec != "ascii"))
_LONGEST_CHARACTER_BYTES: Final = 4
_WILDCARD: Final = re.compile(r"\*+|\?|(\[!?\]?[^\]]*\])")
_REPLACED: Final = re.compile(r"\?|\\x[0-9a-f]{2}", re.IGNORECASE)
"""One byte that is not printable ASCII, as a server shows it."""
_RANGES: Final = re.compile(r"(.)-(.)|(.)", re.DOTALL)


class _Token(NamedTuple):
    """A part of a pattern: `*`, `?`, a class of characters such as `[a-z]`, or one character."""

    text: str
    is_wildcard: bool

    @property
    def is_star(self) -> bool:
        return self.is_wildcard and self.text.startswith("*")

    @property
    def least_bytes(self) -> int:
        if self.is_wildcard:
            return 0 if self.is_star else 1
        return len(self.text.encode("utf-8", "replace"))


_Forms = Callable[[_Token], Iterable[str]]
"""A function that returns everything that may stand for a character of a pattern."""


@lru_cache(maxsize=65_536)
def is_application(pattern: str, shown: str, *, protects: bool = False) -> bool:
    r"""Return whether an application_name, as a server shows it, may be one that the pattern means.

    A pattern that `protects` ignores case, and matches a name that was cut if the rest of it could match.

    >>> is_application("café*", "caf??-1"), is_application("café*", r"caf\xc3\xa9-1")
    (True, True)
    >>> is_application("api [0 of 5 busy]", "api [0 of 5 busy]"), is_application("Web*", "web-1")
    (True, False)
    """
    was_cut = len(shown) > LONGEST_NAME_BYTES - _LONGEST_CHARACTER_BYTES
    return any(
        _matches(tokens, _forms_shown, shown, was_cut=was_cut, protects=protects)
        for tokens in _readings_of(pattern)
    )


@lru_cache(maxsize=65_536)
def is_identifier(pattern: str, shown: str, *, protects: bool = False) -> bool:
    """Return whether the name of a role or a database, as it is read, may be one that the pattern means.

    A pattern that `protects` ignores case, and matches a name that was created in another encoding than the
    one it is read in.

    >>> is_identifier("Ün*", "\\xc3\\x9cnu", protects=True), is_identifier("Ün*", "\\xc3\\x9cnu")
    (True, False)
    """
    names = _as_other_encodings(shown) if protects else (shown,)
    was_cut = len(shown.encode("utf-8", "replace")) > LONGEST_NAME_BYTES - _LONGEST_CHARACTER_BYTES
    return any(
        _matches(tokens, _forms_read, name, was_cut=was_cut, protects=protects)
        for tokens in _readings_of(pattern)
        for name in names
    )


@lru_cache(maxsize=65_536)
def application_holds(word: str, shown: str) -> bool:
    r"""Return whether an application_name, as a server shows it, may hold a word, in upper or lower case.

    A word has no wildcards. One that is longer than a name can be is held by a name that was cut from it.

    >>> application_holds("café", r"my caf\xc3\xa9-1"), application_holds("CAFÉ", "my caf??-1")
    (True, True)
    >>> application_holds("w*", "web"), application_holds("x" * 70, "x" * 63)
    (False, True)
    """
    return _holds(word, _forms_shown, shown)


@lru_cache(maxsize=65_536)
def identifier_holds(word: str, shown: str) -> bool:
    """Return whether the name of a role or a database may hold a word, as `application_holds` does.

    >>> identifier_holds("e\u0301te", "\u00c9TE 1"), identifier_holds("été", "ete")
    (True, False)
    """
    return _holds(word, _forms_read, shown)


def _holds(word: str, forms: "_Forms", shown: str) -> bool:
    star = _Token("*", True)
    for spelled in dict.fromkeys((word, normalize("NFC", word), normalize("NFD", word))):
        tokens = [_Token(each, False) for each in spelled]
        if _matches([star, *tokens, star], forms, shown, was_cut=False, protects=True):
            return True
        size = len(shown.encode("utf-8", "replace"))
        was_cut = size > LONGEST_NAME_BYTES - _LONGEST_CHARACTER_BYTES
        is_longer = sum(each.least_bytes for each in tokens) > LONGEST_NAME_BYTES
        if is_longer and was_cut and _matches(tokens, forms, shown, was_cut=True, protects=True):
            return True
    return False


def unmatchable(pattern: str) -> str:
    """Return the reason that a pattern cannot match a name; "" if it can.

    >>> unmatchable("web*"), unmatchable("*" + "x" * 64)
    ('', 'a name is cut at 63 bytes, and what stands after * is longer')
    """
    if "\0" in pattern:
        return "no name holds a NUL"
    tokens = _readings_of(pattern)[-1]
    head = next((number for number, each in enumerate(tokens) if each.is_star), len(tokens))
    before, least = (sum(each.least_bytes for each in some) for some in (tokens[:head], tokens))
    if before < LONGEST_NAME_BYTES < least and head < len(tokens):
        return f"a name is cut at {LONGEST_NAME_BYTES} bytes, and what stands after * is longer"
    return ""


def _matches(tokens: Sequence[_Token], forms: _Forms, name: str, *, was_cut: bool, protects: bool) -> bool:
    """Return whether a name matches, by all the places that each part of the pattern may end at.

    Trying one way after the other would take for ever where a client chooses its name for that.
    """
    # A filter takes a cut name for its own only if nothing but the cut can have made the difference.
    is_longer = sum(each.least_bytes for each in tokens) > LONGEST_NAME_BYTES
    may_go_on = was_cut and (protects or (is_longer and not any(each.is_star for each in tokens)))
    name = _folded(name, protects)
    places = {0}
    for token in tokens:
        if may_go_on and len(name) in places:
            return True
        if token.is_star:
            places = set(range(min(places), len(name) + 1))
        elif token.is_wildcard:
            places = {end for place in places for end in _ends(token, name, place, forms, protects)}
        else:
            wanted = {_folded(form, protects) for form in forms(token)}
            if may_go_on and any(form.startswith(name[place:]) for form in wanted for place in places):
                return True
            places = {
                place + len(form) for place in places for form in wanted if name.startswith(form, place)
            }
        if not places:
            return False
    return len(name) in places


def _folded(text: str, protects: bool) -> str:
    return text.lower() if protects else text


def _ends(token: _Token, name: str, place: int, forms: _Forms, protects: bool) -> Iterator[int]:
    """Yield the places where one character of any kind, or of a class, may end that begins at `place`."""
    if place >= len(name):
        return
    if token.text != "?":
        cases = {name[place], *((name[place].lower(), name[place].upper()) if protects else ())}
        if any(_is_of_class(token.text, each) for each in cases):
            yield place + 1
        if forms is _forms_shown and not _names_ascii_alone(token.text):
            yield from _replaced_ends(name, place)
        return
    yield place + 1
    if forms is _forms_shown:
        yield from _replaced_ends(name, place)


def _replaced_ends(name: str, place: int) -> Iterator[int]:
    """Yield the places where a character that is not ASCII may end, as a server shows its bytes."""
    for _ in range(_LONGEST_CHARACTER_BYTES):
        found = _REPLACED.match(name, place)
        if found is None:
            return
        place = found.end()
        yield place


def _names_ascii_alone(text: str) -> bool:
    """Return whether every character of a glob's class is ASCII; one that is negated has others too.

    >>> _names_ascii_alone("[a-z]"), _names_ascii_alone("[eé]"), _names_ascii_alone("[!a]")
    (True, False, False)
    """
    return text.isascii() and not (text[1] == "!" and len(text) > 3)


def _is_of_class(text: str, character: str) -> bool:
    """Return whether a character is one of a glob's class.

    >>> [_is_of_class("[a-c_]", each) for each in "b_-"], [_is_of_class("[!a]", each) for each in "ab"]
    ([True, True, False], [False, True])
    >>> _is_of_class("[z-a]", "m"), _is_of_class("[]-]", "]")
    (False, True)
    """
    is_negated = text[1] == "!" and len(text) > 3
    ranges = _RANGES.findall(text[2 if is_negated else 1 : -1])
    is_listed = any(
        character == single if single else first <= character <= last for first, last, single in ranges
    )
    return is_listed != is_negated


@lru_cache(maxsize=1024)
def _readings_of(pattern: str) -> tuple[tuple[_Token, ...], ...]:
    """Return the pattern as a glob and, if it holds brackets, also with these as plain characters.

    An accent may be one character with its letter, or one of its own: both look the same to whoever types it.
    """
    forms = (pattern, normalize("NFC", pattern), normalize("NFD", pattern))
    readings = (tuple(_tokens(form, classes=classes)) for classes in (True, False) for form in forms)
    return tuple(dict.fromkeys(readings))


def _tokens(pattern: str, *, classes: bool) -> Iterator[_Token]:
    place = 0
    while place < len(pattern):
        found = _WILDCARD.match(pattern, place)
        if found is not None and (classes or found[1] is None):
            yield _Token(found[0], True)
            place = found.end()
        else:
            yield _Token(pattern[place], False)
            place += 1


def _forms_read(token: _Token) -> tuple[str, ...]:
    return (token.text,)


@lru_cache(maxsize=1024)
def _forms_shown(token: _Token) -> frozenset[str]:
    """Return what a server may show of a character of an application_name, sent in any encoding."""
    character = token.text
    if character.isascii() and character.isprintable():
        return frozenset({character})
    shown = {character}
    for variant in {character, character.lower(), character.upper()}:
        for codec in _CODECS:
            try:
                raw = variant.encode(codec, "surrogateescape")
            except UnicodeEncodeError:
                continue
            shown.add("".join(chr(byte) if 32 <= byte <= 126 else "?" for byte in raw))
            shown.add("".join(chr(byte) if 32 <= byte <= 126 else rf"\x{byte:02x}" for byte in raw))
    return frozenset(shown)


@lru_cache(maxsize=4096)
def _as_other_encodings(shown: str) -> tuple[str, ...]:
    """Return a name as every pair of encodings would have it: those it was created in, and is read in."""
    if shown.isascii():
        return (shown,)
    names = {shown}
    for read_in in _CODECS:
        try:
            raw = shown.encode(read_in)
        except UnicodeEncodeError:
            continue
        for created_in in _CODECS:
            try:
                names.add(raw.decode(created_in))
            except UnicodeDecodeError:
                continue
    return tuple(sorted(names))
