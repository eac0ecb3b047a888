"""The daemon's log is safe to follow in a terminal, and is never a reason to end."""

import io
import json

import pytest

from pgtop.core.outage import Outage, OutageKind
from pgtop.core.plan import HeldLocks, Outcome, ReapPolicy, Result
from pgtop.core.policy import plan_sweep
from pgtop.daemon.log import DaemonLog
from pgtop.reaping.reaper import Report
from tests.builders import HOSTILE, backend, snapshot


@pytest.mark.parametrize("as_json", [False, True])
def test_no_name_or_statement_reaches_the_terminal_as_it_is(as_json: bool) -> None:
    """All that a client chooses, in each line about it; as JSON it reads back as the same text."""
    named = backend(11, application_name=HOSTILE, usename=HOSTILE, datname=HOSTILE, query=HOSTILE)
    plan = plan_sweep(snapshot(named), ReapPolicy(), HeldLocks())
    results = tuple(Result(victim, Outcome.FAILED, HOSTILE) for victim in plan.victims)
    stream = io.StringIO()
    log = DaemonLog(stream, as_json=as_json, queries=True)
    log.swept(Report(plan, results, audit_problem=HOSTILE))
    log.outage(Outage(OutageKind.FAILED, HOSTILE))
    log.tell("trouble", HOSTILE, warning=True)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5
    assert all(line.isprintable() for line in lines)
    if as_json:
        victim = json.loads(lines[1])
        assert {victim[key] for key in ("application_name", "usename", "datname", "query")} == {HOSTILE}


def test_a_log_that_nobody_reads_is_not_an_error() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        DaemonLog(stream).tell("start", "said to nobody")  # type: ignore[arg-type]
