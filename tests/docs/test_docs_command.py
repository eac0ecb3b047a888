"""`pgtop docs`: plain text in a pipe, a clear error for an unknown page, nothing of the screen imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pgtop.commands.docs import FIRST_PAGE, PAGES, page_names
from pgtop.exit_codes import ExitCode
from tests.support.running import assert_one_line, environment, run


@pytest.mark.parametrize("page", page_names())
def test_a_page_is_printed_as_it_is(tmp_path: Path, page: str) -> None:
    """In a pipe the text is the file's own, and the exit status 0."""
    done = run(tmp_path, "docs", page)
    assert (done.returncode, done.stderr) == (ExitCode.DONE, "")
    assert done.stdout == (PAGES / f"{page}.md").read_text(encoding="utf-8")


def test_the_index_is_shown_without_a_name(tmp_path: Path) -> None:
    """`pgtop docs` alone is the index, which names every other page."""
    done = run(tmp_path, "docs")
    assert done.stdout == (PAGES / f"{FIRST_PAGE}.md").read_text(encoding="utf-8")
    assert page_names()[0] == FIRST_PAGE


@pytest.mark.parametrize("name", ["REAP", "reap.md"])
def test_a_page_is_found_by_its_file_name_too(tmp_path: Path, name: str) -> None:
    """Upper case and the file's ending make no difference."""
    assert run(tmp_path, "docs", name).stdout == (PAGES / "reap.md").read_text(encoding="utf-8")


def test_an_unknown_page_is_refused_with_the_list(tmp_path: Path) -> None:
    """One line on standard error, exit status 2, the nearest page and all pages in it."""
    done = run(tmp_path, "docs", "reep")
    assert_one_line(done, ExitCode.USAGE, '"reep"', "did you mean reap?", *page_names())


@pytest.mark.parametrize("name", ["../README", "/etc/passwd", "", "a\x1b[2Jb"])
def test_only_pages_of_the_manual_are_read(tmp_path: Path, name: str) -> None:
    """A path is not a page, and what is typed is printed safely."""
    assert_one_line(run(tmp_path, "docs", name), ExitCode.USAGE, "there is no page")


def test_two_pages_at_once_are_refused(tmp_path: Path) -> None:
    """The error says what to type."""
    assert_one_line(run(tmp_path, "docs", "reap", "audit"), ExitCode.USAGE, "one page", "pgtop docs reap")


def test_broken_settings_do_not_hide_the_manual(tmp_path: Path) -> None:
    """Neither a bad variable nor a bad file keeps the manual away; settings before the name are accepted."""
    (tmp_path / ".config" / "pgtop").mkdir(parents=True)
    (tmp_path / ".config" / "pgtop" / "config.toml").write_text("nonsense", encoding="utf-8")
    done = run(
        tmp_path, "--interval", "5", "docs", variables={"PGTOP_INTERVAL": "x", "PGTOP_READ_ONLY": "perhaps"}
    )
    assert (done.returncode, done.stderr) == (ExitCode.DONE, "")


def test_a_pipe_needs_no_screen(tmp_path: Path) -> None:
    """Start-up time is measured: Textual is imported where the viewer is opened, and nowhere else."""
    code = (
        "import sys; from pgtop.commands.main import run; run(['docs']); "
        "sys.exit(bool({'textual', 'rich', 'asyncpg'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# ")


def test_every_page_is_shipped() -> None:
    """The pages lie inside the package, so that the wheel has them."""
    assert PAGES.parent.name == "pgtop"
    assert all(os.access(PAGES / f"{name}.md", os.R_OK) for name in page_names())
