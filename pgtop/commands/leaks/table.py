"""The findings as lines of text, in the form that editors and compilers share."""

from collections.abc import Iterator
from typing import Final

from pgtop.core.text import clip, printable
from pgtop.leaks.findings import Place
from pgtop.leaks.statements import Match
from pgtop.leaks.survey import Survey

SAID: Final = {
    Match.RUNS: "runs the statement",
    Match.CALLS: "calls what runs the statement",
    Match.SAME_TABLE: "uses a model of its table",
    Match.SAME_FILE: "stands in a file that runs it",
    Match.NO: "does not run it",
}
"""The words for how surely a function runs the statement."""
_STATEMENT_CELLS: Final = 60


def table(result: Survey, statement: str | None) -> str:
    """Return the findings, one a line, then what was counted."""
    lines = []
    for finding, match in result.findings:
        said = f" ({SAID[match]})" if statement is not None else ""
        lines.append(f"{written(finding.place)}: {finding.rule}: {printable(finding.message)}{said}")
    if statement is not None:
        lines += [
            f"{written(each.place)}: `{printable(each.taken_by)}` is given back ({SAID[each.match]})"
            for each in result.takings
        ]
        if not _is_run(result):
            lines.append(
                f"no code that takes a connection runs {clip(printable(statement), _STATEMENT_CELLS)}"
            )
    lines.append(_counted(result))
    return "\n".join(lines) + "\n"


def _is_run(result: Survey) -> bool:
    matches = [*(each.match for each in result.findings), *(each.match for each in result.takings)]
    return any(each > Match.SAME_FILE for each in matches)


def written(place: Place) -> str:
    """Return a place as `path:line:column`."""
    return f"{printable(place.path)}:{place.line}:{place.column}"


def _counted(result: Survey) -> str:
    found = len(result.findings)
    files = f"{result.files} file{'' if result.files == 1 else 's'}"
    kept = f", {len(result.silenced)} kept on purpose" if result.silenced else ""
    return f"{found or 'nothing'} found in {files}{kept}"


def notes(result: Survey) -> Iterator[str]:
    """Yield the notes for standard error: skipped files, and entries that silence nothing."""
    for each in result.unreadable:
        yield f"{each.path} is skipped: {each.reason}"
    for kept in result.unused:
        rule = f", rule {kept.rule}" if kept.rule is not None else ""
        yield f"[tool.pgtop.leaks] kept silences nothing for path {kept.path}{rule}: remove the entry"
