"""The lines of `pgtop replay --diagnose`: when each cause was named, and when it was over."""

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from pgtop.commands.replay.diagnosis import Diagnosed
from pgtop.commands.text_table import local_moment, local_zone
from pgtop.core.activity import seconds_between
from pgtop.core.diagnosis.cause_words import GRADE_WORDS, cause_words
from pgtop.core.diagnosis.over_recording import Said
from pgtop.core.diagnosis.report import FindingReport, finding_report
from pgtop.core.json_text import json_line, timestamp
from pgtop.core.text import clock, duration, folded, percent, plural

SCHEMA: Final = 1
BEGINS: Final = "begins"
ENDS: Final = "ends"

_OVER: Final = "over"
_BEFORE_SENTENCE: Final = len("03:12:30  looks like  ")
_LEAST_WIDTH: Final = 40


class VerdictLine(msgspec.Struct, frozen=True):
    """A line of `pgtop replay --diagnose --json`; times are ISO 8601 in UTC, by the server's clock."""

    schema: int
    at: str
    event: str
    """`begins` with the first poll that shows a cause, `ends` with the first that does not."""
    since: str | UnsetType
    """The time at which a cause that ends began."""
    finding: FindingReport
    """The finding as it was first said; of a cause that ends, when it held the most slots."""


def text_lines(diagnosed: Diagnosed, warn_at: float, width: int | None) -> str:
    """Return a line for each cause that begins or ends, folded to `width` cells; None for any number."""
    first, last = local_moment(diagnosed.first_at), local_moment(diagnosed.last_at)
    until = last.partition(" ")[2] if first[:10] == last[:10] else last
    polls = plural(diagnosed.polls, "poll")
    lines = [f"{diagnosed.server} · {first} to {until} {local_zone()} · {polls}"]
    day = first[:10]
    for at, said, is_end in _in_order(diagnosed):
        if local_moment(at)[:10] != day:
            day = local_moment(at)[:10]
            lines.append(day)
        words, sentence = _words(said, is_end=is_end)
        lines += _hanging(f"{clock(at)}  {words:<10}  ", sentence, width)
    if len(lines) == 1:
        lines.append(f"nothing filled this server: it stayed below the {percent(warn_at)} line")
    return "".join(f"{line}\n" for line in lines)


def json_lines(diagnosed: Diagnosed) -> Iterator[str]:
    """Yield a line of JSON for each cause that begins or ends."""
    for at, said, is_end in _in_order(diagnosed):
        finding = finding_report(said.heaviest if is_end else said.first)
        since = timestamp(said.began_at) if is_end else UNSET
        yield json_line(VerdictLine(SCHEMA, timestamp(at), ENDS if is_end else BEGINS, since, finding))


def _in_order(diagnosed: Diagnosed) -> list[tuple[int, Said, bool]]:
    """Return the beginnings and the ends, by their times; an end stands before what begins with it."""
    begun = [(each.began_at, each, False) for each in diagnosed.said]
    over = [(each.ended_at, each, True) for each in diagnosed.said if each.ended_at is not None]
    return sorted([*over, *begun], key=lambda line: line[0])


def _words(said: Said, *, is_end: bool) -> tuple[str, str]:
    if not is_end:
        return GRADE_WORDS[said.first.grade], f"{said.first.mark} {said.first.sentence}"
    lasted = duration(seconds_between(said.began_at, said.ended_at or said.began_at))
    most = plural(said.heaviest.slots, "slot")
    return _OVER, f"  {cause_words(said.heaviest)}, after {lasted}: {most} at most"


def _hanging(before: str, sentence: str, width: int | None) -> list[str]:
    if width is None:
        return [f"{before}{sentence}"]
    mark, text = sentence[:2], sentence[2:]
    first, *rest = folded(text, max(_LEAST_WIDTH, width - _BEFORE_SENTENCE - 2))
    return [f"{before}{mark}{first}", *(f"{'':{_BEFORE_SENTENCE + 2}}{line}" for line in rest)]
