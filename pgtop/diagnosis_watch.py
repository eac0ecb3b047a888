"""DiagnosisWatch: what fills a server that is polled, with all that was seen before and asked for beside."""

from collections.abc import Iterable

from pgtop.core.activity import Backend, ServerIdentity, Snapshot
from pgtop.core.diagnosis.diagnose import diagnose
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.forecast import Forecast, forecast
from pgtop.core.diagnosis.scene import Before
from pgtop.core.diagnosis.steady import Shown, steady
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.core.diagnosis.traffic import TrafficWatch
from pgtop.core.outage import Limit
from pgtop.errors import PgtopError
from pgtop.postgres.diagnosis_facts import KnownFacts
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS
from pgtop.postgres.session.own_connection import OwnConnection


class DiagnosisWatch:
    """The findings of one server, from one poll to the next. A restart or a failover forgets the past."""

    def __init__(
        self, own_connection: OwnConnection, warn_at: float, thresholds: Thresholds = STANDARD
    ) -> None:
        """`warn_at` is a fraction of the slots."""
        self._facts = KnownFacts(own_connection)
        self.warn_at = warn_at
        """The line from which on there is always a finding; counts from the next snapshot on."""
        self._thresholds = thresholds
        self._traffic = TrafficWatch(thresholds)
        self._identity: ServerIdentity | None = None
        self._before = Before()
        self._taken_at = 0
        self._shown = Shown()
        self.forecast: Forecast | None = None
        """The time at which the server is full if it goes on so; None if no trend holds."""

    def take(self, snapshot: Snapshot, refusing: Limit | None) -> tuple[Finding, ...]:
        """Return the findings of a snapshot, the first line kept steady.

        `refusing` is the limit that refuses logins. The same snapshot may be given again once more facts
        are known.
        """
        identity = snapshot.server.identity
        if identity != self._identity or snapshot.taken_at < self._taken_at:
            self._identity, self._shown = identity, Shown()
        if snapshot.taken_at != self._taken_at:
            self._before = self._traffic.take(snapshot)
            self._taken_at = snapshot.taken_at
        facts = self._facts.of(snapshot, self.warn_at, refusing)
        found = diagnose(snapshot, self._before, facts, warn_at=self.warn_at, thresholds=self._thresholds)
        self._shown = steady(self._shown, found, snapshot.taken_at, snapshot.by_id)
        self.forecast = forecast(snapshot, self._before, found)
        return self._shown.findings

    async def ask(self, snapshot: Snapshot) -> bool:
        """Ask the server for the facts that are due; return whether there are new ones.

        A question without an answer is asked again when it is due: the next poll tells of an outage.
        """
        try:
            return await self._facts.ask(snapshot)
        except (PgtopError, *DRIVER_ERRORS):
            return False

    def swept(self, ended: Iterable[Backend]) -> None:
        """Take note of sessions that pgtop terminated: their application did not close them."""
        self._traffic.swept(ended)
