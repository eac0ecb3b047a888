"""The daemon's figures as Prometheus and an orchestrator read them."""

import http.client
import socket
import struct
import threading
import time
from collections import Counter

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from pgtop.core.plan import Trigger
from pgtop.core.rebound import Rebound
from pgtop.errors import UsageError
from pgtop.metrics import Figures, by_application, serving
from pgtop.reaper import Outcome
from tests.core.test_policy import backend, snapshot
from tests.servers import wait_until_sync

OPEN = "application/openmetrics-text; version=1.0.0"


def get(place: tuple[str, int], path: str, accept: str = "text/plain") -> tuple[int, str, str]:
    """Status, content type and body of one request."""
    connection = http.client.HTTPConnection(*place, timeout=20)
    try:
        connection.request("GET", path, headers={"Accept": accept})
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type", ""), response.read().decode()
    finally:
        connection.close()


def values(body: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Each sample's name and label values, with its value."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in openmetrics(body)
        for sample in family.samples
    }


def seen(*applications: str) -> Figures:
    """Figures after one poll."""
    figures = Figures()
    figures.snapshot = snapshot(*(backend(10 + n, application_name=a) for n, a in enumerate(applications)))
    figures.polled_at = time.monotonic()
    return figures


def test_what_is_told_after_a_poll() -> None:
    """Every figure that the issue of a scrape is for, in OpenMetrics, by its own parser."""
    figures = seen("web", "web", "leaky")
    figures.is_leader = True
    figures.sweeps[Trigger.USAGE] = 2
    figures.outcomes[Outcome.TERMINATED, Trigger.USAGE] = 7
    figures.outcomes[Outcome.DENIED, Trigger.EMERGENCY] = 1
    figures.refused_logins = 3
    figures.outages = Counter({"lost": 4})
    figures.rebound[10.0] = Rebound(10.0, 10, {"web": 4}, 4)
    with serving(figures, "127.0.0.1:0") as place:
        status, kind, body = get(place, "/metrics", OPEN)
    assert status == 200
    assert kind.startswith("application/openmetrics-text")
    told = values(body)
    assert told["pgtop_up", ()] == 1
    assert told["pgtop_leader", ()] == 1
    assert told["pgtop_backends", ("idle",)] == 3
    assert told["pgtop_backends", ("active",)] == 0
    assert told["pgtop_application_backends", ("web",)] == 2
    assert told["pgtop_slots", ()] == 95
    assert told["pgtop_usage_ratio", ()] == pytest.approx(3 / 95)
    assert told["pgtop_oldest_idle_seconds", ()] == 600
    assert told["pgtop_poll_seconds", ()] == 0
    assert told["pgtop_victims_total", ("terminated", "usage")] == 7
    assert told["pgtop_victims_total", ("denied", "emergency")] == 1
    assert told["pgtop_victims_total", ("survived", "usage")] == 0
    assert told["pgtop_sweeps_total", ("usage",)] == 2
    assert told["pgtop_refused_logins_total", ()] == 3
    assert told["pgtop_outages_total", ("lost",)] == 4
    assert told["pgtop_rebound_ratio", ("10s",)] == pytest.approx(0.4)
    assert told["pgtop_sweeping_rests", ()] == 0


def test_without_a_poll_no_old_figure_is_told() -> None:
    """While polls fail, and when the loop hangs: up is 0, health is 503, counters stay."""
    figures = seen("web")
    with serving(figures, "127.0.0.1:0") as place:
        assert get(place, "/healthz")[0] == 200
        figures.polled_at = time.monotonic() - figures.fresh_seconds - 1
        hung = values(get(place, "/metrics", OPEN)[2])
        assert get(place, "/healthz")[0] == 503
        figures.polled_at = time.monotonic()
        figures.snapshot = None
        lost = values(get(place, "/metrics", OPEN)[2])
        assert get(place, "/healthz")[0] == 503
    for told in (hung, lost):
        assert told["pgtop_up", ()] == 0
        assert ("pgtop_refused_logins_total", ()) in told
        assert not any(name in ("pgtop_backends", "pgtop_usage_ratio", "pgtop_leader") for name, _ in told)


def test_the_plain_format_is_for_who_asks_for_it() -> None:
    with serving(seen("web"), "127.0.0.1:0") as place:
        _, kind, body = get(place, "/metrics")
        assert get(place, "/")[0] == 404
    assert kind.startswith("text/plain")
    assert {"pgtop_up", "pgtop_slots"} <= {family.name for family in plain(body)}


def test_label_values_are_bounded_and_none_stands_twice() -> None:
    """The 20 largest, the rest as `other`; one really named so is told apart, hostile ones are safe."""
    names = [f"app{n}" for n in range(30) for _ in range(2)] + ["other"] * 3 + ["\x1b[2J", "\x1b[2J", "a\x00"]
    figures = seen(*names)
    assert figures.snapshot is not None
    told = by_application(figures.snapshot)
    assert len(told) == 21
    assert len({name for name, _ in told}) == 21
    assert dict(told)['"other"'] == 3
    assert sum(number for _, number in told) == len(names)
    with serving(figures, "127.0.0.1:0") as place:
        body = get(place, "/metrics", OPEN)[2]
    assert "\x1b" not in body
    values(body)


def test_a_hidden_state_is_counted_as_hidden() -> None:
    figures = seen()
    hidden = backend(11, state=None, backend_start=None, state_change=None)
    figures.snapshot = snapshot(hidden)
    with serving(figures, "127.0.0.1:0") as place:
        told = values(get(place, "/metrics", OPEN)[2])
    assert told["pgtop_backends", ("hidden",)] == 1


def test_an_address_that_is_taken_is_named() -> None:
    with (
        serving(Figures(), "127.0.0.1:0") as (_, port),
        pytest.raises(UsageError) as caught,
        serving(Figures(), f"127.0.0.1:{port}"),
    ):
        pass
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "--metrics-listen" in str(caught.value)


def test_a_scrape_while_polls_come_in_is_whole() -> None:
    """Figures that change meanwhile break no answer."""
    figures = seen("web")
    with serving(figures, "127.0.0.1:0") as place:
        for number in range(50):
            figures.outages[f"kind{number}"] += 1
            figures.snapshot = msgspec.structs.replace(figures.snapshot, poll_seconds=float(number))
            values(get(place, "/metrics", OPEN)[2])


def test_a_client_that_hangs_up_leaves_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    """Standard error is the daemon's log: a reset in the middle of a request says nothing there."""

    def answering() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if "process_request_thread" in each.name]

    with serving(Figures(), "127.0.0.1:0") as place:
        with socket.create_connection(place) as client:
            client.send(b"GET /metr")
            wait_until_sync(answering)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until_sync(lambda: not answering())
        assert get(place, "/healthz")[0] == 503
    assert capfd.readouterr().err == ""
