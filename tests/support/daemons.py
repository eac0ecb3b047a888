"""`pgtop reap --watch` as a process."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgtop.demo.server import ThrowawayServer
from tests.servers import fetch_value, wait_until
from tests.support.audit_logs import audited
from tests.support.running import LIMIT_SECONDS, command, environment

FAST = ("--interval", "200ms", "--every", "1s", "--idle-after", "1s", "--warn-at", "0.05")
"""The line is at one of 20 slots, which is the daemon's own: whoever else goes stale is ended."""


def fill(writing: int) -> int:
    """Write to a pipe until it takes no more, and return the number of bytes."""
    os.set_blocking(writing, False)
    number = 0
    with suppress(BlockingIOError):
        while True:
            number += os.write(writing, b"." * 512)
    os.set_blocking(writing, True)
    return number


@dataclass
class Watch:
    """A daemon at work."""

    process: "subprocess.Popen[bytes]"
    home: Path

    @property
    def log(self) -> str:
        """All it has said so far."""
        return (self.home / "log").read_text(encoding="utf-8")

    async def says(self, *words: str, times: int = 1) -> None:
        """Waits until it has said all the words, one of them so many times."""

        def said() -> bool:
            return all(self.log.count(word) >= times for word in words)

        try:
            await wait_until(said, LIMIT_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"no {words} in:\n{self.log}") from error

    def events(self) -> list[dict[str, Any]]:
        """Its log as JSON lines."""
        return [json.loads(line) for line in self.log.splitlines()]

    def audited(self) -> list[dict[str, Any]]:
        """The audit log's lines."""
        return audited(self.home / "audit.jsonl")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and waits; gives the exit status."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT_SECONDS)


@contextmanager
def watching(home: Path, conninfo: str, *arguments: str, **variables: str) -> Iterator[Watch]:
    """A daemon that is killed at the end of the block, whatever became of it."""
    home.mkdir(exist_ok=True)
    line = command("reap", conninfo, "--watch", "--audit-log", str(home / "audit.jsonl"), *arguments)
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            line,
            env=environment(home, **variables),
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    with process:
        try:
            yield Watch(process, home)
        finally:
            process.kill()


async def gone(server: ThrowawayServer, name: str) -> None:
    """Waits until no session of that application is left."""

    async def none() -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"
        return await fetch_value(server, query, name) == 0

    await wait_until(none, LIMIT_SECONDS, f"{name} is still there")


@contextmanager
def free_port() -> Iterator[int]:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]
