"""Bell, command and colours in a real terminal: what is sent to it, byte by byte."""

import json
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from pgtop.core.activity import MICROSECONDS, ConnectionLimit, LimitOf, Snapshot
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.diagnosis.over_time import DiagnosisOverTime
from pgtop.core.diagnosis.scene import Facts
from pgtop.demo.server import ThrowawayServer
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui.alerts.notifier import AlertNotifier
from pgtop.tui.state.dashboard_state import DashboardState
from tests.builders import backend, snapshot
from tests.conftest import ServerFactory
from tests.servers import sessions, wait_until, wait_until_sync
from tests.support.dashboards import dashboard
from tests.support.filling import SEVENTEEN_SLOTS
from tests.support.terminals import Terminal, leave, terminal

HOSTILE = "$(touch owned)`touch owned`;\"'"
"""An application's name, as long and as bad as PostgreSQL takes it."""

_OSC = re.compile(rb"\x1b\].*?(?:\x07|\x1b\\)", re.DOTALL)
_SGR = re.compile(rb"\x1b\[([\d;:]*)m")


def bells(opened: Terminal) -> int:
    """How often the terminal was rung; what ends the setting of a title is not a bell."""
    return _OSC.sub(b"", opened.raw).count(b"\x07")


def colours(opened: Terminal) -> set[bytes]:
    """What was sent to set a colour: `31` and the like for the terminal's own sixteen, `38` for any other."""
    found: set[bytes] = set()
    for match in _SGR.finditer(opened.raw):
        parts = iter(re.split(rb"[;:]", match[1]))
        for part in parts:
            if re.fullmatch(rb"(?:[349]|10)\d", part) and part not in (b"39", b"49"):
                found.add(part)
            if part in (b"38", b"48"):
                for _ in range(3 if next(parts, b"") == b"2" else 1):
                    next(parts, b"")
    return found


def test_a_limit_that_is_reached_rings_once() -> None:
    """What pgtop opens with does not."""
    limit = ConnectionLimit(LimitOf.ROLE, "bill", 2)
    one, two = (
        snapshot(*(backend(10 + n, usename="bill") for n in range(number)), connection_limits=(limit,))
        for number in (1, 2)
    )
    for polls, times in (((one, two, two, one, two), 1), ((two, two), 0)):
        rung: list[str] = []
        notifier = AlertNotifier(Config(), "db1", DashboardState(0.8), partial(rung.append, "rung"))
        told = [notice.said for poll in polls if (notice := notifier.polled(poll, None)) is not None]
        assert told == ["role bill at its limit of 2: the next login is refused"] * times
        assert len(rung) == times


def page_into(place: Path) -> tuple[Path, Path]:
    """A command for alerts, and the file that it puts the JSON into."""
    script, received = place / "page", place / "received"
    script.write_text(f"#!/bin/sh\ncat > {received}.new && mv {received}.new {received}\n")
    script.chmod(0o755)
    return script, received


async def test_a_server_that_fills_rings_once_and_says_when(tmp_path: Path) -> None:
    """With the findings of that moment in the JSON; without a forecast nothing rings."""
    script, received = page_into(tmp_path)
    seen = snapshot(*(backend(10 + n) for n in range(60)))
    state, rung = DashboardState(0.8), list[str]()
    state.take(seen, 2.0)
    notifier = AlertNotifier(Config(on_alert=str(script)), "db1", state, partial(rung.append, "rung"))
    soon = Forecast(seen.taken_at + 600 * MICROSECONDS)
    told = [notifier.polled(seen, None, forecast) for forecast in (None, soon, soon)]
    await wait_until(received.exists, 20)
    await notifier.finish()
    assert [each and each.said for each in told] == [None, f"filling: {soon.words(seen.taken_at)}", None]
    assert rung == ["rung"]
    report = json.loads(received.read_text())
    assert (report["alert"], report["problem"]) == ("filling", soon.words(seen.taken_at))
    assert report["snapshot"]["findings"] == []


