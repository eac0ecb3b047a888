"""The title of the terminal's window: the server and its usage, and afterwards the title of before."""

import re
import sys
from itertools import pairwise
from pathlib import Path

from pgtop.demo.server import ThrowawayServer
from tests.servers import sessions
from tests.support.config_files import write_config
from tests.support.terminals import Terminal, command_of, environment_of

KEPT, RESTORED = b"\x1b[22;0t", b"\x1b]2;\x07\x1b[23;0t"
TITLE = re.compile(rb"\x1b\]2;([^\x07]+)\x07")
NAMED = [sys.executable, "-m", "pgtop", "--interval", "0.2"]
CRASHING = """
import sys
from pgtop.commands.main import main
from pgtop.tui.dashboard import DashboardScreen

def tick(self):
    raise RuntimeError("a mistake in the program")

DashboardScreen.tick = tick
main()
"""


def titles_of(opened: Terminal) -> list[str]:
    """The titles in the order in which they were set."""
    return [title.decode() for title in TITLE.findall(opened.raw)]


def usages_of(opened: Terminal) -> list[int]:
    """The usages in percent in the titles of the server named prod."""
    found = (re.fullmatch(r"pgtop prod (\d+)%", title) for title in titles_of(opened))
    return [int(match[1]) for match in found if match is not None]


def is_restored(opened: Terminal) -> bool:
    """True if the title of before was kept once, first of all, and came back once at the end."""
    raw = opened.raw
    first, last = raw.index(KEPT), raw.index(RESTORED)
    return (
        raw.count(KEPT) == raw.count(b"\x1b[23;0t") == 1
        and first < raw.index(b"\x1b]2;")
        and raw.rindex(b"\x1b]2;") == last
    )


async def test_the_title_names_the_server_and_follows_its_usage(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """It is sent only when it is another one."""
    write_config(tmp_path, f'[servers.prod]\nconninfo = "{server.uri()}"\ncolor = "red"\n')
    opened = Terminal([*NAMED, "@prod"], environment_of(tmp_path))
    try:
        opened.shows(" prod  postgres@postgres ")
        opened.until(lambda _: bool(usages_of(opened)), "no title")
        before = usages_of(opened)[-1]  # another session may be there, too
        async with sessions(server, 9):
            opened.until(lambda _: usages_of(opened)[-1] >= before + 8, "no other title")
        opened.press(b"q")
        assert opened.ends() == 0
        titles = titles_of(opened)
        assert all(one != other for one, other in pairwise(titles)), titles
        assert is_restored(opened)
    finally:
        opened.close()


async def test_no_name_ends_the_titles_sequence(server: ThrowawayServer, tmp_path: Path) -> None:
    name = "pr\x1b]2;owned\x07\x9b31mod" + "x" * 200
    quoted = name.replace("\x1b", "\\u001b").replace("\x07", "\\u0007").replace("\x9b", "\\u009b")
    write_config(tmp_path, f'[servers."{quoted}"]\nconninfo = "{server.uri()}"\n')
    opened = Terminal([*NAMED, f"@{name}", "--wall"], environment_of(tmp_path))
    try:
        opened.shows("w tables")
        opened.press(b"w")
        opened.shows("pr·]2;owned··31mod")
        opened.press(b"q")
        assert opened.ends() == 0
        assert titles_of(opened)
        for title in titles_of(opened):
            assert title.startswith("pgtop pr·]2;owned··31mod")
            assert len(title) <= 80
    finally:
        opened.close()


async def test_the_title_of_before_is_back_after_a_crash(server: ThrowawayServer, tmp_path: Path) -> None:
    opened = Terminal([sys.executable, "-c", CRASHING, *command_of(server)[3:]], environment_of(tmp_path))
    try:
        assert opened.ends() == 1
        assert b"a mistake in the program" in opened.raw
        assert titles_of(opened)
        assert is_restored(opened)
    finally:
        opened.close()
