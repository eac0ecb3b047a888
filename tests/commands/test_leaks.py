"""`pgtop leaks`: its outputs, its exit status, and its errors."""

import json
import os
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.support.running import run

BAD = dedent(
    """
    import psycopg2

    def jobs():
        connection = psycopg2.connect("dbname=shop")
        connection.cursor().execute("SELECT * FROM jobs")
    """
)
GOOD = "import psycopg2\n"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    root = tmp_path / "src"
    root.mkdir()
    (root / "bad.py").write_text(BAD, encoding="utf-8")
    (root / "good.py").write_text(GOOD, encoding="utf-8")
    return root


def test_findings_are_lines_with_a_place(tmp_path: Path, sources: Path) -> None:
    done = run(tmp_path, "leaks", "src")
    assert done.returncode == 1
    assert done.stderr == ""
    first, counted = done.stdout.splitlines()
    assert first.startswith(
        "src/bad.py:5:18: never-closed: the connection of `psycopg2.connect()` is never closed"
    )
    assert counted == "1 found in 2 files"


def test_nothing_found_is_success(tmp_path: Path, sources: Path) -> None:
    done = run(tmp_path, "leaks", "src/good.py")
    assert (done.returncode, done.stdout) == (0, "nothing found in 1 file\n")


def test_the_statement_is_ranked_and_told(tmp_path: Path, sources: Path) -> None:
    done = run(tmp_path, "leaks", "src", "--statement", "select * from jobs")
    assert "(runs the statement)" in done.stdout
    done = run(tmp_path, "leaks", "src", "--statement", "SELECT 7 FROM other")
    assert "no code that takes a connection runs SELECT 7 FROM other" in done.stdout


def test_json_has_the_findings(tmp_path: Path, sources: Path) -> None:
    done = run(tmp_path, "leaks", "src", "--json", "--statement", "SELECT * FROM jobs WHERE id = 7")
    found: dict[str, Any] = json.loads(done.stdout)
    (finding,) = found["findings"]
    assert found["schema"] == 1
    assert found["statement"] == "SELECT * FROM jobs WHERE id = ?"
    assert (finding["rule"], finding["path"], finding["line"], finding["statement"]) == (
        "never-closed",
        "src/bad.py",
        5,
        "no",
    )


def test_sarif_has_rules_results_and_places(tmp_path: Path, sources: Path) -> None:
    (sources / "broken.py").write_text("import psycopg2\ndef (", encoding="utf-8")
    done = run(tmp_path, "leaks", "src", "--sarif")
    (ran,) = json.loads(done.stdout)["runs"]
    (result,) = ran["results"]
    place = result["locations"][0]["physicalLocation"]
    assert result["ruleId"] in {each["id"] for each in ran["tool"]["driver"]["rules"]}
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("src/bad.py", 5)
    assert "broken.py" in ran["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
    assert "broken.py is skipped: line 2: invalid syntax" in done.stderr


def test_github_gets_annotations(tmp_path: Path, sources: Path) -> None:
    (sources / "bad.py").rename(sources / "50%,a:b.py")
    done = run(tmp_path, "leaks", "src", "--github")
    assert done.stdout.startswith(
        "::error file=src/50%25%2Ca%3Ab.py,line=5,col=18,title=never-closed::the connection"
    )


def test_a_path_with_escape_codes_is_printable(tmp_path: Path, sources: Path) -> None:
    (sources / "bad.py").rename(sources / "a\x1b[2J.py")
    assert "\x1b" not in run(tmp_path, "leaks", "src").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no PATH is named"),
        (["nowhere"], "nowhere does not exist"),
        (["empty"], "no Python file is there to check"),
        (["src", "--rule", "never-close"], "did you mean never-closed?"),
        (["src", "--json", "--github"], "--json and --github exclude each other"),
    ],
)
def test_bad_usage_is_told(tmp_path: Path, sources: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "empty").mkdir()
    done = run(tmp_path, "leaks", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""


def test_nothing_of_the_sources_is_run(tmp_path: Path, sources: Path) -> None:
    (sources / "evil.py").write_text(
        "import psycopg2, pathlib\npathlib.Path('ran').touch()\n", encoding="utf-8"
    )
    assert run(tmp_path, "leaks", "src").returncode == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("output", ["--json", "--sarif", "--github"])
def test_any_name_of_a_file_can_be_shown(tmp_path: Path, sources: Path, output: str) -> None:
    for name in (b"a b%.py", b"latin-\xff.py", b"new\nline.py"):
        (sources / os.fsdecode(name)).write_text(BAD, encoding="utf-8")
    done = run(tmp_path, "leaks", "src", output, "--statement", os.fsdecode(b"SELECT \xff"))
    assert (done.returncode, done.stderr) == (1, "")


def test_sarif_names_files_as_uris(tmp_path: Path, sources: Path) -> None:
    (sources / "bad.py").rename(sources / "a b%.py")
    (sources / os.fsdecode(b"latin-\xff.py")).write_text(BAD, encoding="utf-8")
    for path, before in (("src", "src"), (str(sources), sources.as_uri())):
        (shown,) = json.loads(run(tmp_path, "leaks", path, "--sarif").stdout)["runs"]
        places = [each["locations"][0]["physicalLocation"] for each in shown["results"]]
        assert [each["artifactLocation"]["uri"] for each in places] == [
            f"{before}/a%20b%25.py",
            f"{before}/latin-%FF.py",
        ]


def test_an_empty_path_is_told(tmp_path: Path, sources: Path) -> None:
    done = run(tmp_path, "leaks", "")
    assert done.returncode == 2
    assert "an empty PATH does not exist" in done.stderr
