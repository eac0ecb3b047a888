"""The groups that backends form, counted: the rows of the upper table, and of the JSON.

A group's key stays the same from poll to poll, so that its history can be kept by it.
"""

from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from enum import StrEnum
from heapq import nlargest
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from pgtop.core.activity import IDLE, MICROSECONDS, Backend, Counts, Snapshot, count, seconds_between
from pgtop.core.labels import HIDDEN, NO_APPLICATION, NO_DATABASE, NO_USER, address, label
from pgtop.core.text import plural
from pgtop.core.timeline import Timeline


class GroupBy(StrEnum):
    """What the upper table has a row for."""

    APPLICATION = "application"
    USER = "user"
    DATABASE = "database"
    ADDRESS = "address"


class GroupKey(msgspec.Struct, frozen=True):
    """What all sessions of a group have in common: hashable, and the same from poll to poll.

    UNSET is what the grouping leaves open; None is a value, such as that of a session without a user.
    """

    application_name: str | UnsetType = UNSET
    """Empty for the sessions that gave none."""
    usename: str | UnsetType | None = UNSET
    datname: str | UnsetType | None = UNSET
    client_addr: str | UnsetType | None = UNSET
    """As `address()` has it."""

    def matches(self, backend: Backend) -> bool:
        """True for a session of this group; an empty key matches all."""
        return (
            self.application_name in (UNSET, backend.application_name or "")
            and self.usename in (UNSET, backend.usename)
            and self.datname in (UNSET, backend.datname)
            and self.client_addr in (UNSET, address(backend))
        )


class Group(msgspec.Struct, frozen=True):
    """Sessions that have something in common, counted."""

    key: GroupKey
    counts: Counts
    applications: frozenset[str]
    users: frozenset[str | None]
    databases: frozenset[str | None]
    addresses: frozenset[str | None]
    oldest_idle_seconds: float | None
    """The longest idle age in the group; None where nobody is idle."""
    share: float
    """Of the slots, not of the sessions: the rows add up to the usage, which passes 1.0 at times."""

    @property
    def total(self) -> int:
        """All sessions of the group, hidden ones too."""
        return self.counts.total

    @property
    def idle(self) -> int:
        """Those in state `idle`."""
        return self.counts.idle

    @property
    def active(self) -> int:
        """Those in state `active`."""
        return self.counts.active

    @property
    def in_transaction(self) -> int:
        """Those idle in transaction, aborted ones included."""
        return self.counts.in_transaction

    @property
    def application(self) -> str:
        """The one name all share, or how many there are, such as `3 applications`; printable."""
        return _one_or_many(self.applications, "application", NO_APPLICATION)

    @property
    def user(self) -> str:
        """The one user all share, or how many there are, such as `3 users`; printable."""
        return _one_or_many(self.users, "user", NO_USER)

    @property
    def database(self) -> str:
        """The one database all share, or how many there are, such as `3 databases`; printable."""
        return _one_or_many(self.databases, "database", NO_DATABASE)

    @property
    def client(self) -> str:
        """The one address all share, or how many there are, such as `3 addresses`; printable."""
        return _one_or_many(self.addresses, "address", HIDDEN, "addresses")


def _one_or_many(
    values: frozenset[str] | frozenset[str | None], noun: str, empty: str, many: str = ""
) -> str:
    return label(next(iter(values)), empty) if len(values) == 1 else plural(len(values), noun, many or None)


def group(backends: Iterable[Backend], by: GroupBy, now: int, slots: int) -> tuple[Group, ...]:
    """The rows of the upper table at `now` (microseconds): the largest group first, then by name."""
    members: dict[GroupKey, list[Backend]] = {}
    keys: dict[str | None, GroupKey] = {}
    for backend in backends:
        value = _grouped_value(backend, by)
        if value not in keys:
            keys[value] = _key(by, value)
        members.setdefault(keys[value], []).append(backend)
    return _groups(members, now, slots)


