"""JSON that is shown holds no character that a terminal obeys, however many different ones it was given."""

import json
import sys
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtop.core.json_text import cut, json_line
from pgtop.core.plan import LONGEST_QUERY_BYTES


@cache
def every_unprintable() -> str:
    """All of them but the halves of surrogate pairs, which no text of a server's can hold."""
    return "".join(
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if not character.isprintable() and not "\ud800" <= character <= "\udfff"
    )


def test_every_unprintable_character_at_once_is_escaped() -> None:
    """In a time that grows with the text alone: one pass for each of them would take hours."""
    assert len(every_unprintable()) > 900_000
    value = {"query": f"SELECT 'é日' --{every_unprintable()}", "usename": "経理"}
    line = json_line(value)
    assert line.removesuffix("\n").isprintable()
    assert json.loads(line) == value
    assert "é日" in line
    assert "経理" in line


def written(text: str) -> int:
    """How many bytes a text takes in a line, without its quotes."""
    return len(json_line(text).encode().removesuffix(b"\n")) - 2


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(3, 40))
def test_a_text_is_cut_by_what_it_takes_when_it_is_written(text: str, most: int) -> None:
    """To as much of it as there is room for, with a sign that there was more."""
    found = cut(text, most)
    if written(text) <= most:
        assert found == text
    else:
        assert found.endswith("…")
        kept = found.removesuffix("…")
        assert text.startswith(kept)
        assert written(found) <= most < written(text[: len(kept) + 1] + "…")


ONE_BYTE = ("\x01", "\x7f", "\x9b", "\u200e", "\ufffd", '"', "\\")


@pytest.mark.parametrize(("character", "size"), [*((each, 1) for each in ONE_BYTE), ("\U000e0001", 4)])
def test_a_statement_of_the_default_length_is_never_cut(character: str, size: int) -> None:
    """1,023 bytes; `size` is how many of them the character has where it has fewest, be that in LATIN1."""
    statement = character * (1023 // size)
    assert cut(statement, LONGEST_QUERY_BYTES) == statement
