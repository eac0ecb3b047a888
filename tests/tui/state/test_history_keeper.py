"""The graph's past outlives the dashboard, belongs to its server, and no disk holds the screen up."""

import os
import re
import signal
import threading
import time
from pathlib import Path

import msgspec
import pytest

from pgtop.core.activity import MICROSECONDS, Snapshot
from pgtop.core.outage import Outage, OutageKind
from pgtop.core.sample_history import History, Past, Point, Sample
from pgtop.demo.server import ThrowawayServer
from pgtop.errors import HistoryBusyError
from pgtop.history.store import HistoryStore, Mode, Series
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui import app, opening
from pgtop.tui.state import history_keeper
from pgtop.tui.state.dashboard_state import DashboardState
from pgtop.tui.state.history_keeper import HistoryKeeper, series_of
from tests.conftest import ServerFactory
from tests.servers import create_role, execute, fetch_value, wait_until
from tests.support.dashboards import Driven, dashboard
from tests.support.reaping import real_snapshot
from tests.support.targets import target_of
from tests.support.terminals import terminal


@pytest.fixture
def store(tmp_path: Path) -> HistoryStore:
    return HistoryStore(tmp_path / "history.sqlite3")


def an_hour_ago(total: int = 60, seconds: float = 3_600.0) -> Past:
    """Twenty minutes of so many sessions each 2 s, that ended so long ago by this machine's clock."""
    now = int(time.time() * MICROSECONDS)
    history = History()
    for number in range(600):
        at = now - int((seconds + 1_200 - number * 2) * MICROSECONDS)
        history.add(Sample(at, total, total - 5, 5, 97))
    past = history.past()
    assert past is not None
    return past


async def series_on(server: ThrowawayServer, user: str = "postgres", *, known: bool = True) -> Series:
    cluster = await fetch_value(server, "SELECT system_identifier::text FROM pg_control_system()")
    return series_of(target_of(server, user=user), str(cluster) if known else None)


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


async def saved(store: HistoryStore, series: Series, not_before: int = 0) -> None:
    def is_there() -> bool:
        past = store.load(series)
        return past is not None and past.latest_at >= not_before

    await wait_until(is_there, 15, "nothing was written")


async def test_a_restart_shows_the_earlier_curve_and_a_gap(
    server: ThrowawayServer, audit: Path, store: HistoryStore
) -> None:
    """The three hours' graph has the hour-old curve, and no line from it to now."""
    store.save(await series_on(server), an_hour_ago(), "begin")
    async with dashboard(server, audit, history=store) as driven:
        found = await taken_up(driven)
        assert {
            point.sample.total for point in found if point.at < driven.dashboard.state.history.began_at
        } == {60}
        assert [point.starts for point in found].count(True) == 2
        first_now = next(point for point in found if point.sample.total < 60)
        assert first_now.starts
        await driven.press(*"]]]]]]")
        assert driven.dashboard.panels.graph.window_seconds == 10_800
        # Between the lines of 78 and of 50, where this server's few sessions are not.
        between = re.compile(r"80% = 78\s.*[▁-█]{8}.* 50\s", re.DOTALL)
        await wait_until(lambda: between.search(driven.text), 15, "the earlier curve is not drawn")


async def test_two_dashboards_one_after_the_other_draw_one_curve(
    server: ThrowawayServer, audit: Path, store: HistoryStore
) -> None:
    """What the first saw until it was closed is in the second's graph, and in its 'since'."""
    async with dashboard(server, audit, history=store, warn_at=0.001) as driven:
        await wait_until(lambda: driven.history_keeper.is_keeping)
        history = driven.dashboard.state.history
        await wait_until(lambda: len(history) > 6)
        began, last = history.began_at, history.latest
    assert last is not None
    past = store.load(await series_on(server))
    assert past is not None
    assert past.latest_at >= last.at
    async with dashboard(server, audit, history=store, warn_at=0.001) as driven:
        await taken_up(driven)
        assert [point.starts for point in points(driven, 300)].count(True) == 1
        await wait_until(
            lambda: (since := driven.dashboard.state.over_since) is not None and since.at <= began,
            15,
            "'since' is not the first's",
        )
        await driven.shows("at least since")


