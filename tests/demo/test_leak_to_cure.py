"""The manual's walk from a leak to its cure, on the demo: what the page says to do is done, and holds."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pgtop.demo.scenarios.leaky_worker
from tests.servers import default_binaries, wait_until_sync
from tests.support.manual_pages import page
from tests.support.running import command, environment, run, run_words

WALK = page("leak-to-cure")
LEAKY = Path(pgtop.demo.scenarios.leaky_worker.__file__)


def block(name: str) -> str:
    """Return the code of the page under that mark."""
    found = re.search(rf"<!-- {name} -->\n```python\n(.*?)```", WALK, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def uri(tmp_path: Path, temporary_directory: Path) -> Iterator[str]:
    """The demo's server while the worker leaks, as the page starts it."""
    arguments = shlex.split(re.findall(r"^pgtop (demo .*?) +#", WALK, re.MULTILINE)[0])
    places = {"TMPDIR": str(temporary_directory), "PGTOP_PG_BIN": str(default_binaries())}
    with subprocess.Popen(
        command(*arguments),
        env=environment(tmp_path, **places),
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        try:
            yield demo.stdout.readline().strip()
        finally:
            demo.terminate()
            demo.wait(60)


def leak_on(home: Path, uri: str) -> dict[str, Any] | None:
    (asked,) = re.findall(r"^pgtop (diagnose .*) URI$", WALK, re.MULTILINE)
    done = run(home, *shlex.split(asked), "--json", uri)
    found = json.loads(done.stdout)["findings"] if done.returncode == 0 else []
    return next((each for each in found if each["kind"] == "leak"), None)


def count(home: Path, uri: str, application: str) -> int:
    done = run(home, "snapshot", "--json", uri)
    groups = json.loads(done.stdout)["applications"]
    return sum(each["total"] for each in groups if each["application_name"] == application)


def test_the_walk_leads_from_the_leak_to_a_flat_line(tmp_path: Path, uri: str) -> None:
    # It waits for real time: a leak is told by its pace.
    leak = wait_until_sync(lambda: leak_on(tmp_path, uri), limit=120)
    commands = [each.get("command", "") for each in leak["advice"]]
    (advised,) = [each for each in commands if each.startswith("pgtop leaks ")]

    only = ["--idle-after", "1s", "--application", "leaky-worker"]
    swept = json.loads(run(tmp_path, "reap", "--always", *only, "--json", uri).stdout)
    assert {each["outcome"] for each in swept["victims"]} in ({"terminated"}, {"terminated", "changed"})

    found = run_words(LEAKY.parents[1], [*command(), *shlex.split(advised)[1:]]).stdout.splitlines()[0]
    assert re.match(r"scenarios/leaky_worker\.py:\d+:\d+: never-closed: .* \(runs the statement\)$", found)

    fixed = tmp_path / "fixed.py"
    fixed.write_text(block("fixed"), encoding="utf-8")
    assert run(tmp_path, "leaks", "fixed.py").returncode == 0
    worked = run_words(tmp_path, [sys.executable, str(fixed), uri, "300"])
    assert (worked.returncode, worked.stderr) == (0, "")
    assert int(worked.stdout.removeprefix("sessions: ")) <= 5
    wait_until_sync(lambda: count(tmp_path, uri, "fixed-worker") == 0, limit=30)


def test_the_page_shows_the_code_of_the_demo() -> None:
    assert block("leaky") in LEAKY.read_text(encoding="utf-8")
    (line,) = re.findall(r"leaky_worker\.py:(\d+):24", WALK)
    assert "clients.open" in LEAKY.read_text(encoding="utf-8").splitlines()[int(line) - 1]
