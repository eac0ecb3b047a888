"""Polls as bytes: a chunk holds a few, each as its difference from the one before.

A chain is the chunks of one writer from a keyframe on: a chunk that needs nothing before it. In a chain each
text is written once and then named by its number, and a session that did not change takes no byte. Times of
sessions are written as their distance from the poll's own. The whole is msgpack, and compressed by zlib.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from pgtop.core.activity import (
    MOST_CONNECTIONS,
    Backend,
    BackendId,
    ConnectionLimit,
    Moment,
    Privileges,
    Server,
    Snapshot,
)
from pgtop.core.diagnosis.scene import Facts
from pgtop.core.outage import Limit, Outage
from pgtop.core.recorded import Event, Seen
from pgtop.core.stalled_logins import Stall

FORMAT: Final = 1
"""The format of a chunk: the number grows where an older pgtop could not read it."""
MOST_BYTES: Final = 64 * 1024 * 1024
"""The most bytes of a chunk when it is decompressed: a foreign file must not fill the memory."""

_LEVEL: Final = 6
_MANY: Final = 8
"""One in so many sessions at another one's place: they have moved, and are not told place by place."""

_FIELDS: Final = Backend.__struct_fields__
_TIMES: Final = frozenset({"backend_start", "state_change", "xact_start", "query_start"})
_TEXTS: Final = frozenset(
    {
        "state",
        "application_name",
        "usename",
        "datname",
        "client_addr",
        "wait_event_type",
        "wait_event",
        "query",
    }
)
_BLANK: Final = Backend(
    1, None, None, None, None, None, None, None, None, None, None, None, None, False, None
)
"""The session that a new one is written as a difference from."""


class ForeignChunkError(Exception):
    """A chunk that a newer pgtop wrote, that is damaged, or that misses the ones before it."""


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """The parts of a snapshot that seldom change."""

    server: Server
    privileges: Privileges
    own_pid: int
    is_rescue: bool
    interruptions: int
    connection_limits: tuple[ConnectionLimit, ...]
    listeners: frozenset[BackendId]


class _Beside(msgspec.Struct, frozen=True, array_like=True):
    """The parts of a poll beside the snapshot, which seldom change."""

    interval_seconds: float
    refusing: Limit | None = None
    blocked_by: dict[int, frozenset[int]] = {}
    stall: Stall | None = None
    logins_per_minute: float | None = None
    keepalive_seconds: float | None = None

    @property
    def facts(self) -> Facts:
        return Facts(self.blocked_by, self.stall, self.logins_per_minute, self.keepalive_seconds)


_Row = tuple[Annotated[int, Meta(ge=0, le=MOST_CONNECTIONS)], int, list[Any]]
"""A place in the list of sessions, the changed fields as bits, and their values in order."""


class _Poll(msgspec.Struct, frozen=True, array_like=True):
    """One poll as the difference from the one before it in the chain."""

    at: Moment
    outage: Outage | None = None
    """All that there is of a failed poll; None for a snapshot."""
    poll_seconds: float = 0.0
    unlisted: int = 0
    gone: tuple[int, ...] = ()
    """The places of the sessions that are gone, in the list before."""
    changed: tuple[_Row, ...] = ()
    """The sessions that changed, by their places once those that are gone have left."""
    came: tuple[_Row, ...] = ()
    """The new sessions, by their places in the new list, rising."""
    head: _Head | None = None
    """None where it is as before."""
    beside: _Beside | None = None
    """None where it is as before."""


class _Chunk(msgspec.Struct, frozen=True, array_like=True):
    format: int
    is_key: bool
    texts: tuple[str, ...] = ()
    """The texts that are new, numbered on from those before."""
    polls: tuple[_Poll, ...] = ()
    follows: int = 0
    """The checksum of the chunk before it; 0 of a keyframe."""


class _Envelope(msgspec.Struct, frozen=True, array_like=True):
    """The beginning of every chunk, whatever its format."""

    format: int


