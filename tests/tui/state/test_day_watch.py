"""The last day on the wall: read from the recording at the start, and only while the wall is shown."""

import time
from pathlib import Path

from pgtop.core.activity import MICROSECONDS
from pgtop.core.recorded import Seen
from pgtop.demo.server import ThrowawayServer
from pgtop.flight_recorder import FlightRecorder
from pgtop.history.recorder import Kept
from pgtop.history.store import RecordingStore
from tests.builders import SERVER_KEY, backend, snapshot
from tests.servers import wait_until
from tests.support.dashboards import dashboard
from tests.support.recordings import recorded


def recorder(root: Path) -> FlightRecorder:
    """A recorder on a past of ten minutes somewhat more than an hour ago, the last of them full."""
    begin = time.time_ns() // 1000 - 4000 * MICROSECONDS
    polls = []
    for second in range(0, 600, 10):
        moment = begin + second * MICROSECONDS
        sessions = (backend(10 + number) for number in range(95 if second >= 540 else 3))
        polls.append(Seen(moment, snapshot(*sessions, taken_at=moment), 10.0))
    recorded(root, polls)
    return FlightRecorder(RecordingStore(root, SERVER_KEY), Kept.FINGERPRINTS, "dashboard", "op")


async def test_the_wall_tells_the_last_day(server: ThrowawayServer, tmp_path: Path) -> None:
    kept = recorder(tmp_path / "recordings")
    async with dashboard(server, tmp_path / "a", recorder=kept, wall=True) as driven:
        await wait_until(lambda: "last 1h: 1 episode, 1m 00s full, last " in driven.text)


async def test_it_is_read_once_the_wall_is_opened(server: ThrowawayServer, tmp_path: Path) -> None:
    kept = recorder(tmp_path / "recordings")
    async with dashboard(server, tmp_path / "a", recorder=kept) as driven:
        await wait_until(lambda: driven.shown)
        await driven.pilot.press("w")
        await wait_until(lambda: "last 1h: 1 episode" in driven.text)
