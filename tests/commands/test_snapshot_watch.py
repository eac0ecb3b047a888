"""`pgtop snapshot --watch` on real servers: its lines, an outage, and its end."""

import array
import fcntl
import json
import os
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pgtop.commands.snapshot.watch_lines import TextLines
from pgtop.core.activity import MICROSECONDS
from pgtop.core.outage import Outage, OutageKind
from pgtop.core.text import clock
from pgtop.demo.server import ThrowawayServer
from tests.builders import snapshot
from tests.servers import create_role, sessions, wait_until
from tests.support.running import LIMIT_SECONDS, assert_one_line, run, start
from tests.support.targets import stopped
from tests.support.terminals import no_slot_left

FAST = ("--interval", "200ms")


@dataclass
class Watched:
    """A watch at work."""

    process: "subprocess.Popen[bytes]"
    path: Path

    @property
    def lines(self) -> list[str]:
        """All that it has printed, without the end of a line that is under way."""
        return self.path.read_text(encoding="utf-8").split("\n")[:-1]

    def count(self, word: str) -> int:
        """Return the number of lines that hold a word."""
        return sum(word in line for line in self.lines)

    async def says(self, *words: str, times: int = 1) -> None:
        """Wait until that many lines hold all the words."""

        def said() -> bool:
            return sum(all(word in line for word in words) for line in self.lines) >= times

        await wait_until(said, LIMIT_SECONDS, f"no {words} in {self.lines}")

    def end(self, number: signal.Signals) -> int:
        """Send a signal, and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT_SECONDS)


@contextmanager
def watching(home: Path, server: ThrowawayServer, *arguments: str) -> Iterator[Watched]:
    path = home / "out"
    words = ("snapshot", server.uri(), "--watch", *FAST, *arguments)
    with path.open("wb") as out, start(home, *words, stdout=out) as process:
        yield Watched(process, path)


async def test_each_poll_is_a_line_that_says_what_is_new(small: ThrowawayServer, tmp_path: Path) -> None:
    """Figures in each; state, counts and verdict when they change; an outage once."""
    with watching(tmp_path, small) as watched:
        await watched.says(" of 20 slots · ", times=4)
        assert [watched.count(word) for word in ("below the 80% line", "PostgreSQL", "idle")] == [1, 1, 1]
        async with AsyncExitStack() as stack:
            with stopped(watched.process.pid):  # or it might see the line crossed before all are there
                await stack.enter_async_context(sessions(small, 17, application_name="web"))
            await watched.says("over the 80% line", "17 idle")
            seen = len(watched.lines)
            await watched.says(" of 20 slots · ", times=seen + 3)
            assert [watched.count(word) for word in ("over the 80% line", "17 idle", "web")] == [1, 1, 1]
        await watched.says("below the 80% line", "no cause found any more")
        small.stop()
        await watched.says("no data: ")
        small.start()
        await watched.says("was restarted at")
        await watched.says("connected again after ", " slots · 5% · below the 80% line · 0 idle · 1 active")
        assert watched.end(signal.SIGINT) == 130
    assert all(line.isprintable() and line[2] == line[5] == ":" for line in watched.lines)
    causes = [line.partition("no data: ")[2] for line in watched.lines if "no data: " in line]
    assert len(set(causes)) == len(causes)
    await no_slot_left(small)


async def test_each_line_is_an_object_with_json(small: ThrowawayServer, tmp_path: Path) -> None:
    """The same as without --watch; an outage has its reason and its time."""
    with watching(tmp_path, small, "--json") as watched:
        await watched.says('"usage"', times=2)
        small.stop()
        await watched.says('"outage"')
        small.start()
        await watched.says('"usage"', times=4)
        assert watched.end(signal.SIGTERM) == 0
    objects = [json.loads(line) for line in watched.lines]
    alone = json.loads(run(tmp_path, "snapshot", small.uri(), "--json").stdout)
    assert objects[0].keys() == objects[-1].keys() == alone.keys()
    first = next(each for each in objects if "outage" in each)
    assert first.keys() == {"schema", "outage", "at"}
    assert first["outage"].keys() == {"kind", "message"}


async def test_a_reader_that_leaves_in_an_outage_ends_it(small: ThrowawayServer, tmp_path: Path) -> None:
    """Nothing is written meanwhile that would fail."""
    reading, writing = os.pipe()
    with start(tmp_path, "snapshot", small.uri(), "--watch", *FAST, stdout=writing) as process:
        os.close(writing)
        with os.fdopen(reading) as out:
            assert "PostgreSQL" in out.readline()
            small.stop()
            assert any("no data" in line for line in out)
        assert process.wait(LIMIT_SECONDS) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


async def test_a_reader_that_stands_still_does_not_keep_it(small: ThrowawayServer, tmp_path: Path) -> None:
    """SIGTERM ends it in the middle of a line that the pipe does not take, and the connection goes back."""
    reading, writing = os.pipe()
    room = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    words = ("snapshot", small.uri(), "--watch", "--json", *FAST)
    async with sessions(small, 15):  # a line of more bytes than the pipe has room for
        with start(tmp_path, *words, stdout=writing) as process:
            await wait_until(lambda: waiting_bytes(reading) >= room, LIMIT_SECONDS)
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT_SECONDS) == 0
    await no_slot_left(small)
    os.close(reading)
    os.close(writing)


def waiting_bytes(pipe: int) -> int:
    """Return the number of bytes that a pipe holds."""
    number = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, number)
    return number[0]


async def test_a_full_server_is_waited_for_and_a_wrong_role_is_not(
    small: ThrowawayServer, tmp_path: Path
) -> None:
    await create_role(small, name="app")
    uri = small.uri(user="app")
    async with sessions(small, 20, user="app"):
        path = tmp_path / "out"
        with path.open("wb") as out, start(tmp_path, "snapshot", uri, "--watch", *FAST, stdout=out) as one:
            watched = Watched(one, path)
            await watched.says("no data: ", "full")
            assert watched.end(signal.SIGTERM) == 0
    done = run(tmp_path, "snapshot", small.uri(user="nobody_here"), "--watch")
    assert_one_line(done, 3, "nobody_here")


def test_an_outage_is_timed_whatever_this_hosts_clock_says() -> None:
    """The server's clock is an hour ahead: the outage begins by that clock, and does not last an hour."""
    seen = snapshot(taken_at=(time.time_ns() // 1000) + 3_600 * MICROSECONDS)
    lines = TextLines(0.8)
    lines.polled(seen, ())
    lost = lines.outage(Outage(OutageKind.LOST, "gone"))
    assert lost[:8] in {clock(seen.taken_at), clock(seen.taken_at + MICROSECONDS)}
    assert "connected again after 0s" in lines.polled(seen, ())
