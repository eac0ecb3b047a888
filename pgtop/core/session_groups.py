"""Backends counted by group: the rows of the upper table and of the JSON, and their history.

A group's key stays the same from poll to poll, so that its history is kept under it.
"""

from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from enum import StrEnum
from heapq import nlargest
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from pgtop.core.activity import IDLE, MICROSECONDS, Backend, Counts, Snapshot, count, seconds_between
from pgtop.core.diagnosis.statements import fingerprint
from pgtop.core.session_labels import (
    HIDDEN,
    NO_APPLICATION,
    NO_DATABASE,
    NO_STATEMENT,
    NO_USER,
    address,
    label,
)
from pgtop.core.text import clip, plural
from pgtop.core.timeline import Timeline


class GroupBy(StrEnum):
    """The property by which the upper table groups sessions."""

    APPLICATION = "application"
    USER = "user"
    DATABASE = "database"
    ADDRESS = "address"
    STATEMENT = "statement"


class GroupKey(msgspec.Struct, frozen=True):
    """The values that all sessions of a group have in common. It is hashable and the same from poll to poll.

    UNSET means that the grouping ignores the field. None is a value, such as that of a session without a
    user.
    """

    application_name: str | UnsetType = UNSET
    """The shared application_name; empty for sessions that gave none."""
    usename: str | UnsetType | None = UNSET
    datname: str | UnsetType | None = UNSET
    client_addr: str | UnsetType | None = UNSET
    """The shared address in the form that `address()` returns."""
    statement: str | UnsetType | None = UNSET
    """The fingerprint of the current or last statement; empty before the first, None if hidden."""

    def matches(self, backend: Backend) -> bool:
        """Return whether a session belongs to the group; a key with no field set matches all."""
        return (
            self.application_name in (UNSET, backend.application_name or "")
            and self.usename in (UNSET, backend.usename)
            and self.datname in (UNSET, backend.datname)
            and self.client_addr in (UNSET, address(backend))
            and (self.statement is UNSET or self.statement == _statement(backend))
        )


OPENED_SECONDS: Final = 300.0
"""The seconds within which a session counts as opened lately."""


class Group(msgspec.Struct, frozen=True):
    """The sessions of one group, counted."""

    key: GroupKey
    counts: Counts
    applications: frozenset[str]
    users: frozenset[str | None]
    databases: frozenset[str | None]
    addresses: frozenset[str | None]
    oldest_idle_seconds: float | None
    """The longest idle age in the group, in seconds; None if no session is idle."""
    share: float
    """The group's fraction of the slots (not of the sessions); the rows add up to the usage."""
    opened: int = 0
    """The sessions that began within OPENED_SECONDS: the group has gained no more than these since then."""

    @property
    def total(self) -> int:
        """The number of sessions in the group, hidden ones included."""
        return self.counts.total

    @property
    def idle(self) -> int:
        """The number of sessions in state `idle`."""
        return self.counts.idle

    @property
    def active(self) -> int:
        """The number of sessions in state `active`."""
        return self.counts.active

    @property
    def in_transaction(self) -> int:
        """The number of sessions idle in transaction, aborted ones included."""
        return self.counts.in_transaction

    @property
    def application(self) -> str:
        """The one name that all share, or their number, such as `3 applications`; printable."""
        return _one_or_many(self.applications, "application", NO_APPLICATION)

    @property
    def user(self) -> str:
        """The one user that all share, or their number, such as `3 users`; printable."""
        return _one_or_many(self.users, "user", NO_USER)

    @property
    def database(self) -> str:
        """The one database that all share, or their number, such as `3 databases`; printable."""
        return _one_or_many(self.databases, "database", NO_DATABASE)

    @property
    def client(self) -> str:
        """The one address that all share, or their number, such as `3 addresses`; printable."""
        return _one_or_many(self.addresses, "address", HIDDEN, "addresses")


def _one_or_many(
    values: frozenset[str] | frozenset[str | None], noun: str, empty: str, many: str = ""
) -> str:
    return label(next(iter(values)), empty) if len(values) == 1 else plural(len(values), noun, many or None)


