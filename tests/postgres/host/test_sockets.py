"""Sockets as the kernel lists them, whatever others have opened and however they have named it."""

import os
import resource
import socket
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from pgtop.postgres.host import sockets
from pgtop.postgres.host.sockets import ClientSockets, UnixSocket

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's socket diagnostics")

MOST_LISTINGS = 50
"""The kernel leaves some out long before, as a rule."""
A_PART = 400
"""The sockets after which others close: the kernel sends more at once, and has yet to go on by then."""


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
            told = sockets.tcp_socket(address, own, address, port)
            assert told is not None
            assert told.inode == client_end.inode
            assert sockets.tcp_socket(address, own, address, own) is None
            assert (server_end.inode, client_end.inode) == (inode_of(theirs), inode_of(client))
            assert (server_end.uid, server_end.unread_bytes, server_end.is_unanswered) == (
                os.getuid(),
                5,
                True,
            )
            assert [each.inode for each in sockets.listening_sockets(port)] == [inode_of(listening)]
            assert len(ClientSockets(port).of(frozenset({server_end.inode, client_end.inode}))) == 1
        client.close()
        assert sockets.tcp_socket(address, own, address, port) is None  # and not what listens there


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


@contextmanager
def room_for_descriptors(number: int) -> Iterator[None]:
    """As many open files as a test needs, where the limit is the usual 1,024."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before, number), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


def test_no_client_is_missed_while_others_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's list leaves sockets out where others close midway; a pgtop would be terminated for it."""
    list_them = sockets.unix_sockets
    left_out: set[int] = set()
    with ExitStack() as stack:
        stack.enter_context(room_for_descriptors(4096))
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(str(tmp_path / ".s.PGSQL.78"))
        listening.listen()
        clients = {}
        for _ in range(150):
            client, server = connected(listening)
            stack.enter_context(closing(client))
            stack.enter_context(closing(server))
            clients[inode_of(server)] = inode_of(client)

        def list_among_others(name: str = "") -> Iterator[UnixSocket]:
            listed = set()
            with ExitStack() as others:
                for each in (end for _ in range(1000) for end in socket.socketpair()):
                    others.enter_context(closing(each))
                for number, each in enumerate(list_them()):
                    if number == A_PART:
                        others.close()
                    listed.add(each.inode)
                    if name in each.name:
                        yield each
            left_out.update(clients.keys() - listed)

        monkeypatch.setattr(sockets, "unix_sockets", list_among_others)
        for _ in range(MOST_LISTINGS):
            around = ClientSockets(78)
            found = [each for inode in clients for each in around.of(frozenset({inode}))]
            assert {each.inode: each.peer for each in found if isinstance(each, UnixSocket)} == clients
            if left_out:
                break


def test_a_socket_is_told_by_its_inode_alone(tmp_path: Path) -> None:
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        client, server = connected(listening)
        with closing(client), closing(server):
            inode = inode_of(server)
            (listed,) = [each for each in sockets.unix_sockets() if each.inode == inode]
            assert sockets.unix_socket(inode) == listed
            assert listed.peer == inode_of(client)
        assert sockets.unix_socket(inode) is None  # closed
        assert sockets.unix_socket(inode_of(listening)) is None  # not connected
