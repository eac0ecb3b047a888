"""`pgtop history` as a process: the table, the JSON and the report over recordings made of values."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pgtop.audit.log import AuditedServer, AuditLog
from pgtop.core.activity import MICROSECONDS
from pgtop.core.diagnosis.findings import Advice, Finding, Grade, Kind
from pgtop.core.outage import Outage, OutageKind
from pgtop.core.plan import DecidedBy
from pgtop.core.recorded import Acted, Diagnosed, Event, OutageBegan, Seen
from pgtop.flight_recorder import server_key
from pgtop.history.recorder import Kept
from pgtop.postgres.conninfo.resolve import resolve
from tests import builders
from tests.builders import NOW, acted, backend, snapshot
from tests.support.recordings import recorded
from tests.support.running import assert_one_line, run

HOSTILE = "a|b`c`<b>*x*\n# h\x1b[2J_"
LEAK = Finding(
    Kind.LEAK,
    Grade.LOOKS_LIKE,
    80,
    "leak in web: 80 left idle, full at noon",
    application_name="web",
    forecast_words=", full at noon",
    evidence=(("left idle", "80"), ("last statement", "SELECT secret")),
    statements=("SELECT secret",),
    advice=(Advice("Look at the code", command="pgtop leaks . --statement 'SELECT secret'"),),
)


def poll(moment: int, *names: str) -> Seen:
    """A poll with one session of each of these applications, on 95 slots."""
    sessions = (backend(10 + number, application_name=name) for number, name in enumerate(names))
    return Seen(moment, snapshot(*sessions, taken_at=moment), 10.0)


def incident(name: str = "web", start: int = NOW) -> list[Seen]:
    """Ten minutes: five with few sessions, four with 90 of 95, one with few."""
    calm, busy = ["api"] * 5, ["api"] * 6 + [name] * 84
    return [
        poll(start + second * MICROSECONDS, *(busy if 300 <= second < 540 else calm))
        for second in range(0, 600, 10)
    ]


def sweep(seconds: float, **fields: Any) -> Acted:
    return acted(at=NOW + round(seconds * MICROSECONDS), operator="ann", face="dashboard", **fields)


def file_of(tmp_path: Path, polls: list[Seen], *events: Event, **rest: Any) -> str:
    (path,) = recorded(tmp_path / "recordings", polls, events, **rest)
    return str(path)


def told(tmp_path: Path, *arguments: str) -> str:
    done = run(tmp_path, "history", *arguments, variables={"TZ": "UTC"})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


DIAGNOSED = Diagnosed(NOW + 310 * MICROSECONDS, (LEAK,))
BY_HAND = {"decided_by": DecidedBy.PERSON, "usage_before": 0.94, "usage_after": 0.7}


def test_an_episode_is_told_with_cause_growth_and_acts(tmp_path: Path) -> None:
    file = file_of(tmp_path, incident(), DIAGNOSED, sweep(500, **BY_HAND))
    text = told(tmp_path, file)
    assert "1 episode over the 80% line, never full" in text
    assert "2023-11-14 22:18 to 22:22 (4m 00s): peak 90 of 95 slots (94%), never full" in text
    assert "▲ leak in web: 80 left idle\n" in text
    assert "grew from 22:13 to 22:18: web 0 → 84, api 5 → 6" in text
    assert re.search(r"22:21:40 emergency sweep: terminated 2 sessions \(web 2\); 1 changed, 94% → 70%", text)
    assert "by hand, dashboard of ann" in text


def test_an_act_after_the_last_poll_is_told(tmp_path: Path) -> None:
    """A daemon that sweeps and is then asked to end polls no more."""
    text = told(tmp_path, file_of(tmp_path, incident()[:50], DIAGNOSED, sweep(490.2, **BY_HAND)))
    assert "emergency sweep: terminated 2 sessions" in text


def test_the_report_is_markdown_with_all_of_it(tmp_path: Path) -> None:
    outage = OutageBegan(NOW + 520 * MICROSECONDS, Outage(OutageKind.LOST, "the connection was lost"))
    polls = incident()
    polls[52] = Seen(polls[52].at, outage.outage, 10.0)
    text = told(tmp_path, file_of(tmp_path, polls, DIAGNOSED, sweep(500, **BY_HAND), outage), "--report")
    lines = text.splitlines()
    assert lines[0] == "# db1:5432: leak in web, 2023-11-14"
    assert lines[2].startswith(
        "db1:5432 was over the 80% line of its connections from 2023-11-14 22:18 to 22:22"
    )
    assert lines[2].endswith("1 act by hand terminated 2 sessions.")
    headings = [line for line in lines if line.startswith("#")]
    assert [each.strip("# ") for each in headings[1:]] == [
        "Timeline (UTC)",
        "Graph",
        "Cause",
        "What helps",
        "Applications that grew",
        "Acts (UTC)",
        "What is not known",
    ]
    for row in (
        "| 22:18:20 | usage reaches the 80% line |",
        "| 22:22:00 | no answer for 10s: the connection was lost |",
        "| web | 0 | 84 | +84 |",
        "- left idle: 80",
        "**leak in web: 80 left idle**",
    ):
        assert row in lines
    graph = text.partition("```text\n")[2].partition("\n```")[0].splitlines()
    assert max(map(len, graph)) <= 72
    assert graph[0].endswith("full = 95")
    assert sum("80% = 76" in line for line in graph) == 1


def test_the_json_is_one_object(tmp_path: Path) -> None:
    file = file_of(tmp_path, incident(), DIAGNOSED, sweep(500, **BY_HAND))
    report = json.loads(told(tmp_path, file, "--json"))
    (episode,) = report["episodes"]
    assert (report["schema"], report["server"], episode["peak"]["total"]) == (1, "db1:5432", 90)
    assert episode["filled_by"]["kind"] == "leak"
    assert episode["grew"][0] == {"application_name": "web", "before": 0, "at_peak": 84, "difference": 84}
    assert episode["acts"][0]["decided_by"] == "person"


@pytest.mark.parametrize("arguments", [(), ("--report",)])
def test_hostile_names_are_shown_and_harmless(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A name can neither obey the terminal nor end a table's cell, a code span or a line."""
    finding = Finding(Kind.LEAK, Grade.IS, 80, "leak", application_name=HOSTILE)
    events = (Diagnosed(DIAGNOSED.at, (finding,)), sweep(500, applications=((HOSTILE, 2),)))
    text = told(tmp_path, file_of(tmp_path, incident(HOSTILE), *events), *arguments)
    assert all(line.isprintable() for line in text.splitlines())
    if arguments:
        shown = r"a\|b\`c\`\<b\>\*x\* \# h·\[2J\_"
        assert f"| {shown} | 0 | 84 | +84 |" in text
        cells = {
            line.count("|") - line.count("\\|")
            for line in text.splitlines()
            if shown in line and line[0] == "|"
        }
        assert cells == {3, 5, 8}
        assert [line for line in text.splitlines() if line.startswith("# h")] == []
    else:
        assert "a|b`c`<b>*x* # h·[2J_ 0 → 84" in text