def group(backends: Iterable[Backend], by: GroupBy, now: int, slots: int) -> tuple[Group, ...]:
    """Return the rows of the upper table at `now` (microseconds): the largest group first, then by name."""
    members: dict[GroupKey, list[Backend]] = {}
    keys: dict[str | None, GroupKey] = {}
    for backend in backends:
        value = _grouped_value(backend, by)
        if value not in keys:
            keys[value] = _key(by, value)
        members.setdefault(keys[value], []).append(backend)
    return _groups(members, now, slots)


def applications(snapshot: Snapshot) -> tuple[Group, ...]:
    """Group a snapshot's sessions by application_name, usename and datname together, largest group first."""
    rows: dict[tuple[str, str | None, str | None], list[Backend]] = {}
    for backend in snapshot.backends:
        row = (backend.application_name or "", backend.usename, backend.datname)
        rows.setdefault(row, []).append(backend)
    members = {GroupKey(name, user, database): rows[name, user, database] for name, user, database in rows}
    return _groups(members, snapshot.taken_at, snapshot.slots)


def _grouped_value(backend: Backend, by: GroupBy) -> str | None:
    match by:
        case GroupBy.APPLICATION:
            return backend.application_name or ""
        case GroupBy.USER:
            return backend.usename
        case GroupBy.DATABASE:
            return backend.datname
        case GroupBy.ADDRESS:
            return address(backend)
        case GroupBy.STATEMENT:
            return _statement(backend)


def _statement(backend: Backend) -> str | None:
    return None if backend.query is None or backend.is_hidden else fingerprint(backend.query)


def _key(by: GroupBy, value: str | None) -> GroupKey:
    match by:
        case GroupBy.APPLICATION:
            return GroupKey(application_name=value or "")
        case GroupBy.USER:
            return GroupKey(usename=value)
        case GroupBy.DATABASE:
            return GroupKey(datname=value)
        case GroupBy.ADDRESS:
            return GroupKey(client_addr=value)
        case GroupBy.STATEMENT:
            return GroupKey(statement=value)


def _groups(members: dict[GroupKey, list[Backend]], now: int, slots: int) -> tuple[Group, ...]:
    groups = [_group(key, tuple(backends), now, slots) for key, backends in members.items()]
    return tuple(sorted(groups, key=_rank))


def _group(key: GroupKey, backends: tuple[Backend, ...], now: int, slots: int) -> Group:
    begun = now - int(OPENED_SECONDS * MICROSECONDS)
    idle_since = [b.state_change for b in backends if b.state == IDLE and b.state_change is not None]
    return Group(
        key=key,
        counts=count(backends),
        applications=frozenset(b.application_name or "" for b in backends),
        users=frozenset(b.usename for b in backends),
        databases=frozenset(b.datname for b in backends),
        addresses=frozenset(address(b) for b in backends),
        oldest_idle_seconds=seconds_between(min(idle_since, default=None), now),
        share=len(backends) / slots,
        opened=sum(b.backend_start is not None and b.backend_start >= begun for b in backends),
    )


def _rank(one: Group) -> tuple[int, list[tuple[bool, str]]]:
    key = one.key
    values = (key.application_name, key.usename, key.datname, key.client_addr, key.statement)
    return -one.total, [(value is None, "" if value is UNSET else value or "") for value in values]


HEADS: Final = {
    GroupBy.APPLICATION: "applications",
    GroupBy.USER: "users",
    GroupBy.DATABASE: "databases",
    GroupBy.ADDRESS: "addresses",
    GroupBy.STATEMENT: "statements",
}


def key_name(key: GroupKey, by: GroupBy) -> str:
    """Return a group's name, printable. It needs the key alone, so a group without sessions has one too."""
    values = {
        GroupBy.APPLICATION: (key.application_name, NO_APPLICATION),
        GroupBy.USER: (key.usename, NO_USER),
        GroupBy.DATABASE: (key.datname, NO_DATABASE),
        GroupBy.ADDRESS: (key.client_addr, HIDDEN),
        GroupBy.STATEMENT: (key.statement, HIDDEN if key.statement is None else NO_STATEMENT),
    }
    value, empty = values[by]
    return label(value if isinstance(value, str) else None, empty)


_LONGEST_NAMED: Final = 22


