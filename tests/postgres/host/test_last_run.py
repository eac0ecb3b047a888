"""The time since a process last ran: a lower bound of a session's idle age over a Unix socket."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.host import proc
from pgtop.postgres.host.last_run import RunClock
from tests.servers import fetch_value, sessions, wait_until, wait_until_sync
from tests.support.hosting import face_on_host, seen

pytestmark = pytest.mark.skipif(not Path("/proc/self/sched").exists(), reason="the kernel does not tell")


@contextmanager
def asleep_on(processor: int) -> Iterator[int]:
    """A process that goes to sleep on a processor; gives its pid."""
    script = f"import os, time; os.sched_setaffinity(0, {{{processor}}}); print(flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-S", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.kill()


def test_processes_that_rest_alike_are_told_alike_on_every_processor() -> None:
    """The processors' clocks run apart, by seconds in a virtual machine, and each is read by its own."""
    with ExitStack() as stack:
        processors = sorted(os.sched_getaffinity(0))[:4]
        pids = [stack.enter_context(asleep_on(each)) for each in processors]
        own = RunClock()
        wait_until_sync(lambda: all(proc.last_run_milliseconds(pid) for pid in pids))

        def rest() -> list[float]:
            ages = [own.seconds_since_run(pid) for pid in pids]
            return [age for age in ages if age is not None and age > 1.0]

        ages = wait_until_sync(lambda: len(found := rest()) == len(pids) and found)
        assert max(ages) - min(ages) < 0.9
    assert os.sched_getaffinity(0) >= set(processors)


async def test_the_bound_is_never_above_the_servers_own_idle_age(
    every_server: ThrowawayServer, tmp_path: Path
) -> None:
    async with sessions(every_server, 5, over_socket=True) as idle:
        for each in idle:
            await each.fetchval("SELECT 1")
        face = face_on_host(every_server, tmp_path / "a")
        age = "extract(epoch FROM clock_timestamp() - state_change)::float8"
        query = f"SELECT {age} FROM pg_stat_activity WHERE pid = $1"

        async def are_told() -> bool:
            view = await face.look()
            ages = [seen(view, each).state_seconds(view.snapshot.taken_at) or 0.0 for each in idle]
            for each, age in zip(idle, ages, strict=True):
                true_age = await fetch_value(every_server, query, each.get_server_pid())
                assert isinstance(true_age, float)
                assert age <= true_age + 0.02
            assert not view.untimed
            return min(ages) > 1.0

        await wait_until(are_told)


def test_a_process_that_is_gone_or_not_told_of_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with asleep_on(min(os.sched_getaffinity(0))) as pid:
        monkeypatch.setattr(os, "sched_setaffinity", refuse)  # as in a container of other processors
        assert RunClock().seconds_since_run(pid) is None
        monkeypatch.undo()
        monkeypatch.setattr(proc, "last_run_milliseconds", lambda *_: None)
        assert RunClock().seconds_since_run(pid) is None
        monkeypatch.undo()
    assert RunClock().seconds_since_run(pid) is None


def refuse(*_: object) -> None:
    raise OSError("this processor is not for you")


async def test_without_the_kernels_word_the_sessions_are_watched(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look lets the bound grow, from the first one on."""
    monkeypatch.setattr(proc, "last_run_milliseconds", lambda *_: None)
    async with sessions(server, 1, over_socket=True) as (one,):
        await one.fetchval("SELECT 1")
        face = face_on_host(server, tmp_path / "a")
        view = await face.look()
        assert view.untimed == {one.get_server_pid()}

        async def has_grown() -> bool:
            view = await face.look()
            return (seen(view, one).state_seconds(view.snapshot.taken_at) or 0.0) > 0.3

        await wait_until(has_grown)
