"""Text that reaches a terminal is safe there, takes the cells it is said to take; figures never flatter."""

import math
import unicodedata
from datetime import UTC, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from pgtop.core.text import (
    MARK,
    ago,
    cell_width,
    clip,
    clock,
    duration,
    filled,
    fit,
    folded,
    parse_duration,
    percent,
    plural,
    printable,
    printable_lines,
)

# Surrogates too, and the characters that do harm more often than chance would bring them.
HOSTILE = (
    "\x00\x07\x1b\x7f\x85\x9b\xa0\xad\u0301\u034f\u0489\u115f\u200b\u200d\u202e\u2028\u2066"
    "\u20e3\ufe0f\ufeff\U000e0041日👍🇩🏽"
)
texts = st.text(st.one_of(st.sampled_from(HOSTILE + " \n\ta1"), st.characters(codec=None)), max_size=60)


@given(texts)
@example("a" + "\u0301" * 50)
@example("\ud800")
def test_no_unprintable_character_passes(text: str) -> None:
    for shown in (printable(text), *printable_lines(text)):
        assert shown.isprintable()


@given(texts)
def test_the_width_is_the_one_that_rich_measures(text: str) -> None:
    shown = printable(text)
    assert cell_width(shown) == cell_len(shown)


def test_every_single_character_has_the_width_that_rich_measures() -> None:
    odd = [
        hex(code)
        for code in range(0x110000)
        if cell_width(shown := printable(f"a{chr(code)}b")) != cell_len(shown) or not shown.isprintable()
    ]
    assert odd == []


