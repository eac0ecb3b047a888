"""The text that `pgtop doctor` prints: the verdicts, then the findings with remedies, the worst first."""

from typing import Final

from pgtop.commands.doctor.run import Examination, Examined
from pgtop.commands.text_table import WIDTH_OF_A_PARAGRAPH
from pgtop.core.doctor.findings import Finding
from pgtop.core.doctor.verdicts import Verdict
from pgtop.core.text import folded, printable

_STATUS_CELLS: Final = 6
_MEND_CELLS: Final = 8
_WORST_FIRST: Final = {"bad": 0, "warn": 1, "ok": 2}
_LEAST_WIDTH: Final = 40


def render(examination: Examination, width: int | None) -> str:
    """Return the whole text in lines of at most `width` cells. Lines of a remedy are never cut."""
    room = WIDTH_OF_A_PARAGRAPH if width is None else max(width, _LEAST_WIDTH)
    lines: list[str] = []
    if examination.refused:
        lines += folded(f"the ordinary role is refused right now: {examination.refused}", room)
        lines += ["", "the rescue role", ""]
    lines += _examined(examination.first, room)
    if examination.rescue is not None:
        lines += ["", "the rescue role", "", *_examined(examination.rescue, room)]
    return "".join(f"{line}\n" for line in lines)


def _examined(examined: Examined, room: int) -> list[str]:
    checkup, diagnosis = examined.checkup, examined.diagnosis
    account, server = checkup.account, checkup.server
    head = f"{printable(server.address)} · role {account.login.shown} · database {account.database.shown}"
    lines = [*folded(head, room), *_verdict("can connect when full", diagnosis.gets_in_at_full, room)]
    lines += [*_verdict("can terminate sessions", diagnosis.may_reap, room), ""]
    for finding in sorted(diagnosis.findings, key=lambda each: _WORST_FIRST[each.status]):
        lines += _finding(finding, room)
    return lines


def _verdict(question: str, verdict: Verdict, width: int) -> list[str]:
    answer = f"yes, {verdict.why}" if verdict.yes else f"NO, see {' and '.join(verdict.topics)} below"
    return _hanging("", f"{question}: {answer}", width)


def _finding(finding: Finding, width: int) -> list[str]:
    said = _hanging(finding.status, f"{finding.topic}: {finding.said}", width)
    return [*said, *(f"{'':{_MEND_CELLS}}{line}" for line in finding.mend.splitlines())]


def _hanging(word: str, text: str, width: int) -> list[str]:
    """Return a text after a word, with its further lines indented. Without a word it begins at the edge."""
    first, *rest = folded(text, width - _STATUS_CELLS)
    begin = f"{word:<{_STATUS_CELLS}}{first}" if word else first
    return [begin, *(f"{'':{_STATUS_CELLS}}{line}" for line in rest)]
