"""Sockets as the kernel lists them, whatever others have opened and however they have named it."""

import os
import socket
import sys
import tracemalloc
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from pgtop.postgres.host import sockets
from pgtop.postgres.host.sockets import ClientSockets

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's socket diagnostics")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_tcp_connection_is_told_from_both_ends(family: socket.AddressFamily) -> None:
    address = "127.0.0.1" if family == socket.AF_INET else "::1"
    try:
        listening = socket.create_server((address, 0), family=family)
    except OSError:
        pytest.skip("this machine has no IPv6")
    port = listening.getsockname()[1]
    with listening, socket.create_connection((address, port)) as client:
        theirs, _ = listening.accept()
        with theirs:
            client.sendall(b"five!")
            own = client.getsockname()[1]
            (server_end,) = sockets.tcp_sockets(local_port=port)
            (client_end,) = sockets.tcp_sockets(remote_port=port)
            assert (server_end.local_address, server_end.local_port) == (address, port)
            assert (server_end.remote_address, server_end.remote_port) == (address, own)
            assert (client_end.local_address, client_end.local_port) == (address, own)
            assert (client_end.remote_address, client_end.remote_port) == (address, port)
            assert (server_end.inode, client_end.inode) == (inode_of(theirs), inode_of(client))
            assert (server_end.uid, server_end.unread_bytes, server_end.is_unanswered) == (
                os.getuid(),
                5,
                True,
            )
            assert [each.inode for each in sockets.listening_sockets(port)] == [inode_of(listening)]
            assert len(ClientSockets(port).of(frozenset({server_end.inode, client_end.inode}))) == 1


def inode_of(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino


def connected(listening: socket.socket) -> tuple[socket.socket, socket.socket]:
    client = socket.socket(socket.AF_UNIX)
    client.connect(listening.getsockname())
    return client, listening.accept()[0]


def test_names_that_are_not_text_are_names_like_others(tmp_path: Path) -> None:
    """Anybody may give a socket any name: that of another one does not hide it."""
    with ExitStack() as stack:
        ends = {}
        for name in (b"\0\xff\xfepgtop", os.fsencode(tmp_path) + b"/\xff.s.PGSQL.1"):
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(name)
            listening.listen()
            client, server = connected(listening)
            stack.enter_context(closing(client))
            stack.enter_context(closing(server))
            client.sendall(b"abc")
            ends[inode_of(server)] = (inode_of(client), os.fsdecode(name), os.getuid(), 3)
        told = {
            each.inode: (each.peer, each.name, each.uid, each.unread_bytes)
            for each in sockets.unix_sockets()
            if each.inode in ends
        }
        assert told == ends
        assert not ClientSockets(1).of(frozenset(ends))


def test_other_sockets_take_no_memory(tmp_path: Path) -> None:
    """Anybody may open a hundred thousand."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(str(tmp_path / ".s.PGSQL.77"))
        listening.listen()
        client, server = connected(listening)
        stack.enter_context(closing(client))
        stack.enter_context(closing(server))
        for _ in range(400):
            for each in socket.socketpair():
                stack.enter_context(closing(each))
        tracemalloc.start()
        try:
            found = ClientSockets(77)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert [each.inode for each in found.of(frozenset({inode_of(server)}))] == [inode_of(server)]
        assert most < 300_000