def applications(snapshot: Snapshot) -> tuple[Group, ...]:
    """The snapshot's sessions by application_name, usename and datname at once; the largest group first."""
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


def _groups(members: dict[GroupKey, list[Backend]], now: int, slots: int) -> tuple[Group, ...]:
    groups = [_group(key, tuple(backends), now, slots) for key, backends in members.items()]
    return tuple(sorted(groups, key=_rank))


def _group(key: GroupKey, backends: tuple[Backend, ...], now: int, slots: int) -> Group:
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
    )


def _rank(one: Group) -> tuple[int, list[tuple[bool, str]]]:
    key = one.key
    values = (key.application_name, key.usename, key.datname, key.client_addr)
    return -one.total, [(value is None, "" if value is UNSET else value or "") for value in values]


HEADS: Final = {
    GroupBy.APPLICATION: "applications",
    GroupBy.USER: "users",
    GroupBy.DATABASE: "databases",
    GroupBy.ADDRESS: "addresses",
}


def key_name(key: GroupKey, by: GroupBy) -> str:
    """What a group is called by its key, also when it has no session any more; printable."""
    values = {
        GroupBy.APPLICATION: (key.application_name, NO_APPLICATION),
        GroupBy.USER: (key.usename, NO_USER),
        GroupBy.DATABASE: (key.datname, NO_DATABASE),
        GroupBy.ADDRESS: (key.client_addr, HIDDEN),
    }
    value, empty = values[by]
    return label(value if isinstance(value, str) else None, empty)


GROUP_EVERY_SECONDS: Final = 15


GROUP_SPAN_SECONDS: Final = 15 * 60


GROUP_KEYS: Final = 500
"""How many groups of one moment are kept, the biggest."""


Key = TypeVar("Key", bound=Hashable)


class _GroupSample(msgspec.Struct, Generic[Key], frozen=True):
    at: int
    totals: dict[Key, int]
    whole: bool
    """False where groups beyond the biggest were left out: one that is missing was small, not absent."""


class GroupHistory(Generic[Key]):
    """How many client backends each group had over the last 15 minutes.

    One sample each 15 s, and the latest: at most 62 samples of at most 500 groups, the biggest.
    """

    def __init__(self) -> None:
        self._clock = Timeline()
        self.samples: deque[_GroupSample[Key]] = deque(maxlen=GROUP_SPAN_SECONDS // GROUP_EVERY_SECONDS + 1)
        """One each 15 s, oldest first."""
        self._current: _GroupSample[Key] | None = None

    def add(self, at: int, totals: Mapping[Key, int]) -> None:
        """Adds each group's total at `at` (microseconds, the server's clock)."""
        moment = self._clock.take(at)
        if len(totals) <= GROUP_KEYS:
            self._current = _GroupSample(moment, dict(totals), True)
        else:
            biggest = nlargest(GROUP_KEYS, totals.items(), key=lambda item: item[1])
            self._current = _GroupSample(moment, dict(biggest), False)
        every = GROUP_EVERY_SECONDS * MICROSECONDS
        if not self.samples or moment // every != self.samples[-1].at // every:
            self.samples.append(self._current)

    def compared_with(self, now: int, seconds: float = GROUP_SPAN_SECONDS) -> int | None:
        """The moment `change` compares with, in microseconds; None while there is nothing to compare.

        The oldest sample of the last `seconds`: pgtop may have been opened a minute ago.
        """
        base = self._base(now, seconds)
        return None if base is None else self._clock.shown(base.at)

    def change(self, key: Key, total: int, now: int, seconds: float = GROUP_SPAN_SECONDS) -> int | None:
        """How many more client backends (or fewer, below 0) `total`, the group's at `now`, is than before.

        None where that is unknown: nothing to compare with yet, or the group was too small then to be kept.
        What came after `now` does not count, as while paused.
        """
        base = self._base(now, seconds)
        before = _total(base, key) if base is not None else None
        return None if before is None else total - before

    def series(self, key: Key) -> list[int]:
        """The group's totals over the last 15 minutes, oldest first, the latest last."""
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
