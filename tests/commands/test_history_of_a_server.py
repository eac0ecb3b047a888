"""`pgtop history` over what a daemon recorded of a real server, with the diagnosis in compressed time."""

import asyncio
import io
import json
import signal
from pathlib import Path

from pgtop.core.diagnosis.findings import Kind
from pgtop.daemon.daemon import Daemon
from pgtop.daemon.log import DaemonLog
from pgtop.demo.server import ThrowawayServer
from pgtop.settings.defaults_and_bounds import Config
from tests.conftest import ServerFactory
from tests.servers import wait_until
from tests.support.leaking import QUICK, leaked
from tests.support.reap_command import stale
from tests.support.running import run
from tests.support.targets import target_of

WARN_AT = 0.6


async def watched_leak(server: ThrowawayServer, tmp_path: Path) -> None:
    """Let a daemon record a leak, and terminate it."""
    stream = io.StringIO()
    config = Config(
        audit_log=tmp_path / "audit", record_dir=tmp_path / "recordings", history=tmp_path / "history",
        idle_after_seconds=1, every_seconds=1, interval_seconds=0.2, warn_at=WARN_AT, login_probe_seconds=0,
        findings=(Kind.LEAK,),
    )  # fmt: skip
    target = target_of(server)
    daemon = Daemon(target, config, DaemonLog(stream), read_config=lambda: (config, target), thresholds=QUICK)
    async with stale(server, 18, application_name="web"):
        running = asyncio.ensure_future(daemon.run())
        await wait_until(lambda: "connected to" in stream.getvalue(), 30)
        async with leaked(server, 14, application_name="leaky"):
            await wait_until(lambda: "sweep: terminated" in stream.getvalue(), 30, stream.getvalue())
            signal.raise_signal(signal.SIGTERM)
            assert await asyncio.wait_for(running, 30) == 0


async def test_a_leak_that_was_swept_is_told(server_factory: ServerFactory, tmp_path: Path) -> None:
    """With its cause, with what grew, and with the sweep once, though both files have it."""
    server = server_factory({"max_connections": "43"})
    await watched_leak(server, tmp_path)
    asked = (
        *("history", server.uri(), "--warn-at", str(WARN_AT), "--audit-log", str(tmp_path / "audit")),
        *("--record-dir", str(tmp_path / "recordings")),
    )
    done = await asyncio.to_thread(run, tmp_path, *asked, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    (episode,) = report["episodes"]
    assert "leak" in {each["kind"] for each in episode["causes"]}
    assert episode["filled_by"]["application_name"] == "leaky"
    assert {each["application_name"]: each["difference"] for each in episode["grew"]}["leaky"] >= 10
    assert episode["grew"][0]["application_name"] == "leaky"
    assert [each["face"] for each in episode["acts"]] == ["daemon"] * len(episode["acts"])
    assert sum(each["gone"] for each in episode["acts"]) == len(terminated(tmp_path / "audit"))
    assert all(each["decided_by"] == "policy" and "@" in each["operator"] for each in episode["acts"])
    assert report["acts"] == []
    for format_ in ((), ("--report",)):
        told = await asyncio.to_thread(run, tmp_path, *asked, *format_)
        assert "leak in leaky since " in told.stdout
        assert "sweep" in told.stdout


def terminated(audit: Path) -> list[str]:
    return [line for line in audit.read_text().splitlines() if '"outcome":"terminated"' in line]
