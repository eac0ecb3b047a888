"""`python -m tests.bench.relay PORT`: a TCP relay to a server of this host that counts what goes through.

Prints the port it listens on, and then, for each line of its standard input, how many bytes have come from
the server and how many statements were executed: simple queries, and Execute messages of the extended
protocol.
Source: PostgreSQL documentation, Message Formats.
"""

import asyncio
import contextlib
import sys

_STATEMENTS = (b"Q", b"E")


class Counted:
    """The messages of one client, by their first bytes."""

    def __init__(self) -> None:
        self.statements = 0
        self._left = b""
        self._is_started = False

    def take(self, data: bytes) -> None:
        """Counts what is whole of it."""
        self._left += data
        while True:
            head = 1 if self._is_started else 0
            if len(self._left) < head + 4:
                return
            length = head + int.from_bytes(self._left[head : head + 4], "big")
            if len(self._left) < length:
                return
            if self._is_started:
                self.statements += self._left[:1] in _STATEMENTS
            elif length > 8:
                self._is_started = True  # a request for encryption is 8 bytes long, and answered by no
            self._left = self._left[length:]


class Relay:
    """What has gone through so far."""

    def __init__(self, port: int) -> None:
        self.from_server = 0
        self.clients: list[Counted] = []
        self._port = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, until either side leaves."""
        there, out = await asyncio.open_connection("127.0.0.1", self._port)
        counted = Counted()
        self.clients.append(counted)
        await asyncio.gather(self._up(reader, out, counted), self._down(there, writer))

    async def _up(self, reader: asyncio.StreamReader, out: asyncio.StreamWriter, counted: Counted) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                counted.take(data)
                out.write(data)
        out.close()

    async def _down(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await there.read(65_536):
                self.from_server += len(data)
                writer.write(data)
        writer.close()


async def main(port: int) -> None:
    """Relays; each line of its standard input is answered by the two numbers so far."""
    relay = Relay(port)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(relay.from_server, sum(each.statements for each in relay.clients), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
