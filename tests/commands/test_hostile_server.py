"""Answers that only a broken or hostile server gives, as commands meet them: one line, bounded memory."""

import asyncio
import base64
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgtop.demo.server import ThrowawayServer
from tests.support.daemons import watching
from tests.support.hostile import (
    AUTHENTICATED,
    LONG_ROW,
    POLLS,
    READY,
    data_row,
    fields,
    for_ever,
    honest,
    hostile_relay,
    lengthened,
    listening,
    message,
    parameter,
    rewriting,
    startup,
)
from tests.support.running import assert_one_line, command, run, run_words

UNREADABLE = "the server's answer could not be read"
MEGABYTE = 1024 * 1024
MEMORY_BYTES = 200 * MEGABYTE
"""Of a process that needs some 32 MiB to begin with, and most of it only where a server claims the most
connections that there can be."""


BACKENDS = b'"backends" : ['

_MEASURED = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[2:], check=False).returncode
with open(sys.argv[1], "w") as peak:
    peak.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""
"""A small process in between: a child's peak includes its parent's memory at the fork."""


async def peak(home: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], int]:
    """Runs the command to its end, without keeping this loop; gives its memory's peak in bytes, too."""
    words = [sys.executable, "-c", _MEASURED, str(home / "peak"), *command(*arguments)]
    done = await asyncio.to_thread(run_words, home, words)
    return done, int((home / "peak").read_text()) * 1024