def test_no_advice_names_a_pid_of_then(tmp_path: Path) -> None:
    """By now it may be another session's."""
    advice = (Advice("Cancel it", key="d K", sql="SELECT pg_cancel_backend(8793);"), *LEAK.advice)
    finding = msgspec.structs.replace(LEAK, advice=advice)
    file = file_of(tmp_path, incident(), Diagnosed(DIAGNOSED.at, (finding,)))
    for format_ in ("--report", "--json"):
        text = told(tmp_path, file, format_)
        assert "8793" not in text
        assert "Look at the code" in text


def test_hidden_queries_are_not_told(tmp_path: Path) -> None:
    file = file_of(tmp_path, incident(), DIAGNOSED)
    for format_ in ((), ("--report",), ("--json",)):
        assert "secret" in told(tmp_path, file, *format_)
        assert "secret" not in told(tmp_path, file, "--hide-queries", *format_)


def test_scrubbing_leaves_no_name_and_no_address(tmp_path: Path) -> None:
    """In any format; the figures stay, and the same name is replaced by the same one."""
    finding = msgspec.structs.replace(
        LEAK,
        usename="owner",
        datname="shop",
        addresses=(("10.0.4.7", 80),),
        evidence=(*LEAK.evidence, ("of", "web 80")),
    )
    outage = OutageBegan(NOW + 520 * MICROSECONDS, Outage(OutageKind.LOST, "db1 lost 10.0.4.9"))
    polls = incident()
    polls[52] = Seen(polls[52].at, outage.outage, 10.0)
    file = file_of(tmp_path, polls, Diagnosed(DIAGNOSED.at, (finding,)), sweep(500, **BY_HAND), outage)
    for format_ in ((), ("--report",), ("--json",)):
        text = told(tmp_path, file, "--scrub", *format_)
        assert not re.search(
            r"\b(web|api|ann|db1|shop|owner|secret|jobs)\b|10\.0\.4", text.replace("api.md", "")
        )
        for word in ("leak in app-a", "host-a:5432", "operator-a", "198.18.0.1", "80"):
            assert word in text


