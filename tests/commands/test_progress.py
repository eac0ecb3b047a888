"""The progress of long work: one line on a terminal, which is gone at the end, and nothing elsewhere."""

import io
import sys

import pytest

from pgtop.commands import progress
from pgtop.commands.progress import Progress


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that a test sets, in seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_nothing_is_shown_of_quick_work(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("diagnosing") as shown:
        shown.at(0.1)
        clock.now += 0.9
        shown.at(0.9)
    assert terminal.getvalue() == ""


def test_longer_work_is_shown_and_removed(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("diagnosing") as shown:
        for fraction in shown.over([0.25, 0.5, 0.999, 7.0], lambda each: each):
            clock.now += 1.1 if fraction == 0.25 else 0.3
    assert terminal.getvalue().split("\r\x1b[K") == [
        "",
        "diagnosing: 50%",
        "diagnosing: 99%",
        "diagnosing: 100%",
        "",
    ]


def test_nothing_is_shown_without_a_terminal(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    for stream in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        with Progress("scrubbing") as shown:
            clock.now += 5
            shown.at(0.5)
        assert stream is None or stream.getvalue() == ""
