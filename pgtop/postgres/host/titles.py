"""Read the title of a PostgreSQL process: the client a backend serves, its address, and its activity.

Titles are `postgres: [cluster_name: ]user database host(port) activity`, with `[local]` in place of
`host(port)` over a Unix socket. Names may hold blanks, parentheses and `[local]`, so they are read from the
right, and where user and database cannot be told apart every reading is kept. The same from 14 to 18.

A role or a database may be called like the title of any other process, so that a title alone does not tell
what a process is: `kind_of` judges by the client's connection that it holds, and by how it takes SIGUSR2.
"""

import re
from collections.abc import Iterable
from enum import Enum, auto
from typing import Final

import msgspec

from pgtop.core.activity import (
    ACTIVE,
    DISABLED,
    FASTPATH,
    IDLE,
    IDLE_IN_TRANSACTION,
    IDLE_IN_TRANSACTION_ABORTED,
    STARTING,
)

_MARK: Final = "postgres: "
_AUXILIARIES: Final = ("checkpointer", "background writer")
"""Of these a server that takes clients has exactly one, and nothing follows its name."""

_CLIENT: Final = re.compile(
    r"(?P<names>.+) (?:\[local\]|(?P<host>\S+)\((?P<port>\d+)\))(?: (?P<activity>.*))?", re.DOTALL
)
_WALSENDER: Final = "walsender "
_AUTOVACUUM: Final = "autovacuum worker "
"""The one title of a process without a client in which somebody else chose a word: the database's name."""

CONNECTING: Final = frozenset({"initializing", "authentication"})
"""The activities of a client backend without a session yet, while its client may keep it waiting."""

LAST_OF_A_LOGIN: Final = "startup"
"""Authentication is over. Where `update_process_title` is off for its role or database, a session keeps this
title for all its life, so that nobody can say what it does.
Source: PostgreSQL, PerformAuthentication() in src/backend/utils/init/postinit.c."""

WAITING: Final = " waiting"

_STATES: Final = {
    "idle": IDLE,
    "idle in transaction": IDLE_IN_TRANSACTION,
    "idle in transaction (aborted)": IDLE_IN_TRANSACTION_ABORTED,
    "<FASTPATH>": FASTPATH,
    LAST_OF_A_LOGIN: DISABLED,
    **dict.fromkeys(CONNECTING, STARTING),
}


class Title(msgspec.Struct, frozen=True):
    """The title of a client backend, read."""

    names: str
    """User and database with a blank between, as the title has them."""
    host: str | None
    """An address, or a name where log_hostname is on; None over a Unix socket."""
    port: int | None
    """The client's; None over a Unix socket."""
    activity: str
    """"" where the title has none, as with `update_process_title = off`."""

    @property
    def readings(self) -> tuple[tuple[str, str], ...]:
        """Every way to part the names into user and database; at least one, where the title was whole.

        >>> Title("app shop", None, None, "idle").readings
        (('app', 'shop'),)
        >>> Title("app my shop", None, None, "idle").readings
        (('app', 'my shop'), ('app my', 'shop'))
        """
        blanks = [index for index, letter in enumerate(self.names) if letter == " "]
        parted = ((self.names[:index], self.names[index + 1 :]) for index in blanks)
        return tuple((user, database) for user, database in parted if user and database)

    @property
    def state(self) -> str:
        """PostgreSQL's word for what it does; whatever is not known to be harmless is `active`."""
        return _STATES.get(self.activity, ACTIVE)

    @property
    def waits_for(self) -> str | None:
        """`Lock` while it waits for a heavyweight lock; None otherwise.

        Source: PostgreSQL, ProcSleep() in src/backend/storage/lmgr/proc.c up to 15, WaitOnLock() in lock.c.
        """
        return "Lock" if self.activity.endswith(WAITING) else None

    @property
    def is_connecting(self) -> bool:
        """True for a client of which it is known that it is not let in yet."""
        return self.activity in CONNECTING


