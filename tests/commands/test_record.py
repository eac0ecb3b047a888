"""`pgtop record`: what there is, and a copy that can be sent to somebody."""

import json
from pathlib import Path

import pytest

from pgtop.core.json_text import timestamp
from pgtop.history.recorder import Kept
from pgtop.history.recording import Recording
from pgtop.history.store import ServerKey
from tests.builders import HOSTILE, NOW, backend, snapshot
from tests.support.recordings import recorded, seen
from tests.support.running import assert_one_line, run

UTC = {"TZ": "UTC"}
POLL = seen(snapshot(backend(application_name="leaky-worker", query="SELECT * FROM jobs WHERE id = 42")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The recordings of two servers, of which one has counts alone."""
    root = tmp_path / "rec"
    recorded(root, [POLL])
    recorded(root, [POLL], kept=Kept.COUNTS, server=ServerKey("db2:5432", 5))
    return root


def test_a_list_has_each_server(tmp_path: Path, root: Path) -> None:
    done = run(tmp_path, "record", "list", "--record-dir", str(root), variables=UTC)
    assert (done.returncode, done.stderr) == (0, "")
    title, one, other = done.stdout.splitlines()
    assert title.split()[:3] == ["server", "from", "until"]
    assert one.startswith("db1:5432  2023-11-14 22:13:20  2023-11-14 22:13:20")
    assert "~/rec/db1-5432-" in one
    assert other.startswith("db2:5432  no poll ")


def test_a_list_as_json_has_a_line_for_each(tmp_path: Path, root: Path) -> None:
    done = run(tmp_path, "record", "list", "--json", "--record-dir", str(root))
    one, other = map(json.loads, done.stdout.splitlines())
    assert (one["server"], one["polls"], one["files"]) == ("db1:5432", 1, 1)
    assert one["first_at"] == one["last_at"] == timestamp(NOW)
    assert one["bytes"] > 0
    assert "first_at" not in other


def test_a_list_of_one_file_is_its_own(tmp_path: Path, root: Path) -> None:
    (path,) = root.glob("db1*/*.sqlite3")
    done = run(tmp_path, "record", "list", str(path), "--json")
    (only,) = map(json.loads, done.stdout.splitlines())
    assert only["path"] == str(path)


def test_nothing_recorded_is_said(tmp_path: Path) -> None:
    done = run(tmp_path, "record", "list", "--record-dir", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (0, "nothing was recorded yet in ~/none\n")


def test_a_damaged_recording_stands_in_the_list(tmp_path: Path, root: Path) -> None:
    (root / "bad").mkdir()
    (root / "bad" / "2020-01-01.sqlite3").write_text("x" * 200)
    done = run(tmp_path, "record", "list", "--record-dir", str(root))
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 4
    assert "cannot be read" in done.stderr


def test_hostile_names_are_listed_safely(tmp_path: Path) -> None:
    recorded(tmp_path / "rec", [POLL], server=ServerKey(HOSTILE, 1))
    done = run(tmp_path, "record", "list", "--record-dir", str(tmp_path / "rec"))
    assert done.returncode == 0
    assert all(line.isprintable() for line in done.stdout.splitlines())


def test_a_scrubbed_copy_has_other_names(tmp_path: Path, root: Path) -> None:
    (path,) = root.glob("db1*/*.sqlite3")
    done = run(tmp_path, "record", "scrub", str(path), "-o", "copy.sqlite3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("copy.sqlite3: ")
    copy = tmp_path / "copy.sqlite3"
    assert copy.stat().st_mode & 0o777 == 0o600
    (shown,) = Recording([copy]).between(0, NOW)
    assert "leaky-worker" not in repr(shown)
    assert "jobs" not in repr(shown)
    assert "42" not in repr(shown.result)
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".pgtop")] == []


def test_a_file_is_never_replaced(tmp_path: Path, root: Path) -> None:
    (path,) = root.glob("db1*/*.sqlite3")
    (tmp_path / "copy.sqlite3").write_text("mine")
    (tmp_path / "link.sqlite3").symlink_to(tmp_path / "nowhere")
    for name in ("copy.sqlite3", "link.sqlite3"):
        done = run(tmp_path, "record", "scrub", str(path), "-o", name)
        assert_one_line(done, 2, f"{name} is there already")
    assert (tmp_path / "copy.sqlite3").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing is named to do"),
        (("lst",), 'there is no "lst" (did you mean list?)'),
        (("scrub",), "no file is named to write: name it with -o"),
        (("scrub", "missing.sqlite3", "-o", "x.sqlite3"), "there is no recording missing.sqlite3"),
        (("scrub", "x.sqlite3", "-o", "-"), '--output "-" does not end in .sqlite3'),
        (("scrub", "x.sqlite3", "--json"), "--json belongs to pgtop record list"),
        (("list", "-o", "x.sqlite3"), "-o belongs to pgtop record scrub"),
    ],
)
def test_a_bad_line_is_an_error(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    assert_one_line(run(tmp_path, "record", *words), 2, said)


def test_a_directory_that_is_missing_is_an_error(tmp_path: Path, root: Path) -> None:
    (path,) = root.glob("db1*/*.sqlite3")
    done = run(tmp_path, "record", "scrub", str(path), "-o", "none/copy.sqlite3")
    assert_one_line(done, 2, "none/copy.sqlite3 cannot be written (No such file or directory)")


def test_counts_alone_cannot_be_scrubbed(tmp_path: Path, root: Path) -> None:
    (path,) = root.glob("db2*/*.sqlite3")
    done = run(tmp_path, "record", "scrub", str(path), "-o", "copy.sqlite3")
    assert_one_line(done, 2, "the recording of db2:5432 has no poll")
