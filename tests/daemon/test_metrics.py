"""The daemon's figures as Prometheus and an orchestrator read them."""

import http.client
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from pgtop.core.activity import MICROSECONDS
from pgtop.core.diagnosis.findings import Finding, Grade, Kind
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.plan import Outcome, Trigger
from pgtop.core.retaken_slots import Rebound
from pgtop.daemon import scrape_server
from pgtop.daemon.metrics import Figures, by_application, finding_slots, serving
from pgtop.daemon.scrape_server import MOST_CONNECTIONS
from pgtop.errors import UsageError
from tests.builders import backend, figures_of, snapshot
from tests.servers import REPOSITORY, wait_until_sync

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


def test_clients_still_connecting_are_told_without_a_stall() -> None:
    """The usage counts them below full too."""
    figures = figures_of("web")
    figures.snapshot = snapshot(backend(1), unlisted=13)
    with serving(figures, "127.0.0.1:0") as place:
        told = values(get(place, "/metrics", OPEN)[2])
    assert (told["pgtop_connecting_slots", ()], told["pgtop_login_stall", ()]) == (13, 0)


def finding(kind: Kind, application: str | None, slots: int) -> Finding:
    return Finding(kind, Grade.LOOKS_LIKE, slots, "", application_name=application)


def test_findings_are_told_while_they_hold() -> None:
    """And the seconds until the server is full, by its own clock; neither is left behind."""
    figures = figures_of("web")
    assert figures.snapshot is not None
    figures.findings = (finding(Kind.LEAK, "web", 44), finding(Kind.LOCK_QUEUE, None, 7))
    figures.forecast = Forecast(figures.snapshot.taken_at + 90 * MICROSECONDS, 0.5)
    names = {"pgtop_finding_slots", "pgtop_seconds_to_full"}
    with serving(figures, "127.0.0.1:0") as place:
        told = values(get(place, "/metrics", OPEN)[2])
        assert {key: value for key, value in told.items() if key[0] in names} == {
            ("pgtop_finding_slots", ("web", "leak")): 44,
            ("pgtop_finding_slots", ("other", "lock_queue")): 7,
            ("pgtop_seconds_to_full", ()): 90,
        }
        figures.findings, figures.forecast = (), None
        assert not names & {name for name, _ in values(get(place, "/metrics", OPEN)[2])}


def test_the_series_of_findings_are_bounded() -> None:
    """The 20 heaviest by name, and one more for each kind; a name cannot pass for the rest."""
    found = [finding(Kind.LEAK, f"worker {n}", 100 - n) for n in range(60)]
    counted = finding_slots([*found, finding(Kind.TOOLS, "psql", 5)])
    assert len(counted) == 22
    assert counted["leak", "worker 19"] == 81
    assert counted["leak", "other"] == sum(each.slots for each in found[20:])
    assert counted["tools", "other"] == 5
    assert set(finding_slots([finding(Kind.LEAK, "other", 5)])) == {("leak", '"other"')}


def test_every_metric_is_told_after_a_poll() -> None:
    """Every figure that the issue of a scrape is for, in OpenMetrics, by its own parser."""
    figures = figures_of("web", "web", "leaky")
    figures.is_leader = figures.is_unfit = True
    figures.sweeps[Trigger.USAGE] = 2
    figures.outcomes[Outcome.TERMINATED, Trigger.USAGE] = 7
    figures.outcomes[Outcome.DENIED, Trigger.EMERGENCY] = 1
    figures.refused_logins = 3
    figures.outages = Counter({"lost": 4})
    figures.lost_lines = lambda: 5
    figures.rebound[10.0] = Rebound(10.0, 10, {"web": 4}, 4)
    with serving(figures, "127.0.0.1:0") as place:
        status, kind, body = get(place, "/metrics", OPEN)
    assert status == 200
    assert kind.startswith("application/openmetrics-text")
    told = values(body)
    assert told["pgtop_up", ()] == 1
    assert told["pgtop_leader", ()] == told["pgtop_resigned", ()] == 1
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
    assert told["pgtop_lost_log_lines_total", ()] == 5
    assert told["pgtop_rebound_ratio", ("10s",)] == pytest.approx(0.4)
    assert told["pgtop_sweeping_rests", ()] == 0


def test_without_a_poll_no_old_figure_is_told() -> None:
    """While polls fail, and when the loop hangs: up is 0, health is 503, counters stay."""
    figures = figures_of("web")
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
    with serving(figures_of("web"), "127.0.0.1:0") as place:
        _, kind, body = get(place, "/metrics")
        assert get(place, "/")[0] == 404
    assert kind.startswith("text/plain")
    assert {"pgtop_up", "pgtop_slots"} <= {family.name for family in plain(body)}


