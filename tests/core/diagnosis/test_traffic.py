"""The sessions that came and went: counted by application, kept through a sweep, forgotten at a restart."""

import msgspec
import pytest

from pgtop.core.activity import MICROSECONDS, Backend, Limits, Snapshot
from pgtop.core.diagnosis.scene import Application, Client
from pgtop.core.diagnosis.traffic import MOST_KEYS, TrafficWatch
from pgtop.core.retaken_slots import Undone
from tests.builders import NOW, backend, server_of, snapshot

WEB = Application("web", "app", "shop")


def seen(seconds: float, *backends: Backend, **fields: object) -> Snapshot:
    """A snapshot that many seconds after the start, on a server with 100 slots."""
    at = NOW + round(seconds * MICROSECONDS)
    return msgspec.structs.replace(
        snapshot(*backends, server=server_of(Limits(103, 3))),
        taken_at=at,
        **fields,  # type: ignore[arg-type]
    )


def web(*pids: int, **fields: object) -> list[Backend]:
    return [backend(pid, application_name="web", **fields) for pid in pids]


def test_sessions_that_come_and_go_are_counted() -> None:
    watch = TrafficWatch()
    first = watch.take(seen(0, *web(1, 2)))
    assert (first.watched_seconds, first.traffic.get(WEB)) == (0.0, None), "the first to be seen are not new"
    busy = web(3, 4, state="active")
    watch.take(seen(2, *web(2), *busy))
    before = watch.take(seen(4, *web(2, 3)))
    assert before.watched_seconds == 4.0
    assert before.traffic[WEB] == (2, 2, 2)


def test_a_sweep_of_pgtops_own_closes_nothing() -> None:
    """The application did not give these back."""
    watch = TrafficWatch()
    watch.take(seen(0, *web(1, 2, 3)))
    watch.swept(web(1, 2))
    before = watch.take(seen(2, *web(4)))
    assert before.traffic[WEB][:2] == (1, 1)


def test_a_restart_or_a_clock_set_back_forgets_all() -> None:
    watch = TrafficWatch()
    watch.take(seen(0, *web(1)))
    watch.take(seen(2, *web(2)))
    restarted = seen(4, *web(3))
    identity = msgspec.structs.replace(restarted.server.identity, postmaster_start=NOW)
    server = msgspec.structs.replace(restarted.server, identity=identity)
    assert watch.take(msgspec.structs.replace(restarted, server=server)).watched_seconds == 0.0
    watch = TrafficWatch()
    watch.take(seen(100, *web(1)))
    assert watch.take(seen(2, *web(2))).watched_seconds == 0.0


def test_growth_is_told_only_while_it_holds() -> None:
    def grown(totals: list[int]) -> float | None:
        watch = TrafficWatch()
        growth = None
        for number, total in enumerate(totals):
            growth = watch.take(seen(number * 10, *web(*range(1, total + 1)))).growth_per_minute
        return growth

    rising = grown([20 + n for n in range(10)])
    assert rising is not None
    assert abs(rising - 6) < 0.01
    assert grown([20 + n for n in range(5)]) is None, "too short"
    assert grown([20] * 10) is None
    assert grown([20 + n for n in range(6)] + [25] * 6) is None, "it has stopped"
    assert grown([30 - n for n in range(10)]) is None


def test_memory_is_bounded_by_the_largest_applications() -> None:
    watch = TrafficWatch()
    for wave in range(5):
        crowd = [
            backend(1 + n, application_name=f"app-{wave}-{n}", state="active", backend_start=NOW + wave)
            for n in range(MOST_KEYS)
        ]
        before = watch.take(seen(wave * 2, *crowd))
    assert len(before.traffic) <= 2 * MOST_KEYS


