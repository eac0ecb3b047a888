"""The face of `pgtop replay --diagnose`: the diagnosis over a recording, with its progress."""

from collections.abc import Iterator
from typing import Final

import msgspec

from pgtop.commands.progress import Progress
from pgtop.core.activity import MICROSECONDS
from pgtop.core.diagnosis.over_recording import Said, verdicts_of
from pgtop.core.diagnosis.thresholds import Thresholds
from pgtop.core.recorded import Seen, without_statements
from pgtop.history.recording import Recording

WARM_UP_SECONDS: Final = 900.0
"""Seconds before a moment that a diagnosis of it takes into account: as far back as traffic counts."""


class Diagnosed(msgspec.Struct, frozen=True):
    """A recording and what the diagnosis says of it."""

    server: str
    """The name of the server, printable."""
    first_at: int
    """The time of the first poll that was diagnosed, microseconds by the server's clock."""
    last_at: int
    polls: int
    said: tuple[Said, ...]


def diagnose_recording(
    recording: Recording,
    at: int | None,
    warn_at: float,
    thresholds: Thresholds,
    *,
    hides_queries: bool = False,
) -> Diagnosed:
    """Return what the diagnosis says of a recording from a moment on (microseconds); of all of it for None.

    The recording must have polls.
    """
    first = recording.first_at if at is None else at
    since, until = first - round(WARM_UP_SECONDS * MICROSECONDS), recording.last_at
    span = max(1, until - since)
    counted = 0

    with Progress("diagnosing") as progress:

        def polls() -> Iterator[Seen]:
            nonlocal counted
            for seen in progress.over(recording.between(since, until), lambda each: (each.at - since) / span):
                counted += seen.at >= first
                yield without_statements(seen) if hides_queries else seen

        said = verdicts_of(polls(), recording.events(since, until), warn_at, thresholds)
    kept = tuple(each for each in said if each.ended_at is None or each.ended_at > first)
    return Diagnosed(recording.server, first, until, counted, kept)
