"""No command prints, logs or remembers a statement where hide_queries is in force."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from pgtop.demo.server import ThrowawayServer
from tests.support.config_files import settings_in_force, write_config
from tests.support.daemons import FAST, watching
from tests.support.reap_command import STALE, reap, stale
from tests.support.running import run
from tests.support.secret_statements import SECRET, secretive

HIDING = [["--hide-queries"], []]


@pytest.mark.parametrize("flags", HIDING)
async def test_a_snapshot_has_none(small: ThrowawayServer, tmp_path: Path, flags: list[str]) -> None:
    """The field stays in the JSON, and is null."""
    async with secretive(small):
        wide = {"COLUMNS": "240"}
        table = await asyncio.to_thread(run, tmp_path, "snapshot", small.uri(), *flags, variables=wide)
        answer = await asyncio.to_thread(run, tmp_path, "snapshot", "--json", small.uri(), *flags)
    assert (table.returncode, answer.returncode) == (0, 0)
    assert (SECRET in table.stdout, SECRET in answer.stdout) == (not flags, not flags)
    assert ("query: hidden" in table.stdout) is bool(flags)
    queries = [backend["query"] for backend in json.loads(answer.stdout)["backends"]]
    assert len(queries) == 6
    assert all(query is None for query in queries) is bool(flags)


@pytest.mark.parametrize("flags", HIDING)
async def test_a_reap_and_its_audit_log_have_none(
    small: ThrowawayServer, tmp_path: Path, flags: list[str]
) -> None:
    """Who listens is spared as ever."""
    async with secretive(small) as some, stale(small, 1):
        for how in (["--dry-run"], ["--dry-run", "--json"], ["--json"]):
            done = await reap(tmp_path, small, "--always", *STALE, *how, *flags)
            assert done.returncode == 0, done.stderr
            assert SECRET not in done.stdout + done.stderr
        assert await some["listener"].fetchval("SELECT 1") == 1
        assert some["idle"].is_closed()
    log = (tmp_path / "audit.jsonl").read_text()
    assert (SECRET in log) is not bool(flags)
    assert {json.loads(line)["query"] is None for line in log.splitlines()} == {bool(flags)}


async def test_an_old_audit_log_is_read_back_without_them(small: ThrowawayServer, tmp_path: Path) -> None:
    async with secretive(small), stale(small, 1):
        await reap(tmp_path, small, "--always", *STALE)
    log = ("--audit-log", str(tmp_path / "audit.jsonl"))
    shown = run(tmp_path, "audit", "--json", *log)
    hidden = run(tmp_path, "audit", "--json", *log, "--hide-queries")
    assert (SECRET in shown.stdout, SECRET in hidden.stdout) == (True, False)
    assert [{**json.loads(line), "query": None} for line in shown.stdout.splitlines()] == [
        json.loads(line) for line in hidden.stdout.splitlines()
    ]


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_the_daemon_logs_none_though_asked_to(
    small: ThrowawayServer, tmp_path: Path, log_format: str
) -> None:
    """Nor after it has read of hide_queries while it runs."""
    config = write_config(tmp_path, "log_queries = true\n", "pgtop.toml")
    options = (*FAST, "--config", str(config), "--log-format", log_format)
    with watching(tmp_path / "a", small.uri(), *options) as daemon:
        async with secretive(small):
            await daemon.says(SECRET)
        config.write_text("log_queries = true\nhide_queries = true\n")
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.says("configuration reloaded")
        before, lines = len(daemon.log), len(daemon.audited())
        async with secretive(small):
            await daemon.says("web", times=daemon.log.count("web") + 3)
        assert daemon.end() == 0
        assert SECRET not in daemon.log[before:]
        later = daemon.audited()[lines:]
        assert later
        assert {line["query"] for line in later} == {None}


async def test_the_daemon_begins_so(small: ThrowawayServer, tmp_path: Path) -> None:
    with watching(tmp_path / "a", small.uri(), *FAST, "--hide-queries", "--log-queries") as daemon:
        async with secretive(small):
            await daemon.says("terminated ", "(> ")
        assert daemon.end() == 0
        assert SECRET not in daemon.log
        # Where a statement would stand, nothing stands.
        assert not any(line.rstrip().endswith(":") for line in daemon.log.splitlines())
        assert {line["query"] for line in daemon.audited()} == {None}


def test_hide_queries_in_the_file_wins_over_all(tmp_path: Path) -> None:
    write_config(tmp_path, '[servers.prod]\nconninfo = "host=db1"\nhide_queries = true\n')
    no = {"PGTOP_HIDE_QUERIES": "0"}

    def hidden(*arguments: str, **variables: str) -> object:
        return settings_in_force(tmp_path, *arguments, variables=variables)["settings"]["hide_queries"][
            "value"
        ]

    assert hidden("@prod", **no) is True
    assert [hidden(), hidden("--hide-queries"), hidden(PGTOP_HIDE_QUERIES="1")] == [False, True, True]