class _Chain:
    """The state that the next poll of a chain is a difference from."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.numbers: dict[str, int] = {}
        self.backends: tuple[Backend, ...] = ()
        self.head: _Head | None = None
        self.beside: _Beside | None = None


class Encoder:
    """The writer of a chain's chunks, one after the other."""

    def __init__(self) -> None:
        self._chain = _Chain()
        self._is_new = True
        self._checksum = 0
        self._encoder = msgspec.msgpack.Encoder()

    def begin(self) -> None:
        """Let the next chunk be a keyframe, which needs nothing before it."""
        self._chain, self._is_new, self._checksum = _Chain(), True, 0

    def encode(self, polls: Iterable[Seen]) -> bytes:
        """Return a chunk of these polls, which follow those of the chunk before."""
        chain, is_key = self._chain, self._is_new
        known = len(chain.texts)
        written = tuple(_written(chain, each) for each in polls)
        self._is_new = False
        chunk = _Chunk(FORMAT, is_key, tuple(chain.texts[known:]), written, self._checksum)
        compressed = zlib.compress(self._encoder.encode(chunk), _LEVEL)
        self._checksum = zlib.crc32(compressed)
        return compressed


class Decoder:
    """The reader of a chain's chunks, one after the other."""

    def __init__(self) -> None:
        self._chain: _Chain | None = None
        self._checksum = 0
        self._decoder = msgspec.msgpack.Decoder(_Chunk)

    def decode(self, chunk: bytes) -> Iterator[Seen]:
        """Yield the polls of a chunk, which follows the one decoded before unless it is a keyframe.

        Raises ForeignChunkError for a chunk that cannot be read; the next that can is a keyframe.
        """
        try:
            read = self._decoder.decode(_decompressed(chunk))
            if read.is_key:
                self._chain = _Chain()
            elif self._chain is None or read.follows != self._checksum:
                raise ForeignChunkError("the chunk before it is missing")
            self._checksum = zlib.crc32(chunk)
            self._chain.texts.extend(read.texts)
            for poll in read.polls:
                yield _read(self._chain, poll)
        except (msgspec.ValidationError, msgspec.DecodeError, zlib.error, LookupError, TypeError) as error:
            self._chain = None
            raise ForeignChunkError(str(error)) from error
        except ForeignChunkError:
            self._chain = None
            raise


def encode_event(event: Event) -> bytes:
    """Return an event as bytes."""
    return zlib.compress(msgspec.msgpack.encode(event), _LEVEL)


def decode_event(written: bytes) -> Event:
    """Return an event. Raises ForeignChunkError for one that a newer pgtop wrote, or that is damaged."""
    inflating = zlib.decompressobj()
    try:
        whole = inflating.decompress(written, MOST_BYTES)
        if not inflating.eof:
            raise ForeignChunkError("it is cut short, or too large")
        event: Event = msgspec.msgpack.decode(whole, type=Event)
    except (msgspec.ValidationError, msgspec.DecodeError, zlib.error, TypeError) as error:
        raise ForeignChunkError(str(error)) from error
    return event


def _decompressed(chunk: bytes) -> bytes:
    inflating = zlib.decompressobj()
    whole = inflating.decompress(chunk, MOST_BYTES)
    if not inflating.eof:
        raise ForeignChunkError("it is cut short, or too large")
    written = msgspec.msgpack.decode(whole, type=_Envelope).format
    if written > FORMAT:
        raise ForeignChunkError(f"a newer pgtop wrote it (format {written})")
    return whole


def _head_of(snapshot: Snapshot) -> _Head:
    return _Head(
        snapshot.server,
        snapshot.privileges,
        snapshot.own_pid,
        snapshot.is_rescue,
        snapshot.interruptions,
        snapshot.connection_limits,
        snapshot.listeners,
    )


def _written(chain: _Chain, seen: Seen) -> _Poll:
    facts = seen.facts
    beside: _Beside | None = _Beside(
        seen.interval_seconds,
        seen.refusing,
        dict(facts.blocked_by),
        facts.stall,
        facts.logins_per_minute,
        facts.keepalive_seconds,
    )
    if beside == chain.beside:
        beside = None
    else:
        chain.beside = beside
    snapshot = seen.result
    if isinstance(snapshot, Outage):
        return _Poll(seen.at, snapshot, beside=beside)
    head: _Head | None = _head_of(snapshot)
    if head == chain.head:
        head = None
    else:
        chain.head = head
    gone, changed, came = _difference(chain, snapshot.backends, snapshot.taken_at)
    chain.backends = snapshot.backends
    return _Poll(seen.at, None, snapshot.poll_seconds, snapshot.unlisted, gone, changed, came, head, beside)