def test_label_values_are_bounded_and_none_stands_twice() -> None:
    """The 20 largest, the rest as `other`; one really named so is told apart, hostile ones are safe."""
    names = [f"app{n}" for n in range(30) for _ in range(2)] + ["other"] * 3 + ["\x1b[2J", "\x1b[2J", "a\x00"]
    figures = figures_of(*names)
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
    figures = figures_of()
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
    figures = figures_of("web")
    with serving(figures, "127.0.0.1:0") as place:
        for number in range(50):
            figures.outages[f"kind{number}"] += 1
            figures.snapshot = msgspec.structs.replace(figures.snapshot, poll_seconds=float(number))
            values(get(place, "/metrics", OPEN)[2])


def test_a_client_that_hangs_up_leaves_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    """Standard error is the daemon's log: a reset in the middle of a request says nothing there."""
    with serving(Figures(), "127.0.0.1:0") as place:
        for sent in (b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\n\r\n", b"\x00\xff\r\n\r\n"):
            with socket.create_connection(place) as client:
                client.send(sent)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert get(place, "/healthz")[0] == 503
    assert capfd.readouterr().err == ""


def _open_descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


def test_slow_clients_make_room_for_a_scrape() -> None:
    """Three hundred hold a connection and say nothing: no thread and few descriptors are theirs."""
    threads, descriptors = threading.active_count(), _open_descriptors()
    with serving(Figures(), "127.0.0.1:0") as place, ExitStack() as stack:
        for number in range(300):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(place)
            if number % 2:
                with suppress(OSError):
                    client.send(b"GET /metrics HTTP/1.1\r\nX: ")
        assert get(place, "/healthz")[0] == 503
        assert threading.active_count() == threads + 1
        assert _open_descriptors() <= descriptors + 300 + MOST_CONNECTIONS + 4


def test_a_client_that_drips_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is for the whole connection: a byte now and then does not make it longer."""
    monkeypatch.setattr(scrape_server, "LIMIT_SECONDS", 0.5)
    with serving(Figures(), "127.0.0.1:0") as place, socket.create_connection(place, timeout=0.05) as client:

        def is_left() -> bool:
            try:
                client.send(b"x")
                return client.recv(1) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        wait_until_sync(is_left)


def test_a_client_that_does_not_read_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one that never takes its answer keep its place, or anybody else waiting."""
    monkeypatch.setattr(scrape_server, "LIMIT_SECONDS", 0.5)
    monkeypatch.setattr(scrape_server, "connections_at_once", lambda: 1)
    figures = figures_of()
    figures.outages = Counter({"k" * 1000 + str(n): 1 for n in range(20_000)})
    with serving(figures, "127.0.0.1:0") as place, socket.create_connection(place) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert get(place, "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nX: " + b"y" * 20_000, b"431"),
        (b"GET /healthz\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\n\n", b"400"),
        (b"HEAD /healthz HTTP/1.0\r\n\r\n", b"503"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"405"),
        (b"GET /healthz HTTP/1.1\n\n", b"503"),
    ],
)
def test_any_request_gets_one_answer(sent: bytes, status: bytes) -> None:
    with serving(Figures(), "127.0.0.1:0") as place, socket.create_connection(place, timeout=20) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.split(b" ")[1] == status
    assert answer.count(b"HTTP/1.1") == 1


def test_figures_that_cannot_be_told_are_a_failed_scrape() -> None:
    """A fault there ends neither the thread nor the next scrape."""
    figures = figures_of("web")
    with serving(figures, "127.0.0.1:0") as place:
        figures.outages = None  # type: ignore[assignment]
        assert get(place, "/metrics")[0] == 500
        assert get(place, "/healthz")[0] == 200


def test_without_a_descriptor_it_waits_and_does_not_spin() -> None:
    """A process that has none left: the server holds none back, rests, and answers when there is one."""
    program = """
import os, resource, socket, sys, time
from pgtop.daemon.metrics import Figures, serving
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
def descriptors():
    return len(os.listdir("/dev/fd"))
with serving(Figures(), "127.0.0.1:0") as place:
    before = descriptors()
    clients = [socket.create_connection(place) for _ in range(3)]
    while descriptors() < before + 6:  # they are taken
        time.sleep(0.01)
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    os.close(held.pop())
    late = socket.socket()
    late.connect(place)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:  # the connections that it held are given back
            held.append(os.open(os.devnull, os.O_RDONLY))
            break
        except OSError:
            time.sleep(0.05)
    else:
        sys.exit("nothing was given back")
    before = time.process_time()
    time.sleep(1)
    assert time.process_time() - before < 0.5
    for each in held:
        os.close(each)
    late.settimeout(20)
    late.send(b"GET /healthz HTTP/1.1\\r\\n\\r\\n")
    assert late.recv(100).startswith(b"HTTP/1.1 503")
    for each in (*clients, late):
        each.close()
print("well")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"well\n", b"")
