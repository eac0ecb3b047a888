"""The order in which the chunks of a recording are played: each moment once, whoever has written it.

Several programs may have written of the same time. The one that saw the most of it is shown, and where two
saw as much, the one that came first; the others fill in what it left out.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from pgtop.core.activity import MICROSECONDS
from pgtop.history.written_by_others import goes_on

_SET_BACK: Final = 120 * MICROSECONDS
"""Chunks may be written this much later than those of another program; more means a clock was set back."""

Chunk = TypeVar("Chunk")


class ChunkRow(msgspec.Struct, frozen=True, array_like=True):
    """A chunk without its polls, as the file has it."""

    id: int
    writer: int
    written_at: int
    first_at: int
    last_at: int
    interval_seconds: float
    sight: int
    is_key: bool
    polls: int


class Place(NamedTuple):
    """A chunk, or a part of one, in the order of the whole recording."""

    path: Path
    writer: int
    chunk: int
    """The chunk's id in its file."""
    chain: int
    """The id of the keyframe of its chain."""
    last_of_chain: int
    first_at: int
    last_at: int
    """The polls from `first_at` to `last_at`, both included, are those to be shown."""
    polls: int
    """Their number; 0 where it is not known, since another program's stand for the rest."""


class _Link(NamedTuple):
    """A chunk that can be read, with its chain."""

    path: Path
    row: ChunkRow
    chain: int
    last_of_chain: int


class _Span(NamedTuple):
    """A time without a gap in which one program saw as much throughout."""

    first_at: int
    last_at: int
    writer: int
    sight: int
    interval_seconds: float
    number: int
    """The place among the spans by their beginning."""

    def is_better_than(self, other: "_Span") -> bool:
        """Return whether this one is shown where both are."""
        mine = (-self.sight, self.interval_seconds, self.number)
        return mine < (-other.sight, other.interval_seconds, other.number)


def in_order(files: Sequence[tuple[Path, Sequence[ChunkRow]]]) -> list[Place]:
    """Return what to play of some files' chunks, which are given as they were written."""
    linked = [_linked(path, rows) for path, rows in files]
    places: list[Place] = []
    written = heapq.merge(*(_rising(links) for links in linked), key=lambda each: each[0])
    for era in eras((link for _, link in written), lambda link: (link.row.writer, link.row.last_at)):
        places.extend(sorted(_places(era), key=lambda each: (each.first_at, each.last_at)))
    return places


def _linked(path: Path, rows: Iterable[ChunkRow]) -> list[_Link]:
    """Return the chunks that have their keyframe."""
    chains: dict[int, int] = {}
    last: dict[int, int] = {}
    found: list[tuple[ChunkRow, int]] = []
    for row in rows:
        if row.is_key:
            chains[row.writer] = row.id
        chain = chains.get(row.writer)
        if chain is not None:
            found.append((row, chain))
            last[chain] = row.id
    return [_Link(path, row, chain, last[chain]) for row, chain in found]


def _rising(links: Iterable[_Link]) -> Iterator[tuple[int, _Link]]:
    """Yield chunks with the time of their writing, as if this host's clock had never been set back."""
    latest = 0
    for link in links:
        latest = max(latest, link.row.written_at)
        yield latest, link


def eras(chunks: Iterable[Chunk], about: Callable[[Chunk], tuple[int, int]]) -> Iterator[list[Chunk]]:
    """Yield the chunks between any two times at which the server's clock was set back by much.

    They are given as they were written; `about` returns a chunk's writer and the time of its last poll.
    """
    era: list[Chunk] = []
    latest = 0
    latest_of: dict[int, int] = {}
    for chunk in chunks:
        writer, last_at = about(chunk)
        own = latest_of.get(writer)
        # A program that was stopped for a while may be late; its own polls rise all the same.
        if era and last_at < latest - _SET_BACK and (own is None or last_at < own):
            yield era
            era, latest, latest_of = [], 0, {}
        era.append(chunk)
        latest = max(latest, last_at)
        latest_of[writer] = max(last_at, latest_of.get(writer, 0))
    if era:
        yield era


def _places(era: list[_Link]) -> Iterator[Place]:
    """Yield the chunks of an era without the parts for which another program's stand."""
    spanned = _spanned(era)
    better = _better([span for span, _ in spanned])
    for span, links in spanned:
        for link in links:
            row = link.row
            for first_at, last_at in _without(row.first_at, row.last_at, better[span.number]):
                is_whole = (first_at, last_at) == (row.first_at, row.last_at)
                polls = row.polls if is_whole else 0
                chain, last_of_chain = link.chain, link.last_of_chain
                yield Place(link.path, row.writer, row.id, chain, last_of_chain, first_at, last_at, polls)


def _better(spans: list[_Span]) -> list[list[tuple[int, int]]]:
    """Return, for each of some spans sorted by beginning, the times of those that are shown in its place."""
    better: list[list[tuple[int, int]]] = [[] for _ in spans]
    active: list[_Span] = []
    for span in spans:
        active = [each for each in active if each.last_at >= span.first_at]
        for each in active:
            if each.writer != span.writer:
                worse, shown = (span, each) if each.is_better_than(span) else (each, span)
                better[worse.number].append((shown.first_at, shown.last_at))
        active.append(span)
    return [sorted(times) for times in better]


def _spanned(era: list[_Link]) -> list[tuple[_Span, list[_Link]]]:
    """Return the chunks of an era in spans, and the spans between those that go on in another one."""
    found: list[tuple[_Span, list[_Link]]] = []
    by_writer: dict[int, list[_Link]] = {}
    for link in era:
        by_writer.setdefault(link.row.writer, []).append(link)
    for written in by_writer.values():
        before: ChunkRow | None = None
        for link in written:
            row = link.row
            worth = (row.sight, row.interval_seconds)
            is_next = before is not None and goes_on(before.last_at, row.first_at, row.interval_seconds)
            if is_next and before is not None and (before.sight, before.interval_seconds) == worth:
                span, links = found[-1]
                links.append(link)
                found[-1] = span._replace(last_at=row.last_at), links
            else:
                if is_next and before is not None:
                    found.append((_between(before, row), []))
                found.append((_Span(row.first_at, row.last_at, row.writer, *worth, 0), [link]))
            before = row
    found.sort(key=lambda each: each[0].first_at)
    return [(span._replace(number=number), links) for number, (span, links) in enumerate(found)]


def _between(before: ChunkRow, after: ChunkRow) -> _Span:
    """Return the time between two chunks; it is worth as much as the lesser of them."""
    interval_seconds = max(before.interval_seconds, after.interval_seconds)
    sight = min(before.sight, after.sight)
    return _Span(before.last_at, after.first_at, after.writer, sight, interval_seconds, 0)


def _without(first_at: int, last_at: int, covered: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the parts of a time that are not covered, both ends included; `covered` is sorted."""
    for begin, end in covered:
        if end < first_at:
            continue
        if begin > last_at:
            break
        if first_at < begin:
            yield first_at, begin - 1
        first_at = end + 1
        if first_at > last_at:
            return
    yield first_at, last_at