def group_words(key: GroupKey, by: GroupBy) -> str:
    """Return a group as a sentence names it, printable and short.

    >>> group_words(GroupKey(application_name="web"), GroupBy.APPLICATION)
    'web'
    >>> group_words(GroupKey(usename="app"), GroupBy.USER)
    'user app'
    """
    name = clip(key_name(key, by), _LONGEST_NAMED)
    return name if by is GroupBy.APPLICATION else f"{by.value} {name}"


GROUP_EVERY_SECONDS: Final = 15


GROUP_SPAN_SECONDS: Final = 15 * 60


GROUP_KEYS: Final = 500
"""The most groups kept of one moment: the largest ones."""


Key = TypeVar("Key", bound=Hashable)


class _GroupSample(msgspec.Struct, Generic[Key], frozen=True):
    at: int
    totals: dict[Key, int]
    whole: bool
    """False if smaller groups were left out: a missing group was then small, not absent."""


class GroupHistory(Generic[Key]):
    """The number of client backends in each group over the last 15 minutes.

    It keeps one sample every 15 s, and the latest: at most 62 samples of at most 500 groups, the largest
    ones.
    """

    def __init__(self) -> None:
        self._clock = Timeline()
        self.samples: deque[_GroupSample[Key]] = deque(maxlen=GROUP_SPAN_SECONDS // GROUP_EVERY_SECONDS + 1)
        """One each 15 s, oldest first."""
        self._current: _GroupSample[Key] | None = None

    def add(self, at: int, totals: Mapping[Key, int]) -> None:
        """Add each group's total at `at` (microseconds by the server's clock)."""
        moment = self._clock.take(at)
        if len(totals) <= GROUP_KEYS:
            self._current = _GroupSample(moment, dict(totals), True)
        else:
            biggest = nlargest(GROUP_KEYS, totals.items(), key=lambda item: item[1])
            self._current = _GroupSample(moment, dict(biggest), False)
        every = GROUP_EVERY_SECONDS * MICROSECONDS
        if not self.samples or moment // every != self.samples[-1].at // every:
            self.samples.append(self._current)

    def put_before(self, earlier: Iterable[tuple[int, Mapping[Key, int]]]) -> None:
        """Put earlier totals in front of the first sample; times are microseconds by the server's clock."""
        later = [(self._clock.shown(each.at), each) for each in self.samples]
        first = later[0][0] if later else None
        before: GroupHistory[Key] = GroupHistory()
        for at, totals in earlier:
            if first is None or at < first:
                before.add(at, totals)
        for at, each in later:
            before.add(at, each.totals)
            before.samples[-1] = _GroupSample(before.samples[-1].at, each.totals, each.whole)
        if self._current is not None:
            before._current = self._current
        self.samples, self._clock, self._current = before.samples, before._clock, before._current

    def compared_with(self, now: int, seconds: float = GROUP_SPAN_SECONDS) -> int | None:
        """Return the time that `change` compares with, in microseconds; None if there is none yet.

        It is the time of the oldest sample in the last `seconds`: pgtop may have been opened a minute ago.
        """
        base = self._base(now, seconds)
        return None if base is None else self._clock.shown(base.at)

    def change(self, key: Key, total: int, now: int, seconds: float = GROUP_SPAN_SECONDS) -> int | None:
        """Return how many client backends a group has gained; below 0 if it has lost some.

        The gain is `total`, the group's number at `now`, minus an earlier number. It is None if there is
        nothing to compare with yet, or if the group was too small to be kept then. Samples after `now` are
        ignored: `now` stands still while the display is paused.
        """
        base = self._base(now, seconds)
        before = _total(base, key) if base is not None else None
        return None if before is None else total - before

    def series(self, key: Key) -> list[int]:
        """Return the group's totals over the last 15 minutes, the oldest first."""
        samples = list(self.samples)
        if self._current is not None and (not samples or samples[-1] is not self._current):
            samples.append(self._current)
        return [sample.totals.get(key, 0) for sample in samples]

    def _base(self, now: int, seconds: float) -> _GroupSample[Key] | None:
        moment = self._clock.moment(now)
        earliest = moment - int(seconds * MICROSECONDS)
        oldest = next((sample for sample in self.samples if sample.at >= earliest), None)
        return oldest if oldest is not None and oldest.at < moment else None


def _total(sample: _GroupSample[Key], key: Key) -> int | None:
    return sample.totals.get(key, 0 if sample.whole else None)
