"""The filter and the sort order of the session list.

The list does not depend on the order in which the backends come, so that a row moves only if something about
it changed.
"""

import operator
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address
from operator import attrgetter, itemgetter
from typing import Final

import msgspec

from pgtop.core.activity import IDLE, Backend
from pgtop.core.name_patterns import LONGEST_NAME_BYTES, application_holds, identifier_holds
from pgtop.core.session_labels import LOCAL, NO_APPLICATION, STATE_WORDS, address, client, state, wait
from pgtop.core.text import clip, parse_duration, printable


def stale(backend: Backend, now: int, idle_after_seconds: float) -> bool:
    """Return whether a session is `idle` for longer than `idle_after_seconds` at `now` (microseconds)."""
    idle = backend.idle_seconds(now)
    return idle is not None and idle > idle_after_seconds


class Term(msgspec.Struct, frozen=True):
    """One word of a filter."""

    word: str
    """The word to look for, as it was typed."""
    field: str = ""
    """The field to look in, one of the values of `FIELDS`; "" for all of them."""
    negated: bool = False

    def matches(self, backend: Backend, everything: str) -> bool:
        """Return whether the word is found (absent if negated); `everything` is all fields, case-folded."""
        return self._found(backend, everything) != self.negated

    def _found(self, backend: Backend, everything: str) -> bool:
        word = self.word.casefold()
        if self.field == "pid":
            return word == str(backend.pid)
        if self.field == "state" and word in _WHOLE_STATES:
            return word in _searched(backend, "state").split("\n")
        if self.field:
            is_written = word in _searched(backend, self.field).casefold()
            return is_written or self._is_folded(backend, (self.field,))
        return word in everything or self._is_folded(backend, _NAMES)

    def _is_folded(self, backend: Backend, fields: Iterable[str]) -> bool:
        """Return whether a name holds the word in the form that the server gives it."""
        if self.word.isascii() and len(self.word) <= LONGEST_NAME_BYTES:
            return False
        return any(_NAMES[field](self.word, _searched(backend, field)) for field in fields if field in _NAMES)


class AgeTerm(msgspec.Struct, frozen=True):
    """One comparison of an age in a filter, such as `idle>5m`. A session without that age fails it."""

    field: str
    """The age, one of the keys of `AGES`."""
    comparison: str
    """One of the keys of `COMPARISONS`."""
    seconds: float
    negated: bool = False

    def matches(self, backend: Backend, now: int) -> bool:
        """Return whether the session's age at `now` (microseconds) compares so, or does not if negated."""
        age = AGES[self.field](backend, now)
        return (age is not None and COMPARISONS[self.comparison](age, self.seconds)) != self.negated


class Filter(msgspec.Struct, frozen=True):
    """The filter that `/` sets on the list. A session must match every term; without terms, all match."""

    terms: tuple[Term, ...] = ()
    ages: tuple[AgeTerm, ...] = ()
    problem: str = ""
    """The reason that the text is not a filter, printable; no session matches then. "" if it is one."""

    @property
    def narrows(self) -> bool:
        """True if the filter may leave out a session."""
        return bool(self.terms or self.ages or self.problem)

    def matches(self, backend: Backend, now: int) -> bool:
        """Return whether the list shows the session at `now` (microseconds by the server's clock)."""
        if self.problem or not all(age.matches(backend, now) for age in self.ages):
            return False
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
"""The field names that a filter may have before a colon, with the field each one stands for."""

AGES: Final[dict[str, Callable[[Backend, int], float | None]]] = {
    "idle": Backend.idle_seconds,
    "txn": Backend.xact_seconds,
    "age": Backend.session_seconds,
}
"""The ages that a filter may compare: of the idle state, of the transaction, and of the session."""

COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}

_NAMES: Final = {
    "application": application_holds,
    "user": identifier_holds,
    "database": identifier_holds,
}
"""The fields whose values a server does not show as they were given."""
_WHOLE_STATES: Final = frozenset({*STATE_WORDS, *STATE_WORDS.values()})
_TERM: Final = re.compile(
    r"""(?P<sign>[-!])?
      (?: (?P<age>(?ai:idle|txn|age))\s*(?P<comparison>[<>]=?|=)\s*(?P<limit>\S*)
        | (?P<field>(?ai:[a-z_]+))(?P<mark>:(?!:)|[<>]=?)(?:"(?P<quoted>[^"]*)(?:"|$)|(?P<plain>\S*))
        | "(?P<text>[^"]*)(?:"|$)
        | (?P<word>\S*))""",
    re.VERBOSE,
)
_LONGEST_SHOWN: Final = 20


