"""Findings in lines of cells: below the head, and in the diagnosis with evidence and advice.

Pure functions from values to lines; the texts of a finding are printable.
"""

from collections.abc import Sequence
from typing import Final

from pgtop.core.activity import Snapshot
from pgtop.core.diagnosis.diagnose import is_said_beside
from pgtop.core.diagnosis.findings import Advice, Finding, Grade
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.plan import Act
from pgtop.core.text import cell_width, clip, filled, fit, folded, percent, plural
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.plan_summary import told

_HINT: Final = " (d) "
_DIAGNOSIS: Final = "screen.diagnosis"
_GRADES: Final = {
    Grade.IS: "certain: the server says so",
    Grade.LOOKS_LIKE: "looks like it: all tests passed",
    Grade.MIXED: "a description, not a cause",
}


def _style(finding: Finding) -> str:
    return "" if finding.grade is Grade.MIXED else "amber"


def finding_lines(
    findings: Sequence[Finding], width: int, most: int, *, may_act: bool = True
) -> list[list[Cell]]:
    """Return the first finding, and the second where it is heavy enough, in at most `most` lines.

    One finding alone may take all of the lines. The first line ends with the keys to press: those for the act
    that the finding calls for, if there is one, and `may_act`. The sentence gives way to them, since each
    of its shorter forms still names the cause and the culprit.
    """
    if not findings or most < 1:
        return []
    first = findings[0]
    second = next((each for each in findings[1:] if is_said_beside(first, each)), None)
    alone = most if second is None else 1
    hint = _hint(first, width, alone, may_act=may_act)
    room = _room(hint, width)
    lines = _beside_hint(_marked(first), room, width - 3, alone)
    shown = [[Cell(fit(f" {lines[0]}", room + 1), _style(first), _DIAGNOSIS), *hint]]
    shown += [[Cell(clip(f"   {line}", width), _style(first), _DIAGNOSIS)] for line in lines[1:]]
    if second is not None and most > 1:
        said = clip(f" {fitting_sentence(second, width - 2, 1)}", width)
        shown.append([Cell(said, _style(second), _DIAGNOSIS)])
    return shown


def fitting_sentence(finding: Finding, width: int, most: int) -> str:
    """Return the fullest sentence of a finding, with its mark, in at most `most` lines of `width` cells; the
    shortest if none fits.
    """
    marked = _marked(finding)
    return next((each for each in marked if len(folded(each, max(1, width))) <= most), marked[-1])


def _marked(finding: Finding) -> list[str]:
    return [f"{finding.mark} {each}" for each in finding.sentences]


def _beside_hint(forms: Sequence[str], room: int, width: int, most: int) -> list[str]:
    """Return the fullest form in at most `most` lines: the first of `room` cells, the others of `width`."""
    for said in forms:
        first = filled(said, max(1, room))[0]
        rest = said[len(first) :].lstrip()
        lines = [first, *(folded(rest, max(1, width)) if rest else [])]
        if len(lines) <= most:
            return lines
    return [clip(forms[-1], room)]


def _room(hint: Sequence[Cell], width: int) -> int:
    return width - sum(cell_width(cell.text) for cell in hint) - 1


def _hint(finding: Finding, width: int, most: int, *, may_act: bool) -> list[Cell]:
    """Return the keys to press as cells: in words, if the finding's shortest sentence fits beside them."""
    keys, effect = ("d, then K", _act_words(finding)) if may_act else ("", "")
    if not effect:
        keys, effect = "d", "what to do"
    hint = [Cell(f" {keys}", "key", _DIAGNOSIS), Cell(f": {effect} ", "dim", _DIAGNOSIS)]
    shortest = f"{finding.mark} {finding.sentences[-1]}"
    if len(folded(shortest, max(1, _room(hint, width)))) <= most:
        return hint
    return [Cell(_HINT, "key", _DIAGNOSIS)]


def _act_words(finding: Finding) -> str:
    """Return the act that a finding calls for, in a few words; "" if it calls for none."""
    remedy = finding.remedy
    if remedy is None or not finding.is_act_advised:
        return ""
    number = len(remedy.backends)
    verb = "cancel" if remedy.act is Act.CANCEL else "terminate"
    return f"{verb} {'it' if number == 1 else number}"