@asynccontextmanager
async def held(server: ThrowawayServer, number: int, **options: Any) -> AsyncIterator[None]:
    """So many more sessions."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(sessions(server, number, **options))
        yield


async def until(opened: Terminal, holds: Callable[[], object], what: str) -> None:
    """Waits while what is sent is read."""

    def looked() -> object:
        opened.read()
        return holds()

    await wait_until(looked, 30, what)


@pytest.mark.parametrize(("options", "rings"), [((), True), (("--no-bell",), False)], ids=["bell", "no bell"])
async def test_each_alert_rings_once(
    server_factory: ServerFactory, tmp_path: Path, options: tuple[str, ...], rings: bool
) -> None:
    server = server_factory(SEVENTEEN_SLOTS)
    with terminal(server, tmp_path, "--wall", *options) as opened:
        opened.shows("below the 80% line")
        assert bells(opened) == 0
        async with held(server, 13):
            opened.shows("over the 80% line")
            async with held(server, 3):
                opened.shows("new connections are refused")
                await until(opened, lambda: bells(opened) >= 2 * rings, "no second bell")
        opened.shows("below the 80% line")
        await until(opened, lambda: bells(opened) >= 3 * rings, "no bell for the recovery")
        leave(opened, "q")
        assert bells(opened) == 3 * rings


async def test_an_outage_that_lasts_rings_and_so_does_its_end(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    server = server_factory(SEVENTEEN_SLOTS)
    with terminal(server, tmp_path) as opened:
        opened.shows("live")
        server.stop()
        opened.shows("retrying")
        assert bells(opened) == 0
        await until(opened, lambda: bells(opened) == 1, "no bell for the outage")
        server.start()
        await until(opened, lambda: bells(opened) == 2, "no bell for the recovery")
        opened.shows("live")
        leave(opened, "q")
        assert bells(opened) == 2


def hearing(directory: Path, then: str = "") -> str:
    """A command that writes what it hears to `heard-<alert>`, all at once, and then does something more."""
    program = directory / "hears.py"
    program.write_text(
        "import os, sys, time\n"
        "place = os.path.join(sys.argv[1], 'heard-' + os.environ['PGTOP_ALERT'])\n"
        "names = [v for v in (*sys.argv, *os.environ.values()) if 'owned' in v]\n"
        "open(place + '.new', 'w').write(sys.stdin.read() + repr(names) + '\\n' + str(os.getpid()))\n"
        f"os.rename(place + '.new', place)\n{then}\n",
        encoding="utf-8",
    )
    return shlex.join([sys.executable, str(program), str(directory)])


def heard(directory: Path, alert: str) -> tuple[dict[str, Any], str, int]:
    """The JSON, what of the server was elsewhere, and the command's process."""
    path = directory / f"heard-{alert}"
    wait_until_sync(path.exists, 30, f"nothing heard of {alert}")
    report, names, pid = path.read_text(encoding="utf-8").splitlines()
    return json.loads(report), names, int(pid)


def is_owned(home: Path) -> bool:
    """True where a shell has read what the server says."""
    return any((place / "owned").exists() for place in (Path.cwd(), home))