def parse_filter(text: str) -> Filter:
    """Return the filter that a person typed. It never raises: see `Filter.problem`.

    Words are separated by blanks. Each one must be found, in upper or lower case, in application, user,
    database, address, state, pid or query. `app:`, `user:`, `db:`, `addr:`, `state:`, `pid:` or `query:`
    before a word looks in that field alone. Names are compared as the server shows them, which cuts long ones
    and writes an application's é as two bytes. `pid:` compares the whole number; `state:idle` and the other
    states compare the whole state. `idle>5m`, `txn>=30s` and `age<1h` compare an age with a duration. `"`
    quotes blanks, up to the end of the text if it is not closed. `-` or `!` in front negates. A word that is
    still empty, as while it is being typed, matches everything.

    >>> parse_filter('app:web -state:idle "order by"').terms
    (Term(word='web', field='application', negated=False), Term(word='idle', field='state', negated=True), \
Term(word='order by', field='', negated=False))
    >>> parse_filter("idle>5m").ages
    (AgeTerm(field='idle', comparison='>', seconds=300.0, negated=False),)
    >>> parse_filter("stat:idle").problem, parse_filter("idle>soon").problem
    ('unknown field stat: (state?)', '"soon" is not a duration, such as 30s, 5m or 1h')
    """
    terms: list[Term] = []
    ages: list[AgeTerm] = []
    for found in _TERM.finditer(text):
        problem = _problem(found)
        if problem:
            return Filter(problem=problem)
        negated, field = found["sign"] is not None, found["field"]
        if found["age"] is not None:
            seconds = parse_duration(found["limit"])
            ages.append(AgeTerm(found["age"].casefold(), found["comparison"], seconds, negated))
        elif word := found["quoted"] or found["plain"] or found["text"] or found["word"]:
            terms.append(Term(word, FIELDS[field.casefold()] if field else "", negated))
    return Filter(tuple(terms), tuple(ages))


def _problem(found: re.Match[str]) -> str:
    """Return why a term is none, printable; "" if it is one."""
    if (age := found["age"]) is not None:
        return _age_problem(age.casefold(), found["comparison"], found["limit"])
    if found["field"] is None:
        return ""
    name, mark = found["field"].casefold(), found["mark"]
    if name in AGES:
        return f"{name} is compared, as in {name}>5m"
    if name not in FIELDS:
        near = get_close_matches(name, [*FIELDS, *AGES], 1)
        hint = f"{near[0]}?" if near else "in quotes it is text"
        return f"unknown field {clip(name, _LONGEST_SHOWN)}{mark} ({hint})"
    return "" if mark == ":" else f"{name} takes a colon, as in {name}:web"


def _age_problem(age: str, comparison: str, limit: str) -> str:
    if comparison not in COMPARISONS:
        return f"{age} is compared with >, <, >= or <="
    if not limit:
        return f"{age}{comparison} needs a duration, such as 5m"
    try:
        parse_duration(limit)
    except ValueError:
        return f'"{clip(printable(limit), _LONGEST_SHOWN)}" is not a duration, such as 30s, 5m or 1h'
    return ""


def _everything(backend: Backend) -> str:
    # Written out, because each key of a word looks through all sessions: a call for each field is slower.
    return (
        f"{backend.application_name or NO_APPLICATION}\n{backend.usename or ''}\n{backend.datname or ''}\n"
        f"{client(backend)}\n{backend.state or ''}\n{state(backend)}\n{backend.pid}\n{backend.query or ''}"
    ).casefold()


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


class SortColumn(StrEnum):
    """A column that the list can be sorted by. The value is the column's heading."""

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
    backends: Iterable[Backend], column: SortColumn = SortColumn.IDLE_AGE, reverse: bool = False
) -> list[Backend]:
    """Return the backends in the order of a column: longest age first, names from a to z; or in `reverse`.

    By idle age, idle sessions come first, and the rest follow by the age of their state. Backends without a
    value come last in both directions. Equal ones are ordered by backend_start and pid, so that there is only
    one order.
    """
    value_of = _VALUES[column]
    first: list[tuple[_Value, Backend]] = []
    second: list[tuple[_Value, Backend]] = []
    last: list[Backend] = []
    for backend in sorted(backends, key=_by_start):
        value = value_of(backend)
        if value is None or value == "":
            last.append(backend)
        elif column is SortColumn.IDLE_AGE and backend.state != IDLE:
            second.append((value, backend))
        else:
            first.append((value, backend))
    # The sort is stable, reversed too, and compares values only: equals keep the order of `_by_start`.
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
    """Return a sort key for an address: 10.0.4.7 before 10.0.10.1, sockets first, unreadable ones last."""
    if host == LOCAL:
        return 0, b""
    try:
        parsed = ip_address(host)
    except ValueError:
        return 9, host.encode("utf-8", "surrogatepass")
    return parsed.version, parsed.packed


_VALUES: Final[dict[SortColumn, Callable[[Backend], _Value | None]]] = {
    SortColumn.PID: attrgetter("pid"),
    SortColumn.APPLICATION: lambda backend: (backend.application_name or "").casefold(),
    SortColumn.USER: lambda backend: (backend.usename or "").casefold(),
    SortColumn.DATABASE: lambda backend: (backend.datname or "").casefold(),
    SortColumn.CLIENT: _client_value,
    SortColumn.STATE: attrgetter("state"),
    SortColumn.IDLE_AGE: attrgetter("state_change"),
    SortColumn.SESSION_AGE: attrgetter("backend_start"),
    SortColumn.TRANSACTION_AGE: attrgetter("xact_start"),
    SortColumn.WAIT: wait,
    SortColumn.QUERY: lambda backend: (backend.query or "").casefold(),
}
