"""The counts of polls, as they stand beside each chunk: the graph reads them without the sessions."""

from typing import Annotated

import msgspec
from msgspec import Meta

from pgtop.core.activity import Moment, Snapshot
from pgtop.core.recorded import Seen
from pgtop.core.sample_history import Sample, sample_of

_Count = Annotated[int, Meta(ge=0, le=2**31)]


class Counts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The counts of one poll."""

    at: Moment
    """Microseconds since the Unix epoch, the server's clock."""
    total: _Count = 0
    idle: _Count = 0
    active: _Count = 0
    slots: _Count = 0
    """The connections that ordinary roles could use; 0 for a poll without an answer."""
    in_transaction: _Count = 0
    hidden: bool = False
    refused: bool = False
    """True if new connections were refused for lack of a slot."""

    @property
    def sample(self) -> Sample | None:
        """The counts as the graph has them; None for a poll without an answer."""
        if self.slots == 0:
            return None
        return Sample(
            self.at, self.total, self.idle, self.active, self.slots, self.in_transaction, self.hidden
        )


def counts_of(seen: Seen) -> Counts:
    """Return the counts of a poll."""
    refused = seen.refusing is not None and seen.refusing.is_the_servers
    if not isinstance(seen.result, Snapshot):
        limit = seen.result.limit
        return Counts(seen.at, refused=refused or (limit is not None and limit.is_the_servers))
    return counts_of_sample(sample_of(seen.result), refused=refused)


def counts_of_sample(sample: Sample, *, refused: bool = False) -> Counts:
    """Return the counts that the graph has of a moment."""
    return Counts(
        sample.at,
        sample.total,
        sample.idle,
        sample.active,
        sample.slots,
        sample.in_transaction,
        sample.hidden,
        refused,
    )


def encode_counts(counts: list[Counts]) -> bytes:
    """Return the counts of polls as bytes. Their times must not fall: they are written as distances."""
    before = 0
    written = []
    for each in counts:
        written.append(msgspec.structs.replace(each, at=each.at - before))
        before = each.at
    return msgspec.msgpack.encode(written)


def decode_counts(written: bytes) -> list[Counts]:
    """Return the counts of a chunk's polls. Raises msgspec.ValidationError, msgspec.DecodeError."""
    counts = []
    at = 0
    for each in _DECODER.decode(written):
        at += each.at
        counts.append(msgspec.structs.replace(each, at=at))
    return counts


_DECODER = msgspec.msgpack.Decoder(list[Counts])
