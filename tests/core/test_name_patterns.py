"""Globs for names: what a server shows of them, and names that a client chooses to make matching slow."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from pgtop.core.name_patterns import LONGEST_NAME_BYTES, is_application, is_identifier

characters = st.characters(exclude_categories=["Cs", "Cc"])
"""What a client may give: everything but control characters."""


def shown_before_16(name: str) -> str:
    """A name as 14 and 15 show it. Source: pg_clean_ascii and its callers up to 15."""
    raw = name.encode()[:LONGEST_NAME_BYTES]
    return "".join(chr(byte) if 32 <= byte <= 126 else "?" for byte in raw)


def shown_from_16(name: str) -> str:
    """A name as 16 and later show it."""
    raw = name.encode()[:LONGEST_NAME_BYTES]
    cleaned = "".join(chr(byte) if 32 <= byte <= 126 else rf"\x{byte:02x}" for byte in raw)
    return cleaned[:LONGEST_NAME_BYTES]


@given(st.text(characters, min_size=1, max_size=90))
def test_a_name_given_in_full_is_matched_however_it_is_shown(name: str) -> None:
    """Wildcards and brackets in it stand for themselves, too."""
    for shown in (shown_before_16(name), shown_from_16(name)):
        assert is_application(name, shown, protects=True)
        assert (
            is_application(name.upper(), shown_before_16(name.lower()), protects=True) or not name.isascii()
        )


@given(st.text(characters, min_size=1, max_size=40), st.text(characters, max_size=40))
def test_a_star_stands_for_the_rest(head: str, tail: str) -> None:
    for shown in (shown_before_16(head + tail), shown_from_16(head + tail)):
        assert is_application(f"{head}*", shown, protects=True)


def test_a_question_mark_stands_for_one_character_however_it_is_shown() -> None:
    for name in ("café-1", "cafe-1", "caf理-1", "caf🐘-1"):
        for shown in (shown_before_16(name), shown_from_16(name)):
            assert is_application("caf?-1", shown)
            assert is_application("caf[!x]-1", shown)
            assert is_application("caf[eé理🐘]-1", shown), "of a class, the server shows bytes too"
            assert not is_application("caf?1", shown)


def test_a_filter_matches_no_more_than_it_names() -> None:
    """Case counts, and a name that was cut is matched only by one given in full."""
    cut = "billing-" + "x" * 55
    assert len(cut) == LONGEST_NAME_BYTES
    assert is_application(cut + "and more", cut)
    assert not is_application("billing-*-worker", cut)
    assert is_application("billing-*-worker", cut, protects=True)
    assert not is_application(cut[:60] + "abc", cut[:60])
    assert not is_application("Billing-*", cut)
    assert not is_identifier("é*", "Ã©")
    assert is_identifier("é*", "Ã©", protects=True)


def test_no_name_of_a_clients_choice_makes_matching_slow() -> None:
    """Each would take for years if all ways to match were tried one after the other."""
    names = ("?" * 63, r"\xc3" * 15, "a" * 63)
    patterns = ("é" * 40, "経" * 60 + "x", "*a" * 30 + "b", "é?" * 30, "?" * 60 + "b", "*é" * 30 + "b")
    for pattern, name, protects in product(patterns, names, (False, True)):
        assert is_application(pattern, name, protects=protects) in (True, False)
