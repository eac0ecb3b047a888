"""Which backends the lower table lists, and in which order.

Pure functions from a poll's backends. Two orders of the same backends give the same list, so that no row
jumps unless something about it changed. The upper table's groups are handed on from `groups.py`.
"""

import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address
from operator import attrgetter, itemgetter
from typing import Final

import msgspec

from pgtop.core.activity import IDLE, Backend
from pgtop.core.groups import Group, GroupBy, GroupKey, applications, group
from pgtop.core.labels import LOCAL, NO_APPLICATION, STATE_WORDS, address, client, state, wait

__all__ = [
    "Column",
    "Filter",
    "Group",
    "GroupBy",
    "GroupKey",
    "Term",
    "applications",
    "group",
    "parse_filter",
    "sort_backends",
    "stale",
]


def stale(backend: Backend, now: int, idle_after_seconds: float) -> bool:
    """True for a session that is `idle` for longer than `idle_after_seconds` at `now` (microseconds)."""
    idle = backend.idle_seconds(now)
    return idle is not None and idle > idle_after_seconds


class Term(msgspec.Struct, frozen=True):
    """One word of a filter."""

    word: str
    """Case-folded."""
    field: str = ""
    """One of the values of `FIELDS`; "" looks at all of them."""
    negated: bool = False

    def matches(self, backend: Backend, everything: str) -> bool:
        """True where the word is found, or a negated one is not; `everything` is all fields, folded."""
        return self._found(backend, everything) != self.negated

    def _found(self, backend: Backend, everything: str) -> bool:
        if self.field == "pid":
            return self.word == str(backend.pid)
        if self.field == "state" and self.word in _WHOLE_STATES:
            return self.word in _searched(backend, "state").split("\n")
        if self.field:
            return self.word in _searched(backend, self.field).casefold()
        return self.word in everything


class Filter(msgspec.Struct, frozen=True):
    """What `/` keeps of the list: every term must match; without terms, everything does."""

    terms: tuple[Term, ...] = ()

    def matches(self, backend: Backend) -> bool:
        """True for a session that the list keeps."""
        everything = _everything(backend) if any(not term.field for term in self.terms) else ""
        return all(term.matches(backend, everything) for term in self.terms)


FIELDS: Final = {
    "application": "application",
    "app": "application",
    "user": "user",
    "database": "database",
    "db": "database",
    "address": "address",
    "addr": "address",
    "client": "address",
    "state": "state",
    "pid": "pid",
    "query": "query",
}
"""What may stand before a colon in a filter, and the field it looks at."""

_ALL_FIELDS: Final = tuple(dict.fromkeys(FIELDS.values()))
_WHOLE_STATES: Final = frozenset({*STATE_WORDS, *STATE_WORDS.values()})
_TERM: Final = re.compile(rf'([-!])?(?:({"|".join(FIELDS)}):)?(?:"([^"]*)(?:"|$)|(\S*))', re.IGNORECASE)


def parse_filter(text: str) -> Filter:
    """The filter that a person typed. Never raises.

    Words between blanks must all be found, in upper or lower case, anywhere in application, user, database,
    address, state, pid or query. `app:`, `user:`, `db:`, `addr:`, `state:`, `pid:` and `query:` before a word
    look at one of them: `pid:` at the whole number, `state:idle` and the other states at the whole state.
    `"` quotes blanks, up to the end where it is not closed. `-` or `!` in front negates. A word that is still
    empty, as while it is being typed, asks nothing.

    >>> parse_filter('app:web -state:idle "order by"').terms
    (Term(word='web', field='application', negated=False), Term(word='idle', field='state', negated=True), \
Term(word='order by', field='', negated=False))
    """
    terms = []
    for sign, field, quoted, plain in _TERM.findall(text):
        word = (quoted or plain).casefold()
        if word:
            terms.append(Term(word, FIELDS[field.casefold()] if field else "", bool(sign)))
    return Filter(tuple(terms))


def _everything(backend: Backend) -> str:
    return "\n".join([_searched(backend, field) for field in _ALL_FIELDS]).casefold()


def _searched(backend: Backend, field: str) -> str:
    match field:
        case "application":
            return backend.application_name or NO_APPLICATION
        case "user":
            return backend.usename or ""
        case "database":
            return backend.datname or ""
        case "address":
            return client(backend)
        case "state":
            return f"{backend.state or ''}\n{state(backend)}"
        case "pid":
            return str(backend.pid)
        case _:
            return backend.query or ""


class Column(StrEnum):
    """What the list can be sorted by; the value is the column's head."""

    PID = "PID"
    APPLICATION = "application"
    USER = "user"
    DATABASE = "database"
    CLIENT = "client"
    STATE = "state"
    IDLE_AGE = "idle age"
    SESSION_AGE = "session age"
    TRANSACTION_AGE = "in txn"
    WAIT = "wait"
    QUERY = "query"


_Value = int | str | tuple[int, bytes, int]


def sort_backends(
    backends: Iterable[Backend], column: Column = Column.IDLE_AGE, reverse: bool = False
) -> list[Backend]:
    """The backends in the order of a column: the longest age first, names from a to z; or in `reverse`.

    By idle age the idle come first, and the rest follow by the age of their state. What has no value comes
    last whatever the direction. Equal ones stand by backend_start and pid, so that there is only one order.
    """
    value_of = _VALUES[column]
    first: list[tuple[_Value, Backend]] = []
    second: list[tuple[_Value, Backend]] = []
    last: list[Backend] = []
    for backend in sorted(backends, key=_by_start):
        value = value_of(backend)
        if value is None or value == "":
            last.append(backend)
        elif column is Column.IDLE_AGE and backend.state != IDLE:
            second.append((value, backend))
        else:
            first.append((value, backend))
    # A sort keeps the order of equals in both directions, and never compares two backends.
    first.sort(key=itemgetter(0), reverse=reverse)
    second.sort(key=itemgetter(0), reverse=reverse)
    return [backend for _, backend in first] + [backend for _, backend in second] + last


def _by_start(backend: Backend) -> tuple[bool, int, int]:
    return backend.backend_start is None, backend.backend_start or 0, backend.pid


def _client_value(backend: Backend) -> _Value | None:
    host = address(backend)
    return None if host is None else (*_address_value(host), backend.client_port or 0)


@lru_cache(maxsize=4096)
def _address_value(host: str) -> tuple[int, bytes]:
    """An address as a number: 10.0.4.7 stands before 10.0.10.1, sockets first, unreadable ones last."""
    if host == LOCAL:
        return 0, b""
    try:
        parsed = ip_address(host)
    except ValueError:
        return 9, host.encode("utf-8", "surrogatepass")
    return parsed.version, parsed.packed


_VALUES: Final[dict[Column, Callable[[Backend], _Value | None]]] = {
    Column.PID: attrgetter("pid"),
    Column.APPLICATION: lambda backend: (backend.application_name or "").casefold(),
    Column.USER: lambda backend: (backend.usename or "").casefold(),
    Column.DATABASE: lambda backend: (backend.datname or "").casefold(),
    Column.CLIENT: _client_value,
    Column.STATE: attrgetter("state"),
    Column.IDLE_AGE: attrgetter("state_change"),
    Column.SESSION_AGE: attrgetter("backend_start"),
    Column.TRANSACTION_AGE: attrgetter("xact_start"),
    Column.WAIT: wait,
    Column.QUERY: lambda backend: (backend.query or "").casefold(),
}
