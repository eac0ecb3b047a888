"""The pool's page of the manual: its examples run, its limits and fields are those of the code."""

import ast
import asyncio
import re
import subprocess
import sys
import textwrap
from dataclasses import fields
from pathlib import Path

from pgtop.demo.server import ThrowawayServer
from pgtop.pool import get_pool
from pgtop.pool.limits import DEFAULTS
from pgtop.pool.report import PlaceReport, PoolReport
from tests.servers import execute
from tests.support.manual_pages import codes, page, rows, section

PAGE = page("pool")


def block(marker: str) -> str:
    """The example after a marker."""
    found = re.search(rf"<!-- {marker} -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def run_on(server: ThrowawayServer, tmp_path: Path, script: str, *arguments: str) -> str:
    """Run a script of the page on a server with jobs; what it prints."""
    jobs = ("DROP TABLE IF EXISTS jobs", "CREATE TABLE jobs AS SELECT generate_series(3, 9) AS id")
    asyncio.run(execute(server, *jobs))
    file = tmp_path / "test_of_the_manual.py"
    file.write_text(script.replace("postgresql://app@db1/shop", server.uri()), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, *arguments, str(file)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    asyncio.run(execute(server, "DROP TABLE jobs"))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_runs(server: ThrowawayServer, tmp_path: Path) -> None:
    assert run_on(server, tmp_path, block("example")) == "[3, 3]\n7\n"


def test_the_fixture_runs(server: ThrowawayServer, tmp_path: Path) -> None:
    test = 'def test_it():\n    """Run with the fixture."""\n'
    said = run_on(server, tmp_path, block("fixture") + test, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert "1 passed" in said


def test_the_report_is_printed(server: ThrowawayServer, tmp_path: Path) -> None:
    body = textwrap.indent(block("report"), "    ")
    script = f"""import asyncio
from pgtop.pool import close_pool, get_pool
async def main():
    pool = await get_pool("postgresql://app@db1/shop")
{body}    await close_pool()
asyncio.run(main())
"""
    said = run_on(server, tmp_path, script)
    assert said.startswith("1 of 10 held, 0 idle, 0 waiting\ntest_of_the_manual.py:5 1 ")


def test_each_limit_has_its_row_and_default() -> None:
    listed = {
        codes(name)[0]: float(ast.literal_eval(codes(default)[0]))
        for name, default, _ in rows(section(PAGE, "Limits"))
    }
    assert listed == {name: float(value) for name, value in DEFAULTS.items()}  # type: ignore[arg-type]


def test_each_field_of_the_report_is_told() -> None:
    text = section(PAGE, "The report")
    for each in (*fields(PoolReport), *fields(PlaceReport)):
        assert f"`{each.name}`" in text


def test_the_log_lines_are_those_of_the_code() -> None:
    """The sentences of the page are those of the code, but for names and figures."""
    sources = "\n".join(
        path.read_text(encoding="utf-8") for path in Path(get_pool.__code__.co_filename).parent.glob("*.py")
    )
    for said in (
        "has been held for %.0f s",
        "was returned after %.0f s",
        "was never returned and is garbage after %.0f s: given back",
    ):
        assert said in sources
        assert re.search(re.sub(r"%\\?\.0f", r"\\d+", re.escape(said)), PAGE)
