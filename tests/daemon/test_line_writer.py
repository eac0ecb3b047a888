"""Lines get to their reader in order, and whoever writes them waits for none."""

import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from pgtop.daemon.line_writer import MOST_WAITING_BYTES, LineWriter
from tests.servers import wait_until_sync
from tests.support.daemons import fill

LINES = [f"line {number}\n" for number in range(1000)]


def gap(number: int) -> str:
    """Stands for lines that were left out."""
    return f"{number} left out\n"


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends; the reading one may be closed before."""
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        for end in (reading, writing):
            with suppress(OSError):
                os.close(end)


def read(reading: int, number: int) -> str:
    """So many bytes."""
    found = b""
    while len(found) < number:
        found += os.read(reading, number - len(found))
    return found.decode()


@pytest.mark.parametrize("blocks", [True, False])
def test_lines_come_whole_and_in_order(blocks: bool) -> None:
    """Also where whoever shares the descriptor made it one that does not block; none is lost at the end."""
    with pipe() as (reading, writing):
        filled = fill(writing)
        os.set_blocking(writing, blocks)
        writer = LineWriter(writing, "utf-8", gap)
        for line in LINES:
            writer.write(line)
        closing = threading.Thread(target=writer.close, args=(60,))
        closing.start()
        read(reading, filled)
        assert read(reading, len("".join(LINES))) == "".join(LINES)
        closing.join()
        assert writer.lost == 0


def test_lines_without_room_are_counted_and_marked() -> None:
    with pipe() as (reading, writing):
        filled = fill(writing)
        writer = LineWriter(writing, "utf-8", gap, most_bytes=len(LINES[0]) * 3)
        for line in LINES[:8]:
            writer.write(line)
        assert writer.lost == 5
        read(reading, filled)
        kept = "".join(LINES[:3])
        assert read(reading, len(kept)) == kept
        writer.deliver("\n", 10)
        writer.write("later\n")
        writer.close()
        told = gap(5) + "\nlater\n"
        assert read(reading, len(told)) == told


@contextmanager
def reader(reading: int) -> Iterator[list[bytes]]:
    """Reads all there is, in a thread; whole when the block is left, in which the other end was closed."""
    found: list[bytes] = []

    def take() -> None:
        while part := os.read(reading, 65_536):
            found.append(part)

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield found
    finally:
        thread.join()


def test_text_that_must_be_read_is_delivered_at_any_length() -> None:
    """More than may wait, twice, as the attempts and the outcomes of a large plan are."""
    attempts, outcomes = ("a" * 3 * MOST_WAITING_BYTES + "\n", "o" * 3 * MOST_WAITING_BYTES + "\n")
    with pipe() as (reading, writing), reader(reading) as found:
        writer = LineWriter(writing, "utf-8", gap)
        writer.deliver(attempts, 60)
        writer.write("a line\n")
        writer.deliver(outcomes, 60)
        writer.close()
        os.close(writing)
    assert b"".join(found).decode() == attempts + "a line\n" + outcomes
    assert writer.lost == 0


def is_waiting(thread: threading.Thread) -> bool:
    """Whether a thread waits for another."""
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and frame.f_code.co_filename == threading.__file__


def test_text_that_must_be_read_waits_for_room() -> None:
    """A reader that reads late gets it; what else would wait meanwhile is left out, and told of."""
    waiting = "".join(LINES[:3])
    with pipe() as (reading, writing):
        filled = fill(writing)
        writer = LineWriter(writing, "utf-8", gap, most_bytes=len(waiting))
        for line in LINES[:3]:
            writer.write(line)
        errors: list[OSError] = []

        def deliver() -> None:
            try:
                writer.deliver("this has to be read\n", 60)
            except OSError as error:
                errors.append(error)

        delivering = threading.Thread(target=deliver)
        delivering.start()
        wait_until_sync(lambda: not delivering.is_alive() or is_waiting(delivering))
        writer.write("left out\n")
        read(reading, filled)
        told = waiting + gap(1) + "this has to be read\n"
        assert read(reading, len(told)) == told
        delivering.join()
        assert errors == []
        writer.close()


def test_text_that_finds_no_room_in_time_is_reported() -> None:
    """And is not written later: whoever was told so has given up what it was to tell of."""
    with pipe() as (reading, writing):
        filled = fill(writing)
        writer = LineWriter(writing, "utf-8", gap, most_bytes=len(LINES[0]))
        writer.write(LINES[0])
        with pytest.raises(OSError, match="its reader does not read") as raised:
            writer.deliver("this has to be read\n", 0.1)
        assert raised.value.errno == errno.ETIMEDOUT
        read(reading, filled)
        with reader(reading) as found:
            writer.close()
            os.close(writing)
    assert b"".join(found).decode() == LINES[0]


def test_a_reader_that_stands_still_keeps_nobody_at_the_end() -> None:
    with pipe() as (reading, writing):
        fill(writing)
        writer = LineWriter(writing, "utf-8", gap)
        writer.write("never read\n")
        with pytest.raises(OSError, match="its reader does not read") as raised:
            writer.deliver("neither\n", 0.1)
        assert raised.value.errno == errno.ETIMEDOUT
        writer.close(0.1)
        os.close(reading)
        writer.close()  # else its thread would write into another test's pipe of the same number


def test_a_reader_that_has_left_is_told_to_who_has_to_know() -> None:
    with pipe() as (reading, writing):
        os.close(reading)
        writer = LineWriter(writing, "utf-8", gap)
        writer.write("to nobody\n")
        with pytest.raises(BrokenPipeError):
            writer.deliver("this has to be read\n", 60)
        assert writer.lost == 2
        writer.close()
