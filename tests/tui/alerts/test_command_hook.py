"""The command that hears of alerts: what it reads, that no shell sees it, that nothing waits for it."""

import asyncio
import json
import shlex
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from pgtop.core.alerts import Alert
from pgtop.errors import UsageError
from pgtop.tui.alerts.command_hook import MOST_WAITING, AlertCommand, Occasion, command_words
from tests.servers import wait_until

HOSTILE = "$(touch owned); `touch owned` && touch owned\n\x1b]0;owned\x07\x9b\u202e\"'\\"


def occasion(alert: Alert = Alert.OVER, **known: Any) -> Occasion:
    """An alert of which only a few things are known."""
    settings = {"at": "2026-01-01T00:00:00.000000Z", "server": "db1", "problem": "", "snapshot": None}
    return Occasion(alert=alert, warn_at=0.8, **{**settings, **known})


def script(directory: Path, body: str) -> list[str]:
    """The words that run a Python program."""
    program = directory / "hears.py"
    program.write_text(f"import os, sys, time, signal, subprocess\n{body}\n", encoding="utf-8")
    return [sys.executable, str(program)]


def lines(path: Path) -> list[str]:
    """What a program has written; nothing where it has not yet."""
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


async def test_it_gets_one_line_of_json_and_nothing_else_of_the_server(tmp_path: Path) -> None:
    heard, told = tmp_path / "heard", []
    body = (
        f"data = sys.stdin.read()\n"
        f"known = repr((sys.argv[1:], os.environ.get('PGTOP_ALERT')))\n"
        f"others = [v for v in os.environ.values() if 'owned' in v]\n"
        f"open({str(heard)!r}, 'w').write(data + known + repr(others))"
    )
    command = AlertCommand([*script(tmp_path, body), "a b", "$HOME"], told.append)
    command.hear(occasion(problem=HOSTILE, server=HOSTILE))
    await wait_until(lambda: len(lines(heard)) == 2)
    report, known = lines(heard)
    assert report.isprintable()
    assert json.loads(report) == {
        "schema": 1,
        "alert": "over",
        "at": "2026-01-01T00:00:00.000000Z",
        "server": HOSTILE,
        "problem": HOSTILE,
        "snapshot": None,
    }
    assert known == repr((["a b", "$HOME"], "over")) + "[]"
    await command.finish()
    assert not (tmp_path / "owned").exists()
    assert told == []


async def test_one_runs_at_a_time_in_the_order_the_alerts_came(tmp_path: Path) -> None:
    log, told = tmp_path / "log", []
    body = (
        f"log = open({str(log)!r}, 'a', buffering=1)\n"
        "log.write('begin ' + os.environ['PGTOP_ALERT'] + '\\n'); time.sleep(0.05)\n"
        "log.write('end ' + os.environ['PGTOP_ALERT'] + '\\n')"
    )
    command = AlertCommand(script(tmp_path, body), told.append)
    alerts = [Alert.OVER, Alert.FULL, Alert.RECOVERED]
    for alert in alerts:
        command.hear(occasion(alert))
    await wait_until(lambda: len(lines(log)) == 6)
    assert lines(log) == [f"{word} {alert}" for alert in alerts for word in ("begin", "end")]
    await command.finish()
    assert told == []


async def test_a_hanging_command_is_ended_and_the_next_alert_is_heard(tmp_path: Path) -> None:
    """Also one that takes no SIGTERM."""
    pids, told = tmp_path / "pids", []
    body = (
        "if os.environ['PGTOP_ALERT'] == 'full':\n"
        "    open(sys.argv[1] + '.full', 'w').write('heard\\n')\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open(sys.argv[1], 'w').write(f'{os.getpid()}\\n{child.pid}\\n')\n"
        "time.sleep(600)"
    )
    command = AlertCommand([*script(tmp_path, body), str(pids)], told.append, limit_seconds=1.0)
    command.hear(occasion())
    command.hear(occasion(Alert.FULL))
    await wait_until(lambda: lines(Path(f"{pids}.full")) == ["heard"], 30)
    assert told == ["the alert command ran longer than 1 second and was killed"]
    for pid in map(int, lines(pids)):
        await wait_until(lambda pid=pid: not psutil.pid_exists(pid) or is_dead(pid))
    await command.finish()


