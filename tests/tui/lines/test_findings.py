"""Findings in lines: none is wider than the terminal, and the first line always names the key."""

import pytest

from pgtop.core.activity import BackendId
from pgtop.core.diagnosis.findings import Advice, Finding, Grade, Kind
from pgtop.core.text import cell_width
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.findings import diagnosis_lines, finding_lines, statements
from tests.builders import backend, snapshot

SQL = 'ALTER ROLE "worker" CONNECTION LIMIT 13;\nALTER ROLE "worker" SET idle_session_timeout = \'10min\';'
LEAK = Finding(
    Kind.LEAK,
    Grade.LOOKS_LIKE,
    44,
    "leak in leaky-worker since 11:43: 44 left idle, +2.3 a minute (one each 26s), full at about 12:10; "
    "44 last ran `SELECT * FROM jobs`; from 10.0.4.7 (31), 10.0.4.9 (13)",
    tuple(BackendId(pid, 1) for pid in range(44)),
    evidence=(("idle, newer ones opened since", "44"), ("addresses", "10.0.4.7 (31), 日本語 (13)")),
    advice=(Advice("Terminate these sessions", key="d K"), Advice("Let the server bound it", sql=SQL)),
)
TOOLS = Finding(Kind.TOOLS, Grade.LOOKS_LIKE, 20, "20 of people's tools (DBeaver 20; ann 20), idle for 19h")
FEW = Finding(Kind.TOOLS, Grade.LOOKS_LIKE, 5, "5 of people's tools")
MIXED = Finding(Kind.MIXED, Grade.MIXED, 50, "no single cause: web 41, api 22; 63 of 80 idle")


def texts(lines: list[list[Cell]]) -> list[str]:
    return ["".join(cell.text for cell in line) for line in lines]


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("findings", [(LEAK,), (LEAK, TOOLS), (LEAK, FEW), (MIXED,), (TOOLS, LEAK, MIXED)])
def test_lines_fit_and_name_the_key(width: int, most: int, findings: tuple[Finding, ...]) -> None:
    lines = texts(finding_lines(findings, width, most))
    assert 1 <= len(lines) <= most
    assert all(cell_width(line) <= width for line in lines)
    assert lines[0].endswith(" (d) ")
    assert lines[0].startswith(" · " if findings[0] is MIXED else " ▲ ")


def test_nothing_found_takes_no_line() -> None:
    assert finding_lines((), 80, 2) == []


def test_a_heavy_second_finding_gets_a_line() -> None:
    assert texts(finding_lines((LEAK, TOOLS), 80, 2))[1].startswith(" ▲ 20 of people's tools")
    assert "44 last ran" in texts(finding_lines((LEAK, FEW), 80, 2))[1], "the first goes on instead"


@pytest.mark.parametrize("width", [20, 40, 76, 130])
def test_a_diagnosis_shows_every_word(width: int) -> None:
    """Nothing that a person agrees to, or copies, is cut off."""
    seen = snapshot(*(backend(pid) for pid in range(1, 45)))
    lines, starts = diagnosis_lines((LEAK, TOOLS), seen, 0.8, 1, width)
    whole = texts(lines)
    assert all(cell_width(line) <= width for line in whole)
    joined = "".join(whole).replace(" ", "")
    for said in (LEAK.sentence, TOOLS.sentence, *(each.text for each in LEAK.advice), SQL.replace("\n", "")):
        assert said.replace(" ", "") in joined
    first_advice, first_number = LEAK.advice[0].text[:7], "certainty"[: max(4, width // 3 + 2)]
    where = [next(n for n, line in enumerate(whole) if said in line) for said in (first_advice, first_number)]
    assert where == sorted(where), "what to do stands before the numbers: a small screen shows it"
    assert whole[starts[1]].startswith(" ▸ ▲ 20"), "the chosen one is marked"


def test_statements_are_apart() -> None:
    assert statements(LEAK) == [SQL]
    assert statements(MIXED) == []