# The whole diagnosis


def diagnosis_lines(
    findings: Sequence[Finding],
    snapshot: Snapshot,
    warn_at: float,
    chosen: int,
    width: int,
    forecast: Forecast | None = None,
    *,
    chart: Sequence[list[Cell]] = (),
) -> tuple[list[list[Cell]], list[int]]:
    """Return all findings in lines of at most `width` cells, and the number of each one's first line.

    `diagnosis_title` is their title. `chosen` is the index of the finding that keys act on; `chart` is shown
    below its numbers.
    """
    lines: list[list[Cell]] = []
    if forecast is not None and (said := forecast.grounds(snapshot.taken_at)):
        lines += [[Cell(f"   {line}")] for line in folded(said, max(4, width - 4))]
    if not findings:
        lines += told(_nothing(snapshot, warn_at), width)
    starts = []
    for number, finding in enumerate(findings):
        if lines:
            lines.append([])
        starts.append(len(lines))
        lines += _finding(finding, width, is_chosen=number == chosen and len(findings) > 1)
        if number == chosen:
            lines += chart
    return lines, starts


def diagnosis_title(snapshot: Snapshot) -> str:
    """Return the title of the whole diagnosis, with the usage that it explains."""
    return f"Diagnosis: {snapshot.taken} of {plural(snapshot.slots, 'slot')} · {percent(snapshot.usage)}"


def _nothing(snapshot: Snapshot, warn_at: float) -> str:
    if snapshot.counts.hidden:
        return "Nothing can be told: states are hidden from this role. Run: GRANT pg_monitor"
    below = f"Nothing fills this server: it is below the {percent(warn_at)} line"
    waiting = snapshot.waiting_on_locks
    if not waiting:
        return f"{below}, and no session waits for a lock"
    return f"{below}. {plural(waiting, 'session')} {'waits' if waiting == 1 else 'wait'} for locks: see b"


def _finding(finding: Finding, width: int, *, is_chosen: bool) -> list[list[Cell]]:
    style = "strong" if finding.grade is Grade.MIXED else "strong-amber"
    first, *rest = folded(f"{finding.mark} {finding.sentence}", max(4, width - 5))
    mark = Cell(" ▸ ", "key") if is_chosen else Cell("   ")
    lines = [[mark, Cell(first, style)], *([Cell(f"     {line}", style)] for line in rest)]
    # First what to do: the numbers below may be behind the lower edge of a small screen.
    for advice in finding.advice:
        lines += _advice(advice, width)
    rows = [
        ("certainty", _GRADES[finding.grade]),
        ("holds", plural(finding.slots, "slot")),
        *finding.evidence,
    ]
    names = min(max(cell_width(name) for name, _ in rows), max(4, width * 3 // 7))
    for name, value in rows:
        pieces = folded(value, max(4, width - names - 8))
        named = folded(name, names)
        for nth in range(max(len(pieces), len(named))):
            left = named[nth] if nth < len(named) else ""
            right = pieces[nth] if nth < len(pieces) else ""
            lines.append([Cell(f"     {fit(left, names)}  ", "dim"), Cell(right)])
    return lines


def _advice(advice: Advice, width: int) -> list[list[Cell]]:
    # The act's own key, `d K`, is in the line of keys, and only where it may be pressed.
    elsewhere = "" if not advice.key or advice.key.startswith("d ") else f" (Esc, then {advice.key})"
    first, *rest = folded(f"{advice.text}{elsewhere}", max(10, width - 8))
    lines = [[Cell("   → ", "accent"), Cell(first)], *([Cell(f"     {line}")] for line in rest)]
    for line in (*advice.command.splitlines(), *advice.sql.splitlines()):
        # Statements are copied with `c`, whole: on the screen they may go on in the next line.
        lines += [[Cell(f"       {piece}", "accent")] for piece in folded(line, max(10, width - 8))]
    return lines


def statements(finding: Finding) -> list[str]:
    """Return the statements of a finding's advice, one text for each way out: some are alternatives."""
    return [each.sql for each in finding.advice if each.sql]