async def test_another_cluster_behind_the_address_shows_no_past(
    server: ThrowawayServer, audit: Path, store: HistoryStore
) -> None:
    """A failover to another cluster, or a server made anew: that one's sessions were not these."""
    mine = await series_on(server)
    other = msgspec.structs.replace(mine, cluster="7000000000000000001")
    store.save(other, an_hour_ago(), "begin")
    async with dashboard(server, audit, history=store) as driven:
        await wait_until(lambda: driven.history_keeper.is_keeping)
        assert points(driven)[0].at >= driven.dashboard.state.history.began_at
    await saved(store, mine)
    kept = store.load(other)
    assert kept is not None
    assert max(bucket.sample.total for bucket in kept.tiers[2]) == 60


async def test_without_the_system_identifier_the_past_is_by_address(
    server_factory: ServerFactory, audit: Path, store: HistoryStore
) -> None:
    server = server_factory()
    role = await create_role(server, "monitor")
    await execute(server, "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    series = await series_on(server, role.name, known=False)
    assert series.cluster == ""
    store.save(series, an_hour_ago(), "begin")
    async with dashboard(server, audit, history=store, user=role.name, password=role.password) as driven:
        await taken_up(driven)


def at_another_time(snapshot: Snapshot, seconds: float, cluster: str | None) -> Snapshot:
    """The same snapshot so many seconds later, of a cluster with that identifier."""
    replace = msgspec.structs.replace
    identity = replace(snapshot.server.identity, system_identifier=cluster)
    server = replace(snapshot.server, identity=identity)
    return replace(snapshot, server=server, taken_at=snapshot.taken_at + int(seconds * MICROSECONDS))


async def test_a_failover_to_another_cluster_keeps_the_pasts_apart(
    server: ThrowawayServer, store: HistoryStore, tmp_path: Path
) -> None:
    """Also where a role that cannot read the identifier looked in between."""
    snapshot = await real_snapshot(server, tmp_path / "a")
    target = target_of(server)
    seen = DashboardState(0.8)
    kept = HistoryKeeper(store, seen, target)
    for cluster, seconds in (("1", 0), ("1", 1), (None, 2), ("2", 3), ("2", 4)):
        one = at_another_time(snapshot, seconds, cluster)
        seen.take(one, 1.0)
        await kept.finish()
    await kept.finish()
    for cluster, count in (("1", 3), ("2", 2)):
        past = store.load(series_of(target, cluster))
        assert past is not None
        assert len(past.tiers[0]) == count


async def test_a_clock_that_is_set_back_while_it_runs_moves_what_is_kept(
    server: ThrowawayServer, store: HistoryStore, tmp_path: Path
) -> None:
    """A second dashboard reads what the first one shows: the same curve, an hour earlier, and no future."""
    snapshot = await real_snapshot(server, tmp_path / "a")
    target = target_of(server)
    seen = DashboardState(0.8)
    kept = HistoryKeeper(store, seen, target)
    for seconds in (*range(100), *range(-3_500, -3_400)):
        seen.take(at_another_time(snapshot, seconds, "1"), 1.0)
        if seconds % 30 == 0:
            await kept.finish()
    await kept.finish()
    past = store.load(series_of(target, "1"))
    shown = seen.history.past()
    assert past is not None
    assert shown is not None
    # In the coarser ones, buckets of before and after the change may have become one.
    assert [bucket.at for bucket in past.tiers[0]] == [bucket.at for bucket in shown.tiers[0]]
    assert past.latest_at == snapshot.taken_at - 3_401 * MICROSECONDS
    assert max(bucket.at for tier in past.tiers for bucket in tier) == past.latest_at


async def test_a_damaged_file_is_told_once_and_a_new_one_is_kept(
    server: ThrowawayServer, audit: Path, store: HistoryStore
) -> None:
    store.path.write_text("garbage")
    async with dashboard(server, audit, history=store, size=(80, 24)) as driven:
        await driven.shows("the graph's past is lost", "damaged")
        await driven.press("escape")
        began = driven.dashboard.state.history.began_at
    past = store.load(await series_on(server))
    assert past is not None
    assert past.unbroken_since == began
    (aside,) = store.path.parent.glob("*.damaged-*")
    assert aside.read_text() == "garbage"


async def test_damage_while_it_runs_loses_only_what_was_before(
    server: ThrowawayServer, audit: Path, store: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file gets everything that this dashboard knows, what it had taken up included."""
    monkeypatch.setattr(history_keeper, "SAVE_SECONDS", 0.1)
    series = await series_on(server)
    store.save(series, an_hour_ago(), "begin")
    async with dashboard(server, audit, history=store) as driven:
        await taken_up(driven)
        store.path.write_text("garbage")
        await driven.shows("the graph's past is lost")
        await saved(HistoryStore(store.path), series)
    past = store.load(series)
    assert past is not None
    assert {60} < {bucket.sample.total for bucket in past.tiers[2]}


async def test_a_file_that_is_removed_is_written_anew(
    server: ThrowawayServer, audit: Path, store: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_keeper, "SAVE_SECONDS", 0.1)
    series = await series_on(server)
    store.save(series, an_hour_ago(), "begin")
    async with dashboard(server, audit, history=store) as driven:
        await taken_up(driven)
        store.path.unlink()
        await saved(store, series)
    past = store.load(series)
    assert past is not None
    assert max(bucket.sample.total for bucket in past.tiers[2]) == 60


async def test_an_unwritable_history_is_told_once_and_all_else_works(
    server: ThrowawayServer, audit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_keeper, "SAVE_SECONDS", 0.1)
    monkeypatch.chdir(tmp_path)  # a long path would leave no room for the reason
    (tmp_path / "file").write_text("")
    store = HistoryStore(Path("file") / "history.sqlite3")
    async with dashboard(server, audit, history=store) as driven:
        await driven.shows("the history is not kept", "Not a directory")
        await driven.press("escape")
        await wait_until(lambda: driven.dashboard.notices.current is None)
        seen = driven.dashboard.state.history
        before = seen.latest
        await wait_until(lambda: seen.latest is not before)
        assert driven.history_keeper.notice == ""
        assert driven.dashboard.notices.current is None


async def test_a_notice_waits_until_another_is_read(
    server: ThrowawayServer, audit: Path, store: HistoryStore
) -> None:
    """What became of sessions is not covered by what became of a file."""
    store.path.write_text("garbage")
    async with dashboard(server, audit, history=store) as driven:
        driven.dashboard.say("something else")
        await wait_until(lambda: driven.history_keeper.is_keeping)
        driven.dashboard.tick()
        assert driven.history_keeper.notice
        await driven.shows("something else")
        await driven.press("escape")
        await driven.shows("the graph's past is lost")


async def test_a_clock_that_was_set_back_while_pgtop_was_closed_is_overcome(
    server: ThrowawayServer, audit: Path, store: HistoryStore
) -> None:
    """Rows of the future are neither shown nor kept."""
    series = await series_on(server)
    store.save(series, an_hour_ago(seconds=-86_400.0), "begin")
    async with dashboard(server, audit, history=store) as driven:
        await wait_until(lambda: driven.history_keeper.is_keeping)
        assert max(point.sample.total for point in points(driven)) < 60
    past = store.load(series)
    assert past is not None
    assert past.latest_at < (time.time() + 60) * MICROSECONDS
    assert all(bucket.at <= past.latest_at for tier in past.tiers for bucket in tier)


class Hung(HistoryStore):
    """A disk that answers nothing, as a file server that has gone."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked = threading.Event()
        self.released = threading.Event()

    def load(self, series: Series) -> Past | None:
        self.asked.set()
        self.released.wait()
        return None


async def test_a_disk_that_hangs_holds_up_neither_the_screen_nor_the_end(
    server: ThrowawayServer, audit: Path, tmp_path: Path
) -> None:
    hung = Hung(tmp_path / "history.sqlite3")
    try:
        async with dashboard(server, audit, history=hung) as driven:
            await wait_until(hung.asked.is_set)
            before = driven.dashboard.state.history.latest
            await wait_until(lambda: driven.dashboard.state.history.latest is not before)
            await driven.press("p")
            assert driven.dashboard.state.paused
        # The end came although the disk still hangs.
        assert not hung.released.is_set()
        assert all(each.daemon for each in threading.enumerate() if each.name == "history")
    finally:
        hung.released.set()


class Busy(HistoryStore):
    """A file that is locked whenever one comes."""

    def save(self, series: Series, past: Past, mode: Mode) -> bool:
        raise HistoryBusyError("the history is not kept: others keep it locked")


async def test_a_file_that_is_locked_for_a_moment_does_not_matter(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """It is said where it stays so."""
    snapshot = await real_snapshot(server, tmp_path / "a")
    seen = DashboardState(0.8)
    seen.take(snapshot, 1.0)
    kept = HistoryKeeper(Busy(tmp_path / "history.sqlite3"), seen, target_of(server))
    for _ in range(history_keeper.BUSY_TRIES - 1):
        await kept.finish()
        assert kept.notice == ""
    await kept.finish()
    assert "locked" in kept.notice


async def test_nothing_is_kept_before_there_is_something(
    server: ThrowawayServer, store: HistoryStore
) -> None:
    """An outage from the start writes no file."""
    seen = DashboardState(0.8)
    seen.take(Outage(OutageKind.UNREACHABLE, "no answer"), 1.0)
    kept = HistoryKeeper(store, seen, target_of(server))
    kept.polled()
    await kept.finish()
    assert not store.path.exists()


def test_the_key_tells_servers_apart_and_not_roles(server: ThrowawayServer) -> None:
    """A standby has its primary's identifier, and its own sessions: the address counts too."""
    target = target_of(server)
    change = msgspec.structs.replace
    assert series_of(change(target, user="other", database="other"), "1") == series_of(target, "1")
    others = [
        change(target, ports=(1,)),
        change(target, hosts=("db2",)),
        change(target, hostaddrs=("10.0.0.2",)),
        change(target, target_session_attrs="primary"),
        change(target, hosts=("db1", "db2"), ports=(5432, 5432)),
    ]
    keys = {series_of(each, "1") for each in (target, *others)} | {series_of(target, None)}
    assert len(keys) == len(others) + 2


async def test_the_program_keeps_it_where_the_configuration_says(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`history` names the file; none is kept without."""
    given: list[HistoryStore | None] = []

    class App:
        def __init__(self, *, history: HistoryStore | None, **_: object) -> None:
            given.append(history)
            raise LookupError

    monkeypatch.setattr(app, "PgtopApp", App)
    for path in (tmp_path / "h.sqlite3", None):
        with pytest.raises(LookupError):
            await opening.run_dashboard(target_of(server), Config(audit_log=tmp_path / "a", history=path))
    assert given[0] is not None
    assert (given[0].path, given[1]) == (tmp_path / "h.sqlite3", None)


async def test_a_lack_of_threads_is_told(
    server: ThrowawayServer, store: HistoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    snapshot = await real_snapshot(server, tmp_path / "a")
    seen = DashboardState(0.8)
    seen.take(snapshot, 1.0)
    kept = HistoryKeeper(store, seen, target_of(server))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    await kept.finish()
    assert "can't start new thread" in kept.notice


async def test_the_program_itself_leaves_what_its_next_run_goes_on_with(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """In the user's state directory, readable by nobody else; also where the terminal went away."""
    found = []
    for ending in (signal.SIGHUP, None):
        with terminal(server, tmp_path) as opened:
            opened.shows("slots")
            if ending is None:
                os.write(opened.master, b"q")
            else:
                opened.process.send_signal(ending)
            opened.ends()
        path = tmp_path / ".local/state/pgtop/history.sqlite3"
        assert path.stat().st_mode & 0o777 == 0o600
        past = HistoryStore(path).load(await series_on(server))
        assert past is not None
        found.append(past)
    first, second = found
    assert second.tiers[0][0] == first.tiers[0][0]
    assert second.latest_at > first.latest_at
    assert [bucket.starts for bucket in second.tiers[0]].count(True) == 1
