"""The daemon's answers to Prometheus and an orchestrator: `/metrics` and `/healthz`.

Each scrape reads the last poll. While there is none, figures known only from a poll are left out, so that no
old figure looks new.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from socket import AF_INET, AF_INET6, create_server
from typing import Any, Final

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pgtop.core.activity import Snapshot
from pgtop.core.connection_limits import limit_uses
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.plan import Outcome, Trigger
from pgtop.core.retaken_slots import Rebound
from pgtop.core.session_groups import GroupBy, group
from pgtop.core.session_labels import NO_APPLICATION, label
from pgtop.core.stalled_logins import Stall
from pgtop.daemon.scrape_server import BACKLOG, Application, StartResponse, serving_in_thread
from pgtop.errors import UsageError

TOP_APPLICATIONS: Final = 20
TOP_LIMITS: Final = 20
OTHER: Final = "other"
"""The label for all applications but the TOP_APPLICATIONS largest."""

_STATES: Final = (
    ("active", "active"),
    ("idle", "idle"),
    ("idle in transaction", "idle_in_transaction"),
    ("idle in transaction (aborted)", "idle_in_transaction_aborted"),
    ("fastpath function call", "fastpath"),
    ("disabled", "disabled"),
    ("starting", "starting"),
    ("hidden", "hidden"),
)


class Figures:
    """The figures of what the daemon saw and did. Its loop writes them, the scrape thread reads them."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        """The last poll; None while polls fail."""
        self.polled_at = 0.0
        """The time of the last poll, in seconds by the monotonic clock."""
        self.fresh_seconds = 30.0
        """Seconds for which a poll counts as new."""
        self.is_leader = False
        self.is_unfit = False
        """True while it leaves reaping to another process, because it cannot do what the usage asks for."""
        self.is_resting = False
        """True while sweeping for usage is paused, because it did not help."""
        self.findings: tuple[Finding, ...] = ()
        """The findings of the last poll, the heaviest first."""
        self.forecast: Forecast | None = None
        """The time at which the server is full, as of the last poll; None if no trend holds."""
        self.stall: Stall | None = None
        """The login stall that the last poll showed."""
        self.outcomes: Counter[tuple[Outcome, Trigger]] = Counter()
        self.sweeps: Counter[Trigger] = Counter()
        self.refused_logins = 0
        self.outages: Counter[str] = Counter()
        self.lost_lines: Callable[[], int] = lambda: 0
        """The number of lines dropped from the daemon's log."""
        self.rebound: dict[float, Rebound] = {}
        """The last one, by the seconds after its sweep."""

    @property
    def fresh(self) -> Snapshot | None:
        """The last poll, while it succeeded and is not old: a loop that hangs is not up."""
        snapshot = self.snapshot
        is_old = time.monotonic() - self.polled_at > self.fresh_seconds
        return None if snapshot is None or is_old else snapshot


