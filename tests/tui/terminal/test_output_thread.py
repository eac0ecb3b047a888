"""Bytes on their way to a terminal."""

import os
from collections.abc import Iterator

import pytest

from pgtop.tui.terminal import output_thread as output
from pgtop.tui.terminal.output_thread import Output
from tests.servers import wait_until_sync


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A descriptor to read from, and one to write to."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_thread_that_did_not_run_for_a_while_catches_up(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that stood still must not leave a screen that nobody paints any more."""
    source, target = pipe
    told: list[str] = []
    out = Output(target, lambda: told.append("caught up"), lambda: told.append("lost"))
    out.write(b"old")  # its thread does not run yet
    with monkeypatch.context() as patched:
        patched.setattr(output, "PATIENCE_SECONDS", -1.0)
        out.write(b"new")
    out.start()
    wait_until_sync(lambda: told == ["caught up"], 10, "nobody asks for the whole screen")
    out.write(b"whole")
    out.close(10)
    assert os.read(source, 100) == b"whole"
