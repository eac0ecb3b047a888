"""DiagnosisOverTime: the findings of a server from one snapshot to the next, with what was seen before."""

from collections.abc import Iterable
from typing import Final

from pgtop.core.activity import MICROSECONDS, Backend, BackendId, ServerIdentity, Snapshot
from pgtop.core.diagnosis.diagnose import diagnose_scene
from pgtop.core.diagnosis.findings import Finding, Kind
from pgtop.core.diagnosis.forecast import Forecast, forecast
from pgtop.core.diagnosis.scene import Before, Facts, scene_of
from pgtop.core.diagnosis.steady import Shown, steady
from pgtop.core.diagnosis.thresholds import STANDARD, Thresholds
from pgtop.core.diagnosis.traffic import TrafficWatch

_REMEMBERED_SECONDS: Final = 60.0


class DiagnosisOverTime:
    """The findings of one server. A restart or a failover forgets the past.

    It reads no clock and asks nothing, so that a recording is diagnosed as the server was.
    """

    def __init__(self, warn_at: float, thresholds: Thresholds = STANDARD) -> None:
        """`warn_at` is a fraction of the slots."""
        self.warn_at = warn_at
        """The line from which on there is always a finding; counts from the next snapshot on."""
        self.forecast: Forecast | None = None
        """The time at which the server is full if it goes on so; None if no trend holds."""
        self._thresholds = thresholds
        self._traffic = TrafficWatch(thresholds)
        self._identity: ServerIdentity | None = None
        self._before = Before()
        self._taken_at = 0
        self._leaked: dict[BackendId, int] = {}
        self._shown = Shown()

    def take(self, snapshot: Snapshot, facts: Facts) -> tuple[Finding, ...]:
        """Return the findings of a snapshot, the first line kept steady.

        The same snapshot may be given again once more facts are known.
        """
        identity = snapshot.server.identity
        if identity != self._identity or snapshot.taken_at < self._taken_at:
            self._identity, self._shown = identity, Shown()
        scene = scene_of(snapshot, thresholds=self._thresholds)
        if snapshot.taken_at != self._taken_at:
            self._before = self._traffic.take(snapshot, scene)
            self._taken_at = snapshot.taken_at
        found = diagnose_scene(scene.with_history(self._before, facts), warn_at=self.warn_at)
        self._shown = steady(self._shown, found, snapshot.taken_at, snapshot.by_id)
        self._remember_leaks(found, snapshot.taken_at)
        self.forecast = forecast(snapshot, self._before, found)
        return self._shown.findings

    def returning(self, snapshot: Snapshot) -> frozenset[BackendId]:
        """Return the sessions whose application opened others at once when pgtop terminated some."""
        last = self._before.undone
        if last is None:
            return frozenset()
        return frozenset(
            each.id for each in snapshot.backends if (each.application_name or "") == last.application
        )

    def _remember_leaks(self, found: tuple[Finding, ...], now: int) -> None:
        """Remember for a while whose sessions were leaked: a sweep is reported after they have left."""
        oldest = now - round(_REMEMBERED_SECONDS * MICROSECONDS)
        self._leaked = {each: at for each, at in self._leaked.items() if at >= oldest}
        leaks = (each for each in found if each.kind is Kind.LEAK)
        self._leaked |= {backend: now for each in leaks for backend in each.backends}

    def swept(self, ended: Iterable[Backend]) -> None:
        """Take note of sessions that pgtop terminated: their application did not close them."""
        self._traffic.swept(ended, self._leaked)
