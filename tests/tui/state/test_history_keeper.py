"""The graph's past outlives the dashboard, belongs to its server, and no disk holds the screen up."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from pgtop.core.activity import MICROSECONDS
from pgtop.core.recorded import Seen
from pgtop.core.sample_history import Point
from pgtop.demo.server import ThrowawayServer
from pgtop.flight_recorder import FlightRecorder, server_key
from pgtop.history.recorder import Kept, Recorder
from pgtop.history.recording import Recording
from pgtop.history.store import RecordingStore, ServerKey
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui import app, opening
from pgtop.tui.dashboard import DashboardScreen
from tests.conftest import ServerFactory
from tests.servers import create_role, execute, wait_until
from tests.support.dashboards import Driven, dashboard
from tests.support.polls import played, snapshot_of, write
from tests.support.reaping import real_snapshot
from tests.support.targets import target_of
from tests.support.terminals import terminal

if TYPE_CHECKING:
    import sqlite3


@pytest.fixture
def store(server: ThrowawayServer, tmp_path: Path) -> RecordingStore:
    return RecordingStore(tmp_path / "recordings", server_key(target_of(server)))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be written several times a second."""
    monkeypatch.setattr("pgtop.flight_recorder.WRITE_SECONDS", 0.1)


def flight(store: RecordingStore) -> FlightRecorder:
    """What a dashboard records with."""
    return FlightRecorder(store, Kept.FINGERPRINTS, "dashboard", "ops")


async def earlier(
    server: ThrowawayServer,
    store: RecordingStore,
    tmp_path: Path,
    seconds: float = 3_600.0,
    cluster: str | None = "",
    total: int = 60,
) -> None:
    """Record twenty minutes of so many sessions, that ended so long ago, as another dashboard did.

    The server is this one, or its cluster has another identifier.
    """
    now = await real_snapshot(server, tmp_path / "first")
    identity = now.server.identity
    if cluster != "":
        identity = msgspec.structs.replace(identity, system_identifier=cluster)
    made_by = msgspec.structs.replace(now.server, identity=identity)
    own = next(each for each in now.backends if each.pid == now.own_pid)
    name = re.sub(r"\S+@", "dashboard@", own.application_name or "")
    sessions = tuple(
        msgspec.structs.replace(own, pid=10 + number, application_name=name) for number in range(total)
    )
    begin = now.taken_at - round((seconds + 1_200) * MICROSECONDS)
    polls = []
    for number in range(600):
        at = begin + number * 2 * MICROSECONDS
        each = msgspec.structs.replace(now, taken_at=at, backends=sessions, server=made_by)
        polls.append(Seen(at, each, 2.0))
    write(Recorder(store), polls)


def points(driven: Driven, seconds: int = 10_800) -> list[Point]:
    history = driven.dashboard.state.history
    assert history.latest is not None
    return history.window(seconds, history.latest.at, 200)


async def taken_up(driven: Driven) -> list[Point]:
    """Waits until there is more in the graph than this dashboard saw."""
    history = driven.dashboard.state.history

    def is_more() -> bool:
        past = history.past()
        return past is not None and past.tiers[0][0].at < history.began_at

    await wait_until(is_more, 15, "no past")
    return points(driven)


def recorded(store: RecordingStore) -> list[Seen]:
    """All polls that are in the files."""
    return played(Recording(store.files()))


async def test_a_restart_shows_the_earlier_curve_and_a_gap(
    server: ThrowawayServer, audit: Path, store: RecordingStore, tmp_path: Path
) -> None:
    """The three hours' graph has the hour-old curve, and no line from it to now."""
    await earlier(server, store, tmp_path)
    async with dashboard(server, audit, recorder=flight(store)) as driven:
        found = await taken_up(driven)
        began = driven.dashboard.state.history.began_at
        assert {point.sample.total for point in found if point.at < began} == {60}
        assert [point.starts for point in found].count(True) == 2
        first_now = next(point for point in found if point.sample.total < 60)
        assert first_now.starts
        await driven.press(*"]]]]]]")
        assert driven.dashboard.panels.graph.window_seconds == 10_800
        # Between the lines of 78 and of 50, where this server's few sessions are not.
        between = re.compile(r"80% = 78\s.*[▁-█]{8}.* 50\s", re.DOTALL)
        await wait_until(lambda: between.search(driven.text), 15, "the earlier curve is not drawn")


