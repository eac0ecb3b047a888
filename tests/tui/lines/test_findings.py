"""Findings in lines: none is wider than the terminal, and the first line always names the key."""

import pytest

from pgtop.core.activity import BackendId
from pgtop.core.diagnosis import examples
from pgtop.core.diagnosis.diagnose import diagnose
from pgtop.core.diagnosis.findings import Advice, Finding, Grade, Kind, Remedy
from pgtop.core.plan import Act
from pgtop.core.text import cell_width
from pgtop.tui.lines.column_widths import Cell
from pgtop.tui.lines.findings import diagnosis_lines, finding_lines, fitting_sentence, statements
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
    shorter=(
        "leak in leaky-worker since 11:43: 44 left idle, +2.3 a minute; from 10.0.4.7 (31), 10.0.4.9 (13)",
        "leak in leaky-worker since 11:43: 44 left idle",
        "leak in leaky-worker: 44 left idle",
    ),
    remedy=Remedy(Act.TERMINATE, tuple(BackendId(pid, 1) for pid in range(44))),
)
TOOLS = Finding(Kind.TOOLS, Grade.LOOKS_LIKE, 20, "20 of people's tools (DBeaver 20; ann 20), idle for 19h")
FEW = Finding(Kind.TOOLS, Grade.LOOKS_LIKE, 5, "5 of people's tools")
MIXED = Finding(Kind.MIXED, Grade.MIXED, 50, "no single cause: web 41, api 22; 63 of 80 idle")


NAMED_AT_80 = {
    "leak": ("leak in worker: 43 left idle, +2.0 a minute", "d, then K: terminate 43"),
    "lock_queue": ("lock queue: 30 behind pid 11 (ALTER TABLE orders", "d, then K: cancel it"),
    "limit": ("role app is at its own limit of 20: logins refused", "d: what to do"),
    "login_stall": ("login stall: 80 slots are held by clients still connecting", "d: what to do"),
    "idle_in_transaction": ("28 of api idle in transaction (median 41s)", "d, then K: terminate 28"),
    "slow_statements": ("44 of web run for 4m 00s: `SELECT * FROM ops", "d, then K: cancel 44"),
    "tools": ("34 of people's tools (DBeaver 21, pgAdmin 13)", "d, then K: terminate 34"),
    "silent_clients": ("silent clients of web: 10.0.9.9 (12) since ", "d, then K: terminate 12"),
    "surge": ("surge of web: scaled out 3 → 11 addresses, 48 new sessions", "d: what to do"),
    "pool_arithmetic": ("pools of web too large together: 12 addresses × 8; set 5 each", "d: what to do"),
    "mixed": ("no single cause: app0 5, app1 5, app2 5, and 14 more", "d: what to do"),
}
"""What is left of each example's sentence at 80 cells, and the keys at its end."""


def found(example: str) -> tuple[Finding, ...]:
    """Return the findings of an example of core/diagnosis/examples.py."""
    made = getattr(examples, example)()
    return diagnose(made[0], facts=made[1]) if isinstance(made, tuple) else diagnose(made)


def texts(lines: list[list[Cell]]) -> list[str]:
    return ["".join(cell.text for cell in line) for line in lines]


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("findings", [(LEAK,), (LEAK, TOOLS), (LEAK, FEW), (MIXED,), (TOOLS, LEAK, MIXED)])
def test_lines_fit_and_name_the_key(width: int, most: int, findings: tuple[Finding, ...]) -> None:
    lines = texts(finding_lines(findings, width, most))
    assert 1 <= len(lines) <= most
    assert all(cell_width(line) <= width for line in lines)
    assert lines[0].endswith((" (d) ", " d, then K: terminate 44 ", " d: what to do "))
    assert lines[0].startswith(" · " if findings[0] is MIXED else " ▲ ")


def test_nothing_found_takes_no_line() -> None:
    assert finding_lines((), 80, 2) == []


@pytest.mark.parametrize(
    ("waiting", "said"),
    [
        (0, "and no session waits for a lock"),
        (1, "1 session waits for locks: see b"),
        (2, "2 sessions wait for locks: see b"),
    ],
)
def test_few_waiting_sessions_are_not_denied(waiting: int, said: str) -> None:
    """Where no queue is worth a finding, the head counts them all the same."""
    seen = snapshot(*(backend(10 + n, state="active", wait_event_type="Lock") for n in range(waiting)))
    lines, _ = diagnosis_lines((), seen, 0.8, 0, 200)
    assert texts(lines)[0].strip().endswith(said)


def test_a_heavy_second_finding_gets_a_line() -> None:
    assert texts(finding_lines((LEAK, TOOLS), 80, 2))[1].startswith(" ▲ 20 of people's tools")
    assert "from 10.0.4.7" in texts(finding_lines((LEAK, FEW), 80, 2))[1], "the first goes on instead"


@pytest.mark.parametrize("example", sorted(NAMED_AT_80))
def test_a_low_terminal_says_the_cause_and_the_keys(example: str) -> None:
    """At 80 cells in one line, nothing but a statement is cut, for every kind of finding."""
    said, keys = NAMED_AT_80[example]
    (line,) = texts(finding_lines(found(example), 80, 1))
    assert line.rstrip().endswith(keys)
    assert said in line
    assert "…" not in line.replace("…)", "").replace("…`", "")
    assert cell_width(line) == 80


def test_every_kind_of_finding_is_among_them() -> None:
    assert {found(each)[0].kind for each in NAMED_AT_80} == set(Kind)


@pytest.mark.parametrize("example", sorted(NAMED_AT_80))
def test_a_shorter_sentence_is_shorter(example: str) -> None:
    """So the fullest that fits is the first that does."""
    for finding in found(example):
        widths = [cell_width(each) for each in finding.sentences]
        assert widths == sorted(widths, reverse=True)
        assert widths[-1] <= 50


@pytest.mark.parametrize("example", sorted(NAMED_AT_80))
def test_a_sentence_gives_way_to_a_shorter_one_and_is_not_cut(example: str) -> None:
    """On the wall, too, and for a second finding."""
    first = found(example)[0]
    for width in range(54, 120):
        said = fitting_sentence(first, width, 1)
        assert cell_width(said) <= width
        assert said[2:] in first.sentences
    assert fitting_sentence(first, 200, 2) == f"{first.mark} {first.sentence}"


def test_a_wide_terminal_says_all() -> None:
    for example in NAMED_AT_80:
        shown = "".join(texts(finding_lines(found(example), 200, 2)))
        assert found(example)[0].sentence.replace(" ", "") in shown.replace(" ", "")


def test_the_act_is_named_only_where_it_works() -> None:
    (line,) = texts(finding_lines(found("leak"), 80, 1, may_act=False))
    assert line.endswith(" d: what to do ")


def test_a_sentence_without_a_forecast_has_it_in_no_form() -> None:
    leaking = found("leak")[0]
    assert leaking.forecast_words
    assert any(leaking.forecast_words in each for each in leaking.shorter)
    quiet = leaking.without_forecast()
    assert len(quiet.sentences) == len(leaking.sentences)
    assert not any("full at" in each for each in quiet.sentences)


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
