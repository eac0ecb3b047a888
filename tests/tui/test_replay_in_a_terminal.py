"""The player in a terminal of its own, from its start to its end."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgtop.core.activity import MICROSECONDS
from pgtop.core.alerts import Alert
from pgtop.core.recorded import AlertRaised
from pgtop.exit_codes import ExitCode
from tests.builders import NOW, backend, snapshot
from tests.support.recordings import recorded, seen
from tests.support.terminals import Terminal, environment_of


@contextmanager
def replay(root: Path, *arguments: str, **changed: str) -> Iterator[Terminal]:
    """`pgtop replay` on a recording of forty polls, in a terminal."""
    polls = [
        seen(
            snapshot(
                *(backend(100 + n, application_name="web") for n in range(10 + number)),
                taken_at=NOW + number * 2 * MICROSECONDS,
            )
        )
        for number in range(40)
    ]
    files = recorded(root / "recordings", polls, [AlertRaised(NOW + 20 * MICROSECONDS, Alert.OVER)])
    command = [sys.executable, "-m", "pgtop", "replay", str(files[0]), *arguments]
    opened = Terminal(command, environment_of(root, {"TZ": "UTC", **changed}))
    try:
        yield opened
    finally:
        opened.close()


def test_a_walk_through_a_recording(tmp_path: Path) -> None:
    """Each key as a terminal sends it; at the end the terminal is as before."""
    with replay(tmp_path) as terminal:
        terminal.shows("poll 40 of 40")
        terminal.press(b"\x1b[H")
        terminal.shows("poll 1 of 40")
        terminal.press(b"\x1b[C\x1b[C")
        terminal.shows("poll 3 of 40")
        terminal.press(b"\x1b[D")
        terminal.shows("poll 2 of 40")
        terminal.press(b".")
        terminal.shows("over the 80% line")
        terminal.shows("poll 11 of 40")
        terminal.press(b"]")
        terminal.shows("poll 40 of 40")
        terminal.press(b"t")
        terminal.shows("go to 03:12, 03:12:30")
        terminal.press(b"22:13:40\r")
        terminal.shows("2023-11-14 22:13:40  paused  poll 11 of 40")
        terminal.press(b"K")
        terminal.shows("this is a recording: nothing can be terminated or cancelled")
        terminal.press(b"\r")
        terminal.shows("locks: not recorded")
        screen = terminal.shows("REPLAY")
        assert "live ─" not in screen
        terminal.press(b"q")
        terminal.press(b"+++++p")
        terminal.shows("the end of the recording")
        terminal.press(b"w")
        terminal.shows("REPLAY")
        terminal.press(b"q")
        assert terminal.ends() == ExitCode.DONE


def test_at_begins_at_that_time(tmp_path: Path) -> None:
    with replay(tmp_path, "--at", "22:14") as terminal:
        terminal.shows("2023-11-14 22:14:00  paused  poll 21 of 40")


def test_an_ascii_terminal_has_the_banner_and_the_cursor(tmp_path: Path) -> None:
    with replay(tmp_path, "--at", "22:14", LANG="C", LC_ALL="C") as terminal:
        screen = terminal.shows("< REPLAY  2023-11-14 22:14:00")
        assert screen.isascii()
        assert "* live" not in screen
        assert "^" in screen


def test_without_colour_the_banner_is_reversed(tmp_path: Path) -> None:
    with replay(tmp_path, NO_COLOR="1") as terminal:
        terminal.shows("REPLAY")
        assert any("REPLAY" in line for line in terminal.reversed_lines())