def _difference(
    chain: _Chain, now: tuple[Backend, ...], at: int
) -> tuple[tuple[int, ...], tuple[_Row, ...], tuple[_Row, ...]]:
    """Return the places that are empty now, the sessions that changed, and the new ones.

    Sessions keep their order from poll to poll, since the server lists its own slots. Where one does not, all
    are written anew.
    """
    before = chain.backends
    if len(now) == len(before):
        differing = [
            (place, old, new)
            for place, (old, new) in enumerate(zip(before, now, strict=True))
            if new is not old
        ]
        others = sum(old.pid != new.pid for _, old, new in differing)
        if others * _MANY <= len(now):  # most are where they were: one that took a place is told as changed
            return (), tuple(_row(chain, *each, at) for each in differing if each[1] != each[2]), ()
    places = {backend.pid: place for place, backend in enumerate(now)}
    kept: list[tuple[Backend, Backend]] = []
    gone: list[int] = []
    last = -1
    stays: set[int] = set()
    for place, backend in enumerate(before):
        new_place = places.get(backend.pid)
        if new_place is None or now[new_place].backend_start != backend.backend_start or new_place <= last:
            gone.append(place)
            continue
        last = new_place
        stays.add(new_place)
        kept.append((backend, now[new_place]))
    changed = tuple(
        _row(chain, place, old, new, at)
        for place, (old, new) in enumerate(kept)
        if new is not old and new != old
    )
    came = tuple(
        _row(chain, place, _BLANK, backend, at) for place, backend in enumerate(now) if place not in stays
    )
    return tuple(gone), changed, came


def _row(chain: _Chain, place: int, old: Backend, new: Backend, at: int) -> _Row:
    bits, values = 0, []
    for number, name in enumerate(_FIELDS):
        value = getattr(new, name)
        if value == getattr(old, name):
            continue
        bits |= 1 << number
        if value is not None and name in _TIMES:
            value = at - value
        elif value is not None and name in _TEXTS:
            value = _number(chain, value)
        values.append(value)
    return place, bits, values


def _number(chain: _Chain, text: str) -> int:
    number = chain.numbers.get(text)
    if number is None:
        number = chain.numbers[text] = len(chain.texts)
        chain.texts.append(text)
    return number


def _read(chain: _Chain, poll: _Poll) -> Seen:
    if poll.head is not None:
        chain.head = poll.head
    if poll.beside is not None:
        chain.beside = poll.beside
    head, beside = chain.head, chain.beside
    if beside is None:
        raise ForeignChunkError("the keyframe before it is missing")
    result: Snapshot | Outage
    if poll.outage is not None:
        result = poll.outage
    elif head is None:
        raise ForeignChunkError("the keyframe before it is missing")
    else:
        chain.backends = _applied(chain, poll)
        result = Snapshot(
            server=head.server,
            privileges=head.privileges,
            taken_at=poll.at,
            poll_seconds=poll.poll_seconds,
            own_pid=head.own_pid,
            backends=chain.backends,
            listeners=head.listeners,
            is_rescue=head.is_rescue,
            interruptions=head.interruptions,
            connection_limits=head.connection_limits,
            unlisted=poll.unlisted,
        )
    return Seen(poll.at, result, beside.interval_seconds, beside.facts, beside.refusing)


def _applied(chain: _Chain, poll: _Poll) -> tuple[Backend, ...]:
    if not (poll.gone or poll.changed or poll.came):
        return chain.backends
    gone = set(poll.gone)
    backends = [each for place, each in enumerate(chain.backends) if place not in gone]
    for place, bits, values in poll.changed:
        backends[place] = _session(chain, backends[place], bits, values, poll.at)
    for place, bits, values in poll.came:
        backends.insert(place, _session(chain, _BLANK, bits, values, poll.at))
    return tuple(backends)


def _session(chain: _Chain, old: Backend, bits: int, values: list[Any], at: int) -> Backend:
    """Return a session with those fields changed, checked as a poll's are."""
    fields = list(msgspec.structs.astuple(old))
    given = iter(values)
    for number, name in enumerate(_FIELDS):
        if not bits >> number & 1:
            continue
        value = next(given, None)
        if value is not None and name in _TIMES:
            value = at - value
        elif value is not None and name in _TEXTS:
            value = chain.texts[value]
        fields[number] = value
    return msgspec.convert(fields, Backend)