async def test_two_dashboards_one_after_the_other_draw_one_curve(
    server: ThrowawayServer, audit: Path, store: RecordingStore
) -> None:
    """The polls of the first until it was closed are in the second's graph, and in its 'since'."""
    async with dashboard(server, audit, recorder=flight(store), warn_at=0.001) as driven:
        await wait_until(lambda: driven.history_keeper.is_keeping)
        history = driven.dashboard.state.history
        await wait_until(lambda: len(history) > 6)
        began, last = history.began_at, history.latest
    assert last is not None
    assert recorded(store)[-1].at >= last.at
    async with dashboard(server, audit, recorder=flight(store), warn_at=0.001) as driven:
        await taken_up(driven)
        assert [point.starts for point in points(driven, 300)].count(True) == 1
        await wait_until(
            lambda: (since := driven.dashboard.state.over_since) is not None and since.at <= began,
            15,
            "'since' is not the first's",
        )
        await driven.shows("at least since")


async def test_a_restart_shows_the_change_of_applications(
    server: ThrowawayServer, audit: Path, store: RecordingStore, tmp_path: Path
) -> None:
    """All but one of sixty sessions have left since the dashboard before was closed."""
    await earlier(server, store, tmp_path, seconds=5.0)
    async with dashboard(server, audit, recorder=flight(store)) as driven:
        await taken_up(driven)
        await driven.shows("-59")


async def test_another_cluster_behind_the_address_shows_no_past(
    server: ThrowawayServer, audit: Path, store: RecordingStore, tmp_path: Path
) -> None:
    """A failover to another cluster, or a server made anew: that one's sessions were not these."""
    await earlier(server, store, tmp_path, cluster="7000000000000000001")
    async with dashboard(server, audit, recorder=flight(store)) as driven:
        await wait_until(lambda: driven.history_keeper.is_keeping)
        assert points(driven)[0].at >= driven.dashboard.state.history.began_at
    found = [snapshot_of(each).server.identity.system_identifier for each in recorded(store)]
    assert found[0] == "7000000000000000001"
    assert found[-1] not in (None, found[0])