def test_counts_alone_still_tell_the_episodes(tmp_path: Path) -> None:
    """As --no-record keeps them: without a cause, and without applications."""
    file = file_of(tmp_path, incident(), kept=Kept.COUNTS)
    assert "? the cause is not known" in told(tmp_path, file)
    report = told(tmp_path, file, "--report")
    assert "Which applications grew before 2023-11-14 22:18" in report
    assert "Applications that grew" not in report


def test_gaps_and_quiet_times_are_said(tmp_path: Path) -> None:
    polls = [each for each in incident() if not 200 <= (each.at - NOW) / MICROSECONDS < 290]
    text = told(tmp_path, file_of(tmp_path, polls), "--since", "8min")
    assert "? nothing was recorded from 2023-11-14 22:16 to 2023-11-14 22:18" in text
    quiet = told(tmp_path, file_of(tmp_path / "quiet", incident()[:10]))
    assert "no episode over the 80% line" in quiet
    report = told(tmp_path, file_of(tmp_path / "quiet2", incident()[:10]), "--report")
    assert "was not seen over the 80% line" in report


def live(tmp_path: Path, number: int = 60, behind_seconds: int = 0) -> str:
    """The first polls of the incident, recorded just now where pgtop looks for them; return the host."""
    start = round(datetime.now(UTC).timestamp()) - behind_seconds - 10 * (number - 1)
    polls = incident(start=start * MICROSECONDS)[:number]
    key = server_key(resolve("host=db1", {}, {}))
    recorded(tmp_path / ".local/state/pgtop/recordings", polls, server=key)
    return "db1"


def test_acts_of_the_audit_log_are_told_too(tmp_path: Path) -> None:
    """Those of this server alone: another address whose sessions were not recorded is another one."""
    host = live(tmp_path)
    moment = datetime.now(UTC) - timedelta(seconds=100)
    server = AuditedServer("db1", 5432, 160000, "7")
    lines = []
    for plan, where in (("p", server), ("q", AuditedServer("db2", 5432, 160000, "7"))):
        attempt = builders.attempt(
            9000, moment, face="reap", plan=plan, server=where, decided_by="command", application_name=plan
        )
        lines += [attempt, builders.outcome(attempt)]
    AuditLog(tmp_path / "log").append(lines)
    text = told(tmp_path, "-h", host, "--audit-log", str(tmp_path / "log"))
    assert "terminated 1 session (p 1)" in text
    assert "by command, reap of u@h" in text
    assert "(q 1)" not in text


def test_a_missing_recording_is_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, "history", "-h", "nowhere")
    assert_one_line(done, 2, "there is no recording of nowhere:5432", "record")
    assert_one_line(run(tmp_path, "history", "--json", "--report"), 2, "--json and --report")


def test_a_server_with_another_clock_is_told_by_its_own(tmp_path: Path) -> None:
    """Two hours behind this host: the episode goes on, and an act of the audit log is in it."""
    host = live(tmp_path, 54, behind_seconds=7200)
    attempt = builders.attempt(9000, datetime.now(UTC), plan="p", server=AuditedServer("db1", 5432, 160000))
    AuditLog(tmp_path / "log").append([attempt, builders.outcome(attempt)])
    report = json.loads(told(tmp_path, "-h", host, "--json", "--audit-log", str(tmp_path / "log")))
    (episode,) = report["episodes"]
    assert episode["ending"] == "goes_on"
    assert len(episode["acts"]) == 1