def test_growth_goes_on_through_a_sweep() -> None:
    watch = TrafficWatch()
    for number in range(10):
        watch.take(seen(number * 10, *web(*range(1, 41 + number))))
    watch.swept(web(*range(1, 31)), {each.id for each in web(1, 2)})
    before = watch.take(seen(100, *web(*range(31, 51))))
    assert before.growth_per_minute is not None
    assert abs(before.growth_per_minute - 6) < 0.5
    assert len(before.swept) == 2, "only those that were leaked are remembered"


def test_growth_that_slows_down_is_not_a_trend() -> None:
    watch = TrafficWatch()
    growth = None
    for number, total in enumerate([20, 30, 40, 50, 60, 70, 71, 72, 73, 74, 75]):
        growth = watch.take(seen(number * 10, *web(*range(1, total + 1)))).growth_per_minute
    assert growth is None


def test_swept_sessions_are_forgotten_in_time() -> None:
    watch = TrafficWatch()
    watch.take(seen(0, *web(1, 2)))
    watch.swept(web(1), {web(1)[0].id})
    assert len(watch.take(seen(3590, *web(2))).swept) == 1
    assert watch.take(seen(3700, *web(2))).swept == ()


def test_a_sweep_may_be_reported_after_a_poll_saw_it() -> None:
    watch = TrafficWatch()
    watch.take(seen(0, *web(1, 2, 3)))
    assert watch.take(seen(2, *web(3))).traffic[WEB].closed == 2
    watch.swept(web(1, 2), {web(1)[0].id})
    before = watch.take(seen(4, *web(3, 4)))
    assert before.traffic[WEB][:2] == (1, 0)
    assert [each.pid for each in before.swept] == [1]


def test_weeks_of_order_do_not_outweigh_a_new_leak() -> None:
    """An application that has renewed its sessions for days, and then loses each one it opens."""
    watch = TrafficWatch()
    for number in range(400):
        watch.take(seen(number * 10, *web(number)))
    lost = list(range(1000, 1030))
    for number in range(100):
        before = watch.take(seen(4000 + number * 10, *web(*lost[: number // 3])))
    traffic = before.traffic[WEB]
    assert traffic.opened >= 25
    assert traffic.closed <= 1
    assert before.watched_seconds <= 15 * 60


def test_clients_of_an_application_are_told_apart() -> None:
    watch = TrafficWatch()
    watch.take(seen(0))
    watch.take(seen(2, *web(1, 2, client_addr="10.0.0.7"), *web(3, client_addr="10.0.0.8", state="active")))
    before = watch.take(seen(4, *web(3, client_addr="10.0.0.8", state="active")))
    assert before.client_traffic[Client(WEB, "10.0.0.7")] == (2, 2, 0)
    assert before.client_traffic[Client(WEB, "10.0.0.8")] == (1, 0, 1)
    assert before.traffic[WEB] == (3, 2, 1)


@pytest.mark.parametrize("is_told_late", [False, True])
def test_an_act_that_is_undone_is_told_for_ten_minutes(is_told_late: bool) -> None:
    """Also if a poll saw the new sessions before the act's outcomes were known."""
    watch = TrafficWatch()
    old, start = web(1, 2, 3), NOW + 3 * MICROSECONDS
    new = web(4, 5, 6, backend_start=start)
    watch.take(seen(0, *old))
    watch.take(seen(2, *old))
    if is_told_late:
        watch.take(seen(4, *new))
    watch.swept(old)
    last = watch.take(seen(6, *new)).undone
    assert last == Undone(NOW + 2 * MICROSECONDS, "web", 3, 3)
    assert watch.take(seen(590, *new)).undone == last
    assert watch.take(seen(610, *new)).undone is None


def test_an_act_that_holds_is_not_undone() -> None:
    watch = TrafficWatch()
    watch.take(seen(0, *web(1, 2, 3)))
    watch.swept(web(1, 2))
    assert watch.take(seen(2, *web(3))).undone is None
    assert TrafficWatch().take(seen(0, *web(1))).undone is None
