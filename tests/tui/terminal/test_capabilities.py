"""Kinds of terminals: what the program sends to each, byte by byte, and what stands there then."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from pgtop.demo.server import ThrowawayServer
from tests.servers import session
from tests.support.terminals import terminal

NO_UTF8: list[dict[str, str | None]] = [
    {"LC_ALL": "C"},
    {"LC_ALL": "POSIX", "LANG": None},
    {"LC_ALL": "en_US.ISO-8859-1"},
    {"LANG": "de_DE.ISO-8859-15"},
    {"LANG": None},
    {"LC_ALL": "", "LC_CTYPE": "C", "LANG": "en_US.UTF-8"},
    {"TERM": "dumb"},
]

UTF8: list[dict[str, str | None]] = [
    {"LANG": "en_US.UTF-8"},  # forwarded by SSH to a host that lacks it
    {"LANG": None, "LC_CTYPE": "C.UTF-8"},
    {"LANG": None, "LC_CTYPE": "UTF-8"},  # as a Mac forwards it
    {"LC_ALL": "C.utf8", "LANG": "C"},
]

COLOUR = re.compile(rb"\x1b\[(?:\d*;)*(?:3[0-9]|4[0-9]|9[0-7]|10[0-7])(?:;\d*)*m")


@pytest.mark.parametrize(
    "term", ["xterm-256color", "linux", "screen", "tmux", "vt100", "dumb", "no-such", None]
)
async def test_it_draws_and_takes_keys_whatever_the_terminal_is_called(
    server: ThrowawayServer, tmp_path: Path, term: str | None
) -> None:
    with terminal(server, tmp_path, environment={"TERM": term}) as opened:
        opened.shows("below the 80% line")
        opened.press(b"?")
        opened.shows("PgUp PgDn")
        opened.press(b"\x1b")
        opened.until(lambda screen: "PgUp PgDn" not in screen, "the help still")
        opened.press(b"q")
        assert opened.ends() == 0
    assert b"Traceback" not in opened.raw
    has_title = term in ("xterm-256color", "screen", "tmux", "no-such")
    for sequence in (b"\x1b]2;", b"\x1b[22;0t", b"\x1b[23;0t"):
        assert (sequence in opened.raw) is has_title


async def test_without_utf8_every_byte_is_ascii(server: ThrowawayServer, tmp_path: Path) -> None:
    """Through help, palette, dialog and detail, with a statement in Chinese and a name with an umlaut."""
    async with session(server, application_name="victim") as one:
        await one.execute("SELECT 'Zürich 東京 → ▕'")
        with terminal(server, tmp_path, environment=NO_UTF8[0], size=(160, 40)) as opened:
            screen = opened.shows("Z?rich ????")
            assert "+" not in screen.splitlines()[0]
            assert "* live" in screen
            assert re.search(r"slots \| \d+% \| below the 80% line +\[[#=-]*\.+\|\.+\]", screen)
            for key, word in (
                (b"?", "^ v j k"),
                (b"\x10", "/  Search"),
                (b"K", "Terminate 1 selected"),
                (b"\r", "session began"),
            ):
                opened.press(key)
                opened.shows(word)
                opened.press(b"\x1b")
                opened.until(lambda screen, word=word: word not in screen, f"{word} still")
            opened.press(b"q")
            assert opened.ends() == 0
    assert opened.raw.isascii(), re.findall(rb"[^\x00-\x7f]+", opened.raw)[:5]
    assert b"Traceback" not in opened.raw


@pytest.mark.parametrize("environment", NO_UTF8[1:], ids=str)
async def test_each_way_to_have_no_utf8_is_known(
    server: ThrowawayServer, tmp_path: Path, environment: Mapping[str, str | None]
) -> None:
    async with session(server, application_name="victim") as one:
        await one.execute("SELECT 'Zürich 東京 → ▕'")
        with terminal(server, tmp_path, environment=environment, size=(160, 40)) as opened:
            assert "* live" in opened.shows("Z?rich ????")
            opened.press(b"q")
            assert opened.ends() == 0
    assert opened.raw.isascii(), re.findall(rb"[^\x00-\x7f]+", opened.raw)[:5]


@pytest.mark.parametrize("environment", UTF8, ids=str)
async def test_the_name_of_the_locale_tells_of_utf8(
    server: ThrowawayServer, tmp_path: Path, environment: Mapping[str, str | None]
) -> None:
    """Also where that locale is not installed, as on a host that SSH forwards it to."""
    with terminal(server, tmp_path, environment=environment) as opened:
        opened.shows("● live")


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
async def test_no_colour_is_asked_for_where_none_is_wanted(
    server: ThrowawayServer, tmp_path: Path, environment: Mapping[str, str | None]
) -> None:
    """Neither a grey nor the terminal's own; the cursor, the focus and an alarm are seen all the same."""
    async with session(server, application_name="victim") as one:
        await one.execute("SELECT 1")
        with terminal(server, tmp_path, environment=environment) as opened:
            opened.shows("victim")
            (cursor,) = opened.reversed_lines()
            assert "SELECT 1" in cursor
            for key, word in ((b"?", "j k"), (b"\x10", "Search"), (b"K", "Terminate 1 selected")):
                opened.press(key)
                opened.shows(word)
                opened.press(b"\x1b")
                opened.until(lambda screen, word=word: word not in screen, f"{word} still")
            opened.press(b"q")
            assert opened.ends() == 0
    assert not COLOUR.findall(opened.raw), COLOUR.findall(opened.raw)[:9]


async def test_an_empty_no_color_is_none(server: ThrowawayServer, tmp_path: Path) -> None:
    """As the convention has it; this also shows that the pattern above finds colours."""
    with terminal(server, tmp_path, environment={"NO_COLOR": ""}) as opened:
        opened.shows("below the 80% line")
    assert COLOUR.findall(opened.raw)
