"""`pgtop replay --diagnose`: a line for each cause, as text and as JSON, and errors that help."""

import json
from pathlib import Path

import msgspec
import pytest

from pgtop.core.activity import MICROSECONDS
from pgtop.core.diagnosis.examples import idle_in_transaction
from pgtop.core.diagnosis.findings import Kind
from pgtop.core.json_text import timestamp
from pgtop.core.recorded import Seen
from pgtop.demo.scenarios.catalogue import SCENARIOS
from pgtop.flight_recorder import server_key
from pgtop.postgres.conninfo.resolve import resolve
from tests.builders import HOSTILE
from tests.recordings import PLACE
from tests.support.recordings import recorded
from tests.support.running import assert_one_line, run

SHOWN = idle_in_transaction()
AT = SHOWN.taken_at
MINUTE = 60 * MICROSECONDS
UTC = {"TZ": "UTC"}


def polls(name: str = "api") -> list[Seen]:
    """Two minutes of sessions that wait in their transactions, and two minutes without any."""
    named = tuple(
        msgspec.structs.replace(each, application_name=name) if each.application_name == "api" else each
        for each in SHOWN.backends
    )
    full = [msgspec.structs.replace(SHOWN, taken_at=AT + n * MINUTE // 2, backends=named) for n in range(5)]
    empty = [msgspec.structs.replace(SHOWN, taken_at=AT + n * MINUTE // 2, backends=()) for n in range(5, 9)]
    return [Seen(each.taken_at, each, 30.0) for each in (*full, *empty)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (path,) = recorded(tmp_path / "rec", polls())
    return path


def test_each_cause_has_its_lines(tmp_path: Path, file: Path) -> None:
    done = run(tmp_path, "replay", str(file), "--diagnose", variables=UTC)
    assert (done.returncode, done.stderr) == (0, "")
    head, begins, ends = done.stdout.splitlines()
    assert head == "db1:5432 · 2023-11-14 22:13:20 to 22:17:20 UTC · 9 polls"
    assert begins.startswith("22:13:20  looks like  ▲ 28 of api idle in transaction")
    assert ends == "22:15:50  over          api idle in transaction, after 2m 30s: 28 slots at most"


def test_json_has_a_line_for_each(tmp_path: Path, file: Path) -> None:
    done = run(tmp_path, "replay", str(file), "--diagnose", "--json")
    begins, ends = map(json.loads, done.stdout.splitlines())
    assert (begins["event"], begins["at"], begins["finding"]["kind"]) == (
        "begins",
        timestamp(AT),
        "idle_in_transaction",
    )
    assert "since" not in begins
    assert (ends["event"], ends["at"], ends["since"]) == (
        "ends",
        timestamp(AT + 5 * MINUTE // 2),
        begins["at"],
    )


def test_a_time_leaves_out_what_was_over_before(tmp_path: Path, file: Path) -> None:
    lines = {
        at: run(tmp_path, "replay", str(file), "--diagnose", "--at", at, variables=UTC).stdout.splitlines()
        for at in ("22:15", "-60s", "2023-11-14T22:16:50Z")
    }
    assert [len(each) for each in lines.values()] == [3, 2, 2]
    assert lines["-60s"][1] == "nothing filled this server: it stayed below the 80% line"


def test_a_server_is_named_as_for_the_dashboard(tmp_path: Path) -> None:
    target = resolve("postgresql://db9:5433/shop", {}, {})
    recorded(tmp_path / "rec", polls(), server=server_key(target))
    words = ("replay", "--diagnose", "--record-dir", str(tmp_path / "rec"))
    done = run(tmp_path, *words, "-h", "db9", "-p", "5433", variables=UTC)
    assert done.stdout.startswith("db9:5433 · ")
    other = run(tmp_path, *words, "-h", "db9")
    assert_one_line(other, 2, "there is no recording of db9:5432 in ~/rec")


def test_a_directory_is_one_recording(tmp_path: Path, file: Path) -> None:
    assert "9 polls" in run(tmp_path, "replay", "--diagnose", str(file.parent)).stdout


def test_hidden_queries_are_in_no_line(tmp_path: Path, file: Path) -> None:
    shown, hidden = (
        run(tmp_path, "replay", str(file), "--diagnose", "--json", *more).stdout
        for more in ((), ("--hide-queries",))
    )
    assert "SELECT" in shown
    assert "SELECT" not in hidden
    assert len(hidden.splitlines()) == 2


def test_a_compressed_time_is_judged_as_the_demo_is(tmp_path: Path) -> None:
    path = str(PLACE / "leak.sqlite3")
    factor = f"{SCENARIOS['leak'].compression:g}"
    words = ("replay", path, "--diagnose", "--json")
    faster = run(tmp_path, *words, "--time-factor", factor)
    kinds = {json.loads(line)["finding"]["kind"] for line in faster.stdout.splitlines()}
    assert kinds == {Kind.LEAK}
    assert f'"{Kind.LEAK}"' not in run(tmp_path, *words).stdout


def test_hostile_names_are_shown_safely(tmp_path: Path) -> None:
    (path,) = recorded(tmp_path / "rec", polls(HOSTILE))
    done = run(tmp_path, "replay", str(path), "--diagnose")
    assert "\x1b" not in done.stdout
    assert "idle in transaction" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--at", "noon"), '--at: "noon" is not a moment: give a time such as 03:12'),
        (("--at", "2020-01-01"), "--at 2020-01-01 is 2020-01-01 00:00:00, before the recording begins"),
        (("--at", "2030-01-01"), "it goes from 2023-11-14 22:13:20 to 2023-11-14 22:17:20"),
        (("--time-factor", "0"), "--time-factor 0 is not between 1 and 1000"),
    ],
)
def test_a_bad_value_says_what_there_is(
    tmp_path: Path, file: Path, words: tuple[str, str], said: str
) -> None:
    done = run(tmp_path, "replay", str(file), "--diagnose", *words, variables=UTC)
    assert_one_line(done, 2, said)


def test_json_needs_the_diagnosis(tmp_path: Path, file: Path) -> None:
    done = run(tmp_path, "replay", str(file), "--json")
    assert_one_line(done, 2, "--json needs --diagnose")


def test_a_part_that_is_damaged_is_told(tmp_path: Path, file: Path) -> None:
    file.with_name("2020-01-01.sqlite3").write_text("not a recording, and longer than nothing")
    done = run(tmp_path, "replay", str(file.parent), "--diagnose")
    assert done.returncode == 0
    assert "9 polls" in done.stdout
    (warning,) = done.stderr.splitlines()
    assert "2020-01-01.sqlite3 cannot be read" in warning
