"""`pgtop snapshot --at`: a recorded poll as if the server were asked, and plainly of the past."""

import json
from pathlib import Path

import msgspec
import pytest

from pgtop.core.activity import MICROSECONDS
from pgtop.core.diagnosis.examples import idle_in_transaction, server
from pgtop.core.json_text import timestamp
from pgtop.core.outage import Outage, OutageKind
from pgtop.core.recorded import Seen
from tests.support.recordings import recorded
from tests.support.running import assert_one_line, run

FULL = idle_in_transaction()
AT = FULL.taken_at
UTC = {"TZ": "UTC"}
LOST = Outage(OutageKind.LOST, "the connection was lost")


def later(seconds: float) -> int:
    return AT + round(seconds * MICROSECONDS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Full at 22:13:20, empty ten seconds later, then lost; and an hour later empty again."""
    empty = msgspec.structs.replace(server(), taken_at=later(10))
    again = msgspec.structs.replace(server(), taken_at=later(3600))
    polls = [
        Seen(AT, FULL, 2.0),
        Seen(later(10), empty, 2.0),
        Seen(later(12), LOST, 2.0),
        Seen(again.taken_at, again, 2.0),
    ]
    (path,) = recorded(tmp_path / "rec", polls)
    return path


def test_a_table_of_the_past_says_so(tmp_path: Path, file: Path) -> None:
    done = run(tmp_path, "snapshot", str(file), "--at", "22:13:25", variables=UTC)
    assert (done.returncode, done.stderr) == (0, "")
    past, finding, _, blank, head, *_ = done.stdout.splitlines()
    assert past.startswith("the past, as recorded at 2023-11-14 22:13:20 UTC, ")
    assert past.endswith(" ago: not live")
    assert finding.startswith("▲ 28 of api idle in transaction")
    assert (blank, head) == ("", "db1:5432 · PostgreSQL 17.2 · primary · 2023-11-14 22:13:20 UTC")
    assert "policies" in done.stdout


def test_json_of_the_past_has_its_place(tmp_path: Path, file: Path) -> None:
    done = run(tmp_path, "snapshot", str(file), "--at", "2023-11-14T22:13:25Z", "--json")
    found = json.loads(done.stdout)
    assert found["taken_at"] == timestamp(AT)
    assert found["recorded"]["asked_at"] == timestamp(later(5))
    assert found["recorded"]["age_seconds"] > 86_400
    assert "outage" not in found["recorded"]
    assert [each["kind"] for each in found["findings"]] == ["idle_in_transaction"]
    assert len(found["backends"]) == len(FULL.backends)


def test_an_outage_shows_what_was_before_it(tmp_path: Path, file: Path) -> None:
    words = ("snapshot", str(file), "--at", "22:13:33")
    shown = run(tmp_path, *words, variables=UTC).stdout.splitlines()
    assert "22:13:30" in shown[0]
    assert shown[1] == "no data at 2023-11-14 22:13:33: the connection was lost; this was before"
    found = json.loads(run(tmp_path, *words, "--json", variables=UTC).stdout)
    assert found["recorded"]["outage"] == {"kind": "lost", "message": "the connection was lost"}


def test_a_hole_in_the_recording_is_told(tmp_path: Path, file: Path) -> None:
    """The last poll before it may be far from that moment."""
    empty = msgspec.structs.replace(server(), taken_at=AT)
    again = msgspec.structs.replace(server(), taken_at=later(3600))
    (path,) = recorded(tmp_path / "other", [Seen(each.taken_at, each, 2.0) for each in (empty, again)])
    shown = run(tmp_path, "snapshot", str(path), "--at", "22:40", variables=UTC).stdout.splitlines()
    assert shown[1] == "nothing was recorded from then until 2023-11-14 22:40:00"


def test_a_server_that_never_answered_is_an_error(tmp_path: Path) -> None:
    (path,) = recorded(tmp_path / "other", [Seen(AT, LOST, 2.0)])
    done = run(tmp_path, "snapshot", str(path), "--at", "-0", variables=UTC)
    assert_one_line(done, 2, "the server had not answered by 2023-11-14 22:13:20 (the connection was lost)")


def test_hidden_queries_are_not_shown(tmp_path: Path, file: Path) -> None:
    words = ("snapshot", str(file), "--at", "22:13:25", "--hide-queries")
    table, found = (run(tmp_path, *words, *more, variables=UTC).stdout for more in ((), ("--json",)))
    assert "policies" not in table + found
    assert "query: hidden" in table


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--at", "22:00"), "--at 22:00 is 2023-11-14 22:00:00, before the recording begins"),
        (("--at", "soon"), '"soon" is not a moment'),
        ((), "is a file: give a moment of the recording: --at 03:12"),
        (("--at", "-1min", "--watch"), "--watch and --at exclude each other"),
    ],
)
def test_a_bad_time_is_an_error(tmp_path: Path, file: Path, words: tuple[str, ...], said: str) -> None:
    assert_one_line(run(tmp_path, "snapshot", str(file), *words, variables=UTC), 2, said)


def test_the_minute_of_the_first_poll_is_in_the_recording(tmp_path: Path, file: Path) -> None:
    """It begins before the poll does, and people type minutes."""
    shown = run(tmp_path, "snapshot", str(file), "--at", "22:13", variables=UTC).stdout
    assert "22:13:20" in shown.splitlines()[0]