@pytest.mark.parametrize("change", POLLS.values(), ids=POLLS)
async def test_a_poll_that_no_server_answers_is_one_line(
    server: ThrowawayServer, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    """Whatever it says, and however much."""
    async with hostile_relay(server, rewriting(b'"backends"', change)) as relay:
        done, memory = await peak(tmp_path, "snapshot", "--json", relay.uri)
    assert_one_line(done, 3, UNREADABLE)
    assert memory < MEMORY_BYTES


def test_without_these_changes_the_answer_passes(server: ThrowawayServer, tmp_path: Path) -> None:
    """The same relay, which changes nothing, and one that adds as many rows as a server may have."""

    async def looked(rewrite: Any) -> subprocess.CompletedProcess[str]:
        async with hostile_relay(server, rewrite) as relay:
            return await asyncio.to_thread(run, tmp_path, "snapshot", "--json", relay.uri)

    for rewrite in (honest, rewriting(b'"backends"', lengthened(90))):
        done = asyncio.run(looked(rewrite))
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("face", [("doctor",), ("reap", "--dry-run")])
@pytest.mark.parametrize("name", ["float pid", "infinite time", "80 megabytes of rows", "half"])
async def test_no_other_command_believes_it_either(
    server: ThrowawayServer, tmp_path: Path, face: tuple[str, ...], name: str
) -> None:
    async with hostile_relay(server, rewriting(b'"backends"', POLLS[name])) as relay:
        done, memory = await peak(tmp_path, *face, relay.uri)
    assert_one_line(done, 3, UNREADABLE)
    assert memory < MEMORY_BYTES


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.replace(b'"login_limit" : -1', b'"login_limit" : 1e400'),
        lambda raw: raw.replace(b'"login_limit" : -1', b'"login_limit" : ' + b"9" * 400),
        lambda raw: raw.replace(b'"over_socket" : false', b'"over_socket" : 3'),
        lambda raw: raw.replace(b'"settings" : [', b'"settings" : [["x", 1.5, 1, "", ""], '),
        lambda raw: raw.replace(b'"roles" : [', b'"roles" : [' + b'["x"],' * 2_000_000),
        lambda raw: raw[:0] + b"{}",
    ],
)
async def test_a_checkup_that_no_server_answers_is_one_line(
    server: ThrowawayServer, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    async with hostile_relay(server, rewriting(b'"login_limit"', change)) as relay:
        done, memory = await peak(tmp_path, "doctor", relay.uri)
    assert_one_line(done, 3, UNREADABLE)
    assert memory < MEMORY_BYTES


def about(index: int, value: int) -> Callable[[int, bytes], bytes]:
    """Changes one number of the row that tells of the server, which is the one of eight columns."""

    def rewrite(kind: int, body: bytes) -> bytes:
        if chr(kind) == "D" and len(values := fields(body)) == 8:
            width = len(values[index] or b"")
            values[index] = value.to_bytes(width, "big", signed=True)
            return data_row(values)
        return message(chr(kind), body)

    return rewrite


@pytest.mark.parametrize("value", [0, -1, 300_000, -(2**31), 2**31 - 1])
@pytest.mark.parametrize("index", [1, 2])
async def test_limits_that_no_server_has_are_one_line(
    server: ThrowawayServer, tmp_path: Path, index: int, value: int
) -> None:
    """max_connections, and what is kept of it for superusers (0 may be)."""
    if (index, value) == (2, 0):
        pytest.skip("a server may keep none")
    async with hostile_relay(server, about(index, value)) as relay:
        done = await asyncio.to_thread(run, tmp_path, "snapshot", relay.uri)
    assert_one_line(done, 3, UNREADABLE)


@pytest.mark.parametrize("rows", [b"[1],", LONG_ROW], ids=["short", "long"])
async def test_the_largest_server_that_can_be_claimed_is_bounded_too(
    server: ThrowawayServer, tmp_path: Path, rows: bytes
) -> None:
    """As many rows as its claimed max_connections allows, and as its answer may be long."""
    claim = about(1, 262_143)
    number = min(262_000, 31 * 1024 * 1024 // len(rows))
    lie = rewriting(BACKENDS, lambda raw: raw.replace(BACKENDS, BACKENDS + rows * number))

    def rewrite(kind: int, body: bytes) -> bytes:
        return lie(kind, body) if BACKENDS in body else claim(kind, body)

    async with hostile_relay(server, rewrite) as relay:
        done, memory = await peak(tmp_path, "snapshot", relay.uri)
    assert_one_line(done, 3, UNREADABLE)
    print(memory)  # noqa: T201 - shown by pytest -rP
    assert memory < MEMORY_BYTES


def flooding(piece: bytes) -> Callable[[int, bytes], bytes]:
    """Sends many times a piece in the place of each row."""
    flood = piece * (200 * MEGABYTE // len(piece))

    def rewrite(kind: int, body: bytes) -> bytes:
        return flood if chr(kind) == "D" else message(chr(kind), body)

    return rewrite


FLOODS = {
    "notices": message("N", b"SNOTICE\0C00000\0Mhello\0\0"),
    "notifications": message("A", struct.pack("!I", 1) + b"channel\0payload\0"),
    "parameters": parameter("x", "y" * 1000),
    "rows": message("D", struct.pack("!hi", 1, 1000) + b"x" * 1000),
    "long notice": message("N", b"SNOTICE\0M" + b"x" * MEGABYTE, length=100 * MEGABYTE),
    "a message of a gigabyte": message("D", b"x" * MEGABYTE, length=2**30),
    "a message of two": message("D", b"x" * MEGABYTE, length=2**31 - 1),
    "a message of less than nothing": message("D", length=0),
    "long error": message("E", b"SERROR\0C22000\0M" + b"x" * MEGABYTE, length=100 * MEGABYTE),
}


@pytest.mark.parametrize("piece", FLOODS.values(), ids=FLOODS)
async def test_a_flood_is_cut_off(server: ThrowawayServer, tmp_path: Path, piece: bytes) -> None:
    """Two hundred megabytes within one answer: it ends, in one line, and they are not kept."""
    async with hostile_relay(server, flooding(piece)) as relay:
        done, memory = await peak(tmp_path, "snapshot", relay.uri)
    assert_one_line(done, 3, "could not be read")
    assert memory < MEMORY_BYTES


@pytest.mark.parametrize("encoding", ["punycode", "idna", "rot13", "utf_8_sig"])
async def test_an_encoding_that_no_server_has_is_one_line(
    server: ThrowawayServer, tmp_path: Path, encoding: str
) -> None:
    """Python has codecs that take hours over a column's long name, and nothing interrupts them."""

    def rewrite(kind: int, body: bytes) -> bytes:
        if chr(kind) == "S" and body.startswith(b"client_encoding\0"):
            return parameter("client_encoding", encoding)
        if chr(kind) == "T" and len(body) > 2:
            return message("T", body[:2] + b"-" + b"a9" * 30_000 + body[2:])
        return message(chr(kind), body)

    async with hostile_relay(server, rewrite) as relay:
        done, _ = await peak(tmp_path, "snapshot", relay.uri)
    assert_one_line(done, 3, UNREADABLE, "encoding")


CLAIMED = struct.pack("!I", 150_000_000)
BOMBS = {
    "path": (602, b"\0" + CLAIMED),
    "polygon": (604, CLAIMED),
    "record": (2249, CLAIMED),
    "pg_snapshot": (5038, CLAIMED + bytes(16)),
    "array of texts": (1009, struct.pack("!IIIII", 1, 0, 25, 2**31 - 1, 1)),
    "type that the driver asks about": (99_999, b"x"),
}


@pytest.mark.parametrize("name", BOMBS)
async def test_a_value_that_claims_gigabytes_is_one_line(
    server: ThrowawayServer, tmp_path: Path, name: str
) -> None:
    """Thirty bytes, for whose elements the driver would make room before it reads them."""
    of_type, value = BOMBS[name]

    def rewrite(kind: int, body: bytes) -> bytes:
        if chr(kind) == "T" and len(body) > 2:
            column = struct.pack("!IHIhih", 0, 0, of_type, -1, -1, 1)
            return message("T", struct.pack("!H", 1) + b"x\0" + column)
        return data_row([value]) if chr(kind) == "D" else message(chr(kind), body)

    async with hostile_relay(server, rewrite) as relay:
        done, memory = await peak(tmp_path, "snapshot", relay.uri)
    assert_one_line(done, 3, UNREADABLE, "of types that were not asked for")
    assert memory < MEMORY_BYTES


@pytest.mark.parametrize("body", [b"", b"\0\1", b"\0\1x\0", b"\0\0\0", b"\xff\xffx\0" + bytes(18)])
@pytest.mark.parametrize("kind", ["T", "t"])
async def test_a_description_that_is_none_is_one_line(
    server: ThrowawayServer, tmp_path: Path, kind: str, body: bytes
) -> None:
    def rewrite(each: int, honest_body: bytes) -> bytes:
        return message(chr(each), body if chr(each) == kind and len(honest_body) > 2 else honest_body)

    async with hostile_relay(server, rewrite) as relay:
        done = await asyncio.to_thread(run, tmp_path, "snapshot", relay.uri)
    assert_one_line(done, 3, UNREADABLE)


SASL = message("R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0")


def scram(rounds: bytes) -> Any:
    """A server that asks for so many rounds of password hashing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader)
        writer.write(SASL)
        head = await reader.readexactly(5)
        first = await reader.readexactly(int.from_bytes(head[1:], "big") - 4)
        nonce = first.rpartition(b"r=")[2]
        salt = base64.b64encode(b"0123456789abcdef")
        said = b"r=" + nonce + b"more,s=" + salt + b",i=" + rounds
        writer.write(message("R", struct.pack("!I", 11) + said))
        await reader.read()

    return serve


def saying(*pieces: bytes) -> Any:
    """A server that says this at a login, whatever it is asked, and waits then."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader)
        writer.writelines(pieces)
        await writer.drain()
        await reader.read()

    return serve


def repeating(first: bytes, piece: bytes, pause: float = 0.0) -> Any:
    """A server that says something again and again at a login."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader)
        writer.write(first)
        await for_ever(writer, piece, pause)

    return serve


LOGINS: dict[str, Any] = {
    "hashing for minutes": scram(b"2147483647"),
    "hashing without end": scram(b"9" * 1000),
    "hashing bit by bit": repeating(b"", message("R", struct.pack("!I", 11) + b"r=a,s=b,i=1000000")),
    "version of nonsense": saying(AUTHENTICATED, parameter("server_version", "\x1b[2J banana"), READY),
    "no version": saying(AUTHENTICATED, READY),
    "version without numbers": saying(AUTHENTICATED, parameter("server_version", "banana"), READY),
    "hashing out of turn": saying(message("R", struct.pack("!I", 11) + b"r=a,s=b,i=1")),
    "signature out of turn": saying(message("R", struct.pack("!I", 12) + b"v=a")),
    "signature after the end": saying(AUTHENTICATED, message("R", struct.pack("!I", 12) + b"v=a")),
    "parameter without end": saying(AUTHENTICATED, message("S", b"x"), READY),
    "error without end": saying(message("E", b"SFATAL")),
    "methods without end": saying(message("R", struct.pack("!I", 10) + b"SCRAM-SHA-256")),
    "version too old": saying(AUTHENTICATED, parameter("server_version", "9.6"), READY),
    "version of thousands of digits": saying(
        AUTHENTICATED, parameter("server_version", "9." + "9" * 4000), READY
    ),
    "encoding of nonsense": saying(AUTHENTICATED, parameter("client_encoding", "banana"), READY),
    "notices": repeating(AUTHENTICATED, FLOODS["notices"] * 1000),
    "parameters": repeating(AUTHENTICATED, parameter("x", "y") * 1000),
    "parameters drip": repeating(AUTHENTICATED, parameter("x", "y"), pause=0.1),
    "bytes drip": repeating(b"N\0\0\0\xff", b"x", pause=0.1),
    "long error": saying(FLOODS["long error"]),
    "gigabyte": saying(FLOODS["a message of a gigabyte"]),
    "unknown way to log in": saying(message("R", struct.pack("!I", 99))),
    "no message": saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "zeros": repeating(b"", b"\0" * 4096),
}


@pytest.mark.parametrize("serve", LOGINS.values(), ids=LOGINS)
async def test_a_login_that_is_none_ends_in_one_line(tmp_path: Path, serve: Any) -> None:
    """Within its own time limit, whatever comes meanwhile."""
    async with listening(serve) as port:
        conninfo = f"host=127.0.0.1 port={port} user=app password=hush sslmode=disable connect_timeout=3"
        done, memory = await peak(tmp_path, "snapshot", conninfo)
    assert_one_line(done, 3)
    assert len(done.stderr) < 2000
    assert memory < MEMORY_BYTES


@pytest.mark.parametrize("after", [b"", b"garbage", b"\x16\x03\x03\xff\xff" + b"\0" * 70_000])
@pytest.mark.parametrize("closes", [True, False])
async def test_a_tls_handshake_that_is_broken_off_ends_in_one_line(
    tmp_path: Path, after: bytes, closes: bool
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader)
        writer.write(b"S")
        await writer.drain()
        await reader.read(100)
        writer.write(after)
        if not closes:
            await reader.read()

    async with listening(serve) as port:
        conninfo = f"host=127.0.0.1 port={port} user=app sslmode=require connect_timeout=3"
        done, _ = await peak(tmp_path, "snapshot", conninfo)
    assert_one_line(done, 3)


async def test_a_daemon_outlives_what_no_server_answers(server: ThrowawayServer, tmp_path: Path) -> None:
    """It says so once, ends nobody, and goes on when the answers are honest again."""
    async with hostile_relay(server) as relay:
        with watching(tmp_path, relay.uri, "--interval", "200ms", "--warn-at", "0.9") as daemon:
            await daemon.says("active: this daemon sweeps")
            relay.rewrite = rewriting(b'"backends"', POLLS["infinite time"])
            await daemon.says(f"WARNING no data: {UNREADABLE}")
            relay.rewrite = honest
            await daemon.says("again, after ")
            assert "Traceback" not in daemon.log
            assert daemon.end() == 0
