"""The recording that a command line asks for, and what is said where there is none."""

from pathlib import Path

import pytest

from pgtop.commands.recording_choice import files_at, named_file, need_polls, recording_of
from pgtop.errors import UsageError
from pgtop.exit_codes import ExitCode
from pgtop.history.recorder import Kept
from tests.builders import backend, snapshot
from tests.support.recordings import recorded, seen


@pytest.mark.parametrize("name", ["incident.sqlite3", "./incident", "/srv/recordings", "a=b.sqlite3"])
def test_a_path_names_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    if "=" in name:
        assert named_file(name) is None, "key=value pairs"
        Path(name).touch()
    assert named_file(name) == Path(name)


@pytest.mark.parametrize(
    "name", ["", "shop", "@a/b", "host=/run/x dbname=shop", "postgresql:///shop?host=/run"]
)
def test_a_server_names_no_file(name: str) -> None:
    assert named_file(name) is None


def test_a_directory_stands_for_all_its_days(tmp_path: Path) -> None:
    (path,) = recorded(tmp_path, [seen(snapshot(backend()))])
    path.with_name("2020-01-01.sqlite3").write_bytes(path.read_bytes())
    assert [each.name for each in files_at(path.parent)] == ["2020-01-01.sqlite3", path.name]
    assert files_at(path) == [path]
    recording = recording_of(files_at(path))
    assert recording.server == "db1:5432"
    need_polls(recording)


def test_an_unreadable_file_is_a_usage_error(tmp_path: Path) -> None:
    """It names the file, and nothing is unexpected about it."""
    (tmp_path / "notes.sqlite3").write_text("no recording")
    (tmp_path / "empty").mkdir()
    for name, said in (
        ("notes.sqlite3", "notes.sqlite3 cannot be read"),
        ("missing.sqlite3", "there is no recording"),
        ("empty", "there is no recording in"),
        ("notes.sqlite3/below.sqlite3", "there is no recording"),
        (f"{'a' * 300}.sqlite3", "cannot be read"),
    ):
        with pytest.raises(UsageError, match=said) as raised:
            recording_of(files_at(tmp_path / name))
        assert raised.value.exit_code is ExitCode.USAGE
        assert raised.value.mend


def test_counts_alone_are_not_enough(tmp_path: Path) -> None:
    recording = recording_of(recorded(tmp_path, [seen(snapshot(backend()))], kept=Kept.COUNTS))
    with pytest.raises(UsageError, match="--no-record"):
        need_polls(recording)