async def test_the_command_gets_json_that_holds_hostile_names(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    server = server_factory(SEVENTEEN_SLOTS)
    with terminal(server, tmp_path, "--on-alert", hearing(tmp_path)) as opened:
        opened.shows("live")
        async with held(server, 13, application_name=HOSTILE):
            opened.shows("over the 80% line")
            report, names, _ = heard(tmp_path, "over")
        leave(opened, "q")
    assert names == "[]"
    assert not is_owned(tmp_path)
    assert list(report) == ["schema", "alert", "at", "server", "snapshot"]
    assert (report["schema"], report["alert"]) == (1, "over")
    snapshot = report["snapshot"]
    assert (snapshot["schema"], snapshot["warn_at"]) == (1, 0.8)
    assert snapshot["usage"] >= 0.8
    assert HOSTILE in {each["application_name"] for each in snapshot["backends"]}


@pytest.mark.parametrize("by", ["q", "SIGTERM"])
async def test_one_that_hangs_holds_nothing_up_and_is_not_left_behind(
    server_factory: ServerFactory, tmp_path: Path, by: str
) -> None:
    server = server_factory(SEVENTEEN_SLOTS)
    with terminal(server, tmp_path, "--on-alert", hearing(tmp_path, "time.sleep(600)")) as opened:
        opened.shows("live")
        async with held(server, 13):
            *_, pid = heard(tmp_path, "over")
            async with held(server, 3):
                opened.shows("FULL")
                assert psutil.pid_exists(pid)
                assert not (tmp_path / "heard-full").exists()
                leave(opened, by)
    wait_until_sync(lambda: not psutil.pid_exists(pid), 10, "the command is left behind")


async def test_one_that_fails_is_told_of_and_nothing_else_happens(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    server = server_factory(SEVENTEEN_SLOTS)
    with terminal(server, tmp_path, "--on-alert", hearing(tmp_path, "sys.exit(7)")) as opened:
        opened.shows("live")
        async with held(server, 13):
            opened.shows("the alert command exited with status 7")
            opened.shows("over the 80% line")
            leave(opened, "q")


@pytest.mark.parametrize("wall", [True, False], ids=["wall", "tables"])
async def test_the_ansi_theme_sends_no_colour_but_the_terminals_own(
    server_factory: ServerFactory, tmp_path: Path, wall: bool
) -> None:
    environment = {"COLORTERM": "truecolor"}
    server = server_factory(SEVENTEEN_SLOTS)
    async with held(server, 13):
        with terminal(
            server, tmp_path, "--theme", "ansi", *(["--wall"] if wall else []), environment=environment
        ) as opened:
            opened.shows("over the 80% line")
            for key, word in ((b"S", "Esc close"), (b"\x10", "Search for commands")):
                os.write(opened.master, key)
                opened.shows(word)
                os.write(opened.master, b"\x1b")
                await until(opened, lambda word=word: word not in opened.read(), f"{word} stays")
            leave(opened, "q")
    found = colours(opened)
    assert found & {b"35", b"95"}, "the test sees no colours at all"
    assert not found & {b"38", b"48"}
    with terminal(server, tmp_path, "--theme", "dark", environment=environment) as opened:
        opened.shows("below the 80% line")
        leave(opened, "q")
    assert colours(opened) & {b"38", b"48"}, "the test sees no others"


async def test_without_colour_the_state_and_the_cursor_are_still_seen(
    server_factory: ServerFactory, tmp_path: Path
) -> None:
    environment = {"COLORTERM": "truecolor", "NO_COLOR": "1"}
    server = server_factory(SEVENTEEN_SLOTS)
    async with held(server, 13):
        with terminal(server, tmp_path, "--theme", "light", "--wall", environment=environment) as opened:
            opened.shows("over the 80% line")
            os.write(opened.master, b"w")
            opened.shows("sessions: ")
            leave(opened, "q")
    assert colours(opened) == set()
    reversed_lines = re.findall(rb"\x1b\[(?:\d+;)*7(?:;\d+)*m([^\x1b]+)", opened.raw)
    assert any("over the 80% line" in line.decode() for line in reversed_lines)
    assert any("idle" in line.decode() for line in reversed_lines)


async def test_the_dashboard_tells_of_a_server_that_fills(
    small: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the forecast of the diagnosis, from half of the slots on."""
    take = DiagnosisOverTime.take

    def taken(diagnosis: DiagnosisOverTime, seen: Snapshot, facts: Facts) -> tuple[Finding, ...]:
        found = take(diagnosis, seen, facts)
        diagnosis.forecast = Forecast(seen.taken_at + 600 * MICROSECONDS)
        return found

    monkeypatch.setattr(DiagnosisOverTime, "take", taken)
    script, received = page_into(tmp_path)
    async with sessions(small, 8), dashboard(small, tmp_path / "a", on_alert=str(script)) as driven:
        await driven.shows("9 of 20 slots")
        assert not received.exists()
        async with sessions(small, 3):
            await wait_until(received.exists, 20)
    report = json.loads(received.read_text())
    assert report["alert"] == "filling"
    assert report["problem"].startswith("full at about ")