@given(texts)
def test_showing_twice_is_showing_once(text: str) -> None:
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2Jx", "·[2Jx"),
        ("\x1b]52;c;aGk=\x07", "·]52;c;aGk=·"),
        ("\x9b31m", "·31m"),
        ("a\u202eb\u2066c", "a·b·c"),
        ("a\u200bb\ufeffc", "a·b·c"),
        ("web\U000e0041", "web·"),
        ("❤\ufe0f", "❤·"),
        ("👨\u200d👩", "👨·👩"),
        ("👍🏽", "👍·"),
        ("1\ufe0f\u20e3", "1··"),
        ("\ue000", "·"),
        ("\ud83d", "·"),
        ("\u3164", "·"),
        ("\u3248", "·"),
    ],
)
def test_an_unprintable_character_leaves_a_mark(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown


@pytest.mark.parametrize(
    "word", ["Zürich", "naïve", "日本語", "한국어", "Đặng", "ไทยที่", "Ελλάδα", "👍", "│┃█"]
)
def test_ordinary_words_stay_themselves(word: str) -> None:
    assert printable(word) == word
    assert printable(unicodedata.normalize("NFD", word)) == unicodedata.normalize("NFC", word)


def test_combining_marks_are_bounded_and_need_a_letter() -> None:
    piled = printable("z" + "\u0335" * 40)
    assert piled.count("\u0335") == 2
    assert printable("\u0335x") == MARK + "x"
    assert printable("a \u0335x") == f"a {MARK}x"
    assert printable("\x1b\u0335") == MARK * 2


def test_blanks_collapse_and_a_line_break_may_have_a_sign_of_its_own() -> None:
    assert printable("  SELECT 1\n\n\t FROM\u3000t \r\n") == "SELECT 1 FROM t"
    assert printable(" SELECT 1\n\n\t FROM  t\n", newline=" ⏎ ") == "SELECT 1 ⏎ FROM t"
    assert printable(None) == printable("") == ""


def test_lines_keep_their_indentation() -> None:
    assert printable_lines("a\r\n\tb\n\n  c\x1b \u2028d\n\n") == ["a", "    b", "", "  c·", "d"]
    assert printable_lines(None) == printable_lines("") == printable_lines("\n") == []


@given(texts.map(printable), st.integers(-3, 30), st.sampled_from(["…", "", "..."]))
@example("日本", 3, "…")
def test_clipped_text_never_exceeds_its_width(text: str, width: int, ellipsis: str) -> None:
    clipped = clip(text, width, ellipsis)
    assert cell_width(clipped) <= max(0, width)
    assert clipped == text or cell_width(text) > width


words = st.lists(st.text(alphabet="ab.", min_size=1, max_size=12), min_size=1, max_size=30).map(" ".join)


@given(words, st.integers(1, 60))
def test_folding_takes_no_line_more_than_filling(text: str, width: int) -> None:
    """It moves words down so that none stands alone in the last line, and loses, cuts and adds nothing."""
    lines, greedy = folded(text, width), filled(text, width)
    assert len(lines) == len(greedy)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert cell_len(lines[-1]) >= cell_len(greedy[-1])
    if all(len(word) <= width for word in text.split()):
        assert " ".join(lines) == text


@pytest.mark.parametrize("width", range(20, 100))
def test_no_word_stands_alone_in_the_last_of_several_lines(width: int) -> None:
    """Wherever a word of the lines above it can come down to it."""
    lines = folded("Never: active sessions, pgtop's own, superusers' (unless pgtop is one), LISTEN", width)
    assert len(lines) == 1 or " " in lines[-1]


@given(texts.map(printable), st.integers(0, 30), st.sampled_from(["left", "right"]))
def test_fitted_text_has_exactly_its_width(text: str, width: int, align: str) -> None:
    assert cell_len(fit(text, width, "right" if align == "right" else "left")) == width


def test_clipping_says_that_it_did() -> None:
    assert clip("leaky-worker", 12) == "leaky-worker"
    assert clip("leaky-worker", 6) == "leaky…"
    assert clip("日本語", 4) == "日…"
    assert clip("abc", 1) == "…"
    assert clip("abc", 2, "...") == "ab"
    assert fit("44", 5, "right") == "   44"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, ""),
        (math.nan, ""),
        (-5, "0s"),
        (3.99, "3s"),
        (59.9, "59s"),
        (60, "1m 00s"),
        (542, "9m 02s"),
        (599.9, "9m 59s"),
        (600, "10m"),
        (3599, "59m"),
        (7500, "2h 05m"),
        (86_399, "23h 59m"),
        (273_600, "3d 04h"),
        (86_400 * 100, "100d"),
        (math.inf, "999999d"),
    ],
)
def test_ages_read_as_the_design_has_them(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


@given(st.floats())
def test_an_age_takes_seven_cells_at_most(seconds: float) -> None:
    assert len(duration(seconds)) <= 7


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300", 300),
        ("300s", 300),
        ("5m", 300),
        ("5min", 300),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("2d", 172_800),
        (" 5 min ", 300),
        (".5s", 0.5),
        ("0", 0),
        ("3650d", 315_360_000),
    ],
)
def test_durations_that_are_accepted(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", " ", "-5", "+5", "nan", "inf", "1e3", "5x", "m", "5 m 3", "5M", "1.", "٣", "1_0", "5min\x1b[2J"],
)
def test_a_bad_duration_says_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match="ms, s, m, min, h or d") as raised:
        parse_duration(text)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("text", ["3651d", "9" * 15, "99999999h"])
def test_a_huge_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="3650d is the longest"):
        parse_duration(text)


@given(texts)
def test_a_duration_is_a_finite_number_or_a_value_error(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 <= seconds < math.inf


@given(st.integers(1, 262_143), st.data())
def test_percent_never_promises_more_than_there_is(slots: int, data: st.DataObject) -> None:
    used = data.draw(st.integers(0, 2 * slots))
    assert percent(used / slots) == f"{used * 100 // slots}%"


def test_percent_is_not_fooled_by_binary_fractions() -> None:
    assert percent(29 / 100) == "29%"
    assert percent(57 / 100) == "57%"


def test_numbers_with_their_nouns() -> None:
    assert plural(0, "session") == "0 sessions"
    assert plural(1, "session") == "1 session"
    assert plural(2, "query", "queries") == "2 queries"


def test_the_time_of_day_is_that_of_the_zone() -> None:
    at = 43_471_900_000
    assert clock(at, UTC) == "12:04:31"
    assert clock(at, timezone(timedelta(hours=5, minutes=30))) == "17:34:31"
    assert clock(at, UTC, seconds=False) == "12:04"


def test_a_time_ago_in_words() -> None:
    assert ago(None) == ""
    assert ago(0.9) == "just now"
    assert ago(65) == "1m 05s ago"