async def test_without_the_system_identifier_the_past_is_by_address(
    server_factory: ServerFactory, audit: Path, tmp_path: Path
) -> None:
    server = server_factory()
    role = await create_role(server, "monitor")
    await execute(server, "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    store = RecordingStore(tmp_path / "recordings", server_key(target_of(server)))
    await earlier(server, store, tmp_path, cluster=None)
    recorder = flight(store)
    async with dashboard(server, audit, recorder=recorder, user=role.name, password=role.password) as driven:
        await taken_up(driven)


async def test_a_damaged_file_is_told_once_and_a_new_one_is_kept(
    server: ThrowawayServer, audit: Path, store: RecordingStore, tmp_path: Path, quick: None
) -> None:
    await earlier(server, store, tmp_path)
    (path,) = store.files()
    path.write_text("garbage")
    async with dashboard(server, audit, recorder=flight(store), size=(80, 24)) as driven:
        await driven.shows("recording of that day is lost")
        await driven.press("escape")
        began = driven.dashboard.state.history.began_at
    assert recorded(store)[0].at == began
    (aside,) = path.parent.glob("*.damaged-*")
    assert aside.read_text() == "garbage"


async def test_a_file_that_is_removed_is_written_anew(
    server: ThrowawayServer, audit: Path, store: RecordingStore, quick: None
) -> None:
    async with dashboard(server, audit, recorder=flight(store)) as driven:
        await wait_until(lambda: len(store.files()) == 1)
        (path,) = store.files()
        path.unlink()
        await wait_until(path.exists, 15, "nothing is written any more")
        latest = driven.dashboard.state.history.latest
    assert latest is not None
    assert recorded(store)[-1].at >= latest.at


async def test_a_recording_that_cannot_be_kept_is_told_once(
    server: ThrowawayServer, audit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    """All else works, and the notice that was read does not come back."""
    monkeypatch.chdir(tmp_path)  # a long path would leave no room for the reason
    (tmp_path / "file").write_text("")
    recorder = flight(RecordingStore(Path("file"), ServerKey("db", 1)))
    async with dashboard(server, audit, recorder=recorder) as driven:
        await driven.shows("the recording is not kept", "Not a directory")
        await driven.press("escape")
        await wait_until(lambda: driven.dashboard.notices.current is None)
        seen = driven.dashboard.state.history
        for _ in range(3):
            before = seen.latest
            await wait_until(lambda before=before: seen.latest is not before)
        assert recorder.notice == ""
        assert driven.dashboard.notices.current is None


async def test_a_notice_waits_until_another_is_read(
    server: ThrowawayServer, audit: Path, store: RecordingStore, tmp_path: Path, quick: None
) -> None:
    """The outcome of an act is not covered by a notice about a file."""
    await earlier(server, store, tmp_path)
    store.files()[0].write_text("garbage")
    recorder = flight(store)
    async with dashboard(server, audit, recorder=recorder) as driven:
        driven.dashboard.say("something else")
        await wait_until(lambda: recorder.notice, 15, "nothing is told")
        driven.dashboard.tick()
        assert recorder.notice
        await driven.shows("something else")
        await driven.press("escape")
        await driven.shows("recording of that day is lost")


async def test_a_clock_that_was_set_back_while_pgtop_was_closed_is_overcome(
    server: ThrowawayServer, audit: Path, store: RecordingStore, tmp_path: Path
) -> None:
    """Polls of the future are not shown, and those of now are recorded after them."""
    await earlier(server, store, tmp_path, seconds=-86_400.0)
    async with dashboard(server, audit, recorder=flight(store)) as driven:
        await wait_until(lambda: driven.history_keeper.is_keeping)
        assert max(point.sample.total for point in points(driven)) < 60
        latest = driven.dashboard.state.history.latest
    assert latest is not None
    assert recorded(store)[-1].at >= latest.at


class Hung(RecordingStore):
    """A disk that answers nothing, as a file server that has gone."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, ServerKey("db", 1))
        self.asked = threading.Event()
        self.released = threading.Event()

    def write(self, work: "Callable[[sqlite3.Connection], object]") -> object:  # type: ignore[override]
        self.files()
        raise AssertionError(work)

    def files(self) -> list[Path]:
        self.asked.set()
        self.released.wait()
        return []


async def test_a_disk_that_hangs_holds_up_neither_the_screen_nor_the_end(
    server: ThrowawayServer, audit: Path, tmp_path: Path
) -> None:
    hung = Hung(tmp_path)
    try:
        async with dashboard(server, audit, recorder=flight(hung)) as driven:
            await wait_until(hung.asked.is_set)
            before = driven.dashboard.state.history.latest
            await wait_until(lambda: driven.dashboard.state.history.latest is not before)
            await driven.press("p")
            assert driven.dashboard.state.paused
        # The end came although the disk still hangs.
        assert not hung.released.is_set()
    finally:
        hung.released.set()


def test_the_key_tells_servers_apart_and_not_roles(server: ThrowawayServer) -> None:
    """A standby has its primary's identifier, and its own sessions: the address counts."""
    target = target_of(server)
    change = msgspec.structs.replace
    assert server_key(change(target, user="other", database="other")).address == server_key(target).address
    others = [
        change(target, ports=(1,)),
        change(target, hosts=("db2",)),
        change(target, hostaddrs=("10.0.0.2",)),
        change(target, target_session_attrs="primary"),
        change(target, hosts=("db1", "db2"), ports=(5432, 5432)),
    ]
    assert len({server_key(each).address for each in (target, *others)}) == len(others) + 1


async def test_the_program_records_as_the_configuration_says(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`record_dir` names the directory; nothing is kept without a history."""
    given: list[FlightRecorder | None] = []

    class App:
        def __init__(self, dashboard: DashboardScreen, **_: object) -> None:
            given.append(dashboard.recorder)
            raise LookupError

    monkeypatch.setattr(app, "PgtopApp", App)
    for history in (tmp_path / "h.sqlite3", None):
        config = Config(audit_log=tmp_path / "a", history=history, record_dir=tmp_path / "r")
        with pytest.raises(LookupError):
            await opening.run_dashboard(target_of(server), config)
    assert given[0] is not None
    assert (given[0].store.directory.parent, given[1]) == (tmp_path / "r", None)


async def test_the_program_itself_leaves_what_its_next_run_goes_on_with(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """In the user's state directory, readable by nobody else; also where the terminal went away."""
    ends = []
    for ending in (signal.SIGHUP, None):
        with terminal(server, tmp_path) as opened:
            opened.shows("slots")
            if ending is None:
                os.write(opened.master, b"q")
            else:
                opened.process.send_signal(ending)
            opened.ends()
        (path,) = (tmp_path / ".local/state/pgtop/recordings").glob("*/*.sqlite3")
        assert path.stat().st_mode & 0o777 == 0o600
        ends.append([each.at for each in played(Recording([path]))])
    first, second = ends
    assert first
    assert second[: len(first)] == first
    assert second[-1] > first[-1]
    assert second[-1] < (time.time() + 60) * MICROSECONDS
