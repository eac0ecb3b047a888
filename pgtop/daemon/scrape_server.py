"""A small HTTP server for scrapes that no client can make expensive.

One thread serves a fixed number of connections. Each has a limit for its whole time and for the size of its
request, so that slow or hostile clients take neither the threads nor the descriptors that the reaper needs.
Further clients wait in the kernel's backlog; while all places are taken, the oldest connection makes room.
"""

import errno
import resource
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

MOST_CONNECTIONS: Final = 16
"""The most connections open at once."""
PART_OF_DESCRIPTORS: Final = 8
"""At most one in this many of the process's file descriptors is a connection's; the rest is the reaper's."""
LIMIT_SECONDS: Final = 10.0
"""The most seconds a connection may last. By default, Prometheus gives up after the same time."""
LEAST_SECONDS: Final = 0.1
"""The least number of seconds a connection is kept before it makes room for another.

It bounds the connections accepted per second, and so the processor time that a flood of them costs.
"""
LONGEST_REQUEST_BYTES: Final = 16 * 1024
BACKLOG: Final = 64
"""The number of further clients that the kernel keeps waiting."""

_CHUNK_BYTES: Final = 64 * 1024
_AFTER_FAULT_SECONDS: Final = 0.5
_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]
"""As WSGI has it (PEP 3333): what makes an answer from a request without a body."""


def connections_at_once() -> int:
    """Return how many connections the process can spare descriptors for: 1 to MOST_CONNECTIONS."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, soft // PART_OF_DESCRIPTORS))


class _Connection:
    """One client, from its request to the end of its answer."""

    def __init__(self, client: socket.socket, now: float) -> None:
        self.client = client
        self.began = now
        self.received = b""
        self.answer = memoryview(b"")
        self.is_answered = False


class ScrapeServer:
    """Answer requests on one listening socket until it is stopped. No error of a client's ends it."""

    def __init__(self, listener: socket.socket, application: Application) -> None:
        """Take over `listener`; `application` makes the answers, in the server's own thread."""
        self._listener = listener
        self._application = application
        self._most = connections_at_once()
        self._connections: dict[socket.socket, _Connection] = {}
        self._selector = selectors.DefaultSelector()
        self._not_before = 0.0
        self._waited = 0.0
        self._stopped = threading.Event()
        self._wake, self._woken = socket.socketpair()
        for each in (listener, self._wake, self._woken):
            each.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def stop(self) -> None:
        """Make `run` return soon; may be called from any thread."""
        self._stopped.set()
        with suppress(OSError):
            self._wake.send(b"x")

    def run(self) -> None:
        """Serve until `stop` is called, then `close`."""
        try:
            while not self._stopped.is_set():
                began = time.monotonic()
                try:
                    self._turn()
                except Exception:  # noqa: BLE001 - nothing that happens here may reach the reaper
                    self._drop_all()
                    self._stopped.wait(_AFTER_FAULT_SECONDS)
                spent = time.monotonic() - began
                # Half of a core at most, however fast requests come: the reaper needs the other half.
                self._stopped.wait(min(max(0.0, spent - self._waited), _AFTER_FAULT_SECONDS))
        finally:
            self.close()

    def close(self) -> None:
        """Close every connection and the listener; only where `run` does not run."""
        self._drop_all()
        for each in (self._listener, self._wake, self._woken):
            each.close()
        self._selector.close()

    def _turn(self) -> None:
        """Wait for what is next, and do it: requests and answers first, then one new connection."""
        now = time.monotonic()
        self._listen(now)
        ready = self._waited_for(now)
        now = time.monotonic()
        is_called = False
        for key, _ in ready:
            if key.fileobj is self._listener:
                is_called = True
            elif (connection := key.data) is not None:
                self._serve(connection)
        for connection in list(self._connections.values()):
            if now - connection.began >= LIMIT_SECONDS:
                self._drop(connection)
        if is_called:
            self._accept(now)

    def _waited_for(self, now: float) -> list[tuple[selectors.SelectorKey, int]]:
        due = [each.began + LIMIT_SECONDS for each in self._connections.values()]
        if self._not_before > now:
            due.append(self._not_before)
        ready = self._selector.select(max(0.0, min(due) - now) if due else None)
        self._waited = time.monotonic() - now
        return ready

    def _listen(self, now: float) -> None:
        """Look at the listener only while another connection can be taken: no loop without a rest."""
        if len(self._connections) >= self._most:
            oldest = min(each.began for each in self._connections.values())
            self._not_before = max(self._not_before, oldest + LEAST_SECONDS)
        may = now >= self._not_before
        is_watched = self._listener in self._selector.get_map()
        if may and not is_watched:
            self._selector.register(self._listener, selectors.EVENT_READ)
        elif is_watched and not may:
            self._selector.unregister(self._listener)

    def _accept(self, now: float) -> None:
        if len(self._connections) >= self._most:
            self._drop(min(self._connections.values(), key=lambda each: each.began))
        try:
            client, _ = self._listener.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:
                # The process has no descriptor left: what is held here goes back to the reaper.
                self._drop_all()
                self._not_before = now + _AFTER_FAULT_SECONDS
            return
        connection = _Connection(client, now)
        try:
            client.setblocking(False)
            self._selector.register(client, selectors.EVENT_READ, connection)
        except OSError:
            client.close()
            self._not_before = now + _AFTER_FAULT_SECONDS
            return
        self._connections[client] = connection
        self._serve(connection)  # its request is mostly there already

    def _serve(self, connection: _Connection) -> None:
        """Go on with one connection as far as it goes without waiting."""
        try:
            if not self._advance(connection):
                self._drop(connection)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)

    def _advance(self, connection: _Connection) -> bool:
        """Read, answer, write; False where it is over. Raises BlockingIOError where it has to wait."""
        client = connection.client
        while not connection.is_answered:
            received = client.recv(_CHUNK_BYTES)
            connection.received += received
            if not received and not connection.received:
                return False
            is_long = len(connection.received) > LONGEST_REQUEST_BYTES
            if received and not is_long and not _is_whole(connection.received):
                continue
            connection.answer = memoryview(_answer(self._application, connection.received, is_long))
            connection.is_answered = True
            connection.received = b""
            self._selector.modify(client, selectors.EVENT_WRITE, connection)
        while connection.answer:
            connection.answer = connection.answer[client.send(connection.answer) :]
            if not connection.answer:
                client.shutdown(socket.SHUT_WR)
                self._selector.modify(client, selectors.EVENT_READ, connection)
        # Closed with bytes unread, the kernel would reset the connection and the answer might be lost.
        return bool(client.recv(_CHUNK_BYTES))

    def _drop(self, connection: _Connection) -> None:
        self._connections.pop(connection.client, None)
        with suppress(KeyError, ValueError, OSError):
            self._selector.unregister(connection.client)
        connection.client.close()

    def _drop_all(self) -> None:
        for connection in list(self._connections.values()):
            self._drop(connection)


