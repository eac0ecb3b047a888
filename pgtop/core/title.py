"""What the title of a PostgreSQL process tells: who a client backend serves, from where, and what it does.

Titles are `postgres: [cluster_name: ]user database host(port) activity`, with `[local]` in place of
`host(port)` over a Unix socket. Names may hold blanks, parentheses and `[local]`, so they are read from the
right, and where user and database cannot be told apart every reading is kept. Nothing is taken for a client
that is not surely one. The same from PostgreSQL 14 to 18.
"""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from pgtop.core.activity import (
    ACTIVE,
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

CONNECTING: Final = frozenset({"initializing", "authentication", "startup"})
"""What a client backend does before it takes statements."""

_STATES: Final = {
    "idle": IDLE,
    "idle in transaction": IDLE_IN_TRANSACTION,
    "idle in transaction (aborted)": IDLE_IN_TRANSACTION_ABORTED,
    "<FASTPATH>": FASTPATH,
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
    def is_connecting(self) -> bool:
        """True for a client that is not let in yet."""
        return self.activity in CONNECTING


def cluster_prefix(titles: Iterable[str]) -> str | None:
    """What stands before everything else in the titles of one server's processes, learnt from its own ones.

    None where there are none of these, as while it starts.

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


def is_server_process(title: str) -> bool:
    """Whether a title is one that PostgreSQL gives its processes."""
    return title.startswith(_MARK)


def read_title(title: str, prefix: str) -> Title | None:
    """The title of a client backend; None for every other process, and where it is not surely a client's.

    >>> read_title("postgres: app shop 10.0.4.7(511) idle", "postgres: ")
    Title(names='app shop', host='10.0.4.7', port=511, activity='idle')
    >>> read_title("postgres: walsender app shop 10.0.4.7(511) idle", "postgres: ")
    """
    body = title.removeprefix(prefix)
    if body == title or body.startswith(_WALSENDER):
        return None
    found = _CLIENT.fullmatch(body)
    if found is None:
        return None
    port = found["port"]
    read = Title(found["names"], found["host"], int(port) if port else None, found["activity"] or "")
    return read if read.readings else None


def read_cut_title(title: str, prefix: str) -> Title | None:
    """What may be a client backend's title that has lost its end: all that is left of it as names.

    >>> read_cut_title("postgres: app a-very-long-na", "postgres: ").names
    'app a-very-long-na'
    """
    body = title.removeprefix(prefix)
    return None if body == title or body.startswith(_WALSENDER) else Title(body, None, None, "")
