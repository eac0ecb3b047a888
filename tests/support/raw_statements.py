"""Statements in bytes that no driver would send, and databases of every kind of encoding."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pgtop.demo.server import ThrowawayServer

ENCODINGS = {"postgres": "UTF8", "raw": "SQL_ASCII", "euc": "EUC_JP", "western": "WIN1252"}
"""Databases by name, each with its encoding."""


@asynccontextmanager
async def speaking_raw(server: ThrowawayServer, statement: bytes) -> AsyncIterator[int]:
    """A session that sent a statement in bytes which the driver would not send; gives its pid."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        start = struct.pack("!i", 196608) + b"user\0postgres\0database\0raw\0\0"
        writer.write(struct.pack("!i", len(start) + 4) + start)
        said = await reader.readuntil(b"Z\0\0\0\x05I")
        at = said.index(b"K\0\0\0\x0c") + 5
        writer.write(b"Q" + struct.pack("!i", len(statement) + 5) + statement + b"\0")
        await reader.readuntil(b"Z\0\0\0\x05I")
        yield struct.unpack("!i", said[at : at + 4])[0]
    finally:
        writer.close()