class FiguresCollector(Collector):
    """The figures in Prometheus's terms."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        """All metrics, as they stand now."""
        snapshot = self._figures.fresh
        yield GaugeMetricFamily("pgtop_up", "1 while polls succeed", value=float(snapshot is not None))
        yield from self._counters()
        if snapshot is not None:
            yield from _of_snapshot(snapshot)
            yield from _of_diagnosis(self._figures, snapshot)
            yield GaugeMetricFamily(
                "pgtop_leader",
                "1 if this daemon is the active one",
                value=float(self._figures.is_leader),
            )
            yield GaugeMetricFamily(
                "pgtop_resigned",
                "1 if this daemon left sweeping to another, since it cannot do what usage asks for",
                value=float(self._figures.is_unfit),
            )

    def _counters(self) -> Iterable[Metric]:
        figures = self._figures
        victims = CounterMetricFamily(
            "pgtop_victims", "Sessions that a sweep tried to terminate", labels=["outcome", "trigger"]
        )
        sweeps = CounterMetricFamily(
            "pgtop_sweeps", "Sweeps that had sessions to terminate", labels=["trigger"]
        )
        for trigger in (Trigger.USAGE, Trigger.EMERGENCY):
            sweeps.add_metric([trigger], figures.sweeps[trigger])
            for outcome in Outcome:
                if outcome is not Outcome.CANCELLED:
                    victims.add_metric([outcome, trigger], figures.outcomes[outcome, trigger])
        yield victims
        yield sweeps
        refused = "Connections of the daemon that were refused because no slot was left"
        yield CounterMetricFamily("pgtop_refused_logins", refused, value=figures.refused_logins)
        lost = "Lines of the daemon's log that were left out, since its reader was too slow or gone"
        yield CounterMetricFamily("pgtop_lost_log_lines", lost, value=figures.lost_lines())
        outages = CounterMetricFamily("pgtop_outages", "Polls that gave no data", labels=["kind"])
        for kind, number in list(figures.outages.items()):
            outages.add_metric([kind], number)
        yield outages
        again = GaugeMetricFamily(
            "pgtop_rebound_ratio",
            "Share of the last sweep's freed slots that was taken again",
            labels=["after"],
        )
        for seconds, measured in list(figures.rebound.items()):
            again.add_metric([f"{seconds:g}s"], measured.share)
        yield again
        stall = figures.stall
        stalled = "1 while clients still connecting block new connections: terminating sessions does not help"
        yield GaugeMetricFamily("pgtop_login_stall", stalled, value=float(stall is not None))
        fresh = figures.fresh
        seen = fresh.unlisted + fresh.counts.starting if fresh is not None else 0
        held = "Slots held by clients still connecting, as far as known; the usage counts them"
        connecting = max(seen, stall.connecting if stall is not None else 0)
        yield GaugeMetricFamily("pgtop_connecting_slots", held, value=float(connecting))
        resting = "1 while sweeping is paused, since the last sweeps did not help"
        yield GaugeMetricFamily("pgtop_sweeping_rests", resting, value=float(figures.is_resting))


def _of_snapshot(snapshot: Snapshot) -> Iterable[Metric]:
    states = GaugeMetricFamily("pgtop_backends", "Sessions by state", labels=["state"])
    for state, name in _STATES:
        states.add_metric([state], getattr(snapshot.counts, name))
    yield states
    by_name = GaugeMetricFamily(
        "pgtop_application_backends", "Sessions by application", labels=["application"]
    )
    for name, number in by_application(snapshot):
        by_name.add_metric([name], number)
    yield by_name
    yield GaugeMetricFamily(
        "pgtop_slots", "Connection slots that ordinary roles can use", value=snapshot.slots
    )
    yield GaugeMetricFamily("pgtop_usage_ratio", "Taken slots over slots", value=snapshot.usage)
    yield from _connection_limits(snapshot)
    ages = [age for each in snapshot.backends if (age := each.idle_seconds(snapshot.taken_at)) is not None]
    oldest = max(ages, default=0.0)
    yield GaugeMetricFamily("pgtop_oldest_idle_seconds", "The longest idle age", value=oldest)
    waiting = "Active sessions that wait for a lock"
    yield GaugeMetricFamily("pgtop_waiting_on_locks", waiting, value=snapshot.waiting_on_locks)
    yield GaugeMetricFamily("pgtop_poll_seconds", "How long the last poll took", value=snapshot.poll_seconds)


def _of_diagnosis(figures: Figures, snapshot: Snapshot) -> Iterable[Metric]:
    """Return the slots of each finding, and the seconds until the server is full if that is known."""
    slots = GaugeMetricFamily(
        "pgtop_finding_slots", "Slots that a finding holds", labels=["kind", "application"]
    )
    for (kind, name), number in finding_slots(figures.findings).items():
        slots.add_metric([kind, name], number)
    yield slots
    forecast = figures.forecast
    if forecast is not None:
        until = "Seconds until no slot is left, if usage goes on growing as it does"
        seconds = forecast.seconds_from(snapshot.taken_at)
        yield GaugeMetricFamily("pgtop_seconds_to_full", until, value=seconds)


def finding_slots(findings: Iterable[Finding]) -> Counter[tuple[str, str]]:
    """Return the slots by kind and application: the heaviest findings, and the rest of a kind as OTHER.

    A finding of several applications, or of none, is OTHER's too.
    """
    counted: Counter[tuple[str, str]] = Counter()
    for number, each in enumerate(findings):
        name = OTHER
        if each.application_name is not None and number < TOP_APPLICATIONS:
            name = _label_of(each.application_name)
        counted[each.kind, name] += each.slots
    return counted


def _label_of(application_name: str | None) -> str:
    shown = label(application_name, NO_APPLICATION)
    return f'"{shown}"' if shown == OTHER else shown


def _connection_limits(snapshot: Snapshot) -> Iterable[Metric]:
    """Return the limits of roles and databases, and the sessions that count against them; the most used."""
    labels = ["kind", "name"]
    limits = GaugeMetricFamily(
        "pgtop_connection_limit", "CONNECTION LIMIT of a role or database with sessions", labels=labels
    )
    used = GaugeMetricFamily(
        "pgtop_connection_limit_used", "Sessions that count against a CONNECTION LIMIT", labels=labels
    )
    # Two names may look the same once printable, and Prometheus takes no metric twice.
    shown = {(use.limit.of, label(use.limit.name, "")): use for use in reversed(limit_uses(snapshot))}
    for (of, name), use in list(shown.items())[-TOP_LIMITS:]:
        limits.add_metric([of, name], use.limit.most)
        used.add_metric([of, name], use.used)
    yield limits
    yield used


def by_application(snapshot: Snapshot) -> list[tuple[str, int]]:
    """The largest applications with their sessions, and the rest as OTHER; no more than 21, none twice."""
    groups = group(snapshot.backends, GroupBy.APPLICATION, snapshot.taken_at, snapshot.slots)
    counted: Counter[str] = Counter()
    for each in groups[:TOP_APPLICATIONS]:
        name = each.key.application_name
        counted[_label_of(name if isinstance(name, str) else None)] += each.total
    rest = sum(each.total for each in groups[TOP_APPLICATIONS:])
    if rest:
        counted[OTHER] += rest
    return counted.most_common()


def application(figures: Figures) -> Application:
    """The WSGI application: `/metrics` in the format asked for, `/healthz` 200 while polls succeed."""
    registry = CollectorRegistry()
    registry.register(FiguresCollector(figures))
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            answered: Iterable[bytes] = metrics(environ, start_response)
            return answered
        if path == "/healthz":
            well = figures.fresh is not None
            status, body = ("200 OK", b"ok\n") if well else ("503 Service Unavailable", b"no poll succeeds\n")
        else:
            status, body = "404 Not Found", b"/metrics or /healthz\n"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [body]

    return answer


@contextmanager
def serving(figures: Figures, address: str) -> Iterator[tuple[str, int]]:
    """Answer at `HOST:PORT` while the block lasts; gives host and port. Raises UsageError."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = AF_INET6 if ":" in host else AF_INET
    with ExitStack() as stack:
        try:
            listener = create_server((host, int(port)), family=family, backlog=BACKLOG)
            place = host, listener.getsockname()[1]
            stack.enter_context(serving_in_thread(listener, application(figures)))
        except (OSError, OverflowError, RuntimeError, UnicodeError) as error:
            said = getattr(error, "strerror", None) or str(error)
            problem = f"cannot listen at {address} for metrics ({said})"
            raise UsageError(problem, "name another with --metrics-listen HOST:PORT") from error
        yield place
