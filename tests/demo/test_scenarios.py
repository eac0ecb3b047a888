"""The scenarios: each is told by the diagnosis in time, says what to press, and leaves nothing behind."""

import asyncio
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pgtop.commands.diagnose.run import examine
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.thresholds import Thresholds
from pgtop.demo.clients import hosts
from pgtop.demo.run import running_demo
from pgtop.demo.scenarios.catalogue import DEFAULT, SCENARIOS, Scenario
from pgtop.demo.workload import PLAYS
from pgtop.postgres.conninfo.resolve import resolve
from tests.servers import default_binaries, wait_until_sync
from tests.support.manual_pages import page
from tests.support.processes import traces
from tests.support.running import command, environment, run

SMALL = 40
"""The max_connections of the servers: a leak fills them sooner."""

BETWEEN_LOOKS = 1.0


def told_first(scenario: Scenario) -> Finding:
    """Play a scenario until a single look at the server tells its kind, and return that finding."""
    begun = time.monotonic()
    with running_demo(max_connections=SMALL, leak_every_seconds=0.5, scenario=scenario) as demo:
        target = resolve(demo.uri, {}, {})
        thresholds = Thresholds(compression=scenario.compression)
        while True:
            found = asyncio.run(examine(target, 0.8, thresholds=thresholds)).findings
            if found and found[0].kind is scenario.kind:
                return found[0]
            assert time.monotonic() - begun < scenario.seconds, [each.sentence for each in found]
            time.sleep(BETWEEN_LOOKS)


CULPRITS = {
    "leak": "leaky-worker",
    "pools": "web",
    "deploy": "web",
    "locks": None,
    "transactions": "api",
    "slow": "search",
    "silent": "web",
    "limit": None,
    "storm": "shop-front",
    "tools": None,
}
"""The application that each scenario is about; None if it is not one."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_one_look_tells_the_cause_in_time(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PGTOP_PG_BIN", str(default_binaries()))
    scenario = SCENARIOS[name]
    first = told_first(scenario)
    if (culprit := CULPRITS[name]) is not None:
        assert first.application_name == culprit
    if scenario.needs_hosts:
        addresses = {address for address, _ in first.addresses}
        assert len(addresses) >= 2
        assert "127.0.0.1" not in addresses
    if name == "locks":  # the dump may live: the schema change is the one to cancel
        assert "wait behind pid" in first.sentence
        assert "ALTER TABLE orders" in first.sentence
        assert first.advice[0].sql.startswith("SELECT pg_cancel_backend(")


def test_each_is_played_and_documented() -> None:
    assert set(PLAYS) == set(SCENARIOS)
    assert DEFAULT in SCENARIOS
    for each in SCENARIOS.values():
        row = f"| `{each.name}` | {each.summary} | `{each.kind}` | {each.seconds} s | {each.compression:g} |"
        assert row in page("demo")
        assert bool(each.pace) == (each.compression > 1)
        assert each.seconds <= 60


def test_a_wrong_name_lists_the_right_ones(tmp_path: Path) -> None:
    done = run(tmp_path, "demo", "--no-dashboard", "--scenario", "leek")
    assert done.returncode == 2
    assert '"leek" is not a scenario: give one of leak, pools, ' in done.stderr
    assert all(f"  {name} " in run(tmp_path, "demo", "--help").stdout for name in SCENARIOS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_what_to_press_and_ends_clean(
    tmp_path: Path, temporary_directory: Path, number: signal.Signals
) -> None:
    scenario = SCENARIOS["silent"]
    variables = environment(tmp_path, TMPDIR=str(temporary_directory), PGTOP_PG_BIN=str(default_binaries()))
    words = command("demo", "--no-dashboard", "--scenario", scenario.name)
    with subprocess.Popen(
        words, env=variables, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("postgresql://pgtop:")
        assert list(temporary_directory.iterdir())
        process.send_signal(number)
        assert process.wait(60) == 0
        said = process.stderr.read()
    assert f"scenario silent: {scenario.summary}" in said
    assert f"press {scenario.press}" in said
    assert "pgtop diagnose --time-factor 20 with this server's URI says silent_clients" in said
    assert "time runs 20 times faster" in said
    assert list(temporary_directory.iterdir()) == []
    wait_until_sync(lambda: traces(temporary_directory) == [str(temporary_directory)], limit=30)


def test_hosts_of_a_release_differ_from_the_last_ones() -> None:
    assert not set(hosts(3)) & set(hosts(3, release=1))