@contextmanager
def serving_in_thread(listener: socket.socket, application: Application) -> Iterator[None]:
    """Serve in one thread while the block lasts. Raises OSError or RuntimeError where that cannot begin."""
    try:
        server = ScrapeServer(listener, application)
    except OSError:
        listener.close()
        raise
    thread = threading.Thread(target=server.run, name="metrics", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # this user may have no more threads
        server.close()
        raise
    try:
        yield
    finally:
        server.stop()
        thread.join()


def _is_whole(received: bytes) -> bool:
    """True where a request's head is there to its end.

    >>> _is_whole(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"), _is_whole(b"GET / HTTP/1.1\\r\\nHost")
    (True, False)
    """
    return b"\r\n\r\n" in received or b"\n\n" in received


def _answer(application: Application, received: bytes, is_long: bool) -> bytes:
    """Return the whole answer to a request, for a client that is then left."""
    begun: list[tuple[str, list[tuple[str, str]]]] = []

    def start(status: str, headers: list[tuple[str, str]]) -> None:
        begun[:] = [(status, headers)]

    environ = None if is_long else _environ(received)
    if environ is None:
        status = "431 Request Header Fields Too Large" if is_long else "400 Bad Request"
        start(status, [("Content-Type", "text/plain; charset=utf-8")])
        body = b"/metrics or /healthz\n"
    else:
        try:
            body = b"".join(application(environ, start))
        except Exception:  # noqa: BLE001 - a figure that cannot be told is a failed scrape, and no more
            start("500 Internal Server Error", [("Content-Type", "text/plain; charset=utf-8")])
            body = b"the figures cannot be told\n"
    status, headers = begun[0]
    headers = [*headers, ("Content-Length", str(len(body))), ("Connection", "close")]
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    shown = b"" if environ is not None and environ["REQUEST_METHOD"] == "HEAD" else body
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + shown


def _environ(received: bytes) -> dict[str, Any] | None:
    """Return what the application needs of a request; None for what is not one."""
    head = received.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("latin-1")
    first, *lines = head.split("\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    path, _, query = words[1].partition("?")
    environ: dict[str, Any] = {"REQUEST_METHOD": words[0], "PATH_INFO": path, "QUERY_STRING": query}
    for line in lines:
        name, _, value = line.partition(":")
        environ["HTTP_" + name.strip().upper().replace("-", "_")] = value.strip()
    return environ
