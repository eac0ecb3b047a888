"""What a dialog says of a plan, and a notice of its outcomes, as values."""

import msgspec

from pgtop.core.activity import Privileges
from pgtop.core.policy import ReapPolicy, plan_sweep, plan_terminate
from pgtop.core.text import cell_width
from pgtop.reaper import Outcome, Report, Result
from pgtop.tui.dialogs import SENTENCE_WIDTH, plan_lines
from pgtop.tui.notices import of_report
from tests.core.test_policy import backend, snapshot


def test_a_refusal_and_a_problem_are_read_to_their_end_in_80_columns() -> None:
    """The mend stands at the end of each; a role's name is whatever its maker liked."""
    seen = snapshot(backend(state=None, backend_start=None, state_change=None))
    nobody = Privileges("x" * 40 + "\x1b[2J", is_superuser=False, sees_all=False, may_signal=False)
    refused = plan_sweep(msgspec.structs.replace(seen, privileges=nobody), ReapPolicy())
    selected = plan_terminate(snapshot(backend()), ReapPolicy(), [backend().id])
    for lines, mend in (
        (plan_lines(refused), "GRANT pg_monitor TO the role"),
        (plan_lines(selected, problem="the server " + "did not answer " * 9 + "try again"), "try again"),
    ):
        texts = ["".join(cell.text for cell in line) for line in lines]
        assert mend in " ".join(text.strip() for text in texts)
        assert all(text.isprintable() and cell_width(text) <= SENTENCE_WIDTH + 1 for text in texts)


def test_what_was_left_undone_or_unwritten_is_told_in_red() -> None:
    plan = plan_terminate(snapshot(backend()), ReapPolicy(), [backend().id])
    for outcome, style in (
        (Outcome.TERMINATED, "note"),
        (Outcome.CHANGED, "note"),
        (Outcome.DENIED, "alarm"),
        (Outcome.SURVIVED, "alarm"),
        (Outcome.FAILED, "alarm"),
        (Outcome.UNKNOWN, "alarm"),
    ):
        assert of_report(Report(plan, (Result(plan.victims[0], outcome),))).style == style
    unwritten = of_report(Report(plan, (Result(plan.victims[0], Outcome.TERMINATED),), "disk full"))
    assert unwritten.style == "alarm"
    assert "NOT in the audit log" in unwritten.said
