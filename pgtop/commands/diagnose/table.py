"""The text that `pgtop diagnose` prints: each finding with its evidence and what to do."""

from pgtop.commands.diagnose.run import Diagnosed
from pgtop.commands.text_table import WIDTH_OF_A_PARAGRAPH, server_line
from pgtop.core.diagnosis.findings import Advice, Finding
from pgtop.core.session_labels import monitor_grant
from pgtop.core.text import folded, percent, plural

_INDENT = "    "
_LEAST_WIDTH = 40


def render(diagnosed: Diagnosed, warn_at: float, width: int | None) -> str:
    """Return the whole text in lines of at most `width` cells. Statements to copy are never cut."""
    snapshot = diagnosed.snapshot
    room = WIDTH_OF_A_PARAGRAPH if width is None else max(width, _LEAST_WIDTH)
    bound = "" if snapshot.counts.exact else "≤ "
    figures = (
        f"{bound}{snapshot.taken} of {plural(snapshot.slots, 'slot')} · {bound}{percent(snapshot.usage)}"
    )
    full = diagnosed.forecast.words(snapshot.taken_at) if diagnosed.forecast is not None else ""
    figures += f" · {full}" if full else ""
    lines = [*folded(server_line(snapshot.server, snapshot.taken_at), room), figures]
    if snapshot.counts.hidden:
        hidden = plural(snapshot.counts.hidden, "state")
        lines += folded(f"{hidden} hidden from this role: what follows is not complete. Run:", room)
        lines.append(monitor_grant(snapshot))
    if not diagnosed.findings:
        lines += ["", *folded(f"nothing fills this server: it is below the {percent(warn_at)} line", room)]
    for finding in diagnosed.findings:
        lines += ["", *_finding(finding, room)]
    return "".join(f"{line}\n" for line in lines)


def _finding(finding: Finding, room: int) -> list[str]:
    first, *rest = folded(finding.sentence, room - 2)
    lines = [f"{finding.mark} {first}", *(f"  {line}" for line in rest)]
    for name, value in finding.evidence:
        lines += _hanging(f"{name}: {value}", room)
    for advice in finding.advice:
        lines += _advice(advice, room)
    return lines


def _advice(advice: Advice, room: int) -> list[str]:
    first, *rest = folded(advice.text, room - 4)
    lines = [f"  → {first}", *(f"{_INDENT}{line}" for line in rest)]
    if advice.key:
        lines.append(f"{_INDENT}in the dashboard: {advice.key}")
    return lines + [f"{_INDENT}{line}" for line in (*advice.command.splitlines(), *advice.sql.splitlines())]


def _hanging(text: str, room: int) -> list[str]:
    return [f"{_INDENT}{line}" for line in folded(text, room - len(_INDENT))]
