"""Servers that no PostgreSQL can be made to be: a relay that rewrites answers, and logins that are none.

Source: PostgreSQL documentation, Frontend/Backend Protocol, Message Formats.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from pgtop.demo.server import HOST, ThrowawayServer

SSL_REQUEST = 80_877_103
Rewrite = Callable[[int, bytes], bytes]
"""Gives what is sent in place of a message, of which it gets the kind and the body."""
Login = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def message(kind: str, body: bytes = b"", length: int | None = None) -> bytes:
    """A message of the protocol; `length` where it lies about its own."""
    return kind.encode() + struct.pack("!I", len(body) + 4 if length is None else length) + body


def fields(body: bytes) -> list[bytes | None]:
    """The values of a DataRow."""
    (count,) = struct.unpack_from("!h", body)
    found: list[bytes | None] = []
    position = 2
    for _ in range(count):
        (length,) = struct.unpack_from("!i", body, position)
        position += 4
        found.append(None if length < 0 else body[position : position + length])
        position += max(0, length)
    return found


def data_row(values: list[bytes | None]) -> bytes:
    """A DataRow of these values."""
    body = struct.pack("!h", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return message("D", body)


def rewriting(holds: bytes, change: Callable[[bytes], bytes]) -> Rewrite:
    """Changes each value of a row that holds these bytes."""

    def rewrite(kind: int, body: bytes) -> bytes:
        if chr(kind) != "D" or holds not in body:
            return message(chr(kind), body)
        return data_row(
            [change(each) if each is not None and holds in each else each for each in fields(body)]
        )

    return rewrite


_PIECE_BYTES = 1024 * 1024


def honest(kind: int, body: bytes) -> bytes:
    """The message as it is."""
    return message(chr(kind), body)


class HostileRelay:
    """Passes connections on to a real server, and rewrites what that says."""

    def __init__(self, server: ThrowawayServer, rewrite: Rewrite) -> None:
        self.rewrite = rewrite
        """Counts from the next message on."""
        self.port = 0
        self._server = server

    @property
    def uri(self) -> str:
        """Where it is."""
        return f"postgresql://postgres@{HOST}:{self.port}/postgres?sslmode=disable"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with suppress(OSError, asyncio.IncompleteReadError):
            back_reader, back_writer = await asyncio.open_connection(HOST, self._server.port)
            try:
                await asyncio.gather(_pass_on(reader, back_writer), self._answers(back_reader, writer))
            finally:
                back_writer.close()
        writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readexactly(5)
            body = await reader.readexactly(int.from_bytes(head[1:], "big") - 4)
            answer = memoryview(self.rewrite(head[0], body))
            for start in range(0, len(answer), _PIECE_BYTES):  # no more than is read
                writer.write(answer[start : start + _PIECE_BYTES])
                await writer.drain()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def hostile_relay(server: ThrowawayServer, rewrite: Rewrite = honest) -> AsyncIterator[HostileRelay]:
    """A relay before a server."""
    relay = HostileRelay(server, rewrite)
    async with listening(relay.serve) as port:
        relay.port = port
        yield relay


@asynccontextmanager
async def listening(serve: Login) -> AsyncIterator[int]:
    """A server of one's own; gives its port, and leaves no connection."""
    tasks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await serve(reader, writer)
        finally:
            writer.transport.abort()

    listener = await asyncio.start_server(one, HOST, 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def startup(reader: asyncio.StreamReader) -> int:
    """Reads a startup packet or a question for TLS; gives its code."""
    length = int.from_bytes(await reader.readexactly(4), "big")
    return int.from_bytes((await reader.readexactly(length - 4))[:4], "big")


async def for_ever(writer: asyncio.StreamWriter, piece: bytes, pause: float = 0.0) -> None:
    """Sends a piece again and again."""
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause)


AUTHENTICATED = message("R", struct.pack("!I", 0))
READY = message("Z", b"I")


def parameter(name: str, value: str) -> bytes:
    """A ParameterStatus."""
    return message("S", name.encode() + b"\0" + value.encode() + b"\0")


def spoilt(**changes: Any) -> Callable[[bytes], bytes]:
    """Changes the poll's answer: its own fields, or by `row` the first backend's by index."""
    row: dict[int, Any] = changes.pop("row", {})

    def change(raw: bytes) -> bytes:
        poll = msgspec.json.decode(raw)
        poll |= changes
        for index, value in row.items():
            poll["backends"][0][index] = value
        return msgspec.json.encode(poll)

    return change


def lengthened(rows: int) -> Callable[[bytes], bytes]:
    """The poll's answer with that many backends."""

    def change(raw: bytes) -> bytes:
        poll = msgspec.json.decode(raw)
        row = msgspec.json.encode(poll["backends"][0])
        rest = row.partition(b",")[2]
        many = b",".join(b"[%d,%s" % (number + 1, rest) for number in range(rows))
        poll["backends"] = []
        return msgspec.json.encode(poll).replace(b'"backends":[]', b'"backends":[%s]' % many)

    return change


LONG_ROW = b'[1,1,1,1,1,"idle","app","app","shop",null,-1,null,null,false,"%s"],' % (b"x" * 200)


POLLS: dict[str, Callable[[bytes], bytes]] = {
    "float pid": spoilt(row={0: 1.5}),
    "negative pid": spoilt(row={0: -4711}),
    "zero pid": spoilt(row={0: 0}),
    "huge pid": spoilt(row={0: 10**30}),
    "text pid": spoilt(row={0: "1"}),
    "time beyond dates": spoilt(row={1: 10**18}),
    "infinite time": spoilt(row={2: 2**63 - 1}),
    "time before dates": spoilt(row={2: -(2**63)}),
    "list as name": spoilt(row={6: ["app"]}),
    "long name": spoilt(row={6: "a" * 100_000}),
    "NUL in a name": spoilt(row={6: "a\0b"}),
    "clock of the year 50000": spoilt(now=2**60),
    "no clock": spoilt(now=None),
    "number as role": spoilt(privileges={"role": 1, "is_superuser": 1, "may_signal": 1}),
    "no privileges": spoilt(privileges={}),
    "no backends": spoilt(backends=None),
    "short row": spoilt(backends=[[1]]),
    "pid twice": lambda raw: lengthened(2)(raw).replace(b"[2,", b"[1,"),
    "NaN": lambda raw: raw.replace(b'"now" : ', b'"now" : NaN, "then" : '),
    "infinity": lambda raw: raw.replace(b'"now" : ', b'"now" : Infinity, "then" : '),
    "beyond floats": lambda raw: raw.replace(b'"now" : ', b'"now" : 1e400, "then" : '),
    "lone surrogate": lambda raw: raw.replace(b'"role" : "', b'"role" : "\\ud800'),
    "half": lambda raw: raw[: len(raw) // 2],
    "nothing": lambda raw: raw[:0],
    "no JSON": lambda raw: b"\xff\xfe" + raw,
    "nested without end": lambda raw: b"[" * 4000 + raw,
    "rows beyond max_connections": lengthened(1200),
    "a million short rows": lambda raw: raw.replace(
        b'"backends" : [', b'"backends" : [' + b"[1]," * 1_000_000
    ),
    "80 megabytes of rows": lambda raw: raw.replace(
        b'"backends" : [', b'"backends" : [' + LONG_ROW * 300_000
    ),
}
"""What no server answers to a poll, by name."""