def cluster_prefix(titles: Iterable[str]) -> str | None:
    """Return the prefix of the titles of one server's processes, learnt from its own processes.

    None if there are none of these, as while it starts.

    >>> cluster_prefix(["postgres: main: checkpointer ", "postgres: main: app shop [local] idle"])
    'postgres: main: '
    """
    found = [
        title.removesuffix(name)
        for title in (each.rstrip(" ") for each in titles)
        for name in _AUXILIARIES
        if title.startswith(_MARK) and title.endswith(": " + name)
    ]
    # A background worker may be named anything, but only behind the prefix that all of them have.
    return min(found, key=len, default=None)


class Kind(Enum):
    """A child of the postmaster."""

    CLIENT = auto()
    """It serves a client, and its title can be read."""
    UNCLEAR = auto()
    """It holds a client's connection, and its title does not tell what it does, or it may be a walsender."""
    OTHER = auto()
    """It is not an ordinary client's: a walsender, a worker, a process of the server's own."""


class Signs(msgspec.Struct, frozen=True):
    """The kernel's facts about a child of the postmaster: no name of a role or a database changes them."""

    holds_connection: bool
    """True if it holds a connection that was accepted on the server's port."""
    catches_usr2: bool = False
    """True if it has a handler for SIGUSR2."""
    ignores_usr2: bool = False
    """True if it ignores SIGUSR2."""


def kind_of(title: str, prefix: str, signs: Signs) -> Kind:
    """Judge what a child of the postmaster is.

    A walsender holds a client's connection, as an ordinary backend does. It catches SIGUSR2, and the other
    ignores it, from before authentication on: WalSndSignals() in src/backend/replication/walsender.c and
    PostgresMain() in src/backend/tcop/postgres.c.

    >>> kind_of("postgres: walsender x 10.0.4.7(511) idle", "postgres: ", Signs(True, ignores_usr2=True))
    <Kind.CLIENT: 1>
    >>> kind_of("postgres: walsender x 10.0.4.7(511) idle", "postgres: ", Signs(True, catches_usr2=True))
    <Kind.OTHER: 3>
    """
    read = read_title(title, prefix)
    if may_be_walsender(title, prefix) and not signs.ignores_usr2:
        return Kind.UNCLEAR if signs.holds_connection and not signs.catches_usr2 else Kind.OTHER
    if signs.holds_connection:
        return Kind.UNCLEAR if read is None else Kind.CLIENT
    # The kernel lists no connection that was reset; the backend may still be at work for it.
    is_client = read is not None and read.activity != "" and not _begins(title, prefix, _AUTOVACUUM)
    return Kind.CLIENT if is_client else Kind.OTHER


def may_be_walsender(title: str, prefix: str) -> bool:
    """Return whether a title begins as a walsender's does, or that of a role named `walsender`."""
    return _begins(title, prefix, _WALSENDER)


def _begins(title: str, prefix: str, words: str) -> bool:
    return title.startswith(prefix + words)


def read_title(title: str, prefix: str) -> Title | None:
    """Read a title as a client backend's; None where it has not that form.

    That it is one has to be known from elsewhere: see `kind_of`.

    >>> read_title("postgres: app shop 10.0.4.7(511) idle", "postgres: ")
    Title(names='app shop', host='10.0.4.7', port=511, activity='idle')
    >>> read_title("postgres: parallel worker for PID 4711 ", "postgres: ")
    """
    body = title.removeprefix(prefix)
    if body == title:
        return None
    found = _CLIENT.fullmatch(body)
    if found is None:
        return None
    port = found["port"]
    read = Title(found["names"], found["host"], int(port) if port else None, found["activity"] or "")
    return read if read.readings else None


def unread_title(title: str, prefix: str) -> Title:
    """Return all that is left of a title that cannot be read as names, as where it has lost its end.

    >>> unread_title("postgres: app a-very-long-na", "postgres: ").names
    'app a-very-long-na'
    """
    return Title(title.removeprefix(prefix), None, None, "")
