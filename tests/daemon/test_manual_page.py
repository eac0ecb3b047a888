"""The daemon's page of the manual: its rules load, its command lines are taken, its figures exist."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from pgtop.commands.all_commands import COMMANDS
from pgtop.commands.command import split_command
from pgtop.commands.dashboard import DASHBOARD
from pgtop.core.activity import ConnectionLimit, LimitOf
from pgtop.core.plan import Trigger
from pgtop.core.retaken_slots import Rebound
from pgtop.daemon.metrics import FiguresCollector
from tests.builders import figures_of
from tests.servers import REPOSITORY

PAGE = (REPOSITORY / "pgtop" / "docs" / "daemon.md").read_text(encoding="utf-8")


def block(marker: str) -> str:
    """The fenced block after a marker."""
    found = re.search(rf"<!-- {marker} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Prometheus's own checker, where it is at hand."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool at hand (Debian's package prometheus has it)")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_the_alerts_load_in_prometheus(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(block("alerts"), encoding="utf-8")
    done = promtool("check", "rules", str(rules))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS: 3 rules found" in done.stdout


def test_the_scrape_configuration_loads_in_prometheus(tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yml"
    config.write_text(block("scrape"), encoding="utf-8")
    done = promtool("check", "config", str(config))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alerts_ask_for_metrics_that_there_are() -> None:
    """With or without Prometheus's checker at hand."""
    figures = figures_of("web")
    assert figures.snapshot is not None
    limits = (ConnectionLimit(LimitOf.ROLE, "app", 5),)
    figures.snapshot = msgspec.structs.replace(figures.snapshot, connection_limits=limits)
    figures.sweeps[Trigger.USAGE] = 1
    figures.rebound[10.0] = Rebound(10.0, 1, {}, 0)
    told = {sample.name for family in FiguresCollector(figures).collect() for sample in family.samples}
    asked = set(re.findall(r"pgtop_\w+", block("alerts")))
    assert asked
    assert asked <= told


def test_the_unit_s_command_is_one() -> None:
    """Its options are those of `pgtop reap`."""
    found = re.search(r"^ExecStart=\S+/pgtop (.*)$", block("unit"), re.MULTILINE)
    assert found is not None
    command, rest = split_command(shlex.split(found[1]), COMMANDS, DASHBOARD)
    assert command.name == "reap"
    with command.make_context("pgtop reap", rest) as context:
        assert context.params["watch"] is True
        assert context.params["metrics_listen"].value == "127.0.0.1:9432"
