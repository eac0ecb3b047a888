"""DiagnosisWatch: what fills a server that is polled, with all that was seen before and asked for beside."""

from collections.abc import Iterable

from pgtop.core.activity import Backend, BackendId, Snapshot
from pgtop.core.blocking import blocking_words
from pgtop.core.diagnosis.findings import Finding
from pgtop.core.diagnosis.forecast import Forecast
from pgtop.core.diagnosis.over_time import DiagnosisOverTime
from pgtop.core.diagnosis.scene import NOTHING_BLOCKS, Facts
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.core.outage import Limit
from pgtop.errors import PgtopError
from pgtop.postgres.diagnosis_facts import KnownFacts
from pgtop.postgres.errors.network_and_driver import DRIVER_ERRORS
from pgtop.postgres.session.own_connection import OwnConnection


class DiagnosisWatch:
    """The findings of one server, from one poll to the next, with the facts asked for beside the polls."""

    def __init__(
        self, own_connection: OwnConnection, warn_at: float, thresholds: Thresholds = STANDARD
    ) -> None:
        """`warn_at` is a fraction of the slots."""
        self.thresholds = thresholds
        self.blocking = ""
        """The sessions that block others, in words, as far as they were asked for; "" if none does."""
        self.facts = Facts()
        """The facts that the last findings were made with."""
        self._known = KnownFacts(own_connection)
        self._over_time = DiagnosisOverTime(warn_at, thresholds)
        self._blocked_by = NOTHING_BLOCKS

    @property
    def warn_at(self) -> float:
        """The line, a fraction of the slots, from which on there is always a finding."""
        return self._over_time.warn_at

    @warn_at.setter
    def warn_at(self, warn_at: float) -> None:
        self._over_time.warn_at = warn_at

    @property
    def forecast(self) -> Forecast | None:
        """The time at which the server is full if it goes on so; None if no trend holds."""
        return self._over_time.forecast

    def take(self, snapshot: Snapshot, refusing: Limit | None) -> tuple[Finding, ...]:
        """Return the findings of a snapshot, the first line kept steady.

        `refusing` is the limit that refuses logins. The same snapshot may be given again once more facts
        are known.
        """
        self.facts = self._known.of(snapshot, self.warn_at, refusing)
        if self.facts.blocked_by is not self._blocked_by:
            self._blocked_by = self.facts.blocked_by
            self.blocking = blocking_words(self._blocked_by)
        return self._over_time.take(snapshot, self.facts)

    def returning(self, snapshot: Snapshot) -> frozenset[BackendId]:
        """Return the sessions whose application opened others at once when pgtop terminated some."""
        return self._over_time.returning(snapshot)

    def continue_from(self, earlier: DiagnosisOverTime) -> None:
        """Go on from a diagnosis that has seen what was recorded before."""
        earlier.warn_at = self.warn_at
        self._over_time = earlier

    async def ask(self, snapshot: Snapshot) -> bool:
        """Ask the server for the facts that are due; return whether there are new ones.

        A question without an answer is asked again when it is due: the next poll tells of an outage.
        """
        try:
            return await self._known.ask(snapshot)
        except (PgtopError, *DRIVER_ERRORS):
            return False

    def swept(self, ended: Iterable[Backend]) -> None:
        """Take note of sessions that pgtop terminated: their application did not close them."""
        self._over_time.swept(ended)