def is_dead(pid: int) -> bool:
    """True for one that only waits for somebody to take note."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_closing_leaves_none_behind_and_does_not_wait_for_long(tmp_path: Path) -> None:
    pids, told = tmp_path / "pids", []
    body = "open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\ntime.sleep(600)"
    command = AlertCommand([*script(tmp_path, body), str(pids)], told.append)
    for _ in range(3):
        command.hear(occasion())
    await wait_until(lambda: lines(pids))
    async with asyncio.timeout(20):
        await command.finish()
    assert len(lines(pids)) == 1
    assert is_dead(int(lines(pids)[0]))


async def test_more_alerts_than_may_wait_drop_the_oldest_and_say_so(tmp_path: Path) -> None:
    log, told = tmp_path / "log", []
    body = "open(sys.argv[1], 'a').write(sys.stdin.readline())"
    command = AlertCommand([*script(tmp_path, body), str(log)], told.append)
    for number in range(MOST_WAITING + 2):
        command.hear(occasion(server=str(number)))
    await wait_until(lambda: len(lines(log)) == MOST_WAITING, 30)
    heard = [json.loads(line)["server"] for line in lines(log)]
    assert heard == [str(number) for number in range(2, MOST_WAITING + 2)]
    assert told == ["alert command too slow: alerts dropped"] * 2
    await command.finish()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("sys.exit(3)", "the alert command exited with status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "the alert command was killed by SIGKILL"),
        ("sys.exit(0)", None),
    ],
)
async def test_an_end_without_success_is_told(tmp_path: Path, body: str, said: str | None) -> None:
    told: list[str] = []
    command = AlertCommand(script(tmp_path, body), told.append)
    before = asyncio.all_tasks()
    command.hear(occasion())
    await asyncio.wait(asyncio.all_tasks() - before)
    assert told == ([said] if said else [])


async def test_one_that_is_gone_by_then_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    command = AlertCommand([str(tmp_path / "gone")], told.append)
    command.hear(occasion())
    await wait_until(lambda: told)
    assert told == ["the alert command cannot be run: No such file or directory"]


async def test_a_missing_thread_is_told_and_the_next_alert_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, told = tmp_path / "heard", []
    command = AlertCommand(
        [*script(tmp_path, "open(sys.argv[1], 'w').write('x\\n')"), str(heard)], told.append
    )

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        command.hear(occasion())
        await wait_until(lambda: told)
    assert told == ["the alert command cannot be run: can't start new thread"]
    command.hear(occasion())
    await wait_until(lambda: lines(heard) == ["x"])
    await command.finish()


async def test_one_that_reads_nothing_is_not_waited_for(tmp_path: Path) -> None:
    """More than any pipe holds stands on its standard input."""
    heard = tmp_path / "heard"
    command = AlertCommand([*script(tmp_path, "open(sys.argv[1], 'w').write('x\\n')"), str(heard)], print)
    command.hear(occasion(problem="x" * 2_000_000))
    await wait_until(lambda: lines(heard) == ["x"])
    await command.finish()


def test_the_program_is_found_in_path_and_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "notify"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert command_words("./notify")[0] == "./notify"
    for written in (
        "notify 'on call' $HOME",
        "~/notify 'on call' $HOME",
        shlex.join([str(program), "on call", "$HOME"]),
    ):
        assert command_words(written) == [str(program), "on call", "$HOME"]


@pytest.mark.parametrize("written", ["no-such-program -x", "/no/such", ".", "''", "~nobody-here/x"])
def test_a_program_that_is_not_there_is_refused(written: str) -> None:
    with pytest.raises(UsageError, match="--on-alert: there is no program"):
        command_words(written)


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    async def run() -> None:
        command, before = AlertCommand(script(tmp_path, ""), print), asyncio.all_tasks()
        for _ in range(3):
            command.hear(occasion())
        await asyncio.wait(asyncio.all_tasks() - before)

    before = psutil.Process().num_fds()
    asyncio.run(run())
    assert psutil.Process().num_fds() == before
